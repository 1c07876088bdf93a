//! Files and directories, as the tree of files wants them.
//!
//! # Locking
//! Who holds the lock of a file or directory may take the volume's, whose holder takes no other lock. The volume's lock is held while the disk
//! works, its waiters sleep. A directory never takes the lock of a file in it.

use crate::directory::{Place, Slots, same_sector};
use crate::entry::{self, ARCHIVE, DIRECTORY, Record};
use crate::volume::Volume;
use crate::{DAMAGED, volume};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::cell::RefCell;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use fs_node::{
    DirRef, Directory, Entry, File, FileKind, FileOrDir, FileRef, FsError, FsNode, Location, Metadata,
    NewNode, NodeTimes, Times, WeakFileRef,
};
use io::{ByteReader, ByteWriter, IoError, KnownLength};
use spin::Mutex;
use storage_device::StorageDevice;

static NEXT_FILE_SYSTEM: AtomicU64 = AtomicU64::new(1);

/// What all nodes of a file system share.
struct Shared {
    volume: sync_block::Mutex<Volume>,
    /// The number by which directories say that they belong together.
    number: u64,
    read_only: bool,
}

/// A mounted file system.
#[derive(Clone)]
pub struct FileSystem {
    shared: Arc<Shared>,
    root: DirRef,
}

impl FileSystem {
    /// Mounts what is on `device`, with a cache of about `cache_size` bytes. The root directory will be called `name`.
    ///
    /// # Errors
    /// There is no such file system on it, it is damaged, or the device reports an error. The error says what to do.
    pub fn mount(device: Box<dyn StorageDevice>, cache_size: usize, name: &str) -> Result<Self, IoError> {
        let mut volume = Volume::new(device, cache_size)?;
        let read_only = volume.cache.is_read_only();
        let mut record = Record::new([b' '; 11], DIRECTORY, Duration::ZERO);
        record.set_cluster(volume.layout.root_cluster);
        let (number, held) = volume.hold(record, None, None)?;
        // That the root can be read is the first thing to know.
        volume.read_directory(number)?;
        // Numbers of other kinds of file systems have another parity.
        let id = NEXT_FILE_SYSTEM.fetch_add(1, Ordering::Relaxed) * 2;
        let shared = Arc::new(Shared { volume: sync_block::Mutex::new(volume), number: id, read_only });
        let root = FatDirectory::new(name, number, held, &shared);
        Ok(Self { shared, root })
    }

    /// The root directory.
    pub fn root(&self) -> &DirRef {
        &self.root
    }

    /// Whether something has been changed that is not on the disk yet.
    pub fn is_dirty(&self) -> bool {
        self.shared.lock().is_dirty()
    }

    /// Brings everything to the disk.
    ///
    /// # Errors
    /// What the disk reports. The next sync tries again.
    pub fn sync(&self) -> Result<(), IoError> {
        self.shared.lock().commit()
    }
}

impl Shared {
    /// Takes the volume's lock. A cancel point: a task that is asked to die does so here, before anything has been changed.
    fn lock(&self) -> sync_block::MutexGuard<'_, Volume> {
        #[cfg(target_os = "theseus")]
        task::exit_if_killed();
        self.volume.lock()
    }

    fn times(&self, number: u64) -> NodeTimes {
        match self.lock().node(number) {
            Ok(volume::Node { record, .. }) => NodeTimes {
                created: record.created(),
                modified: record.modified(),
                accessed: record.accessed(),
            },
            Err(_) => NodeTimes::default(),
        }
    }

    fn set_times(&self, number: u64, times: Times) -> Result<(), IoError> {
        let mut volume = self.lock();
        volume.before_change()?;
        let record = &mut volume.node(number)?.record;
        if let Some(time) = times.modified {
            record.set_modified(time);
        }
        if let Some(time) = times.accessed {
            record.set_accessed(time);
        }
        volume.store(number)
    }
}

/// A file.
struct FatFile {
    location: Arc<Location>,
    shared: Arc<Shared>,
    number: u64,
    /// Says that this is here.
    _held: Arc<()>,
}

impl FatFile {
    fn record(&self) -> Option<Record> {
        self.shared.lock().node(self.number).ok().map(|node| node.record)
    }

