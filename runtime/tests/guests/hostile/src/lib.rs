//! A consumer that misbehaves in the way its settings ask for. Proves the sandbox's limits; does nothing useful.
//! The modes are documented at [`Mode`]; what each does is in `attack`.

mod attack;

use klines_guest::{Batch, Consumer, Failure, Problem, Subscription, info};
use serde::Deserialize;

/// What to do wrong, and when.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    mode: Mode,
    /// The batch, counted from 1, at which `trap`, `panic-consume` and the other attacks of `consume` begin; for
    /// `retry` the number of refusals before it gives in.
    #[serde(default = "first")]
    after: u64,
    /// Size in bytes for `big-alloc-string`; number of handles for `handles`.
    #[serde(default = "large")]
    size: u32,
    /// For the modes that begin with `http`.
    #[serde(default)]
    http: HttpSettings,
}

/// Which request to make.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), expect(dead_code, reason = "requests are only made inside a component"))]
pub(crate) struct HttpSettings {
    url: String,
    #[serde(default = "get")]
    method: String,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    /// Bytes to send.
    #[serde(default)]
    body: usize,
    /// Follow redirects.
    #[serde(default)]
    follow: bool,
    /// Log the headers of the request after it was handed over.
    #[serde(default)]
    dump: bool,
    /// Requests at one time.
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

/// The ways to misbehave. Where no call is named it happens in `consume`.
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
    /// Allocates and touches pages until it is refused, logs how much it got, and returns `fatal`.
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
    /// Keeps what it can in its state until it is refused, and logs how much that was.
    StateFlood,
    /// Sets and deletes `size` keys of its state in one call, and logs how many it had in the end.
    StateChurn,
    /// Publishes what it can until it is refused, names and bytes, and logs how much that was and why.
    EmitFlood,
    /// Logs how many environment variables and arguments it sees.
    Env,
    /// Logs every environment variable.
    EnvList,
    /// Makes a request and logs its outcome.
    Http,
    /// Makes `http.count` requests at the same time.
    HttpFlood,
    /// Begins a request and forgets it.
    HttpAbandon,
    /// Sets headers that belong to the connection.
    HttpForge,
    /// Tries to get out of granted folders, and to change what may only be read.
    Climb,
    /// Writes a file into `/out`.
    Mark,
    /// Opens `/out/pipe` and logs the outcome.
    Pipe,
    /// Writes into a file in `/out` until it is refused, and logs how much that was.
    Fill,
    /// Lists `/out` again and again without ending a listing.
    Listings,
    /// Tries to read and write files outside any grant and logs every outcome.
    Files,
    /// Opens `size` timer handles at once and logs that it could.
    Handles,
    /// Asks for the digits of a row that the batch does not have.
    ExactOutOfRange,
    /// Asks for the digits of a row in `start`, where there is no batch.
    ExactInStart,
    /// Recurses without end.
    Recursion,
    /// Sleeps for a day inside a host call, where no instruction of its own can be interrupted.
    Sleep,
    /// Behaves: logs `klines N lost M` for every batch, totals so far.
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
