//! Programs that are run by tests.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use app_io::IoStreams;
use path::Path;
use stdio::{Stdio, StdioReader};
use task::{ExitValue, JoinableTaskRef};

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// With this status.
    Status(isize),
    /// Before its time, for this reason.
    Killed(String),
}

/// What a program printed, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub ending: Ending,
    /// What it printed to standard output.
    pub stdout: String,
    /// What it printed to standard error.
    pub stderr: String,
}

/// Bytes that each of a program's output streams holds before the program has to wait: more than tests print.
const ROOM: usize = 64 << 10;

/// Runs the program `name` to its end. There is nothing on its standard input.
///
/// # Panics
/// If there is no such program or it cannot be loaded.
pub fn run_program(name: &str, args: &[&str]) -> Output {
    Running::start(name, args, ROOM).finish()
}

/// A program that runs, with its streams in our hands.
pub struct Running {
    task: JoinableTaskRef,
    stdout: StdioReader,
    stderr: StdioReader,
}

impl Running {
    /// Starts the program `name`. Each of its output streams holds `room` bytes; a program that prints more waits until
    /// somebody reads.
    ///
    /// # Panics
    /// If there is no such program or it cannot be loaded.
    pub fn start(name: &str, args: &[&str], room: usize) -> Self {
        Self::try_start(name, args, room)
            .unwrap_or_else(|reason| panic!("{name} cannot be started: {reason}"))
    }

    /// As [`start`](Self::start), with the reason, in the words that a shell would print, if it cannot be started.
    ///
    /// # Errors
    /// If it cannot be loaded, or there is no memory for a task.
    ///
    /// # Panics
    /// If there is no such program.
    pub fn try_start(name: &str, args: &[&str], room: usize) -> Result<Self, String> {
        let namespace =
            task::with_current_task(|task| task.get_namespace().clone()).expect("a task runs tests");
        let file = namespace.dir().get_file_starting_with(&format!("{name}-"));
        let file = file.unwrap_or_else(|| panic!("there is no program {name}")).lock().get_absolute_path();
        let task = spawn::new_application_task_builder(Path::new(&file), None)
            .map_err(|error| error.to_string())?
            .argument(args.iter().map(ToString::to_string).collect())
            .block()
            .spawn()?;
        let (stdin, stdout, stderr) = (Stdio::new(), Stdio::with_capacity(room), Stdio::with_capacity(room));
        let streams = IoStreams {
            stdin: Arc::new(stdin.get_reader()),
            stdout: Arc::new(stdout.get_writer()),
            stderr: Arc::new(stderr.get_writer()),
            discipline: None,
        };
        app_io::insert_child_streams(task.id, streams);
        task.unblock().expect("it was made blocked");
        // With the queues themselves dropped, the program is the only one who can write to them.
        Ok(Self { task, stdout: stdout.get_reader(), stderr: stderr.get_reader() })
    }

    /// The program's task.
    pub fn task(&self) -> &JoinableTaskRef {
        &self.task
    }

    /// How many bytes of its standard output wait to be read.
    pub fn waiting_output(&self) -> usize {
        self.stdout.remaining_bytes()
    }

    /// Reads what it prints until it ends.
    pub fn finish(self) -> Output {
        // One after the other: who fills standard error while we read standard output waits until we come to it, and
        // nobody prints more than `ROOM` there.
        let (stdout, stderr) = (read_all(&self.stdout), read_all(&self.stderr));
        let ending = match self.task.join().expect("nobody else joins it") {
            ExitValue::Completed(value) => {
                Ending::Status(*value.downcast_ref::<isize>().expect("a program's main returns an isize"))
            }
            ExitValue::Killed(reason) => Ending::Killed(reason.to_string()),
        };
        Output { ending, stdout, stderr }
    }
}

/// All that comes until nobody can write any more.
fn read_all(stream: &StdioReader) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 512];
    loop {
        match app_io::ImmutableRead::read(stream, &mut buffer).expect("a queue can be read") {
            0 => return String::from_utf8(bytes).expect("programs print UTF-8"),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}
