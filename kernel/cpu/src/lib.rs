//! Who the current CPU is, and the block of state that each CPU keeps for itself.
//!
//! Every CPU has one [`PerCpu`] block, and its GS segment base points at it, so that one instruction reads a field
//! ("which task runs here?") without asking first which CPU this is. That also makes single-instruction updates such
//! as the preemption counter atomic with regard to interrupts and to moves between CPUs.
//!
//! A task may be moved to another CPU between any two instructions unless preemption is off. So what a task asks about "this"
//! CPU is read and written here by single instructions relative to GS, never by a reference that it got before.
//!
//! # Relies on
//! [`init_bsp`] (on the other CPUs [`init_ap`]) having run before any other function here is called in the kernel. On a Linux
//! host (unit tests of crates built on this one) there is one CPU with id 0, whose counter and flags are never looked at by
//! an interrupt.
//!
//! # Invariants
//! * The GS base of a CPU is written once, points at a block that lives forever, and no two CPUs that run share a block.
//! * `current_task`, `extended_state` and `preemption_count` of a block are written by its own CPU only.
//! * A CPU with a bit in [`online_cpus`] takes interrupts, also those that cannot be masked.
#![cfg_attr(not(test), no_std)]

use core::fmt;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// How many CPUs the kernel can use: sets of CPUs are words of 64 bits. Further ones stay parked.
pub const MAX_CPUS: usize = 64;

/// Number of a CPU: 0 for the one that booted, then counting up in the order in which they came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct CpuId(u32);

impl CpuId {
    /// The number itself.
    pub const fn value(self) -> u32 {
        self.0
    }

    /// The number as a byte.
    ///
    /// # Panics
    /// If it is above 255; the kernel numbers CPUs from 0 and supports fewer.
    pub fn into_u8(self) -> u8 {
        u8::try_from(self.0).expect("a CPU id above 255")
    }

    /// The id of the boot CPU.
    const BOOTSTRAP: CpuId = CpuId(0);

    /// The id as a set of CPUs with this one in it.
    pub const fn bit(self) -> u64 {
        1 << (self.0 % MAX_CPUS as u32)
    }

    /// The position of the id in a table with a place for each of [`MAX_CPUS`].
    pub const fn index(self) -> usize {
        self.0 as usize % MAX_CPUS
    }
}

/// The CPUs of a set, as [`CpuId::bit`] makes them, by ascending id.
pub fn cpus_in(set: u64) -> impl Iterator<Item = CpuId> {
    let mut left = set;
    core::iter::from_fn(move || {
        let id = CpuId((left != 0).then(|| left.trailing_zeros())?);
        left &= left - 1;
        Some(id)
    })
}

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl TryFrom<u32> for CpuId {
    type Error = u32;

    /// The id of an existing CPU; gives the number back if there is no such CPU.
    fn try_from(value: u32) -> Result<Self, u32> {
        if value < cpu_count() { Ok(CpuId(value)) } else { Err(value) }
    }
}

/// An `Option<CpuId>` that fits in 32 bits, so that an atomic can hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct OptionalCpuId(u32);

impl OptionalCpuId {
    /// No CPU has this number: ids count up from 0 and [`CpuId::into_u8`] bounds them.
    const NONE: u32 = u32::MAX;

    /// The raw form, for an atomic. [`Self::from_raw`] undoes it.
    pub const fn into_raw(self) -> u32 {
        self.0
    }

    /// Undoes [`Self::into_raw`].
    pub const fn from_raw(raw: u32) -> Self {
        OptionalCpuId(raw)
    }
}

impl From<Option<CpuId>> for OptionalCpuId {
    fn from(id: Option<CpuId>) -> Self {
        OptionalCpuId(id.map_or(Self::NONE, CpuId::value))
    }
}

impl From<OptionalCpuId> for Option<CpuId> {
    fn from(id: OptionalCpuId) -> Self {
        (id.0 != OptionalCpuId::NONE).then_some(CpuId(id.0))
    }
}

