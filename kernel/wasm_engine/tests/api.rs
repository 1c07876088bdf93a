//! The API: functions, linkers, memories, tables, globals, references, limits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use wasm_engine::*;

fn module(engine: &Engine, text: &str) -> Module {
    Module::new(engine, text).unwrap()
}

/// What a panic says.
fn panic_message<R: std::fmt::Debug>(action: impl FnOnce() -> R) -> String {
    let panic = catch_unwind(AssertUnwindSafe(action)).unwrap_err();
    panic.downcast_ref::<&str>().map(ToString::to_string).or(panic.downcast_ref::<String>().cloned()).unwrap()
}

#[test]
fn typed_functions_are_checked() -> Result<()> {
    let engine = Engine::default();
    let module =
        module(&engine, r#"(module (func (export "f") (param i32 f64) (result i64) (i64.const 5)))"#);
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let f = instance.get_func(&mut store, "f").unwrap();
    assert_eq!(f.ty(&store).to_string(), "(type (func (param i32 f64) (result i64)))");
    assert_eq!(f.typed::<(i32, f64), i64>(&store)?.call(&mut store, (1, 2.0))?, 5);
    assert_eq!(f.typed::<(u32, f64), (u64,)>(&store)?.call(&mut store, (1, 2.0))?, (5,));
    let text = |error: Error| format!("{error:#}");
    assert_eq!(
        text(f.typed::<i32, i64>(&store).map(drop).unwrap_err()),
        "type mismatch with parameters: expected 1 types, found 2"
    );
    assert_eq!(
        text(f.typed::<(i32, f64), f32>(&store).map(drop).unwrap_err()),
        "type mismatch with results: type mismatch: expected i64, found f32"
    );
    assert_eq!(
        text(instance.get_typed_func::<(), ()>(&mut store, "g").map(drop).unwrap_err()),
        "failed to find function export `g`"
    );
    assert!(f.call(&mut store, &[], &mut [Val::I32(0)]).is_err());
    assert!(f.call(&mut store, &[Val::I32(0), Val::F64(0)], &mut []).is_err());
    assert!(f.call(&mut store, &[Val::I64(0), Val::F64(0)], &mut [Val::I32(0)]).is_err());
    let mut results = [Val::I32(0)];
    f.call(&mut store, &[Val::I32(0), Val::F64(0)], &mut results)?;
    assert_eq!(results[0].unwrap_i64(), 5);
    Ok(())
}

#[test]
fn seventeen_parameters_and_many_results() -> Result<()> {
    type Seventeen = (i32, i64, f32, f64, i32, i64, f32, f64, i32, i64, f32, f64, i32, i64, f32, f64, i32);
    let engine = Engine::default();
    let types = "i32 i64 f32 f64 i32 i64 f32 f64 i32 i64 f32 f64 i32 i64 f32 f64 i32";
    let gets: String = (0..17).map(|index| format!("local.get {index} ")).collect();
    let module = module(
        &engine,
        &format!(
            r#"(module (import "" "f" (func $f (param {types}) (result {types})))
                (func (export "same") (param {types}) (result {types}) {gets})
                (func (export "through") (param {types}) (result {types}) {gets} call $f))"#
        ),
    );
    let mut store = Store::new(&engine, ());
    let host = Func::wrap(
        &mut store,
        |a: i32,
         b: i64,
         c: f32,
         d: f64,
         e: i32,
         f: i64,
         g: f32,
         h: f64,
         i: i32,
         j: i64,
         k: f32,
         l: f64,
         m: i32,
         n: i64,
         o: f32,
         p: f64,
         q: i32| {
            (
                a + 1,
                b + 1,
                c + 1.,
                d + 1.,
                e + 1,
                f + 1,
                g + 1.,
                h + 1.,
                i + 1,
                j + 1,
                k + 1.,
                l + 1.,
                m + 1,
                n + 1,
                o + 1.,
                p + 1.,
                q + 1,
            )
        },
    );
    let instance = Instance::new(&mut store, &module, &[host.into()])?;
    let values: Seventeen = (1, 2, 3., 4., 5, 6, 7., 8., 9, 10, 11., 12., 13, 14, 15., 16., 17);
    let same = instance.get_typed_func::<Seventeen, Seventeen>(&mut store, "same")?;
    let result = same.call(&mut store, values)?;
    assert_eq!((result.0, result.7, result.16), (1, 8., 17));
    let through = instance.get_typed_func::<Seventeen, Seventeen>(&mut store, "through")?;
    let result = through.call(&mut store, values)?;
    assert_eq!((result.0, result.1, result.2, result.15, result.16), (2, 3, 4., 17., 18));
    Ok(())
}

