use super::*;
use fs_node::{DirRef, FsError};
use std::path::Path as StdPath;
use vfs_node::VFSDirectory;

/// Paths with everything that may be special, in every order, up to five parts.
fn samples() -> Vec<String> {
    let parts = ["/", ".", "..", "a", "b.c", ".d"];
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..5 {
        last = last.iter().flat_map(|path| parts.map(|part| format!("{path}{part}"))).collect();
        all.extend(last.iter().cloned());
    }
    all
}

fn show(component: Component<'_>) -> &str {
    component.as_str()
}

#[test]
fn components_are_those_of_std() {
    for path in samples() {
        let expected: Vec<_> =
            StdPath::new(&path).components().map(|c| c.as_os_str().to_str().unwrap()).collect();
        let forwards: Vec<_> = Path::new(&path).components().map(show).collect();
        let mut backwards: Vec<_> = Path::new(&path).components().rev().map(show).collect();
        backwards.reverse();
        assert_eq!(forwards, expected, "{path:?}");
        assert_eq!(backwards, expected, "{path:?} from the end");
        for front in 0..=expected.len() {
            let mut components = Path::new(&path).components();
            let first: Vec<_> = components.by_ref().take(front).map(show).collect();
            let mut rest: Vec<_> = components.rev().map(show).collect();
            rest.reverse();
            assert_eq!([first, rest].concat(), expected, "{path:?} from both ends");
        }
    }
}

#[test]
fn parts_of_names_are_those_of_std() {
    for path in samples() {
        let (ours, std) = (Path::new(&path), StdPath::new(&path));
        assert_eq!(ours.is_absolute(), std.is_absolute());
        assert_eq!(ours.file_name(), std.file_name().map(|s| s.to_str().unwrap()), "{path:?}");
        assert_eq!(ours.file_stem(), std.file_stem().map(|s| s.to_str().unwrap()), "{path:?}");
        assert_eq!(ours.extension(), std.extension().map(|s| s.to_str().unwrap()), "{path:?}");
        assert_eq!(ours.parent().map(Path::as_str), std.parent().map(|p| p.to_str().unwrap()), "{path:?}");
    }
}

#[test]
fn pushing_and_popping_are_those_of_std() {
    let some: Vec<_> = samples().into_iter().filter(|path| path.len() < 6).collect();
    for base in &some {
        for added in ["", "/", "/x", "x", "x/", "..", "."] {
            let (mut ours, mut std) = (PathBuf::from(base.as_str()), std::path::PathBuf::from(base));
            ours.push(added);
            std.push(added);
            assert_eq!(ours.as_str(), std.to_str().unwrap(), "{base:?} + {added:?}");
            assert_eq!(ours.pop(), std.pop(), "{base:?} + {added:?}");
            assert_eq!(ours.as_str(), std.to_str().unwrap(), "{base:?} + {added:?}, popped");
        }
    }
}

#[test]
fn relative_paths_lead_from_base_to_target() {
    let relative = |target: &str, base: &str| Path::new(target).relative(base).map(String::from);
    assert_eq!(relative("/a/b/c", "/a/d").as_deref(), Some("../b/c"));
    assert_eq!(relative("/a", "/a").as_deref(), Some(""));
    assert_eq!(relative("a/./b", "a").as_deref(), Some("b"));
    assert_eq!(relative("/", "/a/b").as_deref(), Some("../.."));
    assert_eq!(relative("a", "/a"), None);
    assert_eq!(relative("a", "../b"), None);
}

#[test]
fn normalized_paths_have_no_detours() {
    for (path, expected) in [
        ("", ""),
        (".", "."),
        ("./a", "a"),
        ("a/..", "."),
        ("../a/../..", "../.."),
        ("/..", "/"),
        ("/a//b/./../c/", "/a/c"),
        ("/../../x", "/x"),
    ] {
        assert_eq!(Path::new(path).normalized().as_str(), expected, "{path:?}");
    }
}

fn dir(name: &str, parent: &DirRef) -> DirRef {
    VFSDirectory::create(name.to_string(), parent).unwrap()
}

