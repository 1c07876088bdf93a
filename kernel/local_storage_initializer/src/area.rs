//! The memory of one task's thread-local variables.

use core::{ops::Range, ptr};

use crate::{DYNAMIC_SIZE, LocalStorageInitializerError, PAGE_SIZE};

/// Memory that an area is made of.
///
/// # Safety
/// [`AreaMemory::address`] must be aligned to a page and must not change. Committed bytes must be readable and writable from
/// there on as long as the value lives, and nobody else may access them. They are zeros when committed.
pub unsafe trait AreaMemory: Sized + Send {
    /// Reserves `size` bytes, a multiple of the page size, without committing any. `None` if that is impossible.
    fn reserve(size: usize) -> Option<Self>;

    /// Where the memory begins.
    fn address(&self) -> usize;

    /// Commits `range`, given in bytes from the beginning, multiples of the page size, not committed before.
    /// Returns whether it could; if not, nothing has changed.
    fn commit(&mut self, range: Range<usize>) -> bool;
}

/// One task's area. See the crate's documentation for a picture.
pub(crate) struct Area<M> {
    memory: M,
    /// Bytes from the memory's beginning to the thread pointer: a multiple of the page size.
    thread_pointer_offset: usize,
    /// Bytes of memory, from its beginning, that are committed.
    committed: usize,
    static_size: usize,
}

impl<M: AreaMemory> Area<M> {
    /// An area with room for `static_size` bytes below the thread pointer, zeroed, and with the thread pointer's own word.
    pub(crate) fn new(static_size: usize) -> Result<Self, LocalStorageInitializerError> {
        let thread_pointer_offset = static_size.next_multiple_of(PAGE_SIZE);
        let mut memory = M::reserve(thread_pointer_offset + DYNAMIC_SIZE)
            .ok_or(LocalStorageInitializerError::OutOfMemory)?;
        let committed = thread_pointer_offset + PAGE_SIZE;
        if !memory.commit(0..committed) {
            return Err(LocalStorageInitializerError::OutOfMemory);
        }
        let area = Area { memory, thread_pointer_offset, committed, static_size };
        area.write(thread_pointer_offset, &area.thread_pointer().to_ne_bytes());
        Ok(area)
    }

    pub(crate) fn thread_pointer(&self) -> usize {
        self.memory.address() + self.thread_pointer_offset
    }

    /// Bytes of memory that are committed.
    pub(crate) fn committed_bytes(&self) -> usize {
        self.committed
    }

    /// Makes sure that `end` bytes from the thread pointer on are committed.
    pub(crate) fn commit_dynamic(&mut self, end: usize) -> Result<(), LocalStorageInitializerError> {
        let wanted = (self.thread_pointer_offset + end).next_multiple_of(PAGE_SIZE);
        if wanted > self.committed {
            if !self.memory.commit(self.committed..wanted) {
                return Err(LocalStorageInitializerError::OutOfMemory);
            }
            self.committed = wanted;
        }
        Ok(())
    }

    /// Writes the base image's initial values.
    pub(crate) fn write_static(&mut self, image: &[u8]) {
        self.write(self.thread_pointer_offset - self.static_size, image);
    }

    /// Writes a section of `size` bytes at `offset` from the thread pointer: `image`, then zeros.
    pub(crate) fn write_dynamic(&mut self, offset: usize, size: usize, image: &[u8]) {
        let start = self.thread_pointer_offset + offset;
        self.write(start, image);
        let rest = self.place(start + image.len(), size - image.len());
        // SAFETY: `place` has checked that these bytes are committed memory of this area.
        unsafe { ptr::write_bytes(rest, 0, size - image.len()) };
    }

    fn write(&self, start: usize, bytes: &[u8]) {
        let place = self.place(start, bytes.len());
        // SAFETY: `place` has checked that these bytes are committed memory of this area. Nobody else accesses them: they
        // belong to a section of which no code runs yet, or the area is not in use yet. Raw writes, so no reference to
        // memory that a running task uses is ever made.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
    }

    /// A pointer to `size` committed bytes.
    ///
    /// # Panics
    /// If they are not committed.
    fn place(&self, start: usize, size: usize) -> *mut u8 {
        assert!(
            start.checked_add(size).is_some_and(|end| end <= self.committed),
            "only committed memory is written"
        );
        (self.memory.address() + start) as *mut u8
    }
}
