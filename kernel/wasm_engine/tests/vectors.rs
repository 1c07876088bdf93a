//! Vectors where the official test suite does not look: in calls by the host and of the host, in globals, at the end of a
//! memory; and what the compiler does in a different way for every CPU.

use wasm_engine::error::Context;
use wasm_engine::*;

/// How modules can be compiled: by default, for any CPU, and with every access checked.
fn engines() -> Vec<(&'static str, Engine)> {
    let engine = |configure: &dyn Fn(&mut Config) -> &mut Config| {
        let mut config = Config::new();
        Engine::new(configure(config.cranelift_debug_verifier(true))).unwrap()
    };
    vec![
        ("default", engine(&|config| config)),
        ("not optimised", engine(&|config| config.cranelift_opt_level(OptLevel::None))),
        ("any CPU", engine(&|config| config.target_cpu(CpuFeatures::BASELINE))),
        (
            "any CPU, not optimised",
            engine(&|config| config.target_cpu(CpuFeatures::BASELINE).cranelift_opt_level(OptLevel::None)),
        ),
        ("checked", engine(&|config| config.memory_reservation(64 << 20).memory_guard_size(64 << 10))),
    ]
}

fn instance(engine: &Engine, text: &str) -> (Store<()>, Instance) {
    let module = Module::new(engine, text).unwrap();
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

fn v128(bits: u128) -> V128 {
    V128::from(bits)
}

/// Numbers that are different in every byte: a linear congruential generator.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 32
    }

    fn bytes(&mut self) -> [u8; 16] {
        core::array::from_fn(|_| self.next() as u8)
    }
}

#[test]
fn vectors_are_values() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let value = Val::from(7u128 << 100);
    assert_eq!(value.unwrap_v128().as_u128(), 7 << 100);
    assert_eq!((value.v128(), value.i64()), (Some(v128(7 << 100)), None));
    assert_eq!(Val::I64(1).v128(), None);
    assert_eq!(Val::default_for_ty(&ValType::V128).unwrap().unwrap_v128(), v128(0));
    assert_eq!(value.ty(&store)?, ValType::V128);
    assert!(value.matches_ty(&store, &ValType::V128)? && !value.matches_ty(&store, &ValType::I64)?);
    assert!(ValType::V128.is_v128() && !ValType::V128.is_num() && !ValType::V128.is_ref());
    assert!(v128(1) < v128(1 << 64) && u128::from(v128(3)) == 3 && format!("{:?}", v128(12)) == "12");
    let raw = value.to_raw(&mut store)?;
    // SAFETY: the raw value is a vector.
    let back = unsafe { Val::from_raw(&mut store, raw, ValType::V128)? };
    assert_eq!(back.unwrap_v128(), v128(7 << 100));
    // A vector does not make all values larger than they must be.
    assert!(size_of::<Val>() <= 24 && align_of::<V128>() == 1);
    Ok(())
}