/// What a CPU keeps for itself. Assembly reads the fields by the offsets in [`offset`].
#[repr(C, align(64))]
#[derive(Debug)]
pub struct PerCpu {
    /// Address of this block, so that code can turn `gs:[0]` into an ordinary reference.
    self_ptr: AtomicPtr<PerCpu>,
    cpu_id: AtomicU32,
    /// How many guards forbid preemption now.
    preemption_count: AtomicU32,
    /// The running task, as its owner (`task`) encodes it; null before tasks exist.
    current_task: AtomicPtr<()>,
    /// Where the running task's extended processor state goes when it is preempted; null before tasks exist.
    extended_state: AtomicPtr<u8>,
    /// Nonzero when another task should run as soon as preemption is allowed.
    reschedule: AtomicU8,
    /// Nonzero while this CPU handles an exception on its exception stack.
    in_exception: AtomicU8,
    /// What this CPU knows about translations while it idles: see [`PerCpu::doze`].
    translations: AtomicU8,
    /// Bounds of the interrupt stack: an interrupted stack pointer in here means that an interrupt handler ran.
    interrupt_stack_bottom: AtomicUsize,
    interrupt_stack_top: AtomicUsize,
}

/// Byte offsets of [`PerCpu`] fields, for assembly (`gs:[…]`).
pub mod offset {
    use super::PerCpu;
    use core::mem::offset_of;
    /// The address of the block itself.
    pub const SELF_PTR: usize = offset_of!(PerCpu, self_ptr);
    /// The CPU's id, 32 bits.
    pub const CPU_ID: usize = offset_of!(PerCpu, cpu_id);
    /// How many guards forbid preemption, 32 bits.
    pub const PREEMPTION_COUNT: usize = offset_of!(PerCpu, preemption_count);
    /// The running task.
    pub const CURRENT_TASK: usize = offset_of!(PerCpu, current_task);
    /// The running task's save area for extended processor state.
    pub const EXTENDED_STATE: usize = offset_of!(PerCpu, extended_state);
    /// The flag that asks for another task to run, 8 bits.
    pub const RESCHEDULE: usize = offset_of!(PerCpu, reschedule);
    /// The flag that an exception is handled, 8 bits.
    pub const IN_EXCEPTION: usize = offset_of!(PerCpu, in_exception);
}

/// Values of [`PerCpu::translations`].
mod translations {
    /// The CPU runs, and must be told of each translation to forget.
    pub const IN_USE: u8 = 0;
    /// It sleeps, and uses none.
    pub const DOZING: u8 = 1;
    /// As before, and it must forget all of them before it uses one.
    pub const OUTDATED: u8 = 2;
}

impl PerCpu {
    const fn new() -> Self {
        PerCpu {
            self_ptr: AtomicPtr::new(core::ptr::null_mut()),
            cpu_id: AtomicU32::new(0),
            preemption_count: AtomicU32::new(0),
            current_task: AtomicPtr::new(core::ptr::null_mut()),
            extended_state: AtomicPtr::new(core::ptr::null_mut()),
            reschedule: AtomicU8::new(0),
            in_exception: AtomicU8::new(0),
            translations: AtomicU8::new(translations::IN_USE),
            interrupt_stack_bottom: AtomicUsize::new(0),
            interrupt_stack_top: AtomicUsize::new(0),
        }
    }

    /// Tells this CPU where its interrupt stack lies (lowest address, and the address above the highest).
    pub fn set_interrupt_stack(&self, bottom: usize, top: usize) {
        self.interrupt_stack_bottom.store(bottom, Ordering::Relaxed);
        self.interrupt_stack_top.store(top, Ordering::Relaxed);
    }

    /// Whether `address` lies on this CPU's interrupt stack, bounds included: the top is what an empty stack points at.
    pub fn on_interrupt_stack(&self, address: usize) -> bool {
        let bottom = self.interrupt_stack_bottom.load(Ordering::Relaxed);
        let top = self.interrupt_stack_top.load(Ordering::Relaxed);
        top != 0 && (bottom..=top).contains(&address)
    }

    /// Notes that this CPU starts to handle an exception on its exception stack; true if it already did, in which case
    /// the earlier exception's saved registers were just overwritten.
    #[inline]
    pub fn enter_exception(&self) -> bool {
        // Only this CPU writes the flag, with interrupts off, so load and store need not be one step.
        let nested = self.in_exception.load(Ordering::Relaxed) != 0;
        self.in_exception.store(1, Ordering::Relaxed);
        nested
    }

    /// Notes that this CPU is about to leave its exception stack.
    #[inline]
    pub fn leave_exception(&self) {
        self.in_exception.store(0, Ordering::Relaxed);
    }

    /// Says that this CPU is about to stop until the next interrupt, with interrupts off until then, and touches nothing that
    /// could be unmapped. Whoever changes page tables meanwhile need not disturb it. What it enters by the next interrupt calls
    /// [`Self::awake`] first.
    pub fn doze(&self) {
        self.translations.store(translations::DOZING, Ordering::SeqCst);
    }

