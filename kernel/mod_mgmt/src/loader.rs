//! Loading: from an object file to a linked crate.

use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::cell::Cell;

use cow_arc::CowArc;
use crate_metadata::{
    ElfError, Layout, ObjectFile, Segment, SymbolBinding, SymbolValue,
    checksum::{self, Verdict},
    relocate_section,
};
use crate_name_utils::{crate_name_from_path, crate_names_of_mangled};
use fs_node::FileRef;
use path::Path;
use spin::{Mutex, MutexGuard, Once};
use str_ref::StrRef;

use crate::{
    CrateNamespace, LoadError, LoadedCrate, Protection, SYMBOL_INDEX, StrongCrateRef, TLS_INITIALIZER,
    loaded_crate::{Parts, SymbolSource},
    object_bytes::ObjectBytes,
    platform::{SegmentPages, register_unwind_info},
    registry::{self, BASE},
    symbols::{Addresses, CrateSymbols},
};

/// One crate is loaded at a time, with those it needs. Held for milliseconds, with interrupts and preemption enabled, so
/// whoever waits gives the CPU away.
static LOADER: Mutex<()> = Mutex::new(());

/// What a waiting task does meanwhile.
static WAIT_HOOK: Once<fn()> = Once::new();

/// Sets what a task does while it waits for another one to finish loading: give the CPU away. Until then it spins.
pub fn set_wait_hook(hook: fn()) {
    WAIT_HOOK.call_once(|| hook);
}

/// Says whether the current task is to end, so that it need not load any further.
static CANCEL_HOOK: Once<fn() -> bool> = Once::new();

/// Sets what says whether the current task was asked to end: then it gives up loading, between one crate and the next, with
/// [`LoadError::Cancelled`]. Until then nobody gives up.
pub fn set_cancel_hook(hook: fn() -> bool) {
    CANCEL_HOOK.call_once(|| hook);
}

/// Fails if the current task is to end.
fn check_cancelled() -> Result<(), LoadError> {
    if CANCEL_HOOK.get().is_some_and(|hook| hook()) { Err(LoadError::Cancelled) } else { Ok(()) }
}

/// Who can see a crate's symbols.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visibility {
    /// All crates of its namespace and below. There is one such crate of a name.
    Public,
    /// Nobody. Each load makes another copy.
    Private,
}

/// The loading of a crate and of those it needs.
pub(crate) struct Session {
    verbose: bool,
    /// Names of the crates being linked, each because the one before needs it.
    in_progress: Vec<StrRef>,
    loaded: Cell<usize>,
    _exclusive: MutexGuard<'static, ()>,
}

impl Session {
    /// Waits until nobody else is loading.
    pub(crate) fn begin(verbose: bool) -> Self {
        let exclusive = loop {
            if let Some(guard) = LOADER.try_lock() {
                break guard;
            }
            match WAIT_HOOK.get() {
                Some(hook) => hook(),
                None => core::hint::spin_loop(),
            }
        };
        Session { verbose, in_progress: Vec::new(), loaded: Cell::new(0), _exclusive: exclusive }
    }

    /// How many crates this session has loaded.
    pub(crate) fn loaded_count(&self) -> usize {
        self.loaded.get()
    }

    /// Loads the crate in `file` into `namespace`. A public one that is loaded already is returned as it is.
    pub(crate) fn load(
        &mut self,
        namespace: &Arc<CrateNamespace>,
        file: &FileRef,
        visibility: Visibility,
    ) -> Result<StrongCrateRef, LoadError> {
        let file_name = file.lock().get_name();
        let name = crate_name_from_path(Path::new(&file_name));
        let name = match visibility {
            Visibility::Public => match namespace.get_crate(name) {
                Some(krate) => return Ok(krate),
                None => name.into(),
            },
            Visibility::Private => namespace.unused_name(name),
        };
        check_cancelled()?;
        self.in_progress.push(StrRef::clone(&name));
        let result = self.link(namespace, file, name, visibility);
        self.in_progress.pop();
        if let Ok(krate) = &result {
            registry::count_load(crate_name_from_path(Path::new(&file_name)).into());
            self.loaded.set(self.loaded.get() + 1);
            if self.verbose {
                log::info!("loaded {krate:?}");
            }
        }
        result
    }

