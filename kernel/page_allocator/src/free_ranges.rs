//! [`FreeRanges`]: a set of disjoint ranges of numbers, with search by length and alignment.
//!
//! A treap: a binary search tree by the ranges' starts that is at the same time a heap by pseudo-random
//! priorities, which keeps it balanced whatever the order of operations. Each node also knows the longest
//! range of its subtree.

use core::ptr::NonNull;

/// A free range, as a node of the tree.
pub struct Node {
    start: usize,
    end: usize,
    /// Longest range in this node's subtree.
    longest: usize,
    priority: u64,
    left: Link,
    right: Link,
}

impl Node {
    const fn unused() -> Self {
        Self { start: 0, end: 0, longest: 0, priority: 0, left: None, right: None }
    }
}

type Link = Option<NonNull<Node>>;

/// Nodes in a page.
const NODES_PER_SUPPLY: usize = 4096 / size_of::<Node>();

/// A page's worth of nodes, all unused. All-zero memory is a valid one.
pub struct NodeSupply([Node; NODES_PER_SUPPLY]);

impl NodeSupply {
    /// Nodes that are all unused.
    pub const fn new() -> Self {
        Self([const { Node::unused() }; NODES_PER_SUPPLY])
    }
}

impl Default for NodeSupply {
    fn default() -> Self {
        Self::new()
    }
}

/// Nodes that only [`FreeRanges::insert`] may use up: taking stops before, so that giving back does not fail
/// for want of memory.
const RESERVE: usize = 32;

/// A set of numbers, kept as disjoint ranges that never touch.
///
/// Invariants: the ranges in the tree are disjoint, not adjacent and not empty; `longest` of each node is the
/// greatest length in its subtree; every node is in the tree or in the list of spare ones, once, and belongs
/// to this set alone.
pub struct FreeRanges {
    root: Link,
    /// Unused nodes, linked by `left`.
    spare: Link,
    spare_count: usize,
    supply: Option<fn() -> Option<&'static mut NodeSupply>>,
    free: usize,
    chunks: usize,
    seed: u64,
}

// SAFETY: the nodes that a set points to were given to it alone and for good by the supply. So whichever
// thread has the set may use them.
unsafe impl Send for FreeRanges {}

/// Longest range below `link`.
fn longest(link: Link) -> usize {
    // SAFETY: links of a set point to its own nodes, which live for ever; no `&mut` to one is held across a
    // call.
    link.map_or(0, |node| unsafe { (*node.as_ptr()).longest })
}

/// Recomputes `longest` after a child or the range itself changed.
///
/// # Safety
/// `node` belongs to a set that the caller has exclusively.
unsafe fn update(node: NonNull<Node>) {
    // SAFETY: exclusive, by this function's contract; children are distinct nodes and only read.
    let n = unsafe { &mut *node.as_ptr() };
    n.longest = (n.end - n.start).max(longest(n.left)).max(longest(n.right));
}

/// Cuts a tree into the ranges that start below `key` and the rest.
///
/// # Safety
/// The tree belongs to a set that the caller has exclusively.
unsafe fn split(tree: Link, key: usize) -> (Link, Link) {
    let Some(node) = tree else { return (None, None) };
    // SAFETY: exclusive, by this function's contract. Raw places, so that no reference lives across the
    // recursion.
    unsafe {
        let n = node.as_ptr();
        if (*n).start < key {
            let (low, high) = split((*n).right, key);
            (*n).right = low;
            update(node);
            (Some(node), high)
        } else {
            let (low, high) = split((*n).left, key);
            (*n).left = high;
            update(node);
            (low, Some(node))
        }
    }
}

/// Joins two trees, all ranges of `low` being below those of `high`.
///
/// # Safety
/// Both trees belong to a set that the caller has exclusively.
unsafe fn join(low: Link, high: Link) -> Link {
    let (Some(l), Some(h)) = (low, high) else { return low.or(high) };
    // SAFETY: as in `split`.
    unsafe {
        if (*l.as_ptr()).priority >= (*h.as_ptr()).priority {
            (*l.as_ptr()).right = join((*l.as_ptr()).right, high);
            update(l);
            low
        } else {
            (*h.as_ptr()).left = join(low, (*h.as_ptr()).left);
            update(h);
            high
        }
    }
}

