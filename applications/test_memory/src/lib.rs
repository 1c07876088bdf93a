//! Tests of memory, page tables and heap that need the kernel: real page tables, real contents, the global
//! allocator.
//!
//! What can be tested on a host is tested there, beside the code. Each test here checks at its end that as
//! many frames and pages are free as at its beginning.
#![no_std]

extern crate alloc;

mod arenas;
mod faults;
mod heap_tests;
mod mappings;
mod reservations;

use alloc::string::String;
use alloc::vec::Vec;

/// Runs all tests; 0 if none failed.
pub fn main(_args: Vec<String>) -> isize {
    ktest::run(
        "memory",
        &[
            ("new mappings are zero", mappings::new_mappings_are_zero),
            ("typed access", mappings::typed_access),
            ("typed access is checked", mappings::typed_access_is_checked),
            ("borrowed views own their mapping", mappings::borrowed_views),
            ("contents stay through split, merge and remap", mappings::contents_stay),
            ("copies are copies", mappings::deep_copies),
            ("contiguous mappings", mappings::contiguous_mappings),
            ("writable and executable is refused", mappings::w_xor_x_is_refused),
            ("nothing is writable and executable", mappings::nothing_is_writable_and_executable),
            ("code runs where it may", mappings::code_runs_where_it_may),
            ("page 0 is not mapped", mappings::page_zero_is_not_mapped),
            ("stacks have a guard page", mappings::stacks_have_a_guard_page),
            ("frames have one owner", mappings::frames_have_one_owner),
            ("mapping a thousand times leaks nothing", mappings::mapping_leaks_nothing),
            ("reservations take no frames", reservations::reservations_take_no_frames),
            ("commit, write, decommit, commit", reservations::commit_and_decommit),
            ("protection in part", reservations::protection_in_part),
            ("large commits use huge pages", reservations::huge_pages),
            ("a linear memory grows and goes, 200 times", reservations::linear_memories_leak_nothing),
            ("too much is an error that changes nothing", reservations::too_much_is_an_error),
            ("page 0 faults", faults::page_zero),
            ("what was unmapped faults", faults::unmapped_memory),
            ("protection is obeyed", faults::protected_memory),
            ("what is not committed faults", faults::reservations),
            ("heap: blocks of all sizes and alignments", heap_tests::sizes_and_alignments),
            ("heap: random blocks keep their contents", heap_tests::random_blocks),
            ("heap: resizing keeps contents", heap_tests::resizing),
            ("heap: zeroed blocks are zero", heap_tests::zeroed_blocks),
            ("heap: collections", heap_tests::collections),
            ("heap: too much is an error", heap_tests::too_much_is_an_error),
            ("heap: half a million blocks come back", heap_tests::half_a_million_blocks),
            ("arena: contents stay, also of what outlives it", arenas::contents_and_places),
            ("arena: the limit is an error, and all comes back", arenas::the_limit_is_an_error),
            ("arena: cancelling ends all", arenas::cancelling_ends_all),
            ("arena: memory runs out for the arena only", arenas::memory_runs_out_for_the_arena_only),
            ("arena: a killed task gives everything back", arenas::a_killed_task_gives_everything_back),
            ("arena: a thousand", arenas::a_thousand_arenas),
            ("arena: blocks go between tasks", arenas::blocks_go_between_tasks),
        ],
    )
}

/// Frames and pages that are free, the heap's reserves not counted.
#[derive(Debug, PartialEq, Eq)]
struct Free {
    frames: usize,
    general_pages: usize,
    window_pages: usize,
}

impl Free {
    fn now() -> Self {
        heap::trim();
        let [general, _, window] = page_allocator::statistics();
        Self {
            frames: frame_allocator::free_frames(),
            general_pages: general.free,
            window_pages: window.free,
        }
    }
}

/// Runs `f` and checks that it leaves as many frames and pages free as it found.
///
/// Other tasks may allocate meanwhile; what is lost for good is lost every time, so that one clean run in a
/// few proves the point.
fn leaks_nothing(f: impl Fn()) {
    let mut difference = None;
    for _ in 0..4 {
        let before = Free::now();
        f();
        let after = Free::now();
        if before == after {
            return;
        }
        difference = Some((before, after));
    }
    panic!("memory is lost each time: {difference:?}");
}

/// xorshift64*, seeded: the same run every time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }
}