#[test]
fn untyped_host_functions_see_and_return_values() -> Result<()> {
    let engine = Engine::default();
    let module = module(
        &engine,
        r#"(module (import "" "f" (func $f (param i32 f32) (result f64 i64)))
            (func (export "run") (result f64 i64) (call $f (i32.const 3) (f32.const 1.5))))"#,
    );
    let mut linker = Linker::new(&engine);
    let ty = FuncType::new(&engine, [ValType::I32, ValType::F32], [ValType::F64, ValType::I64]);
    linker.func_new("", "f", ty, |mut caller: Caller<'_, usize>, params, results| {
        *caller.data_mut() += params.len();
        results[0] = Val::from(f64::from(params[1].unwrap_f32()) * 2.0);
        results[1] = if *caller.data() > 2 { Val::I32(0) } else { Val::I64(params[0].unwrap_i32().into()) };
        Ok(())
    })?;
    let mut store = Store::new(&engine, 0);
    let instance = linker.instantiate(&mut store, &module)?;
    let run = instance.get_typed_func::<(), (f64, i64)>(&mut store, "run")?;
    assert_eq!(run.call(&mut store, ())?, (3.0, 3));
    let error = run.call(&mut store, ()).unwrap_err();
    assert!(format!("{error:#}").contains("function attempted to return an incompatible value"), "{error:#}");
    Ok(())
}

#[test]
fn the_caller_gives_access_to_its_exports() -> Result<()> {
    let engine = Engine::default();
    let module = module(
        &engine,
        r#"(module (import "host" "log" (func $log (param i32 i32)))
            (memory (export "memory") 1) (data (i32.const 8) "hello")
            (func (export "run") (call $log (i32.const 8) (i32.const 5))))"#,
    );
    let mut linker = Linker::new(&engine);
    linker.func_wrap(
        "host",
        "log",
        |mut caller: Caller<'_, Vec<String>>, at: u32, len: u32| -> Result<()> {
            let memory = caller.get_export("memory").and_then(Extern::into_memory).unwrap();
            assert!(caller.get_export("nothing").is_none());
            let (bytes, log) = memory.data_and_store_mut(&mut caller);
            log.push(String::from_utf8(bytes[at as usize..][..len as usize].to_vec())?);
            Ok(())
        },
    )?;
    let mut store = Store::new(&engine, Vec::new());
    let instance = linker.instantiate(&mut store, &module)?;
    instance.get_typed_func::<(), ()>(&mut store, "run")?.call(&mut store, ())?;
    assert_eq!(store.into_data(), ["hello"]);
    Ok(())
}