    fn check_writable(&self) -> Result<(), IoError> {
        let read_only = self.shared.read_only || self.record().is_none_or(|record| record.is_read_only());
        if read_only { Err(IoError::ReadOnly) } else { Ok(()) }
    }
}

impl ByteReader for FatFile {
    fn read_at(&mut self, buffer: &mut [u8], offset: usize) -> Result<usize, IoError> {
        self.shared.lock().read(self.number, buffer, offset)
    }
}

impl ByteWriter for FatFile {
    fn write_at(&mut self, buffer: &[u8], offset: usize) -> Result<usize, IoError> {
        self.check_writable()?;
        self.shared.lock().write(self.number, buffer, offset, fs_node::now())
    }

    fn flush(&mut self) -> Result<(), IoError> {
        self.shared.lock().commit()
    }
}

impl KnownLength for FatFile {
    fn len(&self) -> usize {
        self.record().map_or(0, |record| record.size() as usize)
    }
}

impl FsNode for FatFile {
    fn location(&self) -> &Arc<Location> {
        &self.location
    }

    fn metadata(&self) -> Metadata {
        Metadata {
            kind: FileKind::File,
            id: self.location.id(),
            links: 1,
            size: self.len(),
            writable: self.check_writable().is_ok(),
            times: self.shared.times(self.number),
        }
    }

    fn set_times(&mut self, times: Times) -> Result<(), IoError> {
        self.shared.set_times(self.number, times)
    }
}

impl File for FatFile {
    #[cfg(target_os = "theseus")]
    fn as_mapping(&self) -> Result<&memory::MappedPages, &'static str> {
        Err("the file is on a disk and cannot be mapped: copy it to /tmp and use the copy")
    }

    fn truncate(&mut self, length: usize) -> Result<(), IoError> {
        self.check_writable()?;
        self.shared.lock().truncate(self.number, length, fs_node::now())
    }
}

/// A node that somebody holds, or held.
enum WeakNode {
    File(WeakFileRef),
    Dir(Weak<Mutex<FatDirectory>>),
}

impl WeakNode {
    fn upgrade(&self) -> Option<FileOrDir> {
        match self {
            WeakNode::File(file) => Some(FileOrDir::File(file.upgrade()?)),
            WeakNode::Dir(dir) => Some(FileOrDir::Dir(dir.upgrade()?)),
        }
    }
}

/// A name in a directory.
struct Child {
    name: String,
    place: Place,
    /// The node, its number in the volume, and its location, since somebody first asked for it.
    known: Option<(WeakNode, u64, Arc<Location>)>,
}

impl Child {
    /// The node, if somebody holds it.
    fn held(&self) -> Option<(FileOrDir, u64, Arc<Location>)> {
        let (node, number, location) = self.known.as_ref()?;
        Some((node.upgrade()?, *number, location.clone()))
    }
}

/// A directory that is about to go. Unless it is said to be gone, it is there again when this is dropped: the disk reported an error, or the
/// task is asked to die.
struct Detached {
    location: Arc<Location>,
    parent: Weak<Mutex<FatDirectory>>,
    parent_location: Arc<Location>,
    is_gone: bool,
}

impl Drop for Detached {
    fn drop(&mut self) {
        if !self.is_gone {
            self.location.attach(self.parent.clone(), self.parent_location.clone());
        }
    }
}

/// What a directory contains, once that has been read.
struct Content {
    slots: Slots,
    /// By the name in capital letters.
    children: BTreeMap<String, Child>,
}

/// A directory.
struct FatDirectory {
    location: Arc<Location>,
    shared: Arc<Shared>,
    number: u64,
    /// The reference that the locations of the children get.
    this: Weak<Mutex<FatDirectory>>,
    /// Read when it is first needed, by whoever has the directory locked.
    content: RefCell<Option<Content>>,
    /// Says that this is here.
    _held: Arc<()>,
}

impl FatDirectory {
    fn new(name: &str, number: u64, held: Arc<()>, shared: &Arc<Shared>) -> Arc<Mutex<FatDirectory>> {
        Arc::new_cyclic(|this| {
            Mutex::new(FatDirectory {
                location: Location::new(name.to_string()),
                shared: shared.clone(),
                number,
                this: this.clone(),
                content: RefCell::new(None),
                _held: held,
            })
        })
    }

