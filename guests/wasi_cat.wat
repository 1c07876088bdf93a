;; A program for WASI: prints the files that its arguments name, in the first directory that it is given; without arguments, its
;; standard input. `wasm_run wasi_cat.cwasm --dir /tmp -- a b`. Ends with the error number of what cannot be opened or read.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 4)

  ;; 0: a result; 8: an array of one part; 0x100: pointers to arguments; 0x10000: their bytes; 0x20000: 64 KiB that are read and written.
  (func $check (param $errno i32)
    (if (local.get $errno) (then (call $proc_exit (local.get $errno)))))

  (func $copy (param $fd i32)
    (local $left i32)
    (loop $next
      (i32.store (i32.const 8) (i32.const 0x20000))
      (i32.store (i32.const 12) (i32.const 0x10000))
      (call $check (call $fd_read (local.get $fd) (i32.const 8) (i32.const 1) (i32.const 0)))
      (if (local.tee $left (i32.load (i32.const 0)))
        (then
          (loop $more
            (i32.store (i32.const 12) (local.get $left))
            (call $check (call $fd_write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 0)))
            (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.load (i32.const 0))))
            (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.load (i32.const 0))))))
          (br $next)))))

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
    (local $number i32) (local $count i32) (local $path i32)
    (call $check (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (local.set $count (i32.load (i32.const 0)))
    ;; More than there is room for.
    (if (i32.or (i32.gt_u (local.get $count) (i32.const 1000)) (i32.gt_u (i32.load (i32.const 4)) (i32.const 0x10000)))
      (then (call $proc_exit (i32.const 1))))
    (call $check (call $args_get (i32.const 0x100) (i32.const 0x10000)))
    (if (i32.lt_u (local.get $count) (i32.const 2)) (then (call $copy (i32.const 0)) (return)))
    (local.set $number (i32.const 1))
    (loop $next
      (local.set $path (i32.load offset=0x100 (i32.mul (local.get $number) (i32.const 4))))
      (call $check
        (call $path_open (i32.const 3) (i32.const 1) (local.get $path) (call $length (local.get $path))
          (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 0)))
      (call $copy (i32.load (i32.const 0)))
      (local.set $number (i32.add (local.get $number) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $number) (local.get $count))))))
