//! What a module declares: the artifact's metadata (`.wasmc.info`).

use crate::index::*;
use crate::tunables::MemoryPlan;
use crate::types::*;
use crate::vmctx::{VMCounts, VMOffsets};
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use serde::{Deserialize, Serialize};

/// The type of an import or export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EntityType {
    /// A function of this type.
    Func(TypeIndex),
    /// A table.
    Table(TableType),
    /// A memory.
    Memory(MemoryType),
    /// A global.
    Global(GlobalType),
    /// A tag, with the type of functions whose parameters are the fields of its exceptions, and that have no results.
    Tag(TypeIndex),
}

/// An import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// First part of its name.
    #[serde(deserialize_with = "crate::fallible::string")]
    pub module: String,
    /// Second part of its name.
    #[serde(deserialize_with = "crate::fallible::string")]
    pub name: String,
    /// What is imported. The n-th import of a kind has index n in that kind's index space.
    pub ty: EntityType,
}

/// An export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// Its name, unique in the module.
    #[serde(deserialize_with = "crate::fallible::string")]
    pub name: String,
    /// What is exported.
    pub entity: EntityIndex,
}

/// A constant expression, to be evaluated at instantiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ConstExpr {
    /// This `i32`.
    I32(i32),
    /// This `i64`.
    I64(i64),
    /// The `f32` with these bits.
    F32(u32),
    /// The `f64` with these bits.
    F64(u64),
    /// The `v128` with these bits.
    V128(u128),
    /// The value of a global that comes before the use.
    GlobalGet(GlobalIndex),
    /// A null reference.
    RefNull(HeapType),
    /// A reference to a function, which is an escaping one.
    RefFunc(FuncIndex),
}

/// A function, imported or defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Its type.
    pub ty: TypeIndex,
    /// Its slot among the `VMFuncRef`s when it can become a value ("escapes"): is exported, in an element segment, in a global,
    /// the operand of `ref.func`, or the start function.
    pub func_ref: Option<FuncRefIndex>,
}

/// A table that the module defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinedTable {
    /// Its type.
    pub ty: TableType,
    /// Initial value of the elements.
    pub init: ConstExpr,
}

/// A memory that the module defines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinedMemory {
    /// Its type.
    pub ty: MemoryType,
    /// The address space its accesses were compiled for; the runtime must reserve exactly this.
    pub plan: MemoryPlan,
    /// Its initial contents, when they are known at compile time. Otherwise its active data segments are applied one by one.
    pub image: Option<MemoryImage>,
}

/// The initial contents of a memory as a whole: replaces all active data segments of that memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryImage {
    /// Offset in `.rodata.wasm`, a multiple of the artifact's page size, of bytes to be mapped or copied.
    pub data_offset: u32,
    /// How many bytes, a multiple of the page size.
    pub len: u32,
    /// Where in the memory they go, a multiple of the page size. `memory_offset + len` is within the minimum size. All other
    /// bytes are zero.
    pub memory_offset: u64,
}

/// A global that the module defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinedGlobal {
    /// Its type.
    pub ty: GlobalType,
    /// Its initial value.
    pub init: ConstExpr,
}

/// When an element segment is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ElemMode {
    /// At instantiation; then it counts as dropped.
    Active {
        /// The table it initialises.
        table: TableIndex,
        /// The first element it initialises.
        offset: ConstExpr,
    },
    /// By `table.init`.
    Passive,
    /// Never; it declares functions that `ref.func` may name. Counts as dropped.
    Declared,
}

/// What an element segment holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ElemItems {
    /// References to functions.
    Functions(#[serde(deserialize_with = "crate::fallible::vec")] Vec<FuncIndex>),
    /// Values of constant expressions.
    Expressions(#[serde(deserialize_with = "crate::fallible::vec")] Vec<ConstExpr>),
}

/// An element segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElemSegment {
    /// When it is used.
    pub mode: ElemMode,
    /// Type of the elements.
    pub ty: RefType,
    /// The elements.
    pub items: ElemItems,
}

/// When a data segment is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DataMode {
    /// At instantiation; then it counts as dropped.
    Active {
        /// The memory it initialises.
        memory: MemoryIndex,
        /// The first byte it initialises: an `i32` that means an unsigned number.
        offset: ConstExpr,
    },
    /// Part of the [`MemoryImage`] of its memory: nothing to do, it counts as dropped. Its `data` is empty.
    InImage,
    /// By `memory.init`.
    Passive,
}

/// A data segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSegment {
    /// When it is used.
    pub mode: DataMode,
    /// Its bytes, in `.rodata.wasm`.
    pub data: Range<u32>,
}

