//! Return addresses of a stack of compiled frames.

use alloc::vec::Vec;
use core::ptr;
use wasm_artifact::vmctx::VMStoreContext;
use wasm_platform::PlatformError;
use wasm_tls::{Activation, EntryRegisters};

/// A buffer for the program counters of frames, innermost first. It is as large as it will ever be from the beginning,
/// so that a trap handler can fill it.
#[derive(Debug, Default)]
pub struct Frames {
    pcs: Vec<usize>,
    limit: usize,
    innermost_is_trap: bool,
}

impl Frames {
    /// A buffer for at most `limit` frames.
    ///
    /// # Errors
    /// Fails if there is no memory for it.
    pub fn with_limit(limit: usize) -> Result<Self, PlatformError> {
        let mut pcs = Vec::new();
        pcs.try_reserve_exact(limit).map_err(|_| PlatformError::out_of_memory("prepare backtraces"))?;
        Ok(Self { pcs, limit, innermost_is_trap: false })
    }

    /// The frames' program counters, innermost first, each paired with whether it is a return address. (Otherwise it is
    /// the very instruction that trapped.)
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (usize, bool)> + '_ {
        self.pcs.iter().enumerate().map(|(number, pc)| (*pc, number > 0 || !self.innermost_is_trap))
    }

    /// How many frames it holds.
    pub fn len(&self) -> usize {
        self.pcs.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.pcs.is_empty()
    }

    /// Forgets what was collected.
    pub fn clear(&mut self) {
        self.pcs.clear();
    }

    /// Notes a frame, if there is still room.
    fn push(&mut self, pc: usize) -> bool {
        if self.pcs.len() >= self.limit {
            return false;
        }
        // Within the capacity: does not allocate.
        self.pcs.push(pc);
        true
    }

    /// Collects the frames of the store with `context` as they are when compiled code traps at `pc` with frame
    /// pointer `fp`. Neither allocates nor locks.
    ///
    /// # Safety
    /// The current task must have been interrupted in compiled code with these registers, with `activation` its
    /// innermost activation.
    pub unsafe fn collect_from_trap(&mut self, activation: &Activation, pc: usize, fp: usize) {
        self.clear();
        self.innermost_is_trap = true;
        if !self.push(pc) {
            return;
        }
        // SAFETY: the activation's store is in use by this task, which runs code of it.
        let registers = unsafe { EntryRegisters::load(activation.context()) };
        // SAFETY: the caller vouches for `fp`; compiled code keeps frame pointers.
        if unsafe { self.follow(fp, registers.entry_fp) } {
            // SAFETY: as for this function.
            unsafe { self.collect_outer(Some(activation), activation.context()) };
        }
    }

    /// Collects the frames of the store with `context` as they are seen from a host function that compiled code called,
    /// or from nowhere in particular, when only the frames around the current activation count.
    ///
    /// # Safety
    /// `context` must belong to a store that is in use by the current task.
    pub unsafe fn collect_from_host(&mut self, context: *const VMStoreContext) {
        self.clear();
        self.innermost_is_trap = false;
        // SAFETY: by the caller.
        let registers = unsafe { EntryRegisters::load(context) };
        wasm_tls::with_current(|activation| {
            // SAFETY: an activation's registers are those of frames that are still on the stack.
            let go_on =
                registers.exit_fp == 0 || unsafe { self.follow(registers.exit_fp, registers.entry_fp) };
            if go_on {
                // SAFETY: as above.
                unsafe { self.collect_outer(Some(activation), context) };
            }
        });
    }

    /// Collects the frames of the activations around `activation` that are of the store with `context`.
    unsafe fn collect_outer(&mut self, mut activation: Option<&Activation>, context: *const VMStoreContext) {
        while let Some(current) = activation {
            if ptr::eq(current.context(), context) {
                let saved = current.saved();
                // SAFETY: frames of an outer activation are on the stack as long as the inner one is.
                if saved.exit_fp != 0 && !unsafe { self.follow(saved.exit_fp, saved.entry_fp) } {
                    return;
                }
            }
            activation = current.outer();
        }
    }

    /// Follows the frame pointers from `fp` to the entry trampoline's, `entry_fp`, and notes the return addresses in
    /// between. Returns `false` if there is no more room, or the chain is broken.
    unsafe fn follow(&mut self, mut fp: usize, entry_fp: usize) -> bool {
        while fp != entry_fp {
            // SAFETY: the frame of compiled code, or of a trampoline, begins with the caller's frame pointer, above
            // which is the return address.
            let (caller_fp, return_address) =
                unsafe { (*(fp as *const usize), *((fp + size_of::<usize>()) as *const usize)) };
            if caller_fp == entry_fp {
                return true;
            }
            // Stacks grow down, so callers' frames are above: anything else would not end.
            if caller_fp <= fp || !self.push(return_address) {
                return false;
            }
            fp = caller_fp;
        }
        true
    }
}
