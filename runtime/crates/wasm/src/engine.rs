//! The engine of the process: the settings of the compiler, the linker with the imports, and the clock that ends calls.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use klines_delivery::trusted_work::Interrupt;
use thiserror::Error;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, Strategy, WasmFeatures};

use super::deadline::{TICK, TimeTotal};
use super::host::Host;
use super::linker::linker;
use crate::cpu_governor::CpuGovernor;

#[cfg(test)]
mod tests;

/// The version of wasmtime, the engine.
pub const WASMTIME: &str = env!("KLINES_WASMTIME");

/// Compiles components and links them. Cheap to clone; the whole process shares one engine.
#[derive(Clone)]
pub struct WasmEngine {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    linker: Linker<Host>,
    governor: Arc<CpuGovernor>,
    interrupt: Arc<Interrupt>,
    standstill: TimeTotal,
    _ticker: Ticker,
}

/// Why the engine cannot be started.
#[derive(Debug, Error)]
pub enum EngineError {
    /// This machine cannot run WebAssembly as configured.
    #[error("WebAssembly cannot be run here: {0:#}")]
    Unsupported(wasmtime::Error),
    /// The thread of the clock that ends calls cannot be started.
    #[error("the thread of the deadline clock cannot be started: {0}")]
    System(#[from] io::Error),
}

impl WasmEngine {
    /// Starts the engine and its clock.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn new() -> Result<Self, EngineError> {
        Self::configured(&config())
    }

    fn configured(config: &Config) -> Result<Self, EngineError> {
        let engine = Engine::new(config).map_err(EngineError::Unsupported)?;
        let linker = linker(&engine).map_err(EngineError::Unsupported)?;
        let clock = engine.clone();
        let interrupt: Arc<Interrupt> = Arc::new(move || clock.increment_epoch());
        let (governor, standstill) = (Arc::new(CpuGovernor::new()), TimeTotal::default());
        let ticker = Ticker::start(engine.clone(), governor.clone(), standstill.clone())?;
        Ok(Self { inner: Arc::new(Inner { engine, linker, governor, interrupt, standstill, _ticker: ticker }) })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// Returns the governor, which bounds the number of untrusted calls that run at once.
    pub(super) fn governor(&self) -> Arc<CpuGovernor> {
        self.inner.governor.clone()
    }

    /// Returns the interrupt that makes all calls check whether they may continue.
    pub(super) fn interrupt(&self) -> &Arc<Interrupt> {
        &self.inner.interrupt
    }

    /// Returns the total time for which the process stood still.
    pub(super) fn standstill(&self) -> TimeTotal {
        self.inner.standstill.clone()
    }

    pub(super) fn linker(&self) -> &Linker<Host> {
        &self.inner.linker
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .epoch_interruption(true)
        // Disabling it halves the cost of a call; streams and futures of WASI 0.3 are not offered.
        .concurrency_support(false)
        // Features that no guest language needs would only add attack surface.
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        // Not compiled into wasmtime: such an instruction, if validated, would abort the process (RUSTSEC-2026-0570).
        .wasm_features(WasmFeatures::GC | WasmFeatures::FUNCTION_REFERENCES | WasmFeatures::THREADS, false)
        // Relaxed SIMD is not deterministic: an indicator must have the same value on every machine.
        .wasm_relaxed_simd(false);
    config
}

/// The clock that ends calls. An OS thread, because a busy executor would stop the clock that has to interrupt it.
struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: Engine, governor: Arc<CpuGovernor>, standstill: TimeTotal) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name("wasm-deadlines".into()).spawn(move || {
            let mut last = Instant::now();
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                let late = last.elapsed().saturating_sub(TICK);
                last = Instant::now();
                // If this thread, of normal rank, is a whole tick late, no thread of the process had a core.
                if late >= TICK {
                    standstill.add(late);
                }
                governor.tick();
                engine.increment_epoch();
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The thread does not panic, and a panic could not be reported here.
            let _ = thread.join();
        }
    }
}
