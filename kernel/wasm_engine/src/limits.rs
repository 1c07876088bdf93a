//! Who decides how much a store's guests may take.

use crate::{Result, bail};

/// How many instances a store may have unless its limiter says otherwise.
pub const DEFAULT_INSTANCE_LIMIT: usize = 10_000;
/// How many tables a store may have unless its limiter says otherwise.
pub const DEFAULT_TABLE_LIMIT: usize = 10_000;
/// How many linear memories a store may have unless its limiter says otherwise.
pub const DEFAULT_MEMORY_LIMIT: usize = 10_000;

/// Asked before a store's guests are given more. Installed with [`Store::limiter`](crate::Store::limiter).
pub trait ResourceLimiter {
    /// Whether a linear memory may grow from `current` to `desired` bytes (0 to its minimum when it is made);
    /// `maximum` is what its type allows. `Ok(false)` makes the growth fail as if memory had run out. If the memory is shared
    /// and another task was quicker to grow it, this is asked again.
    ///
    /// # Errors
    /// An error becomes a trap of the guest that asked.
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool>;

    /// Told that a growth of a memory failed, other than by this limiter's own refusal.
    ///
    /// # Errors
    /// An error becomes a trap of the guest that asked; by default there is none, and the guest sees -1.
    fn memory_grow_failed(&mut self, error: crate::Error) -> Result<()> {
        drop(error);
        Ok(())
    }

    /// Whether a table may grow from `current` to `desired` elements; see
    /// [`memory_growing`](Self::memory_growing).
    ///
    /// # Errors
    /// An error becomes a trap of the guest that asked.
    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool>;

    /// Told that a growth of a table failed, other than by this limiter's own refusal.
    ///
    /// # Errors
    /// An error becomes a trap of the guest that asked; by default there is none, and the guest sees -1.
    fn table_grow_failed(&mut self, error: crate::Error) -> Result<()> {
        drop(error);
        Ok(())
    }

    /// How many instances the store may ever have.
    fn instances(&self) -> usize {
        DEFAULT_INSTANCE_LIMIT
    }

    /// How many tables the store may ever have.
    fn tables(&self) -> usize {
        DEFAULT_TABLE_LIMIT
    }

    /// How many linear memories the store may ever have.
    fn memories(&self) -> usize {
        DEFAULT_MEMORY_LIMIT
    }
}

/// Puts [`StoreLimits`] together.
#[derive(Debug, Clone, Default)]
pub struct StoreLimitsBuilder(StoreLimits);

impl StoreLimitsBuilder {
    /// No limits but the default ones on counts.
    pub fn new() -> Self {
        Self(StoreLimits::default())
    }

    /// No linear memory may be larger than `limit` bytes.
    #[must_use]
    pub fn memory_size(mut self, limit: usize) -> Self {
        self.0.memory_size = Some(limit);
        self
    }

    /// No table may have more than `limit` elements.
    #[must_use]
    pub fn table_elements(mut self, limit: usize) -> Self {
        self.0.table_elements = Some(limit);
        self
    }

    /// No more than `limit` instances; 10,000 by default.
    #[must_use]
    pub fn instances(mut self, limit: usize) -> Self {
        self.0.instances = limit;
        self
    }

    /// No more than `limit` tables; 10,000 by default.
    #[must_use]
    pub fn tables(mut self, limit: usize) -> Self {
        self.0.tables = limit;
        self
    }

    /// No more than `limit` linear memories; 10,000 by default.
    #[must_use]
    pub fn memories(mut self, limit: usize) -> Self {
        self.0.memories = limit;
        self
    }

    /// Whether a growth that fails is a trap instead of -1; by default it is not.
    #[must_use]
    pub fn trap_on_grow_failure(mut self, trap: bool) -> Self {
        self.0.trap_on_grow_failure = trap;
        self
    }

    /// The limits.
    pub fn build(self) -> StoreLimits {
        self.0
    }
}

/// A [`ResourceLimiter`] with fixed limits, made by [`StoreLimitsBuilder`].
#[derive(Debug, Clone)]
pub struct StoreLimits {
    memory_size: Option<usize>,
    table_elements: Option<usize>,
    instances: usize,
    tables: usize,
    memories: usize,
    trap_on_grow_failure: bool,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            memory_size: None,
            table_elements: None,
            instances: DEFAULT_INSTANCE_LIMIT,
            tables: DEFAULT_TABLE_LIMIT,
            memories: DEFAULT_MEMORY_LIMIT,
            trap_on_grow_failure: false,
        }
    }
}

impl StoreLimits {
    /// Decides about a growth to `desired` with `limit` and the type's `maximum`.
    fn decide(
        &self,
        what: &str,
        desired: usize,
        limit: Option<usize>,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let allowed =
            limit.is_none_or(|limit| desired <= limit) && maximum.is_none_or(|maximum| desired <= maximum);
        if !allowed && self.trap_on_grow_failure {
            bail!("forcing trap when growing {what} to {desired}");
        }
        Ok(allowed)
    }
}

impl ResourceLimiter for StoreLimits {
    fn memory_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let allowed = self.decide("memory", desired, self.memory_size, maximum);
        allowed.map_err(|error| crate::format_err!("{error} bytes"))
    }

    fn memory_grow_failed(&mut self, error: crate::Error) -> Result<()> {
        if self.trap_on_grow_failure {
            return Err(error.context("forcing a memory growth failure to be a trap"));
        }
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let allowed = self.decide("table", desired, self.table_elements, maximum);
        allowed.map_err(|error| crate::format_err!("{error} elements"))
    }

    fn table_grow_failed(&mut self, error: crate::Error) -> Result<()> {
        if self.trap_on_grow_failure {
            return Err(error.context("forcing a table growth failure to be a trap"));
        }
        Ok(())
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
    }
}