/// Of a module's own memory, an imported one (grown meanwhile by who made it), a shared one, none, another export of the name, and where the
/// host calls.
#[test]
fn the_caller_gives_access_to_its_memory() -> Result<()> {
    let engine = Engine::new(Config::new().shared_memory(true))?;
    let mut store = Store::new(&engine, Vec::new());
    let look = Func::wrap(&mut store, |mut caller: Caller<'_, Vec<_>>| {
        let (bytes, seen) = caller.memory_and_data_mut();
        seen.push(bytes.map(|bytes| {
            bytes[0] += 1;
            (bytes.len(), bytes[0])
        }));
    });
    let run = |store: &mut Store<_>, import: Option<Extern>, text: &str| -> Result<Instance> {
        let text =
            format!(r#"(module (import "" "look" (func $look)) {text} (func (export "run") (call $look)))"#);
        let imports: Vec<Extern> = [Some(look.into()), import].into_iter().flatten().collect();
        let instance = Instance::new(&mut *store, &module(&engine, &text), &imports)?;
        instance.get_typed_func::<(), ()>(&mut *store, "run")?.call(&mut *store, ())?;
        Ok(instance)
    };
    let own = run(&mut store, None, r#"(memory (export "memory") 1) (data (i32.const 0) "a")"#)?;
    let memory = own.get_memory(&mut store, "memory").unwrap();
    memory.grow(&mut store, 2)?;
    run(&mut store, Some(memory.into()), r#"(import "" "m" (memory 1)) (export "memory" (memory 0))"#)?;
    run(&mut store, None, r#"(memory (export "memory") 1 1 shared)"#)?;
    run(&mut store, None, r#"(memory (export "m") 1)"#)?;
    run(&mut store, None, r#"(memory 1) (global (export "memory") i32 (i32.const 0))"#)?;
    look.call(&mut store, &[], &mut [])?;
    assert_eq!(store.into_data(), [Some((1 << 16, b'b')), Some((3 << 16, b'c')), None, None, None, None]);
    Ok(())
}

#[test]
fn what_a_linker_lacks_or_has_twice_is_said() -> Result<()> {
    let engine = Engine::default();
    let needs = module(&engine, r#"(module (import "a" "b" (func (param i32))))"#);
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::<()>::new(&engine);
    let error = linker.instantiate(&mut store, &needs).unwrap_err();
    assert_eq!(error.to_string(), "unknown import: `a::b` has not been defined");
    let unknown = error.downcast_ref::<UnknownImportError>().unwrap();
    assert_eq!((unknown.module(), unknown.name()), ("a", "b"));

    linker.func_wrap("a", "b", |_: i64| {})?;
    let error = linker.instantiate(&mut store, &needs).unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        "incompatible import type for `a::b`: types incompatible: expected type `(type (func (param i32)))`, found type `(type (func \
         (param i64)))`"
    );
    let error = linker.func_wrap("a", "b", |_: i32| {}).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "import of `a::b` defined twice");
    linker.allow_shadowing(true).func_wrap("a", "b", |_: i32| {})?;
    linker.instantiate(&mut store, &needs)?;
    let error = Instance::new(&mut store, &needs, &[]).unwrap_err();
    assert_eq!(error.to_string(), "expected 1 imports, found 0");
    Ok(())
}

#[test]
fn linkers_define_instances_aliases_traps_and_defaults() -> Result<()> {
    let engine = Engine::default();
    let library = module(
        &engine,
        r#"(module (global $n (mut i32) (i32.const 0))
            (func (export "_initialize") (global.set $n (i32.const 10)))
            (func (export "next") (result i32) (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))"#,
    );
    let user = module(
        &engine,
        r#"(module (import "lib" "next" (func $next (result i32))) (import "other" "missing" (func $missing (result i32)))
            (import "other" "g" (global i32))
            (func (export "run") (result i32) (call $next)) (func (export "call_missing") (result i32) (call $missing))
            (func (export "get") (result i32) (global.get 0)))"#,
    );
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    linker.module(&mut store, "library", &library)?;
    linker.alias("library", "next", "lib", "next")?;
    assert!(linker.alias("library", "nothing", "x", "y").is_err());
    let mut defaults = linker.clone();
    linker.define_unknown_imports_as_traps(&user)?;
    let global = Global::new(&mut store, GlobalType::new(ValType::I32, Mutability::Const), Val::I32(9))?;
    linker.define(&store, "other", "g", global)?;
    let instance = linker.instantiate(&mut store, &user)?;
    assert_eq!(instance.get_typed_func::<(), i32>(&mut store, "run")?.call(&mut store, ())?, 11);
    assert_eq!(instance.get_typed_func::<(), i32>(&mut store, "get")?.call(&mut store, ())?, 9);
    let error =
        instance.get_typed_func::<(), i32>(&mut store, "call_missing")?.call(&mut store, ()).unwrap_err();
    assert!(error.is::<UnknownImportError>());

    defaults.define_unknown_imports_as_default_values(&mut store, &user)?;
    let instance = defaults.instantiate(&mut store, &user)?;
    assert_eq!(instance.get_typed_func::<(), i32>(&mut store, "call_missing")?.call(&mut store, ())?, 0);
    assert_eq!(instance.get_typed_func::<(), i32>(&mut store, "get")?.call(&mut store, ())?, 0);
    let names: Vec<(String, String)> =
        defaults.iter(&mut store).map(|(module, name, _)| (module.to_string(), name.to_string())).collect();
    assert_eq!(names.len(), 5);
    linker.get_default(&mut store, "library")?.typed::<(), ()>(&store)?.call(&mut store, ())?;
    Ok(())
}

#[test]
fn a_program_in_a_linker_is_a_new_instance_at_each_call() -> Result<()> {
    let engine = Engine::default();
    let program = module(
        &engine,
        r#"(module (global $n (mut i32) (i32.const 0)) (memory (export "memory") 1) (func (export "_start"))
            (func (export "next") (result i32) (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))"#,
    );
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    linker.module(&mut store, "program", &program)?;
    let next =
        linker.get(&mut store, "program", "next").unwrap().into_func().unwrap().typed::<(), i32>(&store)?;
    assert_eq!((next.call(&mut store, ())?, next.call(&mut store, ())?), (1, 1));
    Ok(())
}

#[test]
fn instances_are_made_many_times_from_one_preparation() -> Result<()> {
    let engine = Engine::default();
    let module = module(
        &engine,
        r#"(module (import "" "f" (func $f (result i32))) (memory 1 1) (func (export "run") (result i32) call $f))"#,
    );
    let mut linker = Linker::new(&engine);
    linker.func_wrap("", "f", |caller: Caller<'_, i32>| *caller.data())?;
    let pre = linker.instantiate_pre(&module)?;
    drop(linker);
    for state in 0..100 {
        let mut store = Store::new(&engine, state);
        let instance = pre.instantiate(&mut store)?;
        assert_eq!(instance.get_typed_func::<(), i32>(&mut store, "run")?.call(&mut store, ())?, state);
    }
    Ok(())
}

#[test]
fn memories_grow_and_check_bounds() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let memory = Memory::new(&mut store, MemoryType::new(1, Some(3)))?;
    assert_eq!((memory.size(&store), memory.data_size(&store), memory.page_size(&store)), (1, 65536, 65536));
    memory.write(&mut store, 65532, &[1, 2, 3, 4])?;
    let error = memory.write(&mut store, 65533, &[1, 2, 3, 4]).unwrap_err();
    assert_eq!(error.to_string(), "out of bounds memory access");
    assert!(memory.read(&store, usize::MAX, &mut [0; 2]).is_err());
    let before = memory.data_ptr(&store);
    assert_eq!(memory.grow(&mut store, 2)?, 1);
    assert_eq!(memory.data_ptr(&store), before);
    assert_eq!(memory.data(&store)[65532..65538], [1, 2, 3, 4, 0, 0]);
    assert_eq!(memory.grow(&mut store, 1).unwrap_err().to_string(), "failed to grow memory by `1`");
    assert_eq!(
        memory.grow(&mut store, u64::MAX).unwrap_err().to_string(),
        format!("failed to grow memory by `{}`", u64::MAX)
    );
    assert_eq!(memory.grow(&mut store, 0)?, 3);
    memory.data_mut(&mut store)[0] = 9;
    assert_eq!(memory.data(&store)[0], 9);
    let module = module(
        &engine,
        r#"(module (import "" "m" (memory 2)) (func (export "get") (param i32) (result i32) (i32.load8_u (local.get 0))))"#,
    );
    let instance = Instance::new(&mut store, &module, &[memory.into()])?;
    let get = instance.get_typed_func::<i32, i32>(&mut store, "get")?;
    assert_eq!(get.call(&mut store, 0)?, 9);
    assert!(get.call(&mut store, 3 * 65536).is_err());
    Ok(())
}

#[test]
fn a_small_private_memory_is_checked_and_grows_to_its_maximum() -> Result<()> {
    let engine = Engine::default();
    let module = module(
        &engine,
        r#"(module (memory 1 2) (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
            (func (export "get") (param i32) (result i32) (i32.load (local.get 0))))"#,
    );
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow")?;
    let get = instance.get_typed_func::<i32, i32>(&mut store, "get")?;
    assert!(get.call(&mut store, 65533).is_err());
    assert_eq!(grow.call(&mut store, 2)?, -1);
    assert_eq!(grow.call(&mut store, 1)?, 1);
    assert_eq!(get.call(&mut store, 2 * 65536 - 4)?, 0);
    for address in [2 * 65536 - 3, 1 << 30, -4] {
        let error = get.call(&mut store, address).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::MemoryOutOfBounds));
    }
    Ok(())
}

