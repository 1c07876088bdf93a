//! What the benchmark asks of its operating system: here, our kernel.

pub(crate) use app_io::println;
pub(crate) use wasm_wasi::pipe::{MemoryInputPipe, MemoryOutputPipe};
pub(crate) use wasm_wasi::{I32Exit, WasiCtxBuilder, WasiP1Ctx, add_to_linker_sync};

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use fs_node::FileOrDir;
use path::Path;
use vfs_node::VFSDirectory;
use wasm_engine::{Error, Result};
use wasm_wasi::{DirPerms, FilePerms};

/// Gives a guest an empty directory, as its first one.
pub(crate) fn give_directory(builder: &mut WasiCtxBuilder) -> Result<()> {
    let dir = VFSDirectory::create_root();
    builder.preopened_node(&dir, "dir", DirPerms::all(), FilePerms::all())?;
    Ok(())
}

/// The file of a program.
pub(crate) fn program(name: &str) -> Result<Vec<u8>> {
    let path = format!("/files/{name}");
    let failed = |reason: &dyn core::fmt::Display| Error::msg(format!("{path}: {reason}"));
    let node = Path::new(&path).resolve(root::get_root()).map_err(|reason| failed(&reason))?;
    let FileOrDir::File(file) = node else { return Err(failed(&"is a directory")) };
    let mut file = file.lock();
    let mut content = vec![0; file.len()];
    file.read_at(&mut content, 0).map_err(|reason| failed(&fs_node::FsError::from(reason)))?;
    Ok(content)
}
