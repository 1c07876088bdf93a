//! The frames of a stack on which compiled code and the host call each other.

use alloc::vec::Vec;
use core::ops::ControlFlow;
use core::ptr;
use wasm_artifact::vmctx::VMStoreContext;
use wasm_platform::PlatformError;
use wasm_tls::{Activation, EntryRegisters};

/// The most frames that are not of the store in question that are kept: of the host, and of other stores.
pub const MAX_OTHER_FRAMES: usize = 64;

/// Whose code a frame is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// Compiled code of the store in question.
    Wasm,
    /// Compiled code of another store.
    OtherStore,
    /// The host's code. Only where the host keeps frame pointers, so that its frames can be found.
    Host,
}

/// A frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawFrame {
    /// An address in the instruction in question: the one that trapped, or the call.
    pub pc: usize,
    /// Whose it is.
    pub kind: FrameKind,
}

/// A buffer for frames, innermost first. It is as large as it will ever be from the beginning, so that a trap handler can
/// fill it. Collecting takes time for what is kept, and not for what else is on the stack.
#[derive(Debug, Default)]
pub struct Frames {
    frames: Vec<RawFrame>,
    /// How many more there may be of the store, and of others.
    wasm_left: usize,
    others_left: usize,
    limit: usize,
}

impl Frames {
    /// A buffer for at most `limit` frames of the store, and [`MAX_OTHER_FRAMES`] others; for none at all if `limit` is 0.
    ///
    /// # Errors
    /// Fails if there is no memory for it.
    pub fn with_limit(limit: usize) -> Result<Self, PlatformError> {
        let mut frames = Vec::new();
        let capacity = if limit == 0 { 0 } else { limit.saturating_add(MAX_OTHER_FRAMES) };
        frames.try_reserve_exact(capacity).map_err(|_| PlatformError::out_of_memory("prepare backtraces"))?;
        Ok(Self { frames, wasm_left: 0, others_left: 0, limit })
    }

    /// The frames, innermost first.
    pub fn frames(&self) -> &[RawFrame] {
        &self.frames
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Adds a frame that somebody else has found, if there is room.
    pub fn note(&mut self, pc: usize, kind: FrameKind) {
        if self.frames.is_empty() {
            self.clear();
        }
        self.push(pc, kind);
    }

    fn clear(&mut self) {
        self.frames.clear();
        self.wasm_left = self.limit;
        self.others_left = if self.limit == 0 { 0 } else { MAX_OTHER_FRAMES };
    }

    /// Notes a frame; false if there is no more room for its kind.
    #[inline]
    fn push(&mut self, pc: usize, kind: FrameKind) -> bool {
        let left = if kind == FrameKind::Wasm { &mut self.wasm_left } else { &mut self.others_left };
        match left.checked_sub(1) {
            Some(less) => *left = less,
            None => return false,
        }
        // Within the capacity: does not allocate.
        self.frames.push(RawFrame { pc, kind });
        true
    }

    /// Collects the frames as they are when compiled code of the innermost activation's store traps at `pc` with frame pointer
    /// `fp`. Neither allocates nor locks.
    ///
    /// # Safety
    /// The current task must have been interrupted in compiled code with these registers, with `activation` its
    /// innermost activation.
    pub unsafe fn collect_from_trap(&mut self, activation: &Activation, pc: usize, fp: usize) {
        self.clear();
        if !self.push(pc, FrameKind::Wasm) {
            return;
        }
        // SAFETY: the activation's store is in use by this task, which runs code of it.
        let entry_fp = unsafe { EntryRegisters::load(activation.context()) }.entry_fp;
        // SAFETY: the caller vouches for `fp`; compiled code keeps frame pointers.
        unsafe { self.follow(fp, entry_fp, FrameKind::Wasm) };
        // SAFETY: as for this function.
        unsafe { self.collect_outer(activation, activation, entry_fp, activation.context()) };
    }

    /// Collects the frames as they are seen from the host, for the store with `context`. `host_fp` is the frame pointer of the
    /// host function from which on its frames are of interest, 0 for none.
    ///
    /// # Safety
    /// `context` must belong to a store that is in use by the current task. `host_fp` must be a frame pointer of a function
    /// that has not returned, with frame pointers up to the innermost activation's call of the host.
    pub unsafe fn collect_from_host(&mut self, context: *const VMStoreContext, host_fp: usize) {
        self.clear();
        if self.limit == 0 {
            return;
        }
        wasm_tls::with_current(|innermost| {
            // SAFETY: the activation's store is in use by this task.
            let registers = unsafe { EntryRegisters::load(innermost.context()) };
            if host_fp != 0 && registers.exit_fp != 0 {
                // SAFETY: the caller vouches for it.
                unsafe { self.follow_host(host_fp, registers.exit_fp) };
            }
            // SAFETY: an activation's registers are those of frames that are still on the stack.
            unsafe {
                self.collect_activation(innermost, &registers, context);
                self.collect_outer(innermost, innermost, registers.entry_fp, context);
            }
        });
    }

    /// Collects the frames of compiled code of one activation that has called the host.
    unsafe fn collect_activation(
        &mut self,
        activation: &Activation,
        registers: &EntryRegisters,
        context: *const VMStoreContext,
    ) {
        let is_own = ptr::eq(activation.context(), context);
        let kind = if is_own { FrameKind::Wasm } else { FrameKind::OtherStore };
        if registers.exit_fp != 0 {
            // SAFETY: by the caller.
            unsafe { self.follow(registers.exit_fp, registers.entry_fp, kind) };
        }
    }

    /// Collects the frames around `inner`, whose entry trampoline has the frame pointer `entry_fp`.
    unsafe fn collect_outer<'a>(
        &mut self,
        innermost: &'a Activation,
        mut inner: &'a Activation,
        mut entry_fp: usize,
        context: *const VMStoreContext,
    ) {
        while self.wasm_left > 0 {
            let Some(outer) = inner.outer() else {
                // SAFETY: the frames of the host that made the outermost call are on the stack.
                unsafe { self.follow_host(entry_fp, wasm_platform::stack_bounds().end) };
                return;
            };
            let registers = match ptr::eq(inner.context(), outer.context()) {
                true => *inner.saved(),
                // SAFETY: the activations are this task's.
                false => unsafe { registers_of(outer, innermost) },
            };
            if registers.exit_fp == 0 {
                return;
            }
            // SAFETY: as above, of the host function that the outer activation has called.
            unsafe {
                self.follow_host(entry_fp, registers.exit_fp);
                self.collect_activation(outer, &registers, context);
            }
            (inner, entry_fp) = (outer, registers.entry_fp);
        }
    }

