//! Every size up to 300 at every alignment and overlap that makes a difference, against what the standard library does.

use super::*;
use std::sync::Mutex;
use std::vec::Vec;

/// The size from which on `rep` is used is one for all.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs a test without `rep`, and with it from 129 bytes on.
fn both_ways(test: impl Fn()) {
    let _guard = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for rep_from in [usize::MAX, 129] {
        REP_FROM.store(rep_from, Ordering::Relaxed);
        test();
    }
    init();
}

const SIZES: usize = 300;
const LONG: [usize; 6] = [511, 512, 1000, 4096, 4099, 100_003];

fn sizes() -> impl Iterator<Item = usize> {
    (0..=SIZES).chain(LONG)
}

/// Bytes that differ from their neighbours.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 + n / 251) as u8).collect()
}

#[test]
fn memcpy_copies_all_and_no_more() {
    both_ways(|| {
        for size in sizes() {
            let from = pattern(size + 32);
            for offset in 0..17 {
                for to_offset in [0, 1, 7, 8, 15, 16] {
                    let mut to = vec![0xA5; size + 48];
                    let mut expected = to.clone();
                    expected[to_offset..to_offset + size].copy_from_slice(&from[offset..offset + size]);
                    let start = to[to_offset..].as_mut_ptr();
                    // SAFETY: both buffers are as long.
                    assert_eq!(unsafe { memcpy(start, from[offset..].as_ptr(), size) }, start);
                    assert!(to == expected, "{size} bytes from {offset} to {to_offset}");
                }
            }
        }
    });
}

#[test]
fn memmove_copies_what_overlaps() {
    both_ways(|| {
        for size in (0..=SIZES).chain([511, 512, 1000, 4099]) {
            let step = if size > SIZES { 61 } else { 1 + size / 60 };
            for distance in (0..size + 20).step_by(step).chain([1, 15, 16, 17, 127, 128, 129]) {
                for align in [0, 5, 16] {
                    let original = pattern(align + distance + size + 32);
                    for (from, to) in [(align, align + distance), (align + distance, align)] {
                        let (mut expected, mut buffer) = (original.clone(), original.clone());
                        expected.copy_within(from..from + size, to);
                        let start = buffer.as_mut_ptr();
                        // SAFETY: the buffer is longer than both ends.
                        unsafe { assert_eq!(memmove(start.add(to), start.add(from), size), start.add(to)) };
                        assert!(buffer == expected, "{size} bytes from {from} to {to}");
                    }
                }
            }
        }
    });
}

#[test]
fn memset_fills_all_and_no_more() {
    both_ways(|| {
        for size in sizes() {
            for offset in 0..17 {
                for byte in [0, 0x5A, 0xFF, -2, 0x1234] {
                    let mut to = vec![0xA5; size + 48];
                    let mut expected = to.clone();
                    expected[offset..offset + size].fill(byte as u8);
                    let start = to[offset..].as_mut_ptr();
                    // SAFETY: the buffer is as long.
                    assert_eq!(unsafe { memset(start, byte, size) }, start);
                    assert!(to == expected, "{size} bytes of {byte} at {offset}");
                }
            }
        }
    });
}

#[test]
fn comparisons_find_the_first_difference() {
    for size in (0..=SIZES).chain([511, 1000]) {
        for offset in [0, 1, 8, 15] {
            // What is before and behind differs, and must not count.
            let mut a = pattern(size + 32);
            let mut b: Vec<u8> = a.iter().map(|byte| !byte).collect();
            b[offset..offset + size].copy_from_slice(&a[offset..offset + size]);
            let compare = |a: &[u8], b: &[u8]| {
                // SAFETY: both buffers are as long.
                unsafe {
                    let [a, b] = [a[offset..].as_ptr(), b[offset..].as_ptr()];
                    let (order, equal) = (memcmp(a, b, size), bcmp(a, b, size));
                    assert_eq!(order == 0, equal == 0);
                    order.signum()
                }
            };
            assert_eq!(compare(&a, &b), 0, "{size} equal bytes at {offset}");
            for place in offset..offset + size {
                for (less, greater) in [(0, 1), (0x7F, 0x80), (1, 0xFF)] {
                    let before = (a[place], b[place]);
                    (a[place], b[place]) = (less, greater);
                    // A later difference the other way round.
                    let later = offset + size - 1;
                    let behind = (a[later], b[later]);
                    if later > place {
                        (a[later], b[later]) = (9, 3);
                    }
                    assert_eq!((compare(&a, &b), compare(&b, &a)), (-1, 1), "{size} bytes, {place}");
                    (a[later], b[later]) = behind;
                    (a[place], b[place]) = before;
                }
            }
        }
    }
}

/// Nothing beyond the ends is touched: not even read, at the end of a page or its beginning.
#[test]
fn nothing_beyond_the_ends_is_touched() {
    const PAGE: usize = 4096;
    // SAFETY: new memory, of which only the middle page can be accessed.
    let page = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let start = libc::mmap(core::ptr::null_mut(), 3 * PAGE, libc::PROT_NONE, flags, -1, 0);
        assert_ne!(start, libc::MAP_FAILED);
        let page = start.cast::<u8>().add(PAGE);
        assert_eq!(libc::mprotect(page.cast(), PAGE, libc::PROT_READ | libc::PROT_WRITE), 0);
        page
    };
    both_ways(|| {
        for size in 0..=SIZES {
            let mut other = pattern(size);
            for edge in [0, PAGE - size] {
                // SAFETY: the block lies within the page, at one of its ends.
                unsafe {
                    let block = page.add(edge);
                    memset(block, 1, size);
                    memcpy(block, other.as_ptr(), size);
                    assert_eq!(
                        (memcmp(block, other.as_ptr(), size), bcmp(other.as_ptr(), block, size)),
                        (0, 0)
                    );
                    memcpy(other.as_mut_ptr(), block, size);
                    memmove(block, block.wrapping_add(size / 2), size - size / 2);
                    memmove(block.add(size / 2), block, size - size / 2);
                }
            }
        }
    });
}