/// Start and end of the highest range of a tree.
///
/// # Safety
/// The tree belongs to a set that nobody changes meanwhile.
unsafe fn last(tree: Link) -> Option<(usize, usize)> {
    let mut node = tree?;
    // SAFETY: links point to nodes that live for ever and, by this function's contract, do not change.
    unsafe {
        while let Some(right) = (*node.as_ptr()).right {
            node = right;
        }
        Some(((*node.as_ptr()).start, (*node.as_ptr()).end))
    }
}

/// Start and end of the lowest range of a tree.
///
/// # Safety
/// As for [`last`].
unsafe fn first(tree: Link) -> Option<(usize, usize)> {
    let mut node = tree?;
    // SAFETY: as in `last`.
    unsafe {
        while let Some(left) = (*node.as_ptr()).left {
            node = left;
        }
        Some(((*node.as_ptr()).start, (*node.as_ptr()).end))
    }
}

/// Lowest aligned start of `count` numbers of one range below `link` that are all in `low..high`.
fn find(link: Link, count: usize, alignment: usize, low: usize, high: usize) -> Option<usize> {
    if longest(link) < count {
        return None;
    }
    // SAFETY: links point to nodes that live for ever; whoever has the set by reference keeps it from
    // changing.
    let node = unsafe { link?.as_ref() };
    // What is left of a range ends below its start, and what is right of it starts above its end.
    if node.start > low
        && let Some(found) = find(node.left, count, alignment, low, high)
    {
        return Some(found);
    }
    let start = node.start.max(low).checked_next_multiple_of(alignment)?;
    if start.checked_add(count)? <= node.end.min(high) {
        return Some(start);
    }
    if node.end < high { find(node.right, count, alignment, low, high) } else { None }
}

impl FreeRanges {
    /// The empty set, which needs [`FreeRanges::set_supply`] before anything can be put in.
    pub const fn new() -> Self {
        Self {
            root: None,
            spare: None,
            spare_count: 0,
            supply: None,
            free: 0,
            chunks: 0,
            seed: 0x9E37_79B9_7F4A_7C15,
        }
    }

    /// Where nodes come from. Given nodes are never given back.
    pub fn set_supply(&mut self, supply: fn() -> Option<&'static mut NodeSupply>) {
        self.supply = Some(supply);
    }

    /// How many numbers are in the set.
    pub fn free(&self) -> usize {
        self.free
    }

    /// How many separate ranges they form.
    pub fn chunks(&self) -> usize {
        self.chunks
    }

    fn keep_spare(&mut self, node: NonNull<Node>) {
        // SAFETY: the node is in no tree and no list, and this set's own.
        unsafe { (*node.as_ptr()).left = self.spare };
        self.spare = Some(node);
        self.spare_count += 1;
    }

    /// Makes sure that there are more than `keep` spare nodes.
    fn refill(&mut self, keep: usize) -> bool {
        if self.spare_count <= keep
            && let Some(supply) = self.supply.and_then(|supply| supply())
        {
            for node in supply.0.iter_mut() {
                self.keep_spare(NonNull::from(node));
            }
        }
        self.spare_count > keep
    }

    /// A node for `start..end`, in no tree yet. The caller has made sure that there is a spare one.
    fn node(&mut self, start: usize, end: usize) -> Link {
        let node = self.spare?;
        // xorshift64: any sequence without pattern will do.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        // SAFETY: a spare node is this set's own and in no tree.
        unsafe {
            self.spare = (*node.as_ptr()).left;
            node.write(Node {
                start,
                end,
                longest: end - start,
                priority: self.seed,
                left: None,
                right: None,
            });
        }
        self.spare_count -= 1;
        self.free += end - start;
        self.chunks += 1;
        Some(node)
    }

