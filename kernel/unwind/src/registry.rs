//! The sorted table of code ranges.
//!
//! Readers are in the worst of situations: some task has panicked or faulted, perhaps inside of the allocator, perhaps
//! inside of the loader. So they take no lock, write nothing, allocate nothing and free nothing. The table is guarded by a
//! *sequence counter*: a writer makes it odd, changes the table, makes it even; a reader that saw an odd or a changed
//! number starts over. Every word of the table is an atomic, hence reading one that is being changed is no data race,
//! merely a wrong number that is thrown away.
//!
//! A writer holds an interrupt-safe spinlock while it moves a few words, and does nothing there that could panic, fault
//! or take another lock: whoever interrupts or waits for it waits for microseconds. Room for more entries is allocated
//! before. An array that has become too small is never given back, because a reader may still look at it; since each is
//! twice as large as the one before, all of them together are no larger than the present one.

use alloc::vec::Vec;
use core::{
    fmt,
    ops::Range,
    ptr,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence},
};

use irq_safety::{HeldInterrupts, hold_interrupts};

use crate::EhFrameError;

/// Number of ranges that fit without allocation: the base image is registered before there is a heap.
pub(crate) const INITIAL_CAPACITY: usize = 64;

/// Why a range of code could not be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterError {
    /// The range of text is empty or ends before it starts.
    EmptyText,
    /// Some of the text is registered already, as part of this range.
    Overlaps {
        /// The range that is in the way.
        text: Range<usize>,
    },
    /// Not enough memory for a larger table.
    OutOfMemory,
    /// The unwind tables are malformed.
    BadUnwindInfo(EhFrameError),
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyText => {
                f.write_str("a range of code without any code cannot be registered for unwinding")
            }
            Self::Overlaps { text } => write!(
                f,
                "code at {:#x}..{:#x} is already registered for unwinding: deregister it first",
                text.start, text.end
            ),
            Self::OutOfMemory => f.write_str("not enough memory to register code for unwinding"),
            Self::BadUnwindInfo(error) => write!(f, "bad unwind tables: {error}"),
        }
    }
}

impl core::error::Error for RegisterError {}

impl From<EhFrameError> for RegisterError {
    fn from(error: EhFrameError) -> Self {
        match error {
            EhFrameError::OutOfMemory => Self::OutOfMemory,
            error => Self::BadUnwindInfo(error),
        }
    }
}

/// What is known of a range of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CodeRange {
    /// Addresses of the code.
    pub(crate) text: Range<usize>,
    /// Addresses of its `.eh_frame_hdr`.
    pub(crate) header: Range<usize>,
}

/// A [`CodeRange`] in the table.
pub(crate) struct Entry([AtomicUsize; 4]);

impl Entry {
    #[allow(clippy::declare_interior_mutable_const, reason = "only to fill arrays")]
    pub(crate) const EMPTY: Self = Self([const { AtomicUsize::new(0) }; 4]);

    fn load(&self) -> CodeRange {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i: usize| self.0[i].load(Ordering::Relaxed));
        CodeRange { text: a..b, header: c..d }
    }

    fn store(&self, range: &CodeRange) {
        let words = [range.text.start, range.text.end, range.header.start, range.header.end];
        for (to, word) in self.0.iter().zip(words) {
            to.store(word, Ordering::Relaxed);
        }
    }

    fn start(&self) -> usize {
        self.0[0].load(Ordering::Relaxed)
    }
}

/// The table. There is one, `REGISTRY`; tests have their own.
pub(crate) struct Registry {
    /// Odd while a writer is at work.
    sequence: AtomicUsize,
    /// The array in use, and its length. Arrays live for ever.
    entries: AtomicPtr<Entry>,
    capacity: AtomicUsize,
    /// Number of entries in use; they are sorted by address and do not overlap.
    length: AtomicUsize,
    /// Held by a writer.
    locked: AtomicBool,
}

impl Registry {
    /// An empty table that begins with the array `initial`.
    pub(crate) const fn new(initial: &'static [Entry]) -> Self {
        Self {
            sequence: AtomicUsize::new(0),
            entries: AtomicPtr::new(initial.as_ptr().cast_mut()),
            capacity: AtomicUsize::new(initial.len()),
            length: AtomicUsize::new(0),
            locked: AtomicBool::new(false),
        }
    }

    /// Number of ranges.
    pub(crate) fn len(&self) -> usize {
        self.length.load(Ordering::Relaxed)
    }