    /// Calls `f` with the volume locked and the content, which is read if it has not been.
    fn with<R>(&self, f: impl FnOnce(&mut Volume, &mut Content) -> Result<R, FsError>) -> Result<R, FsError> {
        let mut volume = self.shared.lock();
        let mut content = self.content.borrow_mut();
        if content.is_none() {
            let (slots, found) = volume.read_directory(self.number)?;
            let child = |(found, place): (entry::Found, Place)| {
                (entry::fold(&found.name), Child { name: found.name, place, known: None })
            };
            let mut children = BTreeMap::new();
            for (key, child) in found.into_iter().map(child) {
                // Of two with one name only the first can be asked for.
                children.entry(key).or_insert(child);
            }
            *content = Some(Content { slots, children });
        }
        f(&mut volume, content.as_mut().ok_or(DAMAGED)?)
    }

    /// The entry of a child, whose node is made if nobody holds it.
    fn entry(&self, volume: &mut Volume, child: &mut Child) -> Result<Entry, FsError> {
        if let Some((node, _, location)) = child.held() {
            return Ok(Entry::with_location(node, location));
        }
        if let Some((_, number, _)) = &child.known {
            volume.settle(*number)?;
        }
        let record = volume.record(child.place.record_at)?;
        let parent: DirRef = self.this.upgrade().ok_or(FsError::Removed)?;
        let (number, held) = volume.hold(record, Some(child.place.record_at), Some(parent))?;
        let (node, weak, location) = if record.is_directory() {
            if record.cluster() == 0 {
                return Err(DAMAGED.into());
            }
            let dir = FatDirectory::new(&child.name, number, held, &self.shared);
            let location = dir.lock().location.clone();
            (FileOrDir::Dir(dir.clone()), WeakNode::Dir(Arc::downgrade(&dir)), location)
        } else {
            let location = Location::new(child.name.clone());
            let file =
                FatFile { location: location.clone(), shared: self.shared.clone(), number, _held: held };
            let file: FileRef = Arc::new(Mutex::new(file));
            (FileOrDir::File(file.clone()), WeakNode::File(Arc::downgrade(&file)), location)
        };
        location.attach(self.this.clone(), self.location.clone());
        child.known = Some((weak, number, location.clone()));
        Ok(Entry::with_location(node, location))
    }

    fn find(&self, name: &str) -> Result<Option<Entry>, FsError> {
        if self.location.is_removed() {
            return Ok(None);
        }
        self.with(|volume, content| match content.children.get_mut(&entry::fold(name)) {
            Some(child) => self.entry(volume, child).map(Some),
            None => Ok(None),
        })
    }

    /// Makes sure that a directory that is to go out of this one is empty, and says that it is gone. It is locked meanwhile, so that nothing can
    /// come in between.
    fn detach_directory(&self, dir: &DirRef) -> Result<Detached, FsError> {
        let dir = dir.lock();
        if !dir.names()?.is_empty() {
            return Err(FsError::NotEmpty);
        }
        dir.location().detach();
        let (parent, parent_location) = (self.this.clone(), self.location.clone());
        Ok(Detached { location: dir.location().clone(), parent, parent_location, is_gone: false })
    }

    fn make(&mut self, name: &str, is_directory: bool) -> Result<FileOrDir, FsError> {
        entry::check(name)?;
        if self.location.is_removed() {
            return Err(FsError::Removed);
        }
        let key = entry::fold(name);
        self.with(|volume, content| {
            if content.children.contains_key(&key) {
                return Err(FsError::AlreadyExists);
            }
            volume.before_change()?;
            let mut record =
                Record::new([b' '; 11], if is_directory { DIRECTORY } else { ARCHIVE }, fs_node::now());
            if is_directory {
                volume.make_room(1)?;
                let cluster = volume.table.allocate(&mut volume.cache, None)?;
                record.set_cluster(cluster);
            }
            let added = match volume.parent_cluster(self.number) {
                Ok(parent) if is_directory => volume.begin_directory(record, parent),
                result => result.map(drop),
            };
            let added =
                added.map_err(FsError::from).and_then(|()| volume.add(&mut content.slots, name, record));
            let place = match added {
                Ok((place, _)) => place,
                Err(error) => {
                    if is_directory {
                        // It belongs to nobody.
                        volume.table.free_chain(&mut volume.cache, record.cluster())?;
                    }
                    return Err(error);
                }
            };
            let child = Child { name: name.to_string(), place, known: None };
            let child = content.children.entry(key).or_insert(child);
            self.entry(volume, child).map(Entry::into_node)
        })
    }
}

