//! Strangers' components are compiled in a process of their own, which has so much time and so much memory: what a
//! compiler does with hostile input is bounded by nothing else.
//!
//! The process leaves the code in a private folder, the engine's cache, from where this process takes it. Code that
//! was compiled elsewhere is never loaded.

use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, geteuid, getrlimit, nice, setrlimit};

use super::component::{self, ComponentError};
use super::components::ComponentFile;
use super::engine::WasmEngine;
use super::failure::MOST_TEXT;
use super::limits::Limits;
use super::text::clean;

/// How often the parent looks whether the process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How much nicer than this process it is: ingest comes first.
const NICER: i32 = 10;
/// The hidden command that the process runs.
pub const COMMAND: &str = "compile-component";

/// Starts the processes that compile.
#[derive(Clone, Debug)]
pub struct Compiler {
    program: PathBuf,
    cache: PathBuf,
}

/// Makes a folder that only this user can look into, or checks that it is one.
///
/// # Errors
/// It cannot be made, or others have rights in it.
pub fn private_folder(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() || found.uid() != geteuid().as_raw() || found.mode() & 0o077 != 0 {
        return Err(io::Error::other("others than this user have rights in it: remove it, or take them away"));
    }
    Ok(())
}

impl Compiler {
    /// Names the program whose hidden command compiles, and the private folder for the code.
    #[must_use]
    pub fn new(program: PathBuf, cache: PathBuf) -> Self {
        Self { program, cache }
    }

    /// Compiles a component into the cache within its limits, unless that has been done before.
    ///
    /// # Errors
    /// [`ComponentError`]: it is not valid, or too much to compile.
    pub(super) fn prove(
        &self,
        engine: &WasmEngine,
        file: &ComponentFile,
        limits: &Limits,
    ) -> Result<(), ComponentError> {
        let proof = self.proof(engine, &file.sha256);
        if proof.exists() {
            return Ok(());
        }
        let mut child = self.spawn(limits)?;
        let (status, answer) = run(&mut child, &file.bytes, limits.compile_time)?;
        let Some(status) = status else {
            let message = format!("it takes longer than {:?} (limits.compile_time)", limits.compile_time);
            return Err(ComponentError::TooCostly(message));
        };
        match status.code() {
            Some(0) => {
                fs::create_dir_all(self.cache.join("proven"))?;
                Ok(fs::write(proof, "")?)
            }
            Some(1) => Err(ComponentError::Invalid(clean(&answer, MOST_TEXT))),
            _ => {
                let most = limits.compile_memory >> 20;
                let message = format!("the compiler did not survive it with {most} MiB (limits.compile_memory)");
                Err(ComponentError::TooCostly(message))
            }
        }
    }

    /// The file that says that this engine has compiled these bytes within their limits.
    fn proof(&self, engine: &WasmEngine, sha256: &str) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.engine().precompile_compatibility_hash().hash(&mut hasher);
        self.cache.join("proven").join(format!("{sha256}-{:016x}", hasher.finish()))
    }

    fn spawn(&self, limits: &Limits) -> io::Result<Child> {
        Command::new(&self.program)
            .arg(COMMAND)
            .arg("--cache")
            .arg(&self.cache)
            .arg("--memory")
            .arg(limits.compile_memory.to_string())
            .arg("--seconds")
            .arg(limits.compile_time.as_secs().saturating_add(1).to_string())
            // It needs none of our variables, and some of them are secret.
            .env_clear()
            // Address space that an allocator sets aside is not memory that the compiler uses.
            .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
    }
}

/// Feeds a process and waits for it; no status if its time was over.
fn run(child: &mut Child, bytes: &[u8], time: Duration) -> io::Result<(Option<ExitStatus>, String)> {
    let (mut input, output) = (child.stdin.take(), child.stdout.take());
    let until = Instant::now() + time;
    thread::scope(|scope| {
        scope.spawn(move || {
            // A process that ends early does not read to the end, and says why.
            let _ = input.as_mut().map(|input| input.write_all(bytes));
            drop(input);
        });
        let status = loop {
            match child.try_wait()? {
                Some(status) => break Some(status),
                None if Instant::now() >= until => {
                    child.kill()?;
                    child.wait()?;
                    break None;
                }
                None => pause(),
            }
        };
        let mut answer = String::new();
        if let Some(output) = output {
            // What is not UTF-8 is not of ours.
            let _ = output.take(MOST_TEXT as u64).read_to_string(&mut answer);
        }
        Ok((status, answer))
    })
}

#[expect(clippy::disallowed_methods, reason = "waits for a process, in a thread that has nothing else to do")]
fn pause() {
    thread::sleep(LOOK_EVERY);
}

/// Compiles, in the process that was started for it, what comes on standard input.
///
/// # Errors
/// Why it does not compile, for a person; nothing when the limits or the system stood in the way.
pub fn compile_input(cache: &Path, memory: u64, seconds: u64) -> Result<(), Option<String>> {
    let mut bytes = Vec::new();
    bound(memory, seconds).map_err(|_| None)?;
    stdin().and_then(|mut input| input.read_to_end(&mut bytes)).map_err(|_| None)?;
    let engine = WasmEngine::with_cache(cache).map_err(|_| None)?;
    match component::compile(&engine, &bytes) {
        Ok(_) => Ok(()),
        Err(ComponentError::Invalid(message)) => Err(Some(message)),
        Err(_) => Err(None),
    }
}

/// Standard input without a buffer that would count.
fn stdin() -> io::Result<File> {
    use std::os::fd::AsFd as _;
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// Takes away what a compiler does not need. A system that knows no such limit still has the parent's clock.
fn bound(memory: u64, seconds: u64) -> io::Result<()> {
    let least = |resource, most: u64| {
        let allowed = getrlimit(resource).maximum.map_or(most, |allowed| allowed.min(most));
        setrlimit(resource, Rlimit { current: Some(allowed), maximum: Some(allowed) })
    };
    // Private memory that can be written; address space that is only set aside does not count.
    #[cfg(target_os = "linux")]
    least(Resource::Data, memory)?;
    #[cfg(not(target_os = "linux"))]
    least(Resource::As, memory)?;
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    least(Resource::Cpu, seconds.saturating_mul(cores))?;
    nice(NICER).map(drop)?;
    Ok(())
}
