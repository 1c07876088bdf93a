//! What a test has to leave as it found it.

use alloc::string::String;

/// What was free and loaded at some moment.
pub struct Resources {
    free_frames: usize,
    free_pages: usize,
    heap_bytes: usize,
    crates: usize,
    tasks: usize,
    code_ranges: usize,
}

impl Resources {
    /// As it is now.
    pub fn now() -> Self {
        let heap = heap::statistics();
        let areas = page_allocator::statistics();
        let crates = task::with_current_task(|task| task.get_namespace().crate_names(true).len());
        Self {
            // Memory that the heap maps and keeps is no leak.
            free_frames: frame_allocator::free_frames() + heap.mapped / memory::PAGE_SIZE,
            free_pages: areas.iter().filter(|area| area.name != "heap").map(|area| area.free).sum(),
            heap_bytes: heap.in_use,
            crates: crates.unwrap_or(0),
            tasks: task::all_tasks().len(),
            code_ranges: wasm_unwind::registered(),
        }
    }

    /// Fails if something was lost in `rounds` rounds since this was made. Caches may have been filled once, so the bound is
    /// less than one of each per round, which any leak of a round exceeds.
    pub fn assert_kept(&self, rounds: usize) {
        let now = Self::now();
        let lost = |before: usize, now: usize| before.saturating_sub(now);
        assert!(
            lost(self.free_frames, now.free_frames) < rounds,
            "frames: {} -> {}",
            self.free_frames,
            now.free_frames
        );
        assert!(
            lost(self.free_pages, now.free_pages) < rounds,
            "pages: {} -> {}",
            self.free_pages,
            now.free_pages
        );
        assert!(
            lost(now.heap_bytes, self.heap_bytes) < 16 * rounds,
            "heap bytes: {} -> {}",
            self.heap_bytes,
            now.heap_bytes
        );
        assert_eq!(self.crates, now.crates, "loaded crates: {}", loaded());
        assert!(now.tasks <= self.tasks, "tasks: {} -> {}", self.tasks, now.tasks);
        assert_eq!(self.code_ranges, now.code_ranges, "code ranges");
    }
}

fn loaded() -> String {
    let names = task::with_current_task(|task| task.get_namespace().crate_names(true));
    let names = names.unwrap_or_default();
    names.iter().map(|name| alloc::format!("{name} ")).collect()
}
