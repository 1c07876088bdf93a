//! The kernel's own tree of files, its tasks, and what is left of a guest.

use crate::suite::harness::*;
use crate::suite::{Ground, TESTS as SUITE, fuzz};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use fs_node::{DirRef, FileOrDir, NewNode};
use io::{ImmutableRead, ImmutableWrite, IoError};
use memfs::{MemFile, SymbolicLink};
use path::Path;
use stdio::{Stdio, StdioReader, StdioWriter};
use task::KillReason;
use tty::Tty;
use vfs_node::VFSDirectory;
use wasm_engine::Trap;
use wasm_wasi::{DirPerms, FilePerms, InputStream, OutputStream, WasiCtxBuilder};

pub const TESTS: &[(&str, fn())] = &[
    ("nobody is given the kernel's code", namespaces),
    ("directories are given by path", by_path),
    ("what others do in a guest's directory it sees", shared_tree),
    ("a guest that waits can be killed", killed_in_a_wait),
    ("a guest sleeps until there is input", waits_for_input),
    ("a guest sleeps until there is room, or one of several streams is ready", waits_for_several),
    ("making much room for a file can be stopped", stopped_in_allocate),
    ("a guest's time ends its reading and writing", deadlines_of_streams),
    ("a guest that reads or writes can be killed", killed_at_a_stream),
    ("guests leave nothing behind", no_leak),
    ("random calls do no harm, and leave nothing behind", random_calls),
];

/// What may be done with everything.
const PERMS: (DirPerms, FilePerms) = (DirPerms::all(), FilePerms::all());

fn tmp() -> DirRef {
    root::get_root().lock().get_dir("tmp").expect("there is /tmp")
}

fn namespaces() {
    for path in ["/namespaces", "/namespaces/_kernel", "/tmp/../namespaces", "/namespaces/_applications/"] {
        assert!(WasiCtxBuilder::new().preopened_dir(path, "x", PERMS.0, PERMS.1).is_err(), "{path}");
    }
    let mut builder = WasiCtxBuilder::new();
    builder.preopened_dir("/", "/", PERMS.0, PERMS.1).unwrap();
    let guest = &mut Guest::new(&mut builder);
    let names =
        |guest: &mut Guest| guest.names(DIR, 4000).into_iter().map(|(name, _)| name).collect::<Vec<String>>();
    let before = names(guest);
    assert!(before.contains(&"tmp".to_string()) && !before.contains(&"namespaces".to_string()), "{before:?}");
    for path in
        ["namespaces", "namespaces/", "tmp/../namespaces", "./namespaces/_kernel", "namespaces/_kernel/x"]
    {
        assert_eq!(guest.open(DIR, path, 0, ALL_READ, 0), Err(NOTCAPABLE), "{path}");
        assert_eq!(guest.open(DIR, path, CREAT, ALL, 0), Err(NOTCAPABLE), "{path}");
        assert_eq!(guest.stat(path, 0), Err(NOTCAPABLE), "{path}");
        for name in ["path_create_directory", "path_remove_directory", "path_unlink_file"] {
            assert_eq!(guest.at(name, DIR, path), NOTCAPABLE, "{name} {path}");
        }
        assert_eq!(guest.rename(DIR, path, DIR, "tmp/mine"), NOTCAPABLE, "{path}");
        assert_eq!(guest.rename(DIR, "tmp", DIR, path), NOTCAPABLE, "{path}");
        if !path.ends_with('/') {
            assert_eq!(guest.symlink("tmp", path), NOTCAPABLE, "{path}");
        }
    }
    assert_eq!(guest.symlink("../namespaces/_kernel", "tmp/wasi_link"), 0);
    assert_eq!(guest.open(DIR, "tmp/wasi_link", DIRECTORY, ALL_READ, 0), Err(NOTCAPABLE));
    assert_eq!(guest.at("path_unlink_file", DIR, "tmp/wasi_link"), 0);
    assert_eq!(names(guest), before);
}

