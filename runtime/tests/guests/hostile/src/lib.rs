//! A consumer that misbehaves as its settings ask for. Tests the limits of the sandbox; does nothing useful.
//! [`Mode`] documents the modes; `attack` implements them.

mod attack;

use klines_guest::{Batch, Consumer, Failure, Problem, Subscription, info};
use serde::Deserialize;

/// How to misbehave, and when.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    mode: Mode,
    /// The batch, counted from 1, at which `trap`, `panic-consume` and the other attacks of `consume` begin; for
    /// `retry` the number of refusals before it takes the batch.
    #[serde(default = "first")]
    after: u64,
    /// A size in bytes or a number, as the mode documents.
    #[serde(default = "large")]
    size: u32,
    /// The request of the modes that begin with `http`.
    #[serde(default)]
    http: HttpSettings,
}

/// The request to make.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), expect(dead_code, reason = "requests are only made inside a component"))]
pub(crate) struct HttpSettings {
    url: String,
    #[serde(default = "get")]
    method: String,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    /// The number of bytes to send.
    #[serde(default)]
    body: usize,
    /// Follow redirects.
    #[serde(default)]
    follow: bool,
    /// Log the headers of the request after it was sent.
    #[serde(default)]
    dump: bool,
    /// The number of requests at the same time.
    #[serde(default)]
    count: u32,
}

fn get() -> String {
    "GET".to_owned()
}

fn first() -> u64 {
    1
}

fn large() -> u32 {
    64 << 20
}

/// The ways to misbehave: in `consume`, unless another call is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Never returns.
    Loop,
    /// Never returns from `validate`.
    LoopValidate,
    /// Refuses its settings, in `validate` alone, after three seconds in a host call.
    RefuseLate,
    /// Never returns from `setup`.
    LoopSetup,
    /// Never returns from `start`.
    LoopStart,
    /// Never returns from `stop`.
    LoopStop,
    /// Allocates and writes to pages until memory is refused, logs how much it got, and returns `fatal`.
    Memory,
    /// Executes `unreachable`.
    Trap,
    /// Panics in `validate`.
    PanicValidate,
    /// Panics in `setup`.
    PanicSetup,
    /// Panics in `start`.
    PanicStart,
    /// Panics in `consume`.
    PanicConsume,
    /// Panics in `stop`.
    PanicStop,
    /// Returns `retry` `after` times, then takes the batch.
    Retry,
    /// Returns `fatal`.
    Fatal,
    /// Returns `fatal` from `setup`.
    FatalSetup,
    /// Logs 10,000 lines with terminal escapes, line feeds and other control characters.
    LogFlood,
    /// Logs one line of `size` bytes.
    BigAllocString,
    /// Prints to standard output and standard error.
    Stdout,
    /// Logs and prints lines that look like the runtime's.
    ForgeLog,
    /// Prints `size` bytes to standard output.
    OutputFlood,
    /// Asks for `size` random bytes at once.
    RandomFlood,
    /// Sets keys of its state until one is refused, and logs how much it could keep.
    StateFlood,
    /// Sets and deletes `size` keys of its state in one call, and logs how many are left.
    StateChurn,
    /// Publishes names and texts until they are refused, and logs how many there were and why they were refused.
    EmitFlood,
    /// Logs how many environment variables and arguments it sees.
    Env,
    /// Logs every environment variable.
    EnvList,
    /// Makes a request and logs its outcome.
    Http,
    /// Makes `http.count` requests at the same time.
    HttpFlood,
    /// Begins a request and never reads the answer.
    HttpAbandon,
    /// Sets headers that belong to the connection.
    HttpForge,
    /// Tries to reach files outside granted folders, and to change what may only be read.
    Climb,
    /// Writes a file into `/out`.
    Mark,
    /// Opens `/out/pipe` and logs the outcome.
    Pipe,
    /// Writes into a file in `/out` until a write is refused, and logs how much it could write.
    Fill,
    /// Lists `/out` repeatedly without ending a listing.
    Listings,
    /// Tries to read and write files outside any grant and logs every outcome.
    Files,
    /// Opens `size` timer handles at once and logs the number.
    Handles,
    /// Asks for the digits of a row that the batch does not have.
    ExactOutOfRange,
    /// Asks for the digits of a row in `start`, where there is no batch.
    ExactInStart,
    /// Recurses without end.
    Recursion,
    /// Sleeps for a day inside a host call, where no guest instruction can be interrupted.
    Sleep,
    /// Does not misbehave: logs `klines N lost M` for every batch, the totals so far.
    Count,
}

