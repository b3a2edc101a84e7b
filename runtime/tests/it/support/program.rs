//! Runs the real binary in its own folder and without this process's environment: starts it, reads its output,
//! interrupts it, and kills it when a test drops it. Does not interpret the log.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

#[cfg(target_os = "linux")]
use super::meter::{Meter, Usage};

/// How long anything may take on a machine that is busy with something else. The slowest wait, for the
/// quarantines of `hostile_suite`, took 84 s while two busy loops and two builds ran on two cores, and once over 300 s
/// while five other tests ran as well: guests of the lowest priority then get hardly any CPU time, and each of their
/// crashes takes until the wall-clock limit.
const PATIENCE: Duration = Duration::from_secs(900);
/// How often a condition is checked while there is new output: many conditions parse all of it.
const LOOK: Duration = Duration::from_millis(20);
/// How often a condition is checked while there is no new output.
const IDLE_LOOK: Duration = Duration::from_millis(100);

/// Creates a temporary folder with these files.
pub fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// The output of the binary so far, in whole lines.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub out: String,
    pub err: String,
    ended: [bool; 2],
}

impl Said {
    /// Returns the lines of standard error that are JSON objects: the log, if `LOG_FORMAT` is `json`.
    pub fn log(&self) -> Vec<serde_json::Value> {
        let lines = self.err.lines().filter_map(|line| serde_json::from_str(line).ok());
        lines.filter(serde_json::Value::is_object).collect()
    }

    /// Returns the lines of the log with this message.
    pub fn logged(&self, message: &str) -> Vec<serde_json::Value> {
        self.log().into_iter().filter(|line| line["message"] == message).collect()
    }

    /// Returns a number that grows with every new output.
    fn extent(&self) -> usize {
        self.out.len() + self.err.len() + self.ended.iter().filter(|ended| **ended).count()
    }

    fn has_ended(&self) -> bool {
        self.ended == [true; 2]
    }
}

/// The binary after its end.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub said: Said,
}

impl Ended {
    /// Returns the exit code.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Asserts that the exit code is 0. Returns the output.
    #[track_caller]
    pub fn success(self) -> Said {
        assert_eq!(self.code(), Some(0), "{}", self.said.err);
        self.said
    }
}

impl Ended {
    /// Asserts that only consumers that are `excused` have lost klines, and that the exit code is 1 if klines were lost
    /// at the end, else 0. Returns the output.
    #[track_caller]
    pub fn success_except(self, excused: impl Fn(&str) -> bool) -> Said {
        let losers: Vec<&str> = self.said.err.lines().filter(|line| line.contains(" lost (")).collect();
        let name = |line: &str| line.split(": ").next().unwrap_or_default().to_owned();
        assert!(losers.iter().all(|line| excused(&name(line))), "{}", self.said.err);
        let at_the_end = losers.iter().any(|line| line.contains("at the end: "));
        assert_eq!(self.code(), Some(i32::from(at_the_end)), "{}", self.said.err);
        self.said
    }
}

/// The summary of one consumer at the end of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub delivered: u64,
    pub lost: u64,
    /// Of those lost, how many because the run ended.
    pub lost_at_the_end: u64,
    pub kept: u64,
    pub set_aside: u64,
    pub state: String,
}

impl Said {
    /// Parses the summary of a consumer.
    #[track_caller]
    pub fn account(&self, consumer: &str) -> Account {
        let line = self.err.lines().find_map(|line| line.strip_prefix(&format!("{consumer}: ")));
        let line = line.unwrap_or_else(|| panic!("no summary of {consumer}: {}", self.err));
        let before = |what: &str| {
            let number = line.split(what).next().filter(|_| line.contains(what))?.rsplit(' ').next()?;
            number.parse().ok()
        };
        let at_the_end = line.split("at the end: ").nth(1);
        let at_the_end = at_the_end.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        Account {
            delivered: before(" klines delivered").or_else(|| before(" kline delivered")).unwrap(),
            lost: before(" lost (").unwrap_or(0),
            lost_at_the_end: at_the_end.map_or(0, |number| number.parse().unwrap()),
            kept: before(" kept on disk").unwrap_or(0),
            set_aside: before(" set aside").unwrap_or(0),
            state: line.rsplit('(').next().unwrap().trim_end_matches(')').to_owned(),
        }
    }
}

