//! CPU exceptions: traps that somebody handles, and faults that end a task.

use crate::lives::{reason_of, spawn, value_of};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use signal_handler::{ErrorCode, Resume, Signal, TrapContext};
use task::KillReason;

pub const TESTS: &[(&str, fn())] = &[
    ("a fault ends its task, and drops what its callers own", a_fault_ends_its_task),
    ("a fault does not leave preemption and interrupts off", a_fault_with_guards),
    ("faults of every kind", faults_of_every_kind),
    ("a call into nowhere", a_call_into_nowhere),
    ("a stack overflow ends its task, and drops what its outer callers own", a_stack_overflow_ends_its_task),
    ("a stack overflow where nothing can panic ends its task", a_stack_overflow_where_nothing_can_panic),
    ("a large frame does not reach across the guard", a_large_frame_does_not_reach_across_the_guard),
    ("a nonsensical stack pointer ends its task only", a_nonsensical_stack_pointer),
    ("a breakpoint is passed", a_breakpoint_is_passed),
    ("the trap handler, 20,000 times in four tasks", the_trap_handler),
    ("a trap handler that declines", a_trap_handler_that_declines),
    ("the interrupt hook ends an endless loop", the_interrupt_hook),
    ("a signal handler is called once, on the task's stack", a_signal_handler),
];

const DIVIDE_ERROR: u8 = 0;
const INVALID_OPCODE: u8 = 6;
const GENERAL_PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;

/// Why a task that calls `f` ends, which must be an exception.
fn exception_of(f: impl FnOnce() + Send + 'static) -> u8 {
    match reason_of(&spawn(f)) {
        KillReason::Exception(vector) => vector,
        other => panic!("ended otherwise: {other}"),
    }
}

fn invalid_instruction() {
    // SAFETY: raises #UD, which ends the task here.
    unsafe { asm!("ud2") };
}

/// Sets a flag when it is dropped.
struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The compiler must think that it could panic, or else it lays out no landing pads in its callers.
#[inline(never)]
fn faulting_callee() {
    assert!(!core::hint::black_box(false));
    invalid_instruction();
}

fn a_fault_ends_its_task() {
    let dropped = Arc::new(AtomicBool::new(false));
    let witness = dropped.clone();
    let before = exceptions_full::fatal_faults();
    let vector = exception_of(move || {
        let _on_drop = OnDrop(witness);
        faulting_callee();
    });
    assert_eq!(vector, INVALID_OPCODE);
    assert!(dropped.load(Ordering::SeqCst), "the caller's value was not dropped");
    assert_eq!(exceptions_full::fatal_faults(), before + 1);
}

static ENDED_WITH_GUARDS: AtomicBool = AtomicBool::new(false);

/// Notes, when the task ends, whether somebody keeps it from being preempted or interrupted.
struct LooksForGuards;

impl Drop for LooksForGuards {
    fn drop(&mut self) {
        let guarded = !irq_safety::interrupts_enabled() || !preemption::preemption_enabled();
        ENDED_WITH_GUARDS.store(guarded, Ordering::SeqCst);
    }
}

thread_local_macro::thread_local! {
    static LOOKS_FOR_GUARDS: LooksForGuards = const { LooksForGuards };
}

fn a_fault_with_guards() {
    ENDED_WITH_GUARDS.store(true, Ordering::SeqCst);
    let vector = exception_of(|| {
        LOOKS_FOR_GUARDS.with(|_| ());
        let _preemption = preemption::hold_preemption();
        let _interrupts = irq_safety::hold_interrupts();
        invalid_instruction();
    });
    assert_eq!(vector, INVALID_OPCODE);
    assert!(!ENDED_WITH_GUARDS.load(Ordering::SeqCst), "they were not released");
}

/// Writes a byte to an address where that faults.
fn write_to(address: usize) {
    // SAFETY: the tests call it with addresses that cannot be written to: the task ends here.
    unsafe { core::ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(1) };
}

/// Calls an address where there is no code, or none that may be executed.
#[inline(always)]
fn call(address: usize) {
    // SAFETY: the call faults, and the task ends, as the tests want.
    unsafe { core::mem::transmute::<usize, extern "C-unwind" fn()>(core::hint::black_box(address))() };
}

fn divide_by_zero() {
    // SAFETY: raises #DE, which ends the task here.
    unsafe { asm!("xor edx, edx", "xor ecx, ecx", "div ecx", out("eax") _, out("ecx") _, out("edx") _) };
}

