//! [`Location`]: a node's name and parent.

use crate::{DirRef, FsError, WeakDirRef};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use spin::Mutex;

/// The longest name of an entry, in bytes. It is what Linux allows, so that any directory of a developer's machine fits.
pub const MAX_NAME_LENGTH: usize = 255;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Where a node hangs in the tree: its name and the directory that contains it. A file that has several names has one for each.
///
/// It lives outside the node's lock, and its own lock is held for a few instructions only.
pub struct Location {
    node: Arc<Identity>,
    place: Mutex<Place>,
}

/// What the locations of one node have in common.
struct Identity {
    id: u64,
    /// How many of them are entries of directories.
    links: AtomicUsize,
    /// Those that there are, or have been, if there was ever more than one.
    names: Mutex<Vec<Weak<Location>>>,
}

struct Place {
    name: String,
    state: State,
}

enum State {
    /// In no directory yet, or for ever: a new node, or a root.
    Detached,
    /// An entry of a directory.
    In { dir: WeakDirRef, location: Arc<Location> },
    /// Was an entry of a directory once.
    Removed,
}

/// Checks that an entry of a directory may be called `name`.
///
/// # Errors
/// [`FsError::InvalidName`] or [`FsError::NameTooLong`].
pub fn check_name(name: &str) -> Result<(), FsError> {
    if name.is_empty() || name == "." || name == ".." || name.bytes().any(|byte| byte == b'/' || byte == 0) {
        Err(FsError::InvalidName)
    } else if name.len() > MAX_NAME_LENGTH {
        Err(FsError::NameTooLong)
    } else {
        Ok(())
    }
}

impl Location {
    /// The location of a new node, which is in no directory yet. Only a root has an empty name.
    pub fn new(name: String) -> Arc<Self> {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let node = Arc::new(Identity { id, links: AtomicUsize::new(0), names: Mutex::new(Vec::new()) });
        Arc::new(Self { node, place: Mutex::new(Place { name, state: State::Detached }) })
    }

    /// Another location of the same node, which is in no directory yet: for a second name. Only files have several.
    pub fn another(self: &Arc<Self>, name: String) -> Arc<Self> {
        let node = self.node.clone();
        let another = Arc::new(Self { node, place: Mutex::new(Place { name, state: State::Detached }) });
        let mut names = self.node.names.lock();
        if names.is_empty() {
            names.push(Arc::downgrade(self));
        }
        // Those that are gone are forgotten before the list becomes longer.
        if names.len() == names.capacity() {
            names.retain(|name| name.strong_count() > 0);
        }
        names.push(Arc::downgrade(&another));
        drop(names);
        another
    }

    /// A number that no other node has had since the kernel started.
    pub fn id(&self) -> u64 {
        self.node.id
    }

    /// How many names the node has: of how many directories, or how often, it is an entry.
    pub fn links(&self) -> usize {
        self.node.links.load(Ordering::Relaxed)
    }

    /// This location, or if the node is no entry of a directory by it, another one by which it is, if there is one.
    pub fn current(self: &Arc<Self>) -> Arc<Self> {
        if self.is_attached() {
            return self.clone();
        }
        // The list's lock is a leaf as those of the locations are: so none of these is looked at with it held.
        let names: Vec<Arc<Self>> = self.node.names.lock().iter().filter_map(Weak::upgrade).collect();
        names.into_iter().find(|name| name.is_attached()).unwrap_or_else(|| self.clone())
    }

    /// The node's name in its directory; empty for a root.
    pub fn name(&self) -> String {
        self.place.lock().name.clone()
    }

    /// The directory that contains the node: `None` for a root and for a removed node.
    pub fn parent(&self) -> Option<DirRef> {
        match &self.place.lock().state {
            State::In { dir, .. } => dir.upgrade(),
            _ => None,
        }
    }

    /// The location of the directory that contains the node.
    pub fn parent_location(&self) -> Option<Arc<Location>> {
        match &self.place.lock().state {
            State::In { location, .. } => Some(location.clone()),
            _ => None,
        }
    }

    /// Whether the node was in a directory and has been removed from it.
    pub fn is_removed(&self) -> bool {
        matches!(self.place.lock().state, State::Removed)
    }

    /// Whether the node is an entry of a directory.
    pub fn is_attached(&self) -> bool {
        matches!(self.place.lock().state, State::In { .. })
    }

    /// Whether `self` is `other` or contains it, directly or further down.
    pub fn contains(self: &Arc<Self>, other: &Arc<Location>) -> bool {
        let mut current = other.clone();
        loop {
            if Arc::ptr_eq(self, &current) {
                return true;
            }
            let Some(parent) = current.parent_location() else { return false };
            current = parent;
        }
    }

    /// The path from the root to this node, such as `/tmp/a`, and `/` for the root.
    ///
    /// A node that has been removed, or is below one that has been, has no such path: what is left of it is followed
    /// by ` (removed)`.
    pub fn absolute_path(self: &Arc<Self>) -> String {
        let mut names = Vec::new();
        let mut current = self.clone();
        let removed = loop {
            let next = {
                let place = current.place.lock();
                match &place.state {
                    State::Detached if place.name.is_empty() => break false,
                    State::In { location, .. } => {
                        names.push(place.name.clone());
                        location.clone()
                    }
                    State::Detached | State::Removed => {
                        names.push(place.name.clone());
                        break true;
                    }
                }
            };
            current = next;
        };
        let mut path = String::new();
        for name in names.iter().rev() {
            if !(removed && path.is_empty()) {
                path.push('/');
            }
            path.push_str(name);
        }
        if removed {
            path.push_str(" (removed)");
        } else if path.is_empty() {
            path.push('/');
        }
        path
    }

