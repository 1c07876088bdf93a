//! Files and directories, as the tree of files wants them.
//!
//! # Locking
//! Who holds the lock of a file or directory may take the client's, whose holder takes no other but that of the list of returned fids.

use crate::client::{Attributes, Client, Fid, READ_ONLY, READ_WRITE, Transport};
use crate::message::{NOT_UNDERSTOOD, Qid, io_error};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::cell::RefCell;
use core::sync::atomic::{AtomicU64, Ordering};
use fs_node::{
    DirRef, Directory, Entry, File, FileKind, FileOrDir, FsError, FsNode, Location, Metadata, NewNode,
    NodeTimes, Times,
};
use io::{ByteReader, ByteWriter, IoError, KnownLength};
use spin::Mutex;

static NEXT_FILE_SYSTEM: AtomicU64 = AtomicU64::new(0);

/// Any of these bits of a mode: somebody may write.
const MODE_WRITE: u32 = 0o222;

struct Shared {
    client: sync_block::Mutex<Client>,
    /// The number by which directories say that they belong together.
    number: u64,
}

/// Begins to speak with the host, and returns the shared folder. It will be called `name`.
///
/// # Errors
/// The host does not answer, or does not speak 9P2000.L.
pub fn mount(transport: Box<dyn Transport>, name: &str) -> Result<DirRef, FsError> {
    let mut client = Client::new(transport)?;
    let (fid, qid) = client.attach()?;
    if !qid.is_dir() {
        return Err(FsError::NotADirectory);
    }
    // Odd: other kinds of file systems have even numbers.
    let number = NEXT_FILE_SYSTEM.fetch_add(1, Ordering::Relaxed) * 2 + 1;
    let shared = Arc::new(Shared { client: sync_block::Mutex::new(client), number });
    Ok(HostDirectory::new(name, Arc::new(fid), None, &shared))
}

impl Shared {
    /// Takes the client's lock. A cancel point: a task that is asked to die does so here, before anything has been asked.
    fn lock(&self) -> sync_block::MutexGuard<'_, Client> {
        #[cfg(target_os = "theseus")]
        task::exit_if_killed();
        self.client.lock()
    }

    fn attributes(&self, fid: &Fid) -> Result<Attributes, FsError> {
        self.lock().attributes(fid)
    }
}

fn metadata(location: &Location, kind: FileKind, size: usize, attributes: Attributes) -> Metadata {
    Metadata {
        kind,
        id: location.id(),
        links: 1,
        size,
        writable: attributes.mode & MODE_WRITE != 0,
        times: NodeTimes {
            // What the host calls the time of creation it does not tell everywhere.
            created: attributes.changed.min(attributes.modified),
            modified: attributes.modified,
            accessed: attributes.accessed,
        },
    }
}

/// A file, or a symbolic link.
struct HostFile {
    location: Arc<Location>,
    shared: Arc<Shared>,
    fid: Fid,
    /// The fid that is open, and whether for writing too, since it was first needed.
    open: Option<(Fid, bool)>,
    /// What the host said last, for when the file has been removed there.
    last: RefCell<Attributes>,
    /// The path that it stands for, if it is a link.
    target: Option<String>,
    /// The directory that it is in stays as long as this.
    parent: ParentRef,
}

impl HostFile {
    fn attributes(&self) -> Attributes {
        let fid = self.open.as_ref().map_or(&self.fid, |(fid, _)| fid);
        if let Ok(attributes) = self.shared.attributes(fid) {
            self.last.replace(attributes);
        }
        *self.last.borrow()
    }

    /// Opens the file, unless it is open.
    fn opened(&mut self, write: bool) -> Result<&Fid, FsError> {
        if self.open.as_ref().is_none_or(|(_, writable)| write && !writable) {
            let mut client = self.shared.lock();
            let mut open = |flags| -> Result<Fid, FsError> {
                let fid = client.duplicate(&self.fid)?;
                client.open(&fid, flags)?;
                Ok(fid)
            };
            self.open = Some(match open(READ_WRITE) {
                Ok(fid) => (fid, true),
                Err(_) if !write => (open(READ_ONLY)?, false),
                Err(error) => return Err(error),
            });
        }
        self.open.as_ref().map(|(fid, _)| fid).ok_or(NOT_UNDERSTOOD.into())
    }
}