    /// A tree of one node comes back to the spare ones.
    fn discard(&mut self, tree: Link) {
        let Some(node) = tree else { return };
        // SAFETY: the callers have just cut this single node out of the tree.
        unsafe {
            debug_assert!((*node.as_ptr()).left.is_none() && (*node.as_ptr()).right.is_none());
            self.free -= (*node.as_ptr()).end - (*node.as_ptr()).start;
        }
        self.chunks -= 1;
        self.keep_spare(node);
    }

    /// Puts `start..end` in. False, with nothing changed, if there was no memory for a node.
    ///
    /// # Panics
    /// If a number of it is in the set already: something has had two owners.
    pub fn insert(&mut self, mut start: usize, mut end: usize) -> bool {
        if start >= end {
            return true;
        }
        if !self.refill(0) {
            return false;
        }
        // SAFETY: `&mut self` makes the tree exclusive.
        unsafe {
            let (mut low, mut high) = split(self.root, start);
            let (before, after) = (last(low), first(high));
            if before.is_some_and(|range| range.1 > start) || after.is_some_and(|range| range.0 < end) {
                self.root = join(low, high);
                panic!("a range was freed twice: {start:#x}..{end:#x}");
            }
            if let Some(range) = before.filter(|range| range.1 == start) {
                let (rest, neighbour) = split(low, range.0);
                low = rest;
                start = range.0;
                self.discard(neighbour);
            }
            if let Some(range) = after.filter(|range| range.0 == end) {
                let (neighbour, rest) = split(high, range.0 + 1);
                high = rest;
                end = range.1;
                self.discard(neighbour);
            }
            let node = self.node(start, end);
            self.root = join(join(low, node), high);
        }
        true
    }

    /// The range that `number` is in.
    pub fn containing(&self, number: usize) -> Option<(usize, usize)> {
        let mut link = self.root;
        while let Some(node) = link {
            // SAFETY: links point to nodes that live for ever; `&self` keeps the tree from changing.
            let node = unsafe { node.as_ref() };
            if number < node.start {
                link = node.left;
            } else if number >= node.end {
                link = node.right;
            } else {
                return Some((node.start, node.end));
            }
        }
        None
    }

    /// Whether all of `start..end` is in the set.
    pub fn contains(&self, start: usize, end: usize) -> bool {
        self.containing(start).is_some_and(|range| end <= range.1)
    }

    /// The first range that ends above `from`.
    pub fn next(&self, from: usize) -> Option<(usize, usize)> {
        let (mut link, mut found) = (self.root, None);
        while let Some(node) = link {
            // SAFETY: as in `containing`.
            let node = unsafe { node.as_ref() };
            if node.end > from {
                found = Some((node.start, node.end));
                link = node.left;
            } else {
                link = node.right;
            }
        }
        found
    }

    /// The lowest start, a multiple of `alignment` (not 0), of `count` numbers that are all in the set and in
    /// `low..high`.
    pub fn find(&self, count: usize, alignment: usize, low: usize, high: usize) -> Option<usize> {
        find(self.root, count, alignment, low, high)
    }

    /// Takes `count` numbers from `start` on out. False, with nothing changed, if they are not all in the
    /// set, or if there is no memory for nodes.
    pub fn take_at(&mut self, start: usize, count: usize) -> bool {
        let end = start + count;
        let Some(range) = self.containing(start).filter(|range| end <= range.1) else { return false };
        if !self.refill(RESERVE) {
            return false;
        }
        // SAFETY: `&mut self` makes the tree exclusive.
        unsafe {
            let (low, rest) = split(self.root, range.0);
            let (node, high) = split(rest, range.0 + 1);
            self.discard(node);
            let before = if range.0 < start { self.node(range.0, start) } else { None };
            let after = if end < range.1 { self.node(end, range.1) } else { None };
            self.root = join(join(low, before), join(after, high));
        }
        true
    }

    /// Takes the lowest `count` numbers out whose start is a multiple of `alignment`.
    pub fn take(&mut self, count: usize, alignment: usize) -> Option<usize> {
        let start = self.find(count, alignment, 0, usize::MAX)?;
        self.take_at(start, count).then_some(start)
    }
}

impl Default for FreeRanges {
    fn default() -> Self {
        Self::new()
    }
}
