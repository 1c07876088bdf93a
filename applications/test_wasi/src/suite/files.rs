//! Files and directories.

use super::Ground;
use super::harness::*;
use alloc::format;
use alloc::vec;
use wasm_wasi::{DirPerms, FilePerms, WasiCtxBuilder};

pub fn contents(ground: &Ground) {
    let guest = &mut Guest::on(ground);
    guest.make("f", b"hello");
    assert_eq!(guest.content("f").unwrap(), b"hello");
    assert_eq!(guest.stat("f", 0), Ok((4, 1, 5)));
    // Several parts, some of them empty.
    let fd = guest.open(DIR, "f", 0, ALL, 0).unwrap();
    guest.array(&[(BUFFER, 0), (BUFFER, 2), (BUFFER + 10, 0), (BUFFER + 20, 100)]);
    guest.ok("fd_read", &[fd, 0x80, 4, 16]);
    assert_eq!(guest.u32(16), 5);
    assert_eq!((guest.bytes(BUFFER, 2), guest.bytes(BUFFER + 20, 3)), (b"he".to_vec(), b"llo".to_vec()));
    assert_eq!(guest.read(fd, 10).unwrap(), b"", "reading at the end gives nothing");
    // Larger than the pieces in which it is done.
    let large: vec::Vec<u8> = (0..0x10000u32).map(|number| (number / 7) as u8).collect();
    assert_eq!(guest.pwrite(fd, &large, 3), Ok(0x10000));
    assert_eq!(guest.pread(fd, 0x10000, 3).unwrap(), large);
    assert_eq!(guest.pread(fd, 4, 0).unwrap()[..3], *b"hel");
    guest.ok("fd_sync", &[fd]);
    guest.ok("fd_datasync", &[fd]);
    guest.ok("fd_advise", &[fd, 0, 100, 3]);
    assert_eq!(guest.call("fd_advise", &[fd, 0, 100, 6]), INVAL);
    assert_eq!(guest.call("fd_advise", &[fd, -1, 100, 0]), INVAL);
    assert_eq!(guest.call("fd_advise", &[DIR, 0, 100, 0]), ISDIR);
    guest.ok("fd_sync", &[DIR]);
}

pub fn opening(ground: &Ground) {
    let guest = &mut Guest::on(ground);
    assert_eq!(guest.open(DIR, "f", 0, ALL, 0), Err(NOENT));
    assert_eq!(guest.open(DIR, "f", CREAT | EXCL, ALL, 0), Ok(4));
    assert_eq!(guest.open(DIR, "f", CREAT | EXCL, ALL, 0), Err(EXIST));
    assert_eq!(guest.open(DIR, "f", CREAT, ALL, 0), Ok(5));
    guest.make("f", b"abc");
    assert_eq!(guest.open(DIR, "f", TRUNC, ALL, 0), Ok(6));
    assert_eq!(guest.content("f").unwrap(), b"");
    assert_eq!(guest.open(DIR, "f", DIRECTORY, ALL_READ, 0), Err(NOTDIR));
    assert_eq!(guest.open(DIR, "f/", 0, ALL_READ, 0), Err(NOTDIR));
    assert_eq!(guest.open(DIR, "f/x", CREAT, ALL, 0), Err(NOTDIR));
    assert_eq!(guest.open(DIR, "g/x", CREAT, ALL, 0), Err(NOENT));
    assert_eq!(guest.open(DIR, "g/", CREAT, ALL, 0), Err(ISDIR));
    assert_eq!(guest.open(DIR, "g", CREAT | DIRECTORY, ALL, 0), Err(INVAL));
    assert_eq!(guest.at("path_create_directory", DIR, "d"), 0);
    assert_eq!(guest.open(DIR, "d", 0, ALL, 0), Err(ISDIR), "to write a directory");
    assert_eq!(guest.open(DIR, "d", CREAT, ALL_READ, 0), Err(ISDIR));
    assert_eq!(guest.open(DIR, "d", CREAT | EXCL, ALL_READ, 0), Err(EXIST));
    assert_eq!(guest.open(DIR, ".", CREAT | EXCL, ALL_READ, 0), Err(EXIST));
    assert!(guest.open(DIR, "d", 0, ALL_READ, 0).is_ok(), "also if a file would have done");
    let dir = guest.open(DIR, "d", DIRECTORY, ALL_READ, 0).unwrap();
    let inner = guest.open(dir, "x", CREAT, ALL, 0).unwrap();
    assert_eq!(guest.write(inner, b"in d"), Ok(4));
    assert_eq!(guest.content("d/x").unwrap(), b"in d");
    assert_eq!(guest.content("./d/.././d//x").unwrap(), b"in d");
    assert_eq!(guest.read(dir, 4), Err(ISDIR));
    assert_eq!(guest.write(dir, b"x"), Err(ISDIR));
    assert_eq!(guest.open(inner, "x", 0, ALL_READ, 0), Err(NOTDIR));
    assert_eq!(guest.open(99, "x", 0, ALL_READ, 0), Err(BADF));
    for (lookup, oflags, flags) in [(2, 0, 0), (0, 16, 0), (0, 0, 32), (-1, -1, -1)] {
        assert_eq!(guest.open_at(DIR, "f", lookup, oflags, ALL, flags), Err(INVAL));
    }
}