impl ByteReader for HostFile {
    fn read_at(&mut self, buffer: &mut [u8], offset: usize) -> Result<usize, IoError> {
        if let Some(target) = &self.target {
            return target.as_bytes().read_at(buffer, offset);
        }
        // Where the host has no bytes.
        if offset > i64::MAX as usize - buffer.len() {
            return Ok(0);
        }
        self.opened(false).map_err(io_error)?;
        let Some((fid, _)) = &self.open else { return Err(NOT_UNDERSTOOD) };
        self.shared.lock().read(fid, buffer, offset as u64).map_err(io_error)
    }
}

impl ByteWriter for HostFile {
    fn write_at(&mut self, buffer: &[u8], offset: usize) -> Result<usize, IoError> {
        if self.target.is_some() {
            return Err(IoError::ReadOnly);
        }
        let end = offset.checked_add(buffer.len()).ok_or(IoError::InvalidInput)?;
        if i64::try_from(end).is_err() {
            return Err(IoError::TooLarge);
        }
        self.opened(true).map_err(io_error)?;
        let Some((fid, _)) = &self.open else { return Err(NOT_UNDERSTOOD) };
        let count = self.shared.lock().write(fid, buffer, offset as u64).map_err(io_error)?;
        let last = self.last.get_mut();
        last.size = last.size.max((offset + count) as u64);
        Ok(count)
    }

    fn flush(&mut self) -> Result<(), IoError> {
        match &self.open {
            Some((fid, true)) => self.shared.lock().sync(fid).map_err(io_error),
            _ => Ok(()),
        }
    }
}

impl KnownLength for HostFile {
    fn len(&self) -> usize {
        match &self.target {
            Some(target) => target.len(),
            None => usize::try_from(self.attributes().size).unwrap_or(usize::MAX),
        }
    }
}

impl FsNode for HostFile {
    fn location(&self) -> &Arc<Location> {
        &self.location
    }

    fn metadata(&self) -> Metadata {
        let attributes = self.attributes();
        let (kind, size) = match &self.target {
            Some(target) => (FileKind::SymbolicLink, target.len()),
            None => (FileKind::File, usize::try_from(attributes.size).unwrap_or(usize::MAX)),
        };
        metadata(&self.location, kind, size, attributes)
    }

    fn set_times(&mut self, times: Times) -> Result<(), IoError> {
        self.shared.lock().set_times(&self.fid, times).map_err(io_error)
    }
}

impl File for HostFile {
    #[cfg(target_os = "theseus")]
    fn as_mapping(&self) -> Result<&memory::MappedPages, &'static str> {
        Err("the file is the host's and cannot be mapped: copy it to /tmp and use the copy")
    }

    fn link_target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    fn truncate(&mut self, length: usize) -> Result<(), IoError> {
        if self.target.is_some() {
            return Err(IoError::ReadOnly);
        }
        if i64::try_from(length).is_err() {
            return Err(IoError::TooLarge);
        }
        let fid = self.open.as_ref().map_or(&self.fid, |(fid, _)| fid);
        self.shared.lock().set_size(fid, length as u64).map_err(io_error)
    }
}

/// The directory that a node is in. Changed when it is moved, by whoever has that directory locked.
type ParentRef = Arc<Mutex<Option<Arc<Mutex<HostDirectory>>>>>;

enum WeakNode {
    File(Weak<Mutex<HostFile>>),
    Dir(Weak<Mutex<HostDirectory>>),
}

/// A node that somebody holds, or held, under the name by which it was found.
struct Known {
    node: WeakNode,
    qid: Qid,
    location: Arc<Location>,
    parent: ParentRef,
}

impl Known {
    /// Called before the file loses its name: opens it if somebody else holds it, who can then go on using it. One that is locked is being used,
    /// and so is open already.
    fn keep_usable(&self) {
        if let WeakNode::File(file) = &self.node
            && file.strong_count() > 1
            && let Some(file) = file.upgrade()
            && let Some(mut file) = file.try_lock()
        {
            file.attributes();
            // One that cannot be opened could not be used anyway.
            let _ = file.opened(false);
        }
    }

