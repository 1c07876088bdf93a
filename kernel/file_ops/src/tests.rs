use super::*;
use io::{ImmutableRead, ImmutableWrite, IoError};

fn root() -> DirRef {
    VFSDirectory::create_root()
}

fn p(path: &str) -> &Path {
    Path::new(path)
}

fn write(path: &str, text: &str, cwd: &DirRef) -> FileRef {
    let file = create_file(p(path), cwd).unwrap();
    file.lock().write_at(text.as_bytes(), 0).unwrap();
    file
}

fn read(path: &str, cwd: &DirRef) -> String {
    let file = p(path).get_file(cwd).unwrap_or_else(|| panic!("no file {path}"));
    let mut file = file.lock();
    let mut bytes = vec![0; file.len()];
    assert_eq!(file.read_at(&mut bytes, 0), Ok(bytes.len()));
    String::from_utf8(bytes).unwrap()
}

/// All paths below a directory, with a slash after directories, in order.
fn tree(dir: &DirRef) -> Vec<String> {
    let mut all = Vec::new();
    let mut work = vec![(dir.clone(), String::new())];
    while let Some((dir, prefix)) = work.pop() {
        for (name, node) in entries(&dir) {
            match node {
                FileOrDir::File(_) => all.push(format!("{prefix}{name}")),
                FileOrDir::Dir(below) => {
                    all.push(format!("{prefix}{name}/"));
                    work.push((below, format!("{prefix}{name}/")));
                }
            }
        }
    }
    all.sort();
    all
}

fn shown(failures: Vec<Failure>) -> Vec<String> {
    failures.iter().map(Failure::to_string).collect()
}

fn sample() -> DirRef {
    let root = root();
    create_dir_all(p("a/b/c"), &root).unwrap();
    create_dir(p("empty"), &root).unwrap();
    write("a/one", "1", &root);
    write("a/b/two", "22", &root);
    write("top", "top", &root);
    root
}

#[test]
fn creating_files() {
    let root = sample();
    let file = write("top", "new", &root);
    assert_eq!(read("top", &root), "new");
    assert!(Arc::ptr_eq(&open_or_create(p("top"), &root).unwrap(), &file));
    assert_eq!(create_file(p("a"), &root).err(), Some(FsError::IsADirectory));
    assert_eq!(create_file(p("/"), &root).err(), Some(FsError::IsADirectory));
    assert_eq!(create_file(p("no/file"), &root).err(), Some(FsError::NotFound));
    assert_eq!(create_file(p("top/file"), &root).err(), Some(FsError::NotADirectory));
    assert_eq!(create_file(p("top/"), &root).err(), Some(FsError::NotADirectory));
    assert_eq!(create_file(p("new/"), &root).err(), Some(FsError::NotFound));
    assert_eq!(create_file(p(""), &root).err(), Some(FsError::NotFound));
    static BYTES: [u8; 3] = *b"abc";
    MemFile::from_static(&BYTES, "boot", &root).unwrap();
    assert_eq!(create_file(p("boot"), &root).err(), Some(FsError::Io(IoError::ReadOnly)));
    assert_eq!(read("boot", &root), "abc");
}

#[test]
fn creating_directories() {
    let root = sample();
    assert_eq!(create_dir(p("a"), &root).err(), Some(FsError::AlreadyExists));
    assert_eq!(create_dir(p("top"), &root).err(), Some(FsError::AlreadyExists));
    assert_eq!(create_dir(p("/"), &root).err(), Some(FsError::AlreadyExists));
    assert_eq!(create_dir(p("a/.."), &root).err(), Some(FsError::AlreadyExists));
    assert_eq!(create_dir(p("x/y"), &root).err(), Some(FsError::NotFound));
    assert_eq!(create_dir(p("top/y"), &root).err(), Some(FsError::NotADirectory));
    assert!(create_dir(p("a/new//"), &root).is_ok());
    assert!(create_dir_all(p("a/new/../new/x/./y/"), &root).is_ok());
    assert!(create_dir_all(p("a/new/x/y"), &root).is_ok());
    assert_eq!(create_dir_all(p("top/y"), &root).err(), Some(FsError::NotADirectory));
    assert_eq!(create_dir_all(p("top"), &root).err(), Some(FsError::NotADirectory));
    assert_eq!(create_dir_all(p(&"n".repeat(300)), &root).err(), Some(FsError::NameTooLong));
    assert_eq!(tree(&root).iter().filter(|path| path.contains("new")).count(), 3);
}

