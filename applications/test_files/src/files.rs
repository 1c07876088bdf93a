//! Files and directories.

use crate::{memory_in_use, remove, scratch};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use file_ops::{create_dir_all, create_file};
use fs_node::{FileRef, FsError};
use io::IoError;
use memfs::MemFile;
use memory::{PAGE_SIZE, PteFlags};
use path::Path;

fn read(file: &FileRef) -> Vec<u8> {
    let mut file = file.lock();
    let mut bytes = vec![0; file.len() + 1];
    let count = file.read_at(&mut bytes, 0).unwrap();
    bytes.truncate(count);
    bytes
}

pub fn contents() {
    let dir = scratch("contents");
    let file = MemFile::create_new("f", &dir).unwrap();
    assert_eq!(read(&file), b"");
    assert!(file.lock().as_mapping().is_err(), "an empty file has no pages");
    assert_eq!(file.lock().write_at(b"hello", 3), Ok(5));
    assert_eq!(read(&file), b"\0\0\0hello");
    file.lock().truncate(4).unwrap();
    file.lock().truncate(6).unwrap();
    assert_eq!(read(&file), b"\0\0\0h\0\0");
    assert_eq!(file.lock().read_at(&mut [0; 4], 6), Ok(0), "reading at the end is no error");
    assert_eq!(file.lock().get_absolute_path(), "/tmp/contents/f");
    assert_eq!(MemFile::create_new("f", &dir).err(), Some(FsError::AlreadyExists));
    fs_node::remove_file(&dir, "f").unwrap();
    assert_eq!(file.lock().write_at(b"!", 6), Ok(1), "an open file outlives its name");
    assert_eq!(read(&file), b"\0\0\0h\0\0!");
    remove("contents");
}

pub fn large_file_is_mapped() {
    let dir = scratch("large");
    let file = MemFile::create_new("f", &dir).unwrap();
    let piece: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
    let mut length = 0;
    while length < 5 << 20 {
        length += file.lock().write_at(&piece, length).unwrap();
    }
    let file = file.lock();
    let mapping = file.as_mapping().unwrap();
    assert!(mapping.start_address().value().is_multiple_of(PAGE_SIZE));
    let bytes = mapping.as_slice::<u8>(0, length).unwrap();
    assert!(bytes.chunks(1000).all(|chunk| chunk == piece));
    let rest = mapping.as_slice::<u8>(length, mapping.size_in_bytes() - length).unwrap();
    assert!(rest.iter().all(|byte| *byte == 0));
    drop(file);
    remove("large");
}

pub fn boot_file() {
    let dir =
        root::get_root().lock().get_dir("namespaces").and_then(|dir| dir.lock().get_dir("_applications"));
    let dir = dir.expect("there are applications");
    let names = dir.lock().list();
    let name = names.iter().find(|name| name.starts_with("test_files-")).expect("this very program");
    let file = dir.lock().get_file(name).unwrap();
    let mut file = file.lock();
    let bytes = file.as_static_slice().expect("it is in the boot archive");
    assert_eq!(&bytes[..4], b"\x7fELF");
    let mapping = file.as_mapping().expect("the archive's files begin at page boundaries");
    assert_ne!(mapping.start_address().value(), bytes.as_ptr().addr(), "a mapping of its own");
    assert!(!mapping.flags().is_writable() && !mapping.flags().is_executable());
    assert!(mapping.as_slice::<u8>(0, bytes.len()).unwrap() == bytes);
    let address = |pointer: usize| memory::translate(memory::VirtualAddress::new_canonical(pointer));
    assert_eq!(
        address(mapping.start_address().value()),
        address(bytes.as_ptr().addr()),
        "of the same memory"
    );
    assert!(core::ptr::eq(file.as_mapping().unwrap(), file.as_mapping().unwrap()));
    assert_eq!(file.write_at(b"x", 0), Err(IoError::ReadOnly));
    assert_eq!(file.truncate(0), Err(IoError::ReadOnly));
}

pub fn from_mapped_pages() {
    let dir = scratch("pages");
    let flags = PteFlags::new().valid(true);
    let mut pages = memory::create_mapping(2 * PAGE_SIZE, flags.writable(true)).unwrap();
    pages.as_slice_mut::<u8>(0, 8000).unwrap().fill(7);
    let file = MemFile::from_mapped_pages(pages, "f".to_string(), 5000, &dir).unwrap();
    assert_eq!(file.lock().len(), 5000);
    file.lock().truncate(6000).unwrap();
    let bytes = read(&file);
    assert!(bytes[..5000].iter().all(|byte| *byte == 7) && bytes[5000..] == [0; 1000]);
    file.lock().write_at(&[1; PAGE_SIZE], 6000).unwrap();
    assert_eq!(file.lock().len(), 6000 + PAGE_SIZE);

    let pages = memory::create_mapping(PAGE_SIZE, flags).unwrap();
    let file = MemFile::from_mapped_pages(pages, "fixed".to_string(), 10, &dir).unwrap();
    assert_eq!(read(&file), [0; 10]);
    assert_eq!(file.lock().write_at(b"x", 0), Err(IoError::ReadOnly));
    assert!(file.lock().as_static_slice().is_none());
    let pages = memory::create_mapping(PAGE_SIZE, flags).unwrap();
    assert!(MemFile::from_mapped_pages(pages, "long".to_string(), PAGE_SIZE + 1, &dir).is_err());
    remove("pages");
}

