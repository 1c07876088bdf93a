//! Which reserved frames are in use: a short sorted list.

/// The most separate ranges the list can hold. Devices, firmware tables and the parts of the kernel image are
/// some dozens; adjacent ones count as one.
const CAPACITY: usize = 256;

/// Disjoint ranges `(start, end)`, sorted, never touching each other.
pub(crate) struct RangeList {
    ranges: [(usize, usize); CAPACITY],
    len: usize,
}

impl RangeList {
    pub(crate) const fn new() -> Self {
        Self { ranges: [(0, 0); CAPACITY], len: 0 }
    }

    pub(crate) fn as_slice(&self) -> &[(usize, usize)] {
        &self.ranges[..self.len]
    }

    /// How many numbers are in the ranges.
    pub(crate) fn count(&self) -> usize {
        self.as_slice().iter().map(|(start, end)| end - start).sum()
    }

    /// Whether a number of `start..end` is in the list.
    pub(crate) fn overlaps(&self, start: usize, end: usize) -> bool {
        let at = self.as_slice().partition_point(|range| range.1 <= start);
        start < end && self.as_slice().get(at).is_some_and(|range| range.0 < end)
    }

    fn insert_at(&mut self, at: usize, range: (usize, usize)) -> Result<(), ()> {
        if self.len == CAPACITY {
            return Err(());
        }
        self.ranges.copy_within(at..self.len, at + 1);
        self.ranges[at] = range;
        self.len += 1;
        Ok(())
    }

    fn remove_at(&mut self, at: usize) {
        self.ranges.copy_within(at + 1..self.len, at);
        self.len -= 1;
    }

    /// Adds `start..end`, of which nothing is in the list. `Err` if there is no room.
    pub(crate) fn insert(&mut self, start: usize, end: usize) -> Result<(), ()> {
        let at = self.as_slice().partition_point(|range| range.1 < start);
        let touches_lower = at < self.len && self.ranges[at].1 == start;
        let upper = at + touches_lower as usize;
        let touches_upper = upper < self.len && self.ranges[upper].0 == end;
        match (touches_lower, touches_upper) {
            (true, true) => {
                self.ranges[at].1 = self.ranges[upper].1;
                self.remove_at(upper);
            }
            (true, false) => self.ranges[at].1 = end,
            (false, true) => self.ranges[upper].0 = start,
            (false, false) => return self.insert_at(at, (start, end)),
        }
        Ok(())
    }

    /// Takes `start..end` out, which lies in one of the ranges. `Err` if it does not, or if cutting that
    /// range in two needs more room than there is; then nothing changes.
    pub(crate) fn remove(&mut self, start: usize, end: usize) -> Result<(), ()> {
        let at = self.as_slice().partition_point(|range| range.1 <= start);
        let Some(&(low, high)) = self.as_slice().get(at) else { return Err(()) };
        if start < low || end > high {
            return Err(());
        }
        match (start > low, end < high) {
            (false, false) => self.remove_at(at),
            (false, true) => self.ranges[at].0 = end,
            (true, false) => self.ranges[at].1 = start,
            (true, true) => {
                self.insert_at(at + 1, (end, high))?;
                self.ranges[at].1 = start;
            }
        }
        Ok(())
    }
}
