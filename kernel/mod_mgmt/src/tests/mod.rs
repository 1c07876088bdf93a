//! Loading and unloading on a Linux host: everything but running the code, at pretended addresses.

mod objects;

use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use alloc::{string::ToString, sync::Arc, vec::Vec};
use crate_metadata::{
    base_symbols::{BaseSymbol, BaseSymbolKind, BaseSymbols},
    symbol_index::SymbolIndex,
};
use fs_node::{DirRef, FileRef};
use heapfile::HeapFile;
use memory::VirtualAddress;
use vfs_node::VFSDirectory;

use super::*;
use crate::{
    loaded_crate::is_called,
    loader::{Session, Visibility},
    platform::segment_count,
};
use objects::{Sample, seal};

const BASE_TEXT: usize = 0xFFFF_FFFF_8010_0000;
const BASE_FUNCTION: &str = "_RNvC4base8function";
/// The base image's thread-local variables: 8 bytes that begin as these.
static BASE_TLS: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// Counts of all that must be as before once everything is unloaded.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    segments: usize,
    crates: usize,
    tls: TlsUsage,
    symbols: Vec<usize>,
}

/// Namespaces with directories of their own. Only one test runs at a time, since some counts are global.
struct World {
    root: DirRef,
    kernel: Arc<CrateNamespace>,
    applications: Arc<CrateNamespace>,
    _exclusive: MutexGuard<'static, ()>,
}

impl World {
    fn new() -> Self {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        static INIT: Once = Once::new();
        let exclusive = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        INIT.call_once(init_loader);
        let root = VFSDirectory::create_root();
        let dir = |name: &str| NamespaceDir::new(VFSDirectory::create(name.into(), &root).unwrap());
        let kernel = Arc::new(CrateNamespace::new("_kernel".into(), dir("_kernel"), None));
        let parent = Some(kernel.clone());
        let applications =
            Arc::new(CrateNamespace::new("_applications".into(), dir("_applications"), parent));
        World { root, kernel, applications, _exclusive: exclusive }
    }

    fn add(&self, namespace: &CrateNamespace, name: &str, object: Vec<u8>) -> FileRef {
        HeapFile::from_vec(object, std::format!("{name}.o"), namespace.dir()).unwrap()
    }

    fn run(&self, file: &FileRef) -> Result<AppCrateRef, LoadError> {
        let crate_ref = Session::begin(false).load(&self.applications, file, Visibility::Private)?;
        Ok(AppCrateRef::of(crate_ref, &self.applications))
    }

    fn load(&self, file: &FileRef) -> Result<StrongCrateRef, LoadError> {
        Session::begin(false).load(&self.kernel, file, Visibility::Public)
    }

    fn counts(&self) -> Counts {
        Counts {
            segments: segment_count(),
            crates: all_crates().len(),
            tls: tls_usage(),
            symbols: [&self.kernel, &self.applications].map(|namespace| namespace.symbol_count()).to_vec(),
        }
    }
}

fn init_loader() {
    let root = VFSDirectory::create_root();
    let dir = |name: &str, parent: &DirRef| VFSDirectory::create(name.into(), parent).unwrap();
    let tables = || BaseImage {
        text: BASE_TEXT..BASE_TEXT + 0x1000,
        tls_image: &BASE_TLS,
        tls_size: 24,
        tls_align: 16,
    };
    assert!(matches!(init(&root, tables()), Err(LoadError::NoDirectory { .. })));
    let namespaces = dir("namespaces", &root);
    let kernel = dir("_kernel", &namespaces);
    dir("_applications", &namespaces);
    assert!(matches!(init(&root, tables()), Err(LoadError::BadTable { file: BASE_SYMBOLS_FILE_NAME })));
    let symbol = |name, value, kind| BaseSymbol { name, value, size: 16, kind, exported: true };
    let symbols = BaseSymbols::encode(&[
        symbol(BASE_FUNCTION, BASE_TEXT as u64 + 0x20, BaseSymbolKind::Function),
        symbol("_RNvC4base6THREAD", 8, BaseSymbolKind::Tls),
    ]);
    HeapFile::from_vec(symbols, BASE_SYMBOLS_FILE_NAME.into(), &kernel).unwrap();
    // The second file does not define the symbol, the third does not exist: the index may be out of date.
    let files: [(&str, &[&str]); 3] = [
        ("_kernel/indexed-1.o", &["not_mangled"]),
        ("_kernel/indexed-2.o", &["stale"]),
        ("_kernel/indexed-3.o", &["gone"]),
    ];
    HeapFile::from_vec(SymbolIndex::encode(files), SYMBOL_INDEX_FILE_NAME.into(), &namespaces).unwrap();
    init(&root, tables()).unwrap();
    assert!(matches!(init(&root, tables()), Err(LoadError::WrongTime(_))));
    assert!(create_application_namespace(None).unwrap().crate_names(false).is_empty());
}

