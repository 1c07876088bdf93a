//! Disks that report errors, and file systems that cannot be.

use super::support::*;
use crate::FileSystem;
use fs_node::{FileOrDir, FsError, NewNode};
use io::IoError;
use std::time::{Duration, Instant};

#[test]
fn errors_of_the_disk_are_reported_and_nothing_is_forgotten() {
    let disk = Disk::new(image("16", 8 << 20, "2"));
    let mounted = disk.mount().unwrap();
    let root = mounted.root();
    let file_ref = make_file(root, "f", &[1; 50_000]).unwrap();
    disk.set(|state| state.fail_writes = true);
    assert_eq!(mounted.sync(), Err(BROKEN));
    assert_eq!(file_ref.lock().flush(), Err(BROKEN));
    assert_eq!(content(&file_ref).unwrap(), [1; 50_000], "the cache still has it");
    // More than the cache holds: at some point nothing can be added any more.
    let piece = [2; 100_000];
    let mut at = 50_000;
    let error = loop {
        match file_ref.lock().write_at(&piece, at) {
            Ok(count) => at += count,
            Err(error) => break error,
        }
        assert!(at < 2 * CACHE);
    };
    assert_eq!(error, BROKEN);
    assert_eq!(file_ref.lock().len(), at);
    // It works again.
    disk.set(|state| state.fail_writes = false);
    mounted.sync().unwrap();
    assert_eq!(fsck(&disk.bytes()), [""; 0]);
    let again = Disk::new(disk.bytes()).mount().unwrap();
    let mut expected = vec![1; 50_000];
    expected.resize(at, 2);
    assert!(content(&file(again.root(), "f").unwrap()).unwrap() == expected);
}

#[test]
fn a_disk_that_fails_after_any_number_of_writes_goes_on_when_it_works_again() {
    for (kind, len, sectors) in SMALL_KINDS {
        let empty = image(kind, len, sectors);
        for writes in 0..14 {
            let disk = Disk::new(empty.clone());
            let mounted = disk.mount().unwrap();
            let root = mounted.root();
            create(root, "d", NewNode::Directory).unwrap();
            make_file(root, "d/some file", &[1; 20_000]).unwrap();
            make_file(root, "shrinks", &[2; 20_000]).unwrap();
            mounted.sync().unwrap();
            disk.set(|state| state.writes_left = Some(writes));
            file(root, "shrinks").unwrap().lock().truncate(100).unwrap();
            make_file(root, "new", &[3; 30_000]).unwrap();
            // Needs two writes, so it may fail: then nothing has changed.
            let moved = rename(root, "d/some file", "moved to here").is_ok();
            let failed = mounted.sync().is_err();
            disk.set(|state| state.writes_left = None);
            mounted.sync().unwrap();
            assert_eq!(fsck(&disk.bytes()), [""; 0], "FAT{kind}, {writes} writes, failed: {failed}");
            let again = Disk::new(disk.bytes()).mount().unwrap();
            let name = if moved { "moved to here" } else { "d/some file" };
            assert_eq!(content(&file(again.root(), name).unwrap()).unwrap(), [1; 20_000]);
            assert_eq!(content(&file(again.root(), "shrinks").unwrap()).unwrap(), [2; 100]);
            assert_eq!(content(&file(again.root(), "new").unwrap()).unwrap(), [3; 30_000]);
        }
    }
}

#[test]
fn a_disk_that_cannot_be_read() {
    let disk = Disk::new(image("16", 8 << 20, "2"));
    let mounted = disk.mount().unwrap();
    create(mounted.root(), "d", NewNode::Directory).unwrap();
    make_file(mounted.root(), "d/f", &[1; 5000]).unwrap();
    mounted.sync().unwrap();
    let disk = Disk::new(disk.bytes());
    let mounted = disk.mount().unwrap();
    let root = mounted.root();
    let (d, f) = (dir(root, "d").unwrap(), file(root, "d/f").unwrap());
    let fresh = Disk::new(disk.bytes());
    disk.set(|state| state.fail_reads = true);
    assert_eq!(content(&f), Err(BROKEN));
    // What is in the cache can be used.
    assert_eq!(d.lock().names(), Ok(vec!["f".to_string()]));
    assert!(Disk::new(Vec::new()).mount().is_err());
    fresh.set(|state| state.fail_reads = true);
    assert_eq!(fresh.mount().err(), Some(BROKEN));
    disk.set(|state| state.fail_reads = false);
    assert_eq!(content(&f).unwrap(), [1; 5000]);
}

