//! The console on the first serial port: a terminal, and the shell that runs on it.
//!
//! [`start`] makes two tasks. One passes on what is typed, to programs that read and to whoever ends programs by Ctrl-C. The
//! other runs the shell, again should it ever crash, and switches the machine off with the shell's status when it ends.
//!
//! A serial port has no idea of who is at its other end. With a person there, the terminal echoes and ends lines with carriage
//! return and line feed. With a command to run and a program that reads its output, the terminal adds nothing to the output's
//! bytes, not even an echo. Either way Ctrl-C works.
//!
//! # Invariants
//! * Output is not buffered: when a write returns, the device has the bytes, so nothing is lost when the machine is switched off.
//! * Neither task can be killed, and both survive a panic, such as one for lack of memory: else nobody could type any more.
//! * Bytes that arrive faster than they are passed on stay in the device, which makes the sender wait.
#![no_std]

extern crate alloc;

mod input;
mod session;

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use app_io::{ImmutableWrite, IoStreams};
use io::IoError;
use sync_block::Mutex;
use task::JoinableTaskRef;
use tty::Tty;

/// The serial port as a screen.
struct Screen {
    /// Held for each write, so that the output of several tasks doesn't get mixed up inside of a line.
    writing: Mutex<()>,
}

impl ImmutableWrite for Screen {
    /// A task that was killed ends here rather than with the last line of a long text.
    fn write(&self, buffer: &[u8]) -> Result<usize, IoError> {
        task::exit_if_killed();
        let _writing = self.writing.lock();
        serial_port_basic::write_bytes(buffer);
        Ok(buffer.len())
    }
}

/// Starts the console: an interactive shell, or one that runs the line `command`. When the shell ends, the machine is switched off
/// with the shell's status. Returns the task that runs the shell.
///
/// Interrupts must be on, and tasks running.
///
/// # Errors
/// If a task can't be made.
pub fn start(command: Option<&str>) -> Result<JoinableTaskRef, String> {
    let tty = Tty::new(Arc::new(Screen { writing: Mutex::new(()) }));
    let slave = Arc::new(tty.slave());
    let discipline = slave.discipline();
    if command.is_some() {
        discipline.set_echo(false);
        discipline.set_cooked_output(false);
    }
    app_io::set_default_streams(IoStreams {
        stdin: slave.clone(),
        stdout: slave.clone(),
        stderr: slave,
        discipline: Some(discipline),
    });
    input::start(tty.master())?;
    let command = command.map(String::from);
    let task = spawn::new_task_builder(session::run, command).name("console".to_string()).spawn()?;
    // Without it a shell that ends would be the last one, and nothing would switch the machine off.
    task.make_indispensable();
    Ok(task)
}
