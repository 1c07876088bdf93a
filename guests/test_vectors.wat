;; Keeps vector registers in use for a long time: whoever is interrupted and does not get them back as they were computes
;; something else.
(module $test_vectors
  ;; Twelve sequences of integers and two of floats at once, mixed into one vector that shows every bit of each.
  (func (export "run") (param $seed i32) (param $rounds i32) (result v128)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (local $e v128) (local $f v128) (local $g v128) (local $h v128)
    (local $i v128) (local $j v128) (local $k v128) (local $l v128)
    (local $x v128) (local $y v128) (local $seeds v128) (local $factor v128)
    (local.set $seeds (i32x4.mul (i32x4.splat (local.get $seed)) (v128.const i32x4 1 3 5 7)))
    (local.set $factor (v128.const i32x4 1664525 22695477 1103515245 134775813))
    (local.set $a (i32x4.add (local.get $seeds) (v128.const i32x4 0 100 200 300)))
    (local.set $b (i32x4.add (local.get $seeds) (v128.const i32x4 1 101 201 301)))
    (local.set $c (i32x4.add (local.get $seeds) (v128.const i32x4 2 102 202 302)))
    (local.set $d (i32x4.add (local.get $seeds) (v128.const i32x4 3 103 203 303)))
    (local.set $e (i32x4.add (local.get $seeds) (v128.const i32x4 4 104 204 304)))
    (local.set $f (i32x4.add (local.get $seeds) (v128.const i32x4 5 105 205 305)))
    (local.set $g (i32x4.add (local.get $seeds) (v128.const i32x4 6 106 206 306)))
    (local.set $h (i32x4.add (local.get $seeds) (v128.const i32x4 7 107 207 307)))
    (local.set $i (i32x4.add (local.get $seeds) (v128.const i32x4 8 108 208 308)))
    (local.set $j (i32x4.add (local.get $seeds) (v128.const i32x4 9 109 209 309)))
    (local.set $k (i32x4.add (local.get $seeds) (v128.const i32x4 10 110 210 310)))
    (local.set $l (i32x4.add (local.get $seeds) (v128.const i32x4 11 111 211 311)))
    ;; Between 0 and 1.
    (local.set $x (f64x2.div (f64x2.convert_low_i32x4_u (local.get $seeds)) (v128.const f64x2 4294967296 4294967296)))
    (local.set $y (f32x4.div (f32x4.convert_i32x4_u (local.get $l)) (f32x4.splat (f32.const 4294967296))))
    (loop $next
      (local.set $a (i32x4.add (i32x4.mul (local.get $a) (local.get $factor)) (v128.const i32x4 1 3 5 7)))
      (local.set $b (i32x4.add (i32x4.mul (local.get $b) (local.get $factor)) (v128.const i32x4 3 5 7 9)))
      (local.set $c (i32x4.add (i32x4.mul (local.get $c) (local.get $factor)) (v128.const i32x4 5 7 9 11)))
      (local.set $d (i32x4.add (i32x4.mul (local.get $d) (local.get $factor)) (v128.const i32x4 7 9 11 13)))
      (local.set $e (i32x4.add (i32x4.mul (local.get $e) (local.get $factor)) (v128.const i32x4 9 11 13 15)))
      (local.set $f (i32x4.add (i32x4.mul (local.get $f) (local.get $factor)) (v128.const i32x4 11 13 15 17)))
      (local.set $g (i32x4.add (i32x4.mul (local.get $g) (local.get $factor)) (v128.const i32x4 13 15 17 19)))
      (local.set $h (i32x4.add (i32x4.mul (local.get $h) (local.get $factor)) (v128.const i32x4 15 17 19 21)))
      (local.set $i (i32x4.add (i32x4.mul (local.get $i) (local.get $factor)) (v128.const i32x4 17 19 21 23)))
      (local.set $j (i32x4.add (i32x4.mul (local.get $j) (local.get $factor)) (v128.const i32x4 19 21 23 25)))
      (local.set $k (i32x4.add (i32x4.mul (local.get $k) (local.get $factor)) (v128.const i32x4 21 23 25 27)))
      (local.set $l (i32x4.add (i32x4.mul (local.get $l) (local.get $factor)) (v128.const i32x4 23 25 27 29)))
      ;; x = 3.99 x (1 - x) stays between 0 and 1, and magnifies any difference.
      (local.set $x
        (f64x2.mul
          (f64x2.mul (v128.const f64x2 3.99 3.98) (local.get $x))
          (f64x2.sub (v128.const f64x2 1 1) (local.get $x))))
      (local.set $y
        (f32x4.mul
          (f32x4.mul (v128.const f32x4 3.99 3.98 3.97 3.96) (local.get $y))
          (f32x4.sub (v128.const f32x4 1 1 1 1) (local.get $y))))
      (br_if $next (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (local.set $seeds (v128.xor (local.get $x) (local.get $y)))
    (local.set $seeds
      (i64x2.add
        (i8x16.shuffle 5 6 7 8 9 10 11 12 13 14 15 0 1 2 3 4 (local.get $seeds) (local.get $seeds))
        (local.get $a)))
    (local.set $seeds
      (i64x2.add
        (i8x16.shuffle 5 6 7 8 9 10 11 12 13 14 15 0 1 2 3 4 (local.get $seeds) (local.get $seeds))
        (local.get $b)))
    (local.set $seeds
      (i64x2.add
        (i8x16.shuffle 5 6 7 8 9 10 11 12 13 14 15 0 1 2 3 4 (local.get $seeds) (local.get $seeds))
        (local.get $c)))
    (local.set $seeds
      (i64x2.add
        (i8x16.shuffle 5 6 7 8 9 10 11 12 13 14 15 0 1 2 3 4 (local.get $seeds) (local.get $seeds))
        (local.get $d)))
    (local.set $seeds
      (i64x2.add
        (i8x16.shuffle 5 6 7 8 9 10 11 12 13 14 15 0 1 2 3 4 (local.get $seeds) (local.get $seeds))
        (local.get $e)))
    (local.set $seeds
      (i64x2.add
        (i8x16.shuffle 5 6 7 8 9 10 11 12 13 14 15 0 1 2 3 4 (local.get $seeds) (local.get $seeds))
        (local.get $f)))
    (local.set $seeds
      (i64x2.add
        (i8x16.shuffle 5 6 7 8 9 10 11 12 13 14 15 0 1 2 3 4 (local.get $seeds) (local.get $seeds))
        (local.get $g)))
    (local.set $seeds
      (i64x2.add
        (i8x16.shuffle 5 6 7 8 9 10 11 12 13 14 15 0 1 2 3 4 (local.get $seeds) (local.get $seeds))
        (local.get $h)))
    (local.set $seeds
      (i64x2.add
        (i8x16.shuffle 5 6 7 8 9 10 11 12 13 14 15 0 1 2 3 4 (local.get $seeds) (local.get $seeds))
        (local.get $i)))
    (local.set $seeds
      (i64x2.add
        (i8x16.shuffle 5 6 7 8 9 10 11 12 13 14 15 0 1 2 3 4 (local.get $seeds) (local.get $seeds))
        (local.get $j)))
    (local.set $seeds
      (i64x2.add
        (i8x16.shuffle 5 6 7 8 9 10 11 12 13 14 15 0 1 2 3 4 (local.get $seeds) (local.get $seeds))
        (local.get $k)))
    (local.set $seeds
      (i64x2.add
        (i8x16.shuffle 5 6 7 8 9 10 11 12 13 14 15 0 1 2 3 4 (local.get $seeds) (local.get $seeds))
        (local.get $l)))
    (local.get $seeds)))
