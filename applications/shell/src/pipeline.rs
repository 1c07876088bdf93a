//! Running the commands of a pipeline, with the streams that the line gives them.

use crate::builtins::{self, Builtin};
use crate::run::{CANNOT_START, Shell, find_program};
use crate::syntax::{Command, Redirection, Stream, Target, Word, quote};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use app_io::{Foreground, ImmutableRead, IoStreams, eprintln};
use environment::Environment;
use file_ops::{FileReader, FileWriter};
use path::Path;
use spin::Mutex;
use stdio::Stdio;
use task::{ExitValue, JoinableTaskRef, KillReason, TaskRef};

/// A file of a redirection could not be opened.
const CANNOT_OPEN: u8 = 1;
const NOT_FOUND: u8 = 127;
const INTERRUPTED: u8 = 130;
const CRASHED: u8 = 134;

/// A status, and what there is to be said.
type Problem = (u8, String);

/// What became of a command.
enum Started {
    /// It is a program, called so, that waits to be unblocked.
    Program(String, JoinableTaskRef),
    /// It was run, with this status.
    Done(u8),
}

/// The programs of a pipeline. Those that still run when this is dropped are ended: the shell itself was.
struct Programs(Vec<(String, JoinableTaskRef)>);

impl Programs {
    fn tasks(&self) -> impl Iterator<Item = &TaskRef> {
        self.0.iter().map(|(_, task)| &**task)
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        self.tasks().for_each(app_io::end_program);
    }
}

impl Shell {
    /// Runs a pipeline and sets the status. Returns whether Ctrl-C ended it.
    pub(crate) fn run_pipeline(&mut self, commands: &[Command], streams: IoStreams) -> bool {
        let mut programs = Programs(Vec::new());
        let mut input = None;
        // Of the last command, as far as it is known before the programs run.
        let mut last = None;
        for (index, command) in commands.iter().enumerate() {
            let mut own = streams.clone();
            if let Some(input) = input.take() {
                (own.stdin, own.discipline) = (input, None);
            }
            if index + 1 < commands.len() {
                let pipe = Stdio::new();
                let reader: Arc<dyn ImmutableRead> = Arc::new(pipe.get_reader());
                (own.stdout, input) = (Arc::new(pipe.get_writer()), Some(reader));
            }
            let started = match self.redirect(command, own) {
                Ok(own) => self.start(command, own, commands.len() == 1),
                Err(problem) => Err(problem),
            };
            last = match started {
                Ok(Started::Program(name, task)) => {
                    programs.0.push((name, task));
                    None
                }
                Ok(Started::Done(status)) => Some(status),
                Err((status, reason)) => {
                    eprintln!("shell: {reason}");
                    Some(status)
                }
            };
        }
        let (interrupted, status) = self.wait_for(&programs);
        self.status = last.unwrap_or(status);
        interrupted
    }

    /// Lets the programs run, and waits for their ends. Returns whether one of them was told to end, and the status of the last.
    fn wait_for(&self, programs: &Programs) -> (bool, u8) {
        if programs.0.is_empty() {
            return (false, 0);
        }
        let discipline = app_io::line_discipline().ok();
        if let (true, Some(discipline)) = (self.interactive, &discipline) {
            discipline.set_sane();
        }
        let foreground = discipline.map(|discipline| Foreground::new(discipline, programs.tasks()));
        for task in programs.tasks() {
            // It was made blocked, so this is what makes it run; if Ctrl-C was faster, it has ended.
            let _ = task.unblock();
        }
        let ends: Vec<(&str, Result<u8, Problem>)> =
            programs.0.iter().map(|(name, task)| (name.as_str(), end_of(task))).collect();
        drop(foreground);
        // One key has ended all of them, so it is said once.
        let told = ends.iter().rposition(|(_, end)| matches!(end, Err((INTERRUPTED, _))));
        for (index, (name, end)) in ends.iter().enumerate() {
            if let Err((status, reason)) = end
                && (*status != INTERRUPTED || told == Some(index))
            {
                eprintln!("shell: {name}: {reason}");
            }
        }
        let last = ends.last().map_or(0, |(_, end)| match end {
            Ok(status) | Err((status, _)) => *status,
        });
        (told.is_some() || last == INTERRUPTED, last)
    }