    /// Loads the crate that defines the symbol `name`.
    pub(crate) fn load_for_symbol(
        &mut self,
        namespace: &Arc<CrateNamespace>,
        name: &str,
    ) -> Result<StrongCrateRef, LoadError> {
        let hash = crate_metadata::symbol_hash(name.as_bytes());
        match self.load_definer(namespace, hash, name.as_bytes())? {
            Some((krate, _)) => Ok(krate),
            None => Err(LoadError::MissingSymbol { crate_name: "a crate".to_string(), symbol: name.into() }),
        }
    }

    /// Places, links and publishes one crate.
    fn link(
        &mut self,
        namespace: &Arc<CrateNamespace>,
        file: &FileRef,
        name: StrRef,
        visibility: Visibility,
    ) -> Result<StrongCrateRef, LoadError> {
        let bytes = ObjectBytes::of_file(file)?;
        let object = parse(&bytes, file)?;
        let layout = Layout::new(&object)
            .map_err(|error| LoadError::Layout { crate_name: name.to_string(), error })?;

        let sizes = [layout.text_size(), layout.rodata_size(), layout.data_size()];
        let [text, rodata, data] = SegmentPages::allocate(sizes)?;
        let mut parts = Parts { text, rodata, data, ..Parts::default() };
        let tls_error = |error| LoadError::ThreadLocals { crate_name: name.to_string(), error };
        if let Some(tls) = layout.tls() {
            let section = TLS_INITIALIZER.add_new_dynamic_section(tls.size, tls.alignment);
            parts.tls = Some(section.map_err(tls_error)?);
        }
        let addresses = Addresses {
            text: start_of(&parts.text),
            rodata: start_of(&parts.rodata),
            data: start_of(&parts.data),
            tls: parts.tls.as_ref().map_or(0, |tls| tls.offset()),
        };
        let symbols = CrateSymbols::new(
            name.clone(),
            bytes.clone(),
            object.symbol_table_location(),
            &layout,
            addresses,
        )?;

        let (values, dependencies) = self.resolve(namespace, &object, &symbols)?;
        {
            let text = bytes_of(&mut parts.text)?;
            let rodata = bytes_of(&mut parts.rodata)?;
            let data = bytes_of(&mut parts.data)?;
            layout.copy_contents(&object, text, rodata, data);
            relocate(&object, &layout, &symbols, &values, [text, rodata, data])?;
        }
        drop(values);

        if let (Some(section), Some(tls)) = (&parts.tls, layout.tls()) {
            let rodata = parts.rodata.as_ref().map(SegmentPages::bytes).transpose()?.unwrap_or_default();
            section.publish(&rodata[tls.image_offset..][..tls.image_size]).map_err(tls_error)?;
        }
        for (segment, protection) in
            [(&mut parts.text, Protection::Execute), (&mut parts.rodata, Protection::Read)]
        {
            if let Some(segment) = segment {
                segment.protect(protection)?;
            }
        }
        let text_range = parts.text.as_ref().map_or(0..0, SegmentPages::range);
        if let Some((offset, size)) = layout.eh_frame()
            && !text_range.is_empty()
        {
            let start = addresses.rodata + offset;
            // SAFETY: both ranges are parts of the segments in `parts`, mapped and relocated; the guard is in `parts` too,
            // which drops it before them.
            let guard = unsafe { register_unwind_info(text_range.clone(), start..start + size) };
            parts.unwind =
                Some(guard.map_err(|error| LoadError::Unwind { crate_name: name.to_string(), error })?);
        }

        // From here on nothing fails.
        registry::reserve()?;
        let published = visibility == Visibility::Public;
        if published {
            namespace.reserve_symbols(object.symbols().len() - object.symbols().first_global())?;
        }
        let slot = namespace.reserve_slot()?;
        let symbols = Arc::new(symbols);
        let krate = CowArc::new_cyclic(|own| LoadedCrate {
            crate_name: name,
            object_file: Some(Arc::clone(file)),
            own,
            namespace: Arc::downgrade(namespace),
            slot: slot.index(),
            published,
            symbols: SymbolSource::Object(Arc::clone(&symbols)),
            parts,
            dependencies,
        });
        let index = slot.index();
        slot.fill(&krate);
        if published {
            namespace.publish(index, &symbols);
        }
        registry::add(text_range, symbols, krate.downgrade());
        Ok(krate)
    }

