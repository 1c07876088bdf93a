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

/// Sets what is called when other processors must forget the translations of a range too.
///
/// It returns when they have. It is called without any lock held, and with interrupts as the one who unmaps
/// has them. Whoever set it must set another one before it goes away.
pub fn set_broadcast_tlb_shootdown_cb(func: fn(PageRange)) {
    BROADCAST.store(func as usize, Ordering::Release);
}

/// Forgets the translations of `pages`, and all cached pointers between page tables, everywhere.
pub(crate) fn flush(pages: &PageRange) {
    if pages.is_empty() {
        return;
    }
    if pages.size_in_pages() < FLUSH_ALL_FROM {
        for page in pages {
            arch::flush_page(page.start_address());
        }
    } else {
        arch::flush_all();
    }
    let callback = BROADCAST.load(Ordering::Acquire);
    if callback != 0 {
        // SAFETY: only `set_broadcast_tlb_shootdown_cb` stores here, and it stores a function of this type.
        let callback = unsafe { core::mem::transmute::<usize, fn(PageRange)>(callback) };
        callback(pages.clone());
    }
}