#[test]
fn vectors_pass_through_every_kind_of_call() -> Result<()> {
    // More than there are registers for, of both kinds, and in an order that the stack must keep aligned.
    const TYPES: &str = "i32 v128 i64 v128 v128 f32 v128 v128 i32 v128 v128 v128 f64 v128 v128 i32 v128";
    type Many =
        ((i32, V128, i64, V128, V128, f32, V128, V128), (i32, V128, V128, V128, f64, V128, V128, i32, V128));
    let gets: String = (0..17).map(|index| format!("local.get {index} ")).collect();
    for (name, engine) in engines() {
        let module = Module::new(
            &engine,
            format!(
                r#"(module
                    (type $many (func (param {TYPES}) (result {TYPES})))
                    (import "" "typed" (func $typed (type $many)))
                    (import "" "untyped" (func $untyped (type $many)))
                    (table funcref (elem $own $typed $untyped))
                    (func $own (type $many) {gets})
                    (func (export "direct") (type $many) {gets} call $own)
                    (func (export "typed") (type $many) {gets} call $typed)
                    (func (export "untyped") (type $many) {gets} call $untyped)
                    (func (export "indirect") (type $many) {gets}
                        {gets} i32.const 0 call_indirect (type $many)
                        i32.const 1 call_indirect (type $many)
                        i32.const 2 call_indirect (type $many)
                        br 0))"#
            ),
        )?;
        let mut store = Store::new(&engine, ());
        #[rustfmt::skip]
        let typed = Func::wrap(
            &mut store,
            |a: i32, b: V128, c: i64, d: V128, e: V128, f: f32, g: V128, h: V128,
             i: i32, j: V128, k: V128, l: V128, m: f64, n: V128, o: V128, p: i32, q: V128| {
                (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q)
            },
        );
        let ty = typed.ty(&store);
        let untyped = Func::new(&mut store, ty, |_, params, results| {
            results.copy_from_slice(params);
            Ok(())
        });
        let instance = Instance::new(&mut store, &module, &[typed.into(), untyped.into()])?;
        let vector = |number: u128| v128((u128::MAX / 257 * (number + 1)) ^ (number << 120));
        let many: Many = (
            (-1, vector(1), -2, vector(2), vector(3), 1.5, vector(4), vector(5)),
            (-3, vector(6), vector(7), vector(8), 2.5, vector(9), vector(10), i32::MIN, vector(11)),
        );
        let ((a, b, c, d, e, f, g, h), (i, j, k, l, m, n, o, p, q)) = many;
        let all = (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q);
        type All =
            (i32, V128, i64, V128, V128, f32, V128, V128, i32, V128, V128, V128, f64, V128, V128, i32, V128);
        for export in ["direct", "typed", "untyped", "indirect"] {
            let function = instance.get_typed_func::<All, All>(&mut store, export)?;
            let same = function.call(&mut store, all)?;
            // There is no equality of tuples with so many members; their text is all they hold.
            let text = |(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q): All| {
                format!("{:?} {:?}", (a, b, c, d, e, f, g, h), (i, j, k, l, m, n, o, p, q))
            };
            assert_eq!(text(same), text(all), "{name}: {export}");
        }
    }
    Ok(())
}

#[test]
fn typed_functions_with_vectors_are_checked() {
    let engine = Engine::default();
    let (mut store, instance) =
        instance(&engine, r#"(module (func (export "f") (param v128) (result v128) (local.get 0)))"#);
    let function = instance.get_func(&mut store, "f").unwrap();
    assert_eq!(function.ty(&store).to_string(), "(type (func (param v128) (result v128)))");
    assert_eq!(function.typed::<V128, V128>(&store).unwrap().call(&mut store, v128(5)).unwrap(), v128(5));
    let text = |error: Error| format!("{error:#}");
    assert_eq!(
        text(function.typed::<i64, V128>(&store).map(drop).unwrap_err()),
        "type mismatch with parameters: type mismatch: expected v128, found i64"
    );
    let mut results = [Val::I32(0)];
    function.call(&mut store, &[Val::from(6u128)], &mut results).unwrap();
    assert_eq!(results[0].unwrap_v128(), v128(6));
    assert!(function.call(&mut store, &[Val::F64(0)], &mut results).is_err());
}

#[test]
fn globals_hold_vectors() -> Result<()> {
    for (_, engine) in engines() {
        let mut store = Store::new(&engine, ());
        let ty = GlobalType::new(ValType::V128, Mutability::Var);
        assert!(Global::new(&mut store, ty.clone(), Val::I64(0)).is_err());
        let shared = Global::new(&mut store, ty, Val::from(1u128 << 127))?;
        let fixed = GlobalType::new(ValType::V128, Mutability::Const);
        let fixed = Global::new(&mut store, fixed, Val::from(5u128))?;
        let module = Module::new(
            &engine,
            r#"(module
                (import "" "shared" (global $shared (mut v128)))
                (import "" "fixed" (global $fixed v128))
                ;; An odd number of bytes before each.
                (global i32 (i32.const 1))
                (global $own (export "own") (mut v128) (v128.const i64x2 3 4))
                (global i64 (i64.const 1))
                (global $copy (export "copy") v128 (global.get $fixed))
                (global $constant v128 (v128.const f32x4 1 2 3 4))
                (export "shared" (global $shared))
                (func (export "add") (param v128)
                    (global.set $shared (i64x2.add (global.get $shared) (local.get 0)))
                    (global.set $own (f32x4.mul (global.get $own) (global.get $constant))))
                (func (export "sum") (result v128) (i64x2.add (global.get $fixed) (global.get $copy))))"#,
        )?;
        let instance = Instance::new(&mut store, &module, &[shared.into(), fixed.into()])?;
        let get = |store: &mut Store<()>, name| {
            instance.get_global(&mut *store, name).unwrap().get(store).unwrap_v128().as_u128()
        };
        assert_eq!(get(&mut store, "own"), 4 << 64 | 3);
        assert_eq!(get(&mut store, "copy"), 5);
        let add = instance.get_typed_func::<V128, ()>(&mut store, "add")?;
        let own = instance.get_global(&mut store, "own").unwrap();
        let ones = [1.0f32; 4].map(f32::to_bits);
        let bits = |lanes: [u32; 4]| lanes.iter().rev().fold(0, |bits, lane| bits << 32 | u128::from(*lane));
        own.set(&mut store, Val::from(bits(ones)))?;
        add.call(&mut store, v128(2 << 64 | 1))?;
        assert_eq!(get(&mut store, "own"), bits([1.0f32, 2.0, 3.0, 4.0].map(f32::to_bits)));
        assert_eq!(shared.get(&mut store).unwrap_v128().as_u128(), (1 << 127) + (2 << 64 | 1));
        assert_eq!(get(&mut store, "shared"), (1 << 127) + (2 << 64 | 1));
        assert_eq!(instance.get_typed_func::<(), V128>(&mut store, "sum")?.call(&mut store, ())?, v128(10));
        assert!(fixed.set(&mut store, Val::from(0u128)).is_err());
    }
    Ok(())
}

