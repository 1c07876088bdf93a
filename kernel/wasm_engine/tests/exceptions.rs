//! Exceptions: within a module, across instances, and across the host.

use wasm_engine::*;

fn instance(store: &mut Store<()>, text: &str, imports: &[Extern]) -> Instance {
    let module = Module::new(store.engine(), text).unwrap();
    Instance::new(store, &module, imports).unwrap()
}

fn engine() -> Engine {
    let mut config = Config::new();
    config.cranelift_debug_verifier(true);
    Engine::new(&config).unwrap()
}

fn store() -> Store<()> {
    Store::new(&engine(), ())
}

#[test]
fn what_is_thrown_is_caught_with_its_fields() {
    let mut store = store();
    let instance = instance(
        &mut store,
        r#"(module
            (tag $all (param i32 i64 f32 f64 v128 funcref externref))
            (tag $none)
            (func $thrower (param i32)
                (if (local.get 0) (then (throw $none)))
                (throw $all (i32.const 1) (i64.const 2) (f32.const 3) (f64.const 4) (v128.const i64x2 5 6)
                    (ref.func $thrower) (ref.null extern)))
            (elem declare func $thrower)
            (func (export "catch") (param i32) (result i32)
                (local i64 f32 f64 v128 funcref externref)
                (block $on_none
                    (block $on_all (result i32 i64 f32 f64 v128 funcref externref)
                        (try_table (catch $all $on_all) (catch $none $on_none) (call $thrower (local.get 0)))
                        (return (i32.const -1)))
                    (local.set 6) (local.set 5) (local.set 4) (local.set 3) (local.set 2) (local.set 1)
                    (i32.add (i32.wrap_i64 (local.get 1)))
                    (i32.add (i32.trunc_f32_s (local.get 2)))
                    (i32.add (i32.trunc_f64_s (local.get 3)))
                    (i32.add (i32x4.extract_lane 0 (local.get 4)))
                    (i32.add (i32x4.extract_lane 2 (local.get 4)))
                    (i32.add (i32.mul (i32.const 100) (ref.is_null (local.get 5))))
                    (i32.add (i32.mul (i32.const 1000) (ref.is_null (local.get 6))))
                    (return))
                (i32.const 42)))"#,
        &[],
    );
    let catch = instance.get_typed_func::<i32, i32>(&mut store, "catch").unwrap();
    assert_eq!(catch.call(&mut store, 0).unwrap(), 1021);
    assert_eq!(catch.call(&mut store, 1).unwrap(), 42);
}

#[test]
fn locals_are_as_they_were_at_the_call_that_threw() {
    let mut store = store();
    let instance = instance(
        &mut store,
        r#"(module
            (tag $tag (param i32))
            (func $maybe (param i32 i32)
                (if (i32.eq (local.get 0) (local.get 1)) (then (throw $tag (local.get 0)))))
            (func (export "run") (param $at i32) (result i32)
                (local $i i32) (local $a i64) (local $b f64)
                (local.set $b (f64.const 0.5))
                (block $caught (result i32)
                    (try_table (catch $tag $caught)
                        (loop $next
                            (local.set $a (i64.add (local.get $a) (i64.const 3)))
                            (call $maybe (local.get $i) (local.get $at))
                            (local.set $b (f64.add (local.get $b) (f64.const 2)))
                            (local.set $i (i32.add (local.get $i) (i32.const 1)))
                            (br_if $next (i32.lt_s (local.get $i) (i32.const 100)))))
                    (i32.const 1000000))
                (i32.mul (i32.const 10000))
                (i32.add (i32.wrap_i64 (local.get $a)))
                (i32.add (i32.trunc_f64_s (f64.mul (local.get $b) (f64.const 2))))))"#,
        &[],
    );
    let run = instance.get_typed_func::<i32, i32>(&mut store, "run").unwrap();
    for at in [0, 1, 7, 99] {
        assert_eq!(run.call(&mut store, at).unwrap(), at * 10_000 + (at + 1) * 3 + at * 4 + 1);
    }
}

