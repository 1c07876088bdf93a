//! Who called whom.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{hint::black_box, ops::ControlFlow};

#[inline(never)]
fn outermost_function(trace: &mut dyn FnMut()) {
    middle_function(trace);
    black_box(());
}

#[inline(never)]
fn middle_function(trace: &mut dyn FnMut()) {
    innermost_function(trace);
    black_box(());
}

#[inline(never)]
fn innermost_function(trace: &mut dyn FnMut()) {
    trace();
    black_box(());
}

pub(crate) fn names() {
    let mut text = String::new();
    outermost_function(&mut || {
        stack_trace::print_stack_trace(&mut text, 100).expect("a string takes all");
    });
    // From the inside out, as lines of the backtrace.
    let position = |name: &str| {
        text.lines().position(|line| line.contains(name)).unwrap_or_else(|| panic!("no {name} in:\n{text}"))
    };
    let positions = [
        position("test_unwind::backtraces::innermost_function"),
        position("test_unwind::backtraces::middle_function"),
        position("test_unwind::backtraces::outermost_function"),
        position("test_unwind::backtraces::names+"),
    ];
    assert!(positions.is_sorted(), "{positions:?} in:\n{text}");
    assert_eq!(positions[2] - positions[0], 2, "nothing in between:\n{text}");
    assert!(text.contains("ktest::run"), "a frame of another loaded crate:\n{text}");
    assert!(text.contains("spawn::entry::enter"), "where the task began:\n{text}");

    let mut short = String::new();
    stack_trace::print_stack_trace(&mut short, 2).expect("a string takes all");
    assert_eq!(short.lines().count(), 3, "two frames, and that there are more:\n{short}");
}

pub(crate) fn frame_pointers_agree() {
    let mut by_tables = Vec::new();
    let mut by_frame_pointers = Vec::new();
    outermost_function(&mut || {
        stack_trace::stack_trace(
            &mut |frame| {
                by_tables.push(frame.instruction_pointer);
                true
            },
            None,
        );
        let frame_pointer: usize;
        // SAFETY: reads a register.
        unsafe { core::arch::asm!("mov {}, rbp", out(reg) frame_pointer, options(nomem, nostack)) };
        let (bottom, top) = task::with_current_task(|task| task.stack_bounds()).expect("this is a task");
        // SAFETY: the current task's stack, which only it writes to.
        unsafe {
            stack_trace::walk_frame_pointers(frame_pointer, bottom..top, &mut |_, return_address| {
                by_frame_pointers.push(return_address);
                ControlFlow::Continue(())
            });
        }
    });
    // The walk by tables begins within the closure, the other one with where that returns to.
    let hex = |addresses: &[usize]| addresses.iter().map(|a| format!("{a:#x}")).collect::<Vec<_>>().join(" ");
    assert!(by_frame_pointers.len() >= 5, "{}", hex(&by_frame_pointers));
    let start = by_tables.iter().position(|address| *address == by_frame_pointers[0]);
    let start = start.unwrap_or_else(|| panic!("{} in {}", hex(&by_frame_pointers), hex(&by_tables)));
    let common = &by_tables[start..start + 5];
    assert_eq!(hex(common), hex(&by_frame_pointers[..5]));
}

pub(crate) fn external_code() {
    // As the engine does with compiled code: memory that the loader knows nothing of.
    fn symbolizer(address: usize, f: &mut dyn FnMut(&stack_trace::Symbol<'_>)) -> bool {
        let known = unwind::code_range_containing(address).is_some_and(|text| text.len() == 64);
        if known {
            f(&stack_trace::Symbol { module: "hello.wasm", function: "answer", offset: 2 });
        }
        known
    }

    let text = alloc::vec![0xc3u8; 64];
    let address = text.as_ptr() as usize;
    let eh_frame = [0u8; 4];
    let tables = eh_frame.as_ptr() as usize..eh_frame.as_ptr() as usize + eh_frame.len();
    let name = || {
        let mut name = None;
        stack_trace::symbolize(address + 2, &mut |symbol| name = Some(symbol.to_string()));
        name
    };
    let count = unwind::code_range_count();
    // SAFETY: nobody executes it, so tables that describe nothing are correct.
    let guard =
        unsafe { unwind::register_code_range(address..address + 64, unwind::UnwindInfo::EhFrame(tables)) };
    let guard = guard.expect("nobody else has registered it");
    assert_eq!(unwind::code_range_count(), count + 1);
    assert_eq!(name(), None);
    let symbolizer = stack_trace::register_symbolizer(symbolizer).expect("there is room");
    assert_eq!(name().as_deref(), Some("answer+0x2 (hello.wasm)"));
    drop(symbolizer);
    assert_eq!(name(), None);
    drop(guard);
    assert_eq!(unwind::code_range_containing(address), None);
}
