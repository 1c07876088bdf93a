//! Artifacts that must not run here, made by hand with right hashes.

use crate::engine::guest;
use crate::leaks::Resources;
use crate::programs::read;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use wasm_artifact::module::{DefinedMemory, EntityType, Export, Import};
use wasm_artifact::types::{FuncType, Limits, MemoryType, ValType};
use wasm_artifact::{
    CpuFeatures, EngineInfo, EntityIndex, FuncIndex, FuncRefIndex, Module, OptLevel, Parts, Tunables,
    TypeIndex, side_table, tables,
};
use wasm_engine::{Engine, Instance, Store};

/// An artifact of a module without code.
pub struct Artifact {
    engine: EngineInfo,
    module: Module,
}

impl Artifact {
    /// One that can be loaded.
    pub fn new() -> Self {
        Self {
            engine: EngineInfo {
                version: wasm_artifact::elf::ENGINE_VERSION.to_string(),
                target: "x86_64-theseus".to_string(),
                cpu: CpuFeatures::BASELINE,
                opt_level: OptLevel::Speed,
                tunables: Tunables::default(),
            },
            module: Module::default(),
        }
    }

    /// For another system.
    pub fn target(mut self, target: &str) -> Self {
        self.engine.target = target.to_string();
        self
    }

    /// Of another engine.
    fn version(mut self, version: &str) -> Self {
        self.engine.version = String::from(version);
        self
    }

    /// For memories of another kind.
    fn guard(mut self, bytes: u64) -> Self {
        self.engine.tunables.memory_guard_size = bytes;
        self
    }

    /// With an imported function that takes an `i32`, exported as `run`.
    pub fn import(mut self, module: &str, name: &str) -> Self {
        self.module.types.push(FuncType { params: [ValType::I32].into(), results: [].into() });
        let ty = EntityType::Func(TypeIndex(0));
        self.module.imports.push(Import { module: module.to_string(), name: name.to_string(), ty });
        self.module
            .functions
            .push(wasm_artifact::module::Function { ty: TypeIndex(0), func_ref: Some(FuncRefIndex(0)) });
        self.module.num_imported_functions = 1;
        self.module.num_func_refs = 1;
        self.module.exports.push(Export { name: "run".to_string(), entity: EntityIndex::Func(FuncIndex(0)) });
        self
    }

    /// With a memory of so many pages.
    pub fn memory(mut self, pages: u64) -> Self {
        let ty = MemoryType { limits: Limits { min: pages, max: None } };
        let plan = self.engine.tunables.shared_memory_plan(&ty);
        self.module.memories.push(DefinedMemory { ty, plan, image: None });
        self
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let trampolines: Vec<Option<u32>> = self.module.types.iter().map(|_| Some(0)).collect();
        wasm_artifact::elf::write(&Parts {
            engine: &self.engine,
            module: &self.module,
            text: &[0xcc],
            eh_frame: &[0; 4],
            eh_frame_hdr: &[],
            traps: &side_table::encode(&[]),
            address_map: &side_table::encode(&[]),
            functions: &tables::encode_functions(&[], &trampolines),
            names: &tables::encode_names(&[]),
            rodata: &[],
        })
        .unwrap()
    }
}

fn load(engine: &Engine, bytes: &[u8]) -> Result<wasm_engine::Module, String> {
    // SAFETY: what is given here has no code, or was made by the compiler and then damaged, which its hash shows.
    unsafe { wasm_engine::Module::deserialize(engine, bytes) }.map_err(|error| alloc::format!("{error:#}"))
}

pub fn for_something_else() {
    let engine = Engine::default();
    load(&engine, &Artifact::new().bytes()).unwrap();
    let refused = |artifact: Artifact, expected: &str| {
        let message = load(&engine, &artifact.bytes()).map(drop).unwrap_err();
        assert!(message.contains(expected), "{message}");
    };
    refused(Artifact::new().target("x86_64-linux"), "was compiled for x86_64-linux");
    refused(Artifact::new().version("wasm_engine 0.0.1"), "compile it again");
    refused(Artifact::new().guard(1 << 16), "other memory reservations or guards");
    let all = CpuFeatures::X86_64_V3;
    let missing = all.difference(CpuFeatures::of_this_cpu());
    if !missing.is_empty() {
        let mut artifact = Artifact::new();
        artifact.engine.cpu = all;
        refused(artifact, "CPU features this machine lacks");
    }
}

pub fn damaged() {
    let engine = Engine::default();
    let good = read("/guests/hello.cwasm");
    let before = Resources::now();
    let mut damaged = good.clone();
    let mut rounds = 0;
    // Every byte of the headers and tables at the start of each page, and some of those after.
    for at in (0..good.len()).filter(|at| at % 4096 < 128 || at % 61 == 0) {
        assert!(load(&engine, &good[..at]).is_err(), "cut at {at}");
        damaged[at] ^= 1 << (at % 8);
        assert!(load(&engine, &damaged).is_err(), "changed at {at}");
        damaged[at] = good[at];
        rounds += 2;
    }
    assert_eq!(damaged, good);
    load(&engine, &damaged).unwrap();
    drop(damaged);
    before.assert_kept(rounds);
}

pub fn too_large() {
    let engine = Engine::default();
    let before = Resources::now();
    let module = load(&engine, &Artifact::new().memory(65536).bytes()).unwrap();
    for _ in 0..100 {
        let mut store = Store::new(&engine, ());
        let message = Instance::new(&mut store, &module, &[]).map(drop).unwrap_err().to_string();
        assert!(message.contains("memory"), "{message}");
    }
    drop(module);
    // Grown until no frame is left, then given back.
    let mut store = Store::new(&engine, ());
    let memory = wasm_engine::Memory::new(&mut store, wasm_engine::MemoryType::new(0, None)).unwrap();
    while memory.grow(&mut store, 256).is_ok() {}
    assert!(memory.data_size(&store) < frame_allocator::statistics().total * memory::PAGE_SIZE);
    drop(store);
    before.assert_kept(100);
    drop(guest(&engine, "hello"));
}
