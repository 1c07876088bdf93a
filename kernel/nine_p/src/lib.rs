//! A folder of the host, over 9P.
//!
//! [`mount`] speaks 9P2000.L, the dialect that Linux and QEMU have, over a [`Transport`], and gives the folder as a directory for the tree of files.
//! Nothing is kept here: each look, read and write asks the host, so both sides see at once what the other one does. The protocol:
//! *9P2000.L* of diod, and `fs/9p` of Linux.
//!
//! # Invariants
//! * A name is found by asking the host for that very name in that very directory; links are followed here, by this side's paths. So nothing leads
//!   out of the folder.
//! * Whatever the host answers, there is an error and never a panic.
//! * As long as somebody holds a file, the host holds it too: by a fid, which is given back afterwards. A file that is removed here is opened
//!   before, so that whoever holds it can go on.
#![cfg_attr(target_os = "theseus", no_std)]

extern crate alloc;

mod client;
mod message;
mod node;
#[cfg(test)]
mod tests;

pub use client::Transport;
pub use node::mount;
