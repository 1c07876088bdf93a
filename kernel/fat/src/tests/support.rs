//! Images, a disk in memory that can fail, and the host's programs.

use crate::FileSystem;
use fs_node::{DirRef, FileOrDir, FileRef, FsError, NewNode};
use io::IoError;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use storage_device::{BLOCK_SIZE, StorageDevice};

pub const CACHE: usize = 1 << 20;

/// What reached the disk, in this order.
#[derive(Clone)]
pub enum Event {
    Write(usize, Vec<u8>),
    Flush,
}

#[derive(Default)]
pub struct State {
    pub bytes: Vec<u8>,
    pub events: Vec<Event>,
    pub record: bool,
    pub fail_reads: bool,
    pub fail_writes: bool,
    /// So many more writes succeed.
    pub writes_left: Option<usize>,
    pub read_only: bool,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct Disk(pub Arc<Mutex<State>>);

pub const BROKEN: IoError = IoError::Other("broken");

impl Disk {
    pub fn new(bytes: Vec<u8>) -> Self {
        Disk(Arc::new(Mutex::new(State { bytes, ..State::default() })))
    }

    pub fn mount(&self) -> Result<FileSystem, IoError> {
        FileSystem::mount(Box::new(self.clone()), CACHE, "disk")
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }

    pub fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap());
    }
}

impl StorageDevice for Disk {
    fn size_in_blocks(&self) -> u64 {
        (self.0.lock().unwrap().bytes.len() / BLOCK_SIZE) as u64
    }

    fn is_read_only(&self) -> bool {
        self.0.lock().unwrap().read_only
    }

    fn read_blocks(&mut self, buffer: &mut [u8], block_offset: u64) -> Result<(), IoError> {
        let state = self.0.lock().unwrap();
        if state.fail_reads {
            return Err(BROKEN);
        }
        buffer.copy_from_slice(&state.bytes[block_offset as usize * BLOCK_SIZE..][..buffer.len()]);
        Ok(())
    }

