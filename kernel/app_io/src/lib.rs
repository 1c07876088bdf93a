//! Standard input, output and error of tasks, and the macros that print to them.
//!
//! Each task has its own [`IoStreams`], kept with the task itself: a task that is started inherits those of the task that starts it,
//! and lets go of them when it ends. Whoever wants a child to have others starts it blocked, calls [`insert_child_streams`],
//! and unblocks it. Tasks that have none, because no ancestor had any, use the default ones ([`set_default_streams`]), which are
//! the console's.
//!
//! What else a program gets from its task is here for its convenience: [`working_dir`].
//!
//! Printing never fails and never panics: what nobody can receive any more is dropped. Programs that want to know call
//! [`stdout`] and write to it.
#![no_std]

extern crate alloc;

mod foreground;

use alloc::sync::Arc;
use core::fmt::{self, Write};
use fs_node::DirRef;
use io::IoError;
use spin::RwLock;
use tty::LineDiscipline;

pub use foreground::{Foreground, end_program};
pub use io::{ImmutableRead, ImmutableWrite};

/// Where a task reads from and prints to.
#[derive(Clone)]
pub struct IoStreams {
    /// What the task reads.
    pub stdin: Arc<dyn ImmutableRead>,
    /// Where its results go.
    pub stdout: Arc<dyn ImmutableWrite>,
    /// Where its complaints go.
    pub stderr: Arc<dyn ImmutableWrite>,
    /// The settings of the terminal that `stdin` is, if it is one.
    pub discipline: Option<Arc<LineDiscipline>>,
}

const NO_STREAMS: &str = "the task has no standard streams";
const NO_SUCH_TASK: &str = "there is no such task";
const NO_TERMINAL: &str = "standard input is no terminal";

static DEFAULT: RwLock<Option<IoStreams>> = RwLock::new(None);

/// Sets the streams of tasks that have none of their own.
pub fn set_default_streams(streams: IoStreams) {
    let former = DEFAULT.write().replace(streams);
    // Dropped with the lock released.
    drop(former);
}

/// Gives the task `task_id` its streams and returns those that it had, inherited ones included. `None` if it had none, or if there is no
/// such task.
pub fn insert_child_streams(task_id: usize, streams: IoStreams) -> Option<IoStreams> {
    let task = task::get_task(task_id)?.upgrade()?;
    let former = own_streams(&task);
    task.set_inherited_state(Some(Arc::new(streams)));
    former
}

/// Takes the streams away from the task `task_id`, which then uses the default ones. (There is no need to do so when a task ends.)
pub fn remove_child_streams(task_id: usize) -> Option<IoStreams> {
    let task = task::get_task(task_id)?.upgrade()?;
    let former = own_streams(&task);
    task.set_inherited_state(None);
    former
}

fn own_streams(task: &task::TaskRef) -> Option<IoStreams> {
    task.inherited_state()?.downcast::<IoStreams>().ok().map(|streams| IoStreams::clone(&streams))
}

/// The streams of the current task.
///
/// # Errors
/// If neither the task nor the kernel has any.
pub fn streams() -> Result<IoStreams, &'static str> {
    with_streams(IoStreams::clone)
}

/// Standard input of the current task.
///
/// # Errors
/// If it has none.
pub fn stdin() -> Result<Arc<dyn ImmutableRead>, &'static str> {
    with_streams(|streams| streams.stdin.clone())
}

/// Standard output of the current task.
///
/// # Errors
/// If it has none.
pub fn stdout() -> Result<Arc<dyn ImmutableWrite>, &'static str> {
    with_streams(|streams| streams.stdout.clone())
}

/// Standard error of the current task.
///
/// # Errors
/// If it has none.
pub fn stderr() -> Result<Arc<dyn ImmutableWrite>, &'static str> {
    with_streams(|streams| streams.stderr.clone())
}

/// The settings of the terminal that standard input of the current task is.
///
/// # Errors
/// If it is none.
pub fn line_discipline() -> Result<Arc<LineDiscipline>, &'static str> {
    with_streams(|streams| streams.discipline.clone())?.ok_or(NO_TERMINAL)
}

fn with_streams<R>(action: impl FnOnce(&IoStreams) -> R) -> Result<R, &'static str> {
    let own = task::with_current_task(|task| task.inherited_state()).map_err(|_| NO_SUCH_TASK)?;
    if let Some(own) = own.as_ref().and_then(|state| state.downcast_ref::<IoStreams>()) {
        return Ok(action(own));
    }
    let default = DEFAULT.read().clone();
    default.as_ref().map(action).ok_or(NO_STREAMS)
}

/// The working directory of the current task.
///
/// # Errors
/// If there are no tasks yet.
pub fn working_dir() -> Result<DirRef, &'static str> {
    let environment = task::with_current_task(|task| task.get_env()).map_err(|_| NO_SUCH_TASK)?;
    let dir = environment.lock().working_dir.clone();
    Ok(dir)
}

/// Prints to standard output of the current task; [`print!`] is the way to call it.
pub fn print_to_stdout_args(arguments: fmt::Arguments<'_>) {
    if let Ok(stream) = stdout() {
        print_to(&*stream, arguments);
    }
}

/// Prints to standard error of the current task; [`eprint!`] is the way to call it.
pub fn print_to_stderr_args(arguments: fmt::Arguments<'_>) {
    if let Ok(stream) = stderr() {
        print_to(&*stream, arguments);
    }
}

/// Prints to any stream, in as few writes as a small buffer allows.
fn print_to(stream: &dyn ImmutableWrite, arguments: fmt::Arguments<'_>) {
    let mut pieces = Pieces { stream, buffer: [0; Pieces::SIZE], length: 0, result: Ok(()) };
    // An error of a `Display` impl ends the text; what was written of it is shown.
    let _ = pieces.write_fmt(arguments);
    pieces.flush();
}

/// Collects pieces of text, so that a line is one write and isn't mixed with those of other tasks. It is on the stack, since
/// printing must work when memory has run out.
struct Pieces<'s> {
    stream: &'s dyn ImmutableWrite,
    buffer: [u8; Pieces::SIZE],
    length: usize,
    result: Result<(), IoError>,
}

impl Pieces<'_> {
    const SIZE: usize = 512;

    fn flush(&mut self) {
        if self.length > 0 && self.result.is_ok() {
            self.result = self.stream.write_all(&self.buffer[..self.length]);
        }
        self.length = 0;
    }
}

impl Write for Pieces<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            if self.length == Self::SIZE {
                self.flush();
            }
            let count = rest.len().min(Self::SIZE - self.length);
            self.buffer[self.length..self.length + count].copy_from_slice(&rest[..count]);
            self.length += count;
            rest = &rest[count..];
        }
        if self.result.is_ok() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Prints to standard output of the current task.
#[macro_export]
macro_rules! print {
    ($($arguments:tt)*) => { $crate::print_to_stdout_args(::core::format_args!($($arguments)*)) };
}

/// Prints a line to standard output of the current task.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($arguments:tt)*) => {
        $crate::print_to_stdout_args(::core::format_args!("{}\n", ::core::format_args!($($arguments)*)))
    };
}

/// Prints to standard error of the current task.
#[macro_export]
macro_rules! eprint {
    ($($arguments:tt)*) => { $crate::print_to_stderr_args(::core::format_args!($($arguments)*)) };
}

/// Prints a line to standard error of the current task.
#[macro_export]
macro_rules! eprintln {
    () => { $crate::eprint!("\n") };
    ($($arguments:tt)*) => {
        $crate::print_to_stderr_args(::core::format_args!("{}\n", ::core::format_args!($($arguments)*)))
    };
}