    /// The range that `pc` lies in.
    pub(crate) fn find(&self, pc: usize) -> Option<CodeRange> {
        loop {
            let before = self.sequence.load(Ordering::Acquire);
            if !before.is_multiple_of(2) {
                core::hint::spin_loop();
                continue;
            }
            let entries = self.entries.load(Ordering::Relaxed);
            let length = self.length.load(Ordering::Relaxed);
            // Array and length must belong together before the array is looked at.
            if !self.unchanged_since(before) {
                continue;
            }
            // SAFETY: the array has at least `length` entries, was initialised before it was published (the sequence
            // number was loaded with acquire ordering), lives for ever, and is only changed through atomics.
            let entries = unsafe { core::slice::from_raw_parts(entries, length) };
            let found = entries.partition_point(|entry| entry.start() <= pc);
            let found = found.checked_sub(1).map(|index| entries[index].load());
            if self.unchanged_since(before) {
                return found.filter(|range| range.text.contains(&pc));
            }
        }
    }

    fn unchanged_since(&self, sequence: usize) -> bool {
        fence(Ordering::Acquire);
        self.sequence.load(Ordering::Relaxed) == sequence
    }

    /// Adds `range`.
    pub(crate) fn insert(&self, range: &CodeRange) -> Result<(), RegisterError> {
        if range.text.is_empty() {
            return Err(RegisterError::EmptyText);
        }
        // Declared before the writer, hence freed (if it turns out not to be needed) after the lock was released.
        let mut spare = Vec::new();
        let mut writer = self.lock();
        while writer.entries().len() == writer.capacity() {
            let wanted = writer.capacity() * 2;
            if spare.capacity() >= wanted {
                writer.replace_array(spare);
                break;
            }
            // Allocate without the lock: the allocator may take its time, or panic.
            drop(writer);
            spare = Vec::new();
            spare.try_reserve_exact(wanted).map_err(|_| RegisterError::OutOfMemory)?;
            spare.resize_with(wanted, || Entry::EMPTY);
            writer = self.lock();
        }

        let entries = writer.entries();
        let index = entries.partition_point(|entry| entry.start() < range.text.start);
        for neighbour in entries.iter().skip(index.saturating_sub(1)).take(2) {
            let text = neighbour.load().text;
            if text.start < range.text.end && range.text.start < text.end {
                return Err(RegisterError::Overlaps { text });
            }
        }
        writer.change(|entries, length| {
            for i in (index..length).rev() {
                entries[i + 1].store(&entries[i].load());
            }
            entries[index].store(range);
            length + 1
        });
        Ok(())
    }

    /// Takes away the range whose text starts at `start`; says whether there was one.
    pub(crate) fn remove(&self, start: usize) -> bool {
        let writer = self.lock();
        let Ok(index) = writer.entries().binary_search_by_key(&start, Entry::start) else {
            return false;
        };
        writer.change(|entries, length| {
            for i in index + 1..length {
                entries[i - 1].store(&entries[i].load());
            }
            length - 1
        });
        true
    }

    fn lock(&self) -> Writer<'_> {
        loop {
            let interrupts = hold_interrupts();
            if !self.locked.swap(true, Ordering::Acquire) {
                return Writer { registry: self, _interrupts: interrupts };
            }
            // Do not keep interrupts off while waiting.
            drop(interrupts);
            core::hint::spin_loop();
        }
    }
}

/// The right to change the table; interrupts are off while it lives.
struct Writer<'a> {
    registry: &'a Registry,
    _interrupts: HeldInterrupts,
}

impl Writer<'_> {
    fn capacity(&self) -> usize {
        self.registry.capacity.load(Ordering::Relaxed)
    }

    /// The entries in use.
    fn entries(&self) -> &[Entry] {
        &self.array()[..self.registry.length.load(Ordering::Relaxed)]
    }

    fn array(&self) -> &[Entry] {
        // SAFETY: array and capacity belong together (only writers change them, and we are the only one); arrays live
        // for ever and are changed only through atomics.
        unsafe { core::slice::from_raw_parts(self.registry.entries.load(Ordering::Relaxed), self.capacity()) }
    }

    /// Calls `f` with the whole array and the number of entries in use, and sets the number it returns. Readers wait
    /// meanwhile, so `f` must not panic.
    fn change(&self, f: impl FnOnce(&[Entry], usize) -> usize) {
        let registry = self.registry;
        let sequence = registry.sequence.load(Ordering::Relaxed);
        registry.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        // What follows must not become visible before the odd number has.
        fence(Ordering::Release);
        let length = f(self.array(), registry.length.load(Ordering::Relaxed));
        registry.length.store(length, Ordering::Relaxed);
        registry.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// Goes on with the larger array `spare`; the present one is left to readers that may be looking at it.
    fn replace_array(&self, spare: Vec<Entry>) {
        for (to, from) in spare.iter().zip(self.entries()) {
            to.store(&from.load());
        }
        let spare = spare.leak();
        self.change(|_, length| {
            self.registry.entries.store(ptr::from_mut(spare).cast(), Ordering::Relaxed);
            self.registry.capacity.store(spare.len(), Ordering::Relaxed);
            length
        });
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.registry.locked.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
