//! Ways out of the directory that was given; none works.

use super::Ground;
use super::harness::*;
use wasm_wasi::{DirPerms, FilePerms, WasiCtxBuilder};

/// A guest that was given the directory `box` in `ground`, beside which there is a file `secret` and a directory `outside` with the
/// file `x`; and one that was given all.
fn boxed(ground: &Ground) -> (Guest, Guest) {
    let mut owner = Guest::on(ground);
    for dir in ["box", "box/d", "box/d/e", "outside"] {
        assert_eq!(owner.at("path_create_directory", DIR, dir), 0);
    }
    owner.make("secret", b"secret");
    owner.make("outside/x", b"secret");
    owner.make("box/f", b"mine");
    // Links that others left there.
    assert_eq!(owner.symlink("../secret", "box/to_secret"), 0);
    assert_eq!(owner.symlink("..", "box/up"), 0);
    assert_eq!(owner.symlink("../outside", "box/to_outside"), 0);
    assert_eq!(owner.symlink("d/../..", "box/around"), 0);
    assert_eq!(owner.symlink("up", "box/twice"), 0);
    assert_eq!(owner.symlink("../../..", "box/d/high"), 0);
    let mut builder = WasiCtxBuilder::new();
    match ground {
        Ground::Tree(root) => {
            let dir = root.lock().get_dir("box").unwrap();
            builder.preopened_node(&dir, "box", DirPerms::all(), FilePerms::all()).unwrap();
        }
        #[cfg(target_os = "linux")]
        Ground::Host(path) => {
            std::os::unix::fs::symlink("/etc", path.join("box/to_etc")).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", path.join("box/to_passwd")).unwrap();
            let path = path.join("box");
            builder.preopened_dir(path.to_str().unwrap(), "box", DirPerms::all(), FilePerms::all()).unwrap();
        }
    }
    (owner, Guest::new(&mut builder))
}

/// Paths that lead out, or would if they were understood in some other way.
const WAYS: &[&str] = &[
    "..",
    "../",
    "../secret",
    "../box/f",
    "./../secret",
    ".//..//secret",
    "d/../../secret",
    "d/e/../../../secret",
    "d/./e/./../../../secret",
    "d/../d/../../outside/x",
    "f/../../secret",
    "nothing/../../secret",
    "/",
    "//",
    "/secret",
    "/etc/passwd",
    "//etc/passwd",
    "/./secret",
    "/..",
    "/box/f",
    "/namespaces",
    "/namespaces/_kernel",
    "to_secret",
    "./to_secret",
    "d/../to_secret",
    "up/secret",
    "up/box/f",
    "up/",
    "to_outside/x",
    "to_outside/new",
    "to_outside/../secret",
    "around/secret",
    "twice/secret",
    "twice/outside/x",
    "d/high/secret",
    "d/high/etc/passwd",
    "d/e/../high/../secret",
    "up/box/up/secret",
    "\\..\\secret",
    "..\\secret",
    "...",
    "%2e%2e/secret",
    "to_etc/passwd",
    "to_passwd",
];

/// Whether a path leads out whatever the names in it are.
fn leads_out_by_itself(path: &str) -> bool {
    let mut depth = 0;
    path.starts_with('/')
        || path.split('/').any(|name| {
            match name {
                "" | "." => {}
                ".." => depth -= 1,
                _ => depth += 1,
            }
            depth < 0
        })
}

