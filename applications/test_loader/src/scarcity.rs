//! Loading when memory is short.

use alloc::{format, vec::Vec};

use memory::{MappedPages, PteFlags};
use mod_mgmt::CrateNamespace;

use crate::sample::{Sample, State, application_namespace, program};

/// Up to this many free frames are surely too few for the engine, whose crates take more than twice as many.
const SURELY_TOO_FEW: usize = 40;
/// The most frames that are left free.
const MOST: usize = 150;

/// Takes all frames but `left`, or a few more or less.
fn take_frames(left: usize) -> Vec<MappedPages> {
    let mut taken = Vec::with_capacity(64);
    // Page tables come out of what is left, so this takes several steps.
    while taken.len() < taken.capacity() {
        let more = frame_allocator::free_frames().saturating_sub(left) * 511 / 512;
        if more < 2 {
            break;
        }
        let flags = PteFlags::new().valid(true).writable(true);
        taken.extend(memory::create_mapping(more * memory::PAGE_SIZE, flags));
    }
    // The heap keeps memory of its own, which must be short too.
    heap::trim();
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
    let rounds = (0..MOST).step_by(5);
    for left in rounds.clone() {
        let taken = take_frames(left);
        let error = load().err();
        drop(taken);
        assert!(error.is_some() || left > SURELY_TOO_FEW, "with {left} free frames it was loaded");
        if let Some(error) = error {
            let text = format!("{error}");
            assert!(text.contains("memory") && text.lines().count() == 1, "with {left} free frames: {text}");
        }
        assert_eq!(State::now().crates, before.crates, "crates that were loaded on the way are gone");
    }
    before.assert_same_now();
    before.assert_no_leak_since(rounds.count());
    drop(Sample::load());
}