pub fn out_of_memory() {
    let dir = scratch("too_large");
    let before = memory_in_use().0;
    let file = MemFile::create_new("f", &dir).unwrap();
    file.lock().write_at(b"kept", 0).unwrap();
    for length in [1 << 40, 1 << 47, isize::MAX as usize - (1 << 20)] {
        assert_eq!(file.lock().make_room(0, length), Err(IoError::OutOfMemory), "{length:#x}");
        assert_eq!(file.lock().len(), 4);
    }
    assert_eq!(file.lock().make_room(1, usize::MAX), Err(IoError::InvalidInput));
    assert_eq!(file.lock().truncate(usize::MAX), Err(IoError::InvalidInput));
    // It is no problem where there is nothing in it.
    file.lock().truncate(1 << 47).unwrap();
    file.lock().write_at(b"far away", 1 << 46).unwrap();
    let mut buffer = [1; 8];
    assert_eq!(file.lock().read_at(&mut buffer, (1 << 46) + 1), Ok(8));
    assert_eq!(&buffer, b"ar away\0");
    file.lock().truncate(4).unwrap();
    assert_eq!(read(&file), b"kept");
    drop(file);
    remove("too_large");
    assert!(memory_in_use().0 + 16 >= before, "a failed attempt must give back what it took");
}

pub fn files_leave_memory_to_others() {
    let dir = scratch("everything");
    let before = memory_in_use().0;
    let file = MemFile::create_new("f", &dir).unwrap();
    let mut length = 0;
    for step in [64 << 20, 1 << 20, PAGE_SIZE] {
        while file.lock().make_room(length, step).is_ok() {
            length += step;
        }
    }
    assert!(length > 0);
    // Smaller files get the rest, but no more than that.
    let mut others = 0;
    for size in [1 << 20, PAGE_SIZE] {
        let error = loop {
            others += 1;
            match MemFile::create_new(&format!("{others}"), &dir) {
                Ok(small) => match small.lock().make_room(0, size) {
                    Ok(()) => {}
                    Err(error) => break FsError::Io(error),
                },
                Err(error) => break error,
            }
        };
        assert_eq!(error, FsError::Io(IoError::OutOfMemory));
    }
    // What it takes to run a program that removes them.
    let room = memory::create_mapping(1 << 20, PteFlags::new().writable(true));
    let task = spawn::new_task_builder(|()| 5, ()).spawn().expect("there is room for tasks");
    assert!(task.join().is_ok() && room.is_ok());
    drop((task, room, file));
    remove("everything");
    assert!(memory_in_use().0 + 64 >= before, "frames were lost");
}

pub fn times() {
    let dir = scratch("times");
    let file = MemFile::create_new("f", &dir).unwrap();
    let created = file.lock().metadata().times.created;
    // This was written in 2026; a clock that says less is not the time of day.
    assert!(created > Duration::from_secs(1_750_000_000), "{created:?}");
    let _ = sleep::sleep(Duration::from_millis(20));
    file.lock().write_at(b"x", 0).unwrap();
    let times = file.lock().metadata().times;
    assert!(times.modified >= created && times.created == created);
    remove("times");
}

fn check_for_leaks(what: &str, mut round: impl FnMut()) {
    // The first rounds fill caches and make collections grow.
    (0..20).for_each(|_| round());
    let before = memory_in_use();
    (0..1000).for_each(|_| round());
    let after = memory_in_use();
    let (frames, bytes) = (before.0.saturating_sub(after.0), after.1.saturating_sub(before.1));
    // Other tasks allocate as well; a leak of one byte per round would still show.
    assert!(frames <= 8 && bytes < 1000, "{what}: {frames} frames and {bytes} bytes of the heap were lost");
}

pub fn no_leak() {
    let dir = scratch("leak");
    check_for_leaks("files", || {
        let file = MemFile::create("f".to_string(), &dir).unwrap();
        file.lock().write_at(&[1; 3 * PAGE_SIZE], 100).unwrap();
        fs_node::rename(&dir, "f", &dir, "g").unwrap();
        fs_node::remove_file(&dir, "g").unwrap();
    });
    remove("leak");
}

pub fn no_leak_of_trees() {
    let dir = scratch("leak_of_trees");
    check_for_leaks("trees", || {
        create_dir_all(Path::new("a/b/c"), &dir).unwrap();
        let file = create_file(Path::new("a/b/f"), &dir).unwrap();
        file.lock().write_at(b"content", 0).unwrap();
        assert!(file_ops::copy(Path::new("a"), Path::new("x"), &dir, true).is_empty());
        assert!(file_ops::remove(Path::new("a"), &dir, true).is_empty());
        assert!(file_ops::remove(Path::new("x"), &dir, true).is_empty());
    });
    remove("leak_of_trees");
}

pub fn concurrent() {
    let dir = scratch("concurrent");
    let work = |(dir, number): (fs_node::DirRef, usize)| {
        for round in 0..200 {
            let own = format!("own{number}");
            let file = MemFile::create(own.clone(), &dir).unwrap();
            file.lock().write_at(own.as_bytes(), 0).unwrap();
            // All tasks fight for this name.
            fs_node::rename(&dir, &own, &dir, "shared").unwrap();
            let shared = dir.lock().get_file("shared").expect("a rename never leaves the name free");
            let bytes = read(&shared);
            assert!(bytes.starts_with(b"own"), "round {round}: {:?}", String::from_utf8_lossy(&bytes));
            assert_eq!(dir.lock().get_absolute_path(), "/tmp/concurrent");
        }
    };
    let tasks: Vec<_> =
        (0..4).map(|number| spawn::new_task_builder(work, (dir.clone(), number)).spawn().unwrap()).collect();
    for task in tasks {
        assert!(matches!(task.join().unwrap(), task::ExitValue::Completed(_)));
    }
    assert_eq!(dir.lock().list(), ["shared"]);
    remove("concurrent");
}
