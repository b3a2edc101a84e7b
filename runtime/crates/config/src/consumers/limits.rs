//! Reads `[consumers.NAME.limits]` into [`Limits`], which has the defaults and the bounds.

use std::num::NonZeroU32;
use std::time::Duration;

use klines_system::limits::Limits;

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

/// Reads the keys of one section.
struct Reader<'r, 'l, 's> {
    loader: &'r mut Loader<'l>,
    section: &'r mut Section<'s>,
}

/// Reads the limits of one consumer; keys that are not written have their defaults.
pub fn read(loader: &mut Loader<'_>, section: &mut Section<'_>) -> Limits {
    let default = Limits::default();
    let mut reader = Reader { loader, section };
    // `config show` lists the keys in this order.
    Limits {
        memory: reader.size(MEMORY, default.memory),
        component_size: reader.bytes(COMPONENT_SIZE, default.component_size),
        hostcall_fuel: reader.size(HOSTCALL_FUEL, default.hostcall_fuel),
        random: reader.bytes(RANDOM, default.random),
        output: reader.size(OUTPUT, default.output),
        compile_memory: reader.bytes(COMPILE_MEMORY, default.compile_memory),
        loaded: reader.bytes(LOADED, default.loaded),
        state: reader.size(STATE, default.state),
        emit: reader.size(EMIT, default.emit),
        http_body: reader.size(HTTP_BODY, default.http_body),
        log_line: reader.size(LOG_LINE, default.log_line),
        call: reader.time(CALL, default.call),
        start_up: reader.time(START_UP, default.start_up),
        compile_time: reader.time(COMPILE_TIME, default.compile_time),
        http_time: reader.time(HTTP_TIME, default.http_time),
        handles: reader.count(HANDLES, default.handles),
        table_elements: reader.count(TABLE_ELEMENTS, default.table_elements),
        instances: reader.count(INSTANCES, default.instances),
        emit_names: reader.count(EMIT_NAMES, default.emit_names),
        http_requests: reader.count(HTTP_REQUESTS, default.http_requests),
        log_lines: reader.number(LOG_LINES, default.log_lines),
        queue: reader.count(QUEUE, default.queue),
        recycle_calls: reader
            .loader
            .read_optional::<NonZeroU32>(reader.section, RECYCLE_CALLS)
            .map(|calls| calls.value.get()),
        recycle_memory: reader
            .loader
            .read_optional::<ByteSize>(reader.section, RECYCLE_MEMORY)
            .map(|memory| fitting(memory.value.0)),
    }
}

impl Reader<'_, '_, '_> {
    fn bytes(&mut self, key: Key, default: u64) -> u64 {
        let most = ByteSize(Limits::MAX_SIZE);
        between(self.loader, self.section, key, ByteSize(default), ByteSize(1), most).0
    }

    fn size(&mut self, key: Key, default: usize) -> usize {
        fitting(self.bytes(key, default as u64))
    }

    fn time(&mut self, key: Key, default: Duration) -> Duration {
        let (least, most) = (HumanDuration::millis(1), HumanDuration(Limits::MAX_TIME));
        between(self.loader, self.section, key, HumanDuration(default), least, most).0
    }

    fn number(&mut self, key: Key, default: u32) -> u32 {
        let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        between(self.loader, self.section, key, number(default), NonZeroU32::MIN, number(Limits::MAX_COUNT)).get()
    }

    fn count(&mut self, key: Key, default: usize) -> usize {
        fitting(self.number(key, u32::try_from(default).unwrap_or(u32::MAX)))
    }
}

/// Converts a size or count to `usize`; returns the largest `usize` if it does not fit.
fn fitting(read: impl TryInto<usize>) -> usize {
    read.try_into().unwrap_or(usize::MAX)
}

/// Reads a limit and reports a value outside `least` to `most`.
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
