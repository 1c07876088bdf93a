//! The kernel's own tree of files, its tasks, and what is left of a guest.

use crate::suite::harness::*;
use crate::suite::{Ground, TESTS as SUITE};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;
use fs_node::{DirRef, FileOrDir};
use memfs::{MemFile, SymbolicLink};
use path::Path;
use task::KillReason;
use vfs_node::VFSDirectory;
use wasm_wasi::{DirPerms, FilePerms, WasiCtxBuilder};

pub const TESTS: &[(&str, fn())] = &[
    ("nobody is given the kernel's code", namespaces),
    ("directories are given by path", by_path),
    ("what others do in a guest's directory it sees", shared_tree),
    ("a guest that waits can be killed", killed_in_a_wait),
    ("guests leave nothing behind", no_leak),
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