#[test]
fn accesses_trap_exactly_past_the_end_of_memory() -> Result<()> {
    // Bytes accessed, and the operator with what it takes after the address.
    const ACCESSES: [(u32, &str, bool); 22] = [
        (16, "v128.load", false),
        (8, "v128.load8x8_s", false),
        (8, "v128.load8x8_u", false),
        (8, "v128.load16x4_s", false),
        (8, "v128.load16x4_u", false),
        (8, "v128.load32x2_s", false),
        (8, "v128.load32x2_u", false),
        (1, "v128.load8_splat", false),
        (2, "v128.load16_splat", false),
        (4, "v128.load32_splat", false),
        (8, "v128.load64_splat", false),
        (4, "v128.load32_zero", false),
        (8, "v128.load64_zero", false),
        (1, "v128.load8_lane 15", true),
        (2, "v128.load16_lane 7", true),
        (4, "v128.load32_lane 3", true),
        (8, "v128.load64_lane 1", true),
        (16, "v128.store", true),
        (1, "v128.store8_lane 15", true),
        (2, "v128.store16_lane 7", true),
        (4, "v128.store32_lane 3", true),
        (8, "v128.store64_lane 1", true),
    ];
    const END: u32 = 65536;
    const FAR: u32 = 3000;
    let mut text = String::from("(module (memory (export \"memory\") 1)");
    for (number, (_, operator, takes_vector)) in ACCESSES.iter().enumerate() {
        let (name, rest) = operator.split_once(' ').unwrap_or((operator, ""));
        let result = if operator.contains("store") { "" } else { "(result v128)" };
        let vector = if *takes_vector { "(v128.const i64x2 -1 -1)" } else { "" };
        for (suffix, offset) in [("", String::new()), ("_far", format!("offset={FAR}"))] {
            text += &format!(
                r#"(func (export "{number}{suffix}") (param i32) {result}
                    ({name} {offset} {rest} (local.get 0) {vector}))"#
            );
        }
    }
    // A load whose result is part of an operation.
    text += r#"(func (export "add") (param i32 v128) (result v128)
        (i32x4.add (local.get 1) (v128.load (local.get 0))))"#;
    text.push(')');
    for (config, engine) in engines() {
        let (mut store, instance) = instance(&engine, &text);
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        for (number, (size, operator, _)) in ACCESSES.iter().enumerate() {
            for (suffix, offset) in [("", 0), ("_far", FAR)] {
                let function = instance.get_func(&mut store, &format!("{number}{suffix}")).unwrap();
                let mut results = vec![Val::I32(0); function.ty(&store).results().len()];
                let last = END - size - offset;
                function.call(&mut store, &[Val::I32(last as i32)], &mut results)?;
                memory.data_mut(&mut store).fill(0);
                for past in [last + 1, last + size, u32::MAX - 15, u32::MAX] {
                    let outcome = function.call(&mut store, &[Val::I32(past as i32)], &mut results);
                    let trap = outcome.unwrap_err().downcast_ref::<Trap>().copied();
                    assert_eq!(trap, Some(Trap::MemoryOutOfBounds), "{config}: {operator}{suffix}: {past}");
                }
                let written = memory.data(&store).iter().any(|byte| *byte != 0);
                assert!(!written, "{config}: {operator} wrote a part of what did not fit");
            }
        }
        let add = instance.get_typed_func::<(i32, V128), V128>(&mut store, "add")?;
        memory.data_mut(&mut store)[END as usize - 16..].fill(1);
        let sum = add.call(&mut store, (END as i32 - 16, v128(1)))?;
        assert_eq!(sum.as_u128(), u128::from_le_bytes([1; 16]) + 1);
        let error = add.call(&mut store, (END as i32 - 15, v128(1))).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::MemoryOutOfBounds));
    }
    Ok(())
}

