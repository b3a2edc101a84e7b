//! What one consumer may use up: memory, time, storage and counts, with their defaults and bounds. Measures nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The limits of one consumer. All are always on; sizes are bytes. The names are those of `[consumers.NAME.limits]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// All its instances and linear memories together. Default: 64 MiB.
    pub memory: usize,
    /// Time of one call, host calls included; waiting for a granted terminal excluded. Default: 1 s.
    pub call: Duration,
    /// Time of each step of starting: making the instance, `setup`, `start`. Default: 10 s.
    pub start_up: Duration,
    /// Size of the component's file. Default: 32 MiB.
    #[serde(rename = "component")]
    pub component_size: u64,
    /// What one call of the guest into the host may make the host allocate. Default: 8 MiB.
    #[serde(rename = "hostcall")]
    pub hostcall_fuel: usize,
    /// Open resources (streams, files, timers) at one time. Default: 1,000.
    pub handles: usize,
    /// Elements of all tables together. Default: 100,000.
    pub table_elements: usize,
    /// Core instances inside the component: the largest languages' runtimes have about a dozen. Default: 100.
    pub instances: usize,
    /// One request for random numbers. Default: 1 MiB.
    pub random: u64,
    /// What one call may write to standard output and standard error; the rest is dropped and counted. Not for a
    /// granted standard output. Default: 1 MiB.
    pub output: usize,
    /// Time for compiling the component. Default: 60 s.
    pub compile_time: Duration,
    /// Memory for compiling the component. Default: 1 GiB.
    pub compile_memory: u64,
    /// What its compiled code and its metadata take in memory, and its core instances outside of their memories and
    /// tables. Default: 96 MiB.
    pub loaded: u64,
    /// Keys and values of its persistent state together. Default: 16 MiB.
    pub state: usize,
    /// What one call may publish of its own series; a value counts as 64 and its text. Default: 256 KiB.
    pub emit: usize,
    /// Series of its own, over all symbols and intervals. Default: 32.
    pub emit_names: usize,
    /// HTTP requests under way at one time. Default: 8.
    pub http_requests: usize,
    /// Body of one HTTP request, and of one response. Default: 1 MiB.
    pub http_body: usize,
    /// Time of one HTTP request from its start to the end of the response. Default: 10 s.
    pub http_time: Duration,
    /// Calls of `consume` after which a fresh instance takes over. Default: never.
    pub recycle_calls: Option<u32>,
    /// Memory at which a fresh instance takes over. Default: never.
    pub recycle_memory: Option<usize>,
    /// Lines a second that are logged; more are counted and not logged. Default: 100.
    pub log_lines: u32,
    /// Length of one logged line; the rest is cut. Default: 1 KiB.
    pub log_line: usize,
    /// Closed klines that its queue holds at least; two of the largest boundaries always fit. Default: 4,096.
    #[serde(skip)]
    pub queue: usize,
}

impl Limits {
    /// The largest size that can be configured: the most memory that a 32-bit component can have.
    pub const MAX_SIZE: u64 = 4 << 30;
    /// The longest time that can be configured: a call holds its thread.
    pub const MAX_TIME: Duration = Duration::from_secs(3_600);
    /// The largest count that can be configured: a waiting kline is a few hundred bytes.
    pub const MAX_COUNT: u32 = 10_000_000;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            call: Duration::from_secs(1),
            start_up: Duration::from_secs(10),
            component_size: 32 << 20,
            hostcall_fuel: 8 << 20,
            handles: 1_000,
            table_elements: 100_000,
            instances: 100,
            random: 1 << 20,
            output: 1 << 20,
            compile_time: Duration::from_secs(60),
            compile_memory: 1 << 30,
            loaded: 96 << 20,
            state: 16 << 20,
            emit: 256 << 10,
            emit_names: 32,
            http_requests: 8,
            http_body: 1 << 20,
            http_time: Duration::from_secs(10),
            recycle_calls: None,
            recycle_memory: None,
            log_lines: 100,
            log_line: 1 << 10,
            queue: 4_096,
        }
    }
}
