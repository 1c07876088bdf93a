//! Types of WebAssembly as a program sees them: of values, functions, tables, memories, globals, imports and exports.

use crate::type_registry::RegisteredType;
use crate::{Engine, Result, bail};
use core::fmt::{self, Display};

/// Whether a global can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutability {
    /// It keeps the value it was made with.
    Const,
    /// It can be set.
    Var,
}

impl Mutability {
    /// Whether it is [`Const`](Self::Const).
    pub fn is_const(&self) -> bool {
        *self == Self::Const
    }

    /// Whether it is [`Var`](Self::Var).
    pub fn is_var(&self) -> bool {
        *self == Self::Var
    }
}

/// What a reference refers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HeapType {
    /// A value of the host's.
    Extern,
    /// A function of any type.
    Func,
    /// An exception.
    Exn,
    /// No exception: what null alone refers to.
    NoExn,
}

impl HeapType {
    /// Whether it is [`Extern`](Self::Extern).
    pub fn is_extern(&self) -> bool {
        *self == Self::Extern
    }

    /// Whether it is [`Func`](Self::Func).
    pub fn is_func(&self) -> bool {
        *self == Self::Func
    }

    /// Whether it is [`Exn`](Self::Exn).
    pub fn is_exn(&self) -> bool {
        *self == Self::Exn
    }

    /// Whether it is [`NoExn`](Self::NoExn).
    pub fn is_no_exn(&self) -> bool {
        *self == Self::NoExn
    }

    /// Whether every value of this type is one of `other`.
    pub fn matches(&self, other: &HeapType) -> bool {
        self == other || (self.is_no_exn() && other.is_exn())
    }
}

impl Display for HeapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Extern => "extern",
            Self::Func => "func",
            Self::Exn => "exn",
            Self::NoExn => "noexn",
        })
    }
}

/// The type of a reference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefType {
    is_nullable: bool,
    heap_type: HeapType,
}

impl RefType {
    /// `externref`: a value of the host's, or null.
    pub const EXTERNREF: Self = Self { is_nullable: true, heap_type: HeapType::Extern };
    /// `funcref`: a function, or null.
    pub const FUNCREF: Self = Self { is_nullable: true, heap_type: HeapType::Func };

    /// `exnref`: an exception, or null.
    pub const EXNREF: Self = Self { is_nullable: true, heap_type: HeapType::Exn };
    /// `nullexnref`: null.
    pub const NULLEXNREF: Self = Self { is_nullable: true, heap_type: HeapType::NoExn };

    /// A reference to `heap_type`, which may be null if `is_nullable`.
    pub fn new(is_nullable: bool, heap_type: HeapType) -> Self {
        Self { is_nullable, heap_type }
    }

    /// Whether null is one of its values.
    pub fn is_nullable(&self) -> bool {
        self.is_nullable
    }

    /// What is referred to.
    pub fn heap_type(&self) -> &HeapType {
        &self.heap_type
    }

    /// Whether every value of this type is one of `other`.
    pub fn matches(&self, other: &RefType) -> bool {
        self.heap_type.matches(&other.heap_type) && (other.is_nullable || !self.is_nullable)
    }
}

impl Display for RefType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NULLEXNREF {
            return f.write_str("nullexnref");
        }
        if self.is_nullable {
            return write!(f, "{}ref", self.heap_type);
        }
        write!(f, "(ref {})", self.heap_type)
    }
}

/// The type of a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValType {
    /// 32-bit integer, signed or not.
    I32,
    /// 64-bit integer, signed or not.
    I64,
    /// 32-bit floating point.
    F32,
    /// 64-bit floating point.
    F64,
    /// 128-bit vector.
    V128,
    /// Reference.
    Ref(RefType),
}

impl ValType {
    /// `externref`.
    pub const EXTERNREF: Self = Self::Ref(RefType::EXTERNREF);
    /// `funcref`.
    pub const FUNCREF: Self = Self::Ref(RefType::FUNCREF);
    /// `exnref`.
    pub const EXNREF: Self = Self::Ref(RefType::EXNREF);
    /// `nullexnref`.
    pub const NULLEXNREF: Self = Self::Ref(RefType::NULLEXNREF);

