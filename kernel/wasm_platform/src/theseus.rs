//! Theseus: pages of the kernel's own address space, its exception hook, its unwinder.

use crate::{PlatformError, TrapCause, TrapHandler, TrapRegisters, check_range, round_up_to_pages};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::ops::{Deref, Range};
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use fs_node::{DirRef, FileOrDir, FsError};
use kernel_config::memory::{CRATE_WINDOW_LAST, CRATE_WINDOW_START, PAGE_SIZE};
use memory::{Claim, Page, PageRange, PteFlags, ReservedPages, VirtualAddress};
use path::Path;
use signal_handler::{Resume, TrapContext};

mod crates;
mod waiting;
mod workers;

pub use crates::{LoadedCommand, LoadedCrate};
pub use waiting::Mutex;
pub(crate) use waiting::{ListLock, Sleeper, with_list};
pub use workers::parallelism;
pub(crate) use workers::{Account, run_workers};

/// The areas of address space, as `page_allocator::statistics` orders them, that guests have a part in.
const GENERAL_AREA: usize = 0;
const CODE_AREA: usize = 2;

/// Parts of the areas, as divisors, that reservations and code of guests leave to others: of the general pages, where a linear memory
/// has 4 GiB and its guard, 8 TiB for stacks and mappings; of the window of executable code, 256 MiB for crates of the kernel.
const KEPT_OF_GENERAL_PAGES: usize = 16;
const KEPT_OF_CODE_WINDOW: usize = 8;

/// Whether a guest may have `len` bytes of an area.
///
/// Who asks at the same time may be let through as well: then a few reservations less are left, of thousands.
fn leave_address_space(area: usize, len: usize, kept: usize) -> Result<(), &'static str> {
    let area = &page_allocator::statistics()[area];
    match len / PAGE_SIZE + area.total / kept <= area.free {
        true => Ok(()),
        false => Err("guests have all the address space that is for them; end a program that uses some"),
    }
}

/// The name under which artifacts for this platform are compiled.
pub const OPERATING_SYSTEM: &str = "theseus";

/// Whether all code of the host keeps frame pointers.
pub const HOST_KEEPS_FRAME_POINTERS: bool = true;

/// Calls `f` with an address in each function that was running when the current task panicked last, the innermost first.
pub fn latest_panic(f: &mut dyn FnMut(usize)) {
    panic_wrapper::latest_panic(f);
}

/// Whether the variable `name` of the current task's environment has this value.
pub fn variable_is(name: &str, value: &str) -> bool {
    task::with_current_task(|task| task.get_env().lock().get(name) == Some(value)).unwrap_or(false)
}

/// Calls `f` with a name for the code at `address`, its crate and the offset in it, if they are known.
pub fn symbolize(address: usize, f: &mut dyn FnMut(&dyn core::fmt::Display)) -> bool {
    stack_trace::symbolize(address, &mut |symbol| f(symbol))
}

/// Size of a page in bytes.
pub fn page_size() -> usize {
    PAGE_SIZE
}

/// Calls `f`, which allocates what a guest has asked for, and copes with a refusal: it leaves the kernel's reserve to others.
#[inline]
pub fn for_guest<R>(f: impl FnOnce() -> R) -> R {
    memory::with_claim(Claim::Refusable, f)
}

/// Pages of a guest, of which those that are committed are charged to the task that reserved them.
struct GuestPages {
    pages: ReservedPages,
    /// `None` if there were no tasks yet.
    account: Option<Arc<AtomicUsize>>,
}

impl GuestPages {
    fn new(pages: ReservedPages) -> Self {
        Self { pages, account: task::with_current_task(|task| task.guest_memory_account().clone()).ok() }
    }

    /// Does something with the pages that may change how many are committed.
    fn change<R>(&mut self, change: impl FnOnce(&mut ReservedPages) -> R) -> R {
        let before = self.pages.committed_bytes();
        let result = change(&mut self.pages);
        if let Some(account) = &self.account {
            // Modulo 2^64, should it have become less.
            account.fetch_add(self.pages.committed_bytes().wrapping_sub(before), Ordering::Relaxed);
        }
        result
    }
}

