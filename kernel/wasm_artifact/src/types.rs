//! WebAssembly's types, as the artifact's metadata stores them.
//!
//! They are plain data: equality is structural, and nothing refers to an engine. The runtime interns function types into
//! engine-wide numbers itself (see [`crate::vmctx::VMFuncRef::type_index`]).

use alloc::boxed::Box;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Bytes in a WebAssembly page: the unit of memory sizes and of `memory.grow`.
pub const WASM_PAGE_SIZE: u64 = 64 * 1024;

/// The most pages a 32-bit memory can have: 4 GiB of 64 KiB pages.
pub const WASM32_MAX_PAGES: u64 = 1 << 16;

/// What a reference points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum HeapType {
    /// A function of any type; its machine representation is a pointer to a [`crate::vmctx::VMFuncRef`], or null.
    Func,
    /// A value of the host; its machine representation is a `u32` handle of the store, 0 for null.
    Extern,
    /// An exception; its machine representation is a `u32` handle of the store, 0 for null.
    Exn,
    /// None of them: the type of the null reference to an exception.
    NoExn,
}

/// A reference type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RefType {
    /// Whether null is one of its values.
    pub nullable: bool,
    /// What it points to.
    pub heap_type: HeapType,
}

impl RefType {
    /// `funcref`.
    pub const FUNCREF: RefType = RefType { nullable: true, heap_type: HeapType::Func };
    /// `externref`.
    pub const EXTERNREF: RefType = RefType { nullable: true, heap_type: HeapType::Extern };
    /// `exnref`.
    pub const EXNREF: RefType = RefType { nullable: true, heap_type: HeapType::Exn };
}

impl HeapType {
    /// Whether references are handles of the store, which the store looks for when it collects garbage.
    pub fn is_handle(self) -> bool {
        self != HeapType::Func
    }
}

impl fmt::Display for RefType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heap = match self.heap_type {
            HeapType::Func => "func",
            HeapType::Extern => "extern",
            HeapType::Exn => "exn",
            // The reference is called `nullexnref`.
            HeapType::NoExn if self.nullable => "nullexn",
            HeapType::NoExn => "noexn",
        };
        if self.nullable { write!(f, "{heap}ref") } else { write!(f, "(ref {heap})") }
    }
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ValType {
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// 32-bit IEEE 754 number.
    F32,
    /// 64-bit IEEE 754 number.
    F64,
    /// 128 bits, which instructions take for vectors of smaller numbers.
    V128,
    /// A reference.
    Ref(RefType),
}

impl fmt::Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValType::I32 => f.write_str("i32"),
            ValType::I64 => f.write_str("i64"),
            ValType::F32 => f.write_str("f32"),
            ValType::F64 => f.write_str("f64"),
            ValType::V128 => f.write_str("v128"),
            ValType::Ref(ty) => ty.fmt(f),
        }
    }
}

/// The type of a function.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FuncType {
    /// Types of the parameters, in order.
    #[serde(deserialize_with = "crate::fallible::boxed")]
    pub params: Box<[ValType]>,
    /// Types of the results, in order.
    #[serde(deserialize_with = "crate::fallible::boxed")]
    pub results: Box<[ValType]>,
}

impl FuncType {
    /// How many [`crate::vmctx::ValRaw`] slots an array call of this type needs: parameters and results share them.
    pub fn array_len(&self) -> usize {
        self.params.len().max(self.results.len())
    }
}

/// Size limits of a table or memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// Size at instantiation: elements of a table, pages of a memory.
    pub min: u64,
    /// Size it may grow to, in the same unit; `None` when not declared.
    pub max: Option<u64>,
}

/// The type of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TableType {
    /// Type of the elements.
    pub element: RefType,
    /// Size in elements.
    pub limits: Limits,
}

/// The type of a linear memory with 32-bit addresses and 64 KiB pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MemoryType {
    /// Size in pages of [`WASM_PAGE_SIZE`] bytes. A shared memory has a maximum.
    pub limits: Limits,
    /// Whether several tasks may use it at once, each by an instance of its own.
    pub shared: bool,
}

impl MemoryType {
    /// Size at instantiation, in bytes.
    pub fn min_bytes(&self) -> u64 {
        self.limits.min.saturating_mul(WASM_PAGE_SIZE)
    }

    /// Size it may grow to, in bytes: what is declared, at most 4 GiB.
    pub fn max_bytes(&self) -> u64 {
        self.limits.max.unwrap_or(WASM32_MAX_PAGES).min(WASM32_MAX_PAGES) * WASM_PAGE_SIZE
    }
}

/// The type of a global variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GlobalType {
    /// Type of its value.
    pub content: ValType,
    /// Whether `global.set` may change it.
    pub mutable: bool,
}