const THROWER: &str = r#"(module
    (tag $tag (export "tag") (param i32))
    (func (export "throw") (param i32) (throw $tag (local.get 0))))"#;

#[test]
fn instances_of_one_module_have_tags_of_their_own() {
    let mut store = store();
    let module = Module::new(store.engine(), THROWER).unwrap();
    let [a, b] = [0; 2].map(|_| Instance::new(&mut store, &module, &[]).unwrap());
    let imports = |store: &mut Store<()>, throws: Instance, catches: Instance| {
        let function = throws.get_export(&mut *store, "throw").unwrap();
        [catches.get_export(store, "tag").unwrap(), function]
    };
    let catcher = r#"(module
        (import "" "tag" (tag $tag (param i32)))
        (import "" "throw" (func $throw (param i32)))
        (table funcref (elem $throw))
        (func (export "direct") (param i32) (result i32)
            (block $all
                (block $mine (result i32)
                    (try_table (catch $tag $mine) (catch_all $all) (call $throw (local.get 0)))
                    (i32.const -1))
                (return))
            (i32.const -2))
        (func (export "indirect") (param i32) (result i32)
            (block $all
                (block $mine (result i32)
                    (try_table (catch $tag $mine) (catch_all $all)
                        (call_indirect (param i32) (local.get 0) (i32.const 0)))
                    (i32.const -1))
                (return))
            (i32.const -2)))"#;
    for (throws, catches, expected) in [(a, a, 7), (b, b, 7), (a, b, -2), (b, a, -2)] {
        let imports = imports(&mut store, throws, catches);
        let catcher = instance(&mut store, catcher, &imports);
        for name in ["direct", "indirect"] {
            let function = catcher.get_typed_func::<i32, i32>(&mut store, name).unwrap();
            assert_eq!(function.call(&mut store, 7).unwrap(), expected, "{name}");
        }
    }
    let [a, b] = [a, b].map(|instance| instance.get_tag(&mut store, "tag").unwrap());
    assert!(Tag::eq(&a, &a, &store) && !Tag::eq(&a, &b, &store));
}

#[test]
fn what_nobody_catches_is_pending() {
    let mut store = store();
    let thrower = instance(&mut store, THROWER, &[]);
    let throw = thrower.get_typed_func::<i32, ()>(&mut store, "throw").unwrap();
    let tag = thrower.get_tag(&mut store, "tag").unwrap();
    assert!(!store.has_pending_exception());
    let error = throw.call(&mut store, 5).unwrap_err();
    assert!(error.is::<ThrownException>() && error.is::<WasmBacktrace>(), "{error:?}");
    assert!(
        error.to_string().contains("thrown Wasm exception")
            || format!("{error:#}").contains("thrown Wasm exception")
    );
    assert!(store.has_pending_exception());
    let exception = store.take_pending_exception().unwrap();
    assert!(store.take_pending_exception().is_none());
    assert_eq!(exception.field(&mut store, 0).unwrap().unwrap_i32(), 5);
    assert!(exception.field(&mut store, 1).is_err());
    let found = exception.tag(&mut store).unwrap();
    assert!(Tag::eq(&found, &tag, &store));
    assert_eq!(exception.ty(&store).unwrap().tag_type(), tag.ty(&store));
}