impl Drop for GuestPages {
    fn drop(&mut self) {
        if let Some(account) = &self.account {
            account.fetch_sub(self.pages.committed_bytes(), Ordering::Relaxed);
        }
    }
}

/// Address space that belongs to one owner. It starts inaccessible; parts of it become readable and writable memory
/// by [`commit`](Self::commit).
pub struct Reservation(Option<GuestPages>);

impl Reservation {
    /// Reserves `len` bytes, rounded up to whole pages, aligned to a page. Costs no memory.
    ///
    /// # Errors
    /// Fails if the address space has no room for it.
    pub fn new(len: usize) -> Result<Self, PlatformError> {
        const ATTEMPTED: &str = "reserve address space";
        let len =
            round_up_to_pages(len).ok_or(PlatformError::bad_argument(ATTEMPTED, "the size overflows"))?;
        if len == 0 {
            return Ok(Self(None));
        }
        leave_address_space(GENERAL_AREA, len, KEPT_OF_GENERAL_PAGES)
            .and_then(|()| memory::reserve_pages(len))
            .map(|pages| Self(Some(GuestPages::new(pages))))
            .map_err(|reason| PlatformError::message(ATTEMPTED, reason))
    }

    /// Address of the first byte. Dereferencing it is sound only within what is committed.
    pub fn as_ptr(&self) -> *mut u8 {
        self.0.as_ref().map_or(ptr::dangling_mut(), |guest| guest.pages.as_mut_ptr())
    }

    /// Number of bytes reserved, a multiple of the page size.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |guest| guest.pages.size_in_bytes())
    }

    /// Whether nothing is reserved.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes `len` bytes from `offset`, which are not committed yet, readable and writable memory that reads as zero.
    /// Both must be multiples of the page size.
    ///
    /// # Errors
    /// Fails if the range leaves the reservation or the system is out of memory.
    pub fn commit(&mut self, offset: usize, len: usize) -> Result<(), PlatformError> {
        const ATTEMPTED: &str = "commit memory";
        check_range(ATTEMPTED, offset, len, self.len())?;
        match &mut self.0 {
            Some(guest) if len != 0 => {
                let flags = PteFlags::new().valid(true).writable(true);
                for_guest(|| guest.change(|pages| pages.commit(offset..offset + len, flags)))
                    .map_err(|reason| PlatformError::message(ATTEMPTED, reason))
            }
            _ => Ok(()),
        }
    }

    /// As [`commit`](Self::commit), in steps that take a few milliseconds at most, before each of which `proceed` is asked. Returns
    /// whether all is committed: if `proceed` says no, it is as before.
    ///
    /// # Errors
    /// As [`commit`](Self::commit). What cannot succeed takes nobody's memory for a while.
    pub fn commit_in_steps(
        &mut self,
        offset: usize,
        len: usize,
        proceed: &mut dyn FnMut() -> bool,
    ) -> Result<bool, PlatformError> {
        /// 2 MiB pages stay whole.
        const STEP: usize = 4 << 20;
        if len / PAGE_SIZE > frame_allocator::free_frames() {
            // It will say so.
            return self.commit(offset, len).map(|()| true);
        }
        let base = self.as_ptr() as usize;
        let (mut at, end) = (offset, offset.saturating_add(len));
        while at < end {
            let next = ((base + at + 1).next_multiple_of(STEP) - base).min(end);
            let committed = match proceed() {
                true => self.commit(at, next - at).map(|()| true),
                false => Ok(false),
            };
            if !matches!(committed, Ok(true)) {
                self.decommit(offset, at - offset)?;
                return committed;
            }
            at = next;
        }
        Ok(true)
    }

    /// Gives the memory of `len` bytes from `offset` back and makes them inaccessible. Both must be multiples of the
    /// page size. A later [`commit`](Self::commit) gives zeroed memory.
    ///
    /// # Errors
    /// Fails if the range leaves the reservation or the system refuses.
    pub fn decommit(&mut self, offset: usize, len: usize) -> Result<(), PlatformError> {
        const ATTEMPTED: &str = "decommit memory";
        check_range(ATTEMPTED, offset, len, self.len())?;
        match &mut self.0 {
            Some(guest) if len != 0 => guest
                .change(|pages| pages.decommit(offset..offset + len))
                .map_err(|reason| PlatformError::message(ATTEMPTED, reason)),
            _ => Ok(()),
        }
    }
}

