;; Traps before anyone has called it.
(module $test_start
  (memory 1)
  (func $start unreachable)
  (start $start)
  (func (export "run")))