#[test]
fn tables_hold_functions_and_host_values() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let table = Table::new(&mut store, TableType::new(RefType::FUNCREF, 2, Some(5)), Ref::Func(None))?;
    let function = Func::wrap(&mut store, |number: i32| number * 2);
    table.set(&mut store, 1, function.into())?;
    assert!(table.get(&mut store, 0).unwrap().is_null());
    assert!(table.get(&mut store, 2).is_none());
    assert!(table.set(&mut store, 2, Ref::Func(None)).is_err());
    assert!(table.set(&mut store, 0, Ref::Extern(None)).is_err());
    assert_eq!(table.grow(&mut store, 3, function.into())?, 2);
    assert!(table.grow(&mut store, 1, function.into()).is_err());
    // A function of the host, put into a table before the module was made that calls it.
    let module = module(
        &engine,
        r#"(module (import "" "t" (table 5 funcref)) (type $f (func (param i32) (result i32)))
            (func (export "call") (param i32) (result i32) (call_indirect (type $f) (i32.const 21) (local.get 0))))"#,
    );
    let instance = Instance::new(&mut store, &module, &[table.into()])?;
    let call = instance.get_typed_func::<i32, i32>(&mut store, "call")?;
    assert_eq!(call.call(&mut store, 4)?, 42);
    assert!(call.call(&mut store, 0).is_err());
    table.fill(&mut store, 0, function.into(), 2)?;
    assert_eq!(call.call(&mut store, 0)?, 42);
    Table::copy(&mut store, &table, 0, &table, 1, 4)?;
    assert!(Table::copy(&mut store, &table, 2, &table, 1, 4).is_err());
    assert_eq!(table.size(&store), 5);
    Ok(())
}

