//! Namespaces: sets of crates that see each other.

use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};
use core::{fmt, mem, ops::Deref};

use crate_metadata::{CRATE_HASH_DELIMITER, CRATE_OBJECT_EXTENSION, symbol_hash};
use crate_name_utils::crate_name_without_hash;
use fs_node::{DirRef, FileRef};
use local_storage_initializer::{LocalStorageInitializerError, TlsDataImage};
use memory::{MmiRef, VirtualAddress};
use str_ref::StrRef;
use sync_irq::IrqSafeMutex;

use crate::{
    LoadError, LoadedCrate, StrongCrateRef, StrongSectionRef, TLS_INITIALIZER, WeakCrateRef,
    loaded_crate::SymbolSource,
    loader::{Session, Visibility},
    platform::AreaMemoryOfPlatform,
    registry::BASE,
    symbols::{CrateSymbols, SymbolEntry, SymbolMap},
};

/// How many symbols are added or removed before interrupts are let in again.
const SYMBOLS_PER_LOCK: usize = 128;

/// A directory of crates' object files.
#[derive(Clone)]
pub struct NamespaceDir(DirRef);

impl NamespaceDir {
    /// Takes `dir` for a directory of object files.
    pub fn new(dir: DirRef) -> Self {
        NamespaceDir(dir)
    }

    /// The name of the directory.
    pub fn name(&self) -> String {
        self.0.lock().get_name()
    }

    /// The file called `name`.
    pub fn get_file(&self, name: &str) -> Option<FileRef> {
        self.0.lock().get_file(name)
    }

    /// The object file of the crate `name`, given with its hash.
    pub fn get_crate_object_file(&self, name: &str) -> Option<FileRef> {
        self.get_file(&alloc::format!("{name}{CRATE_OBJECT_EXTENSION}")).or_else(|| self.get_file(name))
    }

    /// The names of all files and directories that start with `prefix`.
    pub fn get_file_and_dir_names_starting_with(&self, prefix: &str) -> Vec<String> {
        let mut names = self.0.lock().list();
        names.retain(|name| name.starts_with(prefix));
        names
    }

    /// All files whose names start with `prefix`.
    pub fn get_files_starting_with(&self, prefix: &str) -> Vec<FileRef> {
        let names = self.get_file_and_dir_names_starting_with(prefix);
        names.iter().filter_map(|name| self.get_file(name)).collect()
    }

    /// The file whose name starts with `prefix`, if there is exactly one.
    pub fn get_file_starting_with(&self, prefix: &str) -> Option<FileRef> {
        let mut files = self.get_files_starting_with(prefix);
        files.pop().filter(|_| files.is_empty())
    }
}

impl Deref for NamespaceDir {
    type Target = DirRef;
    fn deref(&self) -> &DirRef {
        &self.0
    }
}

/// A crate's place in a namespace.
#[derive(Default)]
enum Slot {
    /// Free for the next crate.
    #[default]
    Free,
    /// Kept for a crate that is being linked.
    Reserved,
    /// Of a loaded crate.
    Used { name: StrRef, krate: WeakCrateRef },
}

/// What a namespace knows of its crates. It keeps none of them loaded.
struct Tables {
    slots: Vec<Slot>,
    by_name: BTreeMap<StrRef, u32>,
    symbols: SymbolMap,
}

impl Tables {
    fn crate_in(&self, slot: u32) -> Option<StrongCrateRef> {
        match self.slots.get(slot as usize)? {
            Slot::Used { krate, .. } => krate.upgrade(),
            Slot::Free | Slot::Reserved => None,
        }
    }
}

/// A set of crates and where more of them are found.
///
/// A namespace may have a parent, in which it looks for what it does not have: namespaces of programs have that of the
/// kernel. References are *weak*: a crate stays loaded as long as another crate, a program or a caller holds it.
pub struct CrateNamespace {
    name: String,
    dir: NamespaceDir,
    recursive_namespace: Option<Arc<CrateNamespace>>,
    /// Never held while a [`StrongCrateRef`] is dropped: that may unload a crate, which takes this lock.
    tables: IrqSafeMutex<Tables>,
}

