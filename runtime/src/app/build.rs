//! `klines consumer build`: builds a component from a project or a core module, and writes it only if klines would load
//! it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use klines_authoring::project::Project;
use klines_authoring::tools::Tools;
use klines_authoring::{build, component};
use klines_system::limits::Limits;
use klines_wasm::component_loader::ComponentFile;

use super::output;
use super::wiring::compiling;
use crate::cli::BuildArgs;

/// Printed before any code of the project runs.
const RUNS_CODE: &str =
    "building runs the project's own build tools: code of the project runs on this machine with your rights";

/// The time limit for compiling the component that was built.
const COMPILE_TIME: Duration = Duration::from_secs(600);

/// Builds one component.
///
/// # Errors
/// When `target` cannot be built, a tool is missing or fails, or klines would not load the result.
pub fn build(args: &BuildArgs) -> anyhow::Result<ExitCode> {
    let mut say = output::eprint;
    let mut tools = Tools::of_process(&mut say);
    let cache = tools.cache.clone();
    let target = &args.target;
    let (bytes, default_output) = if target.is_dir() {
        let project = Project::open(target)?;
        tools.say(RUNS_CODE);
        (build::project(&project, &mut tools)?, display_path(target, &project.component()))
    } else {
        from_file(target)?
    };
    let out = args.output.clone().unwrap_or(default_output);
    let contract = validate(&out, &bytes, cache.as_deref()).with_context(|| {
        format!("{} is not written, because klines would not load it: what was built", out.display())
    })?;
    write(&out, &bytes).with_context(|| out.display().to_string())?;
    output::print(&format!("built {}: {} KB, {contract}\n", out.display(), bytes.len().div_ceil(1000)))?;
    Ok(ExitCode::SUCCESS)
}

/// Builds a component from a core module or WebAssembly text. Returns it with its default output path.
fn from_file(path: &Path) -> anyhow::Result<(Vec<u8>, PathBuf)> {
    let shown = || path.display().to_string();
    let bytes = fs::read(path).with_context(shown)?;
    let component = component::of_file(&shown(), &bytes).with_context(shown)?;
    let is_module = path.extension().is_some_and(|ending| ending == "wasm");
    Ok((component, path.with_extension(if is_module { "component.wasm" } else { "wasm" })))
}

/// Returns the component's path relative to the folder as the user typed it.
fn display_path(folder: &Path, component: &Path) -> PathBuf {
    let name = component.file_name().unwrap_or_default();
    if folder == Path::new(".") { PathBuf::from(name) } else { folder.join(name) }
}

/// Validates the component as an untrusted component before it runs. Returns the contract that it was built for.
fn validate(path: &Path, bytes: &[u8], cache: Option<&Path>) -> anyhow::Result<String> {
    let components = compiling::for_an_author(cache)?;
    let file = ComponentFile::new(path, bytes.to_vec());
    // A component with an interpreter takes long to compile next to other work. The limit of a run is in its
    // configuration and does not apply here.
    let limits = Limits { compile_time: COMPILE_TIME, ..Limits::default() };
    Ok(components.from_untrusted(&file, &limits)?.contract())
}

/// Replaces a file atomically: a concurrent reader, such as a run that reloads components, never sees a partial file.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".klines-").suffix(".tmp").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.persist(path)?;
    Ok(())
}