#[test]
fn globals_are_shared_and_typed() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let variable = Global::new(&mut store, GlobalType::new(ValType::I64, Mutability::Var), Val::I64(5))?;
    let constant =
        Global::new(&mut store, GlobalType::new(ValType::F32, Mutability::Const), Val::from(1.0f32))?;
    assert!(Global::new(&mut store, GlobalType::new(ValType::F32, Mutability::Const), Val::I32(0)).is_err());
    assert_eq!(
        constant.set(&mut store, Val::from(2.0f32)).unwrap_err().to_string(),
        "immutable global cannot be set"
    );
    assert!(variable.set(&mut store, Val::I32(0)).is_err());
    let module = module(
        &engine,
        r#"(module (import "" "v" (global $v (mut i64))) (import "" "c" (global $c f32)) (global (export "copy") f32 (global.get $c))
            (func (export "add") (global.set $v (i64.add (global.get $v) (i64.const 1)))))"#,
    );
    let instance = Instance::new(&mut store, &module, &[variable.into(), constant.into()])?;
    instance.get_typed_func::<(), ()>(&mut store, "add")?.call(&mut store, ())?;
    assert_eq!(variable.get(&mut store).unwrap_i64(), 6);
    assert_eq!(instance.get_global(&mut store, "copy").unwrap().get(&mut store).unwrap_f32(), 1.0);
    let error = Instance::new(&mut store, &module, &[constant.into(), variable.into()]).unwrap_err();
    assert!(error.to_string().starts_with("incompatible import type for `::v`"));
    Ok(())
}