#[test]
fn copying_files() {
    let root = sample();
    assert!(copy(p("top"), p("copy"), &root, false).is_empty());
    assert!(copy(p("top"), p("a/one"), &root, false).is_empty());
    assert!(copy(p("top"), p("empty"), &root, false).is_empty());
    assert!(copy(p("./top"), p("a/b/"), &root, false).is_empty());
    for path in ["copy", "a/one", "empty/top", "a/b/top"] {
        assert_eq!(read(path, &root), "top", "{path}");
    }
    write("copy", "changed", &root);
    assert_eq!(read("top", &root), "top");
    assert_eq!(shown(copy(p("top"), p("top"), &root, false)), ["top: source and target are the same file"]);
    assert_eq!(shown(copy(p("top"), p("."), &root, false)), ["./top: source and target are the same file"]);
    assert_eq!(shown(copy(p("gone"), p("x"), &root, false)), ["gone: no such file or directory"]);
    assert_eq!(shown(copy(p(""), p("x"), &root, false)), ["'': no such file or directory"]);
    assert_eq!(shown(copy(p("top"), p("gone/x"), &root, false)), ["gone/x: no such file or directory"]);
    assert_eq!(shown(copy(p("top"), p("new/"), &root, false)), ["new/: not a directory"]);
    assert_eq!(shown(copy(p("a"), p("x"), &root, false)), ["a: is a directory (use -r)"]);
    create_dir(p("empty/one"), &root).unwrap();
    assert_eq!(shown(copy(p("a/one"), p("empty"), &root, false)), ["empty/one: is a directory"]);
}

#[test]
fn copying_large_and_read_only_files() {
    let root = root();
    let text: String = (0..100_000).map(|n| format!("{n},")).collect();
    write("big", &text, &root);
    assert!(copy(p("big"), p("copy"), &root, false).is_empty());
    assert_eq!(read("copy", &root), text);
    static BYTES: [u8; 6] = *b"static";
    MemFile::from_static(&BYTES, "boot", &root).unwrap();
    assert!(copy(p("boot"), p("copy"), &root, false).is_empty());
    assert_eq!(read("copy", &root), "static");
    assert_eq!(
        shown(copy(p("copy"), p("boot"), &root, false)),
        ["boot: read-only file (copy it to /tmp and change the copy)"]
    );
}

#[test]
fn copying_trees() {
    let root = sample();
    assert!(copy(p("a"), p("new"), &root, true).is_empty());
    assert!(copy(p("a"), p("empty"), &root, true).is_empty());
    for copied in ["new", "empty/a"] {
        assert_eq!(tree(&p(copied).get_dir(&root).unwrap()), ["b/", "b/c/", "b/two", "one"]);
        assert_eq!(read(&format!("{copied}/b/two"), &root), "22");
    }
    // Into a tree that is there: merged, and what is in the way is reported.
    write("new/three", "3", &root);
    fs_node::remove_file(&p("new").get_dir(&root).unwrap(), "one").unwrap();
    create_dir(p("new/one"), &root).unwrap();
    let failures = copy(p("a/."), p("new"), &root, true);
    assert!(failures.is_empty(), "goes to new/a: {failures:?}");
    assert_eq!(shown(copy(p("a"), p("a/b/x"), &root, true)), ["a/b/x: cannot move a directory into itself"]);
    assert_eq!(shown(copy(p("a"), p("a"), &root, true)), ["a/a: cannot move a directory into itself"]);
    assert_eq!(shown(copy(p("a"), p("top"), &root, true)), ["top: not a directory"]);
    assert_eq!(shown(copy(p("."), p("a"), &root, true)).len(), 1);

    let other = sample();
    create_dir_all(p("target/a/one"), &other).unwrap();
    assert_eq!(shown(copy(p("a"), p("target"), &other, true)), ["target/a/one: is a directory"]);
    assert_eq!(read("target/a/b/two", &other), "22", "the rest is copied");
}

#[test]
fn moving() {
    let root = sample();
    assert_eq!(rename(p("top"), p("a/"), &root), Ok(()));
    assert_eq!(rename(p("a/top"), p("a/one"), &root), Ok(()));
    assert_eq!(read("a/one", &root), "top");
    assert_eq!(rename(p("a/b/"), p("empty"), &root), Ok(()));
    assert_eq!(read("empty/b/two", &root), "22");
    let error = |from: &str, to: &str| rename(p(from), p(to), &root).unwrap_err().to_string();
    assert_eq!(error("empty", "empty/b"), "empty/b/empty: cannot move a directory into itself");
    assert_eq!(error("empty", "empty"), "empty/empty: cannot move a directory into itself");
    assert_eq!(error("a/one", "a/one"), "a/one: source and target are the same file");
    assert_eq!(error("a/one", "a"), "a/one: source and target are the same file");
    assert_eq!(error("empty", "."), "./empty: source and target are the same file");
    assert_eq!(error("a/one/", "x"), "a/one/: not a directory");
    assert_eq!(error("a/one", "x/"), "x/: not a directory");
    assert_eq!(error("gone", "x"), "gone: no such file or directory");
    assert_eq!(error("/", "x"), "/: the root directory cannot be removed or moved");
    assert_eq!(error("a/..", "x"), "a/..: invalid name (empty, '.', '..', or with '/' or NUL)");
    assert_eq!(error("empty", "a/one"), "a/one: not a directory");
    create_dir_all(p("x/empty/full"), &root).unwrap();
    assert_eq!(error("empty", "x"), "x/empty: directory not empty");
    assert_eq!(
        error("a", &"n".repeat(256)),
        format!("{}: name too long (at most 255 bytes)", "n".repeat(256))
    );
}

