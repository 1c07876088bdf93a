//! How much a program may take.

use crate::command_line::{Cursor, count, size};
use alloc::format;
use alloc::string::String;
use wasm_engine::{Error, ResourceLimiter, Result, StoreLimits, StoreLimitsBuilder, format_err};

/// Bytes of its stack that a program may use unless it is said otherwise: the engine's own default.
pub(crate) const DEFAULT_STACK: usize = 512 << 10;

/// The most bytes of stack that can be given: as much as Linux gives a program by default, eight times over. All of it is memory.
const MAX_STACK: usize = 64 << 20;

/// Of a machine's memory the part that a program's linear memory may take in the kernel, as a divisor.
#[cfg(target_os = "theseus")]
const MEMORY_SHARE: usize = 2;

/// How many elements each table may have in the kernel: 8 MB of them.
#[cfg(target_os = "theseus")]
const TABLE_ELEMENTS: usize = 1_000_000;

/// What the options say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of each linear memory.
    memory: Option<usize>,
    /// Elements of each table.
    table: Option<usize>,
    /// How many instances.
    instances: Option<usize>,
    /// How many linear memories.
    memories: Option<usize>,
    /// How many tables.
    tables: Option<usize>,
    /// Bytes of stack.
    pub(crate) stack: usize,
}

impl Default for Limits {
    fn default() -> Self {
        #[cfg(target_os = "theseus")]
        let (memory, table) = {
            // In whole MiB, which are easier to read.
            let share = frame_allocator::statistics().total * memory::PAGE_SIZE / MEMORY_SHARE;
            (Some(share & !((1 << 20) - 1)), Some(TABLE_ELEMENTS))
        };
        #[cfg(not(target_os = "theseus"))]
        let (memory, table) = (None, None);
        Self { memory, table, instances: None, memories: None, tables: None, stack: DEFAULT_STACK }
    }
}

impl Limits {
    /// Understands an option, if it is one of those about limits.
    pub(crate) fn take(&mut self, name: &str, cursor: &mut Cursor<'_>) -> Result<bool, String> {
        match name {
            "--max-memory" => self.memory = Some(size(cursor.value()?)?),
            "--max-table" => self.table = Some(count(cursor.value()?, "elements")?),
            "--max-instances" => self.instances = Some(count(cursor.value()?, "instances")?),
            "--max-memories" => self.memories = Some(count(cursor.value()?, "memories")?),
            "--max-tables" => self.tables = Some(count(cursor.value()?, "tables")?),
            "--max-stack" => {
                let text = cursor.value()?;
                self.stack = size(text)?;
                if self.stack > MAX_STACK {
                    return Err(format!("{text} is too much for a stack; give {} at most", bytes(MAX_STACK)));
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Who decides for a store.
    pub(crate) fn limiter(&self) -> Limiter {
        let mut limits = StoreLimitsBuilder::new();
        if let Some(memory) = self.memory {
            limits = limits.memory_size(memory);
        }
        if let Some(table) = self.table {
            limits = limits.table_elements(table);
        }
        if let Some(instances) = self.instances {
            limits = limits.instances(instances);
        }
        if let Some(memories) = self.memories {
            limits = limits.memories(memories);
        }
        if let Some(tables) = self.tables {
            limits = limits.tables(tables);
        }
        Limiter { limits: limits.build(), options: *self, refused: None }
    }
}

/// A number of bytes for a person to read: exactly, in the largest unit that allows it.
fn bytes(number: usize) -> String {
    match [(30, "G"), (20, "M"), (10, "K")].iter().find(|(shift, _)| number.trailing_zeros() >= *shift) {
        Some((shift, unit)) if number > 0 => format!("{}{unit}", number >> shift),
        _ => format!("{number} bytes"),
    }
}

/// What a limit is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limited {
    Memory,
    Table,
}

/// Decides, and remembers what it has last refused.
pub(crate) struct Limiter {
    limits: StoreLimits,
    options: Limits,
    refused: Option<Limited>,
}

impl Limiter {
    /// Adds the option that would have helped to why there is no instance.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let text = format!("{error}");
        let counted = |what: &str| text.contains(&format!("{what} count too high"));
        let of = |limit: Option<usize>| limit.unwrap_or_default();
        let limit = match self.refused {
            Some(Limited::Memory) if text.contains("exceeds memory limits") => {
                format!("--max-memory, which is {}", bytes(of(self.options.memory)))
            }
            Some(Limited::Table) if text.contains("exceeds table limits") => {
                format!("--max-table, which is {}", of(self.options.table))
            }
            _ if counted("instance") => format!("--max-instances, which is {}", of(self.options.instances)),
            _ if counted("memory") => format!("--max-memories, which is {}", of(self.options.memories)),
            _ if counted("table") => format!("--max-tables, which is {}", of(self.options.tables)),
            _ => return error,
        };
        format_err!("{text}; allow more with {limit}")
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let allowed = self.limits.memory_growing(current, desired, maximum)?;
        self.refused = (!allowed).then_some(Limited::Memory);
        Ok(allowed)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let allowed = self.limits.table_growing(current, desired, maximum)?;
        self.refused = (!allowed).then_some(Limited::Table);
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        self.limits.instances()
    }

    fn tables(&self) -> usize {
        self.limits.tables()
    }

    fn memories(&self) -> usize {
        self.limits.memories()
    }
}
