;; Exceptions as they were before WebAssembly 3.0: try, catch, catch_all, delegate, rethrow. Compilers made these until lately, and the
;; official test-suite no longer has them.

(module $other
  (tag $shared (export "shared") (param i32))
  (func (export "throw") (param i32) (throw $shared (local.get 0))))
(register "other")

(module
  (tag $shared (import "other" "shared") (param i32))
  (func $throw_shared (import "other" "throw") (param i32))
  (tag $int (param i32))
  (tag $none)
  (tag $many (param i32 i64 f32 f64))

  ;; 0 throws nothing, 1 an $int, 2 a $none, 3 a $shared from the other instance, 4 a trap.
  (func $act (param i32)
    (if (i32.eq (local.get 0) (i32.const 1)) (then (throw $int (i32.const 10))))
    (if (i32.eq (local.get 0) (i32.const 2)) (then (throw $none)))
    (if (i32.eq (local.get 0) (i32.const 3)) (then (call $throw_shared (i32.const 30))))
    (if (i32.eq (local.get 0) (i32.const 4)) (then (unreachable))))

  (func (export "which") (param i32) (result i32)
    try (result i32)
      (call $act (local.get 0)) (i32.const 1)
    catch $int
    catch $shared
    catch $none (i32.const 20)
    end)

  (func (export "which_or_all") (param i32) (result i32)
    try (result i32)
      (call $act (local.get 0)) (i32.const 1)
    catch $int
    catch_all (i32.const -1)
    end)

  (func (export "fields") (param i32 i64 f32 f64) (result f64 f32 i64 i32)
    (local i32 i64 f32 f64)
    try
      (throw $many (local.get 0) (local.get 1) (local.get 2) (local.get 3))
    catch $many (local.set 7) (local.set 6) (local.set 5) (local.set 4)
    end
    (local.get 7) (local.get 6) (local.get 5) (local.get 4))

  ;; What is on the stack below, and a parameter of the block.
  (func (export "stack") (param i32) (result i32)
    (i32.const 1000)
    (i32.const 5)
    try (param i32) (result i32)
      (call $act (local.get 0))
    catch $int (i32.const 1) (i32.add)
    end
    (i32.add))

  (func (export "locals") (param $at i32) (result i32)
    (local $i i32) (local $sum i32)
    try
      (loop $next
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (local.set $sum (i32.add (local.get $sum) (local.get $i)))
        (if (i32.eq (local.get $i) (local.get $at)) (then (call $act (i32.const 2))))
        (br_if $next (i32.lt_u (local.get $i) (i32.const 100))))
    catch $none (local.set $sum (i32.add (local.get $sum) (i32.const 1000000)))
    end
    (local.get $sum))

  ;; An exception in a handler does not come to the same try.
  (func (export "in_handler") (param i32) (result i32)
    try (result i32)
      try (result i32)
        (call $act (i32.const 1)) (i32.const 1)
      catch $int (drop) (call $act (local.get 0)) (i32.const 2)
      catch $none (i32.const 3)
      end
    catch $int
    catch $none (i32.const 4)
    end)

  (func (export "rethrow") (param i32) (result i32)
    try (result i32)
      try (result i32)
        (call $act (local.get 0)) (i32.const 1)
      catch $int (drop) (rethrow 0)
      catch_all (rethrow 0)
      end
    catch $int (i32.const 1) (i32.add)
    catch_all (i32.const 9)
    end)

  ;; The outer exception, from inside of the handler of the inner.
  (func (export "rethrow_outer") (result i32)
    try (result i32)
      try (result i32)
        (throw $int (i32.const 5))
      catch $int
        try (param i32) (result i32)
          (drop) (throw $none)
        catch $none (rethrow 1)
        end
      end
    catch $none (i32.const 77)
    catch $int (i32.const 100) (i32.add)
    end)

  (func (export "rethrow_in_block") (param i32) (result i32)
    try (result i32)
      try (result i32)
        (throw $int (i32.const 5))
      catch_all
        (block $skip (br_if $skip (local.get 0)) (loop (rethrow 2)))
        (i32.const 6)
      end
    catch $int (i32.const 200) (i32.add)
    end)

  ;; What was caught stays what it was while others are thrown.
  (func (export "rethrow_later") (result i32)
    try (result i32)
      try (result i32)
        (throw $int (i32.const 5))
      catch $int
        (drop)
        try (throw $int (i32.const 6)) catch $int (drop) end
        try (throw $many (i32.const 1) (i64.const 2) (f32.const 3) (f64.const 4)) catch_all end
        (rethrow 0)
      end
    catch $int
    end)

  (func (export "delegate") (param i32) (result i32)
    try $outer (result i32)
      try (result i32)
        try (result i32)
          (call $act (local.get 0)) (i32.const 1)
        delegate $outer
      catch $int (drop) (i32.const -1)
      catch_all (i32.const -2)
      end
    catch $int
    catch_all (i32.const 3)
    end)

  ;; To the caller, past all.
  (func $delegate_out (param i32) (result i32)
    try (result i32)
      try (result i32)
        (call $act (local.get 0)) (i32.const 1)
      delegate 1
    catch_all (i32.const -1)
    end)
  (func (export "delegate_out") (param i32) (result i32)
    try (result i32)
      (call $delegate_out (local.get 0))
    catch $int
    end)

  ;; To the block around, which is no try: the handlers around that block.
  (func (export "delegate_to_block") (param i32) (result i32)
    try (result i32)
      (block $here (result i32)
        try (result i32)
          try (result i32) (call $act (local.get 0)) (i32.const 1) delegate $here
        catch_all (i32.const -1)
        end)
    catch $int
    end)

  ;; To a try in whose handler it stands: the handlers around that.
  (func (export "delegate_from_handler") (result i32)
    try (result i32)
      try $in_handler (result i32)
        (throw $none)
      catch $none try (result i32) (throw $int (i32.const 8)) delegate $in_handler
      catch $int (drop) (i32.const -1)
      end
    catch $int
    end)

  ;; Both generations in one function.
  (func (export "mixed") (param i32) (result i32)
    (block $caught (result i32)
      (try_table (result i32) (catch $int $caught)
        try (result i32)
          (call $act (local.get 0)) (i32.const 1)
        catch $none (call $act (i32.const 1)) (i32.const 2)
        end)))

  (func (export "without_handlers") (param i32) (result i32)
    try (result i32) (call $act (local.get 0)) (i32.const 4) end)

  (func (export "unreachable_try") (result i32)
    (block $out (result i32)
      (br $out (i32.const 1))
      try (result i32)
        (throw $int (i32.const 2))
      catch $int
      catch_all try  delegate 0 (rethrow 0)
      end
      (drop)
      ;; Counted, though it is not reached either.
      try (result i32) (i32.const 3) catch $int end)
    try (param i32) (result i32)
      (drop) (throw $int (i32.const 40))
    catch $int (i32.const 2) (i32.add)
    end)

  (func (export "nothing_is_called") (result i32)
    try (result i32) (i32.const 5) catch $int catch_all (i32.const 6) end)

  (func (export "branch_out") (param i32) (result i32)
    (block $out (result i32)
      try (result i32)
        (br_if $out (i32.const 1) (local.get 0)) (drop) (throw $int (i32.const 2))
      catch $int (drop) (br $out (i32.const 3))
      end)))