pub fn positions(ground: &Ground) {
    let guest = &mut Guest::on(ground);
    guest.make("f", b"0123456789");
    let fd = guest.open(DIR, "f", 0, ALL, 0).unwrap();
    let mut seek = |offset: i64, whence: i64| match guest.call("fd_seek", &[fd, offset, whence, 16]) {
        0 => Ok(guest.u64(16)),
        errno => Err(errno),
    };
    assert_eq!(seek(4, 0), Ok(4));
    assert_eq!(seek(-1, 1), Ok(3));
    assert_eq!(seek(-2, 2), Ok(8));
    assert_eq!(seek(-9, 1), Err(INVAL));
    assert_eq!(seek(-1, 0), Err(INVAL));
    assert_eq!(seek(i64::MIN, 2), Err(INVAL));
    assert_eq!(seek(i64::MAX, 1), Err(INVAL));
    assert_eq!(seek(0, 3), Err(INVAL));
    assert_eq!(seek(0, 1), Ok(8), "failures move nothing");
    assert_eq!(guest.read(fd, 10).unwrap(), b"89");
    guest.ok("fd_tell", &[fd, 16]);
    assert_eq!(guest.u64(16), 10);
    guest.ok("fd_seek", &[fd, 20, 0, 16]);
    assert_eq!(guest.read(fd, 10).unwrap(), b"");
    assert_eq!(guest.pread(fd, 3, 4).unwrap(), b"456");
    assert_eq!(guest.pread(fd, 3, -1).unwrap(), b"");
    assert_eq!(guest.pwrite(fd, b"x", -1), Err(FBIG));
    assert_eq!(guest.pwrite(fd, b"x", i64::MAX), Err(FBIG));
    guest.ok("fd_tell", &[fd, 16]);
    assert_eq!(guest.u64(16), 20, "pread and pwrite move nothing");
    assert_eq!(guest.call("fd_seek", &[DIR, 0, 0, 16]), ISDIR);
    // A place for the result that is none: nothing moves.
    assert_eq!(guest.call("fd_seek", &[fd, 1, 0, i64::from(MEMORY) - 7]), FAULT);
    guest.ok("fd_tell", &[fd, i64::from(MEMORY) - 8]);
    assert_eq!(guest.u64(MEMORY - 8), 20);
}

