;; Functions that do not end, or take very long, in ways that differ in who would have to notice that they are to end.
(module $test_interrupt
  (import "host" "call" (func $host))
  (memory (export "memory") 1 65536)
  (table $table (export "table") 16 funcref)
  (table $other 16 funcref)
  (data $data "something")
  (tag $tag)
  (elem $functions func $spin $descend $return)

  (func $return (export "return"))
  (func $spin (export "spin") (loop $again (br $again)))
  ;; Nearly all of the time is spent in the prologue and epilogue of a function.
  (func $leaf (export "leaf") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))
  (func (export "spin_calling") (local i32)
    (loop $again (local.set 0 (call $leaf (local.get 0))) (br $again)))
  (func $descend (export "spin_deep") (param i32)
    (if (local.get 0)
      (then (call $descend (i32.sub (local.get 0) (i32.const 1))))
      (else (loop $again (br $again)))))
  ;; Nearly all of the time is spent in the host.
  (func (export "spin_in_host") (loop $again (call $host) (br $again)))
  (func (export "call_host") (call $host))

  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "grow_table") (param i32) (result i32) (table.grow $table (ref.null func) (local.get 0)))
  (func (export "grow_other") (param i32) (result i32) (table.grow $other (ref.func $spin) (local.get 0)))

  ;; One instruction each, on as much as there is.
  (func $bytes (result i32) (i32.mul (memory.size) (i32.const 65536)))
  (func (export "fill") (memory.fill (i32.const 0) (i32.const 0xa5) (call $bytes)))
  (func (export "copy_up")
    (memory.copy (i32.const 65536) (i32.const 0) (i32.sub (call $bytes) (i32.const 65536))))
  (func (export "copy_down")
    (memory.copy (i32.const 0) (i32.const 65536) (i32.sub (call $bytes) (i32.const 65536))))

  ;; Instructions one after the other, for ever.
  (func (export "fills") (loop $again (memory.fill (i32.const 0) (i32.const 1) (call $bytes)) (br $again)))
  (func (export "copies")
    (loop $again (memory.copy (i32.const 0) (i32.const 1) (i32.sub (call $bytes) (i32.const 1))) (br $again)))
  (func (export "inits")
    (loop $again (memory.init $data (i32.const 0) (i32.const 0) (i32.const 9)) (br $again)))
  (func (export "small_fills") (loop $again (memory.fill (i32.const 0) (i32.const 1) (i32.const 100)) (br $again)))
  (func (export "grows_by_nothing") (loop $again (drop (memory.grow (i32.const 0))) (br $again)))
  (func (export "table_fills")
    (loop $again (table.fill $table (i32.const 0) (ref.func $spin) (table.size $table)) (br $again)))
  (func (export "table_copies")
    (loop $again
      (table.copy $table $table (i32.const 1) (i32.const 0) (i32.sub (table.size $table) (i32.const 1)))
      (br $again)))
  (func (export "table_inits")
    (loop $again (table.init $table $functions (i32.const 0) (i32.const 0) (i32.const 3)) (br $again)))
  (func (export "table_grows_by_nothing")
    (loop $again (drop (table.grow $table (ref.null func) (i32.const 0))) (br $again)))
  ;; Nearly all of the time is spent in looking for the handler.
  (func $throw (param $depth i32)
    (if (local.get $depth)
      (then (call $throw (i32.sub (local.get $depth) (i32.const 1))))
      (else (throw $tag))))
  (func (export "throws")
    (loop $again
      (block $caught (try_table (catch $tag $caught) (call $throw (i32.const 100))))
      (br $again)))
)