#[test]
fn shuffles_and_swizzles_of_all_kinds() -> Result<()> {
    let mut numbers = Numbers(1);
    let mut masks: Vec<[u8; 16]> = Vec::new();
    // Of pieces of each size, from one operand and from both; halves kept; rotations; and anything.
    for round in 0..150u32 {
        let size = 1 << (round % 4);
        let count = 16 / size;
        let (first, last) = [(0, count), (count, 2 * count), (0, 2 * count)][round as usize % 3];
        let mut mask = [0; 16];
        for piece in mask.chunks_exact_mut(size as usize) {
            let number = first + numbers.next() as u8 % (last - first);
            piece.iter_mut().zip(number * size..).for_each(|(lane, from)| *lane = from);
        }
        match round % 5 {
            0 => mask[..8].copy_from_slice(&[0, 1, 2, 3, 4, 5, 6, 7]),
            1 => mask[8..].copy_from_slice(&[24, 25, 26, 27, 28, 29, 30, 31]),
            2 => mask = core::array::from_fn(|lane| (lane as u8 + round as u8) % 32),
            _ => {}
        }
        masks.push(mask);
    }
    for size in [1, 2, 4, 8] {
        for start in [0, 8] {
            masks.push(core::array::from_fn(|lane| {
                let (piece, byte) = (lane as u8 / size, lane as u8 % size);
                start + piece / 2 * size + byte + piece % 2 * 16
            }));
        }
    }
    let mut text = String::from(
        "(module (func (export \"swizzle\") (param v128 v128) (result v128)
            (i8x16.swizzle (local.get 0) (local.get 1)))",
    );
    for (number, mask) in masks.iter().enumerate() {
        let lanes = mask.map(|lane| lane.to_string()).join(" ");
        text += &format!(
            r#"(func (export "{number}") (param v128 v128) (result v128)
                (i8x16.shuffle {lanes} (local.get 0) (local.get 1)))
            (func (export "{number}_same") (param v128) (result v128)
                (i8x16.shuffle {lanes} (local.get 0) (local.get 0)))"#
        );
    }
    text.push(')');
    for (config, engine) in engines() {
        let (mut store, instance) = instance(&engine, &text);
        for (number, mask) in masks.iter().enumerate() {
            let (low, high) = (numbers.bytes(), numbers.bytes());
            let vector = |bytes| v128(u128::from_le_bytes(bytes));
            let shuffled = |high: [u8; 16]| vector(mask.map(|lane| [low, high].concat()[usize::from(lane)]));
            let name = number.to_string();
            let shuffle = instance.get_typed_func::<(V128, V128), V128>(&mut store, &name)?;
            assert_eq!(
                shuffle.call(&mut store, (vector(low), vector(high)))?,
                shuffled(high),
                "{config}: {mask:?}"
            );
            let shuffle = instance.get_typed_func::<V128, V128>(&mut store, &format!("{name}_same"))?;
            assert_eq!(shuffle.call(&mut store, vector(low))?, shuffled(low), "{config}: {mask:?}");
        }
        let swizzle = instance.get_typed_func::<(V128, V128), V128>(&mut store, "swizzle")?;
        for round in 0..64 {
            let bytes = numbers.bytes();
            let indices = numbers.bytes().map(|index| if round % 2 == 0 { index % 20 } else { index });
            let expected = indices.map(|index| bytes.get(usize::from(index)).copied().unwrap_or(0));
            let arguments = [bytes, indices].map(|bytes| v128(u128::from_le_bytes(bytes)));
            let swizzled = swizzle.call(&mut store, arguments.into())?;
            assert_eq!(swizzled.as_u128().to_le_bytes(), expected, "{config}: {indices:?}");
        }
    }
    Ok(())
}

