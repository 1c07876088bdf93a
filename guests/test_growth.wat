;; A memory without a maximum, and one page at a time to see what is in it.
(module $test_growth
  (memory (export "memory") 0)
  (func (export "grow") (param $pages i32) (result i32) (memory.grow (local.get $pages)))
  (func (export "size") (result i32) (memory.size))
  ;; Writes its own number into each page from $first up to the end.
  (func (export "mark") (param $first i32)
    (loop $next
      (if (i32.lt_u (local.get $first) (memory.size))
        (then
          (i32.store (i32.shl (local.get $first) (i32.const 16)) (local.get $first))
          (local.set $first (i32.add (local.get $first) (i32.const 1)))
          (br $next)))))
  ;; How many pages have their own number in them and zeros at their end.
  (func (export "marked") (result i32)
    (local $page i32) (local $count i32) (local $start i32)
    (loop $next
      (if (i32.lt_u (local.get $page) (memory.size))
        (then
          (local.set $start (i32.shl (local.get $page) (i32.const 16)))
          (local.set $count (i32.add (local.get $count)
            (i32.and
              (i32.eq (i32.load (local.get $start)) (local.get $page))
              (i64.eqz (i64.load offset=65528 (local.get $start))))))
          (local.set $page (i32.add (local.get $page) (i32.const 1)))
          (br $next))))
    (local.get $count)))
