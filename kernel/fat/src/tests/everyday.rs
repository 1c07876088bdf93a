//! What programs do with files every day, on each kind of FAT.

use super::support::*;
use fs_node::{FsError, NewNode, Times};
use io::IoError;
use std::time::Duration;

const LONG: &str = "a name that is rather long, with spaces, dots. and ümläuts – 漢字 too.tar.gz";

#[test]
fn what_is_written_is_there_after_the_next_mount_and_for_the_host() {
    for (kind, len, sectors) in KINDS {
        let disk = Disk::new(image(kind, len, sectors));
        let mut numbers = Numbers(7);
        let big = numbers.bytes(200_000);
        let mounted = disk.mount().unwrap();
        let root = mounted.root();
        create(root, "sub", NewNode::Directory).unwrap();
        create(root, "sub/Below It", NewNode::Directory).unwrap();
        make_file(root, "UPPER.TXT", b"upper").unwrap();
        make_file(root, "lower.txt", b"lower").unwrap();
        make_file(root, "empty", b"").unwrap();
        make_file(root, &format!("sub/Below It/{LONG}"), &big).unwrap();
        let many: Vec<String> = (0..100).map(|number| format!("sub/file number {number}.txt")).collect();
        for name in &many {
            make_file(root, name, name.as_bytes()).unwrap();
        }
        assert!(mounted.is_dirty());
        mounted.sync().unwrap();
        assert!(!mounted.is_dirty());
        assert_eq!(fsck(&disk.bytes()), [""; 0], "FAT{kind}");

        let again = Disk::new(disk.bytes()).mount().unwrap();
        let root = again.root();
        assert_eq!(root.lock().list(), ["UPPER.TXT", "empty", "lower.txt", "sub"]);
        assert_eq!(content(&file(root, "upper.txt").unwrap()).unwrap(), b"upper", "case does not matter");
        assert_eq!(content(&file(root, &format!("sub/below it/{LONG}")).unwrap()).unwrap(), big);
        for name in &many {
            assert_eq!(content(&file(root, name).unwrap()).unwrap(), name.as_bytes());
        }
        let image = Temporary::new(&disk.bytes());
        let (ok, bytes) = image.run("mcopy", &["-i", "IMAGE", &format!("::/sub/Below It/{LONG}"), "-"]);
        assert!(ok && bytes == big, "{}", String::from_utf8_lossy(&bytes));
        let (ok, listing) = image.run("mdir", &["-b", "-i", "IMAGE", "::/sub/file number 42.txt"]);
        assert!(ok, "{}", String::from_utf8_lossy(&listing));
    }
}

#[test]
fn what_the_host_wrote_can_be_read_and_changed() {
    for (kind, len, sectors) in KINDS {
        let image = Temporary::new(&image(kind, len, sectors));
        let source = Temporary::new(b"from the host");
        let from = source.0.to_str().unwrap();
        assert!(image.run("mmd", &["-i", "IMAGE", "::/Some Directory"]).0);
        for name in ["::/Some Directory/A long name.text", "::/SHORT.TXT"] {
            assert!(image.run("mcopy", &["-i", "IMAGE", from, name]).0);
        }
        let disk = Disk::new(image.read());
        let mounted = disk.mount().unwrap();
        let root = mounted.root();
        let long = file(root, "Some Directory/A long name.text").unwrap();
        assert_eq!(content(&long).unwrap(), b"from the host");
        long.lock().write_at(b"into", 0).unwrap();
        rename(root, "SHORT.TXT", "Some Directory/no longer so short.txt").unwrap();
        mounted.sync().unwrap();
        assert_eq!(fsck(&disk.bytes()), [""; 0]);
        let image = Temporary::new(&disk.bytes());
        let (_, bytes) = image.run("mtype", &["-i", "IMAGE", "::/Some Directory/A long name.text"]);
        assert_eq!(bytes, b"into the host");
        let (ok, _) = image.run("mtype", &["-i", "IMAGE", "::/Some Directory/no longer so short.txt"]);
        assert!(ok);
    }
}

#[test]
fn a_removed_file_stays_as_long_as_somebody_holds_it() {
    let disk = Disk::new(image("16", 8 << 20, "2"));
    let mounted = disk.mount().unwrap();
    let root = mounted.root();
    let held = make_file(root, "held", &[7; 100_000]).unwrap();
    remove(root, "held").unwrap();
    assert!(held.lock().location().is_removed());
    make_file(root, "other", &[8; 3_000_000]).unwrap();
    assert_eq!(content(&held).unwrap(), [7; 100_000]);
    held.lock().write_at(&[9; 10], 200_000).unwrap();
    mounted.sync().unwrap();
    assert_eq!(held.lock().len(), 200_010);
    // Named by nobody, but in use: what a crash now would leave.
    assert!(fsck(&disk.bytes()).iter().any(|line| line.contains("Reclaimed")));
    drop(held);
    assert!(mounted.is_dirty());
    mounted.sync().unwrap();
    assert_eq!(fsck(&disk.bytes()), [""; 0]);

    // The same for what a rename replaces.
    let old = make_file(root, "old", b"old").unwrap();
    make_file(root, "new", b"new").unwrap();
    rename(root, "new", "old").unwrap();
    assert_eq!(content(&old).unwrap(), b"old");
    assert_eq!(content(&file(root, "old").unwrap()).unwrap(), b"new");
    drop(old);
    mounted.sync().unwrap();
    assert_eq!(fsck(&disk.bytes()), [""; 0]);
}