    /// The values of all symbols of `object`, by index, and the crates that they come from.
    fn resolve(
        &mut self,
        namespace: &Arc<CrateNamespace>,
        object: &ObjectFile<'_>,
        symbols: &CrateSymbols,
    ) -> Result<(Vec<SymbolValue>, Vec<StrongCrateRef>), LoadError> {
        let table = object.symbols();
        let mut values = Vec::new();
        values
            .try_reserve_exact(table.len())
            .map_err(|_| LoadError::OutOfMemory { what: "the symbols of a crate" })?;
        let mut dependencies = Vec::new();
        for (index, symbol) in table.iter() {
            if !symbol.is_undefined() || index == 0 {
                values.push(if index == 0 { SymbolValue::Unresolved } else { symbols.value(&symbol) });
                continue;
            }
            let malformed = || LoadError::NotAnObject {
                file: symbols.crate_name.to_string(),
                error: ElfError::Malformed("name of a symbol"),
            };
            let (hash, name) = table.hashed_name(symbol.name).ok_or_else(malformed)?;
            values.push(match self.find_or_load(namespace, hash, name, &mut dependencies)? {
                Some(value) => value,
                None if symbol.binding == SymbolBinding::Weak => SymbolValue::Address(0),
                None => {
                    return Err(LoadError::MissingSymbol {
                        crate_name: symbols.crate_name.to_string(),
                        symbol: String::from_utf8_lossy(name).into_owned(),
                    });
                }
            });
        }
        Ok((values, dependencies))
    }

    /// What the symbol `name` stands for, loading the crate that defines it if need be. That crate is then among the
    /// `dependencies`.
    fn find_or_load(
        &mut self,
        namespace: &Arc<CrateNamespace>,
        hash: u64,
        name: &[u8],
        dependencies: &mut Vec<StrongCrateRef>,
    ) -> Result<Option<SymbolValue>, LoadError> {
        let mut found = namespace.chain().find_map(|namespace| namespace.find_symbol(hash, name));
        if found.is_none() {
            if let Some(base) = BASE.get()
                && let Some(value) = base.value(hash, name)
            {
                add_dependency(dependencies, base.crate_ref.clone_shallow())?;
                return Ok(Some(value));
            }
            found = self.load_definer(namespace, hash, name)?;
        }
        let Some((krate, symbol)) = found else {
            return Ok(None);
        };
        let SymbolSource::Object(symbols) = &krate.symbols else {
            return Ok(None);
        };
        let value = symbols.table().get(symbol as usize).map(|symbol| symbols.value(&symbol));
        add_dependency(dependencies, krate)?;
        Ok(value)
    }

