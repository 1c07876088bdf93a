//! Arguments, variables, clocks, random numbers, the processor.

use crate::guest::Guest;
use crate::linker::{Call, Outcome};
use crate::{Errno, Stop};
use alloc::boxed::Box;

const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;

/// How many bytes of random numbers are made between two looks whether to go on.
pub(crate) const RANDOM_PIECE: usize = 64 << 10;

/// The largest signal number of the specification.
const LAST_SIGNAL: u32 = 30;

/// Writes strings one after the other to `at`, and the address of each to the array `pointers`.
fn write_strings(guest: &mut Guest<'_>, strings: &[Box<[u8]>], pointers: u32, mut at: u32) -> Outcome {
    let total: u64 = strings.iter().map(|string| string.len() as u64).sum();
    guest.check(at, total)?;
    guest.check(pointers, strings.len() as u64 * 4)?;
    for (number, string) in (0u32..).zip(strings) {
        // Both are in the memory, so they fit 32 bits; but the end of the last one may be the end of all.
        guest.write_u32(pointers + number * 4, at)?;
        guest.write(at, string)?;
        at = at.wrapping_add(string.len() as u32);
    }
    Ok(())
}

/// Writes how many strings there are, and how many bytes together.
fn write_sizes(guest: &mut Guest<'_>, strings: &[Box<[u8]>], count: u32, size: u32) -> Outcome {
    guest.check(count, 4)?;
    guest.check(size, 4)?;
    let total: usize = strings.iter().map(|string| string.len()).sum();
    guest.write_u32(count, strings.len() as u32)?;
    guest.write_u32(size, total as u32)?;
    Ok(())
}

impl Call<'_> {
    pub(crate) fn args_get(&mut self, pointers: u32, strings: u32) -> Outcome {
        write_strings(&mut self.guest, &self.ctx.args, pointers, strings)
    }

    pub(crate) fn args_sizes_get(&mut self, count: u32, size: u32) -> Outcome {
        write_sizes(&mut self.guest, &self.ctx.args, count, size)
    }

    pub(crate) fn environ_get(&mut self, pointers: u32, strings: u32) -> Outcome {
        write_strings(&mut self.guest, &self.ctx.env, pointers, strings)
    }

    pub(crate) fn environ_sizes_get(&mut self, count: u32, size: u32) -> Outcome {
        write_sizes(&mut self.guest, &self.ctx.env, count, size)
    }

    pub(crate) fn clock_res_get(&mut self, clock: u32, result: u32) -> Outcome {
        let resolution = match clock {
            REALTIME => u64::try_from(self.ctx.wall_clock.resolution().as_nanos()).unwrap_or(u64::MAX),
            MONOTONIC => self.ctx.monotonic_clock.resolution(),
            // Processor time, and what there is not.
            _ => return Err(Errno::Inval.into()),
        };
        Ok(self.guest.write_u64(result, resolution)?)
    }

    pub(crate) fn clock_time_get(&mut self, clock: u32, _precision: u64, result: u32) -> Outcome {
        let now = self.clock(clock)?;
        Ok(self.guest.write_u64(result, now)?)
    }

    /// The time that a clock shows, in nanoseconds.
    pub(crate) fn clock(&self, clock: u32) -> Result<u64, Errno> {
        match clock {
            REALTIME => u64::try_from(self.ctx.wall_clock.now().as_nanos()).map_err(|_| Errno::Overflow),
            MONOTONIC => Ok(self.ctx.monotonic_clock.now()),
            _ => Err(Errno::Inval),
        }
    }

    pub(crate) fn random_get(&mut self, buffer: u32, len: u32) -> Outcome {
        let mut range = self.guest.range(buffer, u64::from(len))?;
        let random = &mut self.ctx.random;
        let mut fill = |bytes: &mut [u8]| {
            random.fill_bytes(bytes);
            Ok(bytes.len())
        };
        loop {
            let rest = range.start.saturating_add(RANDOM_PIECE).min(range.end)..range.end;
            self.guest.fill_range(range.start..rest.start, &mut fill)?;
            if rest.is_empty() {
                return Ok(());
            }
            range = rest;
            self.stop.look()?;
        }
    }

    pub(crate) fn sched_yield(&mut self) -> Outcome {
        #[cfg(target_os = "theseus")]
        task::scheduler::schedule();
        #[cfg(not(target_os = "theseus"))]
        std::thread::yield_now();
        self.stop.look()
    }

    /// There are no signals.
    pub(crate) fn proc_raise(&mut self, signal: u32) -> Outcome {
        Err(if signal > LAST_SIGNAL { Errno::Inval } else { Errno::Notsup }.into())
    }
}

/// Sleeps until `deadline` on the clock of [`wasm_platform::monotonic_nanos`]; not beyond the end of the guest's time.
pub(super) fn sleep_until(deadline: Option<u64>, stop: &Stop) -> Outcome {
    let list = wasm_platform::WaitList::default();
    loop {
        stop.look()?;
        let now = wasm_platform::monotonic_nanos();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Ok(());
        }
        let until = [deadline, stop.deadline].into_iter().flatten().min();
        let timeout = until.map(|until| core::time::Duration::from_nanos(until.saturating_sub(now)));
        list.wait(0, timeout, || true);
    }
}