/// Each is held by what is in it until that is forgotten.
#[test]
fn removed_directories_go_with_what_was_in_them() {
    for (kind, len, sectors_per_cluster) in KINDS {
        let disk = Disk::new(image(kind, len, sectors_per_cluster));
        let files = disk.mount().unwrap();
        for path in ["a", "a/b", "a/b/c"] {
            create(files.root(), path, NewNode::Directory).unwrap();
        }
        let held = make_file(files.root(), "a/b/c/f", b"held").unwrap();
        for path in ["a/b/c/f", "a/b/c", "a/b", "a"] {
            remove(files.root(), path).unwrap();
        }
        files.sync().unwrap();
        drop(held);
        assert!(files.is_dirty());
        files.sync().unwrap();
        assert!(!files.is_dirty());
        assert_eq!(fsck(&disk.bytes()), [""; 0]);
    }
}

#[test]
fn files_become_longer_and_shorter() {
    let disk = Disk::new(image("32", 40 << 20, "1"));
    let mounted = disk.mount().unwrap();
    let file = make_file(mounted.root(), "f", b"0123456789").unwrap();
    file.lock().truncate(4).unwrap();
    file.lock().truncate(1000).unwrap();
    file.lock().write_at(b"end", 100_000).unwrap();
    let mut expected = b"0123".to_vec();
    expected.resize(100_000, 0);
    expected.extend(b"end");
    assert_eq!(content(&file).unwrap(), expected);
    file.lock().truncate(200_000).unwrap();
    expected.resize(200_000, 0);
    mounted.sync().unwrap();
    assert_eq!(content(&file).unwrap(), expected);
    let again = Disk::new(disk.bytes()).mount().unwrap();
    assert_eq!(content(&super::support::file(again.root(), "f").unwrap()).unwrap(), expected);
    assert_eq!(fsck(&disk.bytes()), [""; 0]);
    assert_eq!(file.lock().write_at(b"x", u32::MAX as usize), Err(IoError::TooLarge));
    assert_eq!(file.lock().truncate(1 << 32), Err(IoError::TooLarge));
    assert_eq!(file.lock().truncate(3_000_000_000), Err(IoError::NoSpace));
    assert_eq!(file.lock().len(), 200_000);
    let mut buffer = [0; 4];
    assert_eq!(file.lock().read_at(&mut buffer, usize::MAX), Ok(0));
    file.lock().truncate(0).unwrap();
    mounted.sync().unwrap();
    assert_eq!(fsck(&disk.bytes()), [""; 0]);
}

#[test]
fn a_full_disk_is_an_error_and_loses_nothing() {
    for (kind, len, sectors) in KINDS {
        let disk = Disk::new(image(kind, len, sectors));
        let mounted = disk.mount().unwrap();
        let root = mounted.root();
        make_file(root, "kept", b"kept").unwrap();
        let big = make_file(root, "big", b"").unwrap();
        let piece = vec![1; 100_000];
        let mut written = 0;
        let error = loop {
            match big.lock().write_at(&piece, written) {
                Ok(count) => written += count,
                Err(error) => break error,
            }
        };
        assert_eq!((error, big.lock().len()), (IoError::NoSpace, written), "FAT{kind}");
        let mut rest = 0;
        while big.lock().write_at(&[2], written + rest).is_ok() {
            rest += 1;
        }
        assert_eq!(create(root, "directory", NewNode::Directory).err(), Some(IoError::NoSpace.into()));
        mounted.sync().unwrap();
        assert_eq!(fsck(&disk.bytes()), [""; 0], "FAT{kind}");
        // What is removed makes room at once, although the disk does not know yet.
        drop(big);
        remove(root, "big").unwrap();
        let again = make_file(root, "again", &piece).unwrap();
        again.lock().truncate(written).unwrap();
        mounted.sync().unwrap();
        assert_eq!(content(&file(root, "kept").unwrap()).unwrap(), b"kept");
        assert_eq!(fsck(&disk.bytes()), [""; 0], "FAT{kind}");
    }
}

