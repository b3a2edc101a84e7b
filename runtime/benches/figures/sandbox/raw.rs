//! The baseline for the sandbox: plain wasmtime without any limit, with the records of a batch prepared.

#![allow(unsafe_code, unused_qualifications, clippy::all, reason = "generated")]

use std::sync::Arc;
use std::time::Instant;

use klines_delivery::{Consumer, Delivery, Failure, Next, Subscription};
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime::{Config, Engine, Result, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use self::klines::consumer::{emit, history, host, state, types};

wasmtime::component::bindgen!({
    path: "../wit/v1",
    world: "kline-consumer",
    imports: { default: trappable },
    ownership: Borrowing { duplicate_if_necessary: true },
});

/// A compiled component without the sandbox of klines.
pub(super) struct Raw {
    engine: Engine,
    pre: KlineConsumerPre<Host>,
}

struct Host {
    wasi: WasiCtx,
    table: ResourceTable,
}

struct Running {
    store: Store<Host>,
    exports: KlineConsumer,
    symbols: Arc<Vec<String>>,
}

fn engine() -> Engine {
    let mut config = Config::new();
    config.concurrency_support(false);
    Engine::new(&config).unwrap()
}

/// Returns the duration of compiling in milliseconds.
pub(super) fn compile(bytes: &[u8]) -> f64 {
    let engine = engine();
    let begun = Instant::now();
    Component::from_binary(&engine, bytes).unwrap();
    begun.elapsed().as_secs_f64() * 1e3
}

impl Raw {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let engine = engine();
        let component = Component::from_binary(&engine, bytes).unwrap();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).unwrap();
        KlineConsumer::add_to_linker::<_, HasSelf<_>>(&mut linker, |host| host).unwrap();
        let pre = KlineConsumerPre::new(linker.instantiate_pre(&component).unwrap()).unwrap();
        Self { engine, pre }
    }

    pub(super) fn instantiate(&self) -> Box<dyn Consumer> {
        let host = Host { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
        let mut store = Store::new(&self.engine, host);
        let exports = self.pre.instantiate(&mut store).unwrap();
        let symbols = (0..500).map(|number| format!("SYM{number:03}USDT")).collect();
        Box::new(Running { store, exports, symbols: Arc::new(symbols) })
    }
}

fn record(symbol: &str, start: u64) -> types::KlineParam<'_> {
    types::KlineParam {
        category: types::Category::Linear,
        symbol,
        interval: types::Interval { count: 1, unit: types::IntervalUnit::Minute },
        start,
        end: start + 59_999,
        open: 16_578.5,
        high: 16_579.0,
        low: 16_570.0,
        close: 16_578.51,
        volume: 1_234.5678,
        turnover: 99_999.9999,
        buy_volume: 0.2345,
        buy_turnover: 8_888.8888,
        price_decimals: 4,
        volume_decimals: 4,
        trades: 12,
        last_trade_time: start + 5,
        confirm: true,
        revision: 0,
        quality: types::Quality::Complete,
        sequence: 1,
        emitted: start + 60_080,
    }
}

impl Consumer for Running {
    fn setup(&mut self) -> std::result::Result<Subscription, Failure> {
        self.exports.klines_consumer_consumer().call_setup(&mut self.store, "{}").unwrap().unwrap();
        Ok(Subscription::default())
    }

    fn start(&mut self) -> std::result::Result<(), Failure> {
        self.exports.klines_consumer_consumer().call_start(&mut self.store).unwrap().unwrap();
        Ok(())
    }

    fn consume(&mut self, delivery: &Delivery) -> std::result::Result<Next, Failure> {
        let symbols = self.symbols.clone();
        let start = delivery.klines[0].start as u64;
        let klines: Vec<_> = symbols.iter().take(delivery.klines.len()).map(|symbol| record(symbol, start)).collect();
        let batch = types::Batch { klines: &klines, lost: 0 };
        self.exports.klines_consumer_consumer().call_consume(&mut self.store, batch).unwrap().unwrap();
        Ok(Next::Deliver)
    }

    fn stop(&mut self) {}
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for Host {}

impl history::Host for Host {
    fn closed(
        &mut self,
        _: types::Category,
        _: String,
        _: types::Interval,
        _: u64,
        _: u32,
    ) -> Result<std::result::Result<Vec<types::KlineResult>, String>> {
        Ok(Ok(Vec::new()))
    }
}

impl host::Host for Host {
    fn log(&mut self, _: host::Level, _: String) -> Result<()> {
        Ok(())
    }

    fn exact(&mut self, _: u32) -> Result<types::ExactKline> {
        wasmtime::bail!("the average guest does not call this")
    }

    fn terminal(&mut self) -> Result<Option<host::TerminalInfo>> {
        Ok(None)
    }
}

impl state::Host for Host {
    fn get(&mut self, _: String) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn set(&mut self, _: String, _: Vec<u8>) -> Result<std::result::Result<(), String>> {
        Ok(Ok(()))
    }

    fn delete(&mut self, _: String) -> Result<bool> {
        Ok(false)
    }

    fn list_keys(&mut self, _: String) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

impl emit::Host for Host {
    fn publish(&mut self, _: u32, _: String, _: emit::Value) -> Result<std::result::Result<(), String>> {
        Ok(Ok(()))
    }
}