/// Wasm, host, wasm: the inner one throws.
#[test]
fn host_functions_in_between_see_it_and_decide() {
    let mut store = store();
    let thrower = instance(&mut store, THROWER, &[]);
    let throw = thrower.get_typed_func::<i32, ()>(&mut store, "throw").unwrap();
    let host = Func::wrap(&mut store, move |mut caller: Caller<'_, ()>, what: i32| -> Result<i32> {
        let error = throw.call(&mut caller, what).unwrap_err();
        match what {
            // Lets it pass, as it is or with words around it.
            0 => Err(error),
            1 => Err(error.context("on the way")),
            // Ends it.
            2 => {
                let exception = caller.as_context_mut().take_pending_exception().unwrap();
                Ok(exception.field(&mut caller, 0)?.unwrap_i32() + 100)
            }
            // Fails in another way, which nobody can catch.
            3 => bail!("something else"),
            // Lets another pass first.
            _ => {
                drop(throw.call(&mut caller, 1234).unwrap_err());
                Err(ThrownException.into())
            }
        }
    });
    let imports = [thrower.get_export(&mut store, "tag").unwrap(), host.into()];
    let catcher = instance(
        &mut store,
        r#"(module
            (import "" "tag" (tag $tag (param i32)))
            (import "" "host" (func $host (param i32) (result i32)))
            (func (export "run") (param i32) (result i32)
                (block $caught (result i32)
                    (try_table (result i32) (catch $tag $caught) (call $host (local.get 0)))
                    (return))
                (i32.add (i32.const 1000))))"#,
        &imports,
    );
    let run = catcher.get_typed_func::<i32, i32>(&mut store, "run").unwrap();
    for (what, expected) in [(0, 1000), (1, 1001), (2, 102), (4, 2234)] {
        assert_eq!(run.call(&mut store, what).unwrap(), expected);
    }
    let error = run.call(&mut store, 3).unwrap_err();
    assert_eq!(error.root_cause().to_string(), "something else");
}

#[test]
fn the_host_throws_and_makes_tags() {
    let mut store = store();
    let ty = FuncType::new(store.engine(), [ValType::I64, ValType::EXTERNREF], []);
    let tag = Tag::new(&mut store, &TagType::new(ty.clone())).unwrap();
    let exn_type = ExnType::from_tag_type(&tag.ty(&store)).unwrap();
    let allocator = ExnRefPre::new(&mut store, exn_type);
    let host = Func::wrap(&mut store, move |mut caller: Caller<'_, ()>| -> Result<()> {
        let value = ExternRef::new(&mut caller, "carried")?;
        let fields = [Val::I64(9), value.into()];
        let exception = ExnRef::new(&mut caller, &allocator, &tag, &fields)?;
        caller.as_context_mut().throw(exception)
    });
    let catcher = instance(
        &mut store,
        r#"(module
            (import "" "tag" (tag $tag (param i64 externref)))
            (import "" "host" (func $host))
            (func (export "run") (result i64 externref exnref)
                (block $caught (result i64 externref exnref)
                    (try_table (catch_ref $tag $caught) (call $host))
                    (unreachable)))
            (func (export "again") (param exnref) (throw_ref (local.get 0))))"#,
        &[tag.into(), host.into()],
    );
    type Results = (i64, Option<Rooted<ExternRef>>, Option<Rooted<ExnRef>>);
    let run = catcher.get_typed_func::<(), Results>(&mut store, "run").unwrap();
    let (number, value, exception) = run.call(&mut store, ()).unwrap();
    assert_eq!(number, 9);
    let data = value.unwrap().data(&store).unwrap().unwrap();
    assert_eq!(data.downcast_ref::<&str>(), Some(&"carried"));
    let again = catcher.get_typed_func::<Option<Rooted<ExnRef>>, ()>(&mut store, "again").unwrap();
    let error = again.call(&mut store, exception).unwrap_err();
    assert!(error.is::<ThrownException>());
    let pending = store.take_pending_exception().unwrap();
    assert!(Rooted::ref_eq(&store, &pending, &exception.unwrap()).unwrap());
    let error = again.call(&mut store, None).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::NullReference));
    let wrong = [Val::I32(1), Val::null_extern_ref()];
    let exn_type = ExnType::from_tag_type(&tag.ty(&store)).unwrap();
    let allocator = ExnRefPre::new(&mut store, exn_type);
    assert!(ExnRef::new(&mut store, &allocator, &tag, &wrong).is_err());
    assert!(ExnRef::new(&mut store, &allocator, &tag, &[]).is_err());
    let results = FuncType::new(store.engine(), [], [ValType::I32]);
    assert!(Tag::new(&mut store, &TagType::new(results)).is_err());
}

