;; Takes as much as it gets.
(module $test_greedy
  (memory (export "memory") 0)
  (table $references (export "table") 0 funcref)
  (func (export "grow_memory") (param $pages i32) (result i32) (memory.grow (local.get $pages)))
  (func (export "grow_table") (param $elements i32) (result i32)
    (table.grow $references (ref.null func) (local.get $elements)))
  ;; Takes memory until there is none, and never returns.
  (func (export "take_all")
    (loop $large (br_if $large (i32.ge_s (memory.grow (i32.const 64)) (i32.const 0))))
    (loop $small (br_if $small (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0))))
    (loop $for_ever (br $for_ever)))
  ;; The number of pages that it has got, each of which it writes to.
  (func (export "touch") (result i32)
    (local $page i32)
    (loop $next
      (if (i32.lt_u (local.get $page) (memory.size))
        (then
          (i32.store (i32.shl (local.get $page) (i32.const 16)) (local.get $page))
          (local.set $page (i32.add (local.get $page) (i32.const 1)))
          (br $next))))
    (local.get $page)))
