//! What has happened, and what should have.

use crate::operations::{Dice, KINDS_OF_KILLS, Operation};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

/// How often everything has happened.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    returned: usize,
    refused: usize,
    panicked: usize,
    /// By the trap's number.
    trapped: [usize; 32],
    killed: [usize; KINDS_OF_KILLS],
    /// Values that were made less those that were dropped.
    pub(crate) left: isize,
}

impl Counts {
    /// What has to happen.
    pub(crate) fn expected(seed: usize, operations: usize) -> Self {
        let mut dice = Dice::new(seed);
        let mut counts = Counts::default();
        for _ in 0..operations {
            counts.note(dice.draw().0);
        }
        counts
    }

    /// Notes that this has happened.
    pub(crate) fn note(&mut self, operation: Operation) {
        let count = match operation {
            Operation::Returns => &mut self.returned,
            Operation::Refused => &mut self.refused,
            Operation::Panics => &mut self.panicked,
            Operation::Traps(trap, _) => &mut self.trapped[trap as usize],
            Operation::Killed(killed) => &mut self.killed[killed as usize],
        };
        *count += 1;
    }
}

/// How many values were made and dropped.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    made: AtomicUsize,
    dropped: AtomicUsize,
}

impl Tally {
    /// How many were made but not dropped; negative if some were dropped twice.
    pub(crate) fn left(&self) -> isize {
        self.made.load(Ordering::Relaxed).wrapping_sub(self.dropped.load(Ordering::Relaxed)) as isize
    }
}

/// A value that something owns through which an error, a panic or a kill passes.
pub(crate) struct Owned(Arc<Tally>);

impl Owned {
    pub(crate) fn new(tally: &Arc<Tally>) -> Self {
        tally.made.fetch_add(1, Ordering::Relaxed);
        Owned(tally.clone())
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::Relaxed);
    }
}
