//! The program `loader_sample`, loaded; and the state of the loader, to compare.

use alloc::{sync::Arc, vec::Vec};

use fs_node::FileRef;
use mod_mgmt::{AppCrateRef, CrateNamespace, StrongSectionRef, all_crates};

/// `THREAD_START` of loader_sample, which is not linked with.
pub const THREAD_START: u32 = 1000;
/// `CRATE_START` of loader_sample.
pub const CRATE_START: u32 = 5;

/// A namespace of programs.
pub fn application_namespace() -> Arc<CrateNamespace> {
    mod_mgmt::create_application_namespace(None).expect("a namespace for programs can be made")
}

/// The object file of a program.
pub fn program(namespace: &CrateNamespace, prefix: &str) -> FileRef {
    namespace.dir().get_file_starting_with(prefix).unwrap_or_else(|| panic!("there is no program {prefix}"))
}

/// The loaded program.
pub struct Sample {
    program: AppCrateRef,
}

impl Sample {
    /// Loads it.
    pub fn load() -> Self {
        let namespace = application_namespace();
        let file = program(&namespace, "loader_sample-");
        let mmi = memory::get_kernel_mmi_ref().expect("there is an address space");
        let program = CrateNamespace::load_crate_as_application(&namespace, &file, mmi, false);
        Sample { program: program.unwrap_or_else(|error| panic!("{error}")) }
    }

    /// Its function called `path`.
    pub fn section(&self, path: &str) -> StrongSectionRef {
        self.program.get_function_section(path).unwrap_or_else(|| panic!("there is no {path}"))
    }

    /// Its function called `path`, to be called as long as this value lives.
    pub fn function<F: Copy>(&self, path: &str) -> F {
        let section = self.section(path);
        // SAFETY: the callers below and in the tests give the types that loader_sample's functions have, and call them while
        // the sample is loaded.
        let function = unsafe { section.as_func::<F>() };
        *function.unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn count_in_thread(&self) -> u32 {
        self.function::<fn() -> u32>("loader_sample::count_in_thread")()
    }

    pub fn sum_of_zeros(&self, step: u32) -> u32 {
        self.function::<fn(u32) -> u32>("loader_sample::sum_of_zeros")(step)
    }

    pub fn count_in_crate(&self) -> u32 {
        self.function::<fn() -> u32>("loader_sample::count_in_crate")()
    }
}

/// What loading changes and unloading must change back.
pub struct State {
    pub crates: usize,
    symbols: usize,
    dynamic_tls: (usize, usize),
    code_ranges: usize,
    window_pages: usize,
    free_frames: usize,
    heap_allocations: usize,
    heap_bytes: usize,
}

impl State {
    pub fn now() -> Self {
        let tls = mod_mgmt::tls_usage();
        let areas = page_allocator::statistics();
        let window =
            areas.iter().find(|area| area.name == "crate window").expect("code has an area of its own");
        let heap = heap::statistics();
        State {
            crates: all_crates().len(),
            symbols: mod_mgmt::get_initial_kernel_namespace().map_or(0, |namespace| namespace.symbol_count()),
            dynamic_tls: (tls.dynamic_sections, tls.dynamic_bytes),
            code_ranges: unwind::code_range_count(),
            window_pages: window.free,
            // Memory that the heap maps and keeps is no leak.
            free_frames: frame_allocator::statistics().free + heap.mapped / memory::PAGE_SIZE,
            heap_allocations: heap.allocations,
            heap_bytes: heap.in_use,
        }
    }

    /// Panics unless all that the loader counts is as it was.
    pub fn assert_same_now(&self) {
        let now = State::now();
        assert_eq!(now.crates, self.crates, "loaded crates");
        assert_eq!(now.symbols, self.symbols, "symbols of the kernel's namespace");
        assert_eq!(now.dynamic_tls, self.dynamic_tls, "thread-local variables");
        assert_eq!(now.code_ranges, self.code_ranges, "unwind tables");
        assert_eq!(now.window_pages, self.window_pages, "pages for code");
    }

    /// Panics if memory has become less by more than a little in `rounds` rounds. Other tasks use some meanwhile, so the
    /// bound is less than one frame, one allocation and 64 bytes per round, which any leak of a round exceeds.
    pub fn assert_no_leak_since(&self, rounds: usize) {
        let now = State::now();
        let lost = |before: usize, now: usize| before.saturating_sub(now);
        assert!(
            lost(self.free_frames, now.free_frames) < rounds,
            "frames: {} then {}",
            self.free_frames,
            now.free_frames
        );
        assert!(
            lost(now.heap_allocations, self.heap_allocations) < rounds,
            "allocations: {} then {}",
            self.heap_allocations,
            now.heap_allocations
        );
        assert!(
            lost(now.heap_bytes, self.heap_bytes) < rounds * 64,
            "bytes on the heap: {} then {}",
            self.heap_bytes,
            now.heap_bytes
        );
    }
}

/// All bytes of a file.
pub fn contents(file: &FileRef) -> Vec<u8> {
    let mut file = file.lock();
    let mut bytes = alloc::vec![0; file.len()];
    let mut filled = 0;
    while filled < bytes.len() {
        let count = file.read_at(&mut bytes[filled..], filled).expect("the file can be read");
        assert!(count > 0, "the file is as long as it says");
        filled += count;
    }
    bytes
}
