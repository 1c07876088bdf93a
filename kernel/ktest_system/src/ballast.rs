//! Memory that is taken out of the way, so that little is left.

use memory::{PAGE_SIZE, PteFlags, ReservedPages};

/// How much is taken at once, in frames: 2 MiB, which is quick to take and to give back.
const CHUNK: usize = (2 << 20) / PAGE_SIZE;

/// Frames that nobody else can have until this is dropped.
pub struct Ballast {
    _pages: ReservedPages,
}

impl Ballast {
    /// Takes as many frames as it must so that no more than `frames` stay free beyond the reserve: the most that guests can have.
    ///
    /// # Panics
    /// As [`leaving`](Self::leaving).
    pub fn leaving_to_guests(frames: usize) -> Self {
        Self::leaving(frame_allocator::statistics().reserve + frames)
    }

    /// Takes as many frames as it must so that no more than `frames` stay free, the reserve included.
    ///
    /// # Panics
    /// If there is not enough address space.
    pub fn leaving(frames: usize) -> Self {
        heap::trim();
        let surplus = frame_allocator::free_frames().saturating_sub(frames);
        // Address space for all of it at once; what is committed grows from its start.
        let mut pages =
            memory::reserve_pages(surplus.max(1) * PAGE_SIZE).expect("address space is plentiful");
        let flags = PteFlags::new().valid(true).writable(true);
        let (mut taken, mut chunk) = (0, CHUNK);
        while taken < surplus && chunk > 0 {
            // Page tables take frames, too: what is free must be looked at each time.
            let more = frame_allocator::free_frames().saturating_sub(frames).min(chunk).min(surplus - taken);
            if more == 0 {
                break;
            }
            match pages.commit(taken * PAGE_SIZE..(taken + more) * PAGE_SIZE, flags) {
                Ok(()) => taken += more,
                // The frames and the page tables for them are more than there is.
                Err(_) => chunk = more / 2,
            }
        }
        Self { _pages: pages }
    }
}
