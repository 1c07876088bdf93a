//! What is not mapped, or not allowed, faults: the processor obeys the page tables, and forgets what they said before.
//!
//! A fault ends as an unwinding of who caused it, which is caught here.

use crate::leaks_nothing;
use crate::mappings::{RO, RW};
use catch_unwind::catch_unwind_with_arg;
use core::hint::black_box;
use memory::{Mapper, create_mapping, reserve_pages};
use task_struct::KillReason;

const PAGE_FAULT: u8 = 14;

#[inline(never)]
fn read(address: usize) {
    // SAFETY: the tests that call this want the fault that it causes, or know the address to be mapped.
    black_box(unsafe { black_box(address as *const u8).read_volatile() });
}

#[inline(never)]
fn write(address: usize) {
    // SAFETY: the tests that call this want the fault that it causes, or own what is at the address.
    unsafe { black_box(address as *mut u8).write_volatile(1) };
}

#[inline(never)]
fn execute(address: usize) {
    // SAFETY: the tests that call this want the fault that it causes.
    let function = unsafe { core::mem::transmute::<usize, fn()>(black_box(address)) };
    function();
    black_box(address);
}

fn faults(access: fn(usize), address: usize) -> bool {
    // The call is to a function unknown to the compiler, which must not conclude that it never unwinds.
    let result = catch_unwind_with_arg(black_box(access), address);
    assert!(matches!(result, Ok(()) | Err(KillReason::Exception(PAGE_FAULT))), "{result:?}");
    result.is_err()
}

pub fn page_zero() {
    for address in [0, 1, 4095, 0x8000, 0xF_FFFF] {
        assert!(faults(read, address) && faults(write, address), "{address:#x}");
    }
}

pub fn unmapped_memory() {
    leaks_nothing(|| {
        let mapped = create_mapping(3 * 4096, RW).unwrap();
        let start = mapped.start_address().value();
        assert!(!faults(write, start) && !faults(read, start + 2 * 4096));
        let (low, high) = {
            let middle = *mapped.start() + 1;
            mapped.split(middle).unwrap()
        };
        drop(high);
        assert!(faults(read, start + 4096) && faults(read, start + 3 * 4096 - 1));
        assert!(!faults(write, start + 4095), "what was kept is still there");
        drop(low);
        assert!(faults(read, start));
    });
}

pub fn protected_memory() {
    leaks_nothing(|| {
        let mut mapped = create_mapping(4096, RW).unwrap();
        let start = mapped.start_address().value();
        assert!(!faults(write, start));
        mapped.remap(&mut Mapper::current(), RO).unwrap();
        assert!(faults(write, start) && !faults(read, start));
        assert!(faults(execute, start), "data is not executable");
        mapped.remap(&mut Mapper::current(), RO.executable(true)).unwrap();
        assert!(faults(write, start), "code is not writable");
        mapped.remap(&mut Mapper::current(), RW).unwrap();
        assert!(!faults(write, start));
    });
    let constant: &'static str = black_box("constants are not writable");
    assert!(faults(write, constant.as_ptr().addr()));
    assert!(faults(write, page_zero as fn() as usize), "code is not writable");
}

pub fn reservations() {
    leaks_nothing(|| {
        let mut memory = reserve_pages(5 << 30).unwrap();
        let base = memory.start_address().value();
        assert!(faults(read, base) && faults(write, base + (4 << 30)));
        memory.commit(0..8 << 20, RW).unwrap();
        assert!(!faults(write, base) && !faults(write, base + (8 << 20) - 1));
        assert!(faults(read, base + (8 << 20)), "not committed");
        // Within pages of 2 MiB, which the processor has used by now.
        memory.protect(3 << 20..4 << 20, RO).unwrap();
        memory.decommit(5 << 20..(5 << 20) + 4096).unwrap();
        assert!(faults(write, base + (3 << 20)) && !faults(read, base + (3 << 20)));
        assert!(!faults(write, base + (4 << 20)) && !faults(write, base + (3 << 20) - 1));
        assert!(faults(read, base + (5 << 20)) && !faults(write, base + (5 << 20) + 4096));
        memory.decommit(0..5 << 30).unwrap();
        assert!(faults(read, base) && faults(read, base + (6 << 20)));
    });
}
