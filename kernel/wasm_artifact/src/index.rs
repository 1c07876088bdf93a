//! Index newtypes, one per index space, so that a table's number cannot pass for a function's.
//!
//! An index space holds imported entities first, then defined ones. `Defined*` indices count the defined ones alone, from 0;
//! [`crate::Module`] converts between the two.

use serde::{Deserialize, Serialize};

macro_rules! index_types {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[repr(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// The number as an index into a slice.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

index_types! {
    /// A type of the module's type section.
    TypeIndex;
    /// A function, imported or defined.
    FuncIndex;
    /// A function defined in the module.
    DefinedFuncIndex;
    /// A table, imported or defined.
    TableIndex;
    /// A table defined in the module.
    DefinedTableIndex;
    /// A memory, imported or defined.
    MemoryIndex;
    /// A memory defined in the module.
    DefinedMemoryIndex;
    /// A global, imported or defined.
    GlobalIndex;
    /// A global defined in the module.
    DefinedGlobalIndex;
    /// A tag, imported or defined.
    TagIndex;
    /// A tag defined in the module.
    DefinedTagIndex;
    /// An element segment.
    ElemIndex;
    /// A data segment.
    DataIndex;
    /// A slot of the `VMFuncRef` array in a `VMContext`: one per function that can become a value.
    FuncRefIndex;
}

/// An entity that can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EntityIndex {
    /// A function.
    Func(FuncIndex),
    /// A table.
    Table(TableIndex),
    /// A memory.
    Memory(MemoryIndex),
    /// A global.
    Global(GlobalIndex),
    /// A tag.
    Tag(TagIndex),
}
