//! The base image: boots the machine, and holds only what it takes to load every other crate.
//!
//! `boot.s` brings the machine into 64-bit mode in the higher half. From there `nano_core_start` does, in this order,
//! what the loader needs: a log, the boot loader's information, this CPU's state, memory with real protections, the heap,
//! the files of the boot archive, unwind tables and thread-local storage of the base image, and the namespace of crates. Then
//! it loads the crate `captain`, which does everything else. Nothing here knows what tasks, interrupts or WebAssembly are.
//!
//! Every crate that this one depends on is linked into the base image whole, whether or not anything here calls it, since
//! the crates loaded later are linked against it.
#![no_std]

extern crate alloc;

mod layout;
mod tls;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use boot_info::{BootInfo, multiboot, phases, pvh};
use core::arch::asm;
use core::convert::Infallible;
use core::fmt::{self, Write};
use core::ops::Range;
use core::{mem, slice};
use kernel_config::memory::PHYS_MAP_BASE;
use memory::InitialLayout;
use mod_mgmt::BaseImage;
use unwind::UnwindInfo;
use vfs_node::VFSDirectory;

core::arch::global_asm!(include_str!("boot.s"));

/// How long the loop of the accelerator's trial is. See `tools/run_qemu`.
const PROBE_ITERATIONS: u64 = 1_000_000;

/// QEMU's isa-debug-exit device, as `run_qemu` sets it up.
const DEBUG_EXIT_PORT: u16 = 0xF4;

/// The signature of `captain::init`, which the loader finds by name.
type CaptainInit = fn(Range<usize>) -> Result<Infallible, String>;

/// Where `boot.s` goes, on the first stack and the first page tables.
///
/// `magic` and `information` are what the boot loader left in EAX and EBX.
#[unsafe(no_mangle)]
extern "C" fn nano_core_start(magic: u32, information: usize) -> ! {
    phases::start();
    memory_functions::init();
    logger::early_init();
    serial_port_basic::init();
    panic_entry::set_panic_output(|text| {
        let _ = logger::LastWords.write_str(text);
    });
    cpu::init_bsp();
    exceptions_early::init();
    // SAFETY: `boot.s` hands over what the boot loader left, and its page tables map the first 4 GiB at their own addresses.
    let info = unsafe {
        if magic == multiboot::MAGIC { multiboot::read(information) } else { pvh::read(information) }
    };
    match info {
        Ok(info) => {
            let Err(reason) = start(boot_info::set(info));
            give_up(&reason)
        }
        Err(reason) => give_up(&reason),
    }
}

/// The last thing that is said by a system that cannot start.
fn give_up(reason: &dyn fmt::Display) -> ! {
    let _ = writeln!(logger::LastWords, "the system cannot start: {reason}");
    loop {
        // SAFETY: stops this CPU for good; nothing else has been started that could need it.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// Why the system cannot start.
enum StartError {
    /// Before there is memory for more.
    Static(&'static str),
    /// With the details.
    Detailed(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StartError::Static(reason) => reason,
            StartError::Detailed(reason) => reason,
        })
    }
}

impl From<&'static str> for StartError {
    fn from(reason: &'static str) -> Self {
        StartError::Static(reason)
    }
}

/// The reason why some step failed, with the step's name.
fn detailed(step: &'static str) -> impl Fn(&dyn fmt::Display) -> StartError {
    move |reason| StartError::Detailed(format!("{step}: {reason}"))
}