#[test]
fn things_of_another_store_are_refused() -> Result<()> {
    let engine = Engine::default();
    let module = module(&engine, r#"(module (memory (export "m") 1) (func (export "f") (param funcref)))"#);
    let mut one = Store::new(&engine, ());
    let mut two = Store::new(&engine, ());
    let instance = Instance::new(&mut one, &module, &[])?;
    let function = instance.get_func(&mut one, "f").unwrap();
    let memory = instance.get_memory(&mut one, "m").unwrap();
    let wrong = "object used with the wrong store";
    assert_eq!(panic_message(|| instance.get_func(&mut two, "f")), wrong);
    assert_eq!(panic_message(|| function.ty(&two)), wrong);
    assert_eq!(panic_message(|| function.call(&mut two, &[Val::FuncRef(None)], &mut [])), wrong);
    assert_eq!(panic_message(|| memory.size(&two)), wrong);
    assert_eq!(panic_message(|| drop(Linker::new(&engine).define(&two, "", "", memory).map(drop))), wrong);
    let foreign = Func::wrap(&mut two, || {});
    let error = function.call(&mut one, &[Val::from(foreign)], &mut []).unwrap_err();
    assert_eq!(error.to_string(), "cross-`Store` values are not currently supported");
    assert!(function.typed::<Option<Func>, ()>(&one)?.call(&mut one, Some(foreign)).is_err());
    let other = Module::new(&Engine::default(), "(module)")?;
    assert!(Instance::new(&mut one, &other, &[]).is_err());
    Ok(())
}

#[test]
fn host_values_live_as_long_as_something_refers_to_them() -> Result<()> {
    let engine = Engine::default();
    let module = module(
        &engine,
        r#"(module (import "" "check" (func $check (param externref) (result i32))) (table (export "t") 1 externref)
            (global $g (export "g") (mut externref) (ref.null extern))
            (func (export "same") (param externref) (result externref) (local.get 0))
            (func (export "keep") (param externref) (global.set $g (local.get 0)) (table.set (i32.const 0) (local.get 0)))
            (func (export "drop") (global.set $g (ref.null extern)) (table.set (i32.const 0) (ref.null extern)))
            (func (export "host") (param externref) (result i32) (call $check (local.get 0))))"#,
    );
    struct Counted(std::sync::Arc<()>);
    let counter = std::sync::Arc::new(());
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    linker.func_wrap(
        "",
        "check",
        |caller: Caller<'_, ()>, value: Option<Rooted<ExternRef>>| -> Result<i32> {
            let Some(value) = value else { return Ok(-1) };
            Ok(value.data(&caller)?.unwrap().is::<Counted>() as i32)
        },
    )?;
    let instance = linker.instantiate(&mut store, &module)?;
    let same = instance
        .get_typed_func::<Option<Rooted<ExternRef>>, Option<Rooted<ExternRef>>>(&mut store, "same")?;
    let keep = instance.get_typed_func::<Option<Rooted<ExternRef>>, ()>(&mut store, "keep")?;
    let forget = instance.get_typed_func::<(), ()>(&mut store, "drop")?;
    let host = instance.get_typed_func::<Option<Rooted<ExternRef>>, i32>(&mut store, "host")?;
    assert!(same.call(&mut store, None)?.is_none());
    assert_eq!(host.call(&mut store, None)?, -1);
    let outlived = {
        let mut scope = RootScope::new(&mut store);
        let value = ExternRef::new(&mut scope, Counted(counter.clone()))?;
        assert_eq!(host.call(&mut scope, Some(value))?, 1);
        let again = same.call(&mut scope, Some(value))?.unwrap();
        assert!(Rooted::ref_eq(&scope, &value, &again)?);
        keep.call(&mut scope, Some(value))?;
        value
    };
    assert!(outlived.data(&store).is_err());
    store.gc();
    assert_eq!(std::sync::Arc::strong_count(&counter), 2);
    let found = instance.get_table(&mut store, "t").unwrap().get(&mut store, 0).unwrap();
    let found = found.unwrap_extern().unwrap();
    assert!(std::sync::Arc::ptr_eq(
        &found.data(&store)?.unwrap().downcast_ref::<Counted>().unwrap().0,
        &counter
    ));
    forget.call(&mut store, ())?;
    store.gc();
    // `found` is a root of the store itself.
    assert_eq!(std::sync::Arc::strong_count(&counter), 2);
    for _ in 0..10_000 {
        let mut scope = RootScope::new(&mut store);
        ExternRef::new(&mut scope, Counted(counter.clone()))?;
    }
    // Garbage was collected on the way.
    assert!(std::sync::Arc::strong_count(&counter) < 5_000);
    drop(store);
    assert_eq!(std::sync::Arc::strong_count(&counter), 1);
    Ok(())
}

