//! The runtime below the API: what compiled code sees, and what it calls.
//!
//! ```text
//! StoreOpaque ── owns ──> InstanceBox ── owns ──> MemoryInst, TableInst (those the module defines)
//!      │                      └─ followed in the same allocation by the VMContext that compiled code uses
//!      └─ owns ──> MemoryInst, TableInst, globals, function references (those the host made)
//! ```
//! All of it stays at one address until the store is dropped, and nothing of it is freed before; so a handle of the API
//! is an address and the number of the store, and is valid exactly if that store is at hand. A shared memory alone belongs to no
//! store: each that uses it has a `MemoryInst` that keeps it alive.

mod builtins;
mod instance;
mod memory;
mod racy;
mod shared;
mod table;

pub(crate) use builtins::BUILTINS;
pub(crate) use instance::{Imports, InstanceBox, InstancePtr};
pub(crate) use memory::{MemoryInst, checked_range};
pub(crate) use shared::SharedHandle;
pub use shared::WaitResult;
pub(crate) use table::{TableInst, checked_elements};