    /// Whether it is a number; a vector is none.
    pub fn is_num(&self) -> bool {
        !self.is_ref() && !self.is_v128()
    }

    /// Whether it is `i32`.
    pub fn is_i32(&self) -> bool {
        *self == Self::I32
    }

    /// Whether it is `i64`.
    pub fn is_i64(&self) -> bool {
        *self == Self::I64
    }

    /// Whether it is `f32`.
    pub fn is_f32(&self) -> bool {
        *self == Self::F32
    }

    /// Whether it is `f64`.
    pub fn is_f64(&self) -> bool {
        *self == Self::F64
    }

    /// Whether it is `v128`.
    pub fn is_v128(&self) -> bool {
        *self == Self::V128
    }

    /// Whether it is a reference.
    pub fn is_ref(&self) -> bool {
        matches!(self, Self::Ref(_))
    }

    /// Whether it is `funcref`.
    pub fn is_funcref(&self) -> bool {
        *self == Self::FUNCREF
    }

    /// Whether it is `externref`.
    pub fn is_externref(&self) -> bool {
        *self == Self::EXTERNREF
    }

    /// The reference type, if it is one.
    pub fn as_ref(&self) -> Option<&RefType> {
        match self {
            Self::Ref(ty) => Some(ty),
            _ => None,
        }
    }

    /// The reference type.
    ///
    /// # Panics
    /// If it is none.
    pub fn unwrap_ref(&self) -> &RefType {
        self.as_ref().expect("ValType::unwrap_ref on a non-reference type")
    }

    /// Whether every value of this type is one of `other`.
    pub fn matches(&self, other: &ValType) -> bool {
        match (self, other) {
            (Self::Ref(a), Self::Ref(b)) => a.matches(b),
            _ => self == other,
        }
    }

    /// Whether the types are the same.
    #[expect(clippy::should_implement_trait, reason = "Wasmtime's name and signature")]
    pub fn eq(a: &Self, b: &Self) -> bool {
        a == b
    }
}

impl Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::I32 => f.write_str("i32"),
            Self::I64 => f.write_str("i64"),
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
            Self::V128 => f.write_str("v128"),
            Self::Ref(ty) => ty.fmt(f),
        }
    }
}

impl From<RefType> for ValType {
    fn from(ty: RefType) -> Self {
        Self::Ref(ty)
    }
}

/// The type of a function: what it takes and what it gives. Equal types of one engine are the same type.
#[derive(Clone)]
pub struct FuncType(pub(crate) RegisteredType);

impl FuncType {
    /// The type with these parameters and results.
    ///
    /// # Panics
    /// If there is no memory for it; see [`try_new`](Self::try_new).
    pub fn new(
        engine: &Engine,
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> Self {
        Self::try_new(engine, params, results).expect("no memory for a function type")
    }

    /// The type with these parameters and results.
    ///
    /// # Errors
    /// Fails if there is no memory for it.
    pub fn try_new(
        engine: &Engine,
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> Result<Self> {
        Ok(Self(RegisteredType::new(engine, params, results)?))
    }

    /// The engine that the type belongs to.
    pub fn engine(&self) -> &Engine {
        self.0.engine()
    }

    /// Types of the parameters.
    pub fn params(&self) -> impl ExactSizeIterator<Item = ValType> + '_ {
        self.0.params().iter().cloned()
    }

    /// Type of the `i`th parameter, if there is one.
    pub fn param(&self, i: usize) -> Option<ValType> {
        self.0.params().get(i).cloned()
    }

    /// Types of the results.
    pub fn results(&self) -> impl ExactSizeIterator<Item = ValType> + '_ {
        self.0.results().iter().cloned()
    }

