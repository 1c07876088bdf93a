//! In-kernel tests of files, streams, terminals and the shell.
//!
//! What doesn't need the kernel is tested on the host, beside the code. Here it is about what does: files in mapped pages, the boot
//! archive, streams of real tasks, programs run by the real shell, and what is left in memory afterwards.
#![no_std]

extern crate alloc;

mod files;
mod shell;
mod streams;
mod stress;
mod terminal;

use alloc::string::String;
use alloc::vec::Vec;
use fs_node::DirRef;
use vfs_node::VFSDirectory;

/// Runs the tests. 0 if all have passed.
#[inline(never)]
pub fn main(_args: Vec<String>) -> isize {
    ktest::run(
        "files",
        &[
            ("a file holds what was written", files::contents),
            ("a large file is one mapping", files::large_file_is_mapped),
            ("a file of the boot archive is mapped in place", files::boot_file),
            ("a file can begin as mapped pages", files::from_mapped_pages),
            ("a file too large for memory is an error", files::out_of_memory),
            ("files leave memory to others", files::files_leave_memory_to_others),
            ("files have the time of day", files::times),
            ("1,000 files leave nothing behind", files::no_leak),
            ("1,000 trees leave nothing behind", files::no_leak_of_trees),
            ("tasks use one tree at once", files::concurrent),
            ("a child inherits the streams", streams::inherited),
            ("a child can have streams of its own", streams::own),
            ("streams end with their task", streams::dropped),
            ("a pipe connects two tasks", streams::pipe),
            ("a line's status is that of its last command", shell::status),
            ("lines of a file", shell::scripts),
            ("&&, || and ; decide what runs", shell::operators),
            ("programs get their arguments and environment", shell::arguments_and_environment),
            ("errors are one line on standard error", shell::errors),
            ("<, > and >> lead to files", shell::redirections),
            ("| leads to the next program", shell::pipelines),
            ("programs that crash leave the shell running", shell::crashes),
            ("the programs for files do what they say", shell::file_programs),
            ("40 runs of the shell leave nothing behind", shell::no_leak),
            ("programs can be killed at any moment", stress::killed_at_any_moment),
            ("a person can edit, recall and complete", terminal::editing),
            ("Ctrl-C ends the program, not the shell", terminal::ctrl_c),
            ("Ctrl-C ends a program of shell -c", terminal::ctrl_c_of_a_line),
            ("Ctrl-C ends all of a pipeline", terminal::ctrl_c_of_a_pipeline),
            ("Ctrl-D ends input and shell", terminal::ctrl_d),
        ],
    )
}

/// An empty directory of this test's own in `/tmp`. It must be removed by [`remove`].
fn scratch(name: &str) -> DirRef {
    let tmp = root::get_root().lock().get_dir("tmp").expect("there is /tmp");
    remove(name);
    VFSDirectory::create_new(name, &tmp).expect("could not create a directory in /tmp")
}

/// Removes a directory made by [`scratch`], and all that is in it.
fn remove(name: &str) {
    let tmp = root::get_root().lock().get_dir("tmp").expect("there is /tmp");
    for failure in file_ops::remove(path::Path::new(name), &tmp, true) {
        assert!(failure.cause == file_ops::Cause::Fs(fs_node::FsError::NotFound), "{failure}");
    }
}

/// How many frames are free, as `ktest_system` counts them, and how many bytes of the heap are in use.
fn memory_in_use() -> (usize, usize) {
    heap::trim();
    (ktest_system::free_frames(), heap::statistics().in_use)
}
