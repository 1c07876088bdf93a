//! How much memory the arenas of one undertaking may take together.

use crate::arena::Inner;
use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use sync_irq::IrqSafeMutex;

/// Why an arena has no more memory for its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The budget's limit would be exceeded.
    Limit,
    /// The budget was cancelled.
    Cancelled,
    /// The machine has no more memory, apart from what arenas leave to others.
    OutOfMemory,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Limit => "the limit on memory is reached; raise it, or give less to do at once",
            Refusal::Cancelled => "the undertaking was cancelled",
            Refusal::OutOfMemory => "the machine is out of memory; free some, or give it more",
        })
    }
}

/// A limit on the memory of several [`Arena`](crate::Arena)s together, and the means to stop them.
///
/// What counts is what the arenas have taken from the system, in pieces of up to 2 MiB, whether or not it is in use. Each arena may
/// exceed the limit by what it gives in small blocks after a refusal, about 1 MiB.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
    peak: AtomicUsize,
    cancelled: AtomicBool,
    arenas: IrqSafeMutex<Arenas>,
}

/// The open arenas, linked by their [`Links`].
#[derive(Debug)]
struct Arenas(*const Inner);

// SAFETY: the list is only followed, and its members' links only used, with the budget's lock held; members are alive,
// since they leave the list before they go.
unsafe impl Send for Arenas {}

/// An arena's place in its budget's list. For who holds the budget's lock.
pub(crate) struct Links {
    next: *const Inner,
    previous: *const Inner,
}

impl Links {
    pub(crate) const fn new() -> Self {
        Self { next: ptr::null(), previous: ptr::null() }
    }
}

impl Budget {
    /// A budget of `limit` bytes.
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            used: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            cancelled: AtomicBool::new(false),
            arenas: IrqSafeMutex::new(Arenas(ptr::null())),
        }
    }

    /// The most bytes that the arenas may take before they refuse.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many bytes they have taken and not given back.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The most bytes that were taken at one time.
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// From now on allocations in the arenas are refused, small ones when each arena has given 1 MiB more. Cannot be undone.
    pub fn cancel(&self) {
        let arenas = self.arenas.lock();
        // With the lock held: an arena that is opened meanwhile either is in the list, or sees it.
        self.cancelled.store(true, Ordering::Release);
        let mut arena = arenas.0;
        while !arena.is_null() {
            // SAFETY: members of the list are alive, and the lock is held.
            unsafe {
                (*arena).refuse_fast();
                arena = (*(*arena).links()).next;
            }
        }
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Counts `bytes` that an arena is about to take.
    pub(crate) fn charge(&self, bytes: usize) -> Result<(), Refusal> {
        if self.is_cancelled() {
            return Err(Refusal::Cancelled);
        }
        let add = |used: usize| used.checked_add(bytes).filter(|&used| used <= self.limit);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            Ok(before) => {
                self.peak.fetch_max(before + bytes, Ordering::Relaxed);
                Ok(())
            }
            Err(_) => Err(Refusal::Limit),
        }
    }

    /// Counts `bytes` that an arena takes for a moment, whatever the limit.
    pub(crate) fn charge_always(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts `bytes` back that an arena has not taken after all, or given back.
    pub(crate) fn refund(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Puts an arena on the list.
    ///
    /// # Errors
    /// If the budget was cancelled.
    ///
    /// # Safety
    /// The arena is on no list, counts against this budget, and calls [`Budget::remove`] before it goes.
    pub(crate) unsafe fn add(&self, arena: *const Inner) -> Result<(), Refusal> {
        let mut arenas = self.arenas.lock();
        if self.is_cancelled() {
            return Err(Refusal::Cancelled);
        }
        // SAFETY: by this function's contract the arena is alive, as are members of the list; the lock is held.
        unsafe {
            *(*arena).links() = Links { next: arenas.0, previous: ptr::null() };
            if !arenas.0.is_null() {
                (*(*arenas.0).links()).previous = arena;
            }
        }
        arenas.0 = arena;
        Ok(())
    }

    /// Takes an arena off the list.
    ///
    /// # Safety
    /// It is on it.
    pub(crate) unsafe fn remove(&self, arena: *const Inner) {
        let mut arenas = self.arenas.lock();
        // SAFETY: the arena is a member, members of the list are alive, and the lock is held.
        unsafe {
            let Links { next, previous } = *(*arena).links();
            if previous.is_null() {
                arenas.0 = next;
            } else {
                (*(*previous).links()).next = next;
            }
            if !next.is_null() {
                (*(*next).links()).previous = previous;
            }
        }
    }
}
