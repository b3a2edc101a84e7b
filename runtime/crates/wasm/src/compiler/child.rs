//! Runs in the process that compiles one component: first the compiler; then, after `exec` of the same program, a
//! measurement of what loading the code costs.
//!
//! The component arrives on standard input, the code goes to the file that is standard output, and the answer to the
//! parent goes to standard error. The only file that the process opens by name is the program itself.

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

/// Added to the niceness of the parent, so that ingest has priority.
const NICER: i32 = 10;

/// The limits of the process, and the results of the first step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Limit of memory, in bytes.
    pub memory: u64,
    /// Limit of CPU time, in seconds for each core.
    pub seconds: u64,
    /// Limit of the instances that the component creates, of core modules and of components.
    pub instances: u64,
    /// Limit of the bytes that the loaded component takes.
    pub loaded: u64,
    /// Number of instances that the component creates; known once it is compiled.
    pub counted: u64,
    /// Bytes that its core instances take outside of memories and tables; known once it is compiled.
    pub contexts: u64,
    /// Bytes that count for each instance that the limit allows; known once it is compiled.
    pub each: u64,
    /// Whether the code is already compiled, so that it is to be loaded and measured.
    pub is_compiled: bool,
}

/// Why there is no code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The component is refused; the text is the reason for the operator.
    Refused(String),
    /// The memory limit was reached.
    Memory,
    /// The system failed: for example a full disk, or a program that cannot be executed.
    System(String),
}

/// Runs one of the two steps: compiling or measuring. The measuring step returns the `Cost` as JSON. The compiling
/// step does not return on success: it replaces this process by the program in its measuring step.
///
/// # Errors
/// [`Stop`].
pub fn compile_input(task: Task) -> Result<String, Stop> {
    // The panic message of the compiler means nothing to the operator.
    panic::set_hook(Box::new(|_| {}));
    let result = if task.is_compiled { measure_output(task) } else { compile(task).map(|never| match never {}) };
    let cost = result.map_err(|error| match error {
        ComponentError::Io(error) => Stop::System(error.to_string()),
        ComponentError::TooCostly(_) => Stop::Memory,
        refused => Stop::Refused(refused.to_string()),
    })?;
    serde_json::to_string(&cost).map_err(|error| Stop::System(error.to_string()))
}

/// Maps an error that only a lack of memory can cause.
fn out_of_memory<E>(_: E) -> ComponentError {
    ComponentError::TooCostly("there is not enough memory for it".to_owned())
}

/// Compiles standard input to standard output, then executes the program again, so that memory of the compiler is not
/// measured.
fn compile(task: Task) -> Result<std::convert::Infallible, ComponentError> {
    bound(task.memory, task.seconds)?;
    let mut bytes = Vec::new();
    unbuffered(io::stdin())?.read_to_end(&mut bytes).map_err(out_of_memory)?;
    let found = instance_count::count(&bytes);
    found.within(task.instances, task.loaded)?;
    let engine = WasmEngine::new().map_err(out_of_memory)?;
    let code = panic::catch_unwind(AssertUnwindSafe(|| engine.engine().precompile_component(&bytes)))
        .map_err(|_| ComponentError::Invalid("the compiler panicked".to_owned()))?
        .map_err(|error| match error.is::<OutOfMemory>() {
            true => out_of_memory(error),
            false => ComponentError::Invalid(component_error::error_text(&error)),
        })?;
    let length = code.len() as u64;
    let loaded = length.saturating_add(found.contexts);
    let least = Cost { artifact: length, loaded, instances: found.most(), each: found.each() };
    least.within(task.loaded, task.instances)?;
    unbuffered(io::stdout())?.write_all(&code)?;
    let mut image = Command::new(own_program()?);
    // The allocator returns freed memory to the system at once, so that it is not counted as a cost of loading.
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

/// Loads the code in standard output as the parent will, and measures the memory that this takes.
fn measure_output(task: Task) -> Result<Cost, ComponentError> {
    let mut output = unbuffered(io::stdout())?;
    output.rewind()?;
    let mut bytes = Vec::new();
    output.read_to_end(&mut bytes).map_err(out_of_memory)?;
    let length = bytes.len() as u64;
    let artifact = Artifact::compiled(bytes, Cost::default());
    let engine = WasmEngine::new().map_err(out_of_memory)?;
    let before = private_memory();
    let compiled = artifact.load(&engine)?;
    let accepted = component::accept(&engine, &compiled)?;
    // Otherwise the first instance would do this, after the measurement.
    compiled.initialize_copy_on_write_image().map_err(out_of_memory)?;
    let growth = private_memory().saturating_sub(before);
    drop(accepted);
    let loaded = growth.max(length).saturating_add(task.contexts);
    let cost = Cost { artifact: length, loaded, instances: task.counted, each: task.each };
    cost.within(task.loaded, task.instances)?;
    Ok(cost)
}

/// Returns a standard stream as an unbuffered file; a buffer would be measured as well.
fn unbuffered(stream: impl AsFd) -> io::Result<File> {
    Ok(File::from(stream.as_fd().try_clone_to_owned()?))
}

/// Returns a path to this program, valid even if its file was replaced after the start.
///
/// # Errors
/// The system does not report the path.
pub fn own_program() -> io::Result<std::path::PathBuf> {
    let image = Path::new("/proc/self/exe");
    if image.exists() { Ok(image.to_path_buf()) } else { std::env::current_exe() }
}

/// Limits the memory and CPU time of this process and lowers its priority. On a system without these limits, the
/// timeout in the parent remains.
fn bound(memory: u64, seconds: u64) -> io::Result<()> {
    let least = |resource, most: u64| {
        let allowed = getrlimit(resource).maximum.map_or(most, |allowed| allowed.min(most));
        setrlimit(resource, Rlimit { current: Some(allowed), maximum: Some(allowed) })
    };
    // Private writable memory; address space that is only reserved does not count.
    #[cfg(target_os = "linux")]
    least(Resource::Data, memory)?;
    #[cfg(not(target_os = "linux"))]
    least(Resource::As, memory)?;
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    least(Resource::Cpu, seconds.saturating_mul(cores))?;
    nice(NICER).map(drop)?;
    Ok(())
}
