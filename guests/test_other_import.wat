;; Needs `host.hello`, but takes it for a function of another type.
(module $test_other_import
  (import "host" "hello" (func $hello (param i64)))
  (func (export "run") (call $hello (i64.const 3))))