#[test]
fn an_owned_reference_lives_until_it_is_dropped() -> Result<()> {
    let engine = Engine::default();
    let counter = std::sync::Arc::new(());
    let mut store = Store::new(&engine, ());
    let owned = {
        let mut scope = RootScope::new(&mut store);
        ExternRef::new(&mut scope, counter.clone())?.to_owned_rooted(&mut scope)?
    };
    let copy = owned.clone();
    drop(owned);
    store.gc();
    assert_eq!(std::sync::Arc::strong_count(&counter), 2);
    {
        let mut scope = RootScope::new(&mut store);
        let rooted = copy.to_rooted(&mut scope);
        assert!(rooted.data(&scope)?.unwrap().is::<std::sync::Arc<()>>());
    }
    drop(copy);
    store.gc();
    assert_eq!(std::sync::Arc::strong_count(&counter), 1);
    Ok(())
}

#[test]
fn exports_are_found_by_index() -> Result<()> {
    let engine = Engine::default();
    let text = r#"(module (import "" "f" (func $f)) (global (export "g") i32 (i32.const 7)) (func (export "run") call $f))"#;
    let (module, other) = (module(&engine, text), module(&engine, text));
    let index = module.get_export_index("g").unwrap();
    assert!(module.get_export_index("h").is_none());
    let foreign = other.get_export_index("g").unwrap();
    let mut store = Store::new(&engine, 0);
    let mut linker = Linker::new(&engine);
    let (in_host, foreign_in_host) = (index.clone(), foreign.clone());
    linker.func_wrap("", "f", move |mut caller: Caller<'_, i32>| {
        let global = caller.get_module_export(&in_host).and_then(Extern::into_global).unwrap();
        *caller.data_mut() = global.get(&mut caller).unwrap_i32();
        assert!(caller.get_module_export(&foreign_in_host).is_none());
    })?;
    let instance = linker.instantiate(&mut store, &module)?;
    let global = instance.get_module_export(&mut store, &index).and_then(Extern::into_global).unwrap();
    assert_eq!(global.get(&mut store).unwrap_i32(), 7);
    assert!(instance.get_module_export(&mut store, &foreign).is_none());
    instance.get_typed_func::<(), ()>(&mut store, "run")?.call(&mut store, ())?;
    assert_eq!(*store.data(), 7);
    Ok(())
}

