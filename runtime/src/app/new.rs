//! `klines consumer new`: creates a project and prints the next commands.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use klines_authoring::template::{self, Kind};
use klines_config::consumers::Shipped;
use klines_config::native::Native;

use super::output;
use crate::cli::NewArgs;

/// Creates a project from a template.
///
/// # Errors
/// When klines itself has a consumer of this name, the folder is not empty, or a file cannot be written.
pub fn new(args: &NewArgs) -> anyhow::Result<ExitCode> {
    let NewArgs { name, lang, http, dir } = args;
    if Shipped::from_name(name.as_str()).is_some() || Native::from_name(name.as_str()).is_some() {
        bail!("`{name}` is the name of a consumer that is part of klines: take another one");
    }
    let folder = dir.clone().unwrap_or_else(|| PathBuf::from(name.as_str()));
    template::make(&folder, name, *lang, if *http { Kind::Alert } else { Kind::Average })?;
    let folder = folder.display();
    output::print(&format!(
        "made {folder}: a consumer in {lang}. Next:\n\n\
         \x20 cd {folder}\n\
         \x20 klines consumer build\n\
         \x20 klines consumer test\n\
         \x20 klines run --demo --config klines.toml\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}
