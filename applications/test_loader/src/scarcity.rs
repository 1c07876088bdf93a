//! Loading when memory is short.

use alloc::{format, vec::Vec};

use frame_allocator::AllocatedFrames;
use mod_mgmt::CrateNamespace;

use crate::sample::{Sample, State, application_namespace, program};

/// Up to this many free frames are surely too few for the engine, whose crates take more than twice as many.
const SURELY_TOO_FEW: usize = 40;
/// The most frames that are left free.
const MOST: usize = 150;

/// Takes all frames but `left`, or a few more or less.
fn take_frames(left: usize) -> Vec<AllocatedFrames> {
    let mut taken = Vec::with_capacity(1000);
    // The heap keeps memory of its own, which must be short too.
    heap::trim();
    while taken.len() < taken.capacity() {
        let more = frame_allocator::free_frames().saturating_sub(left);
        let Some(frames) = frame_allocator::allocate_frames_up_to(more).filter(|_| more > 0) else { break };
        taken.push(frames);
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