pub fn no_way_out(ground: &Ground) {
    let (mut owner, mut guest) = boxed(ground);
    let everything = |guest: &mut Guest| {
        let mut names = guest.names(DIR, 4000);
        names.sort();
        joined(&names)
    };
    let before = everything(&mut owner);
    let refused = [PERM, NOENT, NOTDIR, LOOP, EXIST, INVAL, NOTCAPABLE, 10, ISDIR];
    for path in WAYS {
        let check = |what: &str, errno: i32| assert!(refused.contains(&errno), "{what} {path}: {errno}");
        check("open", guest.open(DIR, path, 0, ALL_READ, 0).err().unwrap_or(0));
        check("write", guest.open(DIR, path, 0, ALL, 0).err().unwrap_or(0));
        check("dir", guest.open(DIR, path, DIRECTORY, ALL_READ, 0).err().unwrap_or(0));
        check("stat", guest.stat(path, FOLLOW).err().unwrap_or(0));
        if leads_out_by_itself(path) {
            check("create", guest.open(DIR, path, CREAT, ALL, 0).err().unwrap_or(0));
            check("truncate", guest.open(DIR, path, CREAT | TRUNC, ALL, 0).err().unwrap_or(0));
            check("stat of the link", guest.stat(path, 0).err().unwrap_or(0));
            check("mkdir", guest.at("path_create_directory", DIR, path));
            check("rmdir", guest.at("path_remove_directory", DIR, path));
            check("unlink", guest.at("path_unlink_file", DIR, path));
            check("rename to", guest.rename(DIR, "f", DIR, path));
            check("rename from", guest.rename(DIR, path, DIR, "got"));
            check("link to", guest.link("f", path));
            check("link from", guest.link(path, "got"));
            check("symlink", guest.symlink("f", path));
            check("readlink", guest.readlink(path, 9).err().unwrap_or(0));
        }
    }
    // By links of its own.
    for (number, target) in
        ["..", "../secret", "d/../../secret", "./..", "d/e/../../../outside"].iter().enumerate()
    {
        let name = alloc::format!("own{number}");
        assert_eq!(guest.symlink(target, &name), 0);
        assert_eq!(guest.content(&name), Err(PERM), "{target}");
        assert_eq!(guest.open(DIR, &name, CREAT | TRUNC, ALL, 0), Err(PERM), "{target}");
        assert_eq!(guest.content(&alloc::format!("{name}/secret")), Err(PERM), "{target}");
    }
    for target in ["/", "/etc/passwd", "//", "/secret"] {
        assert_eq!(guest.symlink(target, "absolute"), PERM);
    }
    // From a directory below, up to the one that was given is not up to it: what is opened is all there is.
    let below = guest.open(DIR, "d/e", DIRECTORY, ALL_READ, 0).unwrap();
    for path in ["..", "../..", "../e", "../../f"] {
        assert_eq!(guest.open(below, path, 0, ALL_READ, 0), Err(PERM), "{path}");
    }
    assert_eq!(everything(&mut owner), before);
    assert_eq!(owner.content("secret").unwrap(), b"secret");
    assert_eq!(owner.content("outside/x").unwrap(), b"secret");
    assert_eq!(owner.content("box/f").unwrap(), b"mine");
}

/// A directory is moved, by others or the guest, while it is open.
pub fn moved(ground: &Ground) {
    let (mut owner, mut guest) = boxed(ground);
    let below = guest.open(DIR, "d/e", DIRECTORY, ALL_READ, 0).unwrap();
    // The guest moves it up: from there, `..` is still nothing.
    assert_eq!(guest.rename(DIR, "d/e", DIR, "e"), 0);
    assert_eq!(guest.open(below, "../f", 0, ALL_READ, 0), Err(PERM));
    assert_eq!(guest.open(below, "../../secret", 0, ALL_READ, 0), Err(PERM));
    // Others move it out: what is in it can be used, what is around it cannot.
    assert_eq!(owner.rename(DIR, "box/e", DIR, "e"), 0);
    assert_eq!(guest.open(below, "../secret", 0, ALL_READ, 0), Err(PERM));
    let fd = guest.open(below, "x", CREAT, ALL, 0).unwrap();
    assert_eq!(guest.write(fd, b"x"), Ok(1));
    assert_eq!(owner.content("e/x").unwrap(), b"x");
    assert_eq!(guest.open(DIR, "e", 0, ALL_READ, 0), Err(NOENT));
    // A name that was a directory becomes a link that leads out.
    assert_eq!(owner.at("path_remove_directory", DIR, "box/d"), NOTEMPTY);
    assert_eq!(owner.at("path_unlink_file", DIR, "box/d/high"), 0);
    assert_eq!(owner.at("path_remove_directory", DIR, "box/d"), 0);
    assert_eq!(owner.symlink("../outside", "box/d"), 0);
    assert_eq!(guest.content("d/x"), Err(PERM));
}
