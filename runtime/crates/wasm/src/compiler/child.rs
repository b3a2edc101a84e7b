//! What runs in the process that compiles one component: first the compiler, then, in a fresh image of the program, what
//! the parent will do with the code, measured.
//!
//! The component is standard input, the code goes to the file that is standard output, and what the parent is to know
//! goes to standard error. The process opens nothing by name but itself.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::Command;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};
use wasmtime::OutOfMemory;

use super::super::artifact::{Artifact, Cost, private_memory};
use super::super::component;
use super::super::component_error::{self, ComponentError};
use super::super::engine::WasmEngine;
use super::super::instance_count;
use super::COMMAND;

/// How much nicer than the parent it is: ingest comes first.
const NICER: i32 = 10;

/// What the process may use, and how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Bytes of memory.
    pub memory: u64,
    /// Seconds of each core.
    pub seconds: u64,
    /// Instances that the component may make, of core modules and of components.
    pub instances: u64,
    /// Bytes that the compiled component may take when it is loaded.
    pub loaded: u64,
    /// Instances that the component makes, once it is compiled.
    pub counted: u64,
    /// Bytes that its core instances take outside of memories and tables, once it is compiled.
    pub contexts: u64,
    /// Bytes that count for each instance that the limit allows, once it is compiled.
    pub each: u64,
    /// Whether the code is compiled already, and is to be loaded and measured.
    pub is_compiled: bool,
}

/// Why there is no code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The component is refused; the reason is for a person.
    Refused(String),
    /// The limit of memory stood in the way.
    Memory,
    /// The system did: a disk that is full, a program that cannot be executed.
    System(String),
}

/// Does one half of the work. Returns what loading costs, as JSON, after the second one; after the first, this
/// process is another image of the program.
///
/// # Errors
/// [`Stop`].
pub fn compile_input(task: Task) -> Result<String, Stop> {
    // What a compiler says when it panics is for its authors.
    panic::set_hook(Box::new(|_| {}));
    let result = if task.is_compiled { measure_output(task) } else { compile(task).map(|never| match never {}) };
    let cost = result.map_err(|error| match error {
        ComponentError::Io(error) => Stop::System(error.to_string()),
        ComponentError::TooCostly(_) => Stop::Memory,
        refused => Stop::Refused(refused.to_string()),
    })?;
    serde_json::to_string(&cost).map_err(|error| Stop::System(error.to_string()))
}

/// What fails before anything is compiled fails for want of memory.
fn starved<E>(_: E) -> ComponentError {
    ComponentError::TooCostly("there is not enough memory for it".to_owned())
}

/// Compiles standard input to standard output, and goes on in a process whose memory the compiler has never used.
fn compile(task: Task) -> Result<std::convert::Infallible, ComponentError> {
    bound(task.memory, task.seconds)?;
    let mut bytes = Vec::new();
    owned(io::stdin())?.read_to_end(&mut bytes).map_err(starved)?;
    let found = instance_count::count(&bytes);
    found.within(task.instances, task.loaded)?;
    let engine = WasmEngine::new().map_err(starved)?;
    let code = panic::catch_unwind(AssertUnwindSafe(|| engine.engine().precompile_component(&bytes)))
        .map_err(|_| ComponentError::Invalid("the compiler gave up on it".to_owned()))?
        .map_err(|error| match error.is::<OutOfMemory>() {
            true => starved(error),
            false => ComponentError::Invalid(component_error::words(&error)),
        })?;
    let length = code.len() as u64;
    let loaded = length.saturating_add(found.contexts);
    let least = Cost { artifact: length, loaded, instances: found.most(), each: found.each() };
    least.within(task.loaded, task.instances)?;
    owned(io::stdout())?.write_all(&code)?;
    let mut image = Command::new(own_program()?);
    // What was freed goes back to the system at once, and is not counted as the cost of loading.
    image.arg(COMMAND).arg("--compiled").env("MIMALLOC_PURGE_DELAY", "0");
    for (name, number) in [
        ("--memory", task.memory),
        ("--seconds", task.seconds),
        ("--instances", task.instances),
        ("--loaded", task.loaded),
        ("--counted", found.most()),
        ("--contexts", found.contexts),
        ("--each", found.each()),
    ] {
        image.arg(name).arg(number.to_string());
    }
    Err(image.exec().into())
}

/// Loads what is in standard output as the parent will, and measures what that takes.
fn measure_output(task: Task) -> Result<Cost, ComponentError> {
    let mut output = owned(io::stdout())?;
    output.rewind()?;
    let mut bytes = Vec::new();
    output.read_to_end(&mut bytes).map_err(starved)?;
    let length = bytes.len() as u64;
    let artifact = Artifact::compiled(bytes, Cost::default());
    let engine = WasmEngine::new().map_err(starved)?;
    let before = private_memory();
    let compiled = artifact.load(&engine)?;
    let accepted = component::accept(&engine, &compiled)?;
    // The first instance would do that.
    compiled.initialize_copy_on_write_image().map_err(starved)?;
    let growth = private_memory().saturating_sub(before);
    drop(accepted);
    let loaded = growth.max(length).saturating_add(task.contexts);
    let cost = Cost { artifact: length, loaded, instances: task.counted, each: task.each };
    cost.within(task.loaded, task.instances)?;
    Ok(cost)
}

/// A standard stream without a buffer that would count.
fn owned(stream: impl AsFd) -> io::Result<File> {
    Ok(File::from(stream.as_fd().try_clone_to_owned()?))
}

/// Returns this program, even if its file was replaced since it was started.
///
/// # Errors
/// The system does not say where it is.
pub fn own_program() -> io::Result<std::path::PathBuf> {
    let image = Path::new("/proc/self/exe");
    if image.exists() { Ok(image.to_path_buf()) } else { std::env::current_exe() }
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
