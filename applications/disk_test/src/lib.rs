//! `disk_test [DIRECTORY]` tests the file system that a directory is in, `/disk` by default: the functions of WASI in it, several tasks at once,
//! and tasks that are killed. It works in a directory of its own, which it removes.
//!
//! It is none of `test_all`'s suites: it needs a disk.
#![no_std]

extern crate alloc;

#[path = "../../test_wasi/src/suite/mod.rs"]
#[allow(dead_code, reason = "some of these tests need links and times that not all file systems have")]
mod suite;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use app_io::eprintln;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use fs_node::{DirRef, FileOrDir, FsError};
use memfs::MemFile;
use path::Path;
use spin::Once;
use suite::{Ground, files};
use task::KillReason;
use vfs_node::VFSDirectory;

/// The directory that the tests make theirs in.
static PLACE: Once<DirRef> = Once::new();

const NAME: &str = "disk_test.tmp";

const TESTS: &[(&str, fn())] = &[
    ("WASI: files are made, read and written", || with_ground(files::contents)),
    ("WASI: files are opened as asked", || with_ground(files::opening)),
    ("WASI: positions", || with_ground(files::positions)),
    ("WASI: appending", || with_ground(files::appending)),
    ("WASI: files outlive their names", || with_ground(files::unlinked)),
    ("WASI: directories", || with_ground(files::directories)),
    ("WASI: descriptors", || with_ground(files::descriptors)),
    ("WASI: rights", || with_ground(files::rights)),
    ("tasks write at once", tasks_at_once),
    ("tasks are killed while they write", killed_tasks),
    ("names are moved and replaced", names),
];

/// Runs the tests; 0 if none failed, 2 if there is no such directory.
pub fn main(args: Vec<String>) -> isize {
    let path = args.first().map_or("/disk", String::as_str);
    let place = app_io::working_dir().ok().and_then(|cwd| Path::new(path).get_dir(&cwd));
    let Some(place) = place else {
        eprintln!("disk_test: there is no directory {path}; boot with DISK=file.img");
        return 2;
    };
    PLACE.call_once(|| place);
    ktest::run("disk_test", TESTS)
}

/// A directory for one test.
fn ground() -> DirRef {
    let place = PLACE.get().expect("main has set it");
    VFSDirectory::create_new(NAME, place).expect("an earlier test left its directory behind")
}

/// Removes everything in a directory, and the directory.
fn remove(place: &DirRef, name: &str) {
    let node = place.lock().lookup(name).unwrap();
    match node {
        Some(FileOrDir::Dir(dir)) => {
            let names = dir.lock().names().unwrap();
            names.iter().for_each(|below| remove(&dir, below));
            fs_node::remove_dir(place, name).unwrap();
        }
        Some(FileOrDir::File(_)) => fs_node::remove_file(place, name).unwrap(),
        None => {}
    }
}

/// The directory of a test goes with it.
struct Clean;

impl Drop for Clean {
    fn drop(&mut self) {
        remove(PLACE.get().expect("main has set it"), NAME);
    }
}

fn with_ground(test: fn(&Ground)) {
    let dir = ground();
    let _clean = Clean;
    test(&Ground::Tree(dir));
}

const TASKS: usize = 4;
const PIECE: usize = 7001;
const PIECES: usize = 20;

/// What task `number` writes as piece `piece`.
fn piece(number: usize, piece: usize) -> Vec<u8> {
    vec![(number * 31 + piece) as u8; PIECE]
}

fn write_and_read(number: usize) {
    let dir = PLACE.get().and_then(|place| place.lock().get_dir(NAME)).expect("it was made");
    let file = MemFile::create_new(&format!("file of task {number}"), &dir).unwrap();
    for index in 0..PIECES {
        assert_eq!(file.lock().write_at(&piece(number, index), index * PIECE), Ok(PIECE));
        if index % 7 == 0 {
            file.lock().flush().unwrap();
        }
        let mut back = vec![0; PIECE];
        let at = index / 2;
        assert_eq!(file.lock().read_at(&mut back, at * PIECE), Ok(PIECE));
        assert!(back == piece(number, at));
    }
}