pub fn sizes(ground: &Ground) {
    let guest = &mut Guest::on(ground);
    guest.make("f", b"0123456789");
    let fd = guest.open(DIR, "f", 0, ALL, 0).unwrap();
    guest.ok("fd_filestat_set_size", &[fd, 4]);
    guest.ok("fd_filestat_set_size", &[fd, 6]);
    assert_eq!(guest.content("f").unwrap(), b"0123\0\0");
    assert_eq!(guest.pwrite(fd, b"x", 9), Ok(1));
    assert_eq!(guest.content("f").unwrap(), b"0123\0\0\0\0\0x");
    guest.ok("fd_allocate", &[fd, 8, 4]);
    assert_eq!(guest.content("f").unwrap(), b"0123\0\0\0\0\0x\0\0");
    guest.ok("fd_allocate", &[fd, 0, 1]);
    assert_eq!(guest.stat("f", 0).unwrap().2, 12, "never shorter");
    assert_eq!(guest.call("fd_allocate", &[fd, 0, 0]), INVAL);
    assert_eq!(guest.call("fd_allocate", &[fd, -1, 2]), FBIG);
    assert_eq!(guest.call("fd_filestat_set_size", &[fd, -1]), FBIG);
    assert_eq!(guest.call("fd_filestat_set_size", &[DIR, 0]), ISDIR);
    let huge = guest.call("fd_allocate", &[fd, 0, 1 << 62]);
    assert!([NOSPC, FBIG].contains(&huge), "{huge}");
    assert_eq!(guest.stat("f", 0).unwrap().2, 12, "nothing has come of it");
    // What was never written takes no room, and is zero.
    guest.ok("fd_filestat_set_size", &[fd, 1 << 40]);
    assert_eq!(guest.pwrite(fd, b"end", (1 << 40) - 3), Ok(3));
    assert_eq!(guest.pwrite(fd, b"middle", 1 << 39), Ok(6));
    assert_eq!(guest.pread(fd, 8, (1 << 40) - 4).unwrap(), b"\0end");
    assert_eq!(guest.pread(fd, 8, (1 << 39) - 1).unwrap(), b"\0middle\0");
    assert_eq!(guest.pread(fd, 8, 8).unwrap(), b"\0x\0\0\0\0\0\0");
    guest.ok("fd_filestat_set_size", &[fd, 1 << 39]);
    guest.ok("fd_filestat_set_size", &[fd, 1 << 40]);
    assert_eq!(guest.pread(fd, 8, (1 << 39) - 1).unwrap(), [0; 8]);
    assert_eq!(guest.content("f").unwrap()[..12], *b"0123\0\0\0\0\0x\0\0");
    guest.ok("fd_filestat_set_size", &[fd, 0]);
    guest.ok("fd_filestat_get", &[fd, i64::from(BUFFER)]);
    assert_eq!(guest.u64(BUFFER + 32), 0);
}

pub fn appending(ground: &Ground) {
    let guest = &mut Guest::on(ground);
    guest.make("f", b"abc");
    let fd = guest.open(DIR, "f", 0, ALL, APPEND).unwrap();
    let other = guest.open(DIR, "f", 0, ALL, 0).unwrap();
    assert_eq!(guest.write(fd, b"d"), Ok(1));
    guest.ok("fd_tell", &[fd, 16]);
    assert_eq!(guest.u64(16), 4);
    assert_eq!(guest.pwrite(other, b"XYZ", 4), Ok(3));
    assert_eq!(guest.write(fd, b"e"), Ok(1));
    assert_eq!(guest.content("f").unwrap(), b"abcdXYZe");
    guest.ok("fd_fdstat_get", &[fd, 0x40]);
    assert_eq!(guest.bytes(0x40, 4), [4, 0, 1, 0]);
    // The flag can be taken away, and given.
    guest.ok("fd_fdstat_set_flags", &[fd, 0]);
    guest.ok("fd_seek", &[fd, 0, 0, 16]);
    assert_eq!(guest.write(fd, b"A"), Ok(1));
    guest.ok("fd_fdstat_set_flags", &[other, APPEND]);
    assert_eq!(guest.write(other, b"f"), Ok(1));
    assert_eq!(guest.content("f").unwrap(), b"AbcdXYZef");
    assert_eq!(guest.call("fd_fdstat_set_flags", &[fd, 2]), INVAL);
    assert_eq!(guest.call("fd_fdstat_set_flags", &[fd, 64]), INVAL);
}

