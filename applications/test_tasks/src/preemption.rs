//! Taking the CPU from tasks that do not give it back.

use crate::lives::{spawn, value_of, wait_for};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use cpu::CpuId;
use task::JoinableTaskRef;

pub const TESTS: &[(&str, fn())] = &[
    ("a spinning task lets others run", a_spinning_task_lets_others_run),
    ("turns are shared fairly", turns_are_shared_fairly),
    ("a guard keeps the task on the CPU", a_guard_keeps_the_task_on_the_cpu),
    ("preemption between block() and schedule() loses nothing", preemption_while_blocking),
    ("all general-purpose registers survive preemption", general_purpose_registers_survive),
    ("live XMM registers survive preemption", xmm_registers_survive),
    ("live YMM registers survive preemption", ymm_registers_survive),
    ("floating-point control words are the task's own", control_words_are_the_tasks_own),
    ("a woken task does not wait for a spinning one for long", a_woken_task_runs_soon),
];

/// Whether the test is over, for tasks that spin until it is.
#[derive(Clone, Default)]
struct Over(Arc<AtomicBool>);

impl Over {
    fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn declare(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn a_spinning_task_lets_others_run() {
    let over = Over::default();
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let over = over.clone();
            spawn(move || {
                while !over.is() {
                    core::hint::spin_loop();
                }
            })
        })
        .collect();
    // Getting here again after each turn of the others is the test.
    for _ in 0..5 {
        task::schedule();
    }
    over.declare();
    tasks.iter().for_each(value_of::<()>);
}

fn turns_are_shared_fairly() {
    // Time that goes by while a busy host runs nothing of us is charged to somebody; what is unfair is unfair every time.
    const ATTEMPTS: usize = 3;
    // What several CPUs do with more tasks than there are of them is tested in `test_smp`.
    let stay = task::scheduler::stay_on_this_cpu();
    let mut all_times = Vec::new();
    for _ in 0..ATTEMPTS {
        let times = times_of_equal_tasks(stay.cpu());
        let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        // A timeslice is 8 ms; a host that is busy can make a tick or two late.
        if *least > 0 && most - least <= 2 * 8 + 4 {
            return;
        }
        all_times.push(times);
    }
    panic!("milliseconds of equal tasks: {all_times:?}");
}

/// How many milliseconds each of three tasks got that never wait, all on one CPU, with this task.
fn times_of_equal_tasks(cpu: CpuId) -> Vec<u128> {
    let over = Over::default();
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let over = over.clone();
            spawn_on(cpu, move || {
                while !over.is() {
                    core::hint::spin_loop();
                }
            })
        })
        .collect();
    let start = time::Instant::now();
    while start.elapsed() < Duration::from_millis(300) {
        task::schedule();
    }
    let times = tasks.iter().map(|task| task::scheduler::cpu_time(task).as_millis()).collect();
    over.declare();
    tasks.iter().for_each(value_of::<()>);
    times
}