#[test]
fn limits_hold() -> Result<()> {
    let engine = Engine::default();
    let module = module(
        &engine,
        r#"(module (memory (export "m") 1) (table (export "t") 1 funcref)
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
            (func (export "grow_table") (param i32) (result i32) (table.grow (ref.null func) (local.get 0))))"#,
    );
    let limits = StoreLimitsBuilder::new().memory_size(3 << 16).table_elements(4).instances(2).build();
    let mut store = Store::new(&engine, limits);
    store.limiter(|limits| limits);
    let instance = Instance::new(&mut store, &module, &[])?;
    let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow")?;
    let grow_table = instance.get_typed_func::<i32, i32>(&mut store, "grow_table")?;
    assert_eq!((grow.call(&mut store, 2)?, grow.call(&mut store, 1)?), (1, -1));
    assert_eq!((grow_table.call(&mut store, 3)?, grow_table.call(&mut store, 1)?), (1, -1));
    assert!(Memory::new(&mut store, MemoryType::new(4, None)).is_err());
    Instance::new(&mut store, &module, &[])?;
    let error = Instance::new(&mut store, &module, &[]).unwrap_err();
    assert_eq!(error.to_string(), "resource limit exceeded: instance count too high at 3");

    let limits = StoreLimitsBuilder::new().memory_size(2 << 16).trap_on_grow_failure(true).build();
    let mut store = Store::new(&engine, limits);
    store.limiter(|limits| limits);
    let instance = Instance::new(&mut store, &module, &[])?;
    let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow")?;
    assert_eq!(grow.call(&mut store, 1)?, 1);
    let error = grow.call(&mut store, 1).unwrap_err();
    assert_eq!(error.root_cause().to_string(), "forcing trap when growing memory to 196608 bytes");
    Ok(())
}

#[test]
fn what_cannot_be_allocated_is_an_error() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let huge = module(&engine, r#"(module (table 0xffffffff funcref))"#);
    assert!(Instance::new(&mut store, &huge, &[]).is_err());
    let grows = module(
        &engine,
        r#"(module (table 1 externref) (func (export "f") (param i32) (result i32) (table.grow (ref.null extern) (local.get 0))))"#,
    );
    let instance = Instance::new(&mut store, &grows, &[])?;
    let grow = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
    assert_eq!(grow.call(&mut store, -1)?, -1);
    assert_eq!(grow.call(&mut store, 10)?, 1);
    // Address space for 4 GiB each runs out long before the number of instances does.
    let memory = module(&engine, "(module (memory (export \"m\") 1))");
    let mut stores = Vec::new();
    let error = loop {
        let mut store = Store::new(&engine, ());
        match Instance::new(&mut store, &memory, &[]) {
            Ok(_) if stores.len() < 40_000 => stores.push(store),
            Ok(_) => bail!("there is no limit to address space"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().starts_with("could not "), "{error}");
    drop(stores);
    Instance::new(&mut store, &memory, &[])?;
    Ok(())
}

#[test]
fn modules_describe_themselves() -> Result<()> {
    let engine = Engine::default();
    let module = module(
        &engine,
        r#"(module $name (import "a" "t" (table 1 2 funcref)) (import "a" "g" (global (mut f32)))
            (memory (export "m") 1) (func (export "f") (param externref)) (func (export "e") (result i32) (i32.const 1)))"#,
    );
    assert_eq!(module.name(), Some("name"));
    let imports: Vec<_> = module.imports().collect();
    assert_eq!((imports[0].module(), imports[0].name()), ("a", "t"));
    assert_eq!(imports[0].ty().unwrap_table().maximum(), Some(2));
    assert!(imports[1].ty().unwrap_global().mutability().is_var());
    let names: Vec<_> = module.exports().map(|export| export.name().to_string()).collect();
    assert_eq!(names, ["m", "f", "e"]);
    assert_eq!(module.get_export("f").unwrap().unwrap_func().param(0), Some(ValType::EXTERNREF));
    assert!(module.get_export("x").is_none());
    assert!(
        Module::new(&engine, "(module (func (result i32)))")
            .unwrap_err()
            .to_string()
            .contains("type mismatch")
    );
    assert!(Module::new(&engine, b"\0asm\x01\0\0\0\x01").is_err());
    assert!(Module::validate(&engine, b"\0asm\x01\0\0\0").is_ok());
    assert!(Module::validate(&engine, b"").is_err());
    Ok(())
}
