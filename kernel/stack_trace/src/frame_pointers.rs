//! The chain of frame pointers.

use core::ops::{ControlFlow, Range};

/// Follows the chain of frame pointers from `frame_pointer` on: calls `f` with each frame pointer and the address that its
/// function returns to, until `f` breaks or the chain ends.
///
/// A frame pointer points to the caller's frame pointer, which the return address follows. The chain ends at a frame
/// pointer or a return address of zero, and where a frame pointer is not aligned, not in `stack` or not above the one
/// before: in a stack that was overwritten it comes to an end as well.
///
/// # Safety
/// The memory of `stack` is readable, and nobody writes to it meanwhile.
pub unsafe fn walk_frame_pointers(
    frame_pointer: usize,
    stack: Range<usize>,
    f: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) {
    const WORD: usize = size_of::<usize>();
    let mut lowest = stack.start;
    let mut frame_pointer = frame_pointer;
    loop {
        let fits = frame_pointer >= lowest
            && frame_pointer.is_multiple_of(WORD)
            && frame_pointer.checked_add(2 * WORD).is_some_and(|end| end <= stack.end);
        if frame_pointer == 0 || !fits {
            return;
        }
        // SAFETY: two aligned words within `stack`, as was just checked; the caller promises that they can be read.
        let [caller, return_address] = unsafe { (frame_pointer as *const [usize; 2]).read() };
        if return_address == 0 || f(frame_pointer, return_address).is_break() {
            return;
        }
        lowest = frame_pointer + 2 * WORD;
        frame_pointer = caller;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks from word `first` of a stack made of `words`; a link is the index of the word it points to, times 8.
    fn walk(first: usize, words: &[usize], limit: usize) -> Vec<(usize, usize)> {
        let mut stack = words.to_vec();
        let base = stack.as_ptr() as usize;
        // Links are even numbers of words, return addresses are odd here.
        for word in &mut stack {
            if *word % 2 == 0 && *word != 0 {
                *word += base;
            }
        }
        let mut found = Vec::new();
        // SAFETY: the vector is the stack.
        unsafe {
            walk_frame_pointers(base + first * 8, base..base + words.len() * 8, &mut |pointer, address| {
                found.push(((pointer - base) / 8, address));
                if found.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        }
        found
    }

    #[test]
    fn follows_the_chain_to_its_end() {
        assert_eq!(walk(1, &[7, 32, 101, 7, 64, 103, 7, 7, 0, 105], 9), [(1, 101), (4, 103), (8, 105)]);
        assert_eq!(walk(1, &[7, 32, 101, 7, 64, 103, 7, 7, 0, 105], 2), [(1, 101), (4, 103)]);
        assert_eq!(walk(0, &[16, 101, 0, 0], 9), [(0, 101)], "a return address of zero ends it");
    }

    #[test]
    fn a_broken_chain_ends() {
        assert_eq!(walk(0, &[16, 101, 16, 103], 99), [(0, 101), (2, 103)], "a frame is not its own caller");
        assert_eq!(walk(2, &[0, 101, 8, 103], 99), [(2, 103)], "nor is one below it");
        assert_eq!(walk(0, &[8, 101, 0, 103], 99), [(0, 101)], "frames do not overlap");
        assert_eq!(walk(0, &[20, 101, 0, 103, 0], 99), [(0, 101)], "nor are they unaligned");
        assert_eq!(walk(0, &[24, 101, 0, 0], 99), [(0, 101)], "nor half outside");
        assert_eq!(walk(0, &[1 << 20, 101, 0, 0], 99), [(0, 101)]);
        assert_eq!(walk(0, &[usize::MAX - 6, 101], 99), [(0, 101)]);
        assert_eq!(walk(4, &[0, 101], 99), [], "already outside");
    }
}