fn faults_of_every_kind() {
    assert_eq!(exception_of(|| write_to(8)), PAGE_FAULT);
    assert_eq!(exception_of(divide_by_zero), DIVIDE_ERROR);
    let not_canonical = 0x0123_4567_89ab_cdef;
    assert_eq!(exception_of(move || write_to(not_canonical)), GENERAL_PROTECTION);
    let code = a_fault_ends_its_task as fn() as usize;
    assert_eq!(exception_of(move || write_to(code)), PAGE_FAULT);
    let data: Box<[u8; 16]> = Box::new([0xC3; 16]);
    let address = data.as_ptr() as usize;
    assert_eq!(exception_of(move || call(address)), PAGE_FAULT);
}

fn a_call_into_nowhere() {
    let dropped = Arc::new(AtomicBool::new(false));
    let witness = dropped.clone();
    let vector = exception_of(move || {
        let _on_drop = OnDrop(witness);
        call(0x10);
    });
    assert_eq!(vector, PAGE_FAULT);
    assert!(dropped.load(Ordering::SeqCst), "the caller's value was not dropped");
}

#[inline(never)]
fn recurse(depth: usize) -> usize {
    // Without something that could panic, the compiler lays out no landing pads in the callers.
    assert!(depth != usize::MAX);
    let room = core::hint::black_box([depth; 32]);
    recurse(depth + 1) + room[depth % 32]
}

fn a_stack_overflow_ends_its_task() {
    for _ in 0..3 {
        let dropped = Arc::new(AtomicBool::new(false));
        let witness = dropped.clone();
        let vector = exception_of(move || {
            let _on_drop = OnDrop(witness);
            core::hint::black_box(recurse(0));
        });
        assert_eq!(vector, PAGE_FAULT);
        assert!(dropped.load(Ordering::SeqCst), "what the outermost function owns was not dropped");
    }
    assert_eq!(value_of::<i32>(&spawn(|| 3)), 3, "tasks do not work any more");
}

/// Like [`recurse`], but the compiler sees that it never panics, and lays out no way to unwind through its callers.
#[inline(never)]
fn recurse_quietly(depth: usize) -> usize {
    let [first, second, third, ..] = core::hint::black_box([depth; 64]);
    if first == usize::MAX {
        return 0;
    }
    recurse_quietly(second.wrapping_add(1)).wrapping_add(third)
}

fn a_stack_overflow_where_nothing_can_panic() {
    let free_frames = || {
        heap::trim();
        ktest_system::free_frames()
    };
    let overflow = || {
        assert_eq!(exception_of(|| _ = core::hint::black_box(recurse_quietly(0))), PAGE_FAULT);
    };
    overflow();
    let before = free_frames();
    overflow();
    assert_eq!(free_frames(), before, "free frames before and after");
}

/// Calls itself with frames of 16 KiB, of which it touches the far end first.
#[inline(never)]
fn recurse_in_large_steps(depth: usize) -> usize {
    let mut room = core::mem::MaybeUninit::<[u8; 16 << 10]>::uninit();
    // SAFETY: the byte is within the array.
    unsafe { core::hint::black_box(room.as_mut_ptr()).cast::<u8>().write_volatile(depth as u8) };
    if depth == usize::MAX {
        return 0;
    }
    let deeper = recurse_in_large_steps(depth + 1);
    core::hint::black_box(&mut room);
    deeper + 1
}

fn a_large_frame_does_not_reach_across_the_guard() {
    const PAGES: usize = 16;
    let new_stack =
        || stack::alloc_stack(PAGES, &mut memory::Mapper::current()).expect("there is memory for stacks");
    // Two stacks, one right below the guard of the other.
    let mut below = new_stack();
    let mut others = Vec::new();
    let above = loop {
        let next = new_stack();
        if next.guard_page().start_address() == below.top_unusable() {
            break next;
        }
        others.push(core::mem::replace(&mut below, next));
        assert!(others.len() < 100, "no two stacks lie side by side");
    };
    let task = spawn::new_task_builder(recurse_in_large_steps, 0).stack(above).spawn().unwrap();
    let reason = reason_of(&task);
    assert!(matches!(reason, KillReason::Exception(PAGE_FAULT)), "{reason}");
    assert!(below.as_slice::<u8>(0, PAGES * 4096).unwrap().iter().all(|byte| *byte == 0));
}

fn a_nonsensical_stack_pointer() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);

    struct Counted;

    impl Drop for Counted {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[inline(never)]
    fn lose_the_stack() {
        // SAFETY: the push faults, since page 0 is never mapped, and the task ends there.
        unsafe { asm!("mov rsp, 0x800", "push rax", options(noreturn)) }
    }

    let before = DROPPED.load(Ordering::Relaxed);
    let vector = exception_of(|| {
        let _counted = Counted;
        // The compiler must not know that this one never panics.
        let lose_the_stack: fn() = core::hint::black_box(lose_the_stack);
        lose_the_stack();
    });
    assert_eq!(vector, PAGE_FAULT);
    assert_eq!(DROPPED.load(Ordering::Relaxed) - before, 1, "callers are found by the frame pointer");
}

