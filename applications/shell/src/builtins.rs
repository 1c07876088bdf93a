//! Commands that are part of the shell, because they change the shell itself.

use crate::run::{Shell, USAGE};
use crate::syntax;
use alloc::string::{String, ToString};
use app_io::{eprintln, println};
use environment::Error;
use fs_node::FsError;
use path::Path;

/// A command that is part of the shell: takes the arguments, returns the status.
pub(crate) type Builtin = fn(&mut Shell, &[String]) -> u8;

/// All of them, by name.
const BUILTINS: &[(&str, Builtin)] = &[
    ("cd", cd),
    ("exit", exit),
    ("export", export),
    ("false", |_, _| 1),
    ("true", |_, _| 0),
    ("unset", unset),
];

/// The command called `name`.
pub(crate) fn find(name: &str) -> Option<Builtin> {
    BUILTINS.iter().find(|(builtin, _)| *builtin == name).map(|(_, builtin)| *builtin)
}

/// The names of all commands.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    BUILTINS.iter().map(|(name, _)| *name)
}

/// `cd [DIRECTORY]`: `$HOME`, or the root, without a directory; with `-` where one was before.
fn cd(shell: &mut Shell, arguments: &[String]) -> u8 {
    let target = match arguments {
        [] => shell.variable("HOME").unwrap_or_else(|| "/".to_string()),
        [dash] if dash == "-" => match shell.variable("OLDPWD") {
            Some(before) => before,
            None => {
                eprintln!("shell: cd: there was no directory before this one");
                return 1;
            }
        },
        [directory] => directory.clone(),
        _ => {
            eprintln!("usage: cd [DIRECTORY]");
            return USAGE;
        }
    };
    let before = shell.environment.lock().cwd();
    let result = shell.environment.lock().chdir(Path::new(&target));
    match result {
        Ok(()) => {
            if arguments.first().is_some_and(|argument| argument == "-") {
                println!("{}", shell.environment.lock().cwd());
            }
            shell.environment.lock().set("OLDPWD".to_string(), before);
            0
        }
        Err(error) => {
            let from_removed = shell.environment.lock().working_dir.lock().location().is_removed();
            let shown = if target.is_empty() { "''" } else { &target };
            if from_removed && error == Error::NotFound {
                eprintln!("shell: cd: {shown}: {}", FsError::Removed);
            } else {
                eprintln!("shell: cd: {shown}: {error}");
            }
            1
        }
    }
}

/// `exit [STATUS]`: the status is that of the command before, unless one is given.
fn exit(shell: &mut Shell, arguments: &[String]) -> u8 {
    let status = match arguments {
        [] => shell.status,
        [status] => match status.parse::<i64>() {
            Ok(status) => status as u8,
            Err(_) => {
                eprintln!("shell: exit: {status}: not a number");
                return USAGE;
            }
        },
        _ => {
            eprintln!("usage: exit [STATUS]");
            return USAGE;
        }
    };
    shell.exiting = true;
    status
}

/// `export [NAME=VALUE…]`: sets variables; without arguments shows them. (All variables are passed on to programs.)
fn export(shell: &mut Shell, arguments: &[String]) -> u8 {
    if arguments.is_empty() {
        let environment = shell.environment.lock().clone();
        let mut variables: alloc::vec::Vec<_> = environment.variables.iter().collect();
        variables.sort();
        for (name, value) in variables {
            println!("{name}={}", syntax::quote(value));
        }
        return 0;
    }
    let mut status = 0;
    for argument in arguments {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument.as_str(), None),
        };
        if !syntax::is_name(name) {
            eprintln!("shell: export: {argument}: not a name");
            status = 1;
        } else if let Some(value) = value {
            shell.environment.lock().set(name.to_string(), value.to_string());
        }
    }
    status
}

/// `unset NAME…`: removes variables.
fn unset(shell: &mut Shell, arguments: &[String]) -> u8 {
    for name in arguments {
        shell.environment.lock().unset(name);
    }
    0
}