fn tasks_at_once() {
    let dir = ground();
    let _clean = Clean;
    let start = |number: usize| {
        spawn::new_task_builder(write_and_read, number).name(format!("writer_{number}")).spawn().unwrap()
    };
    let tasks: Vec<_> = (0..TASKS).map(start).collect();
    for task in tasks {
        assert!(matches!(task.join(), Ok(task::ExitValue::Completed(_))), "a writer failed");
    }
    for number in 0..TASKS {
        let file = dir.lock().get_file(&format!("file of task {number}")).unwrap();
        assert_eq!(file.lock().len(), PIECE * PIECES);
    }
}

static WRITTEN: AtomicUsize = AtomicUsize::new(0);

/// Writes and flushes for ever.
fn write_on(number: usize) {
    let dir = PLACE.get().and_then(|place| place.lock().get_dir(NAME)).expect("it was made");
    let file = MemFile::create_new(&format!("unfinished {number}"), &dir).unwrap();
    for index in 0.. {
        file.lock().write_at(&piece(number, index), index % 50 * PIECE).unwrap();
        file.lock().flush().unwrap();
        WRITTEN.fetch_add(1, Ordering::Relaxed);
    }
}

fn killed_tasks() {
    let dir = ground();
    let _clean = Clean;
    for number in 0..6 {
        let before = WRITTEN.load(Ordering::Relaxed);
        let task =
            spawn::new_task_builder(write_on, number).name("killed_writer".to_string()).spawn().unwrap();
        while WRITTEN.load(Ordering::Relaxed) < before + 2 {
            sleep::sleep(Duration::from_millis(2)).unwrap();
        }
        task.kill(KillReason::Requested).unwrap();
        // It ends, and has left nothing locked.
        assert!(matches!(task.join(), Ok(task::ExitValue::Killed(_))));
        let file = dir.lock().get_file(&format!("unfinished {number}")).unwrap();
        let mut back = vec![0; PIECE];
        assert_eq!(file.lock().read_at(&mut back, 0), Ok(PIECE));
        file.lock().flush().unwrap();
    }
}

fn names() {
    let dir = ground();
    let _clean = Clean;
    let below = VFSDirectory::create_new("below", &dir).unwrap();
    let write = |name: &str, dir: &DirRef, text: &str| {
        let file = MemFile::create_new(name, dir).unwrap();
        file.lock().write_at(text.as_bytes(), 0).unwrap();
        file
    };
    let read = |name: &str, dir: &DirRef| {
        let file = dir.lock().get_file(name)?;
        let mut bytes = vec![0; 100];
        let count = file.lock().read_at(&mut bytes, 0).ok()?;
        bytes.truncate(count);
        String::from_utf8(bytes).ok()
    };
    let old = write("old", &dir, "old");
    assert_eq!(old.lock().len(), 3);
    write("new", &dir, "new one");
    fs_node::rename(&dir, "new", &dir, "old").unwrap();
    assert_eq!(read("old", &dir).as_deref(), Some("new one"));
    assert!(old.lock().location().is_removed());
    let mut bytes = [0; 3];
    assert_eq!(old.lock().read_at(&mut bytes, 0), Ok(3));
    assert_eq!(&bytes, b"old");
    fs_node::rename(&dir, "old", &below, "moved").unwrap();
    assert_eq!((read("old", &dir), read("moved", &below).as_deref()), (None, Some("new one")));
    fs_node::rename(&dir, "below", &dir, "Renamed Directory").unwrap();
    assert_eq!(read("moved", &below).as_deref(), Some("new one"));
    assert_eq!(fs_node::remove_dir(&dir, "Renamed Directory"), Err(FsError::NotEmpty));
    let tmp = root::get_root().lock().get_dir("tmp").unwrap();
    assert_eq!(fs_node::rename(&below, "moved", &tmp, "moved"), Err(FsError::OtherFileSystem));
    assert_eq!(below.lock().names(), Ok(vec!["moved".to_string()]));
}