#[test]
fn traps_are_not_caught() {
    let mut store = store();
    let instance = instance(
        &mut store,
        r#"(module
            (memory 1)
            (func $trap (drop (i32.load (i32.const 70000))))
            (func (export "run") (block $all (try_table (catch_all $all) (call $trap)))))"#,
        &[],
    );
    let run = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap();
    let error = run.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::MemoryOutOfBounds));
}

/// Deep recursion, with and without handlers on the way.
#[test]
fn a_throw_leaves_many_frames() {
    let mut store = store();
    let instance = instance(
        &mut store,
        r#"(module
            (tag $tag (param i32)) (tag $other)
            (func $deep (param i32) (result i32)
                (if (i32.eqz (local.get 0)) (then (throw $tag (i32.const 77))))
                (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1)))))
            (func $guarded (param i32) (result i32)
                (if (i32.eqz (local.get 0)) (then (throw $tag (i32.const 78))))
                (block $none
                    (try_table (catch $other $none)
                        (return (i32.add (i32.const 1)
                            (call $guarded (i32.sub (local.get 0) (i32.const 1)))))))
                (i32.const -1))
            (func (export "run") (param i32 i32) (result i32)
                (block $caught (result i32)
                    (try_table (result i32) (catch $tag $caught)
                        (if (result i32) (local.get 1)
                            (then (call $guarded (local.get 0)))
                            (else (call $deep (local.get 0))))))))"#,
        &[],
    );
    let run = instance.get_typed_func::<(i32, i32), i32>(&mut store, "run").unwrap();
    for depth in [0, 1, 2000] {
        assert_eq!(run.call(&mut store, (depth, 0)).unwrap(), 77);
        assert_eq!(run.call(&mut store, (depth, 1)).unwrap(), 78);
    }
}

