//! The host's data of one instance: its WASI context, its account, and the data of the functions that it can call.
//! `convert` implements these functions for each version of the contract.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use klines_delivery::Delivery;
use klines_domain::kline::Kline;
use wasmtime::component::ResourceTable;
use wasmtime::{Error, Result};
use wasmtime_wasi::filesystem::WasiFilesystemCtxView;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use super::call_time::CallTime;
use super::deadline::TimeTotal;
use super::emission::Emission;
use super::files::{Files, OpenFiles};
use super::grants::GrantError;
use super::host_observer::Stream;
use super::http::HttpHost;
use super::log::GuestLog;
use super::past::{PastReader, SharedPast};
use super::poll::BoundedPoll;
use super::setup::{Origin, Setup};
use super::state::State;
use super::stdout::{LoggedStream, OutputBudget, RawStdout};
use super::store_account::Account;
use super::terminal::{Terminal, TerminalInfo};
use crate::cpu_governor::Permit;

/// The data of one store.
pub(super) struct Host {
    pub(super) account: Account,
    pub(super) time: CallTime,
    pub(super) log: GuestLog,
    /// The current batch; empty outside `consume`.
    pub(super) klines: Arc<[Arc<Kline>]>,
    /// `None` for a consumer that may not write to standard output.
    terminal: Option<Arc<dyn Terminal>>,
    pub(super) state: State,
    pub(super) emission: Emission,
    pub(super) past: PastReader,
    /// The bytes that the current call may still write to standard output and standard error.
    pub(super) output: OutputBudget,
    output_closed: Arc<AtomicBool>,
    wasi: WasiCtx,
    open: OpenFiles,
    http: HttpHost,
    table: ResourceTable,
}

impl Host {
    /// Creates the data of one instance. `past` is what its consumer
    /// remembers, if it reads the past. `standstill` is time that
    /// does not count towards a deadline; untrusted calls need a permit.
    pub(super) fn new(
        setup: &Setup,
        log: GuestLog,
        past: Option<Arc<SharedPast>>,
        (standstill, permit): (TimeTotal, Option<Permit>),
    ) -> Result<Self, GrantError> {
        let output = OutputBudget::new(setup.limits.output);
        let is_untrusted = matches!(setup.origin, Origin::File(_));
        let terminal_wait = TimeTotal::default();
        let mut wasi = WasiCtx::builder();
        // The system may hold a file operation for longer than the call lasts.
        wasi.allow_blocking_current_thread(!is_untrusted)
            .max_random_size(setup.limits.random)
            .stderr(LoggedStream::new(log.clone(), Stream::Stderr, output.clone()));
        let raw = RawStdout::new(terminal_wait.clone());
        let output_closed = raw.closed_flag();
        if setup.grants.stdout {
            wasi.stdout(raw);
        } else {
            wasi.stdout(LoggedStream::new(log.clone(), Stream::Stdout, output.clone()));
        }
        setup.grants.open(&mut wasi)?;
        let mut table = ResourceTable::new();
        table.set_max_capacity(setup.limits.handles);
        Ok(Self {
            account: Account::new(&setup.limits),
            time: CallTime::new(standstill, terminal_wait, permit),
            log,
            klines: Arc::default(),
            state: State::new(setup.state.clone()),
            emission: Emission::new(setup.emitter.clone(), setup.limits.emit),
            past: PastReader::new(&setup.past, past, setup.limits.hostcall_fuel),
            output,
            output_closed,
            terminal: setup.grants.stdout.then(|| setup.terminal.clone()),
            wasi: wasi.build(),
            open: OpenFiles::new(setup.grants.quotas(&setup.name)),
            http: HttpHost::new(
                setup.grants.http.clone(),
                setup.name.clone(),
                setup.limits.clone(),
                setup.observer.clone(),
            ),
            table,
        })
    }

    /// Begins a call of `consume` with a batch.
    pub(super) fn begin_batch(&mut self, delivery: &Delivery) {
        self.klines = delivery.klines.clone();
        self.past.deliver(&delivery.klines);
        self.past.open();
    }

    /// Ends a call of `consume`.
    pub(super) fn end_batch(&mut self) {
        self.klines = Arc::default();
        self.past.close();
    }

    /// Returns a kline of the current batch.
    pub(super) fn row(&self, row: u32) -> Result<&Kline> {
        let kline = usize::try_from(row).ok().and_then(|row| self.klines.get(row));
        kline.map(Arc::as_ref).ok_or_else(|| {
            let rows = self.klines.len();
            Error::msg(format!(
                "asked for the digits of row {row}, but the current batch has {}",
                klines_domain::count::counted(rows, "row")
            ))
        })
    }

    /// Returns whether the reader of the granted standard output has gone.
    pub(super) fn is_output_closed(&self) -> bool {
        self.output_closed.load(Ordering::Relaxed)
    }

    /// Returns the terminal of standard output; `None` if there is none or if this consumer may not write to it.
    pub(super) fn terminal_info(&self) -> Option<TerminalInfo> {
        self.terminal.as_ref().and_then(|terminal| terminal.info())
    }

    pub(super) fn files(&mut self) -> Files<'_> {
        let inner = WasiFilesystemCtxView { ctx: self.wasi.filesystem(), table: &mut self.table };
        Files { inner, time: &mut self.time, open: &mut self.open }
    }

    pub(super) fn poll(&mut self) -> BoundedPoll<'_> {
        BoundedPoll { table: &mut self.table, time: &mut self.time }
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
