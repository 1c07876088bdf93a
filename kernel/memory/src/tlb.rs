//! Forgetting translations that are no longer true, on this processor and on the others.

use crate::arch;
use core::sync::atomic::{AtomicUsize, Ordering};
use memory_structs::PageRange;

/// From this many pages on, forgetting everything is cheaper than forgetting one by one.
///
/// Under QEMU's TCG a CR3 write takes as long as 13 `invlpg`; on hardware the refill of everything else
/// counts too.
const FLUSH_ALL_FROM: usize = 32;

/// The callback as an address; 0 for none.
static BROADCAST: AtomicUsize = AtomicUsize::new(0);

/// Sets what is called when all processors, the present one included, must forget the translations of a range.
///
/// It returns when they have; the task may be moved from one processor to another meanwhile, which is why all of it is the
/// callback's to do. It is called without any lock of this crate held, and with interrupts as the one who
/// unmaps has them. Whoever set it must set another one before it goes away.
pub fn set_broadcast_tlb_shootdown_cb(func: fn(PageRange)) {
    BROADCAST.store(func as usize, Ordering::Release);
}

/// Makes this processor forget the translations of `pages`, and all cached pointers between page tables.
pub fn flush_translations(pages: &PageRange) {
    if pages.size_in_pages() < FLUSH_ALL_FROM {
        for page in pages {
            arch::flush_page(page.start_address());
        }
    } else {
        arch::flush_all();
    }
}

/// Makes this processor forget all translations.
pub fn flush_all_translations() {
    arch::flush_all();
}

/// Forgets the translations of `pages`, and all cached pointers between page tables, everywhere.
pub(crate) fn flush(pages: &PageRange) {
    if pages.is_empty() {
        return;
    }
    let callback = BROADCAST.load(Ordering::Acquire);
    if callback == 0 {
        flush_translations(pages);
    } else {
        // SAFETY: only `set_broadcast_tlb_shootdown_cb` stores here, and it stores a function of this type.
        let callback = unsafe { core::mem::transmute::<usize, fn(PageRange)>(callback) };
        callback(pages.clone());
    }
}