/// What `setjmp` and `longjmp` do must not fill the memory.
#[test]
fn catching_without_a_reference_keeps_nothing_and_with_one_has_a_limit() {
    let mut store = store();
    let instance = instance(
        &mut store,
        r#"(module
            (tag $tag (param i64 i64))
            (func $throw (throw $tag (i64.const 1) (i64.const 2)))
            (func (export "plain") (param i32)
                (loop $next
                    (block $caught (result i64 i64)
                        (try_table (catch $tag $caught) (call $throw))
                        (unreachable))
                    (drop) (drop)
                    (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
            (func (export "referenced") (param i32)
                (loop $next
                    (block $caught (result exnref)
                        (try_table (catch_all_ref $caught) (call $throw))
                        (unreachable))
                    (drop)
                    (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"#,
        &[],
    );
    let plain = instance.get_typed_func::<i32, ()>(&mut store, "plain").unwrap();
    plain.call(&mut store, 1_000_000).unwrap();
    let referenced = instance.get_typed_func::<i32, ()>(&mut store, "referenced").unwrap();
    referenced.call(&mut store, 1000).unwrap();
    let error = referenced.call(&mut store, 10_000_000).unwrap_err();
    assert!(format!("{error:#}").contains("64 MiB of exceptions"), "{error:#}");
    store.gc();
    referenced.call(&mut store, 1000).unwrap();
}

/// Exceptions in tables, globals and other exceptions stay.
#[test]
fn references_keep_exceptions_alive() {
    let mut store = store();
    let instance = instance(
        &mut store,
        r#"(module
            (tag $outer (param exnref)) (tag $inner (param i32))
            (table (export "table") 2 exnref)
            (global $global (mut exnref) (ref.null exn))
            (func $make (param i32) (result exnref)
                (block $caught (result i32 exnref)
                    (try_table (catch_ref $inner $caught) (throw $inner (local.get 0)))
                    (unreachable))
                (return))
            (func (export "fill")
                (table.set (i32.const 0) (call $make (i32.const 10)))
                (global.set $global (call $make (i32.const 20)))
                (block $caught (result exnref exnref)
                    (try_table (catch_ref $outer $caught) (throw $outer (call $make (i32.const 30))))
                    (unreachable))
                (table.set (i32.const 1) (; the outer one ;))
                (drop))
            (func $value (param exnref) (result i32)
                (block $caught (result i32)
                    (try_table (catch $inner $caught) (throw_ref (local.get 0)))
                    (unreachable)))
            (func $unwrap (param exnref) (result exnref)
                (block $caught (result exnref)
                    (try_table (catch $outer $caught) (throw_ref (local.get 0)))
                    (unreachable)))
            (func (export "sum") (result i32)
                (i32.add (call $value (table.get (i32.const 0)))
                    (i32.add (call $value (global.get $global))
                        (call $value (call $unwrap (table.get (i32.const 1))))))))"#
            .replace(
                "(table.set (i32.const 1) (; the outer one ;))",
                "(local.set 0) (table.set (i32.const 1) (local.get 0))",
            )
            .replace("(func (export \"fill\")", "(func (export \"fill\") (local exnref)")
            .as_str(),
        &[],
    );
    instance.get_typed_func::<(), ()>(&mut store, "fill").unwrap().call(&mut store, ()).unwrap();
    store.gc();
    let sum = instance.get_typed_func::<(), i32>(&mut store, "sum").unwrap();
    assert_eq!(sum.call(&mut store, ()).unwrap(), 60);
    store.gc();
    assert_eq!(sum.call(&mut store, ()).unwrap(), 60);
    let table = instance.get_table(&mut store, "table").unwrap();
    assert!(matches!(table.get(&mut store, 0), Some(Ref::Exn(Some(_)))));
}

#[test]
fn can_be_turned_off() {
    let engine = Engine::new(Config::new().wasm_exceptions(false)).unwrap();
    let error = Module::new(&engine, "(module (tag))").unwrap_err();
    assert!(format!("{error:#}").contains("exceptions"), "{error:#}");
}

#[test]
fn imported_tags_must_be_of_the_type() {
    let mut store = store();
    let ty = FuncType::new(store.engine(), [ValType::I32], []);
    let tag = Tag::new(&mut store, &TagType::new(ty)).unwrap();
    let module = Module::new(store.engine(), "(module (import \"\" \"t\" (tag (param i64))))").unwrap();
    let error = Instance::new(&mut store, &module, &[tag.into()]).unwrap_err();
    assert!(format!("{error:#}").contains("tag types incompatible"), "{error:#}");
}

/// Fuel is counted on the way to a landing pad as everywhere.
#[test]
fn fuel_and_epochs() {
    let mut config = Config::new();
    config.consume_fuel(true).epoch_interruption(true);
    let mut store = Store::new(&Engine::new(&config).unwrap(), ());
    store.set_epoch_deadline(1);
    store.set_fuel(1_000_000).unwrap();
    let instance = instance(
        &mut store,
        r#"(module
            (tag $tag)
            (func $throw (throw $tag))
            (func (export "run") (param i32)
                (loop $next
                    (block $caught (try_table (catch $tag $caught) (call $throw)))
                    (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"#,
        &[],
    );
    let run = instance.get_typed_func::<i32, ()>(&mut store, "run").unwrap();
    let mut used = |rounds| {
        let before = store.get_fuel().unwrap();
        run.call(&mut store, rounds).unwrap();
        before - store.get_fuel().unwrap()
    };
    let (one, two, hundred) = (used(1), used(2), used(100));
    assert!(two > one && hundred - one == 99 * (two - one), "{one} {two} {hundred}");
    let error = run.call(&mut store, i32::MAX).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::OutOfFuel));
}
