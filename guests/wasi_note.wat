;; A program for WASI: appends its second argument and a line feed to the file that its first argument names, in the first directory that it
;; is given, and has them brought to the disk. `wasm_run wasi_note.cwasm --dir /disk -- notes "a line"`. Ends with the error number of what fails.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_sync" (func $fd_sync (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 2)
  (data (i32.const 0x20) "\n")

  ;; 0: a result; 8: an array of two parts; 0x20: a line feed; 0x100: pointers to arguments; 0x10000: their bytes.
  (func $check (param $errno i32)
    (if (local.get $errno) (then (call $proc_exit (local.get $errno)))))

  (func $length (param $string i32) (result i32)
    (local $end i32)
    (local.set $end (local.get $string))
    (block $found
      (loop $next
        (br_if $found (i32.eqz (i32.load8_u (local.get $end))))
        (local.set $end (i32.add (local.get $end) (i32.const 1)))
        (br $next)))
    (i32.sub (local.get $end) (local.get $string)))

  (func (export "_start")
    (local $path i32) (local $text i32) (local $fd i32)
    (call $check (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (if (i32.or (i32.ne (i32.load (i32.const 0)) (i32.const 3)) (i32.gt_u (i32.load (i32.const 4)) (i32.const 0x10000)))
      (then (call $proc_exit (i32.const 1))))
    (call $check (call $args_get (i32.const 0x100) (i32.const 0x10000)))
    (local.set $path (i32.load (i32.const 0x104)))
    (local.set $text (i32.load (i32.const 0x108)))
    ;; Created if it is not there (1); rights to write and to sync (64 and 16); at the end (1).
    (call $check
      (call $path_open (i32.const 3) (i32.const 1) (local.get $path) (call $length (local.get $path))
        (i32.const 1) (i64.const 80) (i64.const 0) (i32.const 1) (i32.const 0)))
    (local.set $fd (i32.load (i32.const 0)))
    (i32.store (i32.const 8) (local.get $text))
    (i32.store (i32.const 12) (call $length (local.get $text)))
    (i32.store (i32.const 16) (i32.const 0x20))
    (i32.store (i32.const 20) (i32.const 1))
    (call $check (call $fd_write (local.get $fd) (i32.const 8) (i32.const 2) (i32.const 0)))
    (call $check (call $fd_sync (local.get $fd)))))
