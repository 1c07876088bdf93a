//! What the artifact of a module says, and what does not become one. That code does what it should is the business of the
//! official test-suite, which the engine runs.

use super::*;
use alloc::string::{String, ToString};
use wasm_artifact::module::*;
use wasm_artifact::types::ValType;
use wasm_artifact::{
    Artifact, CodeTables, CpuFeatures, DefinedFuncIndex, EntityIndex, FuncIndex, OptLevel, Trap, TypeIndex,
};

fn compiler(change: impl FnOnce(&mut Settings)) -> Compiler {
    let mut settings = Settings::new(Target::Linux);
    settings.verify_ir = true;
    change(&mut settings);
    Compiler::new(settings).unwrap()
}

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// An artifact with its file.
struct Compiled {
    file: Vec<u8>,
    artifact: Artifact,
}

impl Compiled {
    fn new(text: &str) -> Compiled {
        Self::with(text, |_| {})
    }

    fn with(text: &str, change: impl FnOnce(&mut Settings)) -> Compiled {
        let file = compiler(change).compile(&wasm(text)).unwrap();
        let artifact = Artifact::parse_for_any_host(&file).unwrap();
        Compiled { file, artifact }
    }

    fn tables(&self) -> CodeTables<'_> {
        self.artifact.sections.tables(&self.file)
    }

    fn text(&self) -> &[u8] {
        &self.file[self.artifact.sections.text()]
    }

    /// Traps of a function, in the order of its code.
    fn traps(&self, index: u32) -> Vec<Trap> {
        let range = self.tables().function(DefinedFuncIndex(index)).unwrap().range();
        self.tables().trap_sites().filter(|(at, _)| range.contains(at)).map(|(_, trap)| trap).collect()
    }
}

const TRAPS: &str = include_str!("../../../guests/traps.wat");
const MEMORY: &str = include_str!("../../../guests/memory.wat");
const FIB: &str = include_str!("../../../guests/fib.wat");
const HELLO: &str = include_str!("../../../guests/hello.wat");

#[test]
fn the_order_of_jobs_and_the_history_of_a_scratch_do_not_matter() {
    let mut state = 1u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    // The last has functions that are compiled in linear time, and one that is large enough for its memory to be given back.
    let loops = "(loop ".repeat(2000) + &")".repeat(2000);
    let large = "(i32.store (local.get 0) (i32.load offset=8 (local.get 0)))".repeat(3000);
    let unusual = alloc::format!(
        "(module (memory 1) (func (export \"a\") (param i32) {loops} local.get 0 (br_if 0))
           (func (param i32) {large}) (func (param i32) (result i32) local.get 0 (call 0 (local.get 0))))"
    );
    for text in [TRAPS, MEMORY, FIB, HELLO, &unusual] {
        let (compiler, wasm) = (compiler(|_| {}), wasm(text));
        let translation = compiler.translate(&wasm).unwrap();
        let expected = compiler.compile(&wasm).unwrap();
        let mut scratches = [Scratch::new(), Scratch::new()];
        for _ in 0..3 {
            let mut order: Vec<usize> = (0..translation.num_jobs()).collect();
            for last in (1..order.len()).rev() {
                order.swap(last, random(last + 1));
            }
            let mut jobs: Vec<_> = order
                .into_iter()
                .map(|job| {
                    let scratch = &mut scratches[random(2)];
                    (job, compiler.compile_job(&translation, job, scratch).unwrap())
                })
                .collect();
            jobs.sort_by_key(|(job, _)| *job);
            let jobs = jobs.into_iter().map(|(_, compiled)| compiled).collect();
            let file = compiler.finish(&translation, jobs, &mut scratches[random(2)]).unwrap();
            assert!(file == expected);
        }
    }
}

#[test]
fn a_scratch_survives_a_function_that_is_not_valid() {
    let compiler = compiler(|_| {});
    // The first function is refused half-way through; the second is fine.
    let bad = wasm(
        "(module (func (result i32) (block (loop (br 1))) f32.const 1) (func (result i32) i32.const 1))",
    );
    let translation = compiler.translate(&bad).unwrap();
    let mut scratch = Scratch::new();
    assert!(compiler.compile_job(&translation, 0, &mut scratch).is_err());
    let after_error = compiler.compile_job(&translation, 1, &mut scratch).unwrap();
    let fresh = compiler.compile_job(&translation, 1, &mut Scratch::new()).unwrap();
    assert_eq!(after_error.code, fresh.code);
}

