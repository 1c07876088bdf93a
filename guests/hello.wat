;; The example every page starts with: calls the host's `hello` with 3.
;; `wasm_run hello.cwasm` finds the only export without parameters and calls it.
(module
  (import "host" "hello" (func $hello (param i32)))
  (func (export "run")
    (call $hello (i32.const 3))))
