//! `klines top` in a terminal: it shows a run, takes keys, and leaves the terminal as it was, however it ends; and the
//! figures of `status`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value;

use super::wait_for_socket;
use crate::live::{UNREPAIRED, demo, run_at};
use crate::support::program::{Running, component, folder, klines};

const PATIENCE: Duration = Duration::from_secs(300);
/// What leaves the screen that programs draw on.
const LEFT: &str = "\u{1b}[?1049l";

/// `klines top` in a terminal of its own.
struct Top {
    child: Child,
    terminal: OwnedFd,
    /// The other end, which keeps the terminal's modes after the program.
    inner: std::fs::File,
    shown: Arc<Mutex<Screen>>,
}

/// What a terminal was sent, and what it shows: enough of a terminal for a program that only moves the cursor and writes.
#[derive(Default)]
struct Screen {
    sent: String,
    cells: BTreeMap<(usize, usize), char>,
    at: (usize, usize),
    /// The control sequence that has begun.
    control: Option<String>,
}

impl Screen {
    fn write(&mut self, text: &str) {
        self.sent.push_str(text);
        text.chars().for_each(|found| self.put(found));
    }

    fn put(&mut self, found: char) {
        match (self.control.take(), found) {
            (None, '\u{1b}') => self.control = Some(String::new()),
            (None, found) if found.is_control() => {}
            (None, found) => {
                self.cells.insert(self.at, found);
                self.at.1 += 1;
            }
            (Some(control), '[' | '?' | ';' | '0'..='9') => self.control = Some(format!("{control}{found}")),
            (Some(control), 'H') => {
                let mut numbers = control.trim_start_matches('[').split(';').map(|number| number.parse().unwrap_or(1));
                self.at = (numbers.next().unwrap_or(1), numbers.next().unwrap_or(1));
            }
            (Some(_), 'J') => self.cells.clear(),
            (Some(_), _) => {}
        }
    }

    fn lines(&self) -> Vec<String> {
        let line = |row: usize| (1..=80).map(|column| self.cells.get(&(row, column)).copied().unwrap_or(' ')).collect();
        (1..=24).map(line).collect()
    }

    fn has(&self, what: &str) -> bool {
        self.sent.contains(what) || self.lines().iter().any(|line| line.contains(what))
    }
}

impl Top {
    fn start(home: &Path) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        let inner = std::fs::File::options().read(true).write(true).open(name).unwrap();
        tcsetwinsize(&inner, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let stdio = || Stdio::from(inner.try_clone().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_klines"));
        command.arg("top").current_dir(home).env_clear().env("TERM", "xterm").env("NO_COLOR", "1");
        let child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
        let shown = Arc::new(Mutex::new(Screen::default()));
        let (mut reader, text) = (std::fs::File::from(terminal.try_clone().unwrap()), shown.clone());
        std::thread::spawn(move || {
            let (mut bytes, mut rest) = ([0; 4_096], Vec::new());
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                rest.extend_from_slice(&bytes[..count]);
                let whole = rest.utf8_chunks().next().map_or(0, |chunk| chunk.valid().len());
                let part: Vec<u8> = rest.drain(..whole).collect();
                text.lock().unwrap().write(std::str::from_utf8(&part).unwrap());
            }
        });
        Self { child, terminal, inner, shown }
    }

    fn press(&self, keys: &str) {
        rustix::io::write(&self.terminal, keys.as_bytes()).unwrap();
    }

    /// Waits until this was drawn.
    #[track_caller]
    fn until(&self, what: &str) {
        let (signal, began) = (std::sync::mpsc::channel::<()>(), Instant::now());
        while !self.shown.lock().unwrap().has(what) {
            let lines = self.shown.lock().unwrap().lines().join("\n");
            assert!(began.elapsed() < PATIENCE, "waited long for {what}:\n{lines}");
            let _ = signal.1.recv_timeout(Duration::from_millis(20));
        }
    }

