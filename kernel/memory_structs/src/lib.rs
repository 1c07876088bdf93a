//! Addresses, pages, frames and ranges of them, as types that cannot be confused with each other or with
//! integers.
//!
//! A [`VirtualAddress`] is always canonical and a [`PhysicalAddress`] always fits in 52 bits; a [`Page`] is a
//! unit of virtual memory and a [`Frame`] one of physical memory; [`PageRange`] and [`FrameRange`] are
//! inclusive ranges, so that the last page of the address space can be in one. None of them *owns* anything:
//! ownership is what `AllocatedPages`, `Frames` and `MappedPages` add.
//!
//! Pages and frames carry their size as a type ([`Page4K`], [`Page2M`], [`Page1G`]), but are always
//! *numbered* in units of 4 KiB.
#![cfg_attr(not(test), no_std)]
#![feature(adt_const_params)]
#![feature(step_trait)]

mod address;
mod range;
#[cfg(test)]
mod tests;
mod unit;

pub use address::{PhysicalAddress, VirtualAddress};
pub use range::{FrameRange, PageRange};
pub use unit::{Frame, MemChunkSize, Page, Page1G, Page2M, Page4K, PageSize};

use core::marker::ConstParamTy;

/// The states that a range of memory goes through, used as a const parameter of the types that own memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ConstParamTy)]
pub enum MemoryState {
    /// Owned by its allocator: anyone may get it next.
    Free,
    /// Owned by whoever asked for it, and not mapped.
    Allocated,
    /// Present in a page table.
    Mapped,
    /// Just taken out of a page table; on its way back to being allocated or free.
    Unmapped,
}
