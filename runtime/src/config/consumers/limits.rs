//! `[consumers.NAME.limits]`: what a consumer may use up. All are on.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::loader::{Key, Loader, Section};
use crate::config::quantity::{ByteSize, HumanDuration};
use crate::config::value::Value;

const MEMORY: Key = Key::new("memory");
const CALL: Key = Key::new("call");
const START_UP: Key = Key::new("start_up");
const COMPONENT_SIZE: Key = Key::new("component_size");
const HOSTCALL_FUEL: Key = Key::new("hostcall_fuel");
const HANDLES: Key = Key::new("handles");
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
    /// Log lines a second. Default: 100.
    pub log_lines: u32,
    /// Bytes of one log line. Default: 1 KiB.
    pub log_line: u64,
    /// Klines that wait for it. Default: 4,096.
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
/// The most klines that may wait; each is a few hundred bytes.
const LONGEST_QUEUE: NonZeroU32 = NonZeroU32::MIN.saturating_add(9_999_999);

impl Limits {
    pub(super) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let mut size = |loader: &mut Loader<'_>, key, default| {
            between(loader, section, key, ByteSize(default), ByteSize(1), MOST_MEMORY).0
        };
        let memory = size(loader, MEMORY, default.memory);
        let component_size = size(loader, COMPONENT_SIZE, default.component_size);
        let hostcall_fuel = size(loader, HOSTCALL_FUEL, default.hostcall_fuel);
        let log_line = size(loader, LOG_LINE, default.log_line);
        let mut time = |loader: &mut Loader<'_>, key, default| {
            between(loader, section, key, HumanDuration(default), HumanDuration::millis(1), LONGEST).0
        };
        let call = time(loader, CALL, default.call);
        let start_up = time(loader, START_UP, default.start_up);
        let mut count = |loader: &mut Loader<'_>, key, default: u32| {
            let default = NonZeroU32::new(default).unwrap_or(NonZeroU32::MIN);
            between(loader, section, key, default, NonZeroU32::MIN, LONGEST_QUEUE).get()
        };
        let handles = count(loader, HANDLES, default.handles);
        let log_lines = count(loader, LOG_LINES, default.log_lines);
        let queue = count(loader, QUEUE, default.queue);
        Self { memory, call, start_up, component_size, hostcall_fuel, handles, log_lines, log_line, queue }
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
