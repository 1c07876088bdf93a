use super::*;
use core::time::Duration;
use fs_node::remove_file;
use vfs_node::VFSDirectory;

fn read(file: &FileRef) -> Vec<u8> {
    let mut buffer = vec![0; file.lock().len() + 10];
    let count = file.lock().read_at(&mut buffer, 0).unwrap();
    buffer.truncate(count);
    buffer
}

#[test]
fn the_end_is_no_error() {
    let root = VFSDirectory::create_root();
    let file = MemFile::create_new("f", &root).unwrap();
    let mut buffer = [1; 4];
    assert_eq!(file.lock().read_at(&mut buffer, 0), Ok(0));
    file.lock().write_at(b"abc", 0).unwrap();
    assert_eq!(file.lock().read_at(&mut buffer, 2), Ok(1));
    assert_eq!(file.lock().read_at(&mut buffer, 3), Ok(0));
    assert_eq!(file.lock().read_at(&mut buffer, usize::MAX), Ok(0));
    assert_eq!(buffer, [b'c', 1, 1, 1]);
}

#[test]
fn an_open_file_outlives_its_removal() {
    let root = VFSDirectory::create_root();
    let file = MemFile::create_new("f", &root).unwrap();
    file.lock().write_at(b"before", 0).unwrap();
    remove_file(&root, "f").unwrap();
    file.lock().write_at(b"after", 6).unwrap();
    assert_eq!(read(&file), b"beforeafter");
    assert_eq!(file.lock().get_absolute_path(), "f (removed)");
    let again = MemFile::create_new("f", &root).unwrap();
    assert_eq!(again.lock().len(), 0);
    assert_ne!(again.lock().metadata().id, file.lock().metadata().id);
}

#[test]
fn create_replaces_files_and_create_new_does_not() {
    let root = VFSDirectory::create_root();
    let first = MemFile::create("f".to_string(), &root).unwrap();
    first.lock().write_at(b"x", 0).unwrap();
    assert_eq!(MemFile::create_new("f", &root).err(), Some(FsError::AlreadyExists));
    let second = MemFile::create("f".to_string(), &root).unwrap();
    assert_eq!((first.lock().len(), second.lock().len()), (1, 0));
    VFSDirectory::create_new("d", &root).unwrap();
    assert_eq!(MemFile::create("d".to_string(), &root).err(), Some("is a directory"));
}

#[test]
fn fixed_files_are_read_only() {
    let root = VFSDirectory::create_root();
    static BYTES: [u8; 5] = *b"fixed";
    let file = MemFile::from_static(&BYTES, "f", &root).unwrap();
    assert_eq!(read(&file), b"fixed");
    assert_eq!(file.lock().write_at(b"x", 0), Err(IoError::ReadOnly));
    assert_eq!(file.lock().truncate(0), Err(IoError::ReadOnly));
    assert_eq!(file.lock().as_static_slice().unwrap().as_ptr(), BYTES.as_ptr());
    assert!(!file.lock().metadata().writable);
    assert!(MemFile::create_new("g", &root).unwrap().lock().as_static_slice().is_none());
}

#[test]
fn times_follow_what_is_done() {
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
    static NOW: AtomicU64 = AtomicU64::new(10);
    fs_node::set_clock(|| Duration::from_secs(NOW.load(Relaxed)));
    let root = VFSDirectory::create_root();
    let file = MemFile::create_new("f", &root).unwrap();
    let times = |file: &FileRef| {
        let times = file.lock().metadata().times;
        [times.created, times.modified, times.accessed].map(|time| time.as_secs())
    };
    assert_eq!(times(&file), [10, 10, 10]);
    NOW.store(11, Relaxed);
    file.lock().write_at(b"x", 0).unwrap();
    NOW.store(12, Relaxed);
    file.lock().read_at(&mut [0], 0).unwrap();
    assert_eq!(times(&file), [10, 11, 12]);
    NOW.store(13, Relaxed);
    file.lock().truncate(0).unwrap();
    assert_eq!(times(&file), [10, 13, 12]);
    let modified = Some(Duration::from_secs(3));
    file.lock().set_times(Times { modified, accessed: None }).unwrap();
    assert_eq!(times(&file), [10, 3, 12]);
}

#[test]
fn room_is_given_back_in_steps_and_changes_nothing_else() {
    let root = VFSDirectory::create_root();
    let file = MemFile::create_new("f", &root).unwrap();
    file.lock().write_at(b"kept", 0).unwrap();
    let before = file.lock().metadata().times;
    // So far behind that it is in pieces, of which not all go at once.
    file.lock().make_room(64 << 20, 20 << 20).unwrap();
    let mut steps = 1;
    while !file.lock().release_room() {
        steps += 1;
    }
    assert!(steps > 2, "{steps} steps");
    assert_eq!(file.lock().len(), 4);
    assert_eq!(file.lock().metadata().times.modified, before.modified);
    let mut content = [0; 8];
    assert_eq!(file.lock().read_at(&mut content, 0), Ok(4));
    assert_eq!(&content[..4], b"kept");
}
