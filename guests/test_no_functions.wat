;; Has nothing to run.
(module $test_no_functions
  (memory (export "memory") 1))
