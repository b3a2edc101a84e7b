//! The resource limits of one consumer: memory, time, storage and counts, with their defaults and bounds. Measures
//! nothing itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The limits of one consumer. All are always enforced; sizes are in bytes. The names are those of
/// `[consumers.NAME.limits]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory of all its instances and linear memories together. Default: 64 MiB.
    pub memory: usize,
    /// Time of one call, including host calls, excluding the wait for a granted terminal. Default: 1 s.
    pub call: Duration,
    /// Time of each start step: instantiation, `setup`, `start`. Default: 10 s.
    pub start_up: Duration,
    /// Size of the component file. Default: 32 MiB.
    #[serde(rename = "component")]
    pub component_size: u64,
    /// Memory that the host may allocate for one call of the guest into the host. Default: 8 MiB.
    #[serde(rename = "hostcall")]
    pub hostcall_fuel: usize,
    /// Number of open resources (streams, files, timers) at one time. Default: 1,000.
    pub handles: usize,
    /// Number of elements of all tables together. Default: 100,000.
    pub table_elements: usize,
    /// Number of core instances inside the component: the runtimes of the largest languages have about a dozen.
    /// Default: 100.
    pub instances: usize,
    /// Size of one request for random bytes. Default: 1 MiB.
    pub random: u64,
    /// Output of one call to standard output and standard error; the rest is dropped and counted. Does not apply to a
    /// granted standard output. Default: 1 MiB.
    pub output: usize,
    /// Time to compile the component. Default: 60 s.
    pub compile_time: Duration,
    /// Memory to compile the component. Default: 1 GiB.
    pub compile_memory: u64,
    /// Memory of its compiled code and metadata, and of its core instances without their memories and tables. Default:
    /// 96 MiB.
    pub loaded: u64,
    /// Size of the keys and values of its persistent state together. Default: 16 MiB.
    pub state: usize,
    /// Size of the values that one call may publish; a value counts 64 bytes plus its text. Default: 256 KiB.
    pub emit: usize,
    /// Number of series that it may publish, over all symbols and intervals. Default: 32.
    pub emit_names: usize,
    /// Number of HTTP requests in flight at one time. Default: 8.
    pub http_requests: usize,
    /// Size of the body of one HTTP request, and of one response. Default: 1 MiB.
    pub http_body: usize,
    /// Time of one HTTP request from its start to the end of the response. Default: 10 s.
    pub http_time: Duration,
    /// Number of calls of `consume` after which a fresh instance replaces the old one. Default: never.
    pub recycle_calls: Option<u32>,
    /// Memory at which a fresh instance replaces the old one. Default: never.
    pub recycle_memory: Option<usize>,
    /// Number of lines per second that are logged; further lines are counted and dropped. Default: 100.
    pub log_lines: u32,
    /// Length of one logged line; the rest is cut. Default: 1 KiB.
    pub log_line: usize,
    /// Minimum number of closed klines that its queue holds; two of the largest boundaries always fit. Default: 4,096.
    #[serde(skip)]
    pub queue: usize,
}

impl Limits {
    /// The largest size that can be configured: the maximum memory of a 32-bit component.
    pub const MAX_SIZE: u64 = 4 << 30;
    /// The longest time that can be configured: a call blocks its thread.
    pub const MAX_TIME: Duration = Duration::from_secs(3_600);
    /// The largest count that can be configured: a queued kline takes a few hundred bytes.
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