    fn write_blocks(&mut self, buffer: &[u8], block_offset: u64) -> Result<(), IoError> {
        let mut state = self.0.lock().unwrap();
        assert!(!state.read_only);
        if state.fail_writes {
            return Err(BROKEN);
        }
        if let Some(left) = &mut state.writes_left {
            *left = left.checked_sub(1).ok_or(BROKEN)?;
        }
        let start = block_offset as usize * BLOCK_SIZE;
        state.bytes[start..start + buffer.len()].copy_from_slice(buffer);
        if state.record {
            state.events.push(Event::Write(start, buffer.to_vec()));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), IoError> {
        let mut state = self.0.lock().unwrap();
        if state.fail_writes {
            return Err(BROKEN);
        }
        if state.record {
            state.events.push(Event::Flush);
        }
        Ok(())
    }
}

/// A file of this name, with the content, that is removed when dropped.
pub struct Temporary(pub PathBuf);

impl Temporary {
    pub fn new(bytes: &[u8]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("fat-test-{}-{}.img", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::write(&path, bytes).unwrap();
        Temporary(path)
    }

    pub fn read(&self) -> Vec<u8> {
        fs::read(&self.0).unwrap()
    }

    /// Runs a program with the file's path in place of `IMAGE`; returns whether it succeeded, and its output.
    pub fn run(&self, program: &str, arguments: &[&str]) -> (bool, Vec<u8>) {
        let image = self.0.to_str().unwrap();
        let arguments = arguments.iter().map(|argument| if *argument == "IMAGE" { image } else { argument });
        // Programs for disks are not in everybody's PATH.
        let output = Command::new(program)
            .args(arguments)
            .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("MTOOLS_SKIP_CHECK", "1")
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}; `make setup` installs it"));
        (output.status.success(), [output.stdout, output.stderr].concat())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The images that most tests use: each kind, and clusters of different sizes.
pub const KINDS: [(&str, usize, &str); 4] =
    [("12", 1 << 20, "1"), ("16", 8 << 20, "2"), ("32", 40 << 20, "1"), ("16", 24 << 20, "8")];

/// Small ones, for tests that look at many. (A FAT32 has more clusters than that, but everybody reads this one as well.)
pub const SMALL_KINDS: [(&str, usize, &str); 3] =
    [("12", 1 << 20, "1"), ("16", 4 << 20, "1"), ("32", 4 << 20, "1")];

pub fn image(kind: &str, len: usize, sectors_per_cluster: &str) -> Vec<u8> {
    let file = Temporary::new(&vec![0; len]);
    let (ok, output) = file.run("mkfs.fat", &["-F", kind, "-s", sectors_per_cluster, "IMAGE"]);
    assert!(ok, "{}", String::from_utf8_lossy(&output));
    file.read()
}

/// What fsck.fat complains about; nothing if it finds nothing wrong.
pub fn fsck(bytes: &[u8]) -> Vec<String> {
    let (ok, output) = Temporary::new(bytes).run("fsck.fat", &["-n", "IMAGE"]);
    if ok {
        return Vec::new();
    }
    let output = String::from_utf8_lossy(&output);
    // The first line names the program, the last one counts; an empty answer must not look like none.
    output.lines().map(str::to_string).filter(|line| !line.is_empty()).collect()
}

/// The node at a path without a slash at its start.
pub fn at(root: &DirRef, path: &str) -> Result<FileOrDir, FsError> {
    let mut node = FileOrDir::Dir(root.clone());
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let FileOrDir::Dir(dir) = node else { return Err(FsError::NotADirectory) };
        node = dir.lock().lookup(name)?.ok_or(FsError::NotFound)?;
    }
    Ok(node)
}

pub fn dir(root: &DirRef, path: &str) -> Result<DirRef, FsError> {
    match at(root, path)? {
        FileOrDir::Dir(dir) => Ok(dir),
        FileOrDir::File(_) => Err(FsError::NotADirectory),
    }
}

pub fn file(root: &DirRef, path: &str) -> Result<FileRef, FsError> {
    match at(root, path)? {
        FileOrDir::File(file) => Ok(file),
        FileOrDir::Dir(_) => Err(FsError::IsADirectory),
    }
}

/// The directory that a path leads into, and the last name.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

pub fn create(root: &DirRef, path: &str, node: NewNode<'_>) -> Result<FileOrDir, FsError> {
    let (parent, name) = split(path);
    let parent = dir(root, parent)?;
    let made = parent.lock().create(name, node)?;
    Ok(made.expect("FAT makes its nodes itself"))
}

pub fn make_file(root: &DirRef, path: &str, content: &[u8]) -> Result<FileRef, FsError> {
    let FileOrDir::File(file) = create(root, path, NewNode::File)? else { unreachable!() };
    file.lock().write_at(content, 0)?;
    Ok(file)
}

pub fn content(file: &FileRef) -> Result<Vec<u8>, IoError> {
    let mut file = file.lock();
    let mut bytes = vec![0xAA; file.len() + 10];
    let count = file.read_at(&mut bytes, 0)?;
    bytes.truncate(count);
    Ok(bytes)
}

pub fn remove(root: &DirRef, path: &str) -> Result<(), FsError> {
    let (parent, name) = split(path);
    match at(root, path)? {
        FileOrDir::File(_) => fs_node::remove_file(&dir(root, parent)?, name),
        FileOrDir::Dir(_) => fs_node::remove_dir(&dir(root, parent)?, name),
    }
}

pub fn rename(root: &DirRef, from: &str, to: &str) -> Result<(), FsError> {
    let ((from, from_name), (to, to_name)) = (split(from), split(to));
    fs_node::rename(&dir(root, from)?, from_name, &dir(root, to)?, to_name)
}

/// Numbers that look random, the same ones every time.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}