/// What is loaded once can be used as vectors of several kinds, several times, or not at all.
#[test]
fn loads_serve_all_their_users() -> Result<()> {
    const TEXT: &str = r#"(module (memory (export "memory") 1)
        (func (export "once") (param v128) (result v128) (i32x4.sub (local.get 0) (v128.load (i32.const 0))))
        (func (export "twice") (param v128) (result v128) (local $loaded v128)
            (i32x4.mul
                (i32x4.add (local.tee $loaded (v128.load (i32.const 0))) (local.get 0))
                (i32x4.add (local.get $loaded) (local.get $loaded))))
        (func (export "kinds") (param v128) (result v128) (local $loaded v128)
            (v128.xor
                (i32x4.add (local.tee $loaded (v128.load (i32.const 0))) (local.get 0))
                (i8x16.add (i16x8.add (local.get $loaded) (local.get 0)) (local.get $loaded))))
        (func (export "returned") (param v128) (result v128) (local $loaded v128)
            (local.set $loaded (v128.load (i32.const 0)))
            (v128.store (i32.const 16) (i64x2.add (local.get $loaded) (local.get 0)))
            (local.get $loaded))
        (func (export "joined") (param v128) (result v128)
            (i64x2.add
                (if (result v128) (v128.any_true (local.get 0))
                    (then (v128.load (i32.const 0)))
                    (else (f32x4.neg (v128.load (i32.const 16)))))
                (local.get 0)))
        (func (export "dropped") (param v128) (result v128) (drop (v128.load (i32.const 0))) (local.get 0)))"#;
    let lanes = |bits: u128| [0, 32, 64, 96].map(|at| (bits >> at) as u32);
    let vector = |lanes: [u32; 4]| lanes.iter().rev().fold(0, |bits, lane| bits << 32 | u128::from(*lane));
    let add = |a: u128, b: u128, bits: u32| {
        (0..128 / bits).fold(0, |sum, lane| {
            let mask = if bits == 64 { u128::from(u64::MAX) } else { (1 << bits) - 1 };
            let lane_of = |value: u128| value >> (lane * bits) & mask;
            sum | ((lane_of(a) + lane_of(b)) & mask) << (lane * bits)
        })
    };
    let mut numbers = Numbers(2);
    for (config, engine) in engines() {
        let (mut store, instance) = instance(&engine, TEXT);
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        for _ in 0..20 {
            let (loaded, given) =
                (u128::from_le_bytes(numbers.bytes()), u128::from_le_bytes(numbers.bytes()));
            let mut call = |name: &str, given: u128| -> Result<u128> {
                memory.write(&mut store, 0, &loaded.to_le_bytes())?;
                let function = instance.get_typed_func::<V128, V128>(&mut store, name)?;
                Ok(function.call(&mut store, v128(given))?.as_u128())
            };
            let (a, b) = (lanes(loaded), lanes(given));
            let by_lane =
                |f: &dyn Fn(u32, u32) -> u32| vector(core::array::from_fn(|lane| f(a[lane], b[lane])));
            assert_eq!(call("once", given)?, by_lane(&|a, b| b.wrapping_sub(a)), "{config}");
            assert_eq!(
                call("twice", given)?,
                by_lane(&|a, b| a.wrapping_add(b).wrapping_mul(a.wrapping_add(a))),
                "{config}"
            );
            let narrow = add(add(loaded, given, 16), loaded, 8);
            assert_eq!(call("kinds", given)?, add(loaded, given, 32) ^ narrow, "{config}");
            assert_eq!(call("returned", given)?, loaded, "{config}");
            assert_eq!(call("joined", given)?, add(loaded, given, 64), "{config}");
            assert_eq!(call("dropped", given)?, given, "{config}");
            let stored = memory.data(&store)[16..32].try_into().map(u128::from_le_bytes)?;
            assert_eq!(stored, add(loaded, given, 64), "{config}");
        }
    }
    Ok(())
}

/// Operators whose results are the same bits on every CPU: the sign and payload of a NaN that two operands lead to are not.
mod expressions {
    use super::Numbers;