    /// Type of the `i`th result, if there is one.
    pub fn result(&self, i: usize) -> Option<ValType> {
        self.0.results().get(i).cloned()
    }

    /// Whether a function of this type can be used as one of `other`.
    pub fn matches(&self, other: &FuncType) -> bool {
        self.0 == other.0
    }

    /// Whether the types are the same.
    #[expect(clippy::should_implement_trait, reason = "Wasmtime's name and signature")]
    pub fn eq(a: &Self, b: &Self) -> bool {
        a.0 == b.0
    }
}

impl PartialEq for FuncType {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Display for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(type (func")?;
        for (name, types) in [("param", self.0.params()), ("result", self.0.results())] {
            if !types.is_empty() {
                write!(f, " ({name}")?;
                for ty in types {
                    write!(f, " {ty}")?;
                }
                f.write_str(")")?;
            }
        }
        f.write_str("))")
    }
}

impl fmt::Debug for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// The type of a tag: that of functions whose parameters are the fields of its exceptions.
#[derive(Debug, Clone, PartialEq)]
pub struct TagType {
    ty: FuncType,
}

impl TagType {
    /// A tag with the parameters of `ty` as the fields of its exceptions.
    pub fn new(ty: FuncType) -> TagType {
        TagType { ty }
    }

    /// The function type.
    pub fn ty(&self) -> &FuncType {
        &self.ty
    }

    /// Makes a tag of this type.
    ///
    /// # Errors
    /// As [`Tag::new`](crate::Tag::new).
    pub fn default_value(&self, store: impl crate::AsContextMut) -> Result<crate::Tag> {
        crate::Tag::new(store, self)
    }
}

/// What a field of an exception holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StorageType {
    /// A value of this type.
    ValType(ValType),
}

impl StorageType {
    /// The type of the value, if it is one of WebAssembly's types of values.
    pub fn as_val_type(&self) -> Option<&ValType> {
        let Self::ValType(ty) = self;
        Some(ty)
    }

    /// The type of the value.
    pub fn unwrap_val_type(&self) -> &ValType {
        let Self::ValType(ty) = self;
        ty
    }
}

/// The type of a field of an exception.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldType {
    mutability: Mutability,
    element_type: StorageType,
}

impl FieldType {
    /// A field that holds this.
    pub fn new(mutability: Mutability, element_type: StorageType) -> Self {
        Self { mutability, element_type }
    }

    /// Whether it can change.
    pub fn mutability(&self) -> Mutability {
        self.mutability
    }

    /// What it holds.
    pub fn element_type(&self) -> &StorageType {
        &self.element_type
    }
}

/// The type of exceptions of a tag: what fields they have.
#[derive(Debug, Clone, PartialEq)]
pub struct ExnType {
    pub(crate) ty: FuncType,
}

impl ExnType {
    /// Exceptions with these fields.
    ///
    /// # Errors
    /// Fails if there is no memory for the type.
    pub fn new(engine: &Engine, fields: impl IntoIterator<Item = ValType>) -> Result<ExnType> {
        Ok(ExnType { ty: FuncType::try_new(engine, fields, [])? })
    }

    /// The exceptions of tags of this type.
    ///
    /// # Errors
    /// Fails if the tag's type has results.
    pub fn from_tag_type(tag: &TagType) -> Result<ExnType> {
        if tag.ty().results().len() > 0 {
            bail!("the type of a tag has no results");
        }
        Ok(ExnType { ty: tag.ty().clone() })
    }

    /// The type of the tags of such exceptions.
    pub fn tag_type(&self) -> TagType {
        TagType { ty: self.ty.clone() }
    }

    /// The engine that the type belongs to.
    pub fn engine(&self) -> &Engine {
        self.ty.engine()
    }

    /// Type of the `i`th field, if there is one.
    pub fn field(&self, i: usize) -> Option<FieldType> {
        self.fields().nth(i)
    }

