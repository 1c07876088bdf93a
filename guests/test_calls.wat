;; Wasm and host calling each other in turns.
(module $test_calls
  (import "test" "enter" (func $enter (param i32) (result i32)))
  (memory (export "memory") 1 1)

  ;; Says how deep it is, lets the host go on, and adds 1 to what that returns.
  (func $descend (export "descend") (param $depth i32) (result i32)
    (i32.store8 (local.get $depth) (i32.const 1))
    (i32.add (call $ask_host (local.get $depth)) (i32.const 1)))
  (func $ask_host (param $depth i32) (result i32)
    (call $enter (local.get $depth)))

  (func $trap (export "trap") (param $address i32)
    (i32.store8 (i32.add (local.get $address) (i32.const 65536)) (i32.const 1))))
