;; A consumer in WebAssembly text: emits the range (high - low) of each closed kline as `range`, and logs `begins` at
;; its start. `klines consumer build examples/text/consumer.wat` creates a component from it.
;;
;; Addresses: 0 to 63 are always zero (an empty list, or a result that is ok and empty); 64 to 1023 hold texts and
;; results; the memory from 1024 on is for the arguments of the host and is reused in each call.
(module
  (import "klines:consumer/host@1.2.0" "log" (func $log (param $level i32) (param $text i32) (param $length i32)))
  ;; A value is a case (0 is a number) and 12 bytes for the content of either case; the last parameter is the address of
  ;; the result.
  (import "klines:consumer/emit@1.2.0" "publish"
    (func $publish (param $row i32) (param $name i32) (param $length i32) (param $case i32) (param $value i64) (param i32) (param $result i32)))

  (memory (export "memory") 1)
  (data (i32.const 64) "range")
  (data (i32.const 80) "begins")
  ;; The result of `setup`: ok, all symbols, all intervals; the byte at 148 selects closed klines only.
  (data (i32.const 148) "\01")

  (global $free (mut i32) (i32.const 1024))

  ;; Allocates memory for the arguments of the host. Single allocations are never freed: each call starts again at 1024.
  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32) (local $missing i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    (local.set $missing (i32.sub (global.get $free) (i32.mul (memory.size) (i32.const 65536))))
    (if (i32.gt_s (local.get $missing) (i32.const 0))
      (then
        ;; Traps if the memory cannot grow, instead of overwriting other data.
        (if (i32.eq (i32.const -1)
              (memory.grow (i32.shr_u (i32.add (local.get $missing) (i32.const 65535)) (i32.const 16))))
          (then unreachable))))
    (local.get $at))

  ;; There are no settings and so no problems: returns an empty list.
  (func (export "klines:consumer/consumer@1.2.0#validate") (param $settings i32) (param $length i32) (result i32)
    (global.set $free (i32.const 1024))
    (i32.const 0))

  (func (export "klines:consumer/consumer@1.2.0#setup") (param $settings i32) (param $length i32) (result i32)
    (global.set $free (i32.const 1024))
    (i32.const 128))

  (func (export "klines:consumer/consumer@1.2.0#start") (result i32)
    (call $log (i32.const 2) (i32.const 80) (i32.const 6))
    (i32.const 0))

  ;; A kline has 160 bytes: its high is at offset 48, its low at offset 56.
  (func (export "klines:consumer/consumer@1.2.0#consume") (param $klines i32) (param $count i32) (param $lost i64) (result i32)
    (local $row i32) (local $kline i32)
    (local.set $kline (local.get $klines))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $row) (local.get $count)))
        (call $publish (local.get $row) (i32.const 64) (i32.const 5)
          (i32.const 0)
          (i64.reinterpret_f64
            (f64.sub (f64.load offset=48 (local.get $kline)) (f64.load offset=56 (local.get $kline))))
          (i32.const 0)
          (i32.const 512))
        ;; If klines refuses the value, the reason is a text at 516.
        (if (i32.load8_u (i32.const 512))
          (then (call $log (i32.const 3) (i32.load (i32.const 516)) (i32.load (i32.const 520)))))
        (local.set $row (i32.add (local.get $row) (i32.const 1)))
        (local.set $kline (i32.add (local.get $kline) (i32.const 160)))
        (br $next)))
    (global.set $free (i32.const 1024))
    (i32.const 0))

  (func (export "klines:consumer/consumer@1.2.0#stop")))