    /// Types of the fields.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = FieldType> + '_ {
        self.ty.params().map(|ty| FieldType::new(Mutability::Const, StorageType::ValType(ty)))
    }

    /// Whether exceptions of this type are of type `other`.
    pub fn matches(&self, other: &ExnType) -> bool {
        self.ty.matches(&other.ty)
    }
}

/// The type of a global.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GlobalType {
    content: ValType,
    mutability: Mutability,
}

impl GlobalType {
    /// A global that holds `content`.
    pub fn new(content: ValType, mutability: Mutability) -> Self {
        Self { content, mutability }
    }

    /// Type of the value.
    pub fn content(&self) -> &ValType {
        &self.content
    }

    /// Whether the value can change.
    pub fn mutability(&self) -> Mutability {
        self.mutability
    }
}

/// The type of a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableType {
    element: RefType,
    minimum: u64,
    maximum: Option<u64>,
}

impl TableType {
    /// A table of `element`s with at least `min` of them and at most `max`.
    pub fn new(element: RefType, min: u32, max: Option<u32>) -> Self {
        Self { element, minimum: min.into(), maximum: max.map(Into::into) }
    }

    /// Type of the elements.
    pub fn element(&self) -> &RefType {
        &self.element
    }

    pub(crate) fn set_minimum(&mut self, minimum: u64) {
        self.minimum = minimum;
    }

    /// Number of elements it has when it is made.
    pub fn minimum(&self) -> u64 {
        self.minimum
    }

    /// Number of elements it can grow to, if limited.
    pub fn maximum(&self) -> Option<u64> {
        self.maximum
    }
}

/// The type of a linear memory. Sizes are in pages of 64 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemoryType {
    minimum: u64,
    maximum: Option<u64>,
    shared: bool,
}

impl MemoryType {
    /// A memory of at least `minimum` pages and at most `maximum`.
    ///
    /// # Panics
    /// If one of them is more than 65,536 (4 GiB), or the maximum is less than the minimum.
    pub fn new(minimum: u32, maximum: Option<u32>) -> Self {
        assert!(minimum <= 1 << 16 && maximum.is_none_or(|max| max <= 1 << 16), "memory type exceeds 4 GiB");
        assert!(maximum.is_none_or(|max| max >= minimum), "memory type's maximum is less than its minimum");
        Self { minimum: minimum.into(), maximum: maximum.map(Into::into), shared: false }
    }

    /// A shared memory, for several tasks at once, of at least `minimum` pages and at most `maximum`.
    ///
    /// # Panics
    /// If one of them is more than 65,536 (4 GiB), or the maximum is less than the minimum.
    pub fn shared(minimum: u32, maximum: u32) -> Self {
        Self { shared: true, ..Self::new(minimum, Some(maximum)) }
    }

    /// Makes a type from nothing: see [`MemoryTypeBuilder`].
    pub fn builder() -> MemoryTypeBuilder {
        MemoryTypeBuilder::new()
    }

    /// Whether it is for several tasks at once.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    pub(crate) fn set_minimum(&mut self, minimum: u64) {
        self.minimum = minimum;
    }

    /// Number of pages it has when it is made.
    pub fn minimum(&self) -> u64 {
        self.minimum
    }

    /// Number of pages it can grow to, if limited.
    pub fn maximum(&self) -> Option<u64> {
        self.maximum
    }

    /// Bytes of a page: 65,536.
    pub fn page_size(&self) -> u64 {
        1 << self.page_size_log2()
    }

    /// Binary logarithm of the [`page_size`](Self::page_size): 16.
    pub fn page_size_log2(&self) -> u8 {
        16
    }
}

/// Puts a [`MemoryType`] together. Starts with an ordinary memory of no pages and no maximum.
#[derive(Debug, Clone, Default)]
pub struct MemoryTypeBuilder {
    minimum: u64,
    maximum: Option<u64>,
    shared: bool,
}

impl MemoryTypeBuilder {
    /// The builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many pages it has at least, and when it is made.
    pub fn min(&mut self, minimum: u64) -> &mut Self {
        self.minimum = minimum;
        self
    }