/// A command line that can be started.
pub struct Invocation(Command);

/// Prepares the binary with arguments separated by blanks.
pub fn klines(folder: &Path, arguments: &str) -> Invocation {
    let mut command = Command::new(env!("CARGO_BIN_EXE_klines"));
    command.args(arguments.split_whitespace()).current_dir(folder).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Invocation(command)
}

impl Invocation {
    /// Sets a variable.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    /// Adds arguments that may have blanks.
    pub fn with_arguments(mut self, arguments: &[&str]) -> Self {
        self.0.args(arguments);
        self
    }

    /// Reads this file as standard input.
    pub fn reading(mut self, file: &Path) -> Self {
        self.0.stdin(std::fs::File::open(file).unwrap());
        self
    }

    /// Sets the addresses of this exchange.
    pub fn at(self, sim: &bybit_sim::Sim) -> Self {
        self.with("BYBIT_WS_URL", &sim.ws_url()).with("BYBIT_REST_URL", &sim.rest_url())
    }

    /// Opens one connection for each set of topics, so that its loss is a gap.
    pub fn with_one_feed(self) -> Self {
        self.with("BYBIT_FEEDS", "1")
    }

    /// Makes a write beyond [`Running::limit_files`] fail, as on a full disk, instead of ending the process.
    pub fn surviving_limits(self) -> Self {
        self.ignoring("XFSZ")
    }

    /// Starts it with this signal ignored, as `nohup` does with HUP: a signal that is ignored stays ignored.
    pub fn ignoring(self, signal: &str) -> Self {
        self.after(&["sh", "-c", &format!("trap '' {signal}; exec \"$0\" \"$@\"")])
    }

    /// Starts it so that modes of files hold for it also if the tests are run by root.
    pub fn obeying_permissions(self) -> Self {
        if !rustix::process::geteuid().is_root() {
            return self;
        }
        let capabilities = "-dac_override,-dac_read_search";
        self.after(&["setpriv", "--inh-caps", capabilities, "--bounding-set", capabilities])
    }

    /// Starts it without a controlling terminal, as a service.
    pub fn without_terminal(self) -> Self {
        self.after(&["setsid"])
    }

    /// Starts it with a controlling terminal, whose other end is returned: the terminal is there as long as that is.
    pub fn in_terminal(self) -> (Self, std::os::fd::OwnedFd) {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        // The standard input of `setsid` becomes the controlling terminal of what it runs.
        let mut run = self.after(&["setsid", "--ctty"]);
        run.0.stdin(std::fs::File::options().read(true).write(true).open(name).unwrap());
        (run, master)
    }

    /// Starts it by another command, which is given the program and its arguments.
    fn after(self, by: &[&str]) -> Self {
        let mut command = Command::new(by[0]);
        command.args(&by[1..]).arg(self.0.get_program()).args(self.0.get_args());
        command.env_clear().envs(self.0.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(self.0.get_current_dir().unwrap());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command)
    }

    /// Starts it.
    pub fn start(self) -> Running {
        let (run, out) = self.start_unread();
        listen(out, run.heard.clone(), 0);
        run
    }

    /// Starts it and leaves its standard output to the caller, who may let it fill up or close it.
    pub fn start_unread(mut self) -> (Running, ChildStdout) {
        let mut child = self.0.spawn().unwrap();
        let heard = Arc::new((Mutex::new(Said::default()), Condvar::new()));
        let out = child.stdout.take().unwrap();
        listen(child.stderr.take().unwrap(), heard.clone(), 1);
        (Running { child, heard }, out)
    }

    /// Starts it and waits for its end.
    pub fn run(self) -> Ended {
        self.start().end()
    }
}

type Heard = Arc<(Mutex<Said>, Condvar)>;

fn listen(stream: impl Read + Send + 'static, heard: Heard, which: usize) {
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            // The lock is poisoned when the test has failed: the rest is not needed.
            let Ok(mut said) = heard.0.lock() else { return };
            let text = if which == 0 { &mut said.out } else { &mut said.err };
            text.push_str(&String::from_utf8_lossy(&line));
            line.clear();
            heard.1.notify_all();
        }
        if let Ok(mut said) = heard.0.lock() {
            said.ended[which] = true;
        }
        heard.1.notify_all();
    });
}

