//! What the system has in use.

use sleep::Duration;

/// What the system has in use and what is free, of everything that a program could leave behind. Holds nothing on the heap,
/// so that keeping one does not show in the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InUse {
    /// Frames as [`free_frames`] counts them.
    pub free_frames: usize,
    /// Pages that are free for other things than the heap.
    pub free_pages: usize,
    /// Pages that are free for code.
    pub free_code_pages: usize,
    /// Blocks on the heap.
    pub heap_blocks: usize,
    /// Bytes on the heap.
    pub heap_bytes: usize,
    /// Ranges of code that the unwinder knows.
    pub code_ranges: usize,
    /// Crates that are loaded.
    pub crates: usize,
    /// Tasks that exist.
    pub tasks: usize,
}

impl InUse {
    /// As it is when nobody gives anything back any more: the same twice, with a pause between. A task that has ended is still
    /// being taken apart when nobody finds it any more, and on another processor.
    fn settled() -> Self {
        const PAUSE: Duration = Duration::from_millis(2);
        const TRIES: usize = 100;
        let mut now = Self::now();
        for _ in 0..TRIES {
            // A task that cannot sleep has no others to wait for either.
            let _ = sleep::sleep(PAUSE);
            let before = core::mem::replace(&mut now, Self::now());
            if now == before {
                break;
            }
        }
        now
    }

    /// As it is now. Memory that the heap merely keeps for reuse is given back first.
    pub fn now() -> Self {
        let (crates, tasks) = (mod_mgmt::all_crates().len(), task::all_tasks().len());
        heap::trim();
        let heap = heap::statistics();
        let [general, _, code] = page_allocator::statistics();
        Self {
            free_frames: free_frames(),
            free_pages: general.free,
            free_code_pages: code.free,
            heap_blocks: heap.allocations,
            heap_bytes: heap.in_use,
            code_ranges: unwind::code_range_count(),
            crates,
            tasks,
        }
    }
}

/// How many frames nothing has that could be left behind. Page tables and the heap's slabs count as free: how many of those it
/// takes depends on where things lie. What is in use of the heap is told by its blocks and bytes.
pub fn free_frames() -> usize {
    frame_allocator::free_frames() + memory::page_tables() + heap::statistics().mapped / memory::PAGE_SIZE
}

/// Runs `action` and panics unless the system has in use afterwards just what it had before.
///
/// The first run does not count: it lets tables grow to their size. Other tasks may come by some memory meanwhile; what is
/// lost for good is lost every time, so that one clean run in a few proves the point.
pub fn leaves_nothing(mut action: impl FnMut()) {
    const ATTEMPTS: usize = 3;
    action();
    let mut difference = None;
    for _ in 0..ATTEMPTS {
        let before = InUse::settled();
        action();
        let after = InUse::settled();
        if before == after {
            return;
        }
        difference = Some((before, after));
    }
    panic!("something is left behind each time: {difference:?}");
}
