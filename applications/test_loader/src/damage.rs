//! Object files that are not as they should be.

use alloc::{string::ToString, sync::Arc, vec::Vec};

use crate_metadata::{
    ObjectFile, checksum,
    elf::{FILE_HEADER_SIZE, SECTION_HEADER_SIZE},
};
use fs_node::DirRef;
use heapfile::HeapFile;
use mod_mgmt::{CrateNamespace, LoadError};
use vfs_node::VFSDirectory;

use crate::sample::{State, application_namespace, contents, program};

/// Tries to load damaged versions of loader_sample.
struct Bench {
    directory: DirRef,
    namespace: Arc<CrateNamespace>,
    good: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        let namespace = application_namespace();
        let good = contents(&program(&namespace, "loader_sample-"));
        let bench = Bench { directory: VFSDirectory::create_root(), namespace, good };
        // From now on there is always one file in the directory, so what the heap holds can be compared.
        bench.load(bench.good.clone()).expect("undamaged, it loads");
        bench
    }

    fn load(&self, object: Vec<u8>) -> Result<(), LoadError> {
        let file = HeapFile::from_vec(object, "damaged-1.o".to_string(), &self.directory)
            .expect("a file can be made");
        let mmi = memory::get_kernel_mmi_ref().expect("there is an address space");
        CrateNamespace::load_crate_as_application(&self.namespace, &file, mmi, false).map(drop)
    }

    /// Panics unless `object` is refused with one line that names the file.
    fn refuse(&self, object: Vec<u8>, what: &str, number: usize) {
        match self.load(object) {
            Ok(()) => panic!("{what} {number}: was loaded"),
            Err(error) => {
                let text = error.to_string();
                assert!(
                    text.starts_with("damaged-1.o: ") && text.lines().count() == 1,
                    "{what} {number}: {text}"
                );
            }
        }
    }
}

pub fn a_missing_symbol_is_told() {
    let bench = Bench::new();
    let mut object = bench.good.clone();
    let (name_at, hole) = {
        let parsed = ObjectFile::parse(&object).expect("the sample is an object");
        let symbols = parsed.symbols();
        let (_, undefined) =
            symbols.globals().find(|(_, symbol)| symbol.is_undefined()).expect("it needs something");
        let section = parsed.section_by_name(checksum::SECTION_NAME).expect("it has a checksum");
        let strings = parsed.symbol_table_location().strings;
        (strings + undefined.name as usize, parsed.section(section).offset as usize)
    };
    object[name_at] = b'?';
    object[hole..hole + 8].fill(0);
    let sum = checksum::compute(&object, hole);
    object[hole..hole + 8].copy_from_slice(&sum.to_le_bytes());
    let before = State::now();
    const ROUNDS: usize = 20;
    for _ in 0..ROUNDS {
        match bench.load(object.clone()) {
            Err(LoadError::MissingSymbol { crate_name, symbol }) => {
                assert_eq!(crate_name, "damaged-1");
                assert!(symbol.starts_with('?'), "{symbol}");
            }
            Err(error) => panic!("{error}"),
            Ok(()) => panic!("it was loaded"),
        }
    }
    before.assert_same_now();
    before.assert_no_leak_since(ROUNDS);
}

pub fn a_cut_object_is_refused() {
    const CUTS: usize = 300;
    let bench = Bench::new();
    let before = State::now();
    for cut in 0..CUTS {
        let length = bench.good.len() * cut / CUTS;
        bench.refuse(bench.good[..length].to_vec(), "cut at", length);
    }
    bench.refuse(bench.good[..bench.good.len() - 1].to_vec(), "cut at", bench.good.len() - 1);
    before.assert_same_now();
    before.assert_no_leak_since(CUTS);
}

pub fn a_damaged_header_is_refused() {
    let bench = Bench::new();
    let table = {
        let parsed = ObjectFile::parse(&bench.good).expect("the sample is an object");
        // The section headers are the last thing in the file.
        bench.good.len() - parsed.section_count() * SECTION_HEADER_SIZE
    };
    let before = State::now();
    let mut flips = 0;
    for at in (0..FILE_HEADER_SIZE).chain(table..bench.good.len()) {
        for bit in [0, 6] {
            let mut object = bench.good.clone();
            object[at] ^= 1 << bit;
            bench.refuse(object, "flipped a bit of byte", at);
            flips += 1;
        }
    }
    before.assert_same_now();
    before.assert_no_leak_since(flips);
}