impl FatDirectory {
    /// Moves a name; both directories have been read, and the move has been found to be possible.
    fn move_on_disk(
        &self,
        from_name: &str,
        to: Option<&mut FatDirectory>,
        to_name: &str,
    ) -> Result<(), FsError> {
        let mut volume = self.shared.lock();
        let volume = &mut *volume;
        volume.before_change()?;
        let (from_key, to_key) = (entry::fold(from_name), entry::fold(to_name));
        let target = to.as_deref().unwrap_or(self);
        let target_ref = target.this.upgrade().ok_or(FsError::Removed)?;
        let (target_number, target_location) = (target.number, target.location.clone());
        let mut own = self.content.borrow_mut();
        let own = own.as_mut().ok_or(DAMAGED)?;
        let mut other = to.as_ref().map(|to| to.content.borrow_mut());
        let mut other = match &mut other {
            Some(other) => Some(other.as_mut().ok_or(DAMAGED)?),
            None => None,
        };
        macro_rules! target {
            () => {
                other.as_deref_mut().unwrap_or(own)
            };
        }

        let child = own.children.get(&from_key).ok_or(FsError::NotFound)?;
        let (_, number, location) = child.held().ok_or(FsError::NotFound)?;
        let from_place = child.place;
        let record = volume.node(number)?.record;
        // What is replaced keeps its name, of which the record gets the content.
        let replaced = match target!().children.get(&to_key) {
            Some(child) => {
                let (_, number, _) = child.held().ok_or(FsError::NotFound)?;
                Some((child.place, child.name.clone(), number, volume.node(number)?.record))
            }
            None => None,
        };
        let (place, new_record, name) = match &replaced {
            Some((place, name, _, old)) => {
                let mut new = record;
                new.set_short(old.short());
                new.0[12] = old.0[12];
                volume.write_entry(&new.0, place.record_at)?;
                (*place, new, name.clone())
            }
            None => {
                let (place, new) = volume.add(&mut target!().slots, to_name, record)?;
                (place, new, to_name.to_string())
            }
        };
        let between = other.is_some();
        let at_once = same_sector(place, from_place, !between);
        let mut parents = None;
        let mut result = Ok(());
        if record.is_directory() && between {
            let numbers = (volume.parent_cluster(self.number)?, volume.parent_cluster(target_number)?);
            result = volume.set_parent(record.cluster(), numbers.1);
            parents = Some(numbers.0);
        }
        if !at_once {
            result = result.and_then(|()| volume.commit());
        }
        result = result.and_then(|()| volume.remove(&mut own.slots, from_place));
        if let Err(error) = result {
            // As it was, as far as the disk lets us.
            let _ = match &replaced {
                Some((place, _, _, old)) => volume.write_entry(&old.0, place.record_at),
                None => volume.remove(&mut target!().slots, place),
            };
            let _ = parents.map(|parent| volume.set_parent(record.cluster(), parent));
            return Err(error.into());
        }
        if !at_once {
            // It has two names on the disk until this has been done. If that fails, the next sync reports it.
            let _ = volume.commit();
        }
        volume.moved(number, place.record_at, new_record, target_ref.clone())?;
        if let Some((_, _, number, _)) = replaced {
            volume.removed(number)?;
        }
        let child = own.children.remove(&from_key).ok_or(FsError::NotFound)?;
        location.set_name(name.clone());
        let this: DirRef = target_ref;
        location.attach(Arc::downgrade(&this), target_location);
        target!().children.insert(to_key, Child { name, place, known: child.known });
        Ok(())
    }
}

