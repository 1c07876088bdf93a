use super::*;
use fs_node::{link, remove_dir, remove_file, rename};
use std::collections::BTreeSet;

/// A file without content: these tests are about names.
struct Empty(Arc<Location>);

impl FsNode for Empty {
    fn location(&self) -> &Arc<Location> {
        &self.0
    }

    fn metadata(&self) -> Metadata {
        Metadata {
            kind: FileKind::File,
            id: self.0.id(),
            links: self.0.links(),
            size: 0,
            writable: false,
            times: NodeTimes::default(),
        }
    }

    fn set_times(&mut self, _: Times) -> Result<(), IoError> {
        Err(IoError::ReadOnly)
    }
}

impl io::ByteReader for Empty {
    fn read_at(&mut self, _: &mut [u8], _: usize) -> Result<usize, IoError> {
        Ok(0)
    }
}

impl io::ByteWriter for Empty {
    fn write_at(&mut self, _: &[u8], _: usize) -> Result<usize, IoError> {
        Err(IoError::ReadOnly)
    }

    fn flush(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

impl io::KnownLength for Empty {
    fn len(&self) -> usize {
        0
    }
}

impl fs_node::File for Empty {
    fn has_links(&self) -> bool {
        true
    }

    fn truncate(&mut self, _: usize) -> Result<(), IoError> {
        Err(IoError::ReadOnly)
    }
}

fn file(name: &str, dir: &DirRef) -> FileOrDir {
    let node = FileOrDir::File(Arc::new(Mutex::new(Empty(Location::new(name.to_string())))));
    dir.lock().insert_entry(Entry::new(node.clone()), false).unwrap();
    node
}

fn dir(name: &str, parent: &DirRef) -> DirRef {
    VFSDirectory::create(name.to_string(), parent).unwrap()
}

#[test]
fn paths_follow_the_tree() {
    let root = VFSDirectory::create_root();
    let a = dir("a", &root);
    let b = dir("b", &a);
    let f = file("f", &b);
    assert_eq!(root.lock().get_absolute_path(), "/");
    assert_eq!(f.get_absolute_path(), "/a/b/f");
    assert!(Arc::ptr_eq(&f.get_parent_dir().unwrap(), &b));
    assert!(root.lock().get_parent_dir().is_none());
    assert_eq!(a.lock().list(), ["b"]);
    rename(&a, "b", &root, "c").unwrap();
    assert_eq!(f.get_absolute_path(), "/c/f");
    assert!(Arc::ptr_eq(&b.lock().get_parent_dir().unwrap(), &root));
}

#[test]
fn names_are_checked() {
    let root = VFSDirectory::create_root();
    for bad in ["", ".", "..", "a/b", "a\0b"] {
        assert_eq!(VFSDirectory::create_new(bad, &root).err(), Some(FsError::InvalidName), "{bad:?}");
    }
    assert!(VFSDirectory::create_new(&"x".repeat(255), &root).is_ok());
    assert_eq!(VFSDirectory::create_new(&"x".repeat(256), &root).err(), Some(FsError::NameTooLong));
    // 128 two-byte characters: the limit counts bytes.
    assert_eq!(VFSDirectory::create_new(&"é".repeat(128), &root).err(), Some(FsError::NameTooLong));
    dir("ok", &root);
    assert_eq!(rename(&root, "ok", &root, "no/no"), Err(FsError::InvalidName));
    assert_eq!(rename(&root, "ok", &root, &"x".repeat(256)), Err(FsError::NameTooLong));
}

#[test]
fn existing_names_are_kept_unless_replacement_is_asked_for() {
    let root = VFSDirectory::create_root();
    let old = file("f", &root);
    assert_eq!(VFSDirectory::create_new("f", &root).err(), Some(FsError::AlreadyExists));
    let new = FileOrDir::File(Arc::new(Mutex::new(Empty(Location::new("f".to_string())))));
    let replaced = root.lock().insert(new.clone()).unwrap().unwrap();
    assert!(replaced.ptr_eq(&old));
    assert!(root.lock().get("f").unwrap().ptr_eq(&new));
    assert_eq!(old.get_absolute_path(), "f (removed)");
    assert!(old.get_parent_dir().is_none());
}

#[test]
fn a_node_is_in_one_directory_only() {
    let root = VFSDirectory::create_root();
    let a = dir("a", &root);
    let f = file("f", &root);
    assert_eq!(a.lock().insert_entry(Entry::new(f.clone()), true).err(), Some(FsError::InUse));
    remove_file(&root, "f").unwrap();
    assert!(a.lock().insert(f.clone()).unwrap().is_none());
    assert_eq!(f.get_absolute_path(), "/a/f");
    assert_eq!(
        root.lock().insert_entry(Entry::new(FileOrDir::Dir(VFSDirectory::create_root())), true).err(),
        Some(FsError::InvalidName)
    );
}

#[test]
fn a_file_has_several_names() {
    let root = VFSDirectory::create_root();
    let (a, b) = (dir("a", &root), dir("b", &root));
    let f = file("f", &a);
    let links = || f.metadata().links;
    assert_eq!(link(&a, "f", &b, "g"), Ok(()));
    assert_eq!(link(&a, "f", &a, "h"), Ok(()));
    assert_eq!(links(), 3);
    assert!(["f", "h"].iter().all(|name| a.lock().get(name).unwrap().ptr_eq(&f)));
    assert!(b.lock().get("g").unwrap().ptr_eq(&f));
    // What cannot be linked, or not there.
    assert_eq!(link(&root, "a", &root, "c"), Err(FsError::IsADirectory));
    assert_eq!(link(&a, "x", &b, "y"), Err(FsError::NotFound));
    assert_eq!(link(&a, "f", &b, "g"), Err(FsError::AlreadyExists));
    assert_eq!(link(&a, "f", &root, "b"), Err(FsError::AlreadyExists));
    assert_eq!(link(&a, "f", &b, ""), Err(FsError::InvalidName));
    assert_eq!(links(), 3);
    // One name is renamed, the others stay; of two names of the same file neither goes.
    assert_eq!(rename(&b, "g", &root, "g"), Ok(()));
    assert_eq!(rename(&a, "f", &root, "g"), Ok(()));
    assert_eq!(rename(&a, "f", &a, "h"), Ok(()));
    assert_eq!((a.lock().list().join(" "), root.lock().list().join(" ")), ("f h".into(), "a b g".into()));
    assert_eq!(links(), 3);
    // Each is removed by itself, the first one too: then the file is known by another.
    assert_eq!(f.get_absolute_path(), "/a/f");
    assert_eq!(remove_file(&a, "f"), Ok(()));
    assert_eq!((links(), a.lock().get("h").is_some()), (2, true));
    assert!(["/a/h", "/g"].contains(&f.get_absolute_path().as_str()));
    // One is replaced.
    let other = file("other", &root);
    assert_eq!(rename(&root, "other", &root, "g"), Ok(()));
    assert_eq!((links(), other.get_absolute_path().as_str()), (1, "/g"));
    assert_eq!(f.get_absolute_path(), "/a/h");
    assert!(Arc::ptr_eq(&f.get_parent_dir().unwrap(), &a));
    remove_dir(&root, "b").unwrap();
    assert_eq!(link(&a, "h", &b, "late"), Err(FsError::Removed));
    assert_eq!(remove_file(&a, "h"), Ok(()));
    assert_eq!((links(), f.get_absolute_path().as_str()), (0, "f (removed)"));
    // A directory that goes takes its names with it, and no others.
    let c = dir("c", &root);
    let k = file("k", &c);
    assert_eq!(link(&c, "k", &root, "k2"), Ok(()));
    remove_file(&c, "k").unwrap();
    remove_dir(&root, "c").unwrap();
    assert_eq!(k.get_absolute_path(), "/k2");
}

#[test]
fn removal_needs_the_right_kind_and_an_empty_directory() {
    let root = VFSDirectory::create_root();
    let a = dir("a", &root);
    let f = file("f", &a);
    assert_eq!(remove_file(&root, "a"), Err(FsError::IsADirectory));
    assert_eq!(remove_dir(&a, "f"), Err(FsError::NotADirectory));
    assert_eq!(remove_dir(&root, "a"), Err(FsError::NotEmpty));
    assert!(root.lock().remove(&FileOrDir::Dir(a.clone())).is_none());
    assert_eq!(remove_file(&a, "g"), Err(FsError::NotFound));
    assert_eq!(remove_dir(&root, "g"), Err(FsError::NotFound));
    assert!(a.lock().remove(&f).unwrap().ptr_eq(&f));
    assert!(a.lock().remove(&f).is_none());
    assert_eq!(remove_dir(&root, "a"), Ok(()));
    assert_eq!(VFSDirectory::create_new("late", &a).err(), Some(FsError::Removed));
    assert_eq!(a.lock().get_absolute_path(), "a (removed)");
    assert!(root.lock().is_empty());
}

#[test]
fn renaming_replaces_what_it_may() {
    let root = VFSDirectory::create_root();
    let (a, b) = (dir("a", &root), dir("b", &root));
    let (f, g) = (file("f", &a), file("g", &b));
    assert_eq!(rename(&a, "f", &b, "g"), Ok(()));
    assert!(b.lock().get("g").unwrap().ptr_eq(&f));
    assert_eq!(g.get_absolute_path(), "g (removed)");
    assert_eq!(f.get_name(), "g");
    assert!(a.lock().is_empty());

    assert_eq!(rename(&root, "a", &root, "b"), Err(FsError::NotEmpty));
    assert_eq!(rename(&b, "g", &root, "a"), Err(FsError::IsADirectory));
    file("h", &root);
    assert_eq!(rename(&root, "a", &root, "h"), Err(FsError::NotADirectory));
    assert_eq!(rename(&root, "b", &root, "a"), Ok(()));
    assert_eq!(f.get_absolute_path(), "/a/g");
    assert_eq!(rename(&root, "b", &root, "c"), Err(FsError::NotFound));
    assert_eq!(rename(&root, "h", &root, "h"), Ok(()));
    assert_eq!(rename(&b, "g", &root, "g2"), Ok(()));
    assert_eq!(f.get_absolute_path(), "/g2");
    // `a`, as it was called at first, was replaced and takes nothing any more, not even by renaming.
    assert_eq!(rename(&root, "g2", &a, "f"), Err(FsError::Removed));
    assert_eq!(f.get_absolute_path(), "/g2");
}

#[test]
fn a_directory_cannot_get_into_itself() {
    let root = VFSDirectory::create_root();
    let a = dir("a", &root);
    let b = dir("b", &a);
    let c = dir("c", &b);
    assert_eq!(rename(&root, "a", &a, "x"), Err(FsError::IntoItself));
    assert_eq!(rename(&root, "a", &c, "x"), Err(FsError::IntoItself));
    assert_eq!(rename(&root, "a", &a, "b"), Err(FsError::IntoItself));
    // The target contains the source, at two distances.
    assert_eq!(rename(&b, "c", &a, "b"), Err(FsError::NotEmpty));
    assert_eq!(rename(&b, "c", &root, "a"), Err(FsError::NotEmpty));
    // The same by hand, past `rename`.
    let entry = root.lock().remove_entry("a").unwrap();
    assert_eq!(c.lock().insert_entry(entry.clone(), false).err(), Some(FsError::IntoItself));
    assert!(root.lock().insert_entry(entry, false).is_ok());
    assert_eq!(c.lock().get_absolute_path(), "/a/b/c");
}

#[test]
fn a_deep_tree_is_dropped_without_recursion() {
    // Built from below, since every insertion looks at all ancestors.
    let build = || {
        let lowest = VFSDirectory::new("d");
        let mut top: DirRef = lowest.clone();
        for level in 0..100_000 {
            let above = VFSDirectory::new(if level == 99_999 { "" } else { "d" });
            above.lock().insert_entry(Entry::new(FileOrDir::Dir(top)), false).unwrap();
            top = above;
        }
        (top, lowest)
    };
    let (root, lowest) = build();
    assert_eq!(lowest.lock().get_absolute_path().len(), 200_000);
    drop(lowest);
    drop(root);
    let (root, lowest) = build();
    drop(root);
    assert_eq!(lowest.lock().get_absolute_path(), "d (removed)");
}

#[test]
fn times_tell_when_entries_changed() {
    static NOW: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(1);
    fs_node::set_clock(|| core::time::Duration::from_secs(NOW.load(core::sync::atomic::Ordering::Relaxed)));
    let root = VFSDirectory::create_root();
    NOW.store(5, core::sync::atomic::Ordering::Relaxed);
    file("f", &root);
    let metadata = root.lock().metadata();
    assert_eq!((metadata.kind, metadata.size), (FileKind::Directory, 1));
    assert_eq!(metadata.times.created.as_secs(), 1);
    assert_eq!(metadata.times.modified.as_secs(), 5);
    let modified = Some(core::time::Duration::from_secs(3));
    root.lock().set_times(Times { modified, accessed: None }).unwrap();
    assert_eq!(root.lock().metadata().times.modified.as_secs(), 3);
    assert_eq!(root.lock().metadata().times.accessed.as_secs(), 1);
}

/// Three threads rename, remove, insert and look up in the same small tree. It must come to an end, and be a tree then.
#[test]
fn concurrent_changes_neither_deadlock_nor_tangle() {
    let root = VFSDirectory::create_root();
    let names = ["a", "b", "c"];
    let threads: Vec<_> = (1..4u32)
        .map(|seed| {
            let root = root.clone();
            std::thread::spawn(move || {
                let mut state = seed.wrapping_mul(2654435761) | 1;
                let mut next = move || {
                    state ^= state << 13;
                    state ^= state >> 17;
                    state ^= state << 5;
                    state as usize
                };
                for _ in 0..10_000 {
                    let mut pick = |steps: usize| {
                        let mut at = root.clone();
                        for _ in 0..next() % (steps + 1) {
                            let below = at.lock().get_dir(names[next() % 3]);
                            let Some(below) = below else { break };
                            at = below;
                        }
                        (at, names[next() % 3], next())
                    };
                    let (from, from_name, choice) = pick(5);
                    let (to, to_name, _) = pick(5);
                    match choice % 8 {
                        0..=2 => drop(VFSDirectory::create_new(from_name, &from)),
                        3 => drop(remove_dir(&from, from_name)),
                        4 => drop(from.lock().get_absolute_path()),
                        _ => drop(rename(&from, from_name, &to, to_name)),
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let mut seen = BTreeSet::new();
    let mut open = vec![(root.clone(), String::new())];
    while let Some((dir, path)) = open.pop() {
        let id = dir.lock().location().id();
        assert!(seen.insert(id), "a directory is in the tree twice");
        let shown = dir.lock().get_absolute_path();
        assert_eq!(shown, if path.is_empty() { "/" } else { &path });
        let names = dir.lock().list();
        for name in names {
            let child = dir.lock().get_dir(&name).unwrap();
            assert!(Arc::ptr_eq(&child.lock().get_parent_dir().unwrap(), &dir));
            open.push((child, format!("{path}/{name}")));
        }
    }
}
