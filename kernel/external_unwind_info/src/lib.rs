//! Unwind tables of code that did not come out of a crate's object file, such as compiled WebAssembly.
//!
//! The code is told apart by the address of its first byte, as callers of Theseus' function of this name expect.
//! Registered here, code is known to the unwinder (crate [`unwind`]) like any other; this crate merely keeps the guards
//! of those registrations. A caller that can keep a guard itself, or has a table sorted already, had better call
//! [`unwind::register_code_range`].

#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::vec::Vec;
use core::{fmt, ops::Range};

use memory_structs::VirtualAddress;
use sync_spin::Mutex;
use unwind::{CodeRangeGuard, RegisterError, UnwindInfo};

/// What is registered, sorted by address.
static REGISTERED: Mutex<Vec<Registration>> = Mutex::new(Vec::new());

struct Registration {
    guard: CodeRangeGuard,
    unwind_info: Range<usize>,
}

/// Where some code and its unwind tables are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalUnwindInfo {
    /// The code.
    pub text_section: Range<VirtualAddress>,
    /// Its `.eh_frame`.
    pub unwind_info: Range<VirtualAddress>,
}

/// Why unwind tables could not be registered or deregistered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExternalUnwindInfoError {
    /// Some of the code is registered already.
    AlreadyRegistered,
    /// No code is registered that starts there.
    NotRegistered,
    /// The tables are malformed, or there was no memory.
    Unusable(RegisterError),
}

impl fmt::Display for ExternalUnwindInfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyRegistered => {
                f.write_str("unwind information of this code is registered already: deregister it first")
            }
            Self::NotRegistered => {
                f.write_str("no unwind information is registered for code that starts there")
            }
            Self::Unusable(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ExternalUnwindInfoError {}

/// Makes the `text_len` bytes of code at `text_base` known to the unwinder, with the `.eh_frame` section of `unwind_len`
/// bytes at `unwind_info`.
///
/// # Errors
/// See [`ExternalUnwindInfoError`].
///
/// # Safety
/// Code and tables must be mapped, the tables relocated and correct for the code, until they are deregistered.
pub unsafe fn register_unwind_info(
    text_base: *mut u8,
    text_len: usize,
    unwind_info: *mut u8,
    unwind_len: usize,
) -> Result<(), ExternalUnwindInfoError> {
    let text = range(text_base, text_len);
    let unwind_info = range(unwind_info, unwind_len);
    // SAFETY: the caller promises what this function asks for.
    let guard = unsafe { unwind::register_code_range(text, UnwindInfo::EhFrame(unwind_info.clone())) };
    let guard = guard.map_err(|error| match error {
        RegisterError::Overlaps { .. } => ExternalUnwindInfoError::AlreadyRegistered,
        error => ExternalUnwindInfoError::Unusable(error),
    })?;
    let mut registered = REGISTERED.lock();
    registered.try_reserve(1).map_err(|_| ExternalUnwindInfoError::Unusable(RegisterError::OutOfMemory))?;
    let index = registered.partition_point(|other| other.guard.text().start < guard.text().start);
    registered.insert(index, Registration { guard, unwind_info });
    Ok(())
}

/// Undoes [`register_unwind_info`] of the code that starts at `text_base`.
///
/// # Errors
/// [`ExternalUnwindInfoError::NotRegistered`].
///
/// # Safety
/// No frame of this code may be on any stack.
pub unsafe fn deregister_unwind_info(text_base: *mut u8) -> Result<(), ExternalUnwindInfoError> {
    let mut registered = REGISTERED.lock();
    let index = registered
        .binary_search_by_key(&(text_base as usize), |other| other.guard.text().start)
        .map_err(|_| ExternalUnwindInfoError::NotRegistered)?;
    let registration = registered.remove(index);
    // With the last registration goes the list's memory: nothing stays behind if this crate is unloaded then.
    let list = if registered.is_empty() { core::mem::take(&mut *registered) } else { Vec::new() };
    // Both are freed without the lock.
    drop(registered);
    drop((registration, list));
    Ok(())
}

/// What was registered by [`register_unwind_info`] for the code that contains `address`.
pub fn get_unwind_info(address: VirtualAddress) -> Option<ExternalUnwindInfo> {
    let registered = REGISTERED.lock();
    let index =
        registered.partition_point(|other| other.guard.text().start <= address.value()).checked_sub(1)?;
    let Registration { guard, unwind_info } = &registered[index];
    guard.text().contains(&address.value()).then(|| ExternalUnwindInfo {
        text_section: addresses(guard.text()),
        unwind_info: addresses(unwind_info.clone()),
    })
}

fn range(start: *mut u8, length: usize) -> Range<usize> {
    start as usize..(start as usize).saturating_add(length)
}

fn addresses(range: Range<usize>) -> Range<VirtualAddress> {
    VirtualAddress::new_canonical(range.start)..VirtualAddress::new_canonical(range.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(address: *mut u8) -> Option<ExternalUnwindInfo> {
        get_unwind_info(VirtualAddress::new(address as usize).unwrap())
    }

    #[test]
    fn code_is_found_by_any_of_its_addresses_until_deregistered() {
        let mut text = [0u8; 64];
        let mut eh_frame = [0u8; 4];
        let text = text.as_mut_ptr();
        let before = unwind::code_range_count();
        // SAFETY: an empty `.eh_frame` is correct for code that nobody executes; both outlive the registration.
        unsafe {
            assert_eq!(register_unwind_info(text, 64, eh_frame.as_mut_ptr(), 4), Ok(()));
            assert_eq!(
                register_unwind_info(text.add(32), 64, eh_frame.as_mut_ptr(), 4),
                Err(ExternalUnwindInfoError::AlreadyRegistered)
            );
            assert_eq!(unwind::code_range_count(), before + 1);
            let found = get(text.add(63)).unwrap();
            assert_eq!(found.text_section.start.value(), text as usize);
            assert_eq!(found.text_section.end.value(), text as usize + 64);
            assert_eq!(found.unwind_info.start.value(), eh_frame.as_ptr() as usize);
            assert_eq!(get(text.wrapping_sub(1)), None);
            assert_eq!(get(text.add(64)), None);

            assert_eq!(deregister_unwind_info(text.add(1)), Err(ExternalUnwindInfoError::NotRegistered));
            assert_eq!(deregister_unwind_info(text), Ok(()));
            assert_eq!(deregister_unwind_info(text), Err(ExternalUnwindInfoError::NotRegistered));
        }
        assert_eq!(get(text), None);
        assert_eq!(unwind::code_range_count(), before);
    }

    #[test]
    fn malformed_tables_are_refused() {
        let mut text = [0u8; 16];
        let mut eh_frame = [0xffu8; 16];
        // SAFETY: refused, hence nothing is registered.
        let result =
            unsafe { register_unwind_info(text.as_mut_ptr(), 16, eh_frame.as_mut_ptr(), eh_frame.len()) };
        assert!(matches!(result, Err(ExternalUnwindInfoError::Unusable(RegisterError::BadUnwindInfo(_)))));
        assert_eq!(get(text.as_mut_ptr()), None);
    }
}
