//! Loading when memory is short.

use alloc::vec::Vec;

use memory::{MappedPages, PteFlags};
use mod_mgmt::CrateNamespace;

use crate::sample::{Sample, State, application_namespace, program};

/// How many frames are left free: enough for the heap, for page tables and for other tasks, too few for the engine.
const FRAMES_LEFT: usize = 100;

/// Takes all frames but a few.
fn take_frames() -> Vec<MappedPages> {
    let mut taken = Vec::with_capacity(64);
    // Page tables come out of what is left, so this takes several steps.
    while taken.len() < taken.capacity() {
        let more = (frame_allocator::free_frames().saturating_sub(FRAMES_LEFT)) * 511 / 512;
        if more < 2 {
            break;
        }
        let flags = PteFlags::new().valid(true).writable(true);
        taken.extend(memory::create_mapping(more * memory::PAGE_SIZE, flags));
    }
    taken
}

pub fn too_little_memory_is_an_error() {
    let namespace = application_namespace();
    let file = program(&namespace, "wasm_run-");
    let mmi = memory::get_kernel_mmi_ref().expect("there is an address space");
    let load = || CrateNamespace::load_crate_as_application(&namespace, &file, mmi, false);
    // The first round lets tables grow to what they will need.
    drop(load().expect("with memory, wasm_run loads"));
    let before = State::now();
    const ROUNDS: usize = 10;
    for _ in 0..ROUNDS {
        let taken = take_frames();
        let error = load().err();
        drop(taken);
        let error = error.expect("the engine does not fit");
        assert!(!alloc::format!("{error}").contains('\n'), "{error}");
        assert_eq!(State::now().crates, before.crates, "crates that were loaded on the way are gone");
    }
    before.assert_same_now();
    before.assert_no_leak_since(ROUNDS);
    drop(Sample::load());
}