impl CrateNamespace {
    /// An empty namespace with the object files in `dir`.
    pub fn new(name: String, dir: NamespaceDir, recursive_namespace: Option<Arc<CrateNamespace>>) -> Self {
        let tables = Tables { slots: Vec::new(), by_name: BTreeMap::new(), symbols: SymbolMap::new() };
        CrateNamespace { name, dir, recursive_namespace, tables: IrqSafeMutex::new(tables) }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory with its crates' object files.
    pub fn dir(&self) -> &NamespaceDir {
        &self.dir
    }

    /// The parent.
    pub fn recursive_namespace(&self) -> Option<&Arc<CrateNamespace>> {
        self.recursive_namespace.as_ref()
    }

    /// This namespace, its parent, and so on.
    pub(crate) fn chain(self: &Arc<Self>) -> impl Iterator<Item = &Arc<CrateNamespace>> {
        core::iter::successors(Some(self), |namespace| namespace.recursive_namespace.as_ref())
    }

    /// Thread-local storage for a new task, with the initial values of all crates' variables.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn get_tls_initializer_data(
        &self,
    ) -> Result<TlsDataImage<AreaMemoryOfPlatform>, LocalStorageInitializerError> {
        TLS_INITIALIZER.get_data()
    }

    /// Names of the loaded crates; with `recursive`, of the parents' too.
    pub fn crate_names(&self, recursive: bool) -> Vec<StrRef> {
        let mut names = Vec::new();
        self.for_each_crate(recursive, |name, _| {
            names.push(StrRef::from(name));
            true
        });
        names
    }

    /// Calls `f` with the name and a reference of each loaded crate, in the order of names, until it returns `false`; with
    /// `recursive`, of the parents' crates too. No lock is held meanwhile.
    pub fn for_each_crate(&self, recursive: bool, mut f: impl FnMut(&str, &StrongCrateRef) -> bool) {
        let mut namespace = Some(self);
        while let Some(current) = namespace {
            for krate in current.crates() {
                if !f(&krate.crate_name, &krate) {
                    return;
                }
            }
            namespace = current.recursive_namespace.as_deref().filter(|_| recursive);
        }
    }

    /// The loaded crates of this namespace, in the order of names. The base image counts as one of the kernel's.
    fn crates(&self) -> Vec<StrongCrateRef> {
        let mut crates = Vec::new();
        if self.recursive_namespace.is_none() {
            crates.extend(BASE.get().map(|base| base.crate_ref.clone_shallow()));
        }
        let count = self.tables.lock().by_name.len();
        crates.reserve(count);
        let tables = self.tables.lock();
        crates.extend(tables.by_name.values().filter_map(|slot| tables.crate_in(*slot)));
        drop(tables);
        crates
    }

    /// The loaded crate called `name`, with hash.
    pub fn get_crate(&self, name: &str) -> Option<StrongCrateRef> {
        if let Some(base) = BASE.get()
            && self.recursive_namespace.is_none()
            && *base.crate_ref.crate_name == *name
        {
            return Some(base.crate_ref.clone_shallow());
        }
        let tables = self.tables.lock();
        let slot = *tables.by_name.get(name)?;
        tables.crate_in(slot)
    }

