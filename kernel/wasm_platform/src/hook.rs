//! The trap hook: one handler for as long as somebody holds a [`TrapHook`].

use crate::{PlatformError, TrapRegisters, platform};
use spin::Mutex;

/// Decides what to do about a CPU exception, or about code that runs on in a task that is to end. Returns `true` if it
/// changed `registers` so that the task can go on there, `false` if that is none of its business.
///
/// Runs in exception or signal context, possibly with interrupts masked: must not allocate, lock, print or panic.
pub type TrapHandler = fn(registers: &mut TrapRegisters) -> bool;

/// Who holds the hook, and with which handler.
struct Holders {
    handler: Option<TrapHandler>,
    count: usize,
}

static HOLDERS: Mutex<Holders> = Mutex::new(Holders { handler: None, count: 0 });

/// The right to be asked first about every CPU exception, and about tasks that are to end. The system's hook is taken by the first holder and given
/// back by the last.
#[derive(Debug)]
pub struct TrapHook(());

impl TrapHook {
    /// Has `handler` called for every CPU exception from now on, until the returned value and all others for the same
    /// handler are dropped.
    ///
    /// # Errors
    /// Fails if another handler is installed or the system refuses.
    pub fn install(handler: TrapHandler) -> Result<TrapHook, PlatformError> {
        let mut holders = HOLDERS.lock();
        match holders.handler {
            Some(current) if !core::ptr::fn_addr_eq(current, handler) => {
                return Err(PlatformError::bad_argument(
                    "install a trap handler",
                    "another one is installed",
                ));
            }
            Some(_) => {}
            None => {
                platform::take_trap_hook(handler)?;
                holders.handler = Some(handler);
            }
        }
        holders.count += 1;
        Ok(TrapHook(()))
    }
}

impl Drop for TrapHook {
    fn drop(&mut self) {
        let mut holders = HOLDERS.lock();
        holders.count -= 1;
        if holders.count == 0 {
            platform::give_back_trap_hook();
            holders.handler = None;
        }
    }
}
