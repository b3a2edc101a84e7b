//! What a running process takes of the machine: peak memory, descriptors, threads and time on the cores, from `/proc`.

use std::fs;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often descriptors and threads are counted, whose peaks the kernel does not keep.
const SAMPLE: Duration = Duration::from_millis(20);

/// What a process takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory at its peak, in KiB.
    pub memory: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
    /// Time on the cores, of all threads.
    pub cpu: Duration,
}

impl Usage {
    /// Reads it, or nothing once the process is gone.
    pub fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, which may hold anything, ends with the last parenthesis.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        Some(Self {
            memory: field("VmHWM")?,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64,
            threads: field("Threads")?,
            // Linux has 100 of them in a second on every machine that we run on.
            cpu: Duration::from_millis(ticks * 10),
        })
    }

    /// The greater of each.
    fn max(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
            cpu: self.cpu.max(other.cpu),
        }
    }
}

/// Watches a process until it ends.
pub struct Meter {
    pid: u32,
    peak: Arc<Mutex<Usage>>,
    over: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Meter {
    /// Begins to watch.
    pub fn start(pid: u32) -> Self {
        let (over, rest) = mpsc::channel::<()>();
        let peak = Arc::new(Mutex::new(Usage::default()));
        let thread = thread::spawn({
            let peak = peak.clone();
            move || {
                while let Some(usage) = Usage::of(pid) {
                    let mut peak = peak.lock().unwrap();
                    *peak = peak.max(usage);
                    drop(peak);
                    if rest.recv_timeout(SAMPLE) != Err(mpsc::RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            }
        });
        Self { pid, peak, over: Some(over), thread: Some(thread) }
    }

    /// What the process takes now; its memory is always the peak.
    #[track_caller]
    pub fn now(&self) -> Usage {
        Usage::of(self.pid).expect("the process runs")
    }

    /// The most that it has taken, as far as that was seen.
    pub fn peak(&self) -> Usage {
        let seen = *self.peak.lock().unwrap();
        seen.max(Usage::of(self.pid).unwrap_or_default())
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            // A watcher that failed has said so.
            let _ = thread.join();
        }
    }
}

#[test]
fn this_process_takes_something() {
    let meter = Meter::start(std::process::id());
    let before = meter.now();
    let files: Vec<_> = (0..20).map(|_| fs::File::open("/proc/self/status").unwrap()).collect();
    let block = vec![1_u8; 32 << 20];
    let after = meter.now();
    assert!(after.descriptors >= before.descriptors + 15, "{before:?} {after:?}");
    assert!(after.memory >= 32 << 10 && after.threads >= 2, "{after:?}");
    drop((files, block));
    // The kernel counts pages a core at a time, and is right to within some of them.
    assert!(meter.peak().memory + 1_024 >= after.memory, "{after:?} {:?}", meter.peak());
}