    fn node(&self) -> Option<FileOrDir> {
        match &self.node {
            WeakNode::File(file) => Some(FileOrDir::File(file.upgrade()?)),
            WeakNode::Dir(dir) => Some(FileOrDir::Dir(dir.upgrade()?)),
        }
    }
}

/// A directory.
struct HostDirectory {
    location: Arc<Location>,
    shared: Arc<Shared>,
    fid: Arc<Fid>,
    this: Weak<Mutex<HostDirectory>>,
    known: RefCell<BTreeMap<String, Known>>,
    /// The directory that this one is in stays as long as this.
    parent: ParentRef,
}

impl HostDirectory {
    fn new(
        name: &str,
        fid: Arc<Fid>,
        parent: Option<Arc<Mutex<HostDirectory>>>,
        shared: &Arc<Shared>,
    ) -> Arc<Mutex<HostDirectory>> {
        Arc::new_cyclic(|this| {
            Mutex::new(HostDirectory {
                location: Location::new(name.to_string()),
                shared: shared.clone(),
                fid,
                this: this.clone(),
                known: RefCell::new(BTreeMap::new()),
                parent: Arc::new(Mutex::new(parent)),
            })
        })
    }

    /// Asks the host for a name.
    fn find(&self, name: &str) -> Result<Option<Entry>, FsError> {
        fs_node::check_name(name)?;
        if self.location.is_removed() {
            return Ok(None);
        }
        let mut client = self.shared.lock();
        let (fid, qid) = match client.walk(&self.fid, name) {
            Err(FsError::NotFound) => {
                self.known.borrow_mut().remove(name);
                return Ok(None);
            }
            found => found?,
        };
        let mut known = self.known.borrow_mut();
        if let Some(same) = known.get(name).filter(|known| known.qid == qid)
            && let Some(node) = same.node()
        {
            return Ok(Some(Entry::with_location(node, same.location.clone())));
        }
        // Those that nobody holds any more are in the way of nobody, but they add up.
        if known.len() > 256 {
            known.retain(|_, known| known.node().is_some());
        }
        let this = self.this.upgrade().ok_or(FsError::Removed)?;
        let (node, weak, location, parent) = if qid.is_dir() {
            let dir = HostDirectory::new(name, Arc::new(fid), Some(this), &self.shared);
            let (location, parent) = {
                let dir = dir.lock();
                (dir.location.clone(), dir.parent.clone())
            };
            (FileOrDir::Dir(dir.clone()), WeakNode::Dir(Arc::downgrade(&dir)), location, parent)
        } else {
            let target = if qid.is_link() { Some(client.read_link(&fid)?) } else { None };
            let location = Location::new(name.to_string());
            let parent = Arc::new(Mutex::new(Some(this)));
            let file = Arc::new(Mutex::new(HostFile {
                location: location.clone(),
                shared: self.shared.clone(),
                fid,
                open: None,
                last: RefCell::default(),
                target,
                parent: parent.clone(),
            }));
            (FileOrDir::File(file.clone()), WeakNode::File(Arc::downgrade(&file)), location, parent)
        };
        location.attach(self.this.clone(), self.location.clone());
        known.insert(name.to_string(), Known { node: weak, qid, location: location.clone(), parent });
        Ok(Some(Entry::with_location(node, location)))
    }
}

impl FsNode for HostDirectory {
    fn location(&self) -> &Arc<Location> {
        &self.location
    }

    fn metadata(&self) -> Metadata {
        // How many entries it has only a listing would tell.
        metadata(
            &self.location,
            FileKind::Directory,
            0,
            self.shared.attributes(&self.fid).unwrap_or_default(),
        )
    }

    fn set_times(&mut self, times: Times) -> Result<(), IoError> {
        self.shared.lock().set_times(&self.fid, times).map_err(io_error)
    }
}

impl Directory for HostDirectory {
    fn file_system(&self) -> u64 {
        self.shared.number
    }

    fn get_entry(&self, name: &str) -> Option<Entry> {
        self.find(name).ok().flatten()
    }