    /// Makes the node an entry of `dir`. For implementations of [`Directory`](crate::Directory), with `dir` locked.
    pub fn attach(&self, dir: WeakDirRef, location: Arc<Location>) {
        let old = core::mem::replace(&mut self.place.lock().state, State::In { dir, location });
        if !matches!(old, State::In { .. }) {
            self.node.links.fetch_add(1, Ordering::Relaxed);
        }
        // What it held is dropped only now, with the lock released.
        drop(old);
    }

    /// Marks the node as removed. For implementations of [`Directory`](crate::Directory), with the directory locked; if the node is
    /// a directory itself, it must be locked and empty as well, so that nothing can be added any more.
    pub fn detach(&self) {
        let old = core::mem::replace(&mut self.place.lock().state, State::Removed);
        if matches!(old, State::In { .. }) {
            self.node.links.fetch_sub(1, Ordering::Relaxed);
        }
        drop(old);
    }

    /// Changes the name of a node that is in no directory at the moment. For implementations of [`Directory`](crate::Directory).
    pub fn set_name(&self, name: String) {
        self.place.lock().name = name;
    }
}

impl Drop for Location {
    /// Lets go of the ancestors one after the other. By recursion, the depth of the tree would be bounded by the size of a kernel stack.
    fn drop(&mut self) {
        let mut state = core::mem::replace(&mut self.place.get_mut().state, State::Removed);
        while let State::In { location, .. } = state {
            let Some(mut ancestor) = Arc::into_inner(location) else { return };
            state = core::mem::replace(&mut ancestor.place.get_mut().state, State::Removed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Directory;
    use alloc::string::ToString;
    use alloc::sync::Weak;

    /// A stand-in for the parent's reference. No value of the type exists.
    enum Nowhere {}

    impl crate::FsNode for Nowhere {
        fn location(&self) -> &Arc<Location> {
            match *self {}
        }

        fn metadata(&self) -> crate::Metadata {
            match *self {}
        }

        fn set_times(&mut self, _: crate::Times) -> Result<(), io::IoError> {
            match *self {}
        }
    }

    impl Directory for Nowhere {
        fn get_entry(&self, _: &str) -> Option<crate::Entry> {
            match *self {}
        }

        fn insert_entry(&mut self, _: crate::Entry, _: bool) -> Result<Option<crate::Entry>, FsError> {
            match *self {}
        }

        fn remove(&mut self, _: &crate::FileOrDir) -> Option<crate::FileOrDir> {
            match *self {}
        }

        fn remove_entry(&mut self, _: &str) -> Option<crate::Entry> {
            match *self {}
        }

        fn list(&self) -> Vec<String> {
            match *self {}
        }
    }

    fn below(parent: &Arc<Location>, name: &str) -> Arc<Location> {
        let location = Location::new(name.to_string());
        location.attach(Weak::<Mutex<Nowhere>>::new(), parent.clone());
        location
    }

    #[test]
    fn a_long_chain_is_dropped_without_recursion() {
        let mut lowest = Location::new(String::new());
        for _ in 0..300_000 {
            lowest = below(&lowest, "d");
        }
        assert_eq!(lowest.absolute_path().len(), 600_000);
        drop(lowest);
    }

    #[test]
    fn paths_and_ancestry() {
        let root = Location::new(String::new());
        let (a, x) = (below(&root, "a"), below(&root, "x"));
        let b = below(&a, "b");
        assert_eq!(root.absolute_path(), "/");
        assert_eq!(b.absolute_path(), "/a/b");
        assert!(root.contains(&b) && a.contains(&b) && b.contains(&b));
        assert!(!b.contains(&a) && !x.contains(&b));
        assert!(b.parent().is_none(), "the parent itself is gone");
        a.detach();
        assert_eq!(b.absolute_path(), "a/b (removed)");
        assert!(a.is_removed() && !b.is_removed() && !root.contains(&b));
        assert_eq!(Location::new("new".to_string()).absolute_path(), "new (removed)");
    }

    #[test]
    fn a_file_with_several_names_is_found_by_those_that_are_left() {
        let root = Location::new(String::new());
        let first = below(&root, "first");
        let second = first.another("second".to_string());
        assert_eq!((first.id() == second.id(), first.links()), (true, 1));
        second.attach(Weak::<Mutex<Nowhere>>::new(), root.clone());
        assert_eq!((first.links(), second.links()), (2, 2));
        assert_eq!(first.current().name(), "first");
        first.detach();
        first.detach();
        assert_eq!(first.links(), 1);
        assert_eq!(first.current().absolute_path(), "/second");
        for number in 0..1000 {
            let name = second.another(number.to_string());
            name.attach(Weak::<Mutex<Nowhere>>::new(), root.clone());
            name.detach();
        }
        assert!(second.node.names.lock().len() < 20, "names that are gone are forgotten");
        second.detach();
        assert_eq!(second.links(), 0);
        assert_eq!(first.current().absolute_path(), "first (removed)");
    }

    #[test]
    fn ids_are_never_the_same() {
        assert_ne!(Location::new(String::new()).id(), Location::new(String::new()).id());
    }
}
