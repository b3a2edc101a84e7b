//! Compiles untrusted components in a separate process with bounded time and memory: nothing else bounds what a
//! compiler does with hostile input.
//!
//! The child process ([`child`]) also loads the code as this process will, measures the cost, and checks exports and
//! imports. This process loads exactly the code that was measured, and never code that was refused.

pub mod child;

use std::collections::HashSet;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use klines_domain::sanitize::sanitize;
use klines_system::limits::Limits;
use tempfile::TempDir;

use super::artifact::cache::{Cache, remove_former};
use super::artifact::{Artifact, Cost};
use super::component_error::ComponentError;
use super::component_file::ComponentFile;
use super::engine::WasmEngine;
use super::failure::MAX_TEXT;

/// Interval at which the parent checks whether the process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Time after which the operator learns what takes so long.
const NOTICE_AFTER: Duration = Duration::from_secs(2);
/// The hidden command that the process runs.
pub const COMMAND: &str = "compile-component";
/// Its exit code when the component is refused; the reason is on standard error.
pub const REFUSED: u8 = 1;
/// Its exit code when the system prevents its work; the reason is on standard error.
pub const FAILED: u8 = 3;

/// Starts the compiler processes, one for each component.
#[derive(Debug)]
pub struct Compiler {
    program: PathBuf,
    cache: Cache,
    /// The folder of the code, if the code is not to be kept.
    temporary: Mutex<Option<TempDir>>,
    notice: Notice,
}

/// Reports to the operator that a component takes long to compile; the argument is the name of its file.
pub type Notice = fn(&str);

/// Removes all compiled code from a folder, because no component needs it.
pub fn remove_code(folder: &Path) {
    if folder.is_dir() {
        Cache::new(folder.to_path_buf(), String::new()).sweep(Some(&HashSet::new()));
    }
}

/// Removes what versions up to 0.1.0 have left in a folder, and the folder if that was all: they let other users read it, so that
/// it would not be used.
pub fn remove_former_code(folder: &Path) {
    remove_former(folder);
    // One that is not empty stays.
    drop(fs::remove_dir(folder));
}

impl Compiler {
    /// Creates a compiler for `engine` that runs the hidden command of `program` and keeps the code in the private
    /// `folder`.
    #[must_use]
    pub fn new(program: PathBuf, folder: PathBuf, engine: &WasmEngine, notice: Notice) -> Self {
        let mut hasher = DefaultHasher::new();
        engine.engine().precompile_compatibility_hash().hash(&mut hasher);
        let cache = Cache::new(folder, format!("{:016x}", hasher.finish()));
        Self { program, cache, temporary: Mutex::default(), notice }
    }

    /// Creates a compiler as [`Compiler::new`] does; its code is removed when it is dropped.
    #[must_use]
    pub fn temporary(program: PathBuf, folder: TempDir, engine: &WasmEngine, notice: Notice) -> Self {
        let path = folder.path().to_path_buf();
        Self { temporary: Mutex::new(Some(folder)), ..Self::new(program, path, engine, notice) }
    }