#[test]
fn errors_are_one_line_with_the_offset() {
    let compiler = compiler(|_| {});
    for (bytes, expected) in [
        (&b""[..], "unexpected end"),
        (b"random bytes", "magic header not detected"),
        (b"\0asm\x02\0\0\0", "unknown binary version"),
        (b"\0asm\x01\0\0\0\x01", "unexpected end"),
        (b"\0asm\x01\0\0\0\x0d\0", "offset 0x"),
    ] {
        let error = compiler.compile(bytes).unwrap_err().to_string();
        assert!(
            error.contains(expected) && error.contains("(at offset 0x") && !error.contains('\n'),
            "{error}"
        );
        assert!(Compiler::validate(&Settings::new(Target::Linux), bytes).is_err());
    }
    let error = compiler.compile(&wasm("(module (func (result i32) f32.const 1))")).unwrap_err();
    assert!(
        matches!(&error, CompileError::Invalid { offset, message } if *offset > 20 && message.contains("type mismatch")),
        "{error}"
    );
}

#[test]
fn other_proposals_are_refused() {
    let compiler = compiler(|_| {});
    for text in [
        "(func (param v128 v128) (result v128) local.get 0 local.get 1 i8x16.relaxed_swizzle)",
        "(memory i64 1)",
        "(memory 1) (memory 1)",
        "(type (struct))",
        "(func (param (ref func)))",
        "(global i32 (i32.add (i32.const 1) (i32.const 2)))",
        "(func (param i64 i64 i64 i64) (result i64 i64) local.get 0 local.get 1 local.get 2 local.get 3 i64.add128)",
    ] {
        let module = alloc::format!("(module {text})");
        assert!(matches!(compiler.compile(&wasm(&module)), Err(CompileError::Invalid { .. })), "{text}");
    }
}

#[test]
fn the_artifact_says_what_it_was_compiled_for() {
    let compiled = Compiled::with(HELLO, |settings| {
        settings.target = Target::Theseus;
        settings.cpu = CpuFeatures::X86_64_V3;
        settings.opt_level = OptLevel::None;
    });
    assert_eq!(compiled.artifact.engine.target, "x86_64-theseus");
    assert_eq!(compiled.artifact.engine.cpu, CpuFeatures::X86_64_V3);
    assert_eq!(compiled.artifact.engine.opt_level, OptLevel::None);
    // Where it runs makes no difference to the code.
    let text = |target| Compiled::with(TRAPS, |settings| settings.target = target).text().to_vec();
    assert!(text(Target::Theseus) == text(Target::Linux));
}

#[test]
fn metadata_names_imports_exports_and_escaping_functions() {
    let module = Compiled::new(HELLO).artifact.module;
    assert_eq!((module.imports[0].module.as_str(), module.imports[0].name.as_str()), ("host", "hello"));
    assert_eq!(module.imports[0].ty, EntityType::Func(TypeIndex(0)));
    assert_eq!(&*module.types[0].params, [ValType::I32]);
    assert_eq!(
        module.exports,
        [Export { name: String::from("run"), entity: EntityIndex::Func(FuncIndex(1)) }]
    );
    assert_eq!(module.functions[0].func_ref, None);
    assert!(module.functions[1].func_ref.is_some());
    assert_eq!(module.num_func_refs, 1);
    let escaping = Compiled::new(
        "(module (func $a) (func $b) (func $c) (func $d) (func $e)
           (start $a) (table 1 funcref) (elem declare func $b) (elem (i32.const 0) funcref (ref.func $c))
           (global funcref (ref.func $d)))",
    );
    let has_func_ref = |index: usize| escaping.artifact.module.functions[index].func_ref.is_some();
    assert_eq!([0, 1, 2, 3, 4].map(has_func_ref), [true, true, true, true, false]);
    let has_entry =
        |index| escaping.tables().function(DefinedFuncIndex(index)).unwrap().array_to_wasm.is_some();
    assert_eq!([0, 1, 2, 3, 4].map(has_entry), [true, true, true, true, false]);
}