#[test]
fn what_is_no_fat_is_told_from_what_is_damaged() {
    let reason = |bytes: Vec<u8>| match Disk::new(bytes).mount() {
        Err(IoError::Other(reason)) => reason,
        Err(other) => panic!("{other}"),
        Ok(_) => "none",
    };
    assert!(reason(vec![0; 1 << 20]).contains("no file system on it: make one on the host with `mkfs.fat"));
    assert!(reason(vec![0x41; 1 << 20]).contains("not FAT"));
    let good = image("16", 8 << 20, "2");
    assert_eq!(reason(good.clone()), "none");
    assert!(reason(good[..4 << 20].to_vec()).contains("smaller"));
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        reason(bytes)
    };
    assert!(with(13, 3).contains("damaged"), "sectors in a cluster");
    assert!(with(16, 0).contains("damaged"), "copies of the table");
    assert!(with(14, 0).contains("damaged"), "reserved sectors");
    // In the first partition.
    let mut partitioned = vec![0; 1 << 20];
    partitioned[446 + 4] = 6;
    partitioned[446 + 8..][..4].copy_from_slice(&2048_u32.to_le_bytes());
    partitioned[446 + 12..][..4].copy_from_slice(&(8_u32 << 11).to_le_bytes());
    partitioned[510..512].copy_from_slice(&[0x55, 0xAA]);
    partitioned.extend(&good);
    let disk = Disk::new(partitioned);
    let mounted = disk.mount().unwrap();
    make_file(mounted.root(), "f", b"in a partition").unwrap();
    mounted.sync().unwrap();
    assert_eq!(fsck(&disk.bytes()[1 << 20..]), [""; 0]);
}

/// Reads everything, changes something, and syncs; errors are fine.
fn use_it(mounted: &FileSystem) {
    let mut work = vec![mounted.root().clone()];
    let mut looked = 0;
    while let Some(dir) = work.pop() {
        let names = dir.lock().names().unwrap_or_default();
        for name in names {
            looked += 1;
            if looked > 200 {
                break;
            }
            let node = dir.lock().lookup(&name);
            match node {
                Ok(Some(FileOrDir::Dir(below))) => {
                    let _ = below.lock().create("new in it", NewNode::File);
                    work.push(below);
                }
                Ok(Some(FileOrDir::File(file))) => {
                    let mut buffer = [0; 3000];
                    let len = file.lock().len();
                    for at in [0, 1000, len / 2, len.saturating_sub(10)] {
                        let _ = file.lock().read_at(&mut buffer, at);
                    }
                    let _ = file.lock().write_at(&buffer, len.min(1 << 20));
                    let _ = file.lock().truncate(100);
                }
                _ => {}
            }
        }
    }
    let root = mounted.root();
    let _ = make_file(root, "new", &[1; 10_000]);
    let _ = rename(root, "new", "d/moved");
    for name in ["f", "long name number 3", "d/e/g", "d/e"] {
        let _ = remove(root, name);
    }
    let _ = mounted.sync();
}

