//! The hidden command that compiles one component in a process of its own; see `klines_wasm::compiler`.

use std::process::ExitCode;

use klines_wasm::compiler::child::{Stop, Task, compile_input};
use klines_wasm::compiler::{FAILED, REFUSED};

use super::output;
use crate::cli::{CompileArgs, EXIT_USAGE};

/// Compiles standard input into the file that is standard output; says on standard error what loading it costs, or why
/// it is refused, if that is the component's doing.
///
/// # Errors
/// None; the exit code says how it went.
pub fn compile(args: &CompileArgs) -> anyhow::Result<ExitCode> {
    let task = Task {
        memory: args.memory,
        seconds: args.seconds,
        instances: args.instances,
        loaded: args.loaded,
        counted: args.counted,
        contexts: args.contexts,
        each: args.each,
        is_compiled: args.compiled,
    };
    Ok(match compile_input(task) {
        Ok(cost) => {
            output::say(&cost);
            ExitCode::SUCCESS
        }
        Err(Stop::Refused(reason)) => {
            output::say(&reason);
            ExitCode::from(REFUSED)
        }
        Err(Stop::System(reason)) => {
            output::say(&reason);
            ExitCode::from(FAILED)
        }
        Err(Stop::Memory) => ExitCode::from(EXIT_USAGE),
    })
}