#[test]
fn every_type_has_a_trampoline_and_equal_types_share_it() {
    let compiled = Compiled::new("(module (type (func)) (type (func (param i32))) (type (func)))");
    let [first, second, third] = [0, 1, 2].map(|ty| compiled.tables().wasm_to_array(TypeIndex(ty)).unwrap());
    assert_eq!(first, third);
    assert_ne!(first, second);
}

#[test]
fn names_come_from_the_name_section() {
    let compiled = Compiled::new("(module $m (import \"a\" \"b\" (func $imported)) (func $defined) (func))");
    assert_eq!(compiled.artifact.module.name.as_deref(), Some("m"));
    let name = |index| compiled.tables().function_name(FuncIndex(index));
    assert_eq!([name(0), name(1), name(2)], [Some("imported"), Some("defined"), None]);
}

#[test]
fn trap_sites_have_the_reasons_of_their_instructions() {
    for opt_level in [OptLevel::None, OptLevel::Speed] {
        let body = |text: &str| {
            let module = alloc::format!(
                "(module (memory (export \"m\") 1) (table 2 funcref) (type $t (func))
                   (func (param i32 i32) (param f64) {text}))"
            );
            Compiled::with(&module, |settings| settings.opt_level = opt_level).traps(0)
        };
        assert_eq!(body("unreachable"), [Trap::UnreachableCodeReached]);
        assert_eq!(body("local.get 0 i32.load drop"), [Trap::MemoryOutOfBounds]);
        assert_eq!(body("local.get 0 local.get 1 i32.store8 offset=33554431"), [Trap::MemoryOutOfBounds]);
        let divide = body("local.get 0 local.get 1 i32.div_s drop");
        assert!(
            divide.contains(&Trap::IntegerDivisionByZero) && divide.contains(&Trap::IntegerOverflow),
            "{divide:?}"
        );
        assert_eq!(body("local.get 0 local.get 1 i32.rem_u drop"), [Trap::IntegerDivisionByZero]);
        let convert = body("local.get 2 i32.trunc_f64_s drop");
        assert!(
            convert.contains(&Trap::BadConversionToInteger) && convert.contains(&Trap::IntegerOverflow),
            "{convert:?}"
        );
        let call = body("local.get 0 call_indirect (type $t)");
        for trap in
            [Trap::TableOutOfBounds, Trap::IndirectCallToNull, Trap::BadSignature, Trap::StackOverflow]
        {
            assert!(call.contains(&trap), "{trap:?} of {call:?}");
        }
        assert_eq!(body("local.get 2 i32.trunc_sat_f64_s drop"), []);
        // A bulk operation is checked by the runtime; only the stack is checked here.
        assert_eq!(body("local.get 0 local.get 0 local.get 0 memory.fill"), [Trap::StackOverflow]);
        assert_eq!(body("local.get 0 local.get 0 i32.const 0 memory.fill"), [Trap::StackOverflow]);
        assert_eq!(body("local.get 0 local.get 0 i32.const 65 memory.copy"), [Trap::StackOverflow]);
        // A short one is done inline.
        assert_eq!(body("local.get 0 local.get 0 i32.const 7 memory.fill"), [Trap::MemoryOutOfBounds; 2]);
        assert_eq!(body("local.get 0 local.get 1 i32.const 64 memory.copy"), [Trap::MemoryOutOfBounds; 10]);
    }
}

#[test]
fn accesses_are_checked_only_where_the_guard_does_not_reach() {
    let is_checked = |memory: &str, access: &str| {
        let compiled =
            Compiled::new(&alloc::format!("(module {memory} (func (param i32) local.get 0 {access} drop))"));
        // A check is a `ud2` that the function can jump to.
        let sites: Vec<_> = compiled.tables().trap_sites().collect();
        sites.iter().any(|&(at, trap)| {
            trap == Trap::MemoryOutOfBounds && compiled.text()[at as usize..].starts_with(&[0x0f, 0x0b])
        })
    };
    assert!(!is_checked("(memory 1)", "i32.load"));
    assert!(!is_checked("(memory 1)", "i64.load offset=0x1fffff8"));
    assert!(is_checked("(memory 1)", "i64.load offset=0x2000000"));
    assert!(is_checked("(memory 1)", "i64.load offset=0xffffffff"));
    assert!(!is_checked("(memory (export \"m\") 1 1)", "i32.load"));
    assert!(!is_checked("(import \"m\" \"m\" (memory 1 1))", "i32.load"));
    // Small and private: reserves 64 KiB.
    assert!(is_checked("(memory 1 1)", "i32.load"));
}