/// A loaded artifact: an image of which one part, the text, is executable and all else is read-only data. It lies in the
/// window of all executable code, so that every function of the kernel is in reach of a direct call.
pub struct CodeImage {
    pages: Option<GuestPages>,
    len: usize,
}

impl core::fmt::Debug for CodeImage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CodeImage").field("start", &self.as_ptr()).field("len", &self.len).finish()
    }
}

/// The window of all executable code.
fn code_window() -> PageRange {
    let page = |address| Page::containing_address(VirtualAddress::new_canonical(address));
    PageRange::new(page(CRATE_WINDOW_START), page(CRATE_WINDOW_LAST))
}

impl CodeImage {
    /// Copies `image` into memory of its own and makes `text`, a range of whole pages in it (in bytes), executable.
    ///
    /// # Errors
    /// Fails if `text` is not a range of whole pages within the image, or the system is out of memory.
    pub fn publish(image: &[u8], text: Range<usize>) -> Result<Self, PlatformError> {
        const ATTEMPTED: &str = "publish code";
        let refused = |reason| PlatformError::message(ATTEMPTED, reason);
        let len = round_up_to_pages(image.len())
            .ok_or(PlatformError::bad_argument(ATTEMPTED, "the size overflows"))?;
        if text.start > text.end {
            return Err(PlatformError::bad_argument(ATTEMPTED, "the text ends before it begins"));
        }
        check_range(ATTEMPTED, text.start, text.len(), len)?;
        if len == 0 {
            return Ok(Self { pages: None, len: 0 });
        }
        leave_address_space(CODE_AREA, len, KEPT_OF_CODE_WINDOW).map_err(refused)?;
        let pages = page_allocator::allocate_pages_by_bytes_in_range(len, &code_window()).map_err(refused)?;
        let mut guest = GuestPages::new(ReservedPages::new(pages));
        let flags = PteFlags::new().valid(true).writable(true);
        for_guest(|| guest.change(|pages| pages.commit(0..len, flags))).map_err(refused)?;
        let pages = &mut guest.pages;
        // SAFETY: the pages are as many as the image needs, all committed and writable, and new, so nobody else has
        // their address.
        unsafe { ptr::copy_nonoverlapping(image.as_ptr(), pages.as_mut_ptr(), image.len()) };
        pages.protect(0..len, PteFlags::new().valid(true)).map_err(refused)?;
        if !text.is_empty() {
            pages.protect(text, PteFlags::new().valid(true).executable(true)).map_err(refused)?;
        }
        Ok(Self { pages: Some(guest), len: image.len() })
    }
}

impl Deref for CodeImage {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.pages {
            // SAFETY: all pages are committed as long as `self` lives, and nobody can write to them.
            Some(GuestPages { pages, .. }) => unsafe {
                core::slice::from_raw_parts(pages.as_mut_ptr(), self.len)
            },
            None => &[],
        }
    }
}

/// Unwind tables that the kernel's unwinder knows of.
#[derive(Debug)]
pub struct UnwindRegistration {
    text_start: usize,
}