(assert_return (invoke "which" (i32.const 0)) (i32.const 1))
(assert_return (invoke "which" (i32.const 1)) (i32.const 10))
(assert_return (invoke "which" (i32.const 2)) (i32.const 20))
(assert_return (invoke "which" (i32.const 3)) (i32.const 30))
(assert_trap (invoke "which" (i32.const 4)) "unreachable")
(assert_return (invoke "which_or_all" (i32.const 1)) (i32.const 10))
(assert_return (invoke "which_or_all" (i32.const 2)) (i32.const -1))
(assert_return (invoke "which_or_all" (i32.const 3)) (i32.const -1))
(assert_trap (invoke "which_or_all" (i32.const 4)) "unreachable")
(assert_return (invoke "fields" (i32.const 1) (i64.const 2) (f32.const 3) (f64.const 4))
  (f64.const 4) (f32.const 3) (i64.const 2) (i32.const 1))
(assert_return (invoke "stack" (i32.const 0)) (i32.const 1005))
(assert_return (invoke "stack" (i32.const 1)) (i32.const 1011))
(assert_exception (invoke "stack" (i32.const 2)))
(assert_return (invoke "locals" (i32.const 0)) (i32.const 5050))
(assert_return (invoke "locals" (i32.const 10)) (i32.const 1000055))
(assert_return (invoke "in_handler" (i32.const 0)) (i32.const 2))
(assert_return (invoke "in_handler" (i32.const 1)) (i32.const 10))
(assert_return (invoke "in_handler" (i32.const 2)) (i32.const 4))
(assert_exception (invoke "in_handler" (i32.const 3)))
(assert_return (invoke "rethrow" (i32.const 0)) (i32.const 1))
(assert_return (invoke "rethrow" (i32.const 1)) (i32.const 11))
(assert_return (invoke "rethrow" (i32.const 2)) (i32.const 9))
(assert_return (invoke "rethrow" (i32.const 3)) (i32.const 9))
(assert_return (invoke "rethrow_outer") (i32.const 105))
(assert_return (invoke "rethrow_in_block" (i32.const 0)) (i32.const 205))
(assert_return (invoke "rethrow_in_block" (i32.const 1)) (i32.const 6))
(assert_return (invoke "rethrow_later") (i32.const 5))
(assert_return (invoke "delegate" (i32.const 0)) (i32.const 1))
(assert_return (invoke "delegate" (i32.const 1)) (i32.const 10))
(assert_return (invoke "delegate" (i32.const 2)) (i32.const 3))
(assert_return (invoke "delegate_out" (i32.const 0)) (i32.const 1))
(assert_return (invoke "delegate_out" (i32.const 1)) (i32.const 10))
(assert_exception (invoke "delegate_out" (i32.const 2)))
(assert_return (invoke "delegate_to_block" (i32.const 1)) (i32.const 10))
(assert_exception (invoke "delegate_to_block" (i32.const 2)))
(assert_return (invoke "delegate_from_handler") (i32.const 8))
(assert_return (invoke "mixed" (i32.const 0)) (i32.const 1))
(assert_return (invoke "mixed" (i32.const 1)) (i32.const 10))
(assert_return (invoke "mixed" (i32.const 2)) (i32.const 10))
(assert_exception (invoke "mixed" (i32.const 3)))
(assert_return (invoke "without_handlers" (i32.const 0)) (i32.const 4))
(assert_exception (invoke "without_handlers" (i32.const 1)))
(assert_return (invoke "unreachable_try") (i32.const 42))
(assert_return (invoke "nothing_is_called") (i32.const 5))
(assert_return (invoke "branch_out" (i32.const 0)) (i32.const 3))
(assert_return (invoke "branch_out" (i32.const 1)) (i32.const 1))

(assert_invalid (module (tag) (func try (rethrow 0) catch_all end)) "")
(assert_invalid (module (tag) (func try  catch_all (block (rethrow 0)) end)) "")
(assert_invalid (module (func try  catch 0 end)) "unknown tag")
(assert_invalid (module (tag) (func try (result i32) (i32.const 1) catch 0 end)) "type mismatch")
(assert_invalid (module (func try  delegate 7)) "unknown label")
(assert_invalid (module (func try (rethrow 9) catch_all end)) "unknown label")