struct Hostile {
    settings: Settings,
    batches: u64,
    klines: usize,
    lost: u64,
}

impl Consumer for Hostile {
    type Settings = Settings;

    fn validate(settings: &Settings) -> Vec<Problem> {
        match settings.mode {
            Mode::LoopValidate => attack::run_forever(),
            Mode::RefuseLate => attack::refuse_late(),
            Mode::PanicValidate => attack::panic_in("validate"),
            _ => Vec::new(),
        }
    }

    fn setup(settings: Settings) -> Result<Self, Failure> {
        match settings.mode {
            Mode::LoopSetup => attack::run_forever(),
            Mode::PanicSetup => attack::panic_in("setup"),
            Mode::FatalSetup => Err(Failure::fatal("refuses to be set up")),
            _ => Ok(Self { settings, batches: 0, klines: 0, lost: 0 }),
        }
    }

    fn subscription(&self) -> Subscription {
        Subscription::all()
    }

    fn start(&mut self) -> Result<(), Failure> {
        match self.settings.mode {
            Mode::LoopStart => attack::run_forever(),
            Mode::PanicStart => attack::panic_in("start"),
            Mode::ExactInStart => {
                let digits = Batch { klines: Vec::new(), lost: 0 }.exact(0);
                info!("got digits without a batch: {}", digits.open);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn consume(&mut self, batch: &Batch) -> Result<(), Failure> {
        self.batches += 1;
        self.klines += batch.klines.len();
        self.lost += batch.lost;
        if self.settings.mode == Mode::Retry {
            let refused = self.batches <= self.settings.after;
            return if refused { Err(Failure::retry("not now")) } else { Ok(()) };
        }
        if self.batches < self.settings.after {
            return Ok(());
        }
        match self.settings.mode {
            Mode::Loop => attack::run_forever(),
            Mode::Memory => return attack::take_all_memory(),
            Mode::Trap => attack::trap(),
            Mode::PanicConsume => attack::panic_in("consume"),
            Mode::Fatal => return Err(Failure::fatal("gives up")),
            Mode::LogFlood => attack::flood_log(),
            Mode::BigAllocString => attack::log_bytes(self.settings.size),
            Mode::Stdout => attack::print(),
            Mode::ForgeLog => attack::forge_log(),
            Mode::OutputFlood => attack::flood_output(self.settings.size),
            Mode::RandomFlood => attack::ask_for_random(self.settings.size),
            Mode::StateFlood => attack::fill_state(),
            Mode::StateChurn if self.batches == self.settings.after => attack::churn_state(self.settings.size),
            Mode::EmitFlood => attack::flood_series(),
            Mode::Env => attack::look_at_environment(),
            Mode::EnvList => attack::list_environment(),
            Mode::Http => attack::http::send(&self.settings.http),
            Mode::HttpFlood => attack::http::flood(&self.settings.http),
            Mode::HttpAbandon => attack::http::abandon(&self.settings.http),
            Mode::HttpForge => attack::http::forge(),
            Mode::Climb => attack::folder::climb(),
            Mode::Mark => attack::folder::leave_mark(),
            Mode::Pipe => attack::folder::open_pipe(),
            Mode::Fill => attack::folder::fill(),
            Mode::Listings => attack::folder::list_again_and_again(),
            Mode::Files => attack::look_for_files(),
            Mode::Handles => attack::open_handles(self.settings.size),
            Mode::ExactOutOfRange => {
                let digits = batch.exact(batch.klines.len());
                info!("got digits of a row that does not exist: {}", digits.open);
            }
            Mode::Sleep => attack::sleep(),
            Mode::Recursion => info!("recursed to {}", attack::recurse(0)),
            Mode::Count => info!("klines {} lost {}", self.klines, self.lost),
            _ => {}
        }
        Ok(())
    }

    fn stop(&mut self) {
        match self.settings.mode {
            Mode::LoopStop => attack::run_forever(),
            Mode::PanicStop => attack::panic_in("stop"),
            Mode::Count => info!("stopped after {} batches", self.batches),
            _ => {}
        }
    }
}

klines_guest::export!(Hostile);