impl UnwindRegistration {
    /// Makes the `.eh_frame` section in `eh_frame`, which describes the code in `text` (addresses), known.
    ///
    /// # Errors
    /// Fails if the section is malformed, or there is no memory.
    ///
    /// # Safety
    /// The section must be a well-formed `.eh_frame` whose entries describe code in `text` truthfully, and both must
    /// stay as they are as long as the returned value lives.
    pub unsafe fn register(text: Range<usize>, eh_frame: &[u8]) -> Result<Self, PlatformError> {
        const ATTEMPTED: &str = "register unwind tables";
        // SAFETY: as the caller vouches. The pointers are not written through: the function's signature is of a time when
        // nobody minded.
        let registered = unsafe {
            external_unwind_info::register_unwind_info(
                text.start as *mut u8,
                text.len(),
                eh_frame.as_ptr().cast_mut(),
                eh_frame.len(),
            )
        };
        registered.map_err(|error| {
            let reason = match error {
                external_unwind_info::ExternalUnwindInfoError::AlreadyRegistered => "there is other code in its place",
                external_unwind_info::ExternalUnwindInfoError::NotRegistered => "the code is not registered",
                external_unwind_info::ExternalUnwindInfoError::Unusable(_) => {
                    "the tables are malformed, or memory is out; compile the module again, or free some memory"
                }
            };
            PlatformError::message(ATTEMPTED, reason)
        })?;
        Ok(Self { text_start: text.start })
    }
}

impl Drop for UnwindRegistration {
    fn drop(&mut self) {
        // SAFETY: who drops it is about to unmap the code, so no frame of it is on any stack.
        let result = unsafe { external_unwind_info::deregister_unwind_info(self.text_start as *mut u8) };
        debug_assert!(result.is_ok(), "was registered by `register`");
    }
}

#[thread_local]
static SLOT: Cell<*mut u8> = Cell::new(ptr::null_mut());

#[thread_local]
static STACK: Cell<(usize, usize)> = Cell::new((0, 0));

/// The current task's pointer; null until it is set.
#[inline]
pub fn tls_get() -> *mut u8 {
    SLOT.get()
}

/// Sets the current task's pointer.
#[inline]
pub fn tls_set(pointer: *mut u8) {
    SLOT.set(pointer);
}

/// The addresses of the current task's stack, guard pages excluded. Empty, at the end of the address space, if there is no
/// current task: then nothing is known that could be used.
#[inline]
pub fn stack_bounds() -> Range<usize> {
    let (start, end) = STACK.get();
    if end != 0 { start..end } else { find_stack_bounds() }
}

#[cold]
fn find_stack_bounds() -> Range<usize> {
    match task::with_current_task(|task| task.stack_bounds()) {
        Ok((start, end)) => {
            STACK.set((start, end));
            start..end
        }
        Err(_) => usize::MAX..usize::MAX,
    }
}

/// The content of the file at `path`, seen from the current task's directory.
///
/// # Errors
/// Says why it cannot be read.
pub fn read_file(path: &str) -> Result<Vec<u8>, String> {
    let path = Path::new(path);
    match path.resolve(&working_directory()).map_err(|error| error.to_string())? {
        FileOrDir::File(file) => {
            let mut file = file.lock();
            let len = file.len();
            let mut content = Vec::new();
            content.try_reserve_exact(len).map_err(|_| {
                format!("not enough memory for its {len} bytes; remove files or boot with a larger MEM=")
            })?;
            content.resize(len, 0);
            let read = file.read_at(&mut content, 0).map_err(|error| FsError::from(error).to_string())?;
            content.truncate(read);
            Ok(content)
        }
        FileOrDir::Dir(_) => Err(FsError::IsADirectory.to_string()),
    }
}

/// The directory that relative paths of the current task start from.
pub(crate) fn working_directory() -> DirRef {
    let of_task = task::with_current_task(|task| task.get_env().lock().working_dir.clone());
    of_task.unwrap_or_else(|_| root::get_root().clone())
}