pub fn times(ground: &Ground) {
    let guest = &mut Guest::on(ground);
    guest.make("f", b"");
    // Also where there is nothing to be set there must be something.
    guest.put(0x100, b"nothing");
    assert_eq!(guest.call("path_filestat_set_times", &[DIR, 0, 0x100, 7, 0, 0, 0]), NOENT);
    let fd = guest.open(DIR, "f", 0, ALL, 0).unwrap();
    let times = |guest: &mut Guest| {
        guest.ok("fd_filestat_get", &[fd, i64::from(BUFFER)]);
        (guest.u64(BUFFER + 40), guest.u64(BUFFER + 48))
    };
    let (_, made) = times(guest);
    guest.ok("fd_filestat_set_times", &[fd, 1_000_000_007, 2_000_000_009, 1 | 4]);
    assert_eq!(times(guest), (1_000_000_007, 2_000_000_009));
    guest.ok("fd_filestat_set_times", &[fd, 5, 6_000_000_000, 4]);
    assert_eq!(times(guest), (1_000_000_007, 6_000_000_000));
    guest.ok("fd_filestat_set_times", &[fd, 5, 6, 2 | 8]);
    assert!(times(guest).0 >= made && times(guest).1 >= made);
    guest.ok("fd_filestat_set_times", &[fd, 5, 6, 0]);
    for flags in [1 | 2, 4 | 8, 16, -1] {
        assert_eq!(guest.call("fd_filestat_set_times", &[fd, 0, 0, flags]), INVAL);
    }
    guest.put(0x100, b"f");
    guest.ok("path_filestat_set_times", &[DIR, 0, 0x100, 1, 7_000_000_000, 8_000_000_000, 5]);
    assert_eq!(times(guest), (7_000_000_000, 8_000_000_000));
    guest.put(0x100, b".");
    guest.ok("path_filestat_set_times", &[DIR, 0, 0x100, 1, 0, 9_000_000_000, 4]);
    guest.ok("fd_filestat_get", &[DIR, i64::from(BUFFER)]);
    assert_eq!(guest.u64(BUFFER + 48), 9_000_000_000);
    guest.ok("fd_filestat_set_times", &[DIR, 0, 10_000_000_000, 4]);
    assert_eq!(guest.call("fd_filestat_set_times", &[0, 0, 0, 0]), NOTCAPABLE);
    guest.put(0x100, b"g");
    assert_eq!(guest.call("path_filestat_set_times", &[DIR, 0, 0x100, 1, 0, 0, 4]), NOENT);
}

pub fn unlinked(ground: &Ground) {
    let guest = &mut Guest::on(ground);
    guest.make("f", b"abc");
    let fd = guest.open(DIR, "f", 0, ALL, 0).unwrap();
    assert_eq!(guest.at("path_unlink_file", DIR, "f"), 0);
    assert_eq!(guest.at("path_unlink_file", DIR, "f"), NOENT);
    assert_eq!(guest.stat("f", 0), Err(NOENT));
    assert_eq!(guest.pwrite(fd, b"d", 3), Ok(1));
    guest.make("f", b"another");
    assert_eq!(guest.pread(fd, 10, 0).unwrap(), b"abcd");
    assert_eq!(guest.content("f").unwrap(), b"another");
    // A directory that was removed takes nothing any more.
    assert_eq!(guest.at("path_create_directory", DIR, "d"), 0);
    let dir = guest.open(DIR, "d", DIRECTORY, ALL_READ, 0).unwrap();
    assert_eq!(guest.at("path_remove_directory", DIR, "d"), 0);
    assert_eq!(guest.open(dir, "x", CREAT, ALL, 0), Err(NOENT));
    assert_eq!(joined(&guest.names(dir, 1000)).matches("x:").count(), 0);
}

