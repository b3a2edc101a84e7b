//! `[consumers.NAME.limits]`: what a consumer may use up. All are on.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::loader::{Key, Loader, Section};
use crate::quantity::{ByteSize, HumanDuration};
use crate::value::Value;

const MEMORY: Key = Key::new("memory");
const CALL: Key = Key::new("call");
const START_UP: Key = Key::new("start_up");
const COMPONENT_SIZE: Key = Key::new("component_size");
const HOSTCALL_FUEL: Key = Key::new("hostcall_fuel");
const HANDLES: Key = Key::new("handles");
const TABLE_ELEMENTS: Key = Key::new("table_elements");
const INSTANCES: Key = Key::new("instances");
const RANDOM: Key = Key::new("random");
const OUTPUT: Key = Key::new("output");
const COMPILE_TIME: Key = Key::new("compile_time");
const COMPILE_MEMORY: Key = Key::new("compile_memory");
const LOADED: Key = Key::new("loaded");
const STATE: Key = Key::new("state");
const EMIT: Key = Key::new("emit");
const EMIT_NAMES: Key = Key::new("emit_names");
const HTTP_REQUESTS: Key = Key::new("http_requests");
const HTTP_BODY: Key = Key::new("http_body");
const HTTP_TIME: Key = Key::new("http_time");
const RECYCLE_CALLS: Key = Key::new("recycle_calls");
const RECYCLE_MEMORY: Key = Key::new("recycle_memory");
const LOG_LINES: Key = Key::new("log_lines");
const LOG_LINE: Key = Key::new("log_line");
const QUEUE: Key = Key::new("queue");

/// What a consumer may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory, all its instances and memories together. Default: 64 MiB.
    pub memory: u64,
    /// Time for one call, the host's part included. Default: 1 s.
    pub call: Duration,
    /// Time of each step of starting: making the instance, `setup`, `start`. Default: 10 s.
    pub start_up: Duration,
    /// Bytes of the component's file. Default: 32 MiB.
    pub component_size: u64,
    /// Bytes that one call may make the host copy in. Default: 8 MiB.
    pub hostcall_fuel: u64,
    /// Open handles (files, streams, …). Default: 1,000.
    pub handles: u32,
    /// Elements of all tables together. Default: 100,000.
    pub table_elements: u32,
    /// Core instances inside the component. Default: 100.
    pub instances: u32,
    /// Bytes of one request for random numbers. Default: 1 MiB.
    pub random: u64,
    /// Bytes that one call may write to standard output and standard error; the rest is dropped and counted. Not for
    /// a granted standard output. Default: 1 MiB.
    pub output: u64,
    /// Time for compiling the component. Default: 60 s.
    pub compile_time: Duration,
    /// Memory for compiling the component, in bytes. Default: 1 GiB.
    pub compile_memory: u64,
    /// Bytes of memory that its compiled code and its metadata take, and its core instances outside of their memories
    /// and tables. Default: 96 MiB.
    pub loaded: u64,
    /// Bytes of its persistent state, keys and values. Default: 16 MiB.
    pub state: u64,
    /// Bytes that one call may publish of its own series; a value counts as 64 and its text. Default: 256 KiB.
    pub emit: u64,
    /// Series of its own, over all symbols and intervals. Default: 32.
    pub emit_names: u32,
    /// HTTP requests under way at one time. Default: 8.
    pub http_requests: u32,
    /// Bytes of one HTTP request's body, and of one response's. Default: 1 MiB.
    pub http_body: u64,
    /// Time of one HTTP request from its start to the end of the response. Default: 10 s.
    pub http_time: Duration,
    /// Calls of `consume` after which the instance is replaced by a fresh one. Default: never.
    pub recycle_calls: Option<u32>,
    /// Bytes of memory at which the instance is replaced by a fresh one. Default: never.
    pub recycle_memory: Option<u64>,
    /// Log lines a second. Default: 100.
    pub log_lines: u32,
    /// Bytes of one log line. Default: 1 KiB.
    pub log_line: u64,
    /// Closed klines that wait for it, at least; two of the largest boundaries always fit. Default: 4,096.
    pub queue: u32,
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

/// The most memory that a 32-bit component can have.
const MOST_MEMORY: ByteSize = ByteSize(4 << 30);
/// The longest that a call may hold its thread.
const LONGEST: HumanDuration = HumanDuration::millis(3_600_000);
/// The most of anything that is counted: a waiting kline is a few hundred bytes.
const MOST_COUNT: NonZeroU32 = NonZeroU32::MIN.saturating_add(9_999_999);

impl Limits {
    pub(crate) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let mut size = |key, default| between(loader, section, key, ByteSize(default), ByteSize(1), MOST_MEMORY).0;
        let memory = size(MEMORY, default.memory);
        let component_size = size(COMPONENT_SIZE, default.component_size);
        let hostcall_fuel = size(HOSTCALL_FUEL, default.hostcall_fuel);
        let random = size(RANDOM, default.random);
        let output = size(OUTPUT, default.output);
        let compile_memory = size(COMPILE_MEMORY, default.compile_memory);
        let loaded = size(LOADED, default.loaded);
        let state = size(STATE, default.state);
        let emit = size(EMIT, default.emit);
        let http_body = size(HTTP_BODY, default.http_body);
        let log_line = size(LOG_LINE, default.log_line);
        let mut time =
            |key, default| between(loader, section, key, HumanDuration(default), HumanDuration::millis(1), LONGEST).0;
        let call = time(CALL, default.call);
        let start_up = time(START_UP, default.start_up);
        let compile_time = time(COMPILE_TIME, default.compile_time);
        let http_time = time(HTTP_TIME, default.http_time);
        let mut count = |key, default: u32| {
            let default = NonZeroU32::new(default).unwrap_or(NonZeroU32::MIN);
            between(loader, section, key, default, NonZeroU32::MIN, MOST_COUNT).get()
        };
        let handles = count(HANDLES, default.handles);
        let table_elements = count(TABLE_ELEMENTS, default.table_elements);
        let instances = count(INSTANCES, default.instances);
        let emit_names = count(EMIT_NAMES, default.emit_names);
        let http_requests = count(HTTP_REQUESTS, default.http_requests);
        let log_lines = count(LOG_LINES, default.log_lines);
        let queue = count(QUEUE, default.queue);
        let recycle_calls = loader.read_optional::<NonZeroU32>(section, RECYCLE_CALLS);
        let recycle_memory = loader.read_optional::<ByteSize>(section, RECYCLE_MEMORY);
        Self {
            memory,
            call,
            start_up,
            component_size,
            hostcall_fuel,
            handles,
            table_elements,
            instances,
            random,
            output,
            compile_time,
            compile_memory,
            loaded,
            state,
            emit,
            emit_names,
            http_requests,
            http_body,
            http_time,
            recycle_calls: recycle_calls.map(|calls| calls.value.get()),
            recycle_memory: recycle_memory.map(|memory| memory.value.0),
            log_lines,
            log_line,
            queue,
        }
    }
}

/// Reads a limit that has a least and a most.
fn between<T: Value + Copy + PartialOrd>(
    loader: &mut Loader<'_>,
    section: &mut Section<'_>,
    key: Key,
    default: T,
    least: T,
    most: T,
) -> T {
    let read = loader.read(section, key, default);
    if read.value < least || read.value > most {
        let message = format!("`{}` is out of range", read.value.show());
        let diagnostic = read.error(message);
        loader.report.push(diagnostic.expected(format!("{} to {}", least.show(), most.show())));
    }
    read.value
}
