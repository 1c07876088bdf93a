;; Threads that race: what atomic accesses in any order may lead to, and what they may not. Each test has 200 rounds, in each of which
;; two threads meet and then touch a slot of 16 bytes that nobody touched before: the words x, y, r1 and r2.

;; Store buffering: of two that store and then look at what the other stores, one sees it.
(module $Mem (memory (export "memory") 1 1 shared))
(thread $T1 (shared (module $Mem))
  (register "m" $Mem)
  (module
    (memory (import "m" "memory") 1 1 shared)
    (func $meet (local $before i32)
      (local.set $before (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
      (if (i32.and (local.get $before) (i32.const 1))
        (then (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
        (else
          (loop $again
            (drop (memory.atomic.wait32
              (i32.const 0) (i32.add (local.get $before) (i32.const 1)) (i64.const -1)))
            (br_if $again
              (i32.eq (i32.atomic.load (i32.const 0)) (i32.add (local.get $before) (i32.const 1))))))))
    (func (export "run") (local $slot i32)
      (local.set $slot (i32.const 1024))
      (loop $next
        (call $meet)
        (i32.atomic.store (local.get $slot) (i32.const 1))
        (i32.store offset=8 (local.get $slot) (i32.atomic.load offset=4 (local.get $slot)))
        (local.set $slot (i32.add (local.get $slot) (i32.const 16)))
        (br_if $next (i32.lt_u (local.get $slot) (i32.const 4224))))))
  (assert_return (invoke "run")))
(thread $T2 (shared (module $Mem))
  (register "m" $Mem)
  (module
    (memory (import "m" "memory") 1 1 shared)
    (func $meet (local $before i32)
      (local.set $before (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
      (if (i32.and (local.get $before) (i32.const 1))
        (then (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
        (else
          (loop $again
            (drop (memory.atomic.wait32
              (i32.const 0) (i32.add (local.get $before) (i32.const 1)) (i64.const -1)))
            (br_if $again
              (i32.eq (i32.atomic.load (i32.const 0)) (i32.add (local.get $before) (i32.const 1))))))))
    (func (export "run") (local $slot i32)
      (local.set $slot (i32.const 1024))
      (loop $next
        (call $meet)
        (i32.atomic.store offset=4 (local.get $slot) (i32.const 1))
        (i32.store offset=12 (local.get $slot) (i32.atomic.load (local.get $slot)))
        (local.set $slot (i32.add (local.get $slot) (i32.const 16)))
        (br_if $next (i32.lt_u (local.get $slot) (i32.const 4224))))))
  (assert_return (invoke "run")))
(wait $T1)
(wait $T2)
(register "m" $Mem)
(module
  (memory (import "m" "memory") 1 1 shared)
  ;; How many rounds ended as they may not.
  (func (export "wrong") (result i32) (local $slot i32) (local $wrong i32)
    (local.set $slot (i32.const 1024))
    (loop $next
      (local.set $wrong (i32.add (local.get $wrong)
        (i32.eqz (i32.or (i32.load offset=8 (local.get $slot)) (i32.load offset=12 (local.get $slot))))))
      (local.set $slot (i32.add (local.get $slot) (i32.const 16)))
      (br_if $next (i32.lt_u (local.get $slot) (i32.const 4224))))
    (local.get $wrong))
  (func (export "rounds") (result i32) (i32.atomic.load (i32.const 0))))
(assert_return (invoke "rounds") (i32.const 400))
(assert_return (invoke "wrong") (i32.const 0))

;; Message passing: who sees the flag sees what was stored before it, by an ordinary store.
(module $Mem (memory (export "memory") 1 1 shared))
(thread $T1 (shared (module $Mem))
  (register "m" $Mem)
  (module
    (memory (import "m" "memory") 1 1 shared)
    (func (export "send") (local $slot i32)
      (local.set $slot (i32.const 1024))
      (loop $next
        (i32.store (local.get $slot) (i32.const 42))
        (i32.atomic.store offset=4 (local.get $slot) (i32.const 1))
        (drop (memory.atomic.notify offset=4 (local.get $slot) (i32.const -1)))
        (local.set $slot (i32.add (local.get $slot) (i32.const 16)))
        (br_if $next (i32.lt_u (local.get $slot) (i32.const 4224))))))
  (assert_return (invoke "send")))
(thread $T2 (shared (module $Mem))
  (register "m" $Mem)
  (module
    (memory (import "m" "memory") 1 1 shared)
    ;; How many of the messages are what was sent.
    (func (export "receive") (result i32) (local $slot i32) (local $right i32)
      (local.set $slot (i32.const 1024))
      (loop $next
        (loop $again
          (drop (memory.atomic.wait32 offset=4 (local.get $slot) (i32.const 0) (i64.const -1)))
          (br_if $again (i32.eqz (i32.atomic.load offset=4 (local.get $slot)))))
        (local.set $right (i32.add (local.get $right) (i32.eq (i32.load (local.get $slot)) (i32.const 42))))
        (local.set $slot (i32.add (local.get $slot) (i32.const 16)))
        (br_if $next (i32.lt_u (local.get $slot) (i32.const 4224))))
      (local.get $right)))
  (assert_return (invoke "receive") (i32.const 200)))
(wait $T1)
(wait $T2)

;; Load buffering: of two that load what the other stores afterwards, not both see it.
(module $Mem (memory (export "memory") 1 1 shared))
(thread $T1 (shared (module $Mem))
  (register "m" $Mem)
  (module
    (memory (import "m" "memory") 1 1 shared)
    (func (export "run") (result i32) (local $seen i32)
      (local.set $seen (i32.atomic.load (i32.const 4)))
      (i32.atomic.store (i32.const 0) (i32.const 1))
      (i32.atomic.store (i32.const 8) (local.get $seen))
      (local.get $seen)))
  (assert_return (invoke "run") (either (i32.const 0) (i32.const 1))))
(thread $T2 (shared (module $Mem))
  (register "m" $Mem)
  (module
    (memory (import "m" "memory") 1 1 shared)
    (func (export "run") (result i32) (local $seen i32)
      (local.set $seen (i32.atomic.load (i32.const 0)))
      (i32.atomic.store (i32.const 4) (i32.const 1))
      (i32.atomic.store (i32.const 12) (local.get $seen))
      (local.get $seen)))
  (assert_return (invoke "run") (either (i32.const 0) (i32.const 1))))
(wait $T1)
(wait $T2)
(register "m" $Mem)
(module
  (memory (import "m" "memory") 1 1 shared)
  (func (export "both") (result i32) (i32.and (i32.load (i32.const 8)) (i32.load (i32.const 12)))))
(assert_return (invoke "both") (i32.const 0))

;; A memory that is defined by one module is shared by whoever imports it; spectest has one, too.
(module
  (memory (import "spectest" "shared_memory") 1 2 shared)
  (func (export "wait") (param i32) (result i32)
    (memory.atomic.wait32 (local.get 0) (i32.const 0) (i64.const 1000)))
  (func (export "notify") (param i32) (result i32) (memory.atomic.notify (local.get 0) (i32.const 1)))
  (func (export "add") (result i32) (i32.atomic.rmw8.add_u (i32.const 1) (i32.const 255))))
(assert_return (invoke "wait" (i32.const 8)) (i32.const 2))
(assert_return (invoke "notify" (i32.const 8)) (i32.const 0))
(assert_return (invoke "add") (i32.const 0))
(assert_return (invoke "add") (i32.const 255))
(assert_return (invoke "wait" (i32.const 0)) (i32.const 1))
(assert_trap (invoke "wait" (i32.const 2)) "unaligned atomic")
(assert_trap (invoke "notify" (i32.const 65537)) "unaligned atomic")
(assert_trap (invoke "notify" (i32.const 65536)) "out of bounds memory access")
(assert_unlinkable
  (module (memory (import "spectest" "shared_memory") 1 2))
  "incompatible import type")
(assert_unlinkable
  (module (memory (import "spectest" "memory") 1 2 shared))
  "incompatible import type")
(assert_invalid (module (memory 1 shared)) "shared memory must have maximum")

;; Nobody can end a wait in a memory that is not shared. Notifying there wakes nobody.
(module
  (memory 1)
  (func (export "wait32") (memory.atomic.wait32 (i32.const 0) (i32.const 1) (i64.const 0)) (drop))
  (func (export "wait64") (memory.atomic.wait64 (i32.const 8) (i64.const 1) (i64.const -1)) (drop))
  (func (export "notify") (result i32) (memory.atomic.notify (i32.const 4) (i32.const -1))))
(assert_trap (invoke "wait32") "atomic wait on non-shared memory")
(assert_trap (invoke "wait64") "atomic wait on non-shared memory")
(assert_return (invoke "notify") (i32.const 0))