pub fn directories(ground: &Ground) {
    let guest = &mut Guest::on(ground);
    assert_eq!(guest.at("path_create_directory", DIR, "d"), 0);
    assert_eq!(guest.at("path_create_directory", DIR, "d"), EXIST);
    assert_eq!(guest.at("path_create_directory", DIR, "."), EXIST);
    assert_eq!(guest.at("path_create_directory", DIR, "d/.."), EXIST);
    assert_eq!(guest.at("path_create_directory", DIR, "d/e/"), 0);
    assert_eq!(guest.at("path_create_directory", DIR, "x/y"), NOENT);
    assert_eq!(guest.stat("d", 0).unwrap().0, 3);
    assert_eq!(guest.stat("d/", 0).unwrap().0, 3);
    assert_eq!(guest.stat(".", 0).unwrap().0, 3);
    guest.make("f", b"");
    assert_eq!(guest.stat("f/", 0), Err(NOTDIR));
    assert_eq!(guest.at("path_create_directory", DIR, "f/d"), NOTDIR);
    assert_eq!(guest.at("path_remove_directory", DIR, "f"), NOTDIR);
    assert_eq!(guest.at("path_remove_directory", DIR, "d"), NOTEMPTY);
    assert_eq!(guest.at("path_remove_directory", DIR, "d/."), INVAL);
    assert_eq!(guest.at("path_remove_directory", DIR, "."), INVAL);
    assert_eq!(guest.at("path_remove_directory", DIR, "d/e/"), 0);
    assert_eq!(guest.at("path_unlink_file", DIR, "d"), ISDIR);
    assert_eq!(guest.at("path_unlink_file", DIR, "f/"), NOTDIR);
    assert_eq!(guest.at("path_remove_directory", DIR, "d"), 0);
    assert_eq!(guest.at("path_remove_directory", DIR, "d"), NOENT);
}

pub fn listing(ground: &Ground) {
    let guest = &mut Guest::on(ground);
    assert_eq!(joined(&guest.names(DIR, 1000)), ".:3 ..:3");
    guest.make("a", b"");
    assert_eq!(guest.at("path_create_directory", DIR, "b"), 0);
    assert_eq!(guest.symlink("a", "c"), 0);
    let mut names = guest.names(DIR, 1000);
    names.sort();
    assert_eq!(joined(&names), ".:3 ..:3 a:4 b:3 c:7");
    // Many, with a buffer for a few: each once, and what is removed or added meanwhile disturbs nobody else.
    let dir = guest.open(DIR, "b", DIRECTORY, ALL_READ, 0).unwrap();
    for number in 0..200 {
        let fd = guest.open(dir, &format!("entry{number}"), CREAT, ALL, 0).unwrap();
        guest.ok("fd_close", &[fd]);
    }
    let mut names = guest.names(dir, 100);
    assert_eq!(names.len(), 202);
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 202);
    guest.ok("fd_readdir", &[dir, i64::from(BUFFER), 100, 0, 16]);
    assert_eq!(guest.u32(16), 100, "the last one is cut off");
    let cookie = guest.u64(BUFFER) as i64;
    assert_eq!(guest.at("path_unlink_file", dir, "entry100"), 0);
    guest.ok("fd_readdir", &[dir, i64::from(BUFFER), 26, cookie, 16]);
    assert_eq!(guest.bytes(BUFFER + 24, 2), b"..");
    assert_eq!(guest.names(dir, 1000).len(), 201);
    // Cookies that nobody gave.
    for cookie in [203, i64::MAX, -1] {
        guest.ok("fd_readdir", &[dir, i64::from(BUFFER), 100, cookie, 16]);
        assert_eq!(guest.u32(16), 0);
    }
    guest.ok("fd_readdir", &[dir, i64::from(BUFFER), 0, 0, 16]);
    assert_eq!(guest.u32(16), 0);
    guest.ok("fd_readdir", &[dir, i64::from(MEMORY) - 50, 50, 0, 16]);
    assert_eq!(guest.call("fd_readdir", &[dir, i64::from(MEMORY) - 49, 50, 0, 16]), FAULT);
    let file = guest.open(DIR, "a", 0, ALL, 0).unwrap();
    assert_eq!(guest.call("fd_readdir", &[file, i64::from(BUFFER), 100, 0, 16]), NOTDIR);
}

