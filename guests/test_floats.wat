;; Keeps many floating-point registers in use for a long time: whoever is interrupted and does not get them back as they
;; were computes something else.
(module $test_floats
  ;; Eight chaotic sequences at once, mixed into one number that shows every bit of each.
  (func (export "run") (param $seed f64) (param $rounds i32) (result i64)
    (local $a f64) (local $b f64) (local $c f64) (local $d f64)
    (local $p f32) (local $q f32) (local $r f32) (local $s f32)
    (local $mixed i64)
    (local.set $a (local.get $seed))
    (local.set $b (f64.mul (local.get $seed) (f64.const 0.9)))
    (local.set $c (f64.mul (local.get $seed) (f64.const 0.8)))
    (local.set $d (f64.sqrt (local.get $seed)))
    (local.set $p (f32.demote_f64 (local.get $a)))
    (local.set $q (f32.demote_f64 (local.get $b)))
    (local.set $r (f32.demote_f64 (local.get $c)))
    (local.set $s (f32.demote_f64 (local.get $d)))
    (loop $next
      ;; x = 3.99 x (1 - x) stays between 0 and 1, and magnifies any difference.
      (local.set $a (f64.mul (f64.mul (f64.const 3.99) (local.get $a)) (f64.sub (f64.const 1) (local.get $a))))
      (local.set $b (f64.mul (f64.mul (f64.const 3.98) (local.get $b)) (f64.sub (f64.const 1) (local.get $b))))
      (local.set $c (f64.mul (f64.mul (f64.const 3.97) (local.get $c)) (f64.sub (f64.const 1) (local.get $c))))
      (local.set $d (f64.mul (f64.mul (f64.const 3.96) (local.get $d)) (f64.sub (f64.const 1) (local.get $d))))
      (local.set $p (f32.mul (f32.mul (f32.const 3.99) (local.get $p)) (f32.sub (f32.const 1) (local.get $p))))
      (local.set $q (f32.mul (f32.mul (f32.const 3.98) (local.get $q)) (f32.sub (f32.const 1) (local.get $q))))
      (local.set $r (f32.mul (f32.mul (f32.const 3.97) (local.get $r)) (f32.sub (f32.const 1) (local.get $r))))
      (local.set $s (f32.mul (f32.mul (f32.const 3.96) (local.get $s)) (f32.sub (f32.const 1) (local.get $s))))
      (local.set $mixed
        (i64.add
          (i64.rotl (local.get $mixed) (i64.const 5))
          (i64.xor
            (i64.xor
              (i64.xor (i64.reinterpret_f64 (local.get $a)) (i64.reinterpret_f64 (local.get $b)))
              (i64.xor (i64.reinterpret_f64 (local.get $c)) (i64.reinterpret_f64 (local.get $d))))
            (i64.extend_i32_u
              (i32.xor
                (i32.xor (i32.reinterpret_f32 (local.get $p)) (i32.reinterpret_f32 (local.get $q)))
                (i32.xor (i32.reinterpret_f32 (local.get $r)) (i32.reinterpret_f32 (local.get $s))))))))
      (br_if $next (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (local.get $mixed)))