    const UNARY: &[&str] = &[
        "v128.not i8x16.abs i8x16.neg i8x16.popcnt i16x8.abs i16x8.neg i32x4.abs i32x4.neg i64x2.abs i64x2.neg",
        "i16x8.extadd_pairwise_i8x16_s i16x8.extadd_pairwise_i8x16_u i32x4.extadd_pairwise_i16x8_s",
        "i32x4.extadd_pairwise_i16x8_u i16x8.extend_low_i8x16_s i16x8.extend_high_i8x16_s",
        "i16x8.extend_low_i8x16_u i16x8.extend_high_i8x16_u i32x4.extend_low_i16x8_s i32x4.extend_high_i16x8_s",
        "i32x4.extend_low_i16x8_u i32x4.extend_high_i16x8_u i64x2.extend_low_i32x4_s i64x2.extend_high_i32x4_s",
        "i64x2.extend_low_i32x4_u i64x2.extend_high_i32x4_u f32x4.ceil f32x4.floor f32x4.trunc f32x4.nearest",
        "f64x2.ceil f64x2.floor f64x2.trunc f64x2.nearest f32x4.abs f32x4.neg f32x4.sqrt f64x2.abs f64x2.neg",
        "f64x2.sqrt i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u i32x4.trunc_sat_f64x2_s_zero",
        "i32x4.trunc_sat_f64x2_u_zero f32x4.convert_i32x4_s f32x4.convert_i32x4_u f64x2.convert_low_i32x4_s",
        "f64x2.convert_low_i32x4_u f32x4.demote_f64x2_zero f64x2.promote_low_f32x4",
    ];
    const BINARY: &[&str] = &[
        "v128.and v128.andnot v128.or v128.xor i8x16.swizzle i8x16.eq i8x16.ne i8x16.lt_s i8x16.lt_u i8x16.gt_s",
        "i8x16.gt_u i8x16.le_s i8x16.le_u i8x16.ge_s i8x16.ge_u i16x8.eq i16x8.ne i16x8.lt_s i16x8.lt_u i16x8.gt_s",
        "i16x8.gt_u i16x8.le_s i16x8.le_u i16x8.ge_s i16x8.ge_u i32x4.eq i32x4.ne i32x4.lt_s i32x4.lt_u i32x4.gt_s",
        "i32x4.gt_u i32x4.le_s i32x4.le_u i32x4.ge_s i32x4.ge_u i64x2.eq i64x2.ne i64x2.lt_s i64x2.gt_s i64x2.le_s",
        "i64x2.ge_s f32x4.eq f32x4.ne f32x4.lt f32x4.gt f32x4.le f32x4.ge f64x2.eq f64x2.ne f64x2.lt f64x2.gt",
        "f64x2.le f64x2.ge i8x16.narrow_i16x8_s i8x16.narrow_i16x8_u i16x8.narrow_i32x4_s i16x8.narrow_i32x4_u",
        "i8x16.add i8x16.add_sat_s i8x16.add_sat_u i8x16.sub i8x16.sub_sat_s i8x16.sub_sat_u i8x16.min_s",
        "i8x16.min_u i8x16.max_s i8x16.max_u i8x16.avgr_u i16x8.q15mulr_sat_s i16x8.add i16x8.add_sat_s",
        "i16x8.add_sat_u i16x8.sub i16x8.sub_sat_s i16x8.sub_sat_u i16x8.mul i16x8.min_s i16x8.min_u i16x8.max_s",
        "i16x8.max_u i16x8.avgr_u i16x8.extmul_low_i8x16_s i16x8.extmul_high_i8x16_s i16x8.extmul_low_i8x16_u",
        "i16x8.extmul_high_i8x16_u i32x4.add i32x4.sub i32x4.mul i32x4.min_s i32x4.min_u i32x4.max_s i32x4.max_u",
        "i32x4.dot_i16x8_s i32x4.extmul_low_i16x8_s i32x4.extmul_high_i16x8_s i32x4.extmul_low_i16x8_u",
        "i32x4.extmul_high_i16x8_u i64x2.add i64x2.sub i64x2.mul i64x2.extmul_low_i32x4_s",
        "i64x2.extmul_high_i32x4_s i64x2.extmul_low_i32x4_u i64x2.extmul_high_i32x4_u f32x4.pmin f32x4.pmax",
        "f64x2.pmin f64x2.pmax",
    ];
    /// What NaNs may come of.
    const ARITHMETIC: &[&str] = &[
        "f32x4.add f32x4.sub f32x4.mul f32x4.div f32x4.min f32x4.max",
        "f64x2.add f64x2.sub f64x2.mul f64x2.div f64x2.min f64x2.max",
    ];
    const SHIFTS: &[&str] = &["shl", "shr_s", "shr_u"];
    const INTEGERS: &[&str] = &["i8x16", "i16x8", "i32x4", "i64x2"];
    const CONSTANTS: &[&str] = &[
        "i64x2 0 0",
        "i64x2 -1 -1",
        "i8x16 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15",
        "i16x8 1 1 1 1 1 1 1 1",
        "i32x4 0x80000000 0x7fffffff 0xffff8000 0x7fff",
        "i64x2 0x8000000000000000 0x7fffffffffffffff",
        "f32x4 1.5 -0.0 -2147483648.0 4294967295.0",
        "f64x2 -0.5 4294967296.5",
        "f32x4 nan inf -inf 0.5",
    ];