pub fn renaming(ground: &Ground) {
    let guest = &mut Guest::on(ground);
    guest.make("a", b"a");
    guest.make("b", b"b");
    let old = guest.open(DIR, "b", 0, ALL_READ, 0).unwrap();
    assert_eq!(guest.rename(DIR, "a", DIR, "b"), 0);
    assert_eq!(guest.content("b").unwrap(), b"a");
    assert_eq!(guest.read(old, 9).unwrap(), b"b", "what is open stays");
    assert_eq!(guest.rename(DIR, "a", DIR, "c"), NOENT);
    assert_eq!(guest.rename(DIR, "b", DIR, "b"), 0);
    for dir in ["d", "d/e", "x"] {
        assert_eq!(guest.at("path_create_directory", DIR, dir), 0);
    }
    assert_eq!(guest.rename(DIR, "b", DIR, "d/e/f"), 0);
    assert_eq!(guest.content("d/e/f").unwrap(), b"a");
    assert_eq!(guest.rename(DIR, "d/e/f", DIR, "x"), ISDIR);
    assert_eq!(guest.rename(DIR, "x", DIR, "d/e/f"), NOTDIR);
    assert_eq!(guest.rename(DIR, "x", DIR, "d/e"), NOTEMPTY);
    assert_eq!(guest.rename(DIR, "d", DIR, "d/e/g"), INVAL);
    assert_eq!(guest.rename(DIR, "d/e/", DIR, "x/"), 0, "an empty directory is replaced");
    assert_eq!(guest.content("x/f").unwrap(), b"a");
    assert_eq!(guest.rename(DIR, "x/f", DIR, "y/"), NOTDIR);
    assert_eq!(guest.rename(DIR, "x/f/", DIR, "y"), NOTDIR);
    let dir = guest.open(DIR, "d", DIRECTORY, ALL_READ, 0).unwrap();
    assert_eq!(guest.rename(DIR, "x/f", dir, "f"), 0);
    assert_eq!(guest.content("d/f").unwrap(), b"a");
    assert_eq!(guest.rename(DIR, "x/..", DIR, "y"), 10, "busy");
}

pub fn descriptors(ground: &Ground) {
    let guest = &mut Guest::on(ground);
    guest.make("a", b"a");
    guest.make("b", b"b");
    let a = guest.open(DIR, "a", 0, ALL_READ, 0).unwrap();
    let b = guest.open(DIR, "b", 0, ALL_READ, 0).unwrap();
    assert_eq!((a, b), (4, 5));
    guest.ok("fd_renumber", &[a, b]);
    assert_eq!(guest.read(a, 1), Err(BADF));
    assert_eq!(guest.read(b, 1).unwrap(), b"a");
    guest.ok("fd_renumber", &[b, b]);
    assert_eq!(guest.call("fd_renumber", &[b, 77]), BADF);
    assert_eq!(guest.call("fd_renumber", &[77, b]), BADF);
    assert_eq!(guest.open(DIR, "b", 0, ALL_READ, 0), Ok(4), "the lowest number that is free");
    guest.ok("fd_close", &[4]);
    assert_eq!(guest.call("fd_close", &[4]), BADF);
    assert_eq!(guest.call("fd_close", &[-1]), BADF);
    // As many as there can be, and one more.
    let mut last = 0;
    let error = loop {
        match guest.open(DIR, "a", 0, ALL_READ, 0) {
            Ok(fd) => last = fd,
            Err(error) => break error,
        }
    };
    assert_eq!((last, error), (1023, MFILE));
    assert_eq!(guest.open(DIR, "new", CREAT, ALL, 0), Err(MFILE));
    assert_eq!(guest.stat("new", 0), Err(NOENT), "nothing is made that cannot be opened");
    guest.ok("fd_close", &[500]);
    assert_eq!(guest.open(DIR, "b", 0, ALL_READ, 0), Ok(500));
    guest.ok("fd_close", &[DIR]);
    assert_eq!(guest.open(DIR, "b", 0, ALL_READ, 0), Err(BADF));
}

