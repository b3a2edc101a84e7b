//! What one instance has on the host's side: its WASI context, its account, and the functions it can call.

use std::sync::Arc;

use tracing::Level;
use wasmtime::component::ResourceTable;
use wasmtime::{Error, Result};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::Setup;
use super::bindings::klines::consumer::host::{self, TerminalInfo};
use super::bindings::klines::consumer::types::{self, ExactKline};
use super::convert;
use super::deadline::{Deadline, Waited};
use super::grants::GrantError;
use super::limits::Account;
use super::log::GuestLog;
use super::poll::BoundedPoll;
use super::stdout::{LoggedStream, RawStdout};
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
    wasi: WasiCtx,
    table: ResourceTable,
}

impl Host {
    pub(super) fn new(setup: &Setup, log: GuestLog) -> Result<Self, GrantError> {
        let waited = Waited::default();
        let mut wasi = WasiCtx::builder();
        // Every guest has a thread of its own, which may wait for a disk.
        wasi.allow_blocking_current_thread(true)
            .max_random_size(setup.limits.random)
            .stderr(LoggedStream::new(log.clone(), Level::WARN));
        if setup.grants.stdout {
            wasi.stdout(RawStdout::new(waited.clone()));
        } else {
            wasi.stdout(LoggedStream::new(log.clone(), Level::INFO));
        }
        setup.grants.open(&mut wasi)?;
        let mut table = ResourceTable::new();
        table.set_max_capacity(setup.limits.handles);
        Ok(Self {
            account: Account::new(&setup.limits),
            deadline: Deadline::new(waited),
            log,
            klines: Vec::new(),
            terminal: setup.grants.stdout.then(|| setup.terminal.clone()),
            wasi: wasi.build(),
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