#[test]
fn the_address_map_leads_back_to_the_instruction() {
    let text = "(module (func $callee) (func (param i32) nop call $callee nop unreachable))";
    let (binary, compiled) = (wasm(text), Compiled::new(text));
    let (at, trap) =
        compiled.tables().trap_sites().find(|site| site.1 == Trap::UnreachableCodeReached).unwrap();
    assert_eq!(trap, Trap::UnreachableCodeReached);
    // The opcode of `unreachable` is 0.
    let offset = compiled.tables().wasm_offset_at(at).unwrap();
    assert_eq!((binary[offset as usize], binary[offset as usize - 1]), (0x00, 0x01));
    // The call's return address, less one.
    let function = compiled.tables().function(DefinedFuncIndex(1)).unwrap();
    let call = (function.offset..).find(|&at| compiled.text()[at as usize] == 0xe8).unwrap();
    let offset = compiled.tables().wasm_offset_at(call + 4).unwrap();
    assert_eq!(binary[offset as usize..][..2], [0x10, 0x00]);
    assert_eq!(compiled.tables().function_at(call), Some(DefinedFuncIndex(1)));
    // Entry trampolines and padding belong to no instruction.
    assert_eq!(compiled.tables().wasm_offset_at(compiled.text().len() as u32 - 1), None);
    assert!(function.wasm_offset < offset && binary.len() as u32 > offset);
}

#[test]
fn calls_in_try_table_have_their_clauses_innermost_first() {
    let compiled = Compiled::new(
        "(module (tag $a) (tag $b (param i32)) (func $callee)
            (func
                (call $callee)
                (block $outer (block $inner (result i32 exnref)
                    (try_table (catch_all $outer)
                        (try_table (catch_ref $b $inner) (catch $a $outer) (catch $a $outer)
                            (call $callee) (call $callee))
                        (call $callee))
                    (return)) (drop) (drop))
                (call $callee)))",
    );
    let function = compiled.tables().function(DefinedFuncIndex(1)).unwrap().range();
    let mut clauses = Vec::new();
    for (return_address, call) in compiled.tables().handled_calls() {
        let call = call.unwrap();
        // A call with a 32-bit distance ends there.
        assert_eq!(compiled.text()[return_address as usize - 5], 0xe8);
        assert!(call.context_offset < call.frame_size, "{call:?}");
        assert!(call.clauses().all(|clause| function.contains(&clause.landing_pad)), "{call:?}");
        clauses.push(
            call.clauses()
                .map(|clause| (clause.tag.map(|tag| tag.0), clause.wants_reference))
                .collect::<Vec<_>>(),
        );
    }
    let inner = vec![(Some(1), true), (Some(0), false), (None, false)];
    assert_eq!(clauses, [inner.clone(), inner, vec![(None, false)]]);
}

#[test]
fn calls_between_functions_are_direct_and_resolved() {
    let compiled = Compiled::new(FIB);
    let function = compiled.tables().function(DefinedFuncIndex(0)).unwrap();
    let code = &compiled.text()[function.range().start as usize..function.range().end as usize];
    let targets: Vec<i64> = (0..code.len() - 5)
        .filter(|&at| code[at] == 0xe8)
        .map(|at| at as i64 + 5 + i64::from(i32::from_le_bytes(code[at + 1..at + 5].try_into().unwrap())))
        .collect();
    // `fib` calls itself twice; a byte 0xe8 within another instruction would jump elsewhere.
    assert_eq!(targets.iter().filter(|&&target| target == 0).count(), 2, "{targets:?}");
}