#[test]
fn damaged_file_systems_end_in_errors() {
    let start = Instant::now();
    for (index, (kind, len, sectors)) in SMALL_KINDS.into_iter().enumerate() {
        let disk = Disk::new(image(kind, len, sectors));
        let mounted = disk.mount().unwrap();
        let root = mounted.root();
        create(root, "d", NewNode::Directory).unwrap();
        create(root, "d/e", NewNode::Directory).unwrap();
        for number in 0..20 {
            make_file(root, &format!("long name number {number}"), &[1; 3000]).unwrap();
        }
        make_file(root, "f", &[2; 50_000]).unwrap();
        make_file(root, "d/e/g", &[2; 5000]).unwrap();
        mounted.sync().unwrap();
        let layout_end = 64 * 1024;
        let good = disk.bytes();
        let reserved = usize::from(u16::from_le_bytes([good[14], good[15]])) * 512;
        let mut numbers = Numbers(index as u64 + 3);
        for _ in 0..150 {
            let mut bytes = good.clone();
            for _ in 0..1 + numbers.below(8) {
                // The first sector, the start of the table, or anywhere at the start.
                let at = match numbers.below(3) {
                    0 => numbers.below(64),
                    1 => reserved + numbers.below(400),
                    _ => numbers.below(layout_end),
                };
                bytes[at] = match numbers.below(3) {
                    0 => 0,
                    1 => 0xFF,
                    _ => numbers.next() as u8,
                };
            }
            if let Ok(mounted) = Disk::new(bytes).mount() {
                use_it(&mounted);
            }
        }
        // Chains that come back to themselves, in a file and in a directory.
        for path in ["f", "d"] {
            let mounted = Disk::new(good.clone()).mount().unwrap();
            let node = at(mounted.root(), path).unwrap();
            let first = first_cluster(&good, reserved, kind, path, &mounted);
            let mut bytes = good.clone();
            point_to_itself(&mut bytes, reserved, kind, first);
            drop(node);
            let mounted = Disk::new(bytes).mount().unwrap();
            let damaged = FsError::Io(crate::DAMAGED);
            match at(mounted.root(), path).unwrap() {
                FileOrDir::File(file) => assert_eq!(content(&file), Err(crate::DAMAGED)),
                // Its first cluster has an end, so nothing beyond is read; removing it meets the circle.
                FileOrDir::Dir(_) => {
                    let _ = remove(mounted.root(), "d/e/g");
                    let _ = remove(mounted.root(), "d/e");
                    let removed = remove(mounted.root(), "d");
                    assert!(removed.is_ok() || removed == Err(damaged), "{removed:?}");
                    mounted.sync().unwrap_or_else(|error| assert_eq!(error, crate::DAMAGED));
                }
            }
            use_it(&mounted);
        }
    }
    assert!(start.elapsed() < Duration::from_secs(600));
}

/// The first cluster of a file or directory in the root.
fn first_cluster(bytes: &[u8], reserved: usize, kind: &str, name: &str, _mounted: &FileSystem) -> u32 {
    let copies = usize::from(bytes[16]);
    let table = match u16::from_le_bytes([bytes[22], bytes[23]]) {
        0 => u32::from_le_bytes([bytes[36], bytes[37], bytes[38], bytes[39]]) as usize,
        sectors => usize::from(sectors),
    };
    let root = reserved + copies * table * 512;
    assert!(kind != "32" || bytes[44] == 2);
    // The record has the name in capital letters.
    let short = format!("{:<11}", name.to_uppercase());
    let position = bytes[root..]
        .chunks(32)
        .position(|entry| &entry[..11] == short.as_bytes())
        .or_else(|| {
            bytes[root..]
                .chunks(32)
                .position(|entry| entry.starts_with(format!("{}~1", name.to_uppercase()).as_bytes()))
        })
        .unwrap();
    let entry = &bytes[root + position * 32..][..32];
    u32::from(u16::from_le_bytes([entry[26], entry[27]]))
}

fn point_to_itself(bytes: &mut [u8], reserved: usize, kind: &str, cluster: u32) {
    let number = cluster as usize;
    match kind {
        "12" => {
            let at = reserved + number * 3 / 2;
            let both = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
            let new = if number.is_multiple_of(2) {
                both & 0xF000 | cluster as u16
            } else {
                both & 0xF | (cluster as u16) << 4
            };
            bytes[at..at + 2].copy_from_slice(&new.to_le_bytes());
        }
        "16" => bytes[reserved + number * 2..][..2].copy_from_slice(&(cluster as u16).to_le_bytes()),
        _ => bytes[reserved + number * 4..][..4].copy_from_slice(&cluster.to_le_bytes()),
    }
}