    /// The loaded crate called `name`, with hash, here or in a parent, and where it is.
    pub fn get_crate_and_namespace<'n>(
        namespace: &'n Arc<CrateNamespace>,
        name: &str,
    ) -> Option<(StrongCrateRef, &'n Arc<CrateNamespace>)> {
        namespace.chain().find_map(|namespace| Some((namespace.get_crate(name)?, namespace)))
    }

    /// All loaded crates whose names start with `prefix`, here or in a parent, and where they are.
    pub fn get_crates_starting_with<'n>(
        namespace: &'n Arc<CrateNamespace>,
        prefix: &str,
    ) -> Vec<(StrRef, StrongCrateRef, &'n Arc<CrateNamespace>)> {
        let mut found = Vec::new();
        for namespace in namespace.chain() {
            let crates = namespace.crates().into_iter().filter(|krate| krate.crate_name.starts_with(prefix));
            found.extend(crates.map(|krate| (krate.crate_name.clone(), krate, namespace)));
        }
        found
    }

    /// The loaded crate whose name starts with `prefix`, here or in a parent, if there is exactly one.
    pub fn get_crate_starting_with<'n>(
        namespace: &'n Arc<CrateNamespace>,
        prefix: &str,
    ) -> Option<(StrRef, StrongCrateRef, &'n Arc<CrateNamespace>)> {
        let mut found = Self::get_crates_starting_with(namespace, prefix);
        found.pop().filter(|_| found.is_empty())
    }

    /// All object files whose names start with `prefix`, here or in a parent, and where they are.
    pub fn get_crate_object_files_starting_with<'n>(
        namespace: &'n Arc<CrateNamespace>,
        prefix: &str,
    ) -> Vec<(FileRef, &'n Arc<CrateNamespace>)> {
        let mut found = Vec::new();
        for namespace in namespace.chain() {
            found.extend(
                namespace.dir.get_files_starting_with(prefix).into_iter().map(|file| (file, namespace)),
            );
        }
        found
    }

    /// The object file whose name starts with `prefix`, here or in a parent, if there is exactly one.
    pub fn get_crate_object_file_starting_with<'n>(
        namespace: &'n Arc<CrateNamespace>,
        prefix: &str,
    ) -> Option<(FileRef, &'n Arc<CrateNamespace>)> {
        let mut found = Self::get_crate_object_files_starting_with(namespace, prefix);
        found.pop().filter(|_| found.is_empty())
    }

    /// Loads the program in `crate_object_file`, and the crates it needs that are not loaded. Each call loads a copy of its
    /// own, with variables of its own, so a program can run several times at once. The last reference that goes unloads it.
    ///
    /// # Errors
    /// [`LoadError`]; nothing is left behind.
    pub fn load_crate_as_application(
        namespace: &Arc<CrateNamespace>,
        crate_object_file: &FileRef,
        _kernel_mmi_ref: &MmiRef,
        verbose_log: bool,
    ) -> Result<AppCrateRef, LoadError> {
        let mut session = Session::begin(verbose_log);
        let crate_ref = session.load(namespace, crate_object_file, Visibility::Private)?;
        Ok(AppCrateRef::of(crate_ref, namespace))
    }

    /// Loads the crate in `crate_object_file` into this namespace, and the crates it needs that are not loaded. Returns it
    /// with the number of its global symbols; if it is loaded already, 0. Whoever keeps the reference keeps it loaded.
    ///
    /// # Errors
    /// [`LoadError`]; nothing is left behind.
    pub fn load_crate(
        self: &Arc<Self>,
        crate_object_file: &FileRef,
        _kernel_mmi_ref: &MmiRef,
        verbose_log: bool,
    ) -> Result<(StrongCrateRef, usize), LoadError> {
        let mut session = Session::begin(verbose_log);
        let before = session.loaded_count();
        let crate_ref = session.load(self, crate_object_file, Visibility::Public)?;
        let symbols = if session.loaded_count() == before { 0 } else { crate_ref.global_symbol_count() };
        Ok((crate_ref, symbols))
    }

    /// Loads the crate called `name`, with or without its hash, from this namespace's directory or a parent's.
    ///
    /// # Errors
    /// [`LoadError`]; nothing is left behind.
    pub fn load_crate_by_name(self: &Arc<Self>, name: &str) -> Result<StrongCrateRef, LoadError> {
        let exact =
            self.chain().find_map(|namespace| Some((namespace.dir.get_crate_object_file(name)?, namespace)));
        let (file, namespace) = match exact {
            Some(found) => found,
            None => {
                let prefix = alloc::format!("{name}{CRATE_HASH_DELIMITER}");
                let mut found = Self::get_crate_object_files_starting_with(self, &prefix);
                match (found.pop(), found.len()) {
                    (Some(file), 0) => file,
                    (last, others) => {
                        let found = others + usize::from(last.is_some());
                        return Err(LoadError::NoSuchCrate { crate_name: name.into(), found });
                    }
                }
            }
        };
        Session::begin(false).load(namespace, &file, Visibility::Public)
    }

    /// The loaded crate that holds `address` in its code, or, if `search_all_section_types`, anywhere. Looks in the parents
    /// too.
    pub fn get_crate_containing_address(
        &self,
        address: VirtualAddress,
        search_all_section_types: bool,
    ) -> Option<StrongCrateRef> {
        let mut found = None;
        self.for_each_crate(true, |_, krate| {
            if krate.contains_address(address, search_all_section_types) {
                found = Some(krate.clone_shallow());
            }
            found.is_none()
        });
        found
    }

    /// The function, or if `search_all_section_types` the function or variable, that holds `address`, and the offset in it.
    pub fn get_section_containing_address(
        &self,
        address: VirtualAddress,
        search_all_section_types: bool,
    ) -> Option<(StrongSectionRef, usize)> {
        self.get_crate_containing_address(address, search_all_section_types)?
            .get_section_containing_address(address)
    }

    /// The global symbol called `name`, mangled, of a crate that is loaded here or in a parent.
    pub fn get_symbol(&self, name: &str) -> Option<StrongSectionRef> {
        let hash = symbol_hash(name.as_bytes());
        let mut namespace = Some(self);
        while let Some(current) = namespace {
            if let Some((krate, symbol)) = current.find_symbol(hash, name.as_bytes()) {
                let SymbolSource::Object(symbols) = &krate.symbols else {
                    return None;
                };
                return krate.object_section(symbols, &symbols.table().get(symbol as usize)?);
            }
            namespace = current.recursive_namespace.as_deref();
        }
        BASE.get()?.crate_ref.get_symbol(name)
    }

    /// As [`CrateNamespace::get_symbol`], and loads the crate that defines the symbol if none has it.
    ///
    /// # Errors
    /// [`LoadError`]; nothing is left behind.
    pub fn get_symbol_or_load(
        self: &Arc<Self>,
        name: &str,
        _kernel_mmi_ref: &MmiRef,
    ) -> Result<StrongSectionRef, LoadError> {
        if let Some(section) = self.get_symbol(name) {
            return Ok(section);
        }
        // The crate is kept until the section, which keeps it too, has been made.
        let _krate = Session::begin(false).load_for_symbol(self, name)?;
        self.get_symbol(name).ok_or_else(|| LoadError::NoSuchFunction { name: name.into() })
    }

    /// Number of symbols in this namespace's map.
    pub fn symbol_count(&self) -> usize {
        self.tables.lock().symbols.len()
    }

    /// The loaded crate of this namespace that defines the global symbol `name`, and the symbol's index in it.
    pub(crate) fn find_symbol(&self, hash: u64, name: &[u8]) -> Option<(StrongCrateRef, u32)> {
        // Several entries have the same hash only by rare chance, or while a crate that goes is replaced.
        for skipped in 0.. {
            let (krate, symbol) = {
                let tables = self.tables.lock();
                let entry = tables.symbols.candidates(hash).nth(skipped)?;
                (tables.crate_in(entry.slot), entry.symbol)
            };
            let Some(krate) = krate else { continue };
            if let SymbolSource::Object(symbols) = &krate.symbols
                && symbols.table().has_name(symbol as usize, name)
            {
                return Some((krate, symbol));
            }
        }
        None
    }

    /// Keeps a slot for a crate that is being linked.
    pub(crate) fn reserve_slot(self: &Arc<Self>) -> Result<ReservedSlot, LoadError> {
        let mut tables = self.tables.lock();
        let slot = match tables.slots.iter().position(|slot| matches!(slot, Slot::Free)) {
            Some(slot) => slot,
            None => {
                let out_of_memory = LoadError::OutOfMemory { what: "the table of crates" };
                tables.slots.try_reserve(1).map_err(|_| out_of_memory)?;
                tables.slots.push(Slot::Free);
                tables.slots.len() - 1
            }
        };
        tables.slots[slot] = Slot::Reserved;
        Ok(ReservedSlot { namespace: Arc::clone(self), slot: slot as u32 })
    }

    /// A name that no loaded crate here has: `name`, or `name.2`, `name.3`, …
    pub(crate) fn unused_name(&self, name: &str) -> StrRef {
        let tables = self.tables.lock();
        if !tables.by_name.contains_key(name) {
            return name.into();
        }
        let mut numbered = (2usize..).map(|number| alloc::format!("{name}.{number}"));
        numbered.find(|name| !tables.by_name.contains_key(name.as_str())).unwrap_or_default().into()
    }

    /// Makes room for the symbols of a crate.
    pub(crate) fn reserve_symbols(&self, count: usize) -> Result<(), LoadError> {
        self.tables.lock().symbols.reserve(count)
    }

    /// Enters the exported symbols of the crate in `slot` into the map, for which there is room.
    pub(crate) fn publish(&self, slot: u32, symbols: &CrateSymbols) {
        self.in_portions(slot, symbols, |map, entry| map.insert(entry));
    }

    /// Forgets a crate that goes, and its symbols if they are given.
    pub(crate) fn forget_crate(&self, slot: u32, published: Option<&CrateSymbols>) {
        let old = {
            let mut tables = self.tables.lock();
            let tables = &mut *tables;
            let old = mem::replace(&mut tables.slots[slot as usize], Slot::Reserved);
            if let Slot::Used { name, .. } = &old
                && tables.by_name.get(name) == Some(&slot)
            {
                tables.by_name.remove(name);
            }
            old
        };
        drop(old);
        if let Some(symbols) = published {
            self.in_portions(slot, symbols, |map, entry| map.remove(entry.hash, slot, entry.symbol));
        }
        self.tables.lock().slots[slot as usize] = Slot::Free;
    }

    /// Calls `change` with the map and an entry for each exported symbol, letting interrupts in from time to time.
    fn in_portions(
        &self,
        slot: u32,
        symbols: &CrateSymbols,
        mut change: impl FnMut(&mut SymbolMap, SymbolEntry),
    ) {
        let table = symbols.table();
        let mut exported = table.globals().filter(|(_, symbol)| symbol.is_exported());
        let mut portion = [SymbolEntry { hash: 0, slot, symbol: 0 }; SYMBOLS_PER_LOCK];
        loop {
            let mut count = 0;
            for (index, symbol) in exported.by_ref().take(SYMBOLS_PER_LOCK) {
                if let Some((hash, _)) = table.hashed_name(symbol.name) {
                    portion[count] = SymbolEntry { hash, slot, symbol: index as u32 };
                    count += 1;
                }
            }
            if count == 0 {
                return;
            }
            let mut tables = self.tables.lock();
            for entry in &portion[..count] {
                change(&mut tables.symbols, *entry);
            }
        }
    }
}

