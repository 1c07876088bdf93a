//! How the waiters of a reader-writer lock sleep.

use crate::{Block, SPINS};
use sync::{RwLockFlavor, spin};
use sync_irq::IrqSafeMutex;
use wait_queue::WaitQueue;

/// What each lock has beside its lock word.
///
/// A spinning reader counts itself in before it knows whether it may, and out again if not. A writer that tries at that
/// moment fails although nobody holds the lock, so nobody would wake it. Therefore attempts are made one at a time,
/// with `gate` held, and a reader looks for a writer first.
pub struct RwLockData {
    waiters: WaitQueue,
    gate: IrqSafeMutex<()>,
}

impl RwLockFlavor for Block {
    const INIT: RwLockData = RwLockData { waiters: WaitQueue::new(), gate: IrqSafeMutex::new(()) };
    type LockData = RwLockData;
    type Guard = ();

    #[inline]
    fn try_read<'a, T: ?Sized>(
        rw_lock: &'a spin::RwLock<T>,
        data: &'a RwLockData,
    ) -> Option<(spin::RwLockReadGuard<'a, T>, ())> {
        let _gate = data.gate.lock();
        if rw_lock.writer_count() != 0 {
            return None;
        }
        rw_lock.try_read().map(|inner| (inner, ()))
    }

    #[inline]
    fn try_write<'a, T: ?Sized>(
        rw_lock: &'a spin::RwLock<T>,
        data: &'a RwLockData,
    ) -> Option<(spin::RwLockWriteGuard<'a, T>, ())> {
        let _gate = data.gate.lock();
        rw_lock.try_write().map(|inner| (inner, ()))
    }

    #[inline]
    fn read<'a, T: ?Sized>(
        rw_lock: &'a spin::RwLock<T>,
        data: &'a RwLockData,
    ) -> (spin::RwLockReadGuard<'a, T>, ()) {
        for _ in 0..SPINS {
            if rw_lock.writer_count() == 0
                && let Some(taken) = Self::try_read(rw_lock, data)
            {
                return taken;
            }
            core::hint::spin_loop();
        }
        data.waiters.wait_until(|| Self::try_read(rw_lock, data))
    }

    #[inline]
    fn write<'a, T: ?Sized>(
        rw_lock: &'a spin::RwLock<T>,
        data: &'a RwLockData,
    ) -> (spin::RwLockWriteGuard<'a, T>, ()) {
        for _ in 0..SPINS {
            if rw_lock.writer_count() == 0
                && rw_lock.reader_count() == 0
                && let Some(taken) = Self::try_write(rw_lock, data)
            {
                return taken;
            }
            core::hint::spin_loop();
        }
        data.waiters.wait_until(|| Self::try_write(rw_lock, data))
    }

    #[inline]
    fn post_unlock(data: &RwLockData, is_free: bool) {
        if is_free {
            // After a writer many readers may go on; after the readers one of the writers, whoever is first.
            data.waiters.notify_all();
        }
    }
}
