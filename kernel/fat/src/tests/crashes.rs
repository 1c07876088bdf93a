//! A crash at any moment.

use super::model::{Model, compare, contents, step};
use super::support::*;

/// What fsck.fat may say about the disk after a crash: that clusters belong to nobody, or are too many for a file's length, what follows
/// from that, and that the second copy of the table was not written yet.
fn is_harmless(line: &str) -> bool {
    [
        "fsck.fat ",
        "Reclaimed",
        "Free cluster summary wrong",
        "1) Correct",
        "2) Don't",
        "> Auto",
        "Auto-",
        "Leaving filesystem unchanged",
        "files, ",
        "cluster chain length is >",
        "Truncating file to",
        "Orphaned",
        "Warning: Filesystem is FAT32 according to",
        "but has only 8",
        "This may lead to problems on some systems",
        "FATs differ but appear to be intact",
        "Using first FAT",
    ]
    .iter()
    .any(|known| line.contains(known))
        || line.starts_with('/')
}

/// What it may say besides in the middle of a move.
fn is_of_a_move(line: &str) -> bool {
    ["share clusters", "Truncating second to", "cluster chain length is 0 bytes", "Invalid '..' entry"]
        .iter()
        .any(|known| line.contains(known))
}

#[test]
fn leaves_nothing_worse_than_lost_clusters() {
    for (index, (kind, len, sectors)) in SMALL_KINDS.into_iter().enumerate() {
        let mut numbers = Numbers(index as u64 + 77);
        let empty = image(kind, len, sectors);
        let disk = Disk::new(empty.clone());
        disk.set(|state| state.record = true);
        let mounted = disk.mount().unwrap();
        let mut model = Model::new();
        // What was there at each sync, by how many events had happened.
        let mut synced = vec![(0, model.clone())];
        // During which events a file may have two names: moves that need two writes do those at once.
        let mut moves = Vec::new();
        for number in 0..120 {
            let before = disk.0.lock().unwrap().events.len();
            step(&mounted, &mut model, &mut numbers);
            moves.push(before + 1..disk.0.lock().unwrap().events.len());
            if number % 6 == 5 {
                mounted.sync().unwrap();
                synced.push((disk.0.lock().unwrap().events.len(), model.clone()));
            }
        }
        let events = disk.0.lock().unwrap().events.clone();
        let mut bytes = empty;
        let every = (events.len() / 60).max(1);
        for (number, event) in events.iter().enumerate() {
            if number % every == 0 {
                let moving = moves.iter().any(|during| during.contains(&number));
                let mut complaints = fsck(&bytes);
                complaints.retain(|line| !(is_harmless(line) || moving && is_of_a_move(line)));
                assert_eq!(complaints, [""; 0], "FAT{kind}, after {number} of {} events", events.len());
                let disk = Disk::new(bytes.clone());
                let again = disk.mount().unwrap();
                if let Some((_, model)) = synced.iter().find(|(events, _)| *events == number) {
                    compare(&again, model);
                }
            }
            if let Event::Write(start, written) = event {
                bytes[*start..start + written.len()].copy_from_slice(written);
            }
        }
        let at_end = Disk::new(bytes);
        compare(&at_end.mount().unwrap(), &synced.last().unwrap().1);
    }
}

/// A power failure: of the sectors that were written since the last flush, any may be lost.
#[test]
fn may_lose_any_sector_since_the_last_flush() {
    for (index, (kind, len, sectors)) in SMALL_KINDS.into_iter().enumerate() {
        let mut numbers = Numbers(index as u64 + 191);
        let empty = image(kind, len, sectors);
        let disk = Disk::new(empty.clone());
        disk.set(|state| state.record = true);
        let mounted = disk.mount().unwrap();
        let mut model = Model::new();
        let mut moves = Vec::new();
        for number in 0..80 {
            let before = disk.0.lock().unwrap().events.len();
            step(&mounted, &mut model, &mut numbers);
            moves.push(before..disk.0.lock().unwrap().events.len());
            if number % 6 == 5 {
                mounted.sync().unwrap();
            }
        }
        let events = disk.0.lock().unwrap().events.clone();
        // What surely is on the disk, and what may be.
        let mut certain = empty;
        let mut pending: Vec<(usize, Vec<u8>)> = Vec::new();
        for (number, event) in events.iter().enumerate() {
            match event {
                Event::Write(start, written) => {
                    let sectors = written.chunks(512).enumerate();
                    pending.extend(sectors.map(|(index, sector)| (start + 512 * index, sector.to_vec())));
                    if number % 3 > 0 {
                        continue;
                    }
                    let mut bytes = certain.clone();
                    for (start, sector) in &pending {
                        if numbers.below(2) == 0 {
                            bytes[*start..*start + 512].copy_from_slice(sector);
                        }
                    }
                    let moving = moves.iter().any(|during| during.contains(&number));
                    let mut complaints = fsck(&bytes);
                    complaints.retain(|line| !(is_harmless(line) || moving && is_of_a_move(line)));
                    assert_eq!(complaints, [""; 0], "FAT{kind}, at {number} of {} events", events.len());
                    let disk = Disk::new(bytes);
                    let again = disk.mount().unwrap();
                    // What can be found can be read.
                    contents(&again);
                }
                Event::Flush => {
                    for (start, sector) in pending.drain(..) {
                        certain[start..start + 512].copy_from_slice(&sector);
                    }
                }
            }
        }
    }
}

/// A move between directories that is cut short leaves the file under both names, or under one, and never under none.
#[test]
fn a_move_never_loses_the_file() {
    let disk = Disk::new(image("16", 8 << 20, "2"));
    let mounted = disk.mount().unwrap();
    let root = mounted.root();
    fs_make(root);
    mounted.sync().unwrap();
    let before = disk.bytes();
    disk.set(|state| state.record = true);
    rename(root, "from/file", "to/a longer name for the file").unwrap();
    mounted.sync().unwrap();
    let events = disk.0.lock().unwrap().events.clone();
    let mut bytes = before;
    let mut both = 0;
    for event in events {
        if let Event::Write(start, written) = event {
            bytes[start..start + written.len()].copy_from_slice(&written);
        }
        let again = Disk::new(bytes.clone()).mount().unwrap();
        let names = ["from/file", "to/a longer name for the file"];
        let found = names.iter().filter(|name| file(again.root(), name).is_ok()).count();
        assert!(found > 0);
        both += usize::from(found == 2);
        for name in names {
            if let Ok(file) = file(again.root(), name) {
                assert_eq!(content(&file).unwrap(), [5; 10_000]);
            }
        }
    }
    assert!(both > 0, "the move needs two writes");
    assert_eq!(fsck(&bytes), [""; 0]);
}

fn fs_make(root: &fs_node::DirRef) {
    use fs_node::NewNode;
    create(root, "from", NewNode::Directory).unwrap();
    create(root, "to", NewNode::Directory).unwrap();
    make_file(root, "from/file", &[5; 10_000]).unwrap();
}