fn a_guard_keeps_the_task_on_the_cpu() {
    let turns = Arc::new(AtomicUsize::new(0));
    let over = Over::default();
    let stay = task::scheduler::stay_on_this_cpu();
    let task = {
        let (turns, over) = (turns.clone(), over.clone());
        spawn_on(stay.cpu(), move || {
            while !over.is() {
                turns.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    wait_for("the other task's first turn", || turns.load(Ordering::Relaxed) > 0);
    let guard = preemption::hold_preemption();
    let before = turns.load(Ordering::Relaxed);
    assert!(!task::schedule(), "a switch while preemption is forbidden");
    let start = time::Instant::now();
    while start.elapsed() < Duration::from_millis(40) {
        core::hint::spin_loop();
    }
    let after = turns.load(Ordering::Relaxed);
    drop(guard);
    assert_eq!(before, after, "the other task ran");
    over.declare();
    value_of::<()>(&task);
}

fn preemption_while_blocking() {
    let over = Over::default();
    let stay = task::scheduler::stay_on_this_cpu();
    let spinner = {
        let over = over.clone();
        spawn_on(stay.cpu(), move || {
            while !over.is() {
                core::hint::spin_loop();
            }
        })
    };
    let current = task::get_my_current_task().unwrap();
    current.block().unwrap();
    // Some timeslices go by, and nobody would unblock this task but itself.
    let start = time::Instant::now();
    while start.elapsed() < Duration::from_millis(50) {
        core::hint::spin_loop();
    }
    current.unblock().unwrap();
    over.declare();
    value_of::<()>(&spinner);
    assert!(
        !task::scheduler::cpu_time(&spinner).is_zero(),
        "this task was never preempted, so nothing was tested"
    );
}

/// Spawns a task that only this CPU runs.
fn spawn_on<R: Send + 'static>(cpu: CpuId, f: impl FnOnce() -> R + Send + 'static) -> JoinableTaskRef {
    spawn::new_task_builder(move |()| f(), ()).pin_on_cpu(cpu).spawn().expect("spawning failed")
}

/// Several tasks run `spin(seed)` at the same time; each returns false if it saw a register change. They run until the given
/// number of preemptions must have happened.
fn run_together(spin: fn(u64) -> bool) {
    const TASKS: u64 = 4;
    const DURATION: Duration = Duration::from_millis(250);
    let stay = task::scheduler::stay_on_this_cpu();
    let tasks: Vec<_> = (1..=TASKS)
        .map(|number| {
            spawn_on(stay.cpu(), move || {
                let start = time::Instant::now();
                while start.elapsed() < DURATION {
                    if !spin(number * 0x0101_0101_0101_0101) {
                        return false;
                    }
                }
                true
            })
        })
        .collect();
    for task in &tasks {
        assert!(value_of::<bool>(task), "a register changed");
    }
}

/// How often the loops below go round with live registers: some timeslices' worth.
const ROUNDS: u64 = 3_000_000;

fn general_purpose_registers_survive() {
    run_together(|seed| {
        let wrong: u64;
        // SAFETY: all registers that are written are declared, or saved and restored (rbx, rbp).
        unsafe {
            asm!(
                "push rbx",
                "push rbp",
                "mov rbx, rax", "mov rbp, rax", "mov rdx, rax", "mov rsi, rax", "mov rdi, rax",
                "mov r8, rax", "mov r9, rax", "mov r10, rax", "mov r11, rax", "mov r12, rax",
                "mov r13, rax", "mov r14, rax", "mov r15, rax",
                "2:",
                "dec rcx",
                "jnz 2b",
                "xor rbx, rax", "xor rbp, rax", "xor rdx, rax", "xor rsi, rax", "xor rdi, rax",
                "xor r8, rax", "xor r9, rax", "xor r10, rax", "xor r11, rax", "xor r12, rax",
                "xor r13, rax", "xor r14, rax", "xor r15, rax",
                "or rbx, rbp", "or rbx, rdx", "or rbx, rsi", "or rbx, rdi", "or rbx, r8", "or rbx, r9",
                "or rbx, r10", "or rbx, r11", "or rbx, r12", "or rbx, r13", "or rbx, r14", "or rbx, r15",
                "mov rax, rbx",
                "pop rbp",
                "pop rbx",
                inout("rax") seed => wrong,
                inout("rcx") ROUNDS => _,
                out("rdx") _, out("rsi") _, out("rdi") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            )
        };
        wrong == 0
    });
}

fn xmm_registers_survive() {
    run_together(|seed| {
        let pattern = [seed, !seed];
        let mut result = [0u64; 2];
        // SAFETY: reads `pattern`, writes `result`, and declares all registers it changes.
        unsafe {
            asm!(
                "movups xmm0, [{pattern}]",
                "movaps xmm1, xmm0", "movaps xmm2, xmm0", "movaps xmm3, xmm0", "movaps xmm4, xmm0",
                "movaps xmm5, xmm0", "movaps xmm6, xmm0", "movaps xmm7, xmm0", "movaps xmm8, xmm0",
                "movaps xmm9, xmm0", "movaps xmm10, xmm0", "movaps xmm11, xmm0", "movaps xmm12, xmm0",
                "movaps xmm13, xmm0", "movaps xmm14, xmm0", "movaps xmm15, xmm0",
                "2:",
                "dec {rounds}",
                "jnz 2b",
                // Differences of all to the first, which is compared with the pattern itself.
                "pxor xmm1, xmm0", "pxor xmm2, xmm0", "pxor xmm3, xmm0", "pxor xmm4, xmm0", "pxor xmm5, xmm0",
                "pxor xmm6, xmm0", "pxor xmm7, xmm0", "pxor xmm8, xmm0", "pxor xmm9, xmm0", "pxor xmm10, xmm0",
                "pxor xmm11, xmm0", "pxor xmm12, xmm0", "pxor xmm13, xmm0", "pxor xmm14, xmm0", "pxor xmm15, xmm0",
                "por xmm1, xmm2", "por xmm1, xmm3", "por xmm1, xmm4", "por xmm1, xmm5", "por xmm1, xmm6",
                "por xmm1, xmm7", "por xmm1, xmm8", "por xmm1, xmm9", "por xmm1, xmm10", "por xmm1, xmm11",
                "por xmm1, xmm12", "por xmm1, xmm13", "por xmm1, xmm14", "por xmm1, xmm15",
                "movups xmm2, [{pattern}]",
                "pxor xmm0, xmm2",
                "por xmm0, xmm1",
                "movups [{result}], xmm0",
                pattern = in(reg) pattern.as_ptr(),
                result = in(reg) result.as_mut_ptr(),
                rounds = inout(reg) ROUNDS => _,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            )
        };
        result == [0; 2]
    });
}

fn ymm_registers_survive() {
    if !context_switch::avx_enabled() {
        // A machine without AVX has no such registers; the test above covers what it has.
        return;
    }
    run_together(|seed| {
        let pattern = [seed, !seed, seed ^ 0x5555, seed.rotate_left(17)];
        let mut result = [0u64; 4];
        // SAFETY: AVX is enabled, as checked. Reads `pattern`, writes `result`, and declares all registers it changes; the
        // upper halves belong to the same registers.
        unsafe {
            asm!(
                "vmovups ymm0, [{pattern}]",
                "vmovaps ymm1, ymm0", "vmovaps ymm2, ymm0", "vmovaps ymm3, ymm0", "vmovaps ymm4, ymm0",
                "vmovaps ymm5, ymm0", "vmovaps ymm6, ymm0", "vmovaps ymm7, ymm0", "vmovaps ymm8, ymm0",
                "vmovaps ymm9, ymm0", "vmovaps ymm10, ymm0", "vmovaps ymm11, ymm0", "vmovaps ymm12, ymm0",
                "vmovaps ymm13, ymm0", "vmovaps ymm14, ymm0", "vmovaps ymm15, ymm0",
                "2:",
                "dec {rounds}",
                "jnz 2b",
                "vxorps ymm1, ymm1, ymm0", "vxorps ymm2, ymm2, ymm0", "vxorps ymm3, ymm3, ymm0",
                "vxorps ymm4, ymm4, ymm0", "vxorps ymm5, ymm5, ymm0", "vxorps ymm6, ymm6, ymm0",
                "vxorps ymm7, ymm7, ymm0", "vxorps ymm8, ymm8, ymm0", "vxorps ymm9, ymm9, ymm0",
                "vxorps ymm10, ymm10, ymm0", "vxorps ymm11, ymm11, ymm0", "vxorps ymm12, ymm12, ymm0",
                "vxorps ymm13, ymm13, ymm0", "vxorps ymm14, ymm14, ymm0", "vxorps ymm15, ymm15, ymm0",
                "vorps ymm1, ymm1, ymm2", "vorps ymm1, ymm1, ymm3", "vorps ymm1, ymm1, ymm4",
                "vorps ymm1, ymm1, ymm5", "vorps ymm1, ymm1, ymm6", "vorps ymm1, ymm1, ymm7",
                "vorps ymm1, ymm1, ymm8", "vorps ymm1, ymm1, ymm9", "vorps ymm1, ymm1, ymm10",
                "vorps ymm1, ymm1, ymm11", "vorps ymm1, ymm1, ymm12", "vorps ymm1, ymm1, ymm13",
                "vorps ymm1, ymm1, ymm14", "vorps ymm1, ymm1, ymm15",
                "vxorps ymm0, ymm0, [{pattern}]",
                "vorps ymm0, ymm0, ymm1",
                "vmovups [{result}], ymm0",
                "vzeroupper",
                pattern = in(reg) pattern.as_ptr(),
                result = in(reg) result.as_mut_ptr(),
                rounds = inout(reg) ROUNDS => _,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            )
        };
        result == [0; 4]
    });
}

fn mxcsr() -> u32 {
    let mut value = 0u32;
    // SAFETY: writes MXCSR to `value`.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack)) };
    value
}

fn x87_control() -> u16 {
    let mut value = 0u16;
    // SAFETY: writes the control word to `value`.
    unsafe { asm!("fnstcw [{}]", in(reg) &raw mut value, options(nostack)) };
    value
}

/// The sticky exception flags of MXCSR, which any arithmetic may set.
const MXCSR_FLAGS: u32 = 0x3F;

fn control_words_are_the_tasks_own() {
    /// Rounding towards zero, in each of the two.
    const TRUNCATING_MXCSR: u32 = 0x7F80;
    const TRUNCATING_X87: u16 = 0x0F7F;
    let over = Over::default();
    let odd = {
        let over = over.clone();
        spawn(move || {
            // SAFETY: this task does no arithmetic that rounding matters to, and ends with these values.
            unsafe {
                asm!("ldmxcsr [{}]", in(reg) &TRUNCATING_MXCSR, options(nostack));
                asm!("fldcw [{}]", in(reg) &TRUNCATING_X87, options(nostack));
            }
            let mut stayed = true;
            // By its own calls of the scheduler, and by preemption.
            for round in 0.. {
                stayed &= mxcsr() & !MXCSR_FLAGS == TRUNCATING_MXCSR && x87_control() == TRUNCATING_X87;
                if over.is() {
                    break;
                }
                if round % 64 == 0 {
                    task::schedule();
                }
            }
            stayed
        })
    };
    let start = time::Instant::now();
    while start.elapsed() < Duration::from_millis(100) {
        assert_eq!(mxcsr() & !MXCSR_FLAGS, context_switch::INITIAL_MXCSR, "this task's MXCSR changed");
        assert_eq!(
            x87_control(),
            context_switch::INITIAL_X87_CONTROL,
            "this task's x87 control word changed"
        );
        task::schedule();
    }
    let fresh = spawn(|| (mxcsr() & !MXCSR_FLAGS, x87_control()));
    assert_eq!(
        value_of::<(u32, u16)>(&fresh),
        (context_switch::INITIAL_MXCSR, context_switch::INITIAL_X87_CONTROL),
        "what a new task starts with"
    );
    over.declare();
    assert!(value_of::<bool>(&odd), "the other task's control words changed");
}

fn a_woken_task_runs_soon() {
    let over = Over::default();
    let stay = task::scheduler::stay_on_this_cpu();
    let spinner = {
        let over = over.clone();
        spawn_on(stay.cpu(), move || {
            while !over.is() {
                core::hint::spin_loop();
            }
        })
    };
    // A join is a wait that another task ends. With one task spinning, it may take two of its timeslices.
    let mut longest = Duration::ZERO;
    for _ in 0..5 {
        let start = time::Instant::now();
        value_of::<()>(&spawn_on(stay.cpu(), || ()));
        longest = longest.max(start.elapsed());
    }
    over.declare();
    value_of::<()>(&spinner);
    assert!(longest < Duration::from_millis(500), "it took {longest:?}");
}