    /// Loads the crate that defines the symbol `name`: the one the index says, else one whose name occurs in the symbol.
    fn load_definer(
        &mut self,
        namespace: &Arc<CrateNamespace>,
        hash: u64,
        name: &[u8],
    ) -> Result<Option<(StrongCrateRef, u32)>, LoadError> {
        if let Some(index) = SYMBOL_INDEX.get() {
            for path in index.candidates(hash) {
                let Some((directory, file)) = path.split_once('/') else {
                    continue;
                };
                let found = namespace.chain().find_map(|namespace| {
                    let file =
                        namespace.dir().get_file(file).filter(|_| namespace.dir().name() == directory)?;
                    Some((file, namespace))
                });
                if let Some((file, namespace)) = found
                    && let Some(found) = self.load_if_it_defines(namespace, &file, hash, name)?
                {
                    return Ok(Some(found));
                }
            }
        }
        // Files that came after the index was made.
        let Ok(text) = core::str::from_utf8(name) else {
            return Ok(None);
        };
        for crate_name in crate_names_of_mangled(text) {
            let prefix = alloc::format!("{crate_name}{}", crate_metadata::CRATE_HASH_DELIMITER);
            for (file, namespace) in CrateNamespace::get_crate_object_files_starting_with(namespace, &prefix)
            {
                if let Some(found) = self.load_if_it_defines(namespace, &file, hash, name)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// Loads the crate in `file` if it defines the symbol `name`; else does nothing. A file that is no object is passed over.
    fn load_if_it_defines(
        &mut self,
        namespace: &Arc<CrateNamespace>,
        file: &FileRef,
        hash: u64,
        name: &[u8],
    ) -> Result<Option<(StrongCrateRef, u32)>, LoadError> {
        let bytes = ObjectBytes::of_file(file)?;
        let defines = ObjectFile::parse(&bytes).is_ok_and(|object| object.symbols().exports(name));
        if !defines {
            return Ok(None);
        }
        let file_name = file.lock().get_name();
        let crate_name = crate_name_from_path(Path::new(&file_name));
        if self.in_progress.iter().any(|wanted| **wanted == *crate_name) {
            let symbol = String::from_utf8_lossy(name).into_owned();
            return Err(LoadError::Cycle { crate_name: crate_name.into(), symbol });
        }
        let krate = self.load(namespace, file, Visibility::Public)?;
        // The crate is held, so what is found now is in it or in one that was there before.
        let found = namespace.find_symbol(hash, name);
        drop(krate);
        Ok(found)
    }
}

/// Parses an object file after having made sure that it is whole.
fn parse<'b>(bytes: &'b ObjectBytes, file: &FileRef) -> Result<ObjectFile<'b>, LoadError> {
    let name = || file.lock().get_name();
    let object = ObjectFile::parse(bytes).map_err(|error| LoadError::NotAnObject { file: name(), error })?;
    match checksum::verify(&object) {
        Verdict::Intact => Ok(object),
        Verdict::Absent => Err(LoadError::NotPrepared { file: name() }),
        Verdict::Damaged => Err(LoadError::Damaged { file: name() }),
    }
}

fn start_of(segment: &Option<SegmentPages>) -> usize {
    segment.as_ref().map_or(0, |segment| segment.range().start)
}

fn bytes_of(segment: &mut Option<SegmentPages>) -> Result<&mut [u8], LoadError> {
    segment.as_mut().map_or(Ok(&mut []), SegmentPages::bytes_mut)
}

fn add_dependency(dependencies: &mut Vec<StrongCrateRef>, krate: StrongCrateRef) -> Result<(), LoadError> {
    // Symbols of one crate tend to follow each other.
    if !dependencies.iter().rev().any(|known| CowArc::ptr_eq(known, &krate)) {
        dependencies
            .try_reserve(1)
            .map_err(|_| LoadError::OutOfMemory { what: "a crate's list of crates" })?;
        dependencies.push(krate);
    }
    Ok(())
}

/// Carries out all relocations of `object` in its segments (text, rodata, data).
fn relocate(
    object: &ObjectFile<'_>,
    layout: &Layout,
    symbols: &CrateSymbols,
    values: &[SymbolValue],
    [text, rodata, data]: [&mut [u8]; 3],
) -> Result<(), LoadError> {
    for (_, header, entries) in object.relocation_sections() {
        check_cancelled()?;
        let Some(section) = layout.section(header.info as usize) else {
            continue;
        };
        let segment = match section.segment {
            Segment::Text => &mut *text,
            Segment::Rodata => &mut *rodata,
            Segment::Data => &mut *data,
            Segment::TlsZeros => &mut [],
        };
        let target = segment.get_mut(section.offset..).and_then(|rest| rest.get_mut(..section.size));
        let place = symbols.sections().find(|(index, _)| *index == section.index);
        let address = place.map_or(0, |(_, place)| place.address as u64);
        relocate_section(target.unwrap_or_default(), address, entries, values).map_err(|error| {
            let table = object.symbols();
            let symbol = error.symbol().and_then(|index| table.get(index));
            let symbol = symbol.map(|symbol| table.name(&symbol).to_string()).unwrap_or_default();
            LoadError::Relocation { crate_name: symbols.crate_name.to_string(), symbol, error }
        })?;
    }
    Ok(())
}