/// Returns only the reason why the system cannot start.
fn start(info: &'static BootInfo) -> Result<Infallible, StartError> {
    for value in info.option("log").iter().flat_map(|list| list.split(',')) {
        if let Err(value) = logger::configure(value) {
            log::warn!("log={value} on the command line is neither `serial` nor a level");
        }
    }
    if info.option("probe").is_some() {
        probe();
    }
    let megabytes = info.usable.iter().map(|range| range.len()).sum::<usize>() >> 20;
    log::info!("started by {}, {megabytes} MiB of RAM", info.protocol);
    phases::end_of("boot information");

    tls::init()?;
    init_memory(info)?;
    phases::end_of("memory and heap");

    // SAFETY: the linker script puts the table over .eh_frame of just this text there, and both stay mapped for ever.
    unsafe { unwind::register_code_range(layout::text(), UnwindInfo::EhFrameHdr(layout::eh_frame_hdr())) }
        .map_err(|reason| detailed("unwind tables of the base image")(&reason))?
        .leak();
    phases::end_of("unwind tables");

    // SAFETY: memory::init keeps the archive, which is in RAM, out of the frame allocator and in the physical map for ever.
    // Nobody writes to it: the files in it are mapped read-only.
    let archive = unsafe {
        slice::from_raw_parts((PHYS_MAP_BASE + info.archive.start) as *const u8, info.archive.len())
    };
    bootloader_modules::set_boot_archive(archive);
    let files = bootloader_modules::mount(archive, root::get_root())
        .map_err(|reason| detailed("the boot archive")(&reason))?;
    log::info!("{files} files in the boot archive of {} KiB", archive.len() >> 10);
    VFSDirectory::create("tmp".into(), root::get_root())?;
    phases::end_of("files of the archive");

    // SAFETY: the linker script puts the initial values of thread-local variables there.
    let tls_image =
        unsafe { slice::from_raw_parts(layout::tls_image().start as *const u8, layout::tls_image().len()) };
    let namespace = mod_mgmt::init(
        root::get_root(),
        BaseImage {
            text: layout::text(),
            tls_image,
            tls_size: layout::tls_size(),
            tls_align: layout::tls_align(),
        },
    )
    .map_err(|reason| detailed("the loader")(&reason))?;
    early_tls::insert(
        namespace.get_tls_initializer_data().map_err(|reason| detailed("thread-local storage")(&reason))?,
    );
    phases::end_of("symbols and TLS");

    let captain =
        namespace.load_crate_by_name("captain").map_err(|reason| detailed("the crate captain")(&reason))?;
    phases::end_of("crates of captain");
    let init = captain
        .get_function_section("captain::init")
        .ok_or("the crate captain has no function captain::init")?;
    // Nothing unloads what holds the system up.
    mem::forget(captain);
    // SAFETY: captain::init has this signature; see there.
    let init =
        unsafe { init.as_func::<CaptainInit>() }.map_err(|reason| detailed("captain::init")(&reason))?;
    init(layout::stack()).map_err(StartError::Detailed)
}

/// Makes the final page tables, the allocators of frames and pages, and the heap.
fn init_memory(info: &BootInfo) -> Result<(), StartError> {
    let mut reserved = info.reserved.clone();
    reserved.try_push(layout::physical()).map_err(|_| "the boot loader reserves too many ranges")?;
    let mappings = memory::init(&InitialLayout {
        usable_ram: &info.usable,
        reserved: &reserved,
        text: layout::text(),
        rodata: layout::rodata(),
        data: layout::data(),
        stack_guard: layout::stack_guard(),
        stack: layout::stack(),
    })?;
    heap::init()?;
    memory::init_post_heap(mappings.page_table, Vec::new());
    // The base image and the first stack stay mapped for ever: these are never dropped.
    mem::forget((mappings.text, mappings.rodata, mappings.data, mappings.stack, mappings.stack_guard));
    Ok(())
}

/// What `run_qemu` times to learn whether KVM is worth using: a loop with SSE instructions in ring 0, then the end of the
/// machine by way of QEMU's debug-exit device.
fn probe() -> ! {
    let mut sum = 0.0f64;
    for step in 0..PROBE_ITERATIONS {
        sum += core::hint::black_box(step) as f64;
    }
    core::hint::black_box(sum);
    // SAFETY: on a machine with that device this ends it; elsewhere nothing is at that port, and the machine stops below.
    unsafe { asm!("out dx, eax", in("dx") DEBUG_EXIT_PORT, in("eax") 0, options(nomem, nostack)) };
    give_up(&"`probe` on the command line is for QEMU with isa-debug-exit only")
}
