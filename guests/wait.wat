;; Waits, in a memory of its own, for a notification that nobody will ever send.
(module $wait
  (memory 1 1 shared)
  (func (export "run")
    (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))
  ;; The same, but not for ever.
  (func (export "run_for") (param $nanoseconds i64) (result i32)
    (memory.atomic.wait32 (i32.const 0) (i32.const 0) (local.get $nanoseconds))))