    /// Every operator on vectors alone, with something unaligned in memory as each of its operands.
    pub(super) fn of_unaligned_loads() -> Vec<String> {
        const LOAD: &str = "(v128.load offset=3 (i32.const 2))";
        const A: &str = "(local.get 0)";
        const B: &str = "(local.get 1)";
        let all = |lists: &[&'static str]| lists.iter().flat_map(|list| list.split(' ')).collect::<Vec<_>>();
        let mut expressions = Vec::new();
        for operator in all(UNARY) {
            expressions.push(format!("({operator} {LOAD})"));
        }
        for operator in all(BINARY).into_iter().chain(all(ARITHMETIC)) {
            expressions.push(format!("({operator} {LOAD} {A})"));
            expressions.push(format!("({operator} {A} {LOAD})"));
        }
        for operands in [[LOAD, A, B], [A, LOAD, B], [A, B, LOAD]] {
            expressions.push(format!("(v128.bitselect {})", operands.join(" ")));
        }
        expressions
    }

    fn any<'a>(numbers: &mut Numbers, lists: &[&'a str]) -> &'a str {
        let all: Vec<&str> = lists.iter().flat_map(|list| list.split(' ')).collect();
        all[numbers.next() as usize % all.len()]
    }

    /// An `i32`.
    fn scalar(numbers: &mut Numbers, depth: u32) -> String {
        let integers = any(numbers, INTEGERS);
        match numbers.next() % 5 {
            0 => format!("(v128.any_true {})", vector(numbers, depth)),
            1 => format!("({integers}.all_true {})", vector(numbers, depth)),
            2 => format!("({integers}.bitmask {})", vector(numbers, depth)),
            3 => {
                let lanes = ["i8x16.extract_lane_s 13", "i16x8.extract_lane_u 5", "i32x4.extract_lane 2"];
                format!("({} {})", lanes[numbers.next() as usize % 3], vector(numbers, depth))
            }
            _ => format!("(i32.const {})", numbers.next() as i32 >> (numbers.next() % 32)),
        }
    }

    /// A `v128`, of three parameters and what is in memory.
    pub(super) fn vector(numbers: &mut Numbers, depth: u32) -> String {
        let Some(depth) = depth.checked_sub(1) else {
            return match numbers.next() % 8 {
                0..4 => format!("(local.get {})", numbers.next() % 3),
                4 => format!("(v128.const {})", CONSTANTS[numbers.next() as usize % CONSTANTS.len()]),
                5 => format!("(v128.load offset={} (i32.const 0))", numbers.next() % 32),
                6 => {
                    let loads =
                        ["8x8_s", "8x8_u", "16x4_s", "32x2_u", "8_splat", "16_splat", "32_zero", "64_zero"];
                    let load = loads[numbers.next() as usize % loads.len()];
                    format!("(v128.load{load} offset={} (i32.const 0))", numbers.next() % 32)
                }
                _ => {
                    let splats = ["i8x16.splat", "i16x8.splat", "i32x4.splat"];
                    let splat = splats[numbers.next() as usize % 3];
                    format!("({splat} (i32.const {}))", numbers.next() as i32)
                }
            };
        };
        match numbers.next() % 16 {
            0..4 => format!("({} {})", any(numbers, UNARY), vector(numbers, depth)),
            4..11 => {
                let operator = any(numbers, BINARY);
                format!("({operator} {} {})", vector(numbers, depth), vector(numbers, depth))
            }
            11 => {
                let (lanes, shift) = (any(numbers, INTEGERS), any(numbers, SHIFTS));
                format!("({lanes}.{shift} {} {})", vector(numbers, depth), scalar(numbers, depth))
            }
            12 => {
                let [a, b, c] = core::array::from_fn(|_| vector(numbers, depth));
                format!("(v128.bitselect {a} {b} {c})")
            }
            13 => {
                let operators = ["i8x16.replace_lane 9", "i16x8.replace_lane 6", "i32x4.replace_lane 1"];
                let operator = operators[numbers.next() as usize % 3];
                format!("({operator} {} {})", vector(numbers, depth), scalar(numbers, depth))
            }
            14 => {
                let [a, b] = core::array::from_fn(|_| vector(numbers, depth));
                format!("(select {a} {b} {})", scalar(numbers, depth))
            }
            _ => {
                let lanes: String = (0..16).map(|_| format!("{} ", numbers.next() % 32)).collect();
                format!("(i8x16.shuffle {lanes} {} {})", vector(numbers, depth), vector(numbers, depth))
            }
        }
    }
}