    fn lookup(&self, name: &str) -> Result<Option<FileOrDir>, FsError> {
        Ok(self.find(name)?.map(Entry::into_node))
    }

    fn names(&self) -> Result<Vec<String>, FsError> {
        if self.location.is_removed() {
            return Ok(Vec::new());
        }
        let mut names = self.shared.lock().names(&self.fid)?;
        names.sort();
        Ok(names)
    }

    fn list(&self) -> Vec<String> {
        self.names().unwrap_or_default()
    }

    fn create(&mut self, name: &str, node: NewNode<'_>) -> Result<Option<FileOrDir>, FsError> {
        fs_node::check_name(name)?;
        if self.location.is_removed() {
            return Err(FsError::Removed);
        }
        {
            let mut client = self.shared.lock();
            match node {
                NewNode::File => client.create(&self.fid, name)?,
                NewNode::Directory => client.make_directory(&self.fid, name)?,
                NewNode::SymbolicLink(target) => client.make_link(&self.fid, name, target)?,
            }
        }
        // The host may have lost it again by now.
        Ok(Some(self.lookup(name)?.ok_or(FsError::NotFound)?))
    }

    fn insert_entry(&mut self, _entry: Entry, _replace: bool) -> Result<Option<Entry>, FsError> {
        Err(FsError::OtherFileSystem)
    }

    fn remove(&mut self, node: &FileOrDir) -> Option<FileOrDir> {
        self.try_remove(node).ok()
    }

    fn try_remove(&mut self, node: &FileOrDir) -> Result<FileOrDir, FsError> {
        let mut known = self.known.borrow_mut();
        let is_it = |known: &Known| known.node().is_some_and(|known| known.ptr_eq(node));
        let name = known.iter().find(|(_, known)| is_it(known)).map(|(name, _)| name.clone());
        let name = name.ok_or(FsError::NotFound)?;
        if let Some(known) = known.get(&name) {
            known.keep_usable();
        }
        self.shared.lock().remove(&self.fid, &name, node.is_dir())?;
        if let Some(known) = known.remove(&name) {
            known.location.detach();
        }
        Ok(node.clone())
    }

    fn remove_entry(&mut self, name: &str) -> Option<Entry> {
        let entry = self.get_entry(name)?;
        self.try_remove(entry.node()).ok()?;
        Some(entry)
    }

    fn move_entry(
        &mut self,
        from_name: &str,
        to: Option<&mut dyn Directory>,
        to_name: &str,
    ) -> Result<Option<Entry>, FsError> {
        let to = match to {
            Some(to) => {
                let to: &mut dyn Any = to;
                Some(to.downcast_mut::<HostDirectory>().ok_or(FsError::OtherFileSystem)?)
            }
            None => None,
        };
        let target = to.as_deref().unwrap_or(self);
        let target_ref = target.this.upgrade().ok_or(FsError::Removed)?;
        // So that what is moved and what is replaced are known.
        let moved = self.find(from_name)?.ok_or(FsError::NotFound)?;
        let replaced = target.find(to_name)?;
        if let Some(known) = target.known.borrow().get(to_name) {
            known.keep_usable();
        }
        self.shared.lock().rename(&self.fid, from_name, &target.fid, to_name)?;
        if let Some(replaced) = &replaced {
            replaced.location().detach();
        }
        let known = self.known.borrow_mut().remove(from_name);
        if let Some(known) = known {
            moved.location().set_name(to_name.to_string());
            moved.location().attach(target.this.clone(), target.location.clone());
            let old = known.parent.lock().replace(target_ref);
            drop(old);
            target.known.borrow_mut().insert(to_name.to_string(), known);
        }
        Ok(replaced)
    }

    fn sync(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

impl Drop for HostDirectory {
    /// Lets go of the directories above one after the other. By recursion, the depth of the tree would be bounded by the size of a kernel stack.
    fn drop(&mut self) {
        let mut above = self.parent.lock().take();
        while let Some(parent) = above.and_then(Arc::into_inner) {
            above = parent.lock().parent.lock().take();
        }
    }
}

impl Drop for HostFile {
    fn drop(&mut self) {
        let parent = self.parent.lock().take();
        drop(parent);
    }
}