    /// How many pages it can grow to, if limited.
    pub fn max(&mut self, maximum: Option<u64>) -> &mut Self {
        self.maximum = maximum;
        self
    }

    /// Whether it is for several tasks at once; then it needs a maximum.
    pub fn shared(&mut self, shared: bool) -> &mut Self {
        self.shared = shared;
        self
    }

    /// The type.
    ///
    /// # Errors
    /// Fails if the maximum is less than the minimum, one of them is more than 65,536 pages (4 GiB), or the memory is to be
    /// shared and has no maximum.
    pub fn build(&self) -> Result<MemoryType> {
        let Self { minimum, maximum, shared } = *self;
        if maximum.is_some_and(|maximum| maximum < minimum) {
            bail!("maximum page size cannot be smaller than the minimum page size");
        }
        if shared && maximum.is_none() {
            bail!("shared memories must have a maximum size");
        }
        const LIMIT: u64 = wasm_artifact::types::WASM32_MAX_PAGES;
        if minimum > LIMIT {
            bail!("minimum size is too large for this memory type's index type");
        }
        if maximum.is_some_and(|maximum| maximum > LIMIT) {
            bail!("maximum size is too large for this memory type's index type");
        }
        Ok(MemoryType { minimum, maximum, shared })
    }
}

/// The type of something that can be imported or exported.
#[derive(Debug, Clone, PartialEq)]
pub enum ExternType {
    /// A function.
    Func(FuncType),
    /// A global.
    Global(GlobalType),
    /// A table.
    Table(TableType),
    /// A linear memory.
    Memory(MemoryType),
    /// A tag.
    Tag(TagType),
}

macro_rules! accessors {
    ($($name:ident $unwrap:ident $variant:ident $ty:ty;)*) => {$(
        #[doc = concat!("The [`", stringify!($ty), "`], if it is one.")]
        pub fn $name(&self) -> Option<&$ty> {
            match self {
                Self::$variant(ty) => Some(ty),
                _ => None,
            }
        }

        #[doc = concat!("The [`", stringify!($ty), "`].\n\n# Panics\nIf it is another type.")]
        pub fn $unwrap(&self) -> &$ty {
            self.$name().expect(concat!("expected a ", stringify!($name)))
        }
    )*};
}

impl ExternType {
    accessors! {
        func unwrap_func Func FuncType;
        global unwrap_global Global GlobalType;
        table unwrap_table Table TableType;
        memory unwrap_memory Memory MemoryType;
        tag unwrap_tag Tag TagType;
    }

    /// "func", "global", "table", "memory" or "tag", with its article left to the caller.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Func(_) => "func",
            Self::Global(_) => "global",
            Self::Table(_) => "table",
            Self::Memory(_) => "memory",
            Self::Tag(_) => "tag",
        }
    }
}

macro_rules! from_extern_types {
    ($($variant:ident $ty:ty;)*) => {$(
        impl From<$ty> for ExternType {
            fn from(ty: $ty) -> Self {
                Self::$variant(ty)
            }
        }
    )*};
}

from_extern_types! {
    Func FuncType;
    Global GlobalType;
    Table TableType;
    Memory MemoryType;
    Tag TagType;
}

/// Something that a module needs to be instantiated.
#[derive(Clone)]
pub struct ImportType<'module> {
    pub(crate) module: &'module str,
    pub(crate) name: &'module str,
    pub(crate) ty: ExternType,
}

impl<'module> ImportType<'module> {
    /// First part of its name: where it is to come from.
    pub fn module(&self) -> &'module str {
        self.module
    }

    /// Second part of its name.
    pub fn name(&self) -> &'module str {
        self.name
    }

    /// What it must be.
    pub fn ty(&self) -> ExternType {
        self.ty.clone()
    }
}

impl fmt::Debug for ImportType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportType")
            .field("module", &self.module)
            .field("name", &self.name)
            .field("ty", &self.ty)
            .finish()
    }
}

