//! Choices that the generated code depends on, so that compiler and runtime must agree on them.

use crate::types::MemoryType;
use serde::{Deserialize, Serialize};

/// Bytes of address space that a 32-bit index can reach.
pub const WASM32_ADDRESS_SPACE: u64 = 1 << 32;

/// What code was compiled for. An artifact whose tunables differ from the runtime's is refused.
///
/// Traps are always raised by CPU exceptions (guard pages, `ud2`): there is no other mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tunables {
    /// Bytes of address space reserved for a linear memory that may grow large. A multiple of 64 KiB. With 4 GiB or more,
    /// accesses to 32-bit memories need no bounds checks.
    pub memory_reservation: u64,
    /// Bytes after the reservation that are never accessible. A multiple of 64 KiB. An access whose constant offset is
    /// below this size needs no bounds check either.
    pub memory_guard_size: u64,
    /// A memory that is neither imported nor exported and whose declared maximum is at most this many bytes reserves just
    /// its maximum: address space is a shared resource. Accesses to it are checked explicitly.
    pub small_memory_limit: u64,
    /// Code counts what it does and stops when the store's fuel is used up.
    pub consume_fuel: bool,
    /// Code compares the engine's epoch with the store's deadline, at the start of functions and loops.
    pub epoch_interruption: bool,
}

impl Default for Tunables {
    /// 4 GiB of reservation and 32 MiB of guard, as Wasmtime's; memories of at most 1 MiB are small; neither fuel nor epochs.
    fn default() -> Self {
        Tunables {
            memory_reservation: WASM32_ADDRESS_SPACE,
            memory_guard_size: 32 << 20,
            small_memory_limit: 1 << 20,
            consume_fuel: false,
            epoch_interruption: false,
        }
    }
}

/// How much address space one memory takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MemoryPlan {
    /// Bytes reserved from the base on. The memory never moves and never grows beyond them. A multiple of 64 KiB.
    pub reservation: u64,
    /// Bytes after `reservation` that are never accessible.
    pub guard: u64,
}

impl MemoryPlan {
    /// Whether `index + offset .. + size` stays within reservation and guard for every 32-bit `index`: then an access past
    /// the end faults by itself, and code needs no check.
    ///
    /// A reservation below 4 GiB never does, whatever the guard: the plan of an imported memory is made from the import's
    /// type, and the memory that is given at run time may have declared a smaller maximum and reserved less.
    pub fn elides_check(&self, offset: u64, size: u64) -> bool {
        let reach = offset.checked_add(size).and_then(|reach| reach.checked_add(WASM32_ADDRESS_SPACE - 1));
        self.reservation >= WASM32_ADDRESS_SPACE
            && reach.is_some_and(|end| end <= self.reservation.saturating_add(self.guard))
    }
}

impl Tunables {
    /// The plan of a memory that other modules or the host can see: exported, imported, or made by the host.
    ///
    /// Code that imports a memory was compiled for this plan without knowing who makes it; so it must depend on nothing but
    /// the tunables as soon as these elide checks.
    pub fn shared_memory_plan(&self, ty: &MemoryType) -> MemoryPlan {
        let reservation = if self.memory_reservation >= WASM32_ADDRESS_SPACE {
            self.memory_reservation
        } else {
            self.memory_reservation.max(ty.min_bytes()).min(ty.max_bytes())
        };
        MemoryPlan { reservation, guard: self.memory_guard_size }
    }

    /// The plan of a memory that no one outside its module can name.
    pub fn private_memory_plan(&self, ty: &MemoryType) -> MemoryPlan {
        if ty.limits.max.is_some() && ty.max_bytes() <= self.small_memory_limit {
            MemoryPlan { reservation: ty.max_bytes(), guard: self.memory_guard_size }
        } else {
            self.shared_memory_plan(ty)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Limits;

    fn memory(min: u64, max: Option<u64>) -> MemoryType {
        MemoryType { limits: Limits { min, max }, shared: false }
    }

    #[test]
    fn a_large_memory_needs_checks_only_for_offsets_past_the_guard() {
        let plan = Tunables::default().shared_memory_plan(&memory(1, Some(1)));
        assert_eq!(plan, MemoryPlan { reservation: 4 << 30, guard: 32 << 20 });
        assert!(plan.elides_check(0, 8));
        assert!(plan.elides_check((32 << 20) - 7, 8));
        assert!(!plan.elides_check((32 << 20) - 6, 8));
        assert!(!plan.elides_check(u64::MAX, 8));
    }

    #[test]
    fn a_small_private_memory_reserves_its_maximum() {
        let plan = Tunables::default().private_memory_plan(&memory(1, Some(2)));
        assert_eq!(plan.reservation, 2 << 16);
        assert!(!plan.elides_check(0, 1));
        assert_eq!(Tunables::default().private_memory_plan(&memory(1, None)).reservation, 4 << 30);
        assert_eq!(Tunables::default().private_memory_plan(&memory(0, Some(17))).reservation, 4 << 30);
    }

    #[test]
    fn with_a_small_reservation_a_memory_still_holds_its_minimum() {
        let tunables = Tunables { memory_reservation: 1 << 20, ..Tunables::default() };
        assert_eq!(tunables.shared_memory_plan(&memory(64, None)).reservation, 4 << 20);
        assert_eq!(tunables.shared_memory_plan(&memory(1, Some(4))).reservation, 4 << 16);
        assert_eq!(tunables.shared_memory_plan(&memory(1, None)).reservation, 1 << 20);
    }
}
