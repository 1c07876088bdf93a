;; A memory that nobody else sees, with a small maximum: it reserves no more than that, and its bounds are checked.
(module $test_small
  (memory 1 3)
  (data (i32.const 65533) "end")
  (func (export "grow") (param $pages i32) (result i32) (memory.grow (local.get $pages)))
  (func (export "load") (param $address i32) (result i32) (i32.load8_u (local.get $address)))
  (func (export "store") (param $address i32) (param $value i32)
    (i32.store8 (local.get $address) (local.get $value))))