/// The [`TrapHandler`] in charge, or null.
static HANDLER: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Takes the kernel's hooks. Called under the lock of `hook`.
pub(crate) fn take_trap_hook(handler: TrapHandler) -> Result<(), PlatformError> {
    HANDLER.store(handler as *mut (), Ordering::Release);
    let previous = signal_handler::set_trap_handler(Some(on_exception));
    if previous
        .is_some_and(|previous| !ptr::fn_addr_eq(previous, on_exception as signal_handler::TrapHandler))
    {
        signal_handler::set_trap_handler(previous);
        return Err(PlatformError::bad_argument("install a trap handler", "the kernel's hook is taken"));
    }
    signal_handler::set_interrupt_hook(Some(on_tick));
    Ok(())
}

/// Gives the kernel's hooks back. Called under the lock of `hook`.
pub(crate) fn give_back_trap_hook() {
    signal_handler::set_interrupt_hook(None);
    signal_handler::set_trap_handler(None);
    HANDLER.store(ptr::null_mut(), Ordering::Release);
}

/// The hook for exceptions: runs on the exception stack with interrupts masked.
fn on_exception(context: &mut TrapContext<'_>) -> Option<Resume> {
    let cause = TrapCause::Exception(context.fault_address);
    ask_handler(context, cause)
}

/// The hook for timer ticks that find a task running that was killed, or whose alarm's time has come: runs on the interrupt stack
/// with interrupts masked.
fn on_tick(context: &mut TrapContext<'_>) -> Option<Resume> {
    // Which of the two it is: a task that was killed and unwinds may run guests that are to end as well.
    let cause = if alarm() <= monotonic_nanos() { TrapCause::Alarm } else { TrapCause::Kill };
    ask_handler(context, cause)
}

#[inline]
fn ask_handler(context: &mut TrapContext<'_>, cause: TrapCause) -> Option<Resume> {
    let handler = HANDLER.load(Ordering::Acquire);
    if handler.is_null() {
        return None;
    }
    // SAFETY: only `take_trap_hook` stores something else than null, and that is a `TrapHandler`.
    let handler: TrapHandler = unsafe { core::mem::transmute(handler) };
    let registers = &mut *context.registers;
    let mut trap = TrapRegisters {
        pc: registers.rip as usize,
        sp: registers.rsp as usize,
        fp: registers.rbp as usize,
        cause,
    };
    if !handler(&mut trap) {
        return None;
    }
    (registers.rip, registers.rsp, registers.rbp) = (trap.pc as u64, trap.sp as u64, trap.fp as u64);
    Some(Resume::Control)
}

/// Ends the current task, by unwinding it, if it was killed.
pub fn end_if_killed() {
    task::exit_if_killed();
}

/// Whether the current task was killed and is still to end: [`end_if_killed`] would do so, where it can.
pub fn kill_pending() -> bool {
    task::cancellation_pending()
}

/// Nanoseconds of a clock that never goes back.
#[inline]
pub fn monotonic_nanos() -> u64 {
    time::Instant::now().as_nanos()
}

/// When the current task's alarm is due, on the clock of [`monotonic_nanos`]; [`NO_ALARM`](crate::NO_ALARM) if it is not set.
pub fn alarm() -> u64 {
    task::with_current_task(|task| task.interrupt_at()).unwrap_or(crate::NO_ALARM)
}

/// Sets the current task's alarm, of which there is one: from the time `at` of [`monotonic_nanos`] on the trap handler is asked
/// about what the task runs, with [`TrapCause::Alarm`]. It costs a running task nothing until then.
///
/// # Errors
/// Fails if the system has no timer left. Never here.
pub fn set_alarm(at: u64) -> Result<(), PlatformError> {
    move_alarm(at);
    Ok(())
}

/// As [`set_alarm`], for the trap handler, and for alarms that were set before.
pub fn move_alarm(at: u64) {
    // Without a task there is nobody to be interrupted.
    let _ = task::with_current_task(|task| task.set_interrupt_at(at));
}
