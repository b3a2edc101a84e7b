//! The hidden command that compiles one component in a process of its own; see `consumer::wasm::compiler`.

use std::process::ExitCode;

use super::output;
use crate::cli::{CompileArgs, EXIT_FAILED, EXIT_USAGE};
use crate::consumer::wasm::compiler::compile_input;

/// Compiles what comes on standard input into the cache; says on standard output why not, if that is
/// the component's doing.
///
/// # Errors
/// Standard output cannot be written.
pub fn compile(args: &CompileArgs) -> anyhow::Result<ExitCode> {
    match compile_input(&args.cache, args.memory, args.seconds) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(Some(message)) => {
            output::print(&message)?;
            Ok(ExitCode::from(EXIT_FAILED))
        }
        Err(None) => Ok(ExitCode::from(EXIT_USAGE)),
    }
}
