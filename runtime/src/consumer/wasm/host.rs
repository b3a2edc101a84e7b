//! What one instance has on the host's side: its WASI context, its account, and the functions it can call.

use std::sync::Arc;

use tracing::Level;
use wasmtime::component::ResourceTable;
use wasmtime::{Error, Result};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use super::Setup;
use super::bindings::klines::consumer::host::{self, TerminalInfo};
use super::bindings::klines::consumer::state;
use super::bindings::klines::consumer::types::{self, ExactKline};
use super::convert;
use super::deadline::{Deadline, Waited};
use super::grants::GrantError;
use super::http::HttpHost;
use super::limits::Account;
use super::log::GuestLog;
use super::poll::BoundedPoll;
use super::state::State;
use super::stdout::{LoggedStream, OutputBudget, RawStdout};
use super::terminal::Terminal;
use crate::domain::kline::Kline;

/// The data of one store.
pub(super) struct Host {
    pub(super) account: Account,
    pub(super) deadline: Deadline,
    pub(super) log: GuestLog,
    /// The batch in hand; empty outside `consume`.
    pub(super) klines: Vec<Arc<Kline>>,
    /// Only for a consumer that may write to it.
    terminal: Option<Arc<dyn Terminal>>,
    pub(super) state: State,
    /// What the call in progress may still write to standard output and standard error.
    pub(super) output: OutputBudget,
    wasi: WasiCtx,
    http: HttpHost,
    table: ResourceTable,
}

impl Host {
    pub(super) fn new(setup: &Setup, log: GuestLog) -> Result<Self, GrantError> {
        let waited = Waited::default();
        let output = OutputBudget::new(setup.limits.output);
        let mut wasi = WasiCtx::builder();
        // Every guest has a thread of its own, which may wait for a disk.
        wasi.allow_blocking_current_thread(true).max_random_size(setup.limits.random).stderr(LoggedStream::new(
            log.clone(),
            Level::WARN,
            output.clone(),
        ));
        if setup.grants.stdout {
            wasi.stdout(RawStdout::new(waited.clone()));
        } else {
            wasi.stdout(LoggedStream::new(log.clone(), Level::INFO, output.clone()));
        }
        setup.grants.open(&mut wasi)?;
        let mut table = ResourceTable::new();
        table.set_max_capacity(setup.limits.handles);
        Ok(Self {
            account: Account::new(&setup.limits),
            deadline: Deadline::new(waited),
            log,
            klines: Vec::new(),
            state: State::new(setup.state.clone()),
            output,
            terminal: setup.grants.stdout.then(|| setup.terminal.clone()),
            wasi: wasi.build(),
            http: HttpHost::new(&setup.name, &setup.grants.http, &setup.limits),
            table,
        })
    }

    pub(super) fn poll(&mut self) -> BoundedPoll<'_> {
        BoundedPoll { table: &mut self.table, left: self.deadline.left() }
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Host {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.http.session, table: &mut self.table, ctx: &mut self.http.context }
    }
}

impl types::Host for Host {}

impl host::Host for Host {
    fn log(&mut self, level: host::Level, message: String) -> Result<()> {
        let level = match level {
            host::Level::Trace => Level::TRACE,
            host::Level::Debug => Level::DEBUG,
            host::Level::Info => Level::INFO,
            host::Level::Warn => Level::WARN,
            host::Level::Error => Level::ERROR,
        };
        self.log.line(level, &message);
        Ok(())
    }

    fn exact(&mut self, row: u32) -> Result<ExactKline> {
        let kline = usize::try_from(row).ok().and_then(|row| self.klines.get(row));
        kline.map(|kline| convert::exact(kline)).ok_or_else(|| {
            let rows = self.klines.len();
            Error::msg(format!("asked for the digits of row {row}, but the batch in hand has {rows} rows"))
        })
    }

    fn terminal(&mut self) -> Result<Option<TerminalInfo>> {
        let info = self.terminal.as_ref().and_then(|terminal| terminal.info());
        Ok(info.map(|info| TerminalInfo { columns: info.columns, colour: info.colour }))
    }
}

impl state::Host for Host {
    fn get(&mut self, key: String) -> Result<Option<Vec<u8>>> {
        self.state.get(&key).map_err(Error::new)
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> Result<Result<(), String>> {
        self.state.set(key, value).map_err(Error::new)
    }

    fn delete(&mut self, key: String) -> Result<bool> {
        self.state.delete(key).map_err(Error::new)
    }

    fn list_keys(&mut self, prefix: String) -> Result<Vec<String>> {
        self.state.list_keys(&prefix).map_err(Error::new)
    }
}
