//! Making all CPUs forget translations that are no longer true: after pages were unmapped, or lost a right.
//!
//! `memory` calls in here once per batch of changes, before frames are given back and before the pages can be handed out
//! again. So when an unmapping function returns, no CPU reads or writes the frames any more by the old pages.
//!
//! # How
//! Whoever changed the page tables leaves the range in its CPU's [`Request`], marks in each other CPU's [`PENDING`] word that
//! there is one, and interrupts those whose word was empty: the handler of one interrupt serves all requests that are there.
//! Then it waits until all have taken their bit out of the request. Many pages at once are forgotten by forgetting everything.
//!
//! A CPU that idles is not disturbed. It is told, in its block, to forget everything when it wakes up
//! ([`cpu::PerCpu::outdate_if_dozing`]).
//!
//! # Why non-maskable interrupts
//! Memory is unmapped wherever it can be freed: with locks held, with interrupts off. With ordinary interrupts, a CPU that waits
//! here while it holds a lock would wait for one that spins for that lock with interrupts off, or that itself waits here, for
//! ever. A non-maskable interrupt is taken by both, and by a CPU that was halted. What its handler does is allowed at any
//! instruction: it takes no lock, uses a stack of its own, and touches nothing but atomics and the translations.
//!
//! # Invariants
//! * A CPU's request is used by who runs on that CPU without being preempted, so by one at a time. Interrupt and exception
//!   handlers do not unmap.
//! * A CPU in [`cpu::online_cpus`] takes non-maskable interrupts. One that comes up forgets everything after it is there.
#![no_std]

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use cpu::{CpuId, MAX_CPUS};
use memory::{Page, PageRange, VirtualAddress};

/// From this many pages on, in all requests together, a CPU forgets everything.
const FORGET_ALL_FROM: usize = 32;
/// How many ticks of the time stamp counter (some 10 ms) to wait before CPUs are interrupted once more. An interrupt is never lost
/// on hardware; this is for emulators.
const PATIENCE: u64 = 30_000_000;

/// After so many ticks (some seconds) an interrupt cannot have been sent from here.
const LATE: u64 = 10_000_000_000;

/// What a CPU asks others to forget.
#[repr(align(64))]
struct Request {
    /// Address of the first page.
    start: AtomicUsize,
    pages: AtomicUsize,
    /// The set of CPUs that have not done so yet.
    waiting: AtomicU64,
}

/// A word on a cache line of its own.
#[repr(align(64))]
struct Pending {
    /// The set of CPUs that have requests to this one.
    from: AtomicU64,
    /// What the time stamp counter showed when this one was interrupted last.
    last_sent: AtomicU64,
}

static REQUESTS: [Request; MAX_CPUS] = [const {
    Request { start: AtomicUsize::new(0), pages: AtomicUsize::new(0), waiting: AtomicU64::new(0) }
}; MAX_CPUS];
static PENDING: [Pending; MAX_CPUS] =
    [const { Pending { from: AtomicU64::new(0), last_sent: AtomicU64::new(0) } }; MAX_CPUS];

static SHOOTDOWNS: AtomicU64 = AtomicU64::new(0);
static INTERRUPTS: AtomicU64 = AtomicU64::new(0);
static DEFERRED: AtomicU64 = AtomicU64::new(0);

/// What has happened since the system started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// How often other CPUs had translations to forget.
    pub shootdowns: u64,
    /// How many interrupts that took.
    pub interrupts: u64,
    /// How often a CPU was left alone because it idled.
    pub deferred: u64,
}

/// Counts what has happened.
pub fn statistics() -> Statistics {
    Statistics {
        shootdowns: SHOOTDOWNS.load(Ordering::Relaxed),
        interrupts: INTERRUPTS.load(Ordering::Relaxed),
        deferred: DEFERRED.load(Ordering::Relaxed),
    }
}

/// Makes all changes of page tables known to all CPUs from now on. Call it once, before a second CPU comes up.
pub fn init() {
    interrupts::set_nmi_hook(handle_nmi);
    memory::set_broadcast_tlb_shootdown_cb(broadcast);
}

/// Makes all CPUs forget the translations of `pages`; returns when they have.
fn broadcast(pages: PageRange) {
    // Not only for the request: what this CPU forgets must not be followed by a move to another one, which then is none of the
    // others.
    let guard = preemption::hold_preemption();
    memory::flush_translations(&pages);
    let this = guard.cpu_id();
    // The page tables were changed before the others are looked at; who comes up, or wakes up, after that sees the change.
    fence(Ordering::SeqCst);
    let others = cpu::online_cpus() & !this.bit();
    if others == 0 || pages.is_empty() {
        return;
    }
    let mut waiting = 0;
    let mut deferred = 0;
    for other in cpu::cpus_in(others) {
        if cpu::block_of(other).outdate_if_dozing() {
            deferred += 1;
        } else {
            waiting |= other.bit();
        }
    }
    SHOOTDOWNS.fetch_add(1, Ordering::Relaxed);
    DEFERRED.fetch_add(deferred, Ordering::Relaxed);
    if waiting == 0 {
        return;
    }
    let request = &REQUESTS[this.index()];
    request.start.store(pages.start_address().value(), Ordering::Relaxed);
    request.pages.store(pages.size_in_pages(), Ordering::Relaxed);
    request.waiting.store(waiting, Ordering::Release);
    for other in cpu::cpus_in(waiting) {
        // If it was not empty, whoever filled it interrupts that CPU, which will find this bit, too.
        if PENDING[other.index()].from.fetch_or(this.bit(), Ordering::SeqCst) == 0 {
            interrupt(other);
        }
    }
    let mut since = tsc::tsc_value();
    loop {
        // A CPU that was stopped for good uses no translations.
        let left = request.waiting.load(Ordering::Acquire) & cpu::online_cpus();
        if left == 0 {
            return;
        }
        core::hint::spin_loop();
        if tsc::tsc_value().wrapping_sub(since) > PATIENCE {
            cpu::cpus_in(left).for_each(interrupt);
            since = tsc::tsc_value();
        }
    }
}

fn interrupt(cpu: CpuId) {
    INTERRUPTS.fetch_add(1, Ordering::Relaxed);
    PENDING[cpu.index()].last_sent.store(tsc::tsc_value(), Ordering::SeqCst);
    apic::send_nmi(cpu);
}

/// Forgets what others ask this CPU to forget. False if there was nothing, and the interrupt came from elsewhere.
fn handle_nmi() -> bool {
    let this = cpu::current_cpu();
    let pending = &PENDING[this.index()];
    let from = pending.from.swap(0, Ordering::SeqCst);
    if from == 0 {
        // One handler serves all requests that are there, also those whose interrupts are still on their way.
        let last_sent = pending.last_sent.load(Ordering::SeqCst);
        return last_sent != 0 && tsc::tsc_value().wrapping_sub(last_sent) < LATE;
    }
    let requests = || cpu::cpus_in(from).map(|cpu| &REQUESTS[cpu.index()]);
    let pages = |request: &Request| request.pages.load(Ordering::Relaxed);
    let total = requests().fold(0, |total: usize, request| total.saturating_add(pages(request)));
    if total >= FORGET_ALL_FROM {
        memory::flush_all_translations();
    } else {
        for request in requests() {
            let start = VirtualAddress::new_canonical(request.start.load(Ordering::Relaxed));
            let start = Page::containing_address(start);
            memory::flush_translations(&PageRange::from_start_and_count(start, pages(request)));
        }
    }
    for request in requests() {
        request.waiting.fetch_and(!this.bit(), Ordering::Release);
    }
    true
}