fn by_path() {
    let dir = VFSDirectory::create_new("wasi_by_path", &tmp()).unwrap();
    let mut builder = WasiCtxBuilder::new();
    builder.preopened_dir("/tmp/wasi_by_path", "here", PERMS.0, PERMS.1).unwrap();
    let guest = &mut Guest::new(&mut builder);
    guest.make("f", b"abc");
    assert!(dir.lock().get_file("f").is_some());
    assert_eq!(guest.at("path_unlink_file", DIR, "f"), 0);
    fs_node::remove_dir(&tmp(), "wasi_by_path").unwrap();
    for (path, reason) in [("/tmp/wasi_by_path", "no such file"), ("/nowhere", "no such file")] {
        let error =
            WasiCtxBuilder::new().preopened_dir(path, "x", PERMS.0, PERMS.1).err().unwrap().to_string();
        assert!(error.contains(path) && error.contains(reason), "{error}");
    }
}

fn shared_tree() {
    let root = VFSDirectory::create_root();
    let mut builder = WasiCtxBuilder::new();
    builder.preopened_node(&root, "dir", PERMS.0, PERMS.1).unwrap();
    let guest = &mut Guest::new(&mut builder);
    let file = MemFile::create_new("f", &root).unwrap();
    file.lock().write_at(b"of the kernel", 0).unwrap();
    assert_eq!(guest.content("f").unwrap(), b"of the kernel");
    let fd = guest.open(DIR, "f", 0, ALL, 0).unwrap();
    assert_eq!(guest.pwrite(fd, b"O", 0), Ok(1));
    let mut buffer = [0; 2];
    file.lock().read_at(&mut buffer, 0).unwrap();
    assert_eq!(&buffer, b"Of");
    // The kernel's paths follow links as the guest's do.
    assert_eq!(guest.symlink("f", "l"), 0);
    assert!(
        matches!(Path::new("l").resolve(&root), Ok(FileOrDir::File(found)) if alloc::sync::Arc::ptr_eq(&found, &file))
    );
    SymbolicLink::create_new("/tmp", "absolute", &root).unwrap();
    assert_eq!(guest.open(DIR, "absolute", DIRECTORY, ALL_READ, 0), Err(PERM));
    // A read-only file of the boot archive.
    static BYTES: [u8; 5] = *b"fixed";
    MemFile::from_static(&BYTES, "fixed", &root).unwrap();
    assert_eq!(guest.open(DIR, "fixed", 0, ALL, 0), Err(69), "read-only");
    assert_eq!(guest.content("fixed").unwrap(), b"fixed");
}