    /// Runs a command that needs no program, or prepares its program.
    fn start(&mut self, command: &Command, streams: IoStreams, alone: bool) -> Result<Started, Problem> {
        let words: Vec<String> = command.words.iter().flat_map(|word| self.expand(word)).collect();
        let assignments = self.assignments(command);
        let Some((name, arguments)) = words.split_first() else {
            if alone {
                let mut environment = self.environment.lock();
                assignments.into_iter().for_each(|(name, value)| environment.set(name, value));
            }
            return Ok(Started::Done(0));
        };
        let mut environment = self.environment.lock().clone();
        for (name, value) in assignments {
            environment.set(name, value);
        }
        let (program, arguments) = match builtins::find(name) {
            // Assignments in front of a built-in command have no use.
            Some(builtin) if alone => {
                return Ok(Started::Done(self.run_builtin(builtin, arguments, command, streams)));
            }
            // In a shell of its own, since all of a pipeline run at once, and what it changes is its own business.
            Some(_) => {
                let line: Vec<String> = words.iter().map(|word| quote(word)).collect();
                ("shell", vec!["-c".to_string(), line.join(" ")])
            }
            None => (name.as_str(), arguments.to_vec()),
        };
        match prepare(program, arguments, environment, streams) {
            Ok(task) => Ok(Started::Program(name.clone(), task)),
            Err((status, reason)) => Err((status, format!("{name}: {reason}"))),
        }
    }

    /// Runs a command that is part of the shell, with the streams of its redirections.
    fn run_builtin(
        &mut self,
        builtin: Builtin,
        arguments: &[String],
        command: &Command,
        streams: IoStreams,
    ) -> u8 {
        if command.redirections.is_empty() {
            return builtin(self, arguments);
        }
        let Ok(task) = task::with_current_task(|task| task.id) else { return CANNOT_START };
        let former = app_io::insert_child_streams(task, streams);
        let status = builtin(self, arguments);
        match former {
            Some(former) => drop(app_io::insert_child_streams(task, former)),
            None => drop(app_io::remove_child_streams(task)),
        }
        status
    }

    /// The streams of a command: `streams`, and then what its redirections say, one after the other.
    fn redirect(&self, command: &Command, mut streams: IoStreams) -> Result<IoStreams, Problem> {
        for Redirection { stream, target } in &command.redirections {
            match (stream, target) {
                (Stream::Input, Target::File(word) | Target::EndOfFile(word)) => {
                    streams.stdin = Arc::new(self.open(word, FileReader::open)?);
                    streams.discipline = None;
                }
                (output, target) => {
                    let leads = match target {
                        Target::File(word) => Arc::new(self.open(word, FileWriter::create)?),
                        Target::EndOfFile(word) => Arc::new(self.open(word, FileWriter::append)?),
                        Target::Same(Stream::Error) => streams.stderr.clone(),
                        Target::Same(_) => streams.stdout.clone(),
                    };
                    match output {
                        Stream::Error => streams.stderr = leads,
                        _ => streams.stdout = leads,
                    }
                }
            }
        }
        Ok(streams)
    }

    /// Opens the file that a word names.
    fn open<T>(
        &self,
        word: &Word,
        open: fn(&Path, &fs_node::DirRef) -> Result<T, fs_node::FsError>,
    ) -> Result<T, Problem> {
        let names = self.expand(word);
        let [name] = names.as_slice() else {
            let names = names.len();
            return Err((CANNOT_OPEN, format!("a redirection needs one file name, and there are {names}")));
        };
        let cwd = self.environment.lock().working_dir.clone();
        open(Path::new(name), &cwd).map_err(|error| {
            let shown = if name.is_empty() { "''" } else { name };
            (CANNOT_OPEN, format!("{shown}: {error}"))
        })
    }
}

/// Loads a program and makes its task, which waits to be unblocked.
fn prepare(
    name: &str,
    arguments: Vec<String>,
    environment: Environment,
    streams: IoStreams,
) -> Result<JoinableTaskRef, Problem> {
    let file = find_program(name).ok_or_else(|| (NOT_FOUND, "command not found".to_string()))?;
    let cannot = |reason: String| (CANNOT_START, reason);
    let task = spawn::new_application_task_builder(&file, None)
        .map_err(|error| cannot(error.to_string()))?
        .argument(arguments)
        .block()
        .spawn()
        .map_err(|error| cannot(error.to_string()))?;
    task.set_env(Arc::new(Mutex::new(environment)));
    drop(app_io::insert_child_streams(task.id, streams));
    Ok(task)
}

/// Waits for the end of a program: its status, or the status and the reason if there is something to be said.
fn end_of(task: &JoinableTaskRef) -> Result<u8, Problem> {
    match task.join().map_err(|error| (CANNOT_START, error.to_string()))? {
        ExitValue::Completed(value) => match value.downcast_ref::<isize>() {
            Some(status) => Ok(*status as u8),
            None => Err((CANNOT_START, "its main returned something else than a status".to_string())),
        },
        ExitValue::Killed(KillReason::Requested) => Err((INTERRUPTED, "killed".to_string())),
        ExitValue::Killed(reason) => Err((CRASHED, reason.to_string())),
    }
}
