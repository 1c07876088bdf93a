;; For the test suite `test_storm`: a function for each way in which a call ends.
(module
  ;; What the host does is said by a number: it returns, refuses, panics, waits, or asks for the end of its own task.
  (import "storm" "act" (func $act (param i32)))
  (memory 1)
  (table 1 funcref)
  (type $nothing (func))
  (func (export "returns") (call $act (i32.const 0)))
  (func (export "refused") (call $act (i32.const 1)))
  (func (export "panics") (call $act (i32.const 2)))
  (func (export "unreachable") unreachable)
  (func (export "out of bounds") (i32.store (i32.const -8) (i32.const 1)))
  (func (export "division by zero") (drop (i32.rem_u (i32.const 7) (i32.load (i32.const 0)))))
  (func (export "null reference") (call_indirect (type $nothing) (i32.const 0)))
  (func $overflow (export "stack overflow") (call $overflow))
  ;; These never return.
  (func (export "loops") (call $act (i32.const 0)) (loop $again (br $again)))
  (func (export "waits") (call $act (i32.const 3)))
  (func (export "gives up") (call $act (i32.const 4)) (loop $again (br $again))))