fn killed_in_a_wait() {
    ktest_system::leaves_nothing(|| {
        for round in 0..10 {
            let task = ktest_system::start("test_wasi", || {
                let guest = &mut Guest::new(&mut WasiCtxBuilder::new());
                let mut subscription = [0; 48];
                subscription[16] = 1;
                subscription[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
                guest.put(0x1000, &subscription);
                guest.try_call("poll_oneoff", &[0x1000, 0x2000, 1, 0x10]).map(drop)
            });
            sleep::sleep(Duration::from_millis(round * 40)).unwrap();
            // Fails if it has ended already, which it has not.
            task.kill(KillReason::Requested).unwrap();
            assert!(matches!(task.join(), Ok(task::ExitValue::Killed(KillReason::Requested))));
        }
    });
}

/// Standard input and output that are pipes, which nobody else has ends of.
struct Pipes {
    input: StdioWriter,
    output: StdioReader,
}

fn on_pipes() -> (Guest, Pipes) {
    let (input, output) = (Stdio::new(), Stdio::with_capacity(16));
    let mut builder = WasiCtxBuilder::new();
    builder.stdin(InputStream(Arc::new(input.get_reader())));
    builder.stdout(OutputStream(Arc::new(output.get_writer())));
    (Guest::new(&mut builder), Pipes { input: input.get_writer(), output: output.get_reader() })
}

/// Waits for standard input, at most for so long; and returns the `userdata` of the events.
fn wait_for_input(guest: &mut Guest, milliseconds: u64) -> Vec<u64> {
    let mut subscriptions = [0; 96];
    subscriptions[0] = 1;
    subscriptions[8] = 1;
    subscriptions[48] = 2;
    subscriptions[64] = 1;
    subscriptions[72..80].copy_from_slice(&(milliseconds * 1_000_000).to_le_bytes());
    guest.put(0x1000, &subscriptions);
    guest.ok("poll_oneoff", &[0x1000, 0x2000, 2, 0x10]);
    (0..guest.u32(0x10)).map(|index| guest.u64(0x2000 + index * 32)).collect()
}

const AN_HOUR: u64 = 3_600_000;

fn waits_for_input() {
    let (guest, pipes) = &mut on_pipes();
    assert_eq!(wait_for_input(guest, 10), [2]);
    let writer = pipes.input.clone();
    let task = ktest_system::start("writer", move || {
        sleep::sleep(Duration::from_millis(30)).unwrap();
        writer.write_all(b"abc").unwrap();
    });
    assert_eq!(wait_for_input(guest, AN_HOUR), [1]);
    task.join().unwrap();
    assert_eq!(guest.read(0, 100).unwrap(), b"abc");
    assert_eq!(wait_for_input(guest, 10), [2]);
    pipes.input.set_eof();
    assert_eq!(wait_for_input(guest, AN_HOUR), [1], "the end is something to be read");
    assert_eq!(guest.read(0, 100).unwrap(), b"");

    // A terminal.
    struct Screen;
    impl ImmutableWrite for Screen {
        fn write(&self, buffer: &[u8]) -> Result<usize, IoError> {
            Ok(buffer.len())
        }
    }
    let terminal = Tty::new(Arc::new(Screen));
    let mut builder = WasiCtxBuilder::new();
    builder.stdin(InputStream(Arc::new(terminal.slave())));
    builder.stdout(OutputStream(Arc::new(terminal.slave())));
    let guest = &mut Guest::new(&mut builder);
    for fd in [0, 1] {
        guest.ok("fd_fdstat_get", &[fd, 0x40]);
        assert_eq!(guest.bytes(0x40, 1), [2], "a terminal");
    }
    terminal.master().write(b"half a line").unwrap();
    assert_eq!(wait_for_input(guest, 10), [2]);
    let keyboard = terminal.master();
    let task = ktest_system::start("writer", move || {
        sleep::sleep(Duration::from_millis(30)).unwrap();
        keyboard.write(b"\r").unwrap();
    });
    assert_eq!(wait_for_input(guest, AN_HOUR), [1]);
    task.join().unwrap();
    assert_eq!(guest.read(0, 100).unwrap(), b"half a line\n");
}

/// Waits for a stream to be read (1) or written (2), each with the descriptor, and for at most so long; and returns `userdata`, error and
/// flags of the events: the descriptors, and 100 for the clock.
fn wait_for(guest: &mut Guest, streams: &[(u8, u32)], milliseconds: u64) -> Vec<(u64, u16, u16)> {
    let mut subscriptions = alloc::vec![0; 48 * (streams.len() + 1)];
    for (bytes, (kind, fd)) in subscriptions.chunks_exact_mut(48).zip(streams) {
        (bytes[0], bytes[8], bytes[16]) = (*fd as u8, *kind, *fd as u8);
    }
    let clock = &mut subscriptions[48 * streams.len()..];
    (clock[0], clock[16]) = (100, 1);
    clock[24..32].copy_from_slice(&(milliseconds * 1_000_000).to_le_bytes());
    guest.put(0x1000, &subscriptions);
    guest.ok("poll_oneoff", &[0x1000, 0x2000, streams.len() as i64 + 1, 0x10]);
    let events = (0..guest.u32(0x10)).map(|index| 0x2000 + index * 32);
    events.map(|at| (guest.u64(at), guest.u32(at + 8) as u16, guest.u32(at + 24) as u16)).collect()
}

fn waits_for_several() {
    let (input, output, error) = (Stdio::new(), Stdio::with_capacity(16), Stdio::with_capacity(16));
    let mut builder = WasiCtxBuilder::new();
    builder.stdin(InputStream(Arc::new(input.get_reader())));
    builder.stdout(OutputStream(Arc::new(output.get_writer())));
    builder.stderr(OutputStream(Arc::new(error.get_writer())));
    let guest = &mut Guest::new(&mut builder);
    let all = [(1, 0), (2, 1), (2, 2)];
    let (writer, reader, errors) = (input.get_writer(), output.get_reader(), error.get_reader());
    drop((input, output, error));
    assert_eq!(wait_for(guest, &all, AN_HOUR), [(1, 0, 0), (2, 0, 0)]);
    // Full pipes are not ready.
    assert_eq!(guest.write(1, &[b'x'; 16]), Ok(16));
    assert_eq!(wait_for(guest, &all, AN_HOUR), [(2, 0, 0)]);
    assert_eq!(guest.write(2, &[b'x'; 16]), Ok(16));
    for streams in [&all[..], &all[1..], &all[2..], &[(2, 1), (2, 1), (2, 2), (2, 1)]] {
        assert_eq!(wait_for(guest, streams, 10), [(100, 0, 0)]);
    }
    // Whichever is ready first ends the wait.
    for (index, (_, fd)) in all.iter().enumerate() {
        let (writer, reader, errors) = (writer.clone(), reader.clone(), errors.clone());
        let task = ktest_system::start("other end", move || {
            sleep::sleep(Duration::from_millis(20)).unwrap();
            match index {
                0 => drop(writer.write_all(b"abc")),
                1 => drop(reader.read(&mut [0])),
                _ => drop(errors.read(&mut [0])),
            }
        });
        assert_eq!(wait_for(guest, &all, AN_HOUR), [(u64::from(*fd), 0, 0)]);
        task.join().unwrap();
        match index {
            0 => assert_eq!(guest.read(0, 100).unwrap(), b"abc"),
            _ => assert_eq!(guest.write(i64::from(*fd), b"y"), Ok(1)),
        }
    }
    // So does an end, or that nobody reads any more, which the event tells.
    let task = ktest_system::start("other end", move || {
        sleep::sleep(Duration::from_millis(20)).unwrap();
        drop(errors);
    });
    assert_eq!(wait_for(guest, &all, AN_HOUR), [(2, 0, 1)]);
    task.join().unwrap();
    assert_eq!(guest.write(2, b"y"), Err(64), "a broken pipe");
    let task = ktest_system::start("other end", move || {
        sleep::sleep(Duration::from_millis(20)).unwrap();
        drop(writer);
    });
    assert_eq!(wait_for(guest, &all[..2], AN_HOUR), [(0, 0, 0)]);
    task.join().unwrap();
    assert_eq!(guest.read(0, 100).unwrap(), b"");
    // A guest's time ends such a wait, and a kill does.
    guest.store.set_deadline(Some(Duration::from_millis(20)));
    guest.put(0x1000 + 8, &[2]);
    guest.put(0x1000 + 16, &[1]);
    let error = guest.try_call("poll_oneoff", &[0x1000, 0x2000, 1, 0x10]).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
}

fn stopped_in_allocate() {
    let room = || memory::with_claim(memory::Claim::Guest, frame_allocator::available_frames) as u64 * 4096;
    let root = VFSDirectory::create_root();
    let mut builder = WasiCtxBuilder::new();
    builder.preopened_node(&root, "dir", PERMS.0, PERMS.1).unwrap();
    let guest = &mut Guest::new(&mut builder);
    let fd = guest.open(DIR, "f", CREAT, ALL, 0).unwrap();
    let before = room();
    // More than there is: none of it stays.
    assert_eq!(guest.call("fd_allocate", &[fd, 0, before as i64 + 1]), NOSPC);
    assert!(before - room() < 4 << 20, "{} of {before} bytes were not given back", before - room());
    // As much as there is, in no time: nothing of it stays either, and the file is no longer.
    let size = (before / 2) as i64;
    guest.store.set_deadline(Some(Duration::from_millis(1)));
    let error = guest.try_call("fd_allocate", &[fd, 0, size]).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
    guest.store.set_deadline(None);
    assert_eq!(guest.stat("f", 0), Ok((4, 1, 0)));
    assert!(before - room() < 4 << 20);
    // With time, there is room, for all that is written.
    guest.ok("fd_allocate", &[fd, 0, 64 << 20]);
    assert!(before - room() >= 64 << 20);
    guest.ok("fd_filestat_set_size", &[fd, 0]);
    assert!(before - room() < 4 << 20);
    // A hole is no room.
    guest.ok("fd_filestat_set_size", &[fd, before as i64 * 4]);
    assert_eq!(guest.pwrite(fd, b"end", before as i64 * 4), Ok(3));
    assert!(before - room() < 4 << 20);
}

fn deadlines_of_streams() {
    let (guest, pipes) = &mut on_pipes();
    guest.array(&[(0x3000, 100)]);
    let interrupted = |guest: &mut Guest, name: &str, fd: i64| {
        guest.store.set_deadline(Some(Duration::from_millis(20)));
        let error = guest.try_call(name, &[fd, 0x80, 1, 0x10]).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt), "{name}");
        guest.store.set_deadline(None);
    };
    interrupted(guest, "fd_read", 0);
    // As much as there was room for has been written.
    interrupted(guest, "fd_write", 1);
    assert_eq!(pipes.output.remaining_bytes(), 16);
    // The store is as good as before.
    assert_eq!(pipes.output.read(&mut [0; 100]), Ok(16));
    pipes.input.write_all(b"x").unwrap();
    guest.store.set_deadline(Some(Duration::from_secs(3600)));
    assert_eq!(guest.read(0, 100).unwrap(), b"x");
    assert_eq!(guest.read(0, 0).unwrap(), b"", "no byte is nothing to wait for");
    assert_eq!(guest.write(1, b"abc"), Ok(3));
}

