//! Terminals: what happens between a keyboard, a screen and the programs that use them.
//!
//! A [`Tty`] has two ends. The [`Master`] is the device's: it passes on what was typed. The [`Slave`] is the
//! programs': they read lines from it and write text to it, which goes to the screen right away. Between the two is
//! the [`LineDiscipline`], which echoes, lets a line be corrected before it is read, and turns Ctrl-C, Ctrl-D and Ctrl-Z
//! into [`Event`]s.
//!
//! # Invariants
//! * What is written to the slave reaches the screen completely and in order. Writes of one call are not mixed with those of
//!   other tasks, if the screen's own `write_all` guarantees so.
//! * Nothing that is typed is lost, unless more than [`INPUT_LIMIT`] bytes wait to be read: then the bell rings. Ctrl-C works even then.
//! * The discipline's lock is never held while something is written, waited for, or an event handler runs.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod discipline;
mod state;
#[cfg(test)]
mod tests;

pub use discipline::{EventHandler, LineDiscipline};
pub use state::{Event, INPUT_LIMIT};

use alloc::sync::Arc;
use core::time::Duration;
use io::{ImmutableRead, ImmutableWrite, IoError, Watcher};

/// A terminal.
#[derive(Clone)]
pub struct Tty {
    discipline: Arc<LineDiscipline>,
    screen: Arc<dyn ImmutableWrite>,
}

impl Tty {
    /// A terminal whose output and echo go to `screen`. It starts out as [`LineDiscipline::set_sane`] leaves it.
    pub fn new(screen: Arc<dyn ImmutableWrite>) -> Self {
        Self { discipline: Arc::new(LineDiscipline::new()), screen }
    }

    /// The device's end.
    pub fn master(&self) -> Master {
        Master { tty: self.clone() }
    }

    /// The programs' end.
    pub fn slave(&self) -> Slave {
        Slave { tty: self.clone() }
    }
}

/// The device's end of a [`Tty`].
#[derive(Clone)]
pub struct Master {
    tty: Tty,
}

impl Master {
    /// What is between the two ends.
    pub fn discipline(&self) -> Arc<LineDiscipline> {
        self.tty.discipline.clone()
    }

    /// Passes on a byte that was typed.
    pub fn write_byte(&self, byte: u8) -> Result<(), IoError> {
        self.write(&[byte]).map(|_| ())
    }

    /// Passes on what was typed: echoes it, makes it readable, and calls the event handler. Returns the number of bytes, which is that
    /// of `bytes`.
    ///
    /// # Errors
    /// If the screen can't be written to. The input has been passed on nevertheless.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, IoError> {
        let echo = self.tty.discipline.type_in(bytes);
        self.tty.screen.write_all(&echo)?;
        Ok(bytes.len())
    }
}

/// The programs' end of a [`Tty`].
#[derive(Clone)]
pub struct Slave {
    tty: Tty,
}

impl Slave {
    /// What is between the two ends.
    pub fn discipline(&self) -> Arc<LineDiscipline> {
        self.tty.discipline.clone()
    }

    /// Waits for a byte. `None` is the end of the input (Ctrl-D).
    ///
    /// # Errors
    /// If the echo can't be shown.
    pub fn read_byte(&self) -> Result<Option<u8>, IoError> {
        let mut byte = [0];
        Ok((self.read(&mut byte)? == 1).then_some(byte[0]))
    }

    /// Reads without waiting; `None` if there is nothing to read yet.
    pub fn try_read(&self, buffer: &mut [u8]) -> Option<usize> {
        self.tty.discipline.try_read(buffer)
    }

    /// Shows what a change of the settings left to be shown.
    fn show_echo(&self) -> Result<(), IoError> {
        self.tty.screen.write_all(&self.tty.discipline.take_echo())
    }

    /// Writes a byte.
    ///
    /// # Errors
    /// If the screen can't be written to.
    pub fn write_byte(&self, byte: u8) -> Result<(), IoError> {
        self.write_all(&[byte])
    }
}

impl ImmutableRead for Slave {
    fn read(&self, buffer: &mut [u8]) -> Result<usize, IoError> {
        self.show_echo()?;
        Ok(self.tty.discipline.read(buffer))
    }

    fn wait_readable(&self, timeout: Option<Duration>) -> bool {
        // That it can't be shown is for the read to report.
        self.show_echo().is_err() || self.tty.discipline.wait_readable(timeout)
    }

    fn watch_readable(&self, watcher: &Arc<dyn Watcher>) -> bool {
        self.tty.discipline.watch(watcher);
        true
    }

    fn is_terminal(&self) -> bool {
        true
    }
}

impl ImmutableWrite for Slave {
    fn is_terminal(&self) -> bool {
        self.tty.discipline.cooked_output()
    }

    fn write(&self, buffer: &[u8]) -> Result<usize, IoError> {
        self.write_all(buffer)?;
        Ok(buffer.len())
    }

    fn write_all(&self, buffer: &[u8]) -> Result<(), IoError> {
        self.show_echo()?;
        if !self.tty.discipline.cooked_output() || !buffer.contains(&b'\n') {
            return self.tty.screen.write_all(buffer);
        }
        // In pieces on the stack: writing must work when memory has run out.
        let mut piece = [0; 512];
        for part in buffer.chunks(piece.len() / 2) {
            let mut length = 0;
            for byte in part {
                if *byte == b'\n' {
                    piece[length] = b'\r';
                    length += 1;
                }
                piece[length] = *byte;
                length += 1;
            }
            self.tty.screen.write_all(&piece[..length])?;
        }
        Ok(())
    }
}