/// The running binary. Dropping it kills it.
pub struct Running {
    child: Child,
    heard: Heard,
}

impl Running {
    /// Waits until `enough` is true of the output; it is checked after new output and every few moments.
    #[track_caller]
    pub fn until(&self, what: &str, mut enough: impl FnMut(&Said) -> bool) {
        self.wait(what, |said| if enough(said) { Some(true) } else { said.has_ended().then_some(false) });
    }

    /// Returns the output so far.
    pub fn said(&self) -> Said {
        self.heard.0.lock().unwrap().clone()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    /// Limits each file that it writes to `bytes`; the last write is cut short.
    #[cfg(target_os = "linux")]
    pub fn limit_files(&self, bytes: u64) {
        use rustix::process::{Resource, Rlimit, prlimit};

        prlimit(Some(self.pid()), Resource::Fsize, Rlimit { current: Some(bytes), maximum: Some(bytes) }).unwrap();
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Sends SIGHUP, as a terminal does that is closed.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Sends SIGSTOP: all threads stop where they are, as on a machine that gives the process no CPU time.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Sends SIGCONT: it goes on after [`Self::freeze`].
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Returns the resources that it uses: memory at its peak up to now, the others at this moment.
    #[cfg(target_os = "linux")]
    pub fn usage(&self) -> Usage {
        Usage::of(self.child.id()).unwrap()
    }

    /// Starts to sample the resources that it uses.
    #[cfg(target_os = "linux")]
    pub fn meter(&self) -> Meter {
        Meter::start(self.child.id())
    }

    /// Waits for the end of a binary whose standard output is not read here.
    #[track_caller]
    pub fn end_unread(mut self) -> Ended {
        self.wait("the end", |said| said.ended[1].then_some(true));
        let status = self.child.wait().unwrap();
        Ended { status, said: self.said() }
    }

    /// Waits for the end.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        self.wait("the end", |said| said.has_ended().then_some(true));
        let status = self.child.wait().unwrap();
        Ended { status, said: self.said() }
    }

    /// Interrupts and waits for the end.
    #[track_caller]
    pub fn stop(self) -> Ended {
        self.interrupt();
        self.end()
    }

    /// Sends SIGKILL and waits for the end.
    #[track_caller]
    pub fn kill(mut self) -> Ended {
        self.child.kill().unwrap();
        self.end()
    }

    /// Waits until `decided` returns `Some`; panics on `Some(false)`.
    #[track_caller]
    fn wait(&self, what: &str, mut decided: impl FnMut(&Said) -> Option<bool>) {
        let deadline = Instant::now() + PATIENCE;
        let mut said = self.heard.0.lock().unwrap();
        loop {
            let outcome = decided(&said);
            if outcome == Some(true) {
                return;
            }
            let why = if outcome.is_some() { "it ended before" } else { "waited long for" };
            if outcome.is_some() || Instant::now() > deadline {
                let (err, out) = (&said.err, tail(&said.out));
                panic!("{why} {what}\n--- standard error\n{err}\n--- end of standard output\n{out}");
            }
            let (extent, looked) = (said.extent(), Instant::now());
            while looked.elapsed() < LOOK || (said.extent() == extent && looked.elapsed() < IDLE_LOOK) {
                said = self.heard.1.wait_timeout(said, LOOK).unwrap().0;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// Returns the path of a component that `make components` has built.
pub fn component(name: &str) -> PathBuf {
    let folder = std::env::var_os("KLINES_COMPONENTS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/components")), PathBuf::from);
    let path = folder.join(name).with_extension("wasm");
    path.canonicalize().unwrap_or_else(|_| panic!("the component `{name}` is missing: type `make components`"))
}

/// Returns a test component with one more custom section, short enough for lengths of one byte.
pub fn with_section(component_name: &str, name: &str, content: &str) -> Vec<u8> {
    let mut bytes = std::fs::read(component(component_name)).unwrap();
    let length = u8::try_from(1 + name.len() + content.len()).unwrap();
    assert!(length < 128);
    bytes.extend([0, length, u8::try_from(name.len()).unwrap()]);
    bytes.extend(name.as_bytes());
    bytes.extend(content.as_bytes());
    bytes
}
