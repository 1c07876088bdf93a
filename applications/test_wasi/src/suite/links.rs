//! Links, and paths that are none.

use super::Ground;
use super::harness::*;
use alloc::string::String;

pub fn symbolic(ground: &Ground) {
    let guest = &mut Guest::on(ground);
    guest.make("f", b"abc");
    assert_eq!(guest.at("path_create_directory", DIR, "d"), 0);
    guest.make("d/g", b"xyz");
    assert_eq!(guest.symlink("f", "l"), 0);
    assert_eq!(guest.symlink("f", "l"), EXIST);
    assert_eq!(guest.symlink("", "e"), NOENT);
    assert_eq!(guest.symlink("d", "to_d"), 0);
    assert_eq!(guest.symlink("../f", "d/up"), 0);
    assert_eq!(guest.symlink("nowhere", "dangling"), 0);
    assert_eq!(guest.symlink("b", "a"), 0);
    assert_eq!(guest.symlink("a", "b"), 0);
    assert_eq!(guest.readlink("d/up", 100).unwrap(), "../f");
    assert_eq!(guest.readlink("d/up", 2).unwrap(), "..", "as much as there is room for");
    assert_eq!(guest.readlink("f", 100), Err(INVAL));
    assert_eq!(guest.readlink("d", 100), Err(INVAL));
    assert_eq!(guest.readlink("nothing", 100), Err(NOENT));
    for path in ["l", "d/up", "to_d/up", "to_d/../l"] {
        assert_eq!(guest.content(path).unwrap(), b"abc", "{path}");
    }
    assert_eq!(guest.content("to_d/g").unwrap(), b"xyz");
    assert_eq!(guest.stat("l", 0), Ok((7, 1, 1)));
    assert_eq!(guest.stat("l", FOLLOW), Ok((4, 1, 3)));
    assert_eq!(guest.stat("to_d", 0).unwrap().0, 7);
    assert_eq!(guest.stat("to_d/", 0).unwrap().0, 3, "a slash demands the directory");
    assert_eq!(guest.open_at(DIR, "l", 0, 0, ALL, 0), Err(LOOP));
    assert_eq!(guest.open_at(DIR, "to_d", 0, DIRECTORY, ALL_READ, 0), Err(LOOP));
    assert_eq!(guest.content("a"), Err(LOOP));
    assert_eq!(guest.stat("a/x", 0), Err(LOOP));
    assert_eq!(guest.content("dangling"), Err(NOENT));
    assert_eq!(guest.open(DIR, "dangling", CREAT | EXCL, ALL, 0), Err(EXIST));
    guest.make("dangling", b"made");
    assert_eq!(guest.content("nowhere").unwrap(), b"made");
    // Who removes and renames means the link.
    assert_eq!(guest.rename(DIR, "l", DIR, "m"), 0);
    assert_eq!(guest.stat("m", 0).unwrap().0, 7);
    assert_eq!(guest.at("path_unlink_file", DIR, "m"), 0);
    assert_eq!(guest.at("path_remove_directory", DIR, "to_d"), NOTDIR);
    assert_eq!(guest.at("path_unlink_file", DIR, "to_d/"), NOTDIR);
    assert_eq!(guest.at("path_unlink_file", DIR, "to_d"), 0);
    assert_eq!(guest.content("f").unwrap(), b"abc");
    assert_eq!(guest.content("d/g").unwrap(), b"xyz");
    // 40 links are followed, and no more.
    assert_eq!(guest.symlink("f", "l0"), 0);
    for number in 1..=40 {
        let (target, name) = (alloc::format!("l{}", number - 1), alloc::format!("l{number}"));
        assert_eq!(guest.symlink(&target, &name), 0);
    }
    assert_eq!(guest.content("l39").unwrap(), b"abc");
    assert_eq!(guest.content("l40"), Err(LOOP));
}