    /// Ends [`Self::doze`], if this CPU dozes. True if page tables changed: then all translations must be forgotten before
    /// anything is touched that could be unmapped.
    #[inline]
    pub fn awake(&self) -> bool {
        self.translations.load(Ordering::Relaxed) != translations::IN_USE
            && self.translations.swap(translations::IN_USE, Ordering::SeqCst) == translations::OUTDATED
    }

    /// Tells this CPU, if it dozes, to forget all translations when it wakes up. False if it does not doze: it must then be
    /// told otherwise. The page tables were changed before.
    pub fn outdate_if_dozing(&self) -> bool {
        // One that is outdated already stays so only as long as it dozes, so that must be seen to be so after the change.
        let change = |state| (state != translations::IN_USE).then_some(translations::OUTDATED);
        self.translations.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change).is_ok()
    }
}

/// The blocks by CPU.
static BLOCKS: [PerCpu; MAX_CPUS] = [const { PerCpu::new() }; MAX_CPUS];
/// How many CPUs came up.
static CPU_COUNT: AtomicU32 = AtomicU32::new(1);
/// The CPUs that came up and were not stopped, as a set.
static ONLINE: AtomicU64 = AtomicU64::new(CpuId::BOOTSTRAP.bit());

/// Model-specific register that holds the GS segment base (Intel SDM volume 4, IA32_GS_BASE).
#[cfg(target_os = "theseus")]
const IA32_GS_BASE: u32 = 0xC000_0101;

/// Gives the boot CPU its block. Must be the first thing that Rust code does in the kernel, once.
///
/// It does not do anything on a Linux host.
pub fn init_bsp() {
    init(CpuId::BOOTSTRAP);
}

/// Gives another CPU its block. Must be the first thing that Rust code does on it.
///
/// # Safety
/// This CPU has no block yet, and no other CPU that runs has the one of `id`.
pub unsafe fn init_ap(id: CpuId) {
    init(id);
}

fn init(id: CpuId) {
    let block = &BLOCKS[id.index()];
    block.self_ptr.store(block as *const PerCpu as *mut PerCpu, Ordering::Relaxed);
    block.cpu_id.store(id.0, Ordering::Relaxed);
    #[cfg(target_os = "theseus")]
    {
        let address = block as *const PerCpu as u64;
        // SAFETY: IA32_GS_BASE exists on every 64-bit CPU. The new base is a static, canonical address, and nothing used
        // GS before. Not `nomem`: the block's fields must be written first.
        unsafe {
            core::arch::asm!(
                "wrmsr",
                in("ecx") IA32_GS_BASE,
                in("eax") address as u32,
                in("edx") (address >> 32) as u32,
                options(nostack, preserves_flags),
            )
        };
    }
}

/// The id that the next CPU to come up gets; `None` if there are as many as the kernel can use.
pub fn next_cpu_id() -> Option<CpuId> {
    let count = cpu_count();
    ((count as usize) < MAX_CPUS).then_some(CpuId(count))
}

/// Counts `id`, which was [`next_cpu_id`], among the CPUs that came up. For whoever brings CPUs up, one after the other.
pub fn count_cpu(id: CpuId) {
    CPU_COUNT.store(id.0 + 1, Ordering::SeqCst);
}

/// Says that this CPU takes interrupts from now on. Translations that it has cached until then must be forgotten after this.
pub fn set_online() {
    ONLINE.fetch_or(current_cpu().bit(), Ordering::SeqCst);
}

/// Says that this CPU stops for good.
pub fn set_offline() {
    ONLINE.fetch_and(!current_cpu().bit(), Ordering::SeqCst);
}

/// The set of CPUs that came up and were not stopped (see [`cpus_in`]).
pub fn online_cpus() -> u64 {
    ONLINE.load(Ordering::SeqCst)
}

/// Reads a 32-bit field of the current CPU's block.
#[cfg(target_os = "theseus")]
macro_rules! read_gs_u32 {
    ($offset:expr) => {{
        let value: u32;
        // SAFETY: as in `read_gs_u64`.
        unsafe {
            core::arch::asm!(
                "mov {:e}, gs:[{}]",
                out(reg) value,
                const $offset,
                options(nostack, preserves_flags, readonly),
            )
        };
        value
    }};
}

/// Reads an 8-bit field of the current CPU's block.
#[cfg(target_os = "theseus")]
macro_rules! read_gs_u8 {
    ($offset:expr) => {{
        let value: u8;
        // SAFETY: as in `read_gs_u64`.
        unsafe {
            core::arch::asm!(
                "mov {}, gs:[{}]",
                out(reg_byte) value,
                const $offset,
                options(nostack, preserves_flags, readonly),
            )
        };
        value
    }};
}