fn killed_at_a_stream() {
    ktest_system::leaves_nothing(|| {
        for round in 0..8 {
            let task = ktest_system::start("test_wasi", move || {
                let (guest, _pipes) = &mut on_pipes();
                guest.array(&[(0x3000, 100)]);
                match round % 4 {
                    0 => guest.try_call("fd_read", &[0, 0x80, 1, 0x10]).map(drop),
                    1 => guest.try_call("fd_write", &[1, 0x80, 1, 0x10]).map(drop),
                    2 => {
                        guest.store.set_deadline(Some(Duration::from_secs(3600)));
                        guest.try_call("fd_read", &[0, 0x80, 1, 0x10]).map(drop)
                    }
                    _ => {
                        wait_for_input(guest, AN_HOUR);
                        Ok(())
                    }
                }
            });
            sleep::sleep(Duration::from_millis(round * 40)).unwrap();
            // Fails if it has ended already, which it has not.
            task.kill(KillReason::Requested).unwrap();
            assert!(matches!(task.join(), Ok(task::ExitValue::Killed(KillReason::Requested))));
        }
    });
}

/// Sequences of the fuzzer in `test_wasi`.
const FUZZ_ROUNDS: usize = 40;

fn random_calls() {
    fuzz(fuzz::SEED, FUZZ_ROUNDS);
}

