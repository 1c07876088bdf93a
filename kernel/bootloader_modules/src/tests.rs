use super::*;
use fs_node::{DirRef, FileOrDir};
use path::Path;
use vfs_node::VFSDirectory;

const FILE: u32 = 0o100_644;
const DIR: u32 = 0o040_755;

/// Appends an entry, with its data at a multiple of `align`.
fn add(archive: &mut Vec<u8>, name: &[u8], mode: u32, data: &[u8], align: usize) {
    let start = archive.len();
    let name_size = (start + 110 + name.len() + 1).next_multiple_of(align) - start - 110;
    let fields = [7, mode, 0, 0, 1, 1_700_000_000, data.len() as u32, 0, 0, 0, 0, name_size as u32, 0];
    archive.extend(b"070701");
    for field in fields {
        archive.extend(format!("{field:08X}").bytes());
    }
    archive.extend(name);
    archive.resize(start + 110 + name_size, 0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(data);
    archive.resize(archive.len().next_multiple_of(4), 0);
}

fn finish(mut archive: Vec<u8>) -> Vec<u8> {
    add(&mut archive, b"TRAILER!!!", 0, b"", 1);
    archive
}

fn sample() -> Vec<u8> {
    let mut archive = Vec::new();
    add(&mut archive, b".", DIR, b"", 1);
    add(&mut archive, b"namespaces/_kernel/a-1.o", FILE, b"object", 4096);
    add(&mut archive, b"./files/empty", FILE, b"", 4096);
    add(&mut archive, b"/files/hello.cwasm", FILE, &[7; 5000], 4096);
    add(&mut archive, b"files", DIR, b"", 1);
    add(&mut archive, b"files/sub/", DIR, b"", 1);
    add(&mut archive, "files/größe 'x'".as_bytes(), FILE, b"unaligned", 1);
    finish(archive)
}

fn mounted(archive: Vec<u8>) -> (Result<usize, ArchiveError>, DirRef) {
    let root = VFSDirectory::create_root();
    (mount(archive.leak(), &root), root)
}

fn tree(dir: &DirRef) -> Vec<String> {
    let mut all = Vec::new();
    let names = dir.lock().list();
    for name in names {
        let node = dir.lock().get(&name).unwrap();
        all.push(node.get_absolute_path());
        if let FileOrDir::Dir(below) = node {
            all.extend(tree(&below));
        }
    }
    all
}

#[test]
fn files_are_shown_in_place() {
    let archive: &'static [u8] = sample().leak();
    let root = VFSDirectory::create_root();
    assert_eq!(mount(archive, &root), Ok(4));
    assert_eq!(
        tree(&root),
        [
            "/files",
            "/files/empty",
            "/files/größe 'x'",
            "/files/hello.cwasm",
            "/files/sub",
            "/namespaces",
            "/namespaces/_kernel",
            "/namespaces/_kernel/a-1.o"
        ]
    );
    let file = Path::new("/files/hello.cwasm").get_file(&root);
    assert!(file.is_none(), "absolute paths begin at the one root, which this is not");
    let file = Path::new("files/hello.cwasm").get_file(&root).unwrap();
    let file = file.lock();
    let bytes = file.as_static_slice().unwrap();
    assert_eq!(bytes, [7; 5000]);
    assert!(archive.as_ptr_range().contains(&bytes.as_ptr()));
    assert_eq!((bytes.as_ptr() as usize - archive.as_ptr() as usize) % 4096, 0);
    assert_eq!(file.metadata().times.modified.as_secs(), 1_700_000_000);
    assert!(!file.metadata().writable);
}

#[test]
fn an_archive_of_another_tool_mounts() {
    let dir = std::env::temp_dir().join(format!("cpio-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("a/b")).unwrap();
    std::fs::write(dir.join("a/b/c"), "text").unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", "command -v cpio >/dev/null || exit 77; find . | cpio --quiet -o -H newc"])
        .current_dir(&dir)
        .output()
        .unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    if output.status.code() == Some(77) {
        eprintln!("no cpio on this machine; the format is covered by the other tests");
        return;
    }
    let (result, root) = mounted(output.stdout);
    assert_eq!(result, Ok(1));
    assert_eq!(tree(&root), ["/a", "/a/b", "/a/b/c"]);
}

fn error_of(archive: Vec<u8>) -> (usize, ArchiveErrorKind) {
    let (result, root) = mounted(archive);
    let error = result.expect_err("should have failed");
    assert_eq!(tree(&root), [""; 0], "nothing may have been added");
    (error.offset, error.kind)
}

#[test]
fn every_truncation_is_an_error() {
    let whole = sample();
    // Of the trailer, everything matters up to its name's NUL.
    let needed = whole.windows(10).rposition(|window| window == b"TRAILER!!!").unwrap() + 11;
    for length in 0..needed {
        let (offset, kind) = error_of(whole[..length].to_vec());
        assert!(offset < length + 4, "padding may be missing, no more");
        assert!(matches!(kind, ArchiveErrorKind::CutOff | ArchiveErrorKind::NoTrailer), "{length}: {kind:?}");
    }
}

#[test]
fn no_flipped_byte_panics() {
    let whole = sample();
    for position in 0..whole.len() {
        for flip in [0x01, 0x10, 0x80, 0xFF] {
            let mut broken = whole.clone();
            broken[position] ^= flip;
            // Data may change without anyone noticing; what must not happen is a panic or a half-mounted tree.
            let (result, root) = mounted_leakless(&broken);
            assert!(result.is_ok() || tree(&root).is_empty());
        }
    }
}

/// As [`mounted`], but over one buffer that is used again and again.
fn mounted_leakless(archive: &[u8]) -> (Result<usize, ArchiveError>, DirRef) {
    use std::sync::{Mutex, OnceLock};
    static BUFFER: OnceLock<Mutex<usize>> = OnceLock::new();
    let buffer = BUFFER.get_or_init(|| Mutex::new(vec![0u8; 1 << 16].leak().as_mut_ptr() as usize));
    let buffer = buffer.lock().unwrap();
    assert!(archive.len() <= 1 << 16);
    let start = *buffer as *mut u8;
    // SAFETY: the buffer was leaked, is large enough, and the trees of earlier calls, which refer to it, are gone by
    // now: each caller drops its tree before the next call.
    let bytes: &'static [u8] = unsafe {
        start.copy_from(archive.as_ptr(), archive.len());
        core::slice::from_raw_parts(start, archive.len())
    };
    let root = VFSDirectory::create_root();
    (mount(bytes, &root), root)
}

#[test]
fn faults_are_named() {
    assert_eq!(error_of(Vec::new()), (0, ArchiveErrorKind::NoTrailer));
    assert_eq!(error_of(b"MZ\x90 this is something else".to_vec()), (0, ArchiveErrorKind::BadMagic));

    let mut archive = sample();
    let second = archive.windows(6).skip(1).position(|window| window == b"070701").unwrap() + 1;
    archive[second + 6 + 8 * 6] = b'g';
    assert_eq!(error_of(archive), (second, ArchiveErrorKind::BadNumber));

    let one = |name: &[u8], mode: u32| {
        let mut archive = Vec::new();
        add(&mut archive, name, mode, b"x", 4096);
        error_of(finish(archive)).1
    };
    assert_eq!(one(b"files/\xFF\xFE", FILE), ArchiveErrorKind::NameNotUtf8);
    assert_eq!(one(b"files/../../escape", FILE), ArchiveErrorKind::BadName);
    assert_eq!(one(b"", FILE), ArchiveErrorKind::BadName);
    assert_eq!(one(b".", FILE), ArchiveErrorKind::BadName);
    assert_eq!(one(&[b'x'; 256], FILE), ArchiveErrorKind::BadName);
    assert_eq!(one(b"link", 0o120_777), ArchiveErrorKind::UnsupportedKind);

    let two = |first: &[u8], second: &[u8]| {
        let mut archive = Vec::new();
        add(&mut archive, first, FILE, b"x", 4);
        add(&mut archive, second, FILE, b"x", 4);
        error_of(finish(archive)).1
    };
    assert_eq!(two(b"a", b"./a"), ArchiveErrorKind::NameTaken);
    assert_eq!(two(b"a", b"a/b"), ArchiveErrorKind::NameTaken);
    assert_eq!(two(b"a/b", b"a"), ArchiveErrorKind::NameTaken);

    let (result, _) = mounted(b"070701".to_vec());
    assert_eq!(
        result.unwrap_err().to_string(),
        "boot archive, byte 0x0: the entry is cut off by the end of the archive; build the image again"
    );
}

#[test]
fn names_of_the_longest_kind_mount() {
    let mut archive = Vec::new();
    let name = format!("{}/{}", "d".repeat(255), "f".repeat(255));
    add(&mut archive, name.as_bytes(), FILE, b"x", 4096);
    let (result, root) = mounted(finish(archive));
    assert_eq!(result, Ok(1));
    assert!(Path::new(&name).get_file(&root).is_some());
}
