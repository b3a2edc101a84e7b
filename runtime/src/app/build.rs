//! `klines consumer build`: a component from a project or a core module, accepted before it is written.

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
use klines_delivery::digest;
use klines_system::limits::Limits;
use klines_wasm::component_loader::ComponentFile;

use super::output;
use super::wiring::compiling;
use crate::cli::BuildArgs;

/// Said before anything of the project is run.
const RUNS_CODE: &str =
    "building runs the project's own build tools: code of the project runs on this machine with your rights";

/// What compiling may take here.
const PATIENCE: Duration = Duration::from_secs(600);

/// Builds one component.
///
/// # Errors
/// When there is nothing to build, a tool is missing or fails, or klines would not load the result.
pub fn build(args: &BuildArgs) -> anyhow::Result<ExitCode> {
    let mut say = output::say;
    let mut tools = Tools::of_process(&mut say);
    let cache = tools.cache.clone();
    let target = &args.target;
    let (bytes, usual) = if target.is_dir() {
        let project = Project::open(target)?;
        tools.say(RUNS_CODE);
        (build::project(&project, &mut tools)?, shown(target, &project.component()))
    } else {
        from_file(target)?
    };
    let out = args.output.clone().unwrap_or(usual);
    let contract = accept(&bytes, cache.as_deref()).with_context(|| {
        format!("{} is not written, because klines would not load it: what was built", out.display())
    })?;
    write(&out, &bytes).with_context(|| out.display().to_string())?;
    output::print(&format!("built {}: {} KB, {contract}\n", out.display(), bytes.len().div_ceil(1000)))?;
    Ok(ExitCode::SUCCESS)
}

/// Makes a component of a core module or text, and says where it goes unless told otherwise.
fn from_file(path: &Path) -> anyhow::Result<(Vec<u8>, PathBuf)> {
    let shown = || path.display().to_string();
    let bytes = fs::read(path).with_context(shown)?;
    let component = component::of_file(&shown(), &bytes).with_context(shown)?;
    let is_module = path.extension().is_some_and(|ending| ending == "wasm");
    Ok((component, path.with_extension(if is_module { "component.wasm" } else { "wasm" })))
}

/// The component's path, as short as the person has typed the folder.
fn shown(folder: &Path, component: &Path) -> PathBuf {
    let name = component.file_name().unwrap_or_default();
    if folder == Path::new(".") { PathBuf::from(name) } else { folder.join(name) }
}

/// Checks it as any stranger's component is checked before it runs, and returns the contract that it was built for.
fn accept(bytes: &[u8], cache: Option<&Path>) -> anyhow::Result<String> {
    let components = compiling::for_an_author(cache)?;
    let file = ComponentFile { sha256: digest(bytes), bytes: bytes.to_vec() };
    // An interpreter takes long to compile beside other work; whether it may, the configuration of a run says.
    let limits = Limits { compile_time: PATIENCE, ..Limits::default() };
    Ok(components.from_untrusted(&file, &limits)?.contract())
}

/// Writes a file whole: what reads it meanwhile, such as a run that takes new versions over, sees the old one.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".klines-").suffix(".tmp").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.persist(path)?;
    Ok(())
}