/// Calls functions whose bodies are `expressions`, of three vectors and a memory with `data`, compiled in every way; the results
/// must be the same.
fn same_on_every_cpu(expressions: &[String], data: &[u8], inputs: &[[V128; 3]]) -> Result<()> {
    let data: String = data.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let mut text = format!("(module (memory 1) (data (i32.const 0) \"{data}\")");
    for (number, expression) in expressions.iter().enumerate() {
        text += &format!("(func (export \"{number}\") (param v128 v128 v128) (result v128) {expression})");
    }
    text.push(')');
    let mut engines = engines();
    engines.push(("v2", Engine::new(Config::new().target_cpu(CpuFeatures::X86_64_V2))?));
    let mut expected = Vec::new();
    for (name, engine) in engines {
        let (mut store, instance) = instance(&engine, &text);
        for (number, expression) in expressions.iter().enumerate() {
            let function =
                instance.get_typed_func::<(V128, V128, V128), V128>(&mut store, &number.to_string())?;
            for (at, &[a, b, c]) in inputs.iter().enumerate() {
                let what = || format!("{name}: {expression} of {:?}", inputs[at]);
                let result = function.call(&mut store, (a, b, c)).with_context(what)?;
                // The first engine's results are those that the others' are compared with.
                match expected.get(number * inputs.len() + at) {
                    Some(expected) => assert_eq!(result, *expected, "{}", what()),
                    None => expected.push(result),
                }
            }
        }
    }
    Ok(())
}

/// Instructions are selected for combinations of operators, and differently for every CPU and level of optimisation.
#[test]
fn expressions_have_the_same_value_on_every_cpu() -> Result<()> {
    let mut numbers = Numbers(3);
    let data: Vec<u8> = (0..64).map(|_| numbers.next() as u8).collect();
    let expressions: Vec<String> =
        (0..150).map(|number| expressions::vector(&mut numbers, 1 + number % 4)).collect();
    let inputs: Vec<[V128; 3]> = (0..6)
        .map(|number| {
            core::array::from_fn(|_| {
                let bytes = numbers.bytes();
                let floats = bytes.map(|byte| f32::from(byte as i8) * 0.75).map(f32::to_bits);
                match number % 3 {
                    0 => v128(u128::from_le_bytes(bytes)),
                    1 => v128(floats[..4].iter().fold(0, |bits, lane| bits << 32 | u128::from(*lane))),
                    // Many lanes that are equal, zero, or the least and the greatest there are.
                    _ => {
                        let extreme = |byte| [0, 0xff, 0x80, 0x7f][usize::from(byte % 4)];
                        v128(u128::from_le_bytes(bytes.map(extreme)))
                    }
                }
            })
        })
        .collect();
    same_on_every_cpu(&expressions, &data, &inputs)
}

/// Instructions of SSE want operands in memory to be aligned, those of AVX do not.
#[test]
fn operands_in_memory_need_not_be_aligned() -> Result<()> {
    let mut numbers = Numbers(4);
    // Small positive floats, and no NaN comes of them.
    let mut bytes = || numbers.bytes().map(|byte| byte % 64 + 1);
    let data: Vec<u8> = (0..4).flat_map(|_| bytes()).collect();
    let inputs = [core::array::from_fn(|_| v128(u128::from_le_bytes(bytes())))];
    same_on_every_cpu(&expressions::of_unaligned_loads(), &data, &inputs)
}
