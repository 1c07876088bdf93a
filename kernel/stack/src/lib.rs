//! Stacks of tasks.
//!
//! A [`Stack`] is a writable mapping with allocated pages right below it in which nothing is mapped: the
//! guard. *Holding a stack proves* that overflowing it by less than the guard's size faults instead of reaching
//! somebody's memory. Dropping it unmaps it and gives everything back, the guard included; so whoever
//! runs on it must be gone by then.
#![no_std]

use core::fmt;
use core::ops::{Deref, DerefMut};
use kernel_config::memory::PAGE_SIZE;
use memory::{AllocatedPages, MappedPages, Mapper, PageRange, PteFlags, VirtualAddress, allocate_pages};

/// Flags that stacks are mapped with.
const STACK_FLAGS: PteFlags = PteFlags::new().valid(true).writable(true);

/// Pages of the guard below a new stack. They cost address space only. Rust code touches a large frame page by page (the target's
/// `stack-probes`), so that one page would do for it; the others are for code that does not.
const GUARD_PAGES: usize = 16;

/// A new stack of `size_in_pages` pages of zeroes, and a guard.
///
/// `None` if the size is 0, or if there is not enough memory or address space.
pub fn alloc_stack(size_in_pages: usize, page_table: &mut Mapper) -> Option<Stack> {
    if size_in_pages == 0 {
        return None;
    }
    let pages = allocate_pages(size_in_pages.checked_add(GUARD_PAGES)?)?;
    let above_guard = *pages.start() + GUARD_PAGES;
    let (guard, stack) = pages.split(above_guard).ok()?;
    let stack = page_table.map_allocated_pages(stack, STACK_FLAGS).ok()?;
    Some(Stack { guard, pages: stack })
}

/// A stack and its guard.
pub struct Stack {
    /// Allocated, so that nobody else maps anything there, and not mapped.
    guard: AllocatedPages,
    pages: MappedPages,
}

impl Stack {
    /// The first address above the stack: where an empty stack's pointer is, and where nothing may be read.
    pub fn top_unusable(&self) -> VirtualAddress {
        self.pages.start_address() + self.pages.size_in_bytes()
    }

    /// The highest address at which a machine word of the stack lies.
    pub fn top_usable(&self) -> VirtualAddress {
        self.top_unusable() - size_of::<usize>()
    }

    /// The lowest address of the stack. Below it is the guard.
    pub fn bottom(&self) -> VirtualAddress {
        self.pages.start_address()
    }

    /// The guard: one page at least.
    pub fn guard_page(&self) -> &PageRange {
        self.guard.range()
    }

    /// A stack of these parts: the guard page right below the mapping.
    ///
    /// # Errors
    /// Gives both back if the guard is not right below, or if the mapping is empty or not writable.
    pub fn from_pages(
        guard_page: AllocatedPages,
        stack_pages: MappedPages,
    ) -> Result<Stack, (AllocatedPages, MappedPages)> {
        let end_of_guard = guard_page.start_address() + guard_page.size_in_bytes();
        let fits = guard_page.size_in_bytes() >= PAGE_SIZE
            && stack_pages.size_in_bytes() >= PAGE_SIZE
            && end_of_guard == stack_pages.start_address()
            && stack_pages.flags().is_writable();
        if fits {
            Ok(Stack { guard: guard_page, pages: stack_pages })
        } else {
            Err((guard_page, stack_pages))
        }
    }
}

impl Deref for Stack {
    type Target = MappedPages;
    fn deref(&self) -> &MappedPages {
        &self.pages
    }
}

impl DerefMut for Stack {
    fn deref_mut(&mut self) -> &mut MappedPages {
        &mut self.pages
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Stack({} to {}, guard {:?})", self.bottom(), self.top_unusable(), self.guard)
    }
}
