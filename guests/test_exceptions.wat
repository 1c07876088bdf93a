;; Exceptions that leave frames of wasm, of the host, of both in turns.
(module
  (import "" "host" (func $host (param i32)))
  (tag $tag (export "tag") (param i32))
  (tag $other)

  ;; Throws its argument from so many frames deep, of which every second has a handler for something else.
  (func $throw (export "throw") (param $value i32) (param $depth i32)
    (if (i32.eqz (local.get $depth)) (then (throw $tag (local.get $value))))
    (if (i32.and (local.get $depth) (i32.const 1))
      (then
        (block $none
          (try_table (catch $other $none) (call $throw (local.get $value) (i32.sub (local.get $depth) (i32.const 1)))))
        (unreachable))
      (else (call $throw (local.get $value) (i32.sub (local.get $depth) (i32.const 1)))))
    (unreachable))

  ;; Catches so many of them, and returns the sum of what was thrown: 1 to the number.
  (func (export "catch") (param $rounds i32) (param $depth i32) (result i64)
    (local $sum i64) (local $float f64)
    (local.set $float (f64.const 0.5))
    (loop $next
      (block $caught (result i32)
        (try_table (catch $tag $caught) (call $throw (local.get $rounds) (local.get $depth)))
        (unreachable))
      (local.set $sum (i64.add (i64.extend_i32_u) (local.get $sum)))
      (local.set $float (f64.mul (local.get $float) (f64.const -1)))
      (br_if $next (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (if (f64.ne (f64.abs (local.get $float)) (f64.const 0.5)) (then (unreachable)))
    (local.get $sum))

  ;; Calls the host, which calls this with one less, until it throws or returns at 0.
  (func (export "turn") (param $left i32)
    (if (local.get $left)
      (then (call $host (i32.sub (local.get $left) (i32.const 1))))
      (else (throw $tag (i32.const 4711)))))
  (func (export "catch_turns") (param $left i32) (result i32)
    (block $caught (result i32)
      (try_table (catch $tag $caught) (call $host (local.get $left)))
      (i32.const -1)))
)
