//! Compares the bytes of a row in a guest's memory with those that the derived code writes.

use std::path::Path;

use proptest::prelude::*;
use wasmtime::component::{Component, Linker, TypedFunc};
use wasmtime::{Engine, Store};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::*;

const WORLD: &str = "package klines:probe;
world probe {
    use klines:consumer/types@1.2.0.{kline};
    export take: func(klines: list<kline>) -> list<u8>;
}";
/// Returns its memory from the start of the list to the last allocation, symbols included. Allocations start at byte
/// 64; the first eight bytes hold the result.
const MODULE: &str = r#"(module
    (memory (export "memory") 2)
    (global $free (mut i32) (i32.const 64))
    (func (export "cabi_realloc") (param i32 i32) (param $align i32) (param $size i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and
            (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
            (i32.sub (i32.const 0) (local.get $align))))
        (global.set $free (i32.add (local.get $at) (local.get $size)))
        (local.get $at))
    (func (export "take") (param $klines i32) (param $count i32) (result i32)
        (i32.store (i32.const 0) (local.get $klines))
        (i32.store (i32.const 4) (i32.sub (global.get $free) (local.get $klines)))
        (i32.const 0)))"#;

fn probe(engine: &Engine, encoding: StringEncoding) -> Component {
    let mut resolve = Resolve::default();
    resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../wit/v1")).unwrap();
    let package = resolve.push_str("probe.wit", WORLD).unwrap();
    let world = resolve.select_world(&[package], Some("probe")).unwrap();
    let mut module = wat::parse_str(MODULE).unwrap();
    embed_component_metadata(&mut module, &resolve, world, encoding, true).unwrap();
    let bytes = ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap();
    Component::new(engine, bytes).unwrap()
}

/// Returns what a guest finds in its memory. Each call uses a new instance, so that the memory is clean.
fn found<T: Lower + 'static>(component: &Component, klines: Vec<T>) -> Vec<u8> {
    let mut store = Store::new(component.engine(), ());
    let instance = Linker::new(component.engine()).instantiate(&mut store, component).unwrap();
    let take: TypedFunc<(Vec<T>,), (Vec<u8>,)> = instance.get_typed_func(&mut store, "take").unwrap();
    take.call(&mut store, (klines,)).unwrap().0
}

fn categories() -> impl Strategy<Value = Category> {
    prop_oneof![Just(Category::Linear), Just(Category::Spot), Just(Category::Inverse)]
}

fn intervals() -> impl Strategy<Value = Interval> {
    use IntervalUnit::{Day, Hour, Millisecond, Minute, Month, Second, Week};
    let units = proptest::sample::select(&[Millisecond, Second, Minute, Hour, Day, Week, Month][..]);
    (any::<u32>(), units).prop_map(|(count, unit)| Interval { count, unit })
}

fn qualities() -> impl Strategy<Value = Quality> {
    use Quality::{Complete, Gapped, Partial, Repaired};
    proptest::sample::select(&[Complete, Partial, Gapped, Repaired][..])
}

prop_compose! {
    fn klines()(
        category in categories(),
        symbol in proptest::sample::select(&["", "A", "BTCUSDT", "1000000BABYDOGEUSDT", "ÄÖ"][..]),
        interval in intervals(),
        [start, end, trades, last_trade_time, sequence, emitted] in any::<[u64; 6]>(),
        [open, high, low, close, volume, turnover, buy_volume, buy_turnover] in any::<[f64; 8]>(),
        [price_decimals, volume_decimals] in any::<[u8; 2]>(),
        confirm in any::<bool>(),
        revision in any::<u32>(),
        quality in qualities(),
    ) -> Kline<'static> {
        Kline {
            category, symbol, interval, start, end, open, high, low, close, volume, turnover, buy_volume, buy_turnover,
            price_decimals, volume_decimals, trades, last_trade_time, confirm, revision, quality, sequence, emitted,
        }
    }
}

#[test]
fn a_row_is_byte_for_byte_what_the_derived_code_writes() {
    let engine = Engine::default();
    let encodings = [StringEncoding::UTF8, StringEncoding::UTF16, StringEncoding::CompactUTF16];
    let probes = encodings.map(|encoding| probe(&engine, encoding));
    let batches = proptest::collection::vec(klines(), 0..20);
    let mut runner = proptest::test_runner::TestRunner::default();
    let property = |batch: Vec<Kline<'static>>| {
        for probe in &probes {
            let derived = found(probe, batch.clone());
            let rows = batch.iter().cloned().map(Row).collect();
            prop_assert_eq!(found(probe, rows), &derived[..]);
            prop_assert!(derived.len() >= batch.len() * SIZE);
        }
        Ok(())
    };
    runner.run(&batches, property).unwrap();
}