    /// Waits for its end, and asserts that the terminal is as it was. Returns the exit code.
    #[track_caller]
    fn end(mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        self.until(LEFT);
        let modes = tcgetattr(&self.inner).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO), "{modes:?}");
        code
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        // It may have ended by itself, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn state(home: &Path, name: &str) -> String {
    let said = klines(home, "consumer list --json").run().success();
    let rows: Vec<Value> = serde_json::from_str(&said.out).unwrap();
    rows.iter().find(|row| row["name"] == name).unwrap()["state"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_is_paused_and_resumed_by_a_key_and_a_crash_is_followed() {
    let toml = format!(
        "{UNREPAIRED}[consumers.bad]\ncomponent = {:?}\n[consumers.bad.settings]\nmode = \"trap\"\n",
        component("hostile")
    );
    let (sim, home) = (demo(95).await, folder(&[("klines.toml", &toml)]));
    let run = run_at(&home, &sim, "BTCUSDT,ETHUSDT", "100ms,1s").with("ENABLED_CONSUMERS", "console,bad").start();
    wait_for_socket(&run, home.path());
    let top = Top::start(home.path());
    for shown in ["linear", "console", "BTCUSDT"] {
        top.until(shown);
    }
    run.until("a crash", |_| ["backoff", "quarantined"].contains(&state(home.path(), "bad").as_str()));
    top.press("p");
    top.until("console is paused");
    assert_eq!(state(home.path(), "console"), "paused");
    top.press("r");
    top.until("console is resumed");
    run.until("it runs again", |_| state(home.path(), "console") == "running");
    top.press("jl");
    top.until("LOG of bad");
    top.until("consumer crashed and gets a new instance");
    top.press("?");
    top.until("any key closes the help");
    top.press(" q");
    assert_eq!(top.end(), Some(0));
    run.stop().success_except(|name| name == "bad");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_is_restored_after_a_signal_and_when_the_run_ends() {
    let (sim, home) = (demo(96).await, folder(&[("klines.toml", UNREPAIRED)]));
    let without = klines(home.path(), "top").with("TERM", "xterm").run();
    assert_eq!(without.code(), Some(1));
    assert!(without.said.err.contains("klines top needs a terminal"), "{}", without.said.err);
    let none = Top::start(home.path());
    none.until("no klines runs with the data_dir `klines-data`");
    let run = run_at(&home, &sim, "BTCUSDT", "100ms").start();
    wait_for_socket(&run, home.path());
    for signal in [Signal::TERM, Signal::INT] {
        let top = Top::start(home.path());
        top.until("BTCUSDT");
        kill_process(Pid::from_child(&top.child), signal).unwrap();
        assert_eq!(top.end(), Some(0));
    }
    let top = Top::start(home.path());
    top.until("BTCUSDT");
    run.stop().success();
    top.until("klines has ended");
    assert_eq!(top.end(), Some(0));
}

/// Asks a run for its status.
fn status(home: &Path) -> Value {
    let mut stream = UnixStream::connect(home.join("klines-data/admin.sock")).unwrap();
    stream.write_all(b"{\"v\":1,\"op\":\"status\"}\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    let mut answer: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(answer["v"], 1);
    answer["status"].take()
}

/// Returns a metric, without its labels.
fn metric(page: &str, name: &str) -> u64 {
    let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {page}"));
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
}

fn is_near(run: &Running, home: &Path, page: impl Fn() -> String, metric_name: &str, pointer: &str) {
    // Between two metrics pages, a status lies between their values.
    run.until("a status", |_| status(home).pointer(pointer).and_then(Value::as_u64) > Some(0));
    let before = metric(&page(), metric_name);
    let found = status(home).pointer(pointer).and_then(Value::as_u64).unwrap();
    let after = metric(&page(), metric_name);
    assert!((before..=after).contains(&found), "{pointer} is {found}, {metric_name} was {before} and is {after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_has_the_figures_of_the_metrics() {
    let toml = format!("{UNREPAIRED}[metrics]\nlisten = \"127.0.0.1:0\"\n");
    let (sim, home) = (demo(97).await, folder(&[("klines.toml", &toml)]));
    let run = run_at(&home, &sim, "BTCUSDT,ETHUSDT", "100ms,1s").start();
    wait_for_socket(&run, home.path());
    run.until("metrics", |said| !said.logged("serving metrics").is_empty());
    let address = run.said().logged("serving metrics")[0]["address"].as_str().unwrap().parse().unwrap();
    let page = || crate::websocket::peer::get(address, "/metrics", "").1;
    run.until("klines", |said| said.out.lines().count() > 20);
    for (name, pointer) in [
        ("klines_batches_total", "/batches"),
        ("klines_trades_received_total", "/feeds/0/received"),
        ("klines_feed_connections_opened_total", "/feeds/0/opened"),
        ("klines_closing_delay_seconds_count", "/closing/count"),
        ("klines_consumer_klines_total", "/consumers/0/klines"),
        ("klines_consumer_lag_seconds_count", "/consumers/0/lag/count"),
        ("klines_rest_requests_total", "/rest/requests"),
    ] {
        is_near(&run, home.path(), page, name, pointer);
    }
    let found = status(home.path());
    let feed = &found["feeds"][0];
    assert_eq!((&feed["category"], &feed["state"], &feed["symbols"]), (&"linear".into(), &"live".into(), &2.into()));
    assert_eq!((&found["intervals"], &found["ending"]), (&serde_json::json!(["100ms", "1s"]), &false.into()));
    run.stop().success();
}
