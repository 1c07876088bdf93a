;; Grows its memory and looks at what it holds.
(module
  (memory (export "memory") 1 16)
  (data (i32.const 8) "data at eight")

  (func (export "size") (result i32) (memory.size))
  (func (export "grow") (param $pages i32) (result i32)
    (memory.grow (local.get $pages)))
  (func (export "load") (param $address i32) (result i32)
    (i32.load8_u (local.get $address)))
  (func (export "store") (param $address i32) (param $value i32)
    (i32.store8 (local.get $address) (local.get $value)))

  ;; Sum of all bytes.
  (func (export "sum") (result i64)
    (local $address i32) (local $end i32) (local $sum i64)
    (local.set $end (i32.shl (memory.size) (i32.const 16)))
    (loop $next
      (local.set $sum (i64.add (local.get $sum) (i64.load8_u (local.get $address))))
      (local.set $address (i32.add (local.get $address) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $address) (local.get $end))))
    (local.get $sum))

  ;; Copies its second half over its first.
  (func (export "fold")
    (local $half i32)
    (local.set $half (i32.shl (memory.size) (i32.const 15)))
    (memory.copy (i32.const 0) (local.get $half) (local.get $half))))
