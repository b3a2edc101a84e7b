//! The hidden command that compiles one component in a separate process; see `klines_wasm::compiler`.

use std::process::ExitCode;

use klines_wasm::compiler::child::{Stop, Task, compile_input};
use klines_wasm::compiler::{FAILED, REFUSED};

use super::output;
use crate::cli::{CompileArgs, EXIT_USAGE};

/// Compiles the component on standard input into the file that is standard output. Prints the cost of loading it, or
/// the reason of a refusal, on standard error.
///
/// # Errors
/// Never; the exit code is the result.
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
            output::eprint(&cost);
            ExitCode::SUCCESS
        }
        Err(Stop::Refused(reason)) => {
            output::eprint(&reason);
            ExitCode::from(REFUSED)
        }
        Err(Stop::System(reason)) => {
            output::eprint(&reason);
            ExitCode::from(FAILED)
        }
        Err(Stop::Memory) => ExitCode::from(EXIT_USAGE),
    })
}