/// Writes a constant to an 8-bit field of the current CPU's block.
#[cfg(target_os = "theseus")]
macro_rules! write_gs_u8 {
    ($offset:expr, $value:literal) => {
        // SAFETY: GS points at this CPU's block (`init`), which has a field of this size at that offset.
        unsafe {
            core::arch::asm!(
                "mov byte ptr gs:[{}], {}",
                const $offset,
                const $value,
                options(nostack, preserves_flags),
            )
        }
    };
}

/// Reads a 64-bit field of the current CPU's block.
#[cfg(target_os = "theseus")]
macro_rules! read_gs_u64 {
    ($offset:expr) => {{
        let value: u64;
        // SAFETY: GS points at this CPU's block (`init`), which has a field of this size at that offset. Not `pure`:
        // a context switch may change the answer between two reads.
        unsafe {
            core::arch::asm!(
                "mov {}, gs:[{}]",
                out(reg) value,
                const $offset,
                options(nostack, preserves_flags, readonly),
            )
        };
        value
    }};
}

/// The current CPU's block. The caller may be moved to another CPU at any time unless preemption is off.
#[inline]
pub fn this_cpu() -> &'static PerCpu {
    #[cfg(target_os = "theseus")]
    {
        let address = read_gs_u64!(offset::SELF_PTR) as *const PerCpu;
        // SAFETY: `self_ptr` is the address of a static block (`init`) whose fields are all atomic.
        unsafe { &*address }
    }
    #[cfg(not(target_os = "theseus"))]
    &BLOCKS[0]
}

/// The block of a CPU.
pub fn block_of(cpu: CpuId) -> &'static PerCpu {
    &BLOCKS[cpu.index()]
}

/// The CPU that executes this. Without preemption turned off the answer may be outdated when it arrives.
#[inline]
pub fn current_cpu() -> CpuId {
    #[cfg(target_os = "theseus")]
    {
        CpuId(read_gs_u32!(offset::CPU_ID))
    }
    #[cfg(not(target_os = "theseus"))]
    CpuId(BLOCKS[0].cpu_id.load(Ordering::Relaxed))
}

/// Whether this code runs on the interrupt stack or while an exception is handled: then it must not block, allocate or
/// take a lock that other code holds with interrupts on.
pub fn in_interrupt() -> bool {
    #[cfg(target_os = "theseus")]
    let in_exception = read_gs_u8!(offset::IN_EXCEPTION) != 0;
    #[cfg(not(target_os = "theseus"))]
    let in_exception = BLOCKS[0].in_exception.load(Ordering::Relaxed) != 0;
    let marker = 0u8;
    // Who is moved to another CPU here is a task, whose stack is no CPU's interrupt stack.
    in_exception || this_cpu().on_interrupt_stack(&raw const marker as usize)
}

/// How many CPUs came up so far.
pub fn cpu_count() -> u32 {
    CPU_COUNT.load(Ordering::Relaxed)
}

/// The CPU that booted the system.
pub fn bootstrap_cpu() -> Option<CpuId> {
    Some(CpuId::BOOTSTRAP)
}

/// Whether the current CPU is the one that booted the system.
pub fn is_bootstrap_cpu() -> bool {
    current_cpu() == CpuId::BOOTSTRAP
}

/// What [`set_current_task`] last set on this CPU: null before tasks exist. One instruction.
#[inline(always)]
pub fn current_task() -> *const () {
    #[cfg(target_os = "theseus")]
    {
        read_gs_u64!(offset::CURRENT_TASK) as *const ()
    }
    #[cfg(not(target_os = "theseus"))]
    BLOCKS[0].current_task.load(Ordering::Relaxed).cast_const()
}

/// Says which task this CPU runs from now on, and where its extended processor state is saved on preemption.
///
/// # Safety
/// For the scheduler only, with interrupts off: `task` must stay valid in the `task` crate's sense, and
/// `extended_state` as the target of a save of the extended state, for as long as they are set here.
pub unsafe fn set_current_task(task: *const (), extended_state: *mut u8) {
    let block = this_cpu();
    block.current_task.store(task.cast_mut(), Ordering::Relaxed);
    block.extended_state.store(extended_state, Ordering::Relaxed);
}