fn error<T>(result: Result<T, FsError>) -> FsError {
    result.err().expect("should have failed")
}

#[test]
fn directories_are_found() {
    let root = root::get_root();
    let a = dir("found", root);
    let b = dir("b", &a);
    let at = |path: &str, cwd: &DirRef| Path::new(path).resolve(cwd).map(|node| node.get_absolute_path());
    assert_eq!(at("/found/b", &b).unwrap(), "/found/b");
    assert_eq!(at("b", &a).unwrap(), "/found/b");
    assert_eq!(at("./b/../b/", &a).unwrap(), "/found/b");
    assert_eq!(at("..", &b).unwrap(), "/found");
    assert_eq!(at("../../../..", &b).unwrap(), "/");
    assert_eq!(at("//", &b).unwrap(), "/");
    assert_eq!(at("", &b), Err(FsError::NotFound));
    assert_eq!(at("c", &b), Err(FsError::NotFound));
    assert_eq!(at("c/..", &b), Err(FsError::NotFound));
    assert_eq!(at(&"x".repeat(5000), &b), Err(FsError::NotFound));
    assert!(Path::get_absolute(Path::new("/found/b")).is_some());
    assert!(Path::get_absolute(Path::new("found/b")).is_none());
    assert!(Path::new("b").get_file(&a).is_none());
    assert!(Path::new("b").get_dir(&a).is_some());

    // A working directory that was removed is still itself, but above it is nothing any more.
    fs_node::remove_dir(&a, "b").unwrap();
    assert_eq!(at(".", &b).unwrap(), "b (removed)");
    assert_eq!(at("..", &b), Err(FsError::Removed));
    assert_eq!(at("/found", &b).unwrap(), "/found");
}

#[test]
fn targets_name_an_entry() {
    let root = root::get_root();
    let a = dir("targets", root);
    let target = |path: &str| Path::new(path).target(&a);
    let found = target("/targets/new").ok().unwrap();
    assert!(found.name == "new" && !found.demands_directory);
    assert_eq!(found.dir.lock().get_absolute_path(), "/targets");
    let found = target("new//").ok().unwrap();
    assert!(found.name == "new" && found.demands_directory);
    assert_eq!(error(target("/")), FsError::IsRoot);
    assert_eq!(error(target("")), FsError::NotFound);
    assert_eq!(error(target("..")), FsError::InvalidName);
    assert_eq!(error(target("x/.")), FsError::InvalidName);
    assert_eq!(error(target("x/y")), FsError::NotFound);
    assert_eq!(error(target(&"x".repeat(256))), FsError::NameTooLong);
}

#[test]
fn symbolic_links_are_followed() {
    use memfs::{MemFile, SymbolicLink};
    let root = root::get_root();
    let a = dir("links", root);
    let b = dir("b", &a);
    MemFile::create_new("f", &b).unwrap();
    let link = |target: &str, name: &str, dir| SymbolicLink::create_new(target, name, dir).unwrap();
    link("b/f", "to_f", &a);
    link("/links/b", "to_b", &a);
    link("../to_b/.", "around", &b);
    link("nowhere", "dangling", &a);
    link("loop", "loop", &a);
    let at = |path: &str| Path::new(path).resolve(&a).map(|node| node.get_absolute_path());
    assert_eq!(at("to_f").unwrap(), "/links/b/f");
    assert_eq!(at("to_b/f").unwrap(), "/links/b/f");
    assert_eq!(at("to_b/around/f").unwrap(), "/links/b/f");
    assert_eq!(at("to_f/"), Err(FsError::NotADirectory));
    assert_eq!(at("dangling"), Err(FsError::NotFound));
    assert_eq!(at("loop"), Err(FsError::TooManyLinks));
    assert_eq!(at("loop/x"), Err(FsError::TooManyLinks));
    // The link itself is what the name of a target means.
    let target = Path::new("to_f").target(&a).ok().unwrap();
    let found = target.dir.lock().get_file(&target.name).unwrap();
    assert_eq!(found.lock().link_target(), Some("b/f"));
}
