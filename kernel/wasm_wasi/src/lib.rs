//! WASI preview 1 (`wasi_snapshot_preview1`) for WebAssembly programs, in the shape of `wasmtime_wasi::p1`.
//!
//! ```ignore
//! let mut wasi = WasiCtxBuilder::new();
//! wasi.inherit_stdio().args(&["prog", "x"]).preopened_dir("/tmp/data", "data", DirPerms::all(), FilePerms::all())?;
//! let mut linker: Linker<WasiP1Ctx> = Linker::new(&engine);
//! add_to_linker_sync(&mut linker, |ctx| ctx)?;
//! let mut store = Store::new(&engine, wasi.build_p1());
//! ```
//!
//! In the kernel the functions work on the tree of files, the clocks, streams and random numbers of the kernel directly; on Linux on
//! those of the host. Which of the functions are there says [`FUNCTIONS`].
//!
//! In the kernel nobody need link with this crate: `wasm_run` loads it by name when a module imports the functions, and finds
//! [`link_program`] by the symbol [`LINK_SYMBOL`].
//!
//! # What a guest can do
//! What it was given, and nothing else. There is no path but from a directory that it has; no `..`, symbolic link, absolute path or
//! rename leads out of that (see `fs`). Each descriptor has rights, as the specification has them: what is made from another one has no right
//! that the other could not give, a file that is moved or linked does not get more of them, and rights can only be given up.
//! A directory given read-only has no right to change anything.
//!
//! # Invariants
//! - Whatever the arguments are, a function returns an error number of the specification; it does not trap, and does not panic. An error that
//!   ends the guest is only that of `proc_exit` ([`I32Exit`]), and [`Trap::Interrupt`](wasm_engine::Trap::Interrupt) when its time is over.
//! - Places for results are checked before anything is done.
//! - What takes long is done in pieces, between which the task can be killed and the store's deadline ends the guest. Who waits sleeps.
//! - Bytes are read and written where they are in the guest's memory, unless that is shared (see `guest`).
//! - Nothing of the host grows with what a guest asks for beyond a limit: descriptors, paths, lists of entries.
#![cfg_attr(target_os = "theseus", no_std)]

extern crate alloc;

mod calls;
mod clocks;
mod ctx;
mod errno;
mod fs;
mod guest;
mod linker;
pub mod pipe;
mod program;
mod random;
mod stdio;
mod table;
mod types;

pub use clocks::{HostMonotonicClock, HostWallClock};
pub use ctx::{DirPerms, FilePerms, WasiCtxBuilder, WasiP1Ctx};
pub use errno::Errno;
pub use linker::{FUNCTIONS, MODULE, add_to_linker_sync, p0};
pub use program::{LINK_SYMBOL, LinkProgram, Preopen, Program, ProgramOptions, link_program};
pub use stdio::{InputStream, IsTerminal, OutputStream, StdinStream, StdoutStream};

use core::fmt;
use core::time::Duration;
use wasm_engine::{Error, Trap};

/// The program has ended by `proc_exit`, with this status. An error of the call that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct I32Exit(pub i32);

impl fmt::Display for I32Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exited with i32 exit status {}", self.0)
    }
}

impl core::error::Error for I32Exit {}

/// Why a function did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The guest is told.
    Errno(Errno),
    /// The guest ends.
    End(Error),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Failure::Errno(errno)
    }
}

/// When a guest is to be interrupted in what the host does for it.
pub(crate) struct Stop {
    /// The time of [`wasm_platform::monotonic_nanos`] from which on it has no more time.
    pub(crate) deadline: Option<u64>,
}

impl Stop {
    /// To be called between two pieces of work. Unwinds if the task was killed.
    ///
    /// # Errors
    /// [`Trap::Interrupt`] if the guest's time is over.
    pub(crate) fn look(&self) -> Result<(), Failure> {
        wasm_platform::end_if_killed();
        match self.deadline {
            Some(deadline) if deadline <= wasm_platform::monotonic_nanos() => {
                Err(Failure::End(Trap::Interrupt.into()))
            }
            _ => Ok(()),
        }
    }

    /// Has `wait` wait until a stream is ready, not beyond the end of the guest's time. If there is none, it is left to the reading or writing itself
    /// to wait.
    ///
    /// # Errors
    /// As [`look`](Self::look).
    pub(crate) fn wait_within(&self, wait: impl Fn(Option<Duration>) -> bool) -> Result<(), Failure> {
        let Some(deadline) = self.deadline else { return Ok(()) };
        loop {
            self.look()?;
            let left = deadline.saturating_sub(wasm_platform::monotonic_nanos());
            if wait(Some(Duration::from_nanos(left))) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests;
