//! The clusters of a file or directory, as far as they have been looked up.

use crate::DAMAGED;
use crate::cache::Cache;
use crate::table::Table;
use alloc::vec::Vec;
use io::IoError;

/// Adjacent clusters.
#[derive(Clone, Copy)]
struct Run {
    /// The number of the first one in the chain.
    start: u32,
    cluster: u32,
    len: u32,
}

/// How many runs are remembered. Of a file in more pieces than that the rest is looked up again each time.
const MANY_RUNS: usize = 1 << 16;

/// A chain of clusters.
pub(crate) struct Chain {
    first: u32,
    runs: Vec<Run>,
    /// How many clusters the runs have.
    len: u32,
}

impl Chain {
    /// The chain that begins with cluster `first`; none if that is zero.
    pub(crate) fn new(first: u32) -> Self {
        Self { first, runs: Vec::new(), len: 0 }
    }

    pub(crate) fn first(&self) -> u32 {
        self.first
    }

    fn last_known(&self) -> Option<u32> {
        self.runs.last().map(|run| run.cluster + run.len - 1)
    }

    fn remember(&mut self, cluster: u32) -> Result<(), IoError> {
        match self.runs.last_mut() {
            Some(run) if run.cluster + run.len == cluster => run.len += 1,
            _ => {
                self.runs.try_reserve(1).map_err(|_| IoError::OutOfMemory)?;
                self.runs.push(Run { start: self.len, cluster, len: 1 });
            }
        }
        self.len += 1;
        Ok(())
    }

    fn known(&self, index: u32) -> Option<u32> {
        let after = self.runs.partition_point(|run| run.start <= index);
        let run = self.runs.get(after.checked_sub(1)?)?;
        (index - run.start < run.len).then(|| run.cluster + (index - run.start))
    }

    /// Cluster `index` of the chain; `None` if it is shorter.
    pub(crate) fn get(
        &mut self,
        table: &Table,
        cache: &mut Cache,
        index: u32,
    ) -> Result<Option<u32>, IoError> {
        if let Some(cluster) = self.known(index) {
            return Ok(Some(cluster));
        }
        if self.first == 0 {
            return Ok(None);
        }
        if self.runs.is_empty() {
            if !table.is_valid(self.first) {
                return Err(DAMAGED);
            }
            self.remember(self.first)?;
        }
        let mut at = self.len - 1;
        let Some(mut cluster) = self.last_known() else { return Ok(None) };
        // A chain that comes back to where it was never ends: the mark is moved on in ever longer steps, so that a circle meets it.
        let (mut mark, mut next_mark) = (cluster, at + 2);
        while at < index {
            let Some(next) = table.next(cache, cluster)? else { return Ok(None) };
            if next == mark || next == self.first {
                return Err(DAMAGED);
            }
            (at, cluster) = (at + 1, next);
            if at == self.len && self.runs.len() < MANY_RUNS {
                self.remember(cluster)?;
            }
            if at == next_mark {
                (mark, next_mark) = (cluster, at.saturating_mul(2));
            }
        }
        Ok(Some(cluster))
    }

    /// The last cluster and its number; `None` if there is none.
    pub(crate) fn last(&mut self, table: &Table, cache: &mut Cache) -> Result<Option<(u32, u32)>, IoError> {
        if self.get(table, cache, 0)?.is_none() {
            return Ok(None);
        }
        let mut index = self.len - 1;
        let mut found = self.get(table, cache, index)?;
        let mut steps = 0;
        loop {
            match self.get(table, cache, index + 1)? {
                None => return Ok(found.map(|cluster| (cluster, index))),
                next => (found, index) = (next, index + 1),
            }
            steps += 1;
            if steps > table.clusters() {
                return Err(DAMAGED);
            }
        }
    }

    /// Makes the chain at least `count` clusters long. Nothing has changed if that fails.
    pub(crate) fn extend(&mut self, table: &mut Table, cache: &mut Cache, count: u32) -> Result<(), IoError> {
        if count == 0 || self.get(table, cache, count - 1)?.is_some() {
            return Ok(());
        }
        let old = self.last(table, cache)?;
        let mut len = old.map_or(0, |(_, index)| index + 1);
        if table.free_count(cache)? < count - len {
            return Err(IoError::NoSpace);
        }
        let mut last = old.map(|(cluster, _)| cluster);
        while len < count {
            match table.allocate(cache, last) {
                Ok(cluster) => {
                    if self.first == 0 {
                        self.first = cluster;
                    }
                    (last, len) = (Some(cluster), len + 1);
                }
                Err(error) => {
                    // What was taken is in the way of nobody if it cannot be given back either.
                    let _ = self.cut(table, cache, old.map_or(0, |(_, index)| index + 1));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Cuts the chain to `count` clusters, and frees the rest.
    pub(crate) fn cut(&mut self, table: &mut Table, cache: &mut Cache, count: u32) -> Result<(), IoError> {
        if count == 0 {
            let first = core::mem::take(&mut self.first);
            self.forget(0);
            return if first == 0 { Ok(()) } else { table.free_chain(cache, first) };
        }
        let last = self.get(table, cache, count - 1)?;
        self.forget(count);
        last.map_or(Ok(()), |last| table.cut_after(cache, last))
    }

    fn forget(&mut self, count: u32) {
        while let Some(run) = self.runs.last_mut() {
            if run.start >= count {
                self.runs.pop();
            } else {
                run.len = run.len.min(count - run.start);
                break;
            }
        }
        self.len = self.len.min(count);
    }
}