impl fmt::Debug for CrateNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CrateNamespace({})", self.name)
    }
}

/// A slot that is freed again unless a crate takes it.
pub(crate) struct ReservedSlot {
    namespace: Arc<CrateNamespace>,
    slot: u32,
}

impl ReservedSlot {
    pub(crate) fn index(&self) -> u32 {
        self.slot
    }

    /// Puts a crate into the slot. From then on the crate frees it.
    pub(crate) fn fill(self, krate: &StrongCrateRef) {
        let name = krate.crate_name.clone();
        let weak = krate.downgrade();
        let mut tables = self.namespace.tables.lock();
        tables.by_name.insert(name.clone(), self.slot);
        tables.slots[self.slot as usize] = Slot::Used { name, krate: weak };
    }
}

impl Drop for ReservedSlot {
    fn drop(&mut self) {
        let mut tables = self.namespace.tables.lock();
        let slot = &mut tables.slots[self.slot as usize];
        if matches!(slot, Slot::Reserved) {
            *slot = Slot::Free;
        }
    }
}

/// A program that is loaded. The last reference to it unloads it, and with it the crates that nobody else needs.
pub struct AppCrateRef {
    crate_ref: StrongCrateRef,
    namespace: Arc<CrateNamespace>,
}

impl AppCrateRef {
    pub(crate) fn of(crate_ref: StrongCrateRef, namespace: &Arc<CrateNamespace>) -> Self {
        AppCrateRef { crate_ref, namespace: Arc::clone(namespace) }
    }

    /// The namespace it is loaded in.
    pub fn namespace(&self) -> &Arc<CrateNamespace> {
        &self.namespace
    }

    /// The program's `main`, to be used with [`crate::LoadedSection::as_func`].
    ///
    /// # Errors
    /// If it has none.
    pub fn main_section(&self) -> Result<StrongSectionRef, LoadError> {
        let krate: &LoadedCrate = &self.crate_ref;
        let name = alloc::format!("{}::main", crate_name_without_hash(&krate.crate_name));
        krate.get_function_section(&name).ok_or(LoadError::NoSuchFunction { name })
    }
}

impl Deref for AppCrateRef {
    type Target = StrongCrateRef;
    fn deref(&self) -> &StrongCrateRef {
        &self.crate_ref
    }
}

impl fmt::Debug for AppCrateRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppCrateRef({})", self.crate_ref.crate_name)
    }
}