#[test]
fn the_root_of_small_disks_has_room_for_so_many_names() {
    let disk = Disk::new(image("12", 1 << 20, "1"));
    let mounted = disk.mount().unwrap();
    let mut count = 0;
    let error = loop {
        match create(mounted.root(), &format!("F{count}"), NewNode::File) {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(count >= 128 && error.to_string().contains("root directory is full"), "{count}: {error}");
    mounted.sync().unwrap();
    assert_eq!(fsck(&disk.bytes()), [""; 0]);
}

#[test]
fn names_that_fat_cannot_have() {
    let disk = Disk::new(image("32", 40 << 20, "1"));
    let mounted = disk.mount().unwrap();
    let root = mounted.root();
    let error = |name: &str| create(root, name, NewNode::File).err();
    for name in ["a:b", "what?", "a*", "\"", "tab\t", "dot.", "space ", "<", "|", "back\\slash"] {
        assert_eq!(error(name), Some(FsError::UnsupportedName), "{name}");
    }
    assert_eq!(error(&"x".repeat(256)), Some(FsError::NameTooLong));
    assert_eq!(error(&"x".repeat(255)), None);
    assert_eq!(error("File"), None);
    assert_eq!(error("FILE"), Some(FsError::AlreadyExists));
    assert_eq!(create(root, "link", NewNode::SymbolicLink("File")).err(), Some(FsError::Unsupported));
    // Thousands of names that begin alike.
    for number in 0..1000 {
        assert_eq!(error(&format!("a long name number {number}")), None);
    }
    // One that looks like a short name that was made up.
    assert_eq!(error("ALONGN~1"), None);
    for name in [".profile", "a.b.c", "+", "[x]", "~", "MiXed.Txt", "名前"] {
        assert_eq!(error(name), None, "{name}");
        assert!(file(root, name).is_ok());
    }
    mounted.sync().unwrap();
    assert_eq!(fsck(&disk.bytes()), [""; 0]);
}

#[test]
fn directories_are_moved_and_removed() {
    for (kind, len, sectors) in KINDS {
        let disk = Disk::new(image(kind, len, sectors));
        let mounted = disk.mount().unwrap();
        let root = mounted.root();
        for path in ["a", "b", "a/c", "a/c/d", "empty"] {
            create(root, path, NewNode::Directory).unwrap();
        }
        make_file(root, "a/c/d/f", b"deep").unwrap();
        let deep = file(root, "a/c/d/f").unwrap();
        assert_eq!(rename(root, "a", "a/c/x"), Err(FsError::IntoItself));
        assert_eq!(rename(root, "empty", "a"), Err(FsError::NotEmpty));
        assert_eq!(remove(root, "a"), Err(FsError::NotEmpty));
        rename(root, "a/c", "b/moved").unwrap();
        assert_eq!(deep.lock().get_absolute_path(), "disk/b/moved/d/f (removed)", "the root is in no tree");
        rename(root, "b/moved", "empty").unwrap();
        assert_eq!(content(&deep).unwrap(), b"deep");
        rename(root, "empty/d", "top").unwrap();
        assert_eq!(content(&file(root, "top/f").unwrap()).unwrap(), b"deep");
        let gone = dir(root, "empty").unwrap();
        remove(root, "empty").unwrap();
        assert_eq!(gone.lock().create("x", NewNode::File).err(), Some(FsError::Removed));
        assert!(gone.lock().names().unwrap().is_empty());
        mounted.sync().unwrap();
        assert_eq!(fsck(&disk.bytes()), [""; 0], "FAT{kind}");
    }
}

#[test]
fn times_are_kept_as_exactly_as_fat_can() {
    let disk = Disk::new(image("16", 8 << 20, "2"));
    let mounted = disk.mount().unwrap();
    let file = make_file(mounted.root(), "f", b"x").unwrap();
    for (set, kept) in [
        (1_000_000_000, 1_000_000_000),
        (951_782_401, 951_782_400),
        (1_709_164_799, 1_709_164_798),
        (0, 315_532_800),
        (u64::MAX / 4, 4_354_819_198),
    ] {
        let times =
            Times { modified: Some(Duration::from_secs(set)), accessed: Some(Duration::from_secs(set)) };
        file.lock().set_times(times).unwrap();
        mounted.sync().unwrap();
        let again = Disk::new(disk.bytes()).mount().unwrap();
        let node = at(again.root(), "f").unwrap();
        let times = node.metadata().times;
        assert_eq!(
            (times.modified.as_secs(), times.accessed.as_secs()),
            (kept, kept - kept % 86_400),
            "{set}"
        );
    }
}

#[test]
fn a_read_only_disk_refuses_and_stays_as_it_is() {
    let disk = Disk::new(image("16", 8 << 20, "2"));
    let mounted = disk.mount().unwrap();
    make_file(mounted.root(), "f", b"x").unwrap();
    mounted.sync().unwrap();
    let disk = Disk::new(disk.bytes());
    disk.set(|state| state.read_only = true);
    let mounted = disk.mount().unwrap();
    let root = mounted.root();
    let kept = file(root, "f").unwrap();
    assert_eq!(content(&kept).unwrap(), b"x");
    assert!(!kept.lock().metadata().writable);
    assert_eq!(kept.lock().write_at(b"y", 0), Err(IoError::ReadOnly));
    assert_eq!(kept.lock().truncate(0), Err(IoError::ReadOnly));
    assert_eq!(remove(root, "f"), Err(IoError::ReadOnly.into()));
    assert_eq!(rename(root, "f", "g"), Err(IoError::ReadOnly.into()));
    assert_eq!(create(root, "d", NewNode::Directory).err(), Some(IoError::ReadOnly.into()));
    assert!(!kept.lock().location().is_removed());
    mounted.sync().unwrap();
}