fn long(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

/// Where the call at `offset` of a crate's text goes.
fn call_target(krate: &LoadedCrate, offset: usize) -> u64 {
    let text = krate.parts.text.as_ref().unwrap();
    let field = i32::from_le_bytes(text.bytes().unwrap()[offset + 1..offset + 5].try_into().unwrap());
    (text.range().start as u64 + offset as u64 + 5).wrapping_add(field as u64)
}

fn data(krate: &LoadedCrate) -> &[u8] {
    krate.parts.data.as_ref().unwrap().bytes().unwrap()
}

const A: &str = "_RNvCsAAA_5lib_a3one";
const B: &str = "_RNvCsBBB_5lib_b3two";
const MAIN: &str = "_RNvCsCCC_3app4main";

fn lib_a() -> Sample<'static> {
    Sample { functions: &[A], calls: &[BASE_FUNCTION], ..Sample::default() }
}

fn lib_b() -> Sample<'static> {
    Sample { functions: &[B], calls: &[A, BASE_FUNCTION], thread_local: Some(&[9; 12]), bss: 5000 }
}

fn app() -> Sample<'static> {
    Sample { functions: &[MAIN], calls: &[B], ..Sample::default() }
}

#[test]
fn a_program_brings_what_it_needs_and_takes_it_along() {
    let world = World::new();
    world.add(&world.kernel, "lib_a-1", lib_a().object());
    world.add(&world.kernel, "lib_b-1", lib_b().object());
    let file = world.add(&world.applications, "app-1", app().object());
    let before = world.counts();
    let running = world.run(&file).unwrap();
    let names = |namespace: &CrateNamespace| {
        namespace.crate_names(false).iter().map(|name| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&world.applications), ["app-1"]);
    assert_eq!(names(&world.kernel), ["nano_core", "lib_a-1", "lib_b-1"]);
    assert_eq!(world.kernel.symbol_count(), 2);

    let (a, b) = (world.kernel.get_crate("lib_a-1").unwrap(), world.kernel.get_crate("lib_b-1").unwrap());
    let address = |krate: &LoadedCrate, name| krate.get_symbol(name).unwrap().virt_addr.value() as u64;
    let one = address(&a, A);
    assert_eq!(one, a.text_range().unwrap().start.value() as u64 + lib_a().function_offset(0) as u64);
    assert_eq!(call_target(&a, 0), BASE_TEXT as u64 + 0x20);
    assert_eq!(call_target(&b, 0), one);
    assert_eq!(call_target(&b, 8), BASE_TEXT as u64 + 0x20);
    assert_eq!(long(data(&b), 0), one);
    assert_eq!(long(data(&running), 0), address(&b, B));
    assert_eq!(b.data_range().unwrap().end.value() - b.data_range().unwrap().start.value(), 16 + 5000);
    for krate in [&a, &b, &*running] {
        let [text, _, data] = krate.protections();
        assert_eq!((text, data), (Some(Protection::Execute), Some(Protection::Write)));
    }
    let of = |krates: Vec<WeakCrateRef>| {
        krates.iter().map(|krate| krate.upgrade().unwrap().crate_name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(of(b.crates_i_depend_on()), ["lib_a-1", "nano_core"]);
    assert_eq!(of(b.crates_dependent_on_me()), ["app-1"]);
    assert_eq!(of(a.crates_dependent_on_me()), ["lib_b-1"]);
    drop(b);

    drop(running);
    assert_eq!(names(&world.kernel), ["nano_core", "lib_a-1"], "who holds a crate keeps it");
    drop(a);
    assert_eq!(world.counts(), before);
}

#[test]
fn runs_of_a_program_share_libraries_but_not_variables() {
    let world = World::new();
    world.add(&world.kernel, "lib_a-1", lib_a().object());
    world.add(&world.kernel, "lib_b-1", lib_b().object());
    let file = world.add(&world.applications, "app-1", app().object());
    let before = world.counts();
    let first = world.run(&file).unwrap();
    let second = world.run(&file).unwrap();
    assert_eq!(&*second.crate_name, "app-1.2");
    let loads =
        |name: &str| load_counts().iter().find(|(known, _)| **known == *name).map_or(0, |(_, count)| *count);
    let (programs, libraries) = (loads("app-1"), loads("lib_b-1"));
    assert_ne!(first.data_range(), second.data_range());
    assert_eq!(long(data(&first), 0), long(data(&second), 0));
    assert_eq!(world.kernel.crate_names(false).len(), 3);
    assert_eq!(first.main_section().unwrap().to_string(), "app::main");
    assert_eq!(second.main_section().unwrap().parent_crate.crate_name, second.crate_name);
    drop(first);
    let third = world.run(&file).unwrap();
    assert_eq!(&*third.crate_name, "app-1");
    assert!(world.kernel.get_crate("lib_b-1").is_some());
    assert_eq!((loads("app-1"), loads("lib_b-1")), (programs + 1, libraries));
    drop((second, third));
    assert_eq!(world.counts(), before);
}

#[test]
fn a_missing_symbol_is_an_error_that_leaves_nothing_behind() {
    let world = World::new();
    let lib = Sample { calls: &[BASE_FUNCTION, "_RNvCsDDD_4none7nothing"], ..lib_a() };
    world.add(&world.kernel, "lib_a-1", lib.object());
    world.add(&world.kernel, "lib_b-1", lib_b().object());
    let file = world.add(&world.applications, "app-1", app().object());
    let before = world.counts();
    let error = world.run(&file).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot load lib_a-1: no crate defines none::nothing; build all crates together"
    );
    assert_eq!(world.counts(), before);
}

#[test]
fn crates_that_need_each_other_are_refused() {
    let world = World::new();
    world.add(&world.kernel, "lib_a-1", Sample { calls: &[B], ..lib_a() }.object());
    let file = world.add(&world.kernel, "lib_b-1", lib_b().object());
    let before = world.counts();
    let error = world.load(&file).unwrap_err();
    assert!(matches!(&error, LoadError::Cycle { crate_name, .. } if crate_name == "lib_b-1"), "{error}");
    assert_eq!(world.counts(), before);
}

#[test]
fn symbols_are_found_by_index_and_by_name_in_the_right_version() {
    let world = World::new();
    // By index, for a name that does not tell the crate. What the index says wrongly is found by name.
    world.add(
        &world.kernel,
        "indexed-1",
        Sample { functions: &["not_mangled"], ..Sample::default() }.object(),
    );
    world.add(&world.kernel, "indexed-2", Sample { functions: &["other"], ..Sample::default() }.object());
    let first = Sample { functions: &["_RNvCs1_3lib3get"], ..Sample::default() };
    let second = Sample { functions: &["_RNvCs2_3lib3get"], ..Sample::default() };
    world.add(&world.kernel, "lib-1", first.object());
    world.add(&world.kernel, "lib-2", second.object());
    let user = |call| Sample { functions: &[MAIN], calls: &[call], ..Sample::default() }.object();
    let before = world.counts();
    for (call, expected) in
        [("not_mangled", "indexed-1"), ("_RNvCs2_3lib3get", "lib-2"), ("_RNvCs1_3lib3get", "lib-1")]
    {
        let file = world.add(&world.applications, &std::format!("user-{expected}"), user(call));
        let running = world.run(&file).unwrap();
        let dependency = running.dependencies[0].crate_name.to_string();
        assert_eq!(dependency, expected);
    }
    for call in ["stale", "gone", "_RNvCs3_3lib3get"] {
        let file = world.add(&world.applications, &std::format!("user-{call}"), user(call));
        assert!(matches!(world.run(&file), Err(LoadError::MissingSymbol { .. })), "{call}");
    }
    assert_eq!(world.counts(), before, "crates that did not help were not kept");
    assert!(matches!(world.kernel.load_crate_by_name("lib"), Err(LoadError::NoSuchCrate { found: 2, .. })));
    assert!(matches!(world.kernel.load_crate_by_name("nil"), Err(LoadError::NoSuchCrate { found: 0, .. })));
    let krate = world.applications.load_crate_by_name("lib-2").unwrap();
    assert_eq!(&*krate.crate_name, "lib-2");
    assert!(world.kernel.get_crate("lib-2").is_some(), "loaded where its file is");
}

#[test]
fn thread_locals_reach_the_tasks_there_are() {
    let world = World::new();
    let base_thread = Sample { functions: &["_RNvC1x1y"], thread_local: Some(&[7, 8]), ..Sample::default() };
    let file = world.add(&world.kernel, "x-1", base_thread.object());
    let area = world.kernel.get_tls_initializer_data().unwrap();
    let bytes = |offset: isize, size: usize| {
        // SAFETY: the offsets are those of variables in the area.
        unsafe { core::slice::from_raw_parts((area.fs_base() as isize + offset) as *const u8, size) }
    };
    assert_eq!(bytes(-32, 10), [1, 2, 3, 4, 5, 6, 7, 8, 0, 0]);
    let before = world.counts();
    let krate = world.load(&file).unwrap();
    let (offset, size) = krate.tls_range().unwrap();
    assert_eq!(size, 2);
    let text = krate.parts.text.as_ref().unwrap().bytes().unwrap();
    let place = base_thread.thread_offset_place();
    assert_eq!(u32::from_le_bytes(text[place..place + 4].try_into().unwrap()) as usize, offset);
    assert_eq!(bytes(offset as isize, 2), [7, 8]);
    drop(krate);
    assert_eq!(world.counts(), before);
    let thread = world.kernel.get_symbol("_RNvC4base6THREAD").unwrap();
    assert!(thread.typ.is_tls());
}

#[test]
fn damage_anywhere_is_refused_and_leaves_nothing_behind() {
    let world = World::new();
    world.add(&world.kernel, "lib_a-1", lib_a().object());
    let good = lib_b().object();
    let before = world.counts();
    let refuse = |object: Vec<u8>, what: &dyn Fn() -> std::string::String| {
        let file = world.add(&world.kernel, "bad-1", object);
        let error = world.load(&file).err();
        assert!(error.is_some(), "{}", what());
        let text = error.unwrap().to_string();
        assert!(text.contains("bad-1.o: ") && !text.contains('\n'), "{text}");
    };
    for length in 0..good.len() {
        refuse(good[..length].to_vec(), &|| std::format!("cut at {length}"));
    }
    for at in 0..good.len() {
        for bit in [0, 3, 7] {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            refuse(bad, &|| std::format!("bit {bit} of byte {at} flipped"));
        }
    }
    assert_eq!(world.counts(), before);
    let file = world.add(&world.kernel, "bad-1", good);
    assert!(world.load(&file).is_ok());
}

#[test]
fn damage_with_a_right_checksum_never_panics() {
    let world = World::new();
    world.add(&world.kernel, "lib_a-1", lib_a().object());
    let good = lib_b().object();
    let before = world.counts();
    let mut state = 1u32;
    let mut refused = 0;
    for round in 0..20_000 {
        let mut bad = good.clone();
        for _ in 0..1 + round % 3 {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            let at = state as usize % bad.len();
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            bad[at] = (state >> 16) as u8;
        }
        let Ok(object) = crate_metadata::ObjectFile::parse(&bad) else { continue };
        // Only where the checksum still is one can it be made right.
        let section = object.section_by_name(crate_metadata::checksum::SECTION_NAME);
        if section.is_none_or(|section| object.section_data(section).len() != 8) {
            continue;
        }
        let file = world.add(&world.kernel, "bad-1", seal(bad));
        refused += usize::from(world.load(&file).is_err());
        assert_eq!(world.counts(), before, "round {round}");
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn an_object_without_a_checksum_is_refused() {
    let world = World::new();
    let mut object = lib_a().object();
    let name = crate_metadata::checksum::SECTION_NAME.as_bytes();
    let at = object.windows(name.len()).position(|window| window == name).unwrap();
    object[at + 1] = b'T';
    let file = world.add(&world.kernel, "raw-1", object);
    assert!(matches!(world.load(&file), Err(LoadError::NotPrepared { .. })));
    let empty = world.add(&world.kernel, "empty-1", Vec::new());
    assert!(matches!(world.load(&empty), Err(LoadError::NotAnObject { .. })));
}

#[test]
fn addresses_have_names() {
    let world = World::new();
    world.add(&world.kernel, "lib_a-1", lib_a().object());
    let file = world.add(&world.kernel, "lib_b-1", lib_b().object());
    let krate = world.load(&file).unwrap();
    let two = krate.get_symbol(B).unwrap().virt_addr.value();
    let mut seen = Vec::new();
    let mut note = |info: &SymbolInfo<'_>| {
        seen.push((info.crate_name.to_string(), info.symbol.to_string(), info.offset, info.size));
    };
    assert!(symbolize(two + 5, &mut note));
    assert!(symbolize(BASE_TEXT + 0x2F, &mut note));
    assert!(!symbolize(BASE_TEXT + 0x30, &mut note));
    assert!(!symbolize(0x1234, &mut note));
    assert_eq!(
        seen,
        [("lib_b-1".into(), B.into(), 5, 16), ("nano_core".into(), BASE_FUNCTION.into(), 0xF, 16)]
    );
    let found =
        world.applications.get_section_containing_address(VirtualAddress::new_canonical(two + 5), false);
    let (section, offset) = found.unwrap();
    assert_eq!((section.to_string(), offset), ("lib_b::two".into(), 5));
    let data = krate.data_range().unwrap().start;
    assert!(world.kernel.get_crate_containing_address(data, false).is_none());
    assert_eq!(world.kernel.get_crate_containing_address(data, true).unwrap().crate_name, krate.crate_name);
}

#[test]
fn functions_are_found_by_their_paths() {
    assert!(is_called("_RNvCs3lJEQQefytt_4capt4main", "capt::main"));
    assert!(!is_called("_RNvCs3lJEQQefytt_4capt4main", "capt::mai"));
    assert!(!is_called("_RNvCs3lJEQQefytt_4capt4main", "captain::main"));
    assert!(is_called("memcpy", "memcpy"));
    let world = World::new();
    let file = world.add(&world.kernel, "lib_a-1", lib_a().object());
    let krate = world.load(&file).unwrap();
    let section = krate.get_function_section("lib_a::one").unwrap();
    assert_eq!(krate.get_function_section("lib_a::two").map(|section| section.to_string()), None);
    // SAFETY: the pointer is looked at, not called.
    let function = *unsafe { section.as_func::<fn()>() }.unwrap();
    assert_eq!(function as *const () as usize, section.virt_addr.value());
    // SAFETY: refused, since it is no pointer.
    assert!(unsafe { section.as_func::<u8>() }.is_err());
}

#[test]
fn a_file_may_go_while_its_crate_is_loaded() {
    let world = World::new();
    let file = world.add(&world.kernel, "lib_a-1", lib_a().object());
    let krate = world.load(&file).unwrap();
    file.lock().truncate(0).unwrap();
    let node = world.kernel.dir().lock().get("lib_a-1.o").unwrap();
    world.kernel.dir().lock().remove(&node);
    assert!(krate.get_function_section("lib_a::one").is_some());
    assert!(world.root.lock().get_dir("_kernel").is_some());
}
