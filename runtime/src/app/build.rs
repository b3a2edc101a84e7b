//! `klines consumer build`: a component from a project or a core module, accepted before it is written.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::output;
use super::parts::{self, Workshop};
use crate::authoring::build;
use crate::authoring::project::Project;
use crate::authoring::tools::Tools;
use crate::cli::BuildArgs;
use crate::config::consumers::Limits;
use crate::consumer::digest;
use crate::consumer::wasm::components::ComponentFile;

/// Builds one component.
///
/// # Errors
/// When there is nothing to build, a tool is missing or fails, or klines would not load the result.
pub fn build(args: &BuildArgs) -> anyhow::Result<ExitCode> {
    let mut say = output::say;
    let mut tools = Tools::of_process(&mut say);
    let cache = tools.cache.clone();
    if !args.target.is_dir() {
        bail!("{}: there is no such folder", args.target.display());
    }
    let project = Project::open(&args.target)?;
    let bytes = build::project(&project, &mut tools)?;
    let out = args.output.clone().unwrap_or_else(|| shown(&args.target, &project.component()));
    let contract = accept(&bytes, cache.as_deref()).with_context(|| {
        format!("{} is not written, because klines would not load it: what was built", out.display())
    })?;
    write(&out, &bytes).with_context(|| out.display().to_string())?;
    output::print(&format!("built {}: {} KB, {contract}\n", out.display(), bytes.len().div_ceil(1000)))?;
    Ok(ExitCode::SUCCESS)
}

/// The component's path, as short as the person has typed the folder.
fn shown(folder: &Path, component: &Path) -> PathBuf {
    let name = component.file_name().unwrap_or_default();
    if folder == Path::new(".") { PathBuf::from(name) } else { folder.join(name) }
}

/// Checks it as any stranger's component is checked before it runs, and returns the contract that it was built for.
fn accept(bytes: &[u8], cache: Option<&Path>) -> anyhow::Result<String> {
    let workshop = Workshop::for_an_author(cache)?;
    let file = ComponentFile { sha256: digest(bytes), bytes: bytes.to_vec() };
    Ok(workshop.components.from_stranger(&file, &parts::limits(&Limits::default()))?.contract())
}

/// Writes a file whole: what reads it meanwhile, such as a run that takes new versions over, sees the old one.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".klines-").suffix(".tmp").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    let mode = fs::Permissions::from(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    file.as_file().set_permissions(mode)?;
    file.persist(path)?;
    Ok(())
}
