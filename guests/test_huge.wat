;; Wants all the memory that a module can have: 4 GiB.
(module $test_huge
  (memory (export "memory") 65536)
  (func (export "run")))