/// Something that a module's instances offer.
#[derive(Clone)]
pub struct ExportType<'module> {
    pub(crate) name: &'module str,
    pub(crate) ty: ExternType,
}

impl<'module> ExportType<'module> {
    /// Its name.
    pub fn name(&self) -> &'module str {
        self.name
    }

    /// What it is.
    pub fn ty(&self) -> ExternType {
        self.ty.clone()
    }
}

impl fmt::Debug for ExportType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportType").field("name", &self.name).field("ty", &self.ty).finish()
    }
}

/// Conversions from what an artifact's metadata says.
mod from_artifact {
    use super::*;
    use wasm_artifact::types;

    impl HeapType {
        fn from_artifact(ty: types::HeapType) -> Self {
            match ty {
                types::HeapType::Extern => Self::Extern,
                types::HeapType::Exn => Self::Exn,
                types::HeapType::NoExn => Self::NoExn,
                // The only other one that this version of the engine accepts artifacts with.
                _ => Self::Func,
            }
        }

        fn to_artifact(&self) -> types::HeapType {
            match self {
                Self::Extern => types::HeapType::Extern,
                Self::Func => types::HeapType::Func,
                Self::Exn => types::HeapType::Exn,
                Self::NoExn => types::HeapType::NoExn,
            }
        }
    }

    impl RefType {
        pub(crate) fn from_artifact(ty: &types::RefType) -> Self {
            Self { is_nullable: ty.nullable, heap_type: HeapType::from_artifact(ty.heap_type) }
        }

        pub(crate) fn to_artifact(&self) -> types::RefType {
            types::RefType { nullable: self.is_nullable, heap_type: self.heap_type.to_artifact() }
        }
    }

    impl ValType {
        pub(crate) fn from_artifact(ty: &types::ValType) -> Self {
            match ty {
                types::ValType::I32 => Self::I32,
                types::ValType::I64 => Self::I64,
                types::ValType::F32 => Self::F32,
                types::ValType::F64 => Self::F64,
                types::ValType::V128 => Self::V128,
                types::ValType::Ref(ty) => Self::Ref(RefType::from_artifact(ty)),
                other => unreachable!("no artifact of this version has values of type {other}"),
            }
        }

        pub(crate) fn to_artifact(&self) -> types::ValType {
            match self {
                Self::I32 => types::ValType::I32,
                Self::I64 => types::ValType::I64,
                Self::F32 => types::ValType::F32,
                Self::F64 => types::ValType::F64,
                Self::V128 => types::ValType::V128,
                Self::Ref(ty) => types::ValType::Ref(ty.to_artifact()),
            }
        }
    }

    impl GlobalType {
        pub(crate) fn from_artifact(ty: &types::GlobalType) -> Self {
            let mutability = if ty.mutable { Mutability::Var } else { Mutability::Const };
            Self { content: ValType::from_artifact(&ty.content), mutability }
        }

        pub(crate) fn to_artifact(&self) -> types::GlobalType {
            types::GlobalType { content: self.content.to_artifact(), mutable: self.mutability.is_var() }
        }
    }

    impl TableType {
        pub(crate) fn from_artifact(ty: &types::TableType) -> Self {
            let element = RefType::from_artifact(&ty.element);
            Self { element, minimum: ty.limits.min, maximum: ty.limits.max }
        }

        pub(crate) fn to_artifact(&self) -> types::TableType {
            let limits = types::Limits { min: self.minimum, max: self.maximum };
            types::TableType { element: self.element.to_artifact(), limits }
        }
    }

    impl MemoryType {
        pub(crate) fn from_artifact(ty: &types::MemoryType) -> Self {
            Self { minimum: ty.limits.min, maximum: ty.limits.max, shared: ty.shared }
        }

        pub(crate) fn to_artifact(&self) -> types::MemoryType {
            let limits = types::Limits { min: self.minimum, max: self.maximum };
            types::MemoryType { limits, shared: self.shared }
        }
    }
}