#[test]
fn call_frame_information_covers_all_code() {
    use gimli::{BaseAddresses, EhFrame, EhFrameHdr, LittleEndian, UnwindContext, UnwindSection};
    let compiled = Compiled::new(TRAPS);
    let sections = &compiled.artifact.sections;
    let bases = BaseAddresses::default()
        .set_text(sections.text().start as u64)
        .set_eh_frame(sections.eh_frame().start as u64)
        .set_eh_frame_hdr(sections.eh_frame_hdr().start as u64);
    let header =
        EhFrameHdr::new(&compiled.file[sections.eh_frame_hdr()], LittleEndian).parse(&bases, 8).unwrap();
    assert_eq!(header.eh_frame_ptr(), gimli::Pointer::Direct(sections.eh_frame().start as u64));
    let eh_frame = EhFrame::new(&compiled.file[sections.eh_frame()], LittleEndian);
    let table = header.table().unwrap();
    let tables = compiled.tables();
    let mut context = UnwindContext::new();
    for index in 0..tables.num_functions() as u32 {
        let function = tables.function(DefinedFuncIndex(index)).unwrap();
        let start = sections.text().start as u64 + u64::from(function.offset);
        let last = start + u64::from(function.len) - 1;
        for pc in [start, last] {
            let fde = table
                .fde_for_address(&eh_frame, &bases, pc, gimli::EhFrame::cie_from_offset)
                .unwrap_or_else(|error| panic!("function {index}: {error}"));
            assert_eq!((fde.initial_address(), fde.len()), (start, u64::from(function.len)));
        }
        // In the body the frame is found by the frame pointer.
        let fde = table.fde_for_address(&eh_frame, &bases, last, gimli::EhFrame::cie_from_offset).unwrap();
        let row = fde.unwind_info_for_address(&eh_frame, &bases, &mut context, last).unwrap();
        let expected = gimli::CfaRule::RegisterAndOffset { register: gimli::X86_64::RBP, offset: 16 };
        assert_eq!(row.cfa(), &expected);
    }
    // Trampolines too.
    let trampoline = sections.text().start as u64 + u64::from(tables.wasm_to_array(TypeIndex(0)).unwrap());
    let fde = table.fde_for_address(&eh_frame, &bases, trampoline, gimli::EhFrame::cie_from_offset).unwrap();
    assert_eq!(fde.initial_address(), trampoline);
}

#[test]
fn known_memory_contents_become_an_image() {
    let module = |text: &str| Compiled::new(text);
    let image = module("(module (memory 2) (data (i32.const 5000) \"abc\") (data (i32.const 5001) \"X\"))");
    let memory = image.artifact.module.memories[0].image.clone().unwrap();
    assert_eq!(memory, MemoryImage { data_offset: 0, len: 4096, memory_offset: 4096 });
    assert_eq!(image.file[image.artifact.sections.rodata()][904..907], *b"aXc");
    assert!(image.artifact.module.datas.iter().all(|data| data.mode == DataMode::InImage));

    // Not known, out of bounds, not ours, nothing at all, or too sparse: then segments stay segments.
    for text in [
        "(module (import \"a\" \"b\" (global i32)) (memory 1) (data (global.get 0) \"abc\"))",
        "(module (memory 1) (data (i32.const 0) \"a\") (data (i32.const 65534) \"abc\"))",
        "(module (import \"a\" \"b\" (memory 1)) (data (i32.const 0) \"abc\"))",
        "(module (memory 1) (data (i32.const 0) \"\"))",
        "(module (memory 100) (data (i32.const 0) \"a\") (data (i32.const 6000000) \"b\"))",
    ] {
        let compiled = module(text);
        let module = &compiled.artifact.module;
        assert!(module.memories.iter().all(|memory| memory.image.is_none()), "{text}");
        assert!(module.datas.iter().all(|data| matches!(data.mode, DataMode::Active { .. })), "{text}");
    }
    // A passive segment is kept beside an image.
    let both = module("(module (memory 1) (data \"passive\") (data (i32.const 1) \"active\"))");
    assert_eq!(both.artifact.module.datas[0].mode, DataMode::Passive);
    let range = both.artifact.module.datas[0].data.clone();
    assert_eq!(
        both.file[both.artifact.sections.rodata()][range.start as usize..range.end as usize],
        *b"passive"
    );
}

