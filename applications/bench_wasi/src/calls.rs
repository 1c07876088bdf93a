//! Calls, one kind after the other.

use crate::system::{WasiCtxBuilder, WasiP1Ctx, add_to_linker_sync, give_directory, println};
use wasm_engine::*;

/// How often each is measured; the least counts.
const RUNS: usize = 5;

/// Each function but `setup` makes a call as often as it is told to, and traps if that fails. Files: `f`, of 64 KiB, and `many/e0000` to `many/e0999`.
const GUEST: &str = r#"
    (module
        (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_pread" (func $fd_pread (param i32 i32 i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_readdir" (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "path_create_directory" (func $path_create_directory (param i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "path_filestat_get"
            (func $path_filestat_get (param i32 i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "path_open"
            (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (memory (export "memory") 4)
        (data (i32.const 0x100) "f")
        (data (i32.const 0x110) "many/e0000")
        (data (i32.const 0x120) "w")
        ;; An array of one part, whose length is set before it is used.
        (data (i32.const 0x80) "\00\00\01\00")
        (global $file (mut i32) (i32.const 0))
        (global $written (mut i32) (i32.const 0))
        (global $dir (mut i32) (i32.const 0))
        (func $ok (param i32) (if (local.get 0) (then unreachable)))
        (func $length (param i32) (i32.store (i32.const 0x84) (local.get 0)))
        (func $open (param $path i32) (param $len i32) (param $flags i32) (param $rights i64) (result i32)
            (call $ok (call $path_open (i32.const 3) (i32.const 1) (local.get $path) (local.get $len) (local.get $flags)
                (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 0x20)))
            (i32.load (i32.const 0x20)))
        (func (export "setup") (local $i i32) (local $digits i32)
            ;; Rights to read and to seek, and to write.
            (global.set $file (call $open (i32.const 0x100) (i32.const 1) (i32.const 1) (i64.const 0x66)))
            (call $length (i32.const 0x10000))
            (call $ok (call $fd_write (global.get $file) (i32.const 0x80) (i32.const 1) (i32.const 0x30)))
            (global.set $written (call $open (i32.const 0x120) (i32.const 1) (i32.const 1) (i64.const 0x66)))
            (call $ok (call $path_create_directory (i32.const 3) (i32.const 0x110) (i32.const 4)))
            (loop $next
                (i32.store8 (i32.const 0x117) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $i) (i32.const 100)) (i32.const 10))))
                (i32.store8 (i32.const 0x118) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $i) (i32.const 10)) (i32.const 10))))
                (i32.store8 (i32.const 0x119) (i32.add (i32.const 48) (i32.rem_u (local.get $i) (i32.const 10))))
                (call $ok (call $fd_close (call $open (i32.const 0x110) (i32.const 10) (i32.const 1) (i64.const 0x40))))
                (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))
            ;; To be listed.
            (global.set $dir (call $open (i32.const 0x110) (i32.const 4) (i32.const 2) (i64.const 0x4000))))
        (func (export "clock_time_get") (param $n i32)
            (loop $again
                (call $ok (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 0x20)))
                (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
        (func $random (param $n i32) (param $len i32)
            (loop $again
                (call $ok (call $random_get (i32.const 0x1000) (local.get $len)))
                (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
        (func (export "random_get, 8 bytes") (param i32) (call $random (local.get 0) (i32.const 8)))
        (func (export "random_get, 256 bytes") (param i32) (call $random (local.get 0) (i32.const 256)))
        (func $write (param $n i32) (param $len i32)
            (call $length (local.get $len))
            (call $ok (call $fd_seek (global.get $written) (i64.const 0) (i32.const 0) (i32.const 0x30)))
            (loop $again
                (call $ok (call $fd_write (global.get $written) (i32.const 0x80) (i32.const 1) (i32.const 0x30)))
                (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
        (func (export "fd_write, 1 byte") (param i32) (call $write (local.get 0) (i32.const 1)))
        (func (export "fd_write, 64 KiB") (param i32) (call $write (local.get 0) (i32.const 0x10000)))
        (func (export "fd_pread, 4 KiB") (param $n i32)
            (call $length (i32.const 0x1000))
            (loop $again
                (call $ok (call $fd_pread (global.get $file) (i32.const 0x80) (i32.const 1) (i64.const 0x2000) (i32.const 0x30)))
                (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
        (func (export "path_open and fd_close") (param $n i32)
            (loop $again
                (call $ok (call $fd_close (call $open (i32.const 0x100) (i32.const 1) (i32.const 0) (i64.const 0x2))))
                (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
        (func (export "path_filestat_get, two names") (param $n i32)
            (loop $again
                (call $ok (call $path_filestat_get (i32.const 3) (i32.const 0) (i32.const 0x110) (i32.const 10) (i32.const 0x200)))
                (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
        (func (export "fd_readdir, 1,000 entries") (param $n i32)
            (loop $again
                (call $ok (call $fd_readdir (global.get $dir) (i32.const 0x10000) (i32.const 0x10000) (i64.const 0) (i32.const 0x30)))
                ;; All of it: 24 bytes and five letters each.
                (if (i32.lt_u (i32.load (i32.const 0x30)) (i32.const 29000)) (then unreachable))
                (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    )
"#;

/// The calls, and how often each is made in a run.
const CALLS: &[(&str, i32)] = &[
    ("clock_time_get", 1000),
    ("random_get, 8 bytes", 1000),
    ("random_get, 256 bytes", 500),
    ("fd_write, 1 byte", 1000),
    ("fd_write, 64 KiB", 16),
    ("fd_pread, 4 KiB", 500),
    ("path_open and fd_close", 500),
    ("path_filestat_get, two names", 500),
    ("fd_readdir, 1,000 entries", 4),
];

/// The time stamp counter.
pub(crate) fn time_stamp() -> u64 {
    // SAFETY: every 64-bit x86 processor has RDTSC, and neither our kernel nor Linux (unless it is told to) restricts it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Prints a result.
pub(crate) fn show(what: &str, stamps: u64) {
    println!("{what:44} {stamps:>14}");
}

pub(crate) fn run() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut linker: Linker<WasiP1Ctx> = Linker::new(&engine);
    add_to_linker_sync(&mut linker, |ctx| ctx)?;
    let mut builder = WasiCtxBuilder::new();
    give_directory(&mut builder)?;
    let mut store = Store::new(&engine, builder.build_p1());
    let instance = linker.instantiate(&mut store, &module)?;
    instance.get_typed_func::<(), ()>(&mut store, "setup")?.call(&mut store, ())?;
    for (name, count) in CALLS {
        let function = instance.get_typed_func::<i32, ()>(&mut store, name)?;
        let mut least = u64::MAX;
        for _ in 0..RUNS {
            let start = time_stamp();
            function.call(&mut store, *count)?;
            least = least.min(time_stamp() - start);
        }
        show(name, least / *count as u64);
    }
    Ok(())
}
