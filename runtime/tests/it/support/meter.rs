//! Measures what a running process uses: peak memory, descriptors, threads and CPU time, read from `/proc`.

use std::fs;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often descriptors and threads are counted, whose peaks the kernel does not keep.
const SAMPLE: Duration = Duration::from_millis(20);

/// The resources that a process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory at its peak, in KiB.
    pub memory: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
    /// CPU time of all threads.
    pub cpu: Duration,
}

impl Usage {
    /// Reads the usage of a process; `None` once the process is gone.
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
            // Linux counts 100 ticks a second on every machine that is supported.
            cpu: Duration::from_millis(ticks * 10),
        })
    }

    /// Returns the greater value of each resource.
    fn max(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
            cpu: self.cpu.max(other.cpu),
        }
    }
}

/// Samples the usage of a process until it ends.
pub struct Meter {
    pid: u32,
    peak: Arc<Mutex<Usage>>,
    over: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Meter {
    /// Starts to sample.
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

    /// Returns the usage at this moment; the memory is always the peak.
    #[track_caller]
    pub fn now(&self) -> Usage {
        Usage::of(self.pid).expect("the process runs")
    }

    /// Returns the highest usage that was sampled.
    pub fn peak(&self) -> Usage {
        let seen = *self.peak.lock().unwrap();
        seen.max(Usage::of(self.pid).unwrap_or_default())
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            // A sampling thread that panicked has already printed its message.
            let _ = thread.join();
        }
    }
}

#[test]
fn the_usage_of_this_process_is_measured() {
    let meter = Meter::start(std::process::id());
    let before = meter.now();
    let files: Vec<_> = (0..20).map(|_| fs::File::open("/proc/self/status").unwrap()).collect();
    let block = vec![1_u8; 32 << 20];
    let after = meter.now();
    assert!(after.descriptors >= before.descriptors + 15, "{before:?} {after:?}");
    assert!(after.memory >= 32 << 10 && after.threads >= 2, "{after:?}");
    drop((files, block));
    // The kernel counts pages per core, so that the total is inexact by some pages.
    assert!(meter.peak().memory + 1_024 >= after.memory, "{after:?} {:?}", meter.peak());
}