/// Forbids preemption on this CPU once more. Each call needs one [`decrement_preemption_count`].
#[inline(always)]
pub fn increment_preemption_count() {
    #[cfg(target_os = "theseus")]
    // SAFETY: GS points at this CPU's block, which has this 32-bit field there. One instruction, so neither an interrupt
    // nor a move to another CPU can come between read and write. Not `nomem`: accesses stay behind it.
    unsafe {
        core::arch::asm!("inc dword ptr gs:[{}]", const offset::PREEMPTION_COUNT, options(nostack))
    };
    #[cfg(not(target_os = "theseus"))]
    BLOCKS[0].preemption_count.fetch_add(1, Ordering::SeqCst);
}

/// Undoes one [`increment_preemption_count`] on the same CPU.
#[inline(always)]
pub fn decrement_preemption_count() {
    #[cfg(target_os = "theseus")]
    // SAFETY: as in `increment_preemption_count`.
    unsafe {
        core::arch::asm!("dec dword ptr gs:[{}]", const offset::PREEMPTION_COUNT, options(nostack))
    };
    #[cfg(not(target_os = "theseus"))]
    BLOCKS[0].preemption_count.fetch_sub(1, Ordering::SeqCst);
}

/// How many times preemption is forbidden on this CPU now; 0 when it is allowed.
#[inline]
pub fn preemption_count() -> u32 {
    #[cfg(target_os = "theseus")]
    {
        read_gs_u32!(offset::PREEMPTION_COUNT)
    }
    #[cfg(not(target_os = "theseus"))]
    BLOCKS[0].preemption_count.load(Ordering::Relaxed)
}

/// Asks this CPU to run another task as soon as preemption is allowed, at the latest at the next timer tick.
#[inline]
pub fn request_reschedule() {
    #[cfg(target_os = "theseus")]
    write_gs_u8!(offset::RESCHEDULE, 1);
    #[cfg(not(target_os = "theseus"))]
    BLOCKS[0].reschedule.store(1, Ordering::Relaxed);
}

/// Whether [`request_reschedule`] was called on this CPU since [`clear_reschedule`].
#[inline]
pub fn reschedule_requested() -> bool {
    #[cfg(target_os = "theseus")]
    {
        read_gs_u8!(offset::RESCHEDULE) != 0
    }
    #[cfg(not(target_os = "theseus"))]
    {
        BLOCKS[0].reschedule.load(Ordering::Relaxed) != 0
    }
}

/// Takes back [`request_reschedule`]; the scheduler does when it chose who runs next.
#[inline]
pub fn clear_reschedule() {
    #[cfg(target_os = "theseus")]
    write_gs_u8!(offset::RESCHEDULE, 0);
    #[cfg(not(target_os = "theseus"))]
    BLOCKS[0].reschedule.store(0, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optional_ids_round_trip() {
        for id in [None, Some(CpuId(0)), Some(CpuId(7))] {
            let packed = OptionalCpuId::from_raw(OptionalCpuId::from(id).into_raw());
            assert_eq!(Option::<CpuId>::from(packed), id);
        }
    }

    #[test]
    fn only_existing_cpus_have_ids() {
        assert_eq!(CpuId::try_from(0), Ok(CpuId(0)));
        assert_eq!(CpuId::try_from(cpu_count()), Err(cpu_count()));
    }

    #[test]
    fn sets_of_cpus() {
        let ids: Vec<u32> = cpus_in(1 << 63 | 0b101).map(CpuId::value).collect();
        assert_eq!(ids, [0, 2, 63]);
        assert_eq!(CpuId(5).bit(), 1 << 5);
        assert_eq!(cpus_in(0).count(), 0);
    }

    #[test]
    fn a_dozing_cpu_is_told_when_it_wakes() {
        let block = PerCpu::new();
        assert!(!block.outdate_if_dozing(), "it runs");
        block.doze();
        assert!(!block.awake(), "nothing changed");
        block.doze();
        assert!(block.outdate_if_dozing() && block.outdate_if_dozing());
        assert!(block.awake());
        assert!(!block.awake() && !block.outdate_if_dozing());
    }

    #[test]
    fn interrupt_stack_bounds() {
        let block = PerCpu::new();
        assert!(!block.on_interrupt_stack(0), "no stack was set");
        block.set_interrupt_stack(0x1000, 0x2000);
        assert!(block.on_interrupt_stack(0x1000) && block.on_interrupt_stack(0x2000));
        assert!(!block.on_interrupt_stack(0xfff) && !block.on_interrupt_stack(0x2001));
    }

    #[test]
    fn nested_exceptions_are_seen() {
        let block = PerCpu::new();
        assert!(!block.enter_exception());
        assert!(block.enter_exception());
        block.leave_exception();
        assert!(!block.enter_exception());
    }
}
