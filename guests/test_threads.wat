;; For several tasks that share the memory: atomic counting, ping-pong, and a lock.
;;
;; The memory's words: 0 is whose turn it is. 4 is the lock: 0 is free, 1 is taken, 2 is taken and somebody may wait for it. 8
;; is what the lock protects.
(module $test_threads
  (memory (import "host" "memory") 1 16 shared)

  ;; Adds 1 to the word at $address, $times times.
  (func (export "count") (param $address i32) (param $times i32)
    (loop $next
      (drop (i32.atomic.rmw.add (local.get $address) (i32.const 1)))
      (local.set $times (i32.sub (local.get $times) (i32.const 1)))
      (br_if $next (local.get $times))))

  ;; Takes $rounds turns of a game for two, in which $me, 0 or 1, is the last bit of the turns that are its own.
  (func (export "play") (param $me i32) (param $rounds i32)
    (local $turn i32)
    (loop $next
      (loop $look
        (local.set $turn (i32.atomic.load (i32.const 0)))
        (if (i32.ne (i32.and (local.get $turn) (i32.const 1)) (local.get $me))
          (then
            (drop (memory.atomic.wait32 (i32.const 0) (local.get $turn) (i64.const -1)))
            (br $look))))
      (i32.atomic.store (i32.const 0) (i32.add (local.get $turn) (i32.const 1)))
      (drop (memory.atomic.notify (i32.const 0) (i32.const 1)))
      (local.set $rounds (i32.sub (local.get $rounds) (i32.const 1)))
      (br_if $next (local.get $rounds))))

  (func $lock
    (if (i32.atomic.rmw.cmpxchg (i32.const 4) (i32.const 0) (i32.const 1))
      (then
        (block $taken
          (loop $again
            (br_if $taken (i32.eqz (i32.atomic.rmw.xchg (i32.const 4) (i32.const 2))))
            (drop (memory.atomic.wait32 (i32.const 4) (i32.const 2) (i64.const -1)))
            (br $again))))))

  (func $unlock
    (if (i32.eq (i32.atomic.rmw.xchg (i32.const 4) (i32.const 0)) (i32.const 2))
      (then (drop (memory.atomic.notify (i32.const 4) (i32.const 1))))))

  ;; Adds 1 to the 64 bits at 8, $times times, by accesses that are not atomic, while it has the lock.
  (func (export "count_locked") (param $times i32)
    (loop $next
      (call $lock)
      (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (i64.const 1)))
      (call $unlock)
      (local.set $times (i32.sub (local.get $times) (i32.const 1)))
      (br_if $next (local.get $times))))

  (func (export "wait32") (param $address i32) (param $expected i32) (param $timeout i64) (result i32)
    (memory.atomic.wait32 (local.get $address) (local.get $expected) (local.get $timeout)))
  (func (export "wait64") (param $address i32) (param $expected i64) (param $timeout i64) (result i32)
    (memory.atomic.wait64 (local.get $address) (local.get $expected) (local.get $timeout)))
  (func (export "notify") (param $address i32) (param $count i32) (result i32)
    (memory.atomic.notify (local.get $address) (local.get $count)))

  (func (export "load") (param $address i32) (result i32) (i32.load (local.get $address)))
  (func (export "store") (param $address i32) (param $value i32)
    (i32.store (local.get $address) (local.get $value)))
  (func (export "size") (result i32) (memory.size))
  (func (export "grow") (param $pages i32) (result i32) (memory.grow (local.get $pages))))