#[test]
fn removing() {
    let root = sample();
    assert!(remove(p("top"), &root, false).is_empty());
    assert_eq!(shown(remove(p("top"), &root, false)), ["top: no such file or directory"]);
    assert_eq!(shown(remove(p("a"), &root, false)), ["a: is a directory (use -r)"]);
    assert_eq!(shown(remove(p("a/one/"), &root, true)), ["a/one/: not a directory"]);
    assert_eq!(shown(remove(p("/"), &root, true)), ["/: the root directory cannot be removed or moved"]);
    assert_eq!(shown(remove(p("a/."), &root, true)).len(), 1);
    assert!(remove(p("a/"), &root, true).is_empty());
    assert_eq!(tree(&root), ["empty/"]);
    let deep: String = "d/".repeat(2000);
    create_dir_all(p(&deep), &root).unwrap();
    assert!(remove(p("d"), &root, true).is_empty());
    assert_eq!(tree(&root), ["empty/"]);
}

#[test]
fn touching() {
    use core::time::Duration;
    fs_node::set_clock(|| Duration::from_secs(77));
    let root = sample();
    let old = Times { modified: Some(Duration::ZERO), accessed: Some(Duration::ZERO) };
    p("top").get_file(&root).unwrap().lock().set_times(old).unwrap();
    touch(p("top"), &root).unwrap();
    touch(p("fresh"), &root).unwrap();
    touch(p("a"), &root).unwrap();
    assert_eq!(p("top").get(&root).unwrap().metadata().times.modified.as_secs(), 77);
    assert_eq!(read("top", &root), "top");
    assert_eq!(read("fresh", &root), "");
    assert_eq!(touch(p("no/file"), &root), Err(FsError::NotFound));
    assert_eq!(touch(p("top/x"), &root), Err(FsError::NotADirectory));
}

#[test]
fn a_file_is_a_stream() {
    let root = root();
    let out = FileWriter::create(p("f"), &root).unwrap();
    out.write_all(b"hello ").unwrap();
    out.write_all(b"world").unwrap();
    assert_eq!(read("f", &root), "hello world");
    let input = FileReader::open(p("f"), &root).unwrap();
    let mut buffer = [0; 8];
    assert_eq!((input.read(&mut buffer), &buffer), (Ok(8), b"hello wo"));
    // What comes after the end was reached can be read; that is no longer the end.
    assert_eq!((input.read(&mut buffer), input.read(&mut buffer)), (Ok(3), Ok(0)));
    let (one, two) = (FileWriter::append(p("f"), &root).unwrap(), FileWriter::append(p("f"), &root).unwrap());
    for end in [&one, &two, &one] {
        end.write_all(b"+").unwrap();
    }
    assert_eq!(read("f", &root), "hello world+++");
    assert_eq!(input.read(&mut buffer), Ok(3));
    FileWriter::create(p("f"), &root).unwrap();
    assert_eq!(read("f", &root), "");
    FileWriter::append(p("new"), &root).unwrap().write_all(b"x").unwrap();
    assert_eq!(read("new", &root), "x");
    memfs::SymbolicLink::create_new("f", "link", &root).unwrap();
    FileWriter::create(p("link"), &root).unwrap().write_all(b"by a link").unwrap();
    assert_eq!(read("f", &root), "by a link");
}

#[test]
fn what_is_no_stream() {
    static BYTES: [u8; 1] = *b"x";
    let root = root();
    create_dir(p("d"), &root).unwrap();
    MemFile::from_static(&BYTES, "fixed", &root).unwrap();
    let read_only = FsError::Io(IoError::ReadOnly);
    for (path, to_read, to_write) in [
        ("d", Some(FsError::IsADirectory), FsError::IsADirectory),
        ("none/f", Some(FsError::NotFound), FsError::NotFound),
        ("fixed/f", Some(FsError::NotADirectory), FsError::NotADirectory),
        ("", Some(FsError::NotFound), FsError::NotFound),
        ("fixed", None, read_only),
    ] {
        assert_eq!(FileReader::open(p(path), &root).err(), to_read, "{path}");
        assert_eq!(FileWriter::create(p(path), &root).err(), Some(to_write), "{path}");
        assert_eq!(FileWriter::append(p(path), &root).err(), Some(to_write), "{path}");
    }
    assert_eq!(FileReader::open(p("none"), &root).err(), Some(FsError::NotFound));
}