    /// Follows the frame pointers from `fp` to the entry trampoline's, `entry_fp`, and notes the calls in between. Ends if
    /// there is no more room, or the chain is broken.
    unsafe fn follow(&mut self, mut fp: usize, entry_fp: usize, kind: FrameKind) {
        while fp != entry_fp {
            // SAFETY: the frame of compiled code, or of a trampoline, begins with the caller's frame pointer, above
            // which is the return address.
            let [caller_fp, return_address] = unsafe { *(fp as *const [usize; 2]) };
            // Stacks grow down, so callers' frames are above: anything else would not end.
            if caller_fp == entry_fp || caller_fp <= fp || !self.push(return_address - 1, kind) {
                return;
            }
            fp = caller_fp;
        }
    }

    /// Follows the frame pointers of the host's functions from `fp` up to `end`, the frame pointer of the trampoline by which
    /// the host was called, or the end of the stack, and notes the calls in between.
    unsafe fn follow_host(&mut self, mut fp: usize, end: usize) {
        if !wasm_platform::HOST_KEEPS_FRAME_POINTERS {
            return;
        }
        while fp.is_multiple_of(size_of::<usize>()) && fp.saturating_add(2 * size_of::<usize>()) <= end {
            // SAFETY: within this task's stack, above a frame that is in use, and aligned.
            let [caller_fp, return_address] = unsafe { *(fp as *const [usize; 2]) };
            if caller_fp == end || return_address == 0 || !self.push(return_address - 1, FrameKind::Host) {
                return;
            }
            if caller_fp <= fp {
                return;
            }
            fp = caller_fp;
        }
    }
}

/// Visits the frames of compiled code of an activation that has called the host, innermost first, until `visit` breaks: with the
/// address to which the frame's call returns, and its frame pointer. Neither allocates nor locks.
///
/// # Safety
/// The registers must be those of an activation that has called the host and waits for it.
pub unsafe fn visit_frames<B>(
    registers: &EntryRegisters,
    mut visit: impl FnMut(usize, usize) -> ControlFlow<B>,
) -> Option<B> {
    let mut fp = registers.exit_fp;
    loop {
        // SAFETY: the frame of compiled code, or of a trampoline, begins with the caller's frame pointer, above which is
        // the return address.
        let [caller_fp, return_address] = unsafe { *(fp as *const [usize; 2]) };
        // As in `Frames::follow`.
        if caller_fp == registers.entry_fp || caller_fp <= fp {
            return None;
        }
        if let ControlFlow::Break(found) = visit(return_address, caller_fp) {
            return Some(found);
        }
        fp = caller_fp;
    }
}

/// The registers of `activation` when it called the host, which then came to the activations from `innermost` on.
///
/// # Safety
/// The activation must be one of the current task's.
unsafe fn registers_of(activation: &Activation, innermost: &Activation) -> EntryRegisters {
    // The next inner activation of the same store has kept them; if there is none, the store itself.
    let mut current = Some(innermost);
    let mut saved = None;
    while let Some(inner) = current.filter(|inner| !ptr::eq(*inner, activation)) {
        if ptr::eq(inner.context(), activation.context()) {
            saved = Some(*inner.saved());
        }
        current = inner.outer();
    }
    // SAFETY: the activation's store is in use by this task.
    saved.unwrap_or_else(|| unsafe { EntryRegisters::load(activation.context()) })
}