    /// Removes the folder of the code, if the code is not to be kept. Needed because a leaked thread may keep the
    /// compiler alive.
    pub(super) fn remove_temporary(&self) {
        self.temporary.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Returns the cache of compiled code.
    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Returns the compiled component, from the cache or newly compiled within `limits`. Its cost is within `limits`.
    ///
    /// # Errors
    /// [`ComponentError`]: the file is not a valid consumer, or compiling or loading it exceeds a limit.
    pub(super) fn compile(&self, file: &ComponentFile, limits: &Limits) -> Result<Artifact, ComponentError> {
        if let Some(artifact) = self.cache.find(&file.sha256) {
            artifact.cost().within(limits.loaded, limits.instances as u64)?;
            return Ok(artifact);
        }
        let mut output = self.cache.unnamed_file()?;
        let mut child = self.spawn(&output, limits)?;
        let (status, answer) = run(&mut child, &file.bytes, limits.compile_time, || (self.notice)(&file.name))?;
        let Some(status) = status else {
            let message = format!("it takes longer than {:?} (limits.compile_time)", limits.compile_time);
            return Err(ComponentError::TooCostly(message));
        };
        match status.code() {
            Some(0) => {
                let artifact = read_artifact(&mut output, &answer, limits)?;
                self.cache.keep(&file.sha256, &artifact);
                Ok(artifact)
            }
            Some(code) if code == i32::from(REFUSED) => Err(ComponentError::Refused(sanitize(&answer, MAX_TEXT))),
            Some(code) if code == i32::from(FAILED) => Err(ComponentError::System(sanitize(&answer, MAX_TEXT))),
            _ => {
                let most = limits.compile_memory >> 20;
                let message = format!("the compiler did not finish with {most} MiB (limits.compile_memory)");
                Err(ComponentError::TooCostly(message))
            }
        }
    }

    /// Starts a process that reads the component from standard input, writes the code to `output`, and writes its
    /// answer to standard error.
    fn spawn(&self, output: &File, limits: &Limits) -> io::Result<Child> {
        let seconds = limits.compile_time.as_secs().saturating_add(1);
        let numbers = [
            ("--memory", limits.compile_memory),
            ("--seconds", seconds),
            ("--instances", limits.instances as u64),
            ("--loaded", limits.loaded),
        ];
        let mut command = Command::new(&self.program);
        command.arg(COMMAND);
        for (name, number) in numbers {
            command.arg(name).arg(number.to_string());
        }
        // The child needs no environment variable of this process, and some are secret.
        command
            .env_clear()
            // Memory that the allocator only reserves must not count against the limit of the compiler.
            .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(Stdio::piped())
            .spawn()
    }
}

/// Reads the code that a process has compiled, and the cost that it has measured.
fn read_artifact(output: &mut File, answer: &str, limits: &Limits) -> Result<Artifact, ComponentError> {
    let cost: Cost = serde_json::from_str(answer).map_err(io::Error::from)?;
    cost.within(limits.loaded, limits.instances as u64)?;
    output.rewind()?;
    let mut bytes = Vec::new();
    output.take(cost.artifact.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != cost.artifact {
        return Err(io::Error::other("the length of the compiled code differs from the report").into());
    }
    Ok(Artifact::compiled(bytes, cost))
}

/// Writes `bytes` to a process and waits for it; calls `notice` once if that takes long. Returns no status if `time` was
/// over, and its answer.
fn run(
    child: &mut Child,
    bytes: &[u8],
    time: Duration,
    notice: impl FnOnce(),
) -> io::Result<(Option<ExitStatus>, String)> {
    let (mut input, answer) = (child.stdin.take(), child.stderr.take());
    let since = Instant::now();
    let mut notice = Some(notice);
    thread::scope(|scope| {
        scope.spawn(move || {
            // A process that ends early does not read to the end; its answer gives the reason.
            let _ = input.as_mut().map(|input| input.write_all(bytes));
            drop(input);
        });
        let answer = scope.spawn(move || read_answer(answer));
        let status = loop {
            match child.try_wait()? {
                Some(status) => break Some(status),
                None if since.elapsed() >= time => {
                    child.kill()?;
                    child.wait()?;
                    break None;
                }
                None => {
                    if let Some(notice) = notice.take_if(|_| since.elapsed() >= NOTICE_AFTER) {
                        notice();
                    }
                    pause();
                }
            }
        };
        Ok((status, answer.join().unwrap_or_default()))
    })
}

/// Reads to the end, so that the process never blocks on a full pipe, and returns the beginning.
fn read_answer(pipe: Option<ChildStderr>) -> String {
    let Some(mut pipe) = pipe else { return String::new() };
    let mut answer = Vec::new();
    let _ = pipe.by_ref().take(MAX_TEXT as u64).read_to_end(&mut answer);
    let _ = io::copy(&mut pipe, &mut io::sink());
    String::from_utf8_lossy(&answer).trim_end().to_owned()
}

#[expect(clippy::disallowed_methods, reason = "waits for a process, in a thread that has nothing else to do")]
fn pause() {
    thread::sleep(LOOK_EVERY);
}
