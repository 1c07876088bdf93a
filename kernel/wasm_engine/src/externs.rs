//! What an instance offers and needs: functions, tables, memories, globals, tags.

use crate::store::StoreOpaque;
use crate::types::ExternType;
use crate::{AsContext, Engine, Func, Global, Memory, SharedMemory, Table, Tag};

/// Something that can be imported and exported.
#[derive(Debug, Clone)]
pub enum Extern {
    /// A function.
    Func(Func),
    /// A global.
    Global(Global),
    /// A table.
    Table(Table),
    /// A linear memory of a store.
    Memory(Memory),
    /// A linear memory that is shared.
    SharedMemory(SharedMemory),
    /// A tag.
    Tag(Tag),
}

macro_rules! conversions {
    ($($into:ident $variant:ident $name:literal;)*) => {
        impl Extern {
            $(
                #[doc = concat!("The ", $name, ", if it is one.")]
                pub fn $into(self) -> Option<$variant> {
                    match self {
                        Extern::$variant(item) => Some(item),
                        _ => None,
                    }
                }
            )*
        }

        impl Export<'_> {
            $(
                #[doc = concat!("The ", $name, ", if it is one.")]
                pub fn $into(self) -> Option<$variant> {
                    self.item.$into()
                }
            )*
        }

        $(
            impl From<$variant> for Extern {
                fn from(item: $variant) -> Self {
                    Extern::$variant(item)
                }
            }
        )*
    };
}

conversions! {
    into_func Func "function";
    into_global Global "global";
    into_table Table "table";
    into_memory Memory "linear memory of a store";
    into_shared_memory SharedMemory "shared memory";
    into_tag Tag "tag";
}

impl Extern {
    /// Its type.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> ExternType {
        self.ty_in(store.as_context().0.opaque())
    }

    pub(crate) fn ty_in(&self, store: &StoreOpaque) -> ExternType {
        match self {
            Extern::Func(func) => crate::FuncType(func.registered_type(store)).into(),
            Extern::Global(global) => global.ty_in(store).into(),
            Extern::Table(table) => table.ty_in(store).into(),
            Extern::Memory(memory) => memory.ty_in(store).into(),
            Extern::SharedMemory(memory) => memory.ty().into(),
            Extern::Tag(tag) => tag.ty_in(store).into(),
        }
    }

    /// Whether it can be used with this store: is in it, or shared and of its engine.
    pub(crate) fn is_of(&self, store: &StoreOpaque) -> bool {
        match self {
            Extern::Func(func) => func.is_of(store),
            Extern::Global(global) => global.is_of(store),
            Extern::Table(table) => table.is_of(store),
            Extern::Memory(memory) => memory.is_of(store),
            Extern::Tag(tag) => tag.is_of(store),
            Extern::SharedMemory(memory) => Engine::same(memory.engine(), store.engine()),
        }
    }
}

/// An export of an instance, with its name.
#[derive(Debug, Clone)]
pub struct Export<'instance> {
    name: &'instance str,
    item: Extern,
}

impl<'instance> Export<'instance> {
    pub(crate) fn new(name: &'instance str, item: Extern) -> Self {
        Self { name, item }
    }

    /// Its name.
    pub fn name(&self) -> &'instance str {
        self.name
    }

    /// Its type.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> ExternType {
        self.item.ty(store)
    }

    /// What is exported.
    pub fn into_extern(self) -> Extern {
        self.item
    }
}