impl FsNode for FatDirectory {
    fn location(&self) -> &Arc<Location> {
        &self.location
    }

    fn metadata(&self) -> Metadata {
        let size = if self.location.is_removed() {
            0
        } else {
            // A directory that cannot be read seems empty here; who lists it is told.
            self.with(|_, content| Ok(content.children.len())).unwrap_or(0)
        };
        Metadata {
            kind: FileKind::Directory,
            id: self.location.id(),
            links: 1,
            size,
            writable: !self.shared.read_only,
            times: self.shared.times(self.number),
        }
    }

    fn set_times(&mut self, times: Times) -> Result<(), IoError> {
        self.shared.set_times(self.number, times)
    }
}

impl Directory for FatDirectory {
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
        let mut names: Vec<String> =
            self.with(|_, content| Ok(content.children.values().map(|child| child.name.clone()).collect()))?;
        names.sort();
        Ok(names)
    }

    fn list(&self) -> Vec<String> {
        self.names().unwrap_or_default()
    }

    fn create(&mut self, name: &str, node: NewNode<'_>) -> Result<Option<FileOrDir>, FsError> {
        match node {
            NewNode::File => self.make(name, false).map(Some),
            NewNode::Directory => self.make(name, true).map(Some),
            NewNode::SymbolicLink(_) => Err(FsError::Unsupported),
        }
    }

    fn insert_entry(&mut self, _entry: Entry, _replace: bool) -> Result<Option<Entry>, FsError> {
        Err(FsError::OtherFileSystem)
    }

    fn remove(&mut self, node: &FileOrDir) -> Option<FileOrDir> {
        self.try_remove(node).ok()
    }

    fn try_remove(&mut self, node: &FileOrDir) -> Result<FileOrDir, FsError> {
        let is_it = |child: &Child| child.held().is_some_and(|(held, ..)| held.ptr_eq(node));
        let (key, number, location) = self.with(|volume, content| {
            volume.before_change()?;
            let (key, child) =
                content.children.iter().find(|(_, child)| is_it(child)).ok_or(FsError::NotFound)?;
            let (_, number, location) = child.held().ok_or(FsError::NotFound)?;
            Ok((key.clone(), number, location))
        })?;
        let mut detached = match node {
            FileOrDir::Dir(dir) => Some(self.detach_directory(dir)?),
            FileOrDir::File(_) => None,
        };
        self.with(|volume, content| {
            let place = content.children.get(&key).ok_or(FsError::NotFound)?.place;
            volume.remove(&mut content.slots, place)?;
            content.children.remove(&key);
            Ok(volume.removed(number)?)
        })?;
        match &mut detached {
            Some(detached) => detached.is_gone = true,
            None => location.detach(),
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
        entry::check(to_name)?;
        let to = match to {
            Some(to) => {
                let to: &mut dyn Any = to;
                Some(to.downcast_mut::<FatDirectory>().ok_or(FsError::OtherFileSystem)?)
            }
            None => None,
        };
        let moved = self.find(from_name)?.ok_or(FsError::NotFound)?;
        let replaced = to.as_deref().unwrap_or(self).find(to_name)?;
        let target = to.as_deref().unwrap_or(self);
        let mut detached = match (moved.node(), replaced.as_ref().map(Entry::node)) {
            (_, None) | (FileOrDir::File(_), Some(FileOrDir::File(_))) => None,
            (FileOrDir::File(_), Some(FileOrDir::Dir(_))) => return Err(FsError::IsADirectory),
            (FileOrDir::Dir(_), Some(FileOrDir::File(_))) => return Err(FsError::NotADirectory),
            (FileOrDir::Dir(_), Some(FileOrDir::Dir(dir))) => Some(target.detach_directory(dir)?),
        };
        self.move_on_disk(from_name, to, to_name)?;
        match (&mut detached, &replaced) {
            (Some(detached), _) => detached.is_gone = true,
            (None, Some(replaced)) => replaced.location().detach(),
            (None, None) => {}
        }
        Ok(replaced)
    }

    fn sync(&mut self) -> Result<(), IoError> {
        self.shared.lock().commit()
    }
}