fn a_breakpoint_is_passed() {
    // SAFETY: a breakpoint only prints the registers to the log.
    unsafe { asm!("int3") };
}

/// What the test's trap handler was asked about.
static TRAPS_SEEN: AtomicUsize = AtomicUsize::new(0);
/// The size of `ud2`.
const UD2_SIZE: u64 = 2;

/// Lets the task go on behind a `ud2` whose task says so in rax, with a result in rdx.
fn skip_ud2(context: &mut TrapContext<'_>) -> Option<Resume> {
    if context.vector != INVALID_OPCODE || context.registers.rax != 0x7E57 {
        return None;
    }
    TRAPS_SEEN.fetch_add(1, Ordering::Relaxed);
    context.registers.rip += UD2_SIZE;
    context.registers.rdx = context.registers.rcx + 1;
    Some(Resume::All)
}

fn trap(number: u64) -> u64 {
    let result;
    // SAFETY: raises #UD, behind which `skip_ud2` lets the task go on with rdx changed.
    unsafe { asm!("ud2", in("rax") 0x7E57, in("rcx") number, lateout("rdx") result, options(nostack)) };
    result
}

/// Sets a trap handler for as long as it lives, then the former one again.
struct TrapHandlerSet(Option<signal_handler::TrapHandler>);

impl TrapHandlerSet {
    fn new(handler: signal_handler::TrapHandler) -> Self {
        TrapHandlerSet(signal_handler::set_trap_handler(Some(handler)))
    }
}

impl Drop for TrapHandlerSet {
    fn drop(&mut self) {
        signal_handler::set_trap_handler(self.0);
    }
}

fn the_trap_handler() {
    const TASKS: u64 = 4;
    const TRAPS: u64 = 5_000;
    let _set = TrapHandlerSet::new(skip_ud2);
    let before = TRAPS_SEEN.load(Ordering::Relaxed);
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            spawn(move || (0..TRAPS).all(|number| trap(task << 32 | number) == (task << 32 | number) + 1))
        })
        .collect();
    assert!(tasks.iter().all(value_of::<bool>), "a trap brought the wrong result");
    assert_eq!(TRAPS_SEEN.load(Ordering::Relaxed) - before, (TASKS * TRAPS) as usize);
}

fn a_trap_handler_that_declines() {
    let _set = TrapHandlerSet::new(skip_ud2);
    assert_eq!(exception_of(invalid_instruction), INVALID_OPCODE);
}

/// Where `end_loop` sends a task that spins in `spin_forever`.
static HOOK_CALLS: AtomicUsize = AtomicUsize::new(0);

/// Lets the loop of `spin_forever`, which has this number in rax, end.
fn end_loop(context: &mut TrapContext<'_>) -> Option<Resume> {
    HOOK_CALLS.fetch_add(1, Ordering::Relaxed);
    if context.registers.rax != 0x7E57_1009 {
        return None;
    }
    context.registers.rcx = 0;
    Some(Resume::All)
}

fn the_interrupt_hook() {
    let former = signal_handler::set_interrupt_hook(Some(end_loop));
    let task = spawn(|| {
        // SAFETY: loops until somebody changes rcx.
        unsafe {
            asm!("2:", "pause", "test rcx, rcx", "jnz 2b", in("rax") 0x7E57_1009_u64, inout("rcx") 1_u64 => _, options(nostack))
        };
        task::cancellation_pending()
    });
    let start = time::Instant::now();
    while start.elapsed() < Duration::from_millis(30) {
        task::schedule();
    }
    assert_eq!(
        HOOK_CALLS.load(Ordering::Relaxed),
        0,
        "the hook was called though nobody asked the task to end"
    );
    task.kill(KillReason::Requested).unwrap();
    let pending = value_of::<bool>(&task);
    signal_handler::set_interrupt_hook(former);
    assert!(pending, "the task does not know that it should end");
}

fn a_signal_handler() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let vector = exception_of(move || {
        signal_handler::register_signal_handler(
            Signal::InvalidAddress,
            Box::new(move |context| {
                let expected = ErrorCode::PageFaultError { accessed_address: 0x18, pf_error: 0 };
                assert_eq!(context.error_code, Some(expected));
                count.fetch_add(1, Ordering::SeqCst);
                Err(())
            }),
        )
        .unwrap();
        // SAFETY: page 0 is never mapped, so this faults and ends the task.
        unsafe { (0x18 as *const u64).read_volatile() };
    });
    assert_eq!(vector, PAGE_FAULT);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}
