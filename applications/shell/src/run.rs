//! Running lines and programs.

use crate::interactive;
use crate::syntax::{self, Command, When, Word};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use app_io::{ImmutableRead, eprintln};
use environment::Environment;
use file_ops::FileReader;
use path::{Path, PathBuf};
use spin::Mutex;

/// Wrong usage.
pub(crate) const USAGE: u8 = 2;
pub(crate) const CANNOT_START: u8 = 126;

/// A shell's state.
pub(crate) struct Shell {
    /// Working directory and variables: the shell's own, and what programs get a copy of.
    pub environment: Arc<Mutex<Environment>>,
    /// The status of the command before: `$?`.
    pub status: u8,
    /// `exit` was run.
    pub exiting: bool,
    /// There is a person at the other end.
    pub interactive: bool,
}

/// Runs the shell; returns its status.
pub fn shell(args: Vec<String>) -> isize {
    let mut shell = match Shell::new(args.is_empty()) {
        Ok(shell) => shell,
        Err(reason) => {
            eprintln!("shell: {reason}");
            return isize::from(CANNOT_START);
        }
    };
    match args.as_slice() {
        [] => interactive::run(&mut shell),
        [option, line] if option == "-c" => {
            shell.run_line(line);
        }
        [file] if !file.starts_with('-') => shell.run_file(file),
        _ => {
            eprintln!("usage: shell [FILE | -c LINE]");
            return isize::from(USAGE);
        }
    }
    isize::from(shell.status)
}

impl Shell {
    /// A shell with a copy of the environment of the task that runs it, so that `cd` changes nothing for whoever started it.
    fn new(interactive: bool) -> Result<Self, &'static str> {
        let environment = task::with_current_task(|task| {
            let environment = Arc::new(Mutex::new(task.get_env().lock().clone()));
            task.set_env(environment.clone());
            environment
        })
        .map_err(|_| "there is no current task")?;
        Ok(Self { environment, status: 0, exiting: false, interactive })
    }

    /// Runs the lines of a file, up to the end, `exit` or Ctrl-C.
    fn run_file(&mut self, name: &str) {
        let text = match self.read(name) {
            Ok(text) => text,
            Err(reason) => {
                eprintln!("shell: {name}: {reason}");
                self.status = CANNOT_START;
                return;
            }
        };
        for line in text.lines() {
            if !self.run_line(line) {
                break;
            }
        }
    }

    /// The text of a file.
    fn read(&self, name: &str) -> Result<String, String> {
        let cwd = self.environment.lock().working_dir.clone();
        let file = FileReader::open(Path::new(name), &cwd).map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        let mut buffer = [0; 512];
        loop {
            match file.read(&mut buffer).map_err(|error| error.to_string())? {
                0 => break,
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
        String::from_utf8(bytes).map_err(|_| "this is not text in UTF-8".to_string())
    }

    /// Runs the commands of a line, up to the end, `exit` or Ctrl-C. Returns whether it was the end.
    pub fn run_line(&mut self, line: &str) -> bool {
        let pipelines = match syntax::parse(line) {
            Ok(pipelines) => pipelines,
            Err(error) => {
                eprintln!("shell: {error}");
                self.status = USAGE;
                return true;
            }
        };
        for pipeline in &pipelines {
            let runs = match pipeline.when {
                When::Always => true,
                When::Success => self.status == 0,
                When::Failure => self.status != 0,
            };
            if runs {
                let interrupted = match app_io::streams() {
                    Ok(streams) => self.run_pipeline(&pipeline.commands, streams),
                    Err(reason) => {
                        eprintln!("shell: {reason}");
                        self.status = CANNOT_START;
                        false
                    }
                };
                if interrupted || self.exiting {
                    return false;
                }
            }
        }
        true
    }

    /// The assignments of a command.
    pub(crate) fn assignments(&self, command: &Command) -> Vec<(String, String)> {
        command.assignments.iter().map(|(name, value)| (name.clone(), self.value(value))).collect()
    }

    /// The arguments that a word stands for.
    pub(crate) fn expand(&self, word: &Word) -> Vec<String> {
        word.expand(&|name| self.variable(name))
    }

    /// What a word stands for as a variable's value.
    fn value(&self, word: &Word) -> String {
        word.expand_whole(&|name| self.variable(name))
    }

    /// The value of a variable. Besides those that were set there are `?`, the last status, and `PWD`, the working directory.
    pub fn variable(&self, name: &str) -> Option<String> {
        match name {
            "?" => Some(self.status.to_string()),
            "PWD" => Some(self.environment.lock().cwd()),
            name => self.environment.lock().get(name).map(String::from),
        }
    }
}

/// The object file of a program, as seen from the directory of applications. A name with a `/` is the path of one.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        let cwd = app_io::working_dir().ok()?;
        let file = Path::new(name).get_file(&cwd)?;
        let path = file.lock().get_absolute_path();
        return Some(PathBuf::from(path));
    }
    object_files().into_iter().find(|file| program_name(file) == Some(name)).map(PathBuf::from)
}

/// The names of all programs, in ascending order.
pub(crate) fn programs() -> Vec<String> {
    let mut names: Vec<String> =
        object_files().iter().filter_map(|file| program_name(file).map(String::from)).collect();
    names.dedup();
    names
}

/// The program whose object file is called `file`: what is before the hash.
fn program_name(file: &str) -> Option<&str> {
    file.strip_suffix(".o")?.rsplit_once('-').map(|(name, _hash)| name)
}

/// The names of the files in the directory of applications.
fn object_files() -> Vec<String> {
    let namespace = task::with_current_task(|task| task.get_namespace().clone());
    namespace.map_or(Vec::new(), |namespace| namespace.dir().lock().list())
}

/// The prompt: where one is.
pub(crate) fn prompt(shell: &Shell) -> String {
    format!("theseus:{}$ ", shell.environment.lock().cwd())
}