#[test]
fn rounding_instructions_are_used_only_where_they_exist() {
    let text = "(module (func (param f64) (result f64) local.get 0 f64.floor))";
    // `roundsd` is 66 0f 3a 0b.
    let uses_roundsd = |cpu| {
        let compiled = Compiled::with(text, |settings| settings.cpu = cpu);
        compiled.text().windows(4).any(|bytes| bytes == [0x66, 0x0f, 0x3a, 0x0b])
    };
    assert!(!uses_roundsd(CpuFeatures::BASELINE));
    assert!(uses_roundsd(CpuFeatures::X86_64_V2));
}

#[test]
fn many_results_and_parameters_compile() {
    let types = "i64 f32 externref i32 funcref f64 ".repeat(20);
    let zeros = "i64.const 0 f32.const 0 ref.null extern i32.const 0 ref.null func f64.const 0 ".repeat(20);
    let module = alloc::format!(
        "(module (import \"a\" \"b\" (func $host (param {types}) (result {types})))
           (func $wasm (export \"f\") (param {types}) (result {types}) {zeros} call $host)
           (func (export \"g\") (result {types}) {zeros} call $wasm))"
    );
    for opt_level in [OptLevel::None, OptLevel::Speed] {
        Compiled::with(&module, |settings| settings.opt_level = opt_level);
    }
}

#[test]
fn deep_nesting_needs_no_stack() {
    // As much stack as a kernel task has.
    let compile = || {
        for operator in ["block", "loop", "i32.const 1 if"] {
            let depth = if operator == "block" { 100_000 } else { 2_000 };
            let opened: Vec<u8> = match operator {
                "block" => [0x02, 0x40].repeat(depth),
                "loop" => [0x03, 0x40].repeat(depth),
                _ => [0x41, 0x01, 0x04, 0x40].repeat(depth),
            };
            let body = [vec![0], opened, vec![0x0b; depth + 1]].concat();
            compiler(|_| {}).compile(&module_of_body(&body)).unwrap();
        }
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(compile).unwrap().join().unwrap();
}

/// A module with one function that has this body: its locals, then its code.
fn module_of_body(body: &[u8]) -> Vec<u8> {
    fn leb(mut value: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }
    let code = [vec![1], leb(body.len()), body.to_vec()].concat();
    // Header, type section with (func), function section, code section.
    [b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a", &leb(code.len())[..], &code].concat()
}

#[test]
fn any_bytes_are_compiled_or_refused() {
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize
    };
    let compiler = compiler(|_| {});
    let (mut compiled, mut refused) = (0, 0);
    for text in [TRAPS, MEMORY, FIB, HELLO] {
        let original = wasm(text);
        for _ in 0..400 {
            let mut bytes = original.clone();
            for _ in 0..1 + random() % 3 {
                let at = random() % bytes.len();
                bytes[at] = random() as u8;
            }
            match compiler.compile(&bytes) {
                Ok(file) => {
                    Artifact::parse_for_any_host(&file).unwrap();
                    compiled += 1;
                }
                Err(CompileError::Invalid { .. }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert!(compiled > 20 && refused > 800, "{compiled} compiled, {refused} refused");
}

#[test]
fn vectors_in_memory_become_operands_where_they_need_not_be_aligned() {
    let multiplication_reads_memory = |cpu| {
        let compiled = Compiled::with(
            "(module (memory 1) (func (param i32 v128) (result v128)
               (f32x4.mul (local.get 1) (v128.load (local.get 0)))))",
            |settings| settings.cpu = cpu,
        );
        let range = compiled.tables().function(DefinedFuncIndex(0)).unwrap().range();
        let code = &compiled.text()[range.start as usize..range.end as usize];
        // `mulps` and `vmulps` have the opcode 0x59; the two highest bits of the next byte say whether the operand is a register.
        let opcode = code.iter().position(|&byte| byte == 0x59).unwrap();
        code[opcode + 1] >> 6 != 3
    };
    assert!(multiplication_reads_memory(CpuFeatures::X86_64_V3));
    assert!(!multiplication_reads_memory(CpuFeatures::X86_64_V2));
}