pub fn rights(ground: &Ground) {
    let guest = &mut Guest::on(ground);
    guest.make("f", b"abc");
    let reader = guest.open(DIR, "f", 0, READ, 0).unwrap();
    assert_eq!(guest.read(reader, 3).unwrap(), b"abc");
    assert_eq!(guest.write(reader, b"x"), Err(NOTCAPABLE));
    assert_eq!(guest.pread(reader, 1, 0), Err(NOTCAPABLE), "without the right to seek");
    assert_eq!(guest.call("fd_filestat_set_size", &[reader, 0]), NOTCAPABLE);
    assert_eq!(guest.call("fd_filestat_get", &[reader, 16]), NOTCAPABLE);
    assert_eq!(guest.call("fd_sync", &[reader]), NOTCAPABLE);
    assert_eq!(guest.call("fd_allocate", &[reader, 0, 1]), NOTCAPABLE);
    assert_eq!(guest.call("fd_fdstat_set_flags", &[reader, 1]), NOTCAPABLE);
    let writer = guest.open(DIR, "f", 0, WRITE, 0).unwrap();
    assert_eq!(guest.read(writer, 3), Err(NOTCAPABLE));
    assert_eq!(guest.write(writer, b"x"), Ok(1));
    // They can be given up, and not be taken back.
    let fd = guest.open(DIR, "f", 0, ALL, 0).unwrap();
    guest.ok("fd_fdstat_get", &[fd, 0x40]);
    let (base, inheriting) = (guest.u64(0x48) as i64, guest.u64(0x50) as i64);
    assert_ne!(base & WRITE, 0);
    guest.ok("fd_fdstat_set_rights", &[fd, base & !WRITE, inheriting]);
    assert_eq!(guest.write(fd, b"x"), Err(NOTCAPABLE));
    assert_eq!(guest.call("fd_fdstat_set_rights", &[fd, base, inheriting]), NOTCAPABLE);
    assert_eq!(guest.call("fd_fdstat_set_rights", &[fd, -1, -1]), NOTCAPABLE);
    // What is opened from a directory has no right that it cannot give.
    assert_eq!(guest.at("path_create_directory", DIR, "d"), 0);
    guest.make("d/f", b"abc");
    let dir = guest.open(DIR, "d", DIRECTORY, ALL_READ, 0).unwrap();
    guest.ok("fd_fdstat_get", &[dir, 0x40]);
    let (base, inheriting) = (guest.u64(0x48) as i64, guest.u64(0x50) as i64);
    guest.ok("fd_fdstat_set_rights", &[dir, base, inheriting & !(WRITE | 1 << 4)]);
    assert_eq!(guest.open(dir, "f", 0, ALL, 0), Err(NOTCAPABLE));
    let fd = guest.open(dir, "f", 0, ALL_READ, 0).unwrap();
    assert_eq!(guest.write(fd, b"x"), Err(NOTCAPABLE));
    assert_eq!(guest.call("fd_sync", &[fd]), NOTCAPABLE);
    assert_eq!(guest.rename(dir, "f", DIR, "f2"), NOTCAPABLE, "it would gain the right to be written");
    assert_eq!(guest.rename(DIR, "f", dir, "f2"), 0);
    for (right, name) in
        [(9, "path_create_directory"), (25, "path_remove_directory"), (26, "path_unlink_file")]
    {
        guest.ok("fd_fdstat_set_rights", &[dir, base & !(1 << right), 0]);
        assert_eq!(guest.at(name, dir, "f"), NOTCAPABLE, "{name}");
        let again = guest.open(DIR, "d", DIRECTORY, ALL_READ, 0).unwrap();
        guest.ok("fd_renumber", &[again, dir]);
    }
    guest.ok("fd_fdstat_set_rights", &[dir, 0, 0]);
    assert_eq!(guest.open(dir, "f", 0, 0, 0), Err(NOTCAPABLE));
    assert_eq!(guest.call("fd_readdir", &[dir, i64::from(BUFFER), 100, 0, 16]), NOTCAPABLE);
    guest.ok("fd_fdstat_get", &[dir, 0x40]);
    assert_eq!((guest.u64(0x48), guest.u64(0x50)), (0, 0));
}

