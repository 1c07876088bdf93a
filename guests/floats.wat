;; Floating point through every kind of call: host to wasm, wasm to wasm, wasm to host.
(module
  (import "host" "mix" (func $mix (param f32 f64 i32) (result f64)))
  (func $half (param f64) (result f64) (f64.mul (local.get 0) (f64.const 0.5)))
  (func (export "run") (param f32 f64) (result f64)
    (f64.add
      (call $half (local.get 1))
      (call $mix (local.get 0) (local.get 1) (i32.const 2))))
  (func (export "round") (param f64) (result f64 f64 f64 f64)
    (f64.ceil (local.get 0)) (f64.floor (local.get 0)) (f64.trunc (local.get 0)) (f64.nearest (local.get 0))))