/// Calls so many random sequences on trees in memory.
pub fn fuzz(seed: u64, rounds: usize) {
    ktest_system::leaves_nothing(|| fuzz::run(seed, rounds, |sequence| _ = sequence(&[fuzz::Arena::tree()])));
}

/// A directory that is on a disk or shared by the host.
pub fn outside_of_memory(path: &str) -> Option<DirRef> {
    match Path::new(path).resolve(root::get_root()) {
        Ok(FileOrDir::Dir(dir)) => (dir.lock().file_system() != 0).then(|| dir.clone()),
        _ => None,
    }
}

/// Calls so many random sequences in such a directory.
pub fn fuzz_in(dir: &DirRef, seed: u64, rounds: usize) {
    fuzz::run(seed, rounds, |sequence| {
        let made = dir.lock().create("fuzz", NewNode::Directory).unwrap();
        let Some(FileOrDir::Dir(inner)) = made else { panic!("it makes its nodes itself") };
        sequence(&[fuzz::Arena::of(&inner)]);
        remove_all_in(&inner);
        fs_node::remove_dir(dir, "fuzz").unwrap();
    });
}

fn remove_all_in(dir: &DirRef) {
    let names = dir.lock().names().unwrap();
    for name in names {
        let node = dir.lock().lookup(&name).unwrap().expect("it is listed");
        match node {
            FileOrDir::Dir(inner) => {
                remove_all_in(&inner);
                fs_node::remove_dir(dir, &name).unwrap();
            }
            FileOrDir::File(_) => fs_node::remove_file(dir, &name).unwrap(),
        }
    }
}

fn no_leak() {
    ktest_system::leaves_nothing(|| {
        for (_, test) in SUITE
            .iter()
            .filter(|(name, _)| ["files are made, read and written", "symbolic links"].contains(name))
        {
            for _ in 0..3 {
                test(&Ground::tree());
            }
        }
    });
}