pub fn read_only(ground: &Ground) {
    let owner = &mut Guest::on(ground);
    owner.make("f", b"abc");
    assert_eq!(owner.at("path_create_directory", DIR, "d"), 0);
    assert_eq!(owner.symlink("f", "l"), 0);
    let mut builder = WasiCtxBuilder::new();
    ground.give(&mut builder, "ro", DirPerms::READ, FilePerms::READ);
    ground.give(&mut builder, "rw", DirPerms::all(), FilePerms::all());
    let guest = &mut Guest::new(&mut builder);
    assert_eq!(guest.content("f").unwrap(), b"abc");
    assert_eq!(guest.content("l").unwrap(), b"abc");
    assert_eq!(guest.readlink("l", 9).unwrap(), "f");
    assert_eq!(guest.names(DIR, 1000).len(), 5);
    assert_eq!(guest.open(DIR, "f", 0, ALL, 0), Err(NOTCAPABLE));
    assert_eq!(guest.open(DIR, "f", TRUNC, ALL_READ, 0), Err(NOTCAPABLE));
    assert_eq!(guest.open(DIR, "g", CREAT, ALL_READ, 0), Err(NOTCAPABLE));
    let fd = guest.open(DIR, "f", 0, ALL_READ, 0).unwrap();
    assert_eq!(guest.write(fd, b"x"), Err(NOTCAPABLE));
    assert_eq!(guest.pwrite(fd, b"x", 0), Err(NOTCAPABLE));
    assert_eq!(guest.call("fd_filestat_set_times", &[fd, 0, 0, 5]), NOTCAPABLE);
    assert_eq!(guest.call("fd_filestat_set_times", &[DIR, 0, 0, 5]), NOTCAPABLE);
    for name in ["path_create_directory", "path_remove_directory", "path_unlink_file"] {
        assert_eq!(guest.at(name, DIR, "d"), NOTCAPABLE, "{name}");
    }
    assert_eq!(guest.symlink("a", "b"), NOTCAPABLE);
    assert_eq!(guest.link("f", "g"), NOTCAPABLE);
    assert_eq!(guest.rename(DIR, "f", DIR, "g"), NOTCAPABLE);
    assert_eq!(guest.rename(DIR, "f", 4, "g"), NOTCAPABLE);
    assert_eq!(guest.rename(4, "f", DIR, "g"), NOTCAPABLE);
    // Nor what is below it.
    let dir = guest.open(DIR, "d", DIRECTORY, ALL_READ, 0).unwrap();
    assert_eq!(guest.open(dir, "g", CREAT, ALL, 0), Err(NOTCAPABLE));
    assert_eq!(guest.at("path_create_directory", dir, "e"), NOTCAPABLE);
    assert_eq!(owner.content("f").unwrap(), b"abc");
}
