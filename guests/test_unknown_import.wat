;; Needs something that wasm_run does not provide.
(module $test_unknown_import
  (import "host" "goodbye" (func $goodbye (param i32)))
  (func (export "run") (call $goodbye (i32.const 3))))