pub fn hard(ground: &Ground) {
    let guest = &mut Guest::on(ground);
    guest.make("f", b"abc");
    assert_eq!(guest.at("path_create_directory", DIR, "d"), 0);
    assert_eq!(guest.link("d", "e"), PERM, "no directory has two names");
    assert_eq!(guest.link("nothing", "e"), NOENT);
    assert_eq!(guest.link("f", "g/"), NOENT);
    assert_eq!(guest.link("f", "../g"), PERM);
    assert_eq!(guest.link("../f", "g"), PERM);
    assert_eq!(guest.link("f", "d"), EXIST);
    assert_eq!(guest.link("f", "d/g"), 0);
    assert_eq!(guest.link("f", "d/g"), EXIST);
    assert_eq!(guest.stat("f", 0), Ok((4, 2, 3)));
    assert_eq!(guest.at("path_unlink_file", DIR, "f"), 0);
    assert_eq!(guest.content("d/g").unwrap(), b"abc");
    assert_eq!(guest.stat("d/g", 0), Ok((4, 1, 3)));
    // Both names are the same file, whichever is used.
    assert_eq!(guest.link("d/g", "h"), 0);
    let fd = guest.open(DIR, "h", 0, ALL, 0).unwrap();
    assert_eq!(guest.pwrite(fd, b"A", 0), Ok(1));
    assert_eq!(guest.content("d/g").unwrap(), b"Abc");
    let inodes = ["h", "d/g"].map(|path| {
        assert_eq!(guest.stat(path, 0), Ok((4, 2, 3)));
        guest.u64(BUFFER + 8)
    });
    assert_eq!(inodes[0], inodes[1]);
    // Of two names of the same file neither is replaced; one alone is renamed.
    assert_eq!(guest.rename(DIR, "h", DIR, "d/g"), 0);
    assert_eq!((guest.stat("h", 0), guest.stat("d/g", 0)), (Ok((4, 2, 3)), Ok((4, 2, 3))));
    assert_eq!(guest.rename(DIR, "h", DIR, "i"), 0);
    assert_eq!((guest.stat("h", 0), guest.stat("i", 0)), (Err(NOENT), Ok((4, 2, 3))));
    // A name that is replaced is one fewer.
    guest.make("new", b"new");
    assert_eq!(guest.rename(DIR, "new", DIR, "i"), 0);
    assert_eq!(guest.stat("d/g", 0), Ok((4, 1, 3)));
    assert_eq!(guest.at("path_unlink_file", DIR, "d/g"), 0);
    assert_eq!(guest.pread(fd, 9, 0).unwrap(), b"Abc", "it is open");
    guest.ok("fd_filestat_get", &[fd, i64::from(BUFFER)]);
    assert_eq!(guest.u64(BUFFER + 24), 0, "and has no name");
    // A symbolic link has a second name itself, and is not followed.
    assert_eq!(guest.symlink("i", "s"), 0);
    assert_eq!(guest.link("s", "t"), 0);
    assert_eq!(guest.readlink("t", 9).unwrap(), "i");
    assert_eq!(guest.stat("t", 0), Ok((7, 2, 1)));
}

pub fn bad_paths(ground: &Ground) {
    let guest = &mut Guest::on(ground);
    guest.make("f", b"abc");
    assert_eq!(guest.content(""), Err(NOENT));
    assert_eq!(guest.content("f\0"), Err(INVAL));
    assert_eq!(guest.content("a\0/b"), Err(INVAL));
    assert_eq!(guest.content(&"n".repeat(255)), Err(NOENT));
    assert_eq!(guest.content(&"n".repeat(256)), Err(NAMETOOLONG));
    assert_eq!(guest.at("path_create_directory", DIR, &"n".repeat(256)), NAMETOOLONG);
    assert_eq!(guest.at("path_create_directory", DIR, &"n".repeat(255)), 0);
    let long: String = "./".repeat(2048);
    assert_eq!(guest.stat(&long, 0).unwrap().0, 3);
    assert_eq!(guest.stat(&(long + "f"), 0), Err(NAMETOOLONG));
    // Not UTF-8.
    guest.put(0x100, b"f\xFF");
    assert_eq!(guest.call("path_unlink_file", &[DIR, 0x100, 2]), ILSEQ);
    assert_eq!(guest.call("path_open", &[DIR, 0, 0x100, 2, CREAT, ALL, ALL, 0, 16]), ILSEQ);
    // Outside of the memory, partly or as a whole.
    let end = i64::from(MEMORY);
    for (start, len) in [(end, 1), (end - 1, 2), (0, -1), (-1, 1), (-1, -1), (i64::from(i32::MIN), 8)] {
        for name in ["path_create_directory", "path_remove_directory", "path_unlink_file"] {
            assert_eq!(guest.call(name, &[DIR, start, len]), FAULT);
        }
        assert_eq!(guest.call("path_filestat_get", &[DIR, 0, start, len, 16]), FAULT);
        assert_eq!(guest.call("path_symlink", &[start, len, DIR, 0x100, 1]), FAULT);
        assert_eq!(guest.call("path_symlink", &[0x100, 1, DIR, start, len]), FAULT);
        assert_eq!(guest.call("path_rename", &[DIR, 0x100, 1, DIR, start, len]), FAULT);
        assert_eq!(guest.call("path_open", &[DIR, 0, start, len, CREAT, ALL, ALL, 0, 16]), FAULT);
    }
    guest.put(0x100, b"new");
    assert_eq!(guest.call("path_open", &[DIR, 0, 0x100, 3, CREAT, ALL, ALL, 0, end - 3]), FAULT);
    assert_eq!(guest.stat("new", 0), Err(NOENT), "nothing is made whose number cannot be told");
}
