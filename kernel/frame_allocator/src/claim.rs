//! The reserve, and who may take of it.

use core::cell::Cell;
use kernel_config::memory::PAGE_SIZE;

/// For whom a task takes memory, and so how much of it it leaves to others.
///
/// Guests run until they fail, and what they fail of must not be what the shell needs to end them. So the last frames, the
/// *reserve*, are not for everybody. What a task does is done with its claim: [`Claim::Kernel`] from the start, less if it has
/// said so. Tasks inherit the claim of who spawns them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// What guests can ask for again and again, and be refused: linear memories, tables, instances, stores, code. Leaves all of the
    /// reserve, be it for small blocks of the heap.
    Refusable,
    /// Everything else that is done for guests. Leaves all of the reserve, but its small blocks of the heap are [`Claim::Support`]:
    /// most that take one cannot be refused it.
    Guest,
    /// The small things that hold guests up: page tables of their memories, small blocks of the heap. Where a large request has
    /// failed in good order, small ones, which mostly cannot fail, go on. Leaves half of the reserve.
    Support,
    /// Everything else. Leaves nothing.
    Kernel,
}

/// The reserve of a machine with so many general frames: a sixteenth, but at least 4 and at most 32 MiB, and of a very small machine
/// no more than a quarter. A small program takes 65 frames of stack and 18 of thread-local storage, besides its code.
pub(crate) fn reserve_of(total: usize) -> usize {
    const MIB: usize = (1 << 20) / PAGE_SIZE;
    (total / 16).clamp(4 * MIB, 32 * MIB).min(total / 4)
}

impl Claim {
    /// Of a reserve of so many frames, those that are left to others.
    pub(crate) fn leaves(self, reserve: usize) -> usize {
        match self {
            Claim::Refusable | Claim::Guest => reserve,
            Claim::Support => reserve / 2,
            Claim::Kernel => 0,
        }
    }
}

#[thread_local]
static CLAIM: Cell<Claim> = Cell::new(Claim::Kernel);

/// The current task's claim.
#[inline]
pub fn claim() -> Claim {
    CLAIM.get()
}

/// Gives the current task another claim from now on; returns the one it had.
#[inline]
pub fn set_claim(claim: Claim) -> Claim {
    CLAIM.replace(claim)
}

/// Calls `f` with another claim.
///
/// If `f` unwinds, the task has its former claim again, unless somebody has given it a new one meanwhile.
pub fn with_claim<R>(claim: Claim, f: impl FnOnce() -> R) -> R {
    struct Restore {
        claim: Claim,
        former: Claim,
    }
    impl Drop for Restore {
        fn drop(&mut self) {
            if CLAIM.get() == self.claim {
                CLAIM.set(self.former);
            }
        }
    }
    let _restore = Restore { claim, former: set_claim(claim) };
    f()
}
