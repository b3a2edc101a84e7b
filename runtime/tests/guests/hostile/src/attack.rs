//! The attacks, one function each. The crate root decides when each one runs.

pub(crate) mod folder;
pub(crate) mod http;

use std::fs;
use std::hint::black_box;
use std::io::Write;

use klines_guest::{Failure, Level, Problem, emit, info, log};

/// Spins; only the runtime's deadline ends it.
pub(crate) fn run_forever() -> ! {
    loop {
        black_box(());
    }
}

#[allow(clippy::panic, reason = "the panic is the attack")]
pub(crate) fn panic_in(call: &str) -> ! {
    panic!("hostile panic in {call}")
}

pub(crate) fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort();
}

/// Allocates memory in blocks of 1 MiB and writes to every page, so that it is really used.
pub(crate) fn take_all_memory() -> Result<(), Failure> {
    let mut blocks = Vec::new();
    loop {
        let mut block: Vec<u8> = Vec::new();
        if block.try_reserve_exact(1 << 20).is_err() {
            let taken = blocks.len();
            drop(blocks);
            info!("memory refused after {taken} MiB");
            return Err(Failure::fatal(format!("memory refused after {taken} MiB")));
        }
        block.resize(1 << 20, 0xA5);
        blocks.push(black_box(block));
    }
}

pub(crate) fn flood_log() {
    for line in 0..10_000 {
        info!("\u{1b}[2J\u{1b}[31mflood {line}\r\n2026-01-01 ERROR klines: forged line\u{7}\u{9b}0m\0");
    }
}

pub(crate) fn log_bytes(size: u32) {
    let text = "x".repeat(usize::try_from(size).unwrap_or(usize::MAX));
    log(Level::Info, &text);
    info!("the big line came through");
}

/// Writes without the print macros, which the lints allow only in code that prints by design.
pub(crate) fn print() {
    let out = writeln!(std::io::stdout(), "hostile standard output");
    let err = writeln!(std::io::stderr(), "hostile standard error");
    info!("stdout {out:?} stderr {err:?}");
}

/// Writes lines that look like the runtime's, with invisible characters.
pub(crate) fn forge_log() {
    let forged = "2026-01-01T00:00:00.000Z  INFO consumer started consumer=\"redis\"";
    info!("{forged}\u{202e}\u{200b}\u{e0041}\u{1b}[2J");
    let _ = writeln!(std::io::stdout(), "{forged}\rout");
    let _ = writeln!(std::io::stderr(), "{forged}\u{3164}err");
}

pub(crate) fn flood_output(size: u32) {
    let piece = [b'x'; 4_096];
    let mut out = std::io::stdout();
    let written = (0..size / 4_096).take_while(|_| out.write_all(&piece).is_ok()).count();
    info!("wrote {} bytes", written * piece.len());
}

pub(crate) fn ask_for_random(size: u32) {
    #[cfg(target_arch = "wasm32")]
    {
        let bytes = wasip2::random::random::get_random_bytes(u64::from(size));
        info!("got {} random bytes", bytes.len());
    }
    #[cfg(not(target_arch = "wasm32"))]
    info!("got none of {size} random bytes");
}

pub(crate) fn fill_state() {
    let piece = vec![7; 1 << 20];
    let mut kept = 0;
    let refused = loop {
        match klines_guest::state::set(&format!("piece-{kept}"), &piece) {
            Ok(()) => kept += 1,
            Err(reason) => break reason,
        }
    };
    info!("kept {kept} MiB: {refused}");
}

/// Sets keys of 256 bytes and deletes each at once, so that none is kept.
pub(crate) fn churn_state(count: u32) {
    for number in 0..count {
        let key = format!("{number:0>256}");
        if let Err(reason) = klines_guest::state::set(&key, b"") {
            info!("churn refused after {number} keys: {reason}");
            return;
        }
        klines_guest::state::delete(&key);
    }
    info!("churned {count} keys, {} are left", klines_guest::state::list_keys("").len());
}

/// Publishes numbers under new names until one is refused, then large texts until one is refused, and then 1,000 more.
pub(crate) fn flood_series() {
    let (mut names, mut texts) = (0, 0);
    let name_refused = loop {
        match emit::number(0, &format!("n{names}"), 1.0) {
            Ok(()) => names += 1,
            Err(reason) => break reason,
        }
    };
    let text = "t".repeat(4_000);
    let text_refused = loop {
        match emit::json(0, "n0", &text) {
            Ok(()) => texts += 1,
            Err(reason) => break reason,
        }
    };
    let refused = (0..1_000).filter(|_| emit::json(0, "n0", &text).is_err()).count();
    info!("{names} names: {name_refused}; {texts} texts: {text_refused}; {refused} more refused");
}

pub(crate) fn look_at_environment() {
    info!("vars {} args {}", std::env::vars_os().count(), std::env::args_os().count());
}

pub(crate) fn list_environment() {
    for (name, value) in std::env::vars() {
        info!("{name}={value}");
    }
    info!("that was all");
}

pub(crate) fn look_for_files() {
    for path in ["/etc/passwd", "..", "../..", "/out/../../etc/passwd", "/proc/self/environ"] {
        match fs::read(path) {
            Ok(bytes) => info!("read {path}: got {} bytes", bytes.len()),
            Err(e) => info!("read {path}: {e}"),
        }
    }
    for path in [".", "/", "/out", "/out/..", "/tmp"] {
        match fs::read_dir(path) {
            Ok(entries) => info!("list {path}: got {} entries", entries.count()),
            Err(e) => info!("list {path}: {e}"),
        }
    }
    for path in ["/tmp/hostile", "hostile", "/out/../hostile"] {
        match fs::write(path, "hostile") {
            Ok(()) => info!("write {path}: got it"),
            Err(e) => info!("write {path}: {e}"),
        }
    }
}

/// Keeps `count` timers of a day open at the same time.
pub(crate) fn open_handles(count: u32) {
    #[cfg(target_arch = "wasm32")]
    {
        let day = 86_400_000_000_000;
        let timers: Vec<_> = (0..count).map(|_| wasip2::clocks::monotonic_clock::subscribe_duration(day)).collect();
        info!("opened {} handles", timers.len());
    }
    #[cfg(not(target_arch = "wasm32"))]
    info!("opened 0 of {count} handles");
}

#[expect(clippy::disallowed_methods, reason = "the wait is the attack")]
pub(crate) fn sleep() {
    std::thread::sleep(std::time::Duration::from_secs(86_400));
    info!("slept for a day");
}

#[expect(clippy::disallowed_methods, reason = "the delay is the attack")]
pub(crate) fn refuse_late() -> Vec<Problem> {
    std::thread::sleep(std::time::Duration::from_secs(3));
    vec![Problem::new("mode", "refused late", "another mode")]
}

/// Recurses without end in a way that no compiler turns into a loop.
#[allow(unconditional_recursion, reason = "the recursion is the attack")]
pub(crate) fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    let below = recurse(black_box(depth + 1));
    below + frame.iter().sum::<u64>()
}
