//! Tests of the loader in a running kernel: what a host cannot show, because there nothing loaded is ever run.
#![no_std]

extern crate alloc;

mod damage;
mod sample;
mod scarcity;
mod threads;

use alloc::{string::String, vec::Vec};

use memory::{Mapper, PAGE_SIZE, VirtualAddress};
use mod_mgmt::{CrateNamespace, LoadedCrate, all_crates};

use sample::{Sample, State, application_namespace, program};

/// Runs the tests.
pub fn main(_args: Vec<String>) -> isize {
    ktest::run(
        "loader",
        &[
            ("a program is loaded, runs and goes", a_program_is_loaded_runs_and_goes),
            ("loading and unloading leaks nothing", loading_and_unloading_leaks_nothing),
            ("a program takes its libraries along", a_program_takes_its_libraries_along),
            ("every crate comes and goes", every_crate_comes_and_goes),
            ("two runs have variables of their own", two_runs_have_variables_of_their_own),
            ("no loaded page is writable and executable", no_loaded_page_is_writable_and_executable),
            ("a panic unwinds out of a loaded crate", a_panic_unwinds_out_of_a_loaded_crate),
            ("addresses have names", addresses_have_names),
            ("a running task sees variables of a later crate", threads::a_running_task_sees_a_later_crate),
            ("tasks load at the same time", threads::tasks_load_at_the_same_time),
            ("too little memory is an error", scarcity::too_little_memory_is_an_error),
            ("a missing symbol is told", damage::a_missing_symbol_is_told),
            ("a cut object is refused", damage::a_cut_object_is_refused),
            ("a damaged header is refused", damage::a_damaged_header_is_refused),
        ],
    )
}

fn a_program_is_loaded_runs_and_goes() {
    let before = State::now();
    let sample = Sample::load();
    assert_eq!(sample.count_in_crate(), sample::CRATE_START);
    assert_eq!(sample.count_in_crate(), sample::CRATE_START + 1);
    assert_eq!(sample.count_in_thread(), sample::THREAD_START);
    assert!(State::now().crates > before.crates);
    drop(sample);
    before.assert_same_now();
}

fn loading_and_unloading_leaks_nothing() {
    const ROUNDS: usize = 50;
    // The first round lets tables grow to what they will need.
    drop(Sample::load());
    let before = State::now();
    for _ in 0..ROUNDS {
        let sample = Sample::load();
        assert_eq!(sample.count_in_crate(), sample::CRATE_START, "variables begin anew");
        assert_eq!(sample.count_in_thread(), sample::THREAD_START, "thread-local ones too");
        assert_eq!(sample.sum_of_zeros(3), 0);
    }
    before.assert_same_now();
    before.assert_no_leak_since(ROUNDS);
}

fn a_program_takes_its_libraries_along() {
    const ENGINE: &str = "wasm_engine-";
    let namespace = application_namespace();
    let file = program(&namespace, "wasm_run-");
    let mmi = memory::get_kernel_mmi_ref().expect("there is an address space");
    let engine_is_loaded = || CrateNamespace::get_crate_starting_with(&namespace, ENGINE).is_some();
    let load =
        || CrateNamespace::load_crate_as_application(&namespace, &file, mmi, false).expect("wasm_run loads");
    let was_loaded = engine_is_loaded();
    // The first round lets tables grow to what they will need.
    drop(load());
    let before = State::now();
    const ROUNDS: usize = 10;
    for _ in 0..ROUNDS {
        let program = load();
        assert!(engine_is_loaded());
        drop(program);
        assert_eq!(engine_is_loaded(), was_loaded);
    }
    before.assert_same_now();
    before.assert_no_leak_since(ROUNDS);
}

fn every_crate_comes_and_goes() {
    const ROUNDS: usize = 10;
    let namespace = application_namespace();
    for part in [&namespace, namespace.recursive_namespace().expect("it has a parent")] {
        for file in part.dir().get_file_and_dir_names_starting_with("") {
            let Some(name) = file.strip_suffix(".o") else { continue };
            let load = || part.load_crate_by_name(name).unwrap_or_else(|error| panic!("{error}"));
            // The first rounds let tables grow to what they will need: what was removed takes room in a hash table, too, so
            // that one more round may make it grow once more.
            for _ in 0..3 {
                drop(load());
            }
            let before = State::now();
            for _ in 0..ROUNDS {
                drop(load());
            }
            before.assert_same_now();
            before.assert_no_leak_since(ROUNDS);
        }
    }
}

fn two_runs_have_variables_of_their_own() {
    let first = Sample::load();
    let second = Sample::load();
    first.count_in_crate();
    first.count_in_thread();
    assert_eq!(second.count_in_crate(), sample::CRATE_START);
    assert_eq!(second.count_in_thread(), sample::THREAD_START);
    drop(first);
    assert_eq!(second.count_in_crate(), sample::CRATE_START + 1);
}

fn no_loaded_page_is_writable_and_executable() {
    let _sample = Sample::load();
    for krate in all_crates() {
        let krate: &LoadedCrate = &krate;
        for (range, executable, writable) in [
            (krate.text_range(), true, false),
            (krate.rodata_range(), false, false),
            (krate.data_range(), false, true),
        ] {
            let Some(range) = range else { continue };
            for address in (range.start.value()..range.end.value()).step_by(PAGE_SIZE) {
                let flags =
                    Mapper::current().flags_of(VirtualAddress::new_canonical(address)).expect("it is mapped");
                let found = (flags.is_executable(), flags.is_writable());
                assert_eq!(found, (executable, writable), "{} at {address:#x}", krate.crate_name);
            }
        }
    }
}

fn a_panic_unwinds_out_of_a_loaded_crate() {
    let sample = Sample::load();
    let panics = sample.function::<fn(u32) -> u32>("loader_sample::panic_in_depth");
    for depth in [0, 1, 20] {
        assert!(catch_unwind::catch_unwind(|| panics(depth)).is_err());
    }
    assert_eq!(sample.count_in_crate(), sample::CRATE_START);
}

fn addresses_have_names() {
    let sample = Sample::load();
    let address = sample.section("loader_sample::count_in_crate").virt_addr.value();
    let mut found = None;
    assert!(mod_mgmt::symbolize(address + 3, &mut |info| {
        found = Some((
            info.crate_name.starts_with("loader_sample-"),
            info.symbol.contains("count_in_crate"),
            info.offset,
        ));
    }));
    assert_eq!(found, Some((true, true, 3)));
    let in_base = mod_mgmt::symbolize as *const () as usize;
    assert!(mod_mgmt::symbolize(in_base, &mut |info| assert_eq!(info.crate_name, "nano_core")));
    assert!(!mod_mgmt::symbolize(8, &mut |_| panic!("nothing is at address 8")));
    drop(sample);
    assert!(!mod_mgmt::symbolize(address + 3, &mut |_| panic!("the crate is gone")));
}