/// Everything a module declares but its code. Index spaces hold imports first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// The module's own name, from the name section.
    #[serde(deserialize_with = "crate::fallible::optional_string")]
    pub name: Option<String>,
    /// Its function types, by [`TypeIndex`].
    #[serde(deserialize_with = "crate::fallible::vec")]
    pub types: Vec<FuncType>,
    /// Its imports, in order.
    #[serde(deserialize_with = "crate::fallible::vec")]
    pub imports: Vec<Import>,
    /// Its exports, in order.
    #[serde(deserialize_with = "crate::fallible::vec")]
    pub exports: Vec<Export>,
    /// All functions, by [`FuncIndex`].
    #[serde(deserialize_with = "crate::fallible::vec")]
    pub functions: Vec<Function>,
    /// How many of the functions are imported.
    pub num_imported_functions: u32,
    /// How many tables are imported.
    pub num_imported_tables: u32,
    /// How many memories are imported.
    pub num_imported_memories: u32,
    /// How many globals are imported.
    pub num_imported_globals: u32,
    /// How many tags are imported.
    pub num_imported_tags: u32,
    /// How many `VMFuncRef`s its instances have.
    pub num_func_refs: u32,
    /// Defined tables, by [`DefinedTableIndex`].
    #[serde(deserialize_with = "crate::fallible::vec")]
    pub tables: Vec<DefinedTable>,
    /// Defined memories, by [`DefinedMemoryIndex`].
    #[serde(deserialize_with = "crate::fallible::vec")]
    pub memories: Vec<DefinedMemory>,
    /// Defined globals, by [`DefinedGlobalIndex`].
    #[serde(deserialize_with = "crate::fallible::vec")]
    pub globals: Vec<DefinedGlobal>,
    /// The types of all tags, by [`TagIndex`].
    #[serde(deserialize_with = "crate::fallible::vec")]
    pub tags: Vec<TypeIndex>,
    /// Element segments, by [`ElemIndex`].
    #[serde(deserialize_with = "crate::fallible::vec")]
    pub elems: Vec<ElemSegment>,
    /// Data segments, by [`DataIndex`].
    #[serde(deserialize_with = "crate::fallible::vec")]
    pub datas: Vec<DataSegment>,
    /// Function to call at the end of instantiation; an escaping one.
    pub start: Option<FuncIndex>,
}

macro_rules! split_index_space {
    ($($method:ident: $index:ident -> $defined:ident / $back:ident, $imported:ident;)*) => {$(
        #[doc = concat!("The [`", stringify!($defined), "`] of this index, or `None` for an import.")]
        pub fn $method(&self, index: $index) -> Option<$defined> {
            index.0.checked_sub(self.$imported).map($defined)
        }

        #[doc = concat!("The [`", stringify!($index), "`] of a defined one.")]
        pub fn $back(&self, index: $defined) -> $index {
            $index(self.$imported + index.0)
        }
    )*};
}

impl Module {
    split_index_space! {
        defined_func: FuncIndex -> DefinedFuncIndex / func_index, num_imported_functions;
        defined_table: TableIndex -> DefinedTableIndex / table_index, num_imported_tables;
        defined_memory: MemoryIndex -> DefinedMemoryIndex / memory_index, num_imported_memories;
        defined_global: GlobalIndex -> DefinedGlobalIndex / global_index, num_imported_globals;
        defined_tag: TagIndex -> DefinedTagIndex / tag_index, num_imported_tags;
    }

    /// How many functions the module defines.
    pub fn num_defined_functions(&self) -> u32 {
        self.functions.len() as u32 - self.num_imported_functions
    }

    /// The type of a function, if there is one of this index.
    pub fn func_type(&self, index: FuncIndex) -> Option<&FuncType> {
        self.types.get(self.functions.get(index.index())?.ty.index())
    }

    /// The type of a table, if there is one of this index.
    pub fn table_type(&self, index: TableIndex) -> Option<TableType> {
        match self.defined_table(index) {
            Some(defined) => Some(self.tables.get(defined.index())?.ty),
            None => self.imported(index.index(), |ty| match ty {
                EntityType::Table(ty) => Some(*ty),
                _ => None,
            }),
        }
    }

    /// The type of a memory, if there is one of this index.
    pub fn memory_type(&self, index: MemoryIndex) -> Option<MemoryType> {
        match self.defined_memory(index) {
            Some(defined) => Some(self.memories.get(defined.index())?.ty),
            None => self.imported(index.index(), |ty| match ty {
                EntityType::Memory(ty) => Some(*ty),
                _ => None,
            }),
        }
    }

    /// The type of a global, if there is one of this index.
    pub fn global_type(&self, index: GlobalIndex) -> Option<GlobalType> {
        match self.defined_global(index) {
            Some(defined) => Some(self.globals.get(defined.index())?.ty),
            None => self.imported(index.index(), |ty| match ty {
                EntityType::Global(ty) => Some(*ty),
                _ => None,
            }),
        }
    }

    fn imported<T>(&self, nth: usize, select: impl FnMut(&EntityType) -> Option<T>) -> Option<T> {
        self.imports.iter().map(|import| &import.ty).filter_map(select).nth(nth)
    }

    /// The type of an exportable entity, if there is one of this index.
    pub fn entity_type(&self, entity: EntityIndex) -> Option<EntityType> {
        Some(match entity {
            EntityIndex::Func(index) => EntityType::Func(self.functions.get(index.index())?.ty),
            EntityIndex::Table(index) => EntityType::Table(self.table_type(index)?),
            EntityIndex::Memory(index) => EntityType::Memory(self.memory_type(index)?),
            EntityIndex::Global(index) => EntityType::Global(self.global_type(index)?),
            EntityIndex::Tag(index) => EntityType::Tag(*self.tags.get(index.index())?),
        })
    }

    /// The layout of its instances' `VMContext`; `None` when that would be larger than 2 GiB.
    pub fn vm_offsets(&self) -> Option<VMOffsets> {
        VMOffsets::new(VMCounts {
            imported_functions: self.num_imported_functions,
            imported_tables: self.num_imported_tables,
            imported_memories: self.num_imported_memories,
            imported_globals: self.num_imported_globals,
            imported_tags: self.num_imported_tags,
            defined_tables: self.tables.len() as u32,
            defined_memories: self.memories.len() as u32,
            defined_globals: self.globals.len() as u32,
            // An artifact that says otherwise is refused when its tables are checked.
            defined_tags: (self.tags.len() as u32).saturating_sub(self.num_imported_tags),
            func_refs: self.num_func_refs,
        })
    }
}
