//! Builds Python, JavaScript and TypeScript projects: the tools put an interpreter and the source into a component. A
//! tool that is missing or has another version is installed privately.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::build::{BuildError, io_error, source};
use super::contract::{self, WORLD};
use super::http;
use super::private;
use super::project::Project;
use super::tools::{ToolError, Tools, ask, run};

/// The versions of the tools with which klines is tested.
const COMPONENTIZE_PY: &str = "0.25.1";
const COMPONENTIZE_QJS: &str = "0.4.5";
const TYPESCRIPT: &str = "7.0.2";

/// Builds a Python project.
pub(super) fn python(project: &Project, tools: &mut Tools<'_>) -> Result<PathBuf, BuildError> {
    let source = source(project, &["app.py", "consumer.py", "{ident}.py"])?;
    let folder = source.parent().unwrap_or(&project.folder).to_path_buf();
    let module = source.file_stem().unwrap_or_default().to_owned();
    let built = project.intermediates().join("component.wasm");
    let mut command = componentize_py(tools)?;
    tools.say(&format!("building {} with componentize-py {COMPONENTIZE_PY}{}", project.name, wasi_note(project)));
    let contract = contract::folder(project).map_err(io_error(&project.folder))?;
    command.current_dir(&project.folder).arg("-d").arg(contract).args(["-w", WORLD]);
    if project.http {
        for name in http::python_names(project).map_err(io_error(&project.folder))? {
            command.arg("--import-interface-name").arg(name);
        }
    }
    command.arg("componentize");
    // The tool cannot replace WASI and keep `wasi:http`.
    if !project.wasi && !project.http {
        command.arg("--stub-wasi");
    }
    // The stack of the tool does not help to find an error in the source.
    command.env("RUST_BACKTRACE", "0").env("RUST_LIB_BACKTRACE", "0");
    command.arg("-p").arg(folder).arg(module).arg("-o").arg(&built);
    finish(&mut command, "componentize-py", built)
}

/// Builds a JavaScript project.
pub(super) fn javascript(project: &Project, tools: &mut Tools<'_>) -> Result<PathBuf, BuildError> {
    let source = source(project, &["consumer.js", "src/consumer.js", "app.js", "src/app.js", "index.js"])?;
    quickjs(project, tools, &source)
}

/// Builds a TypeScript project: checks its types, compiles it to JavaScript, and builds that.
pub(super) fn typescript(project: &Project, tools: &mut Tools<'_>) -> Result<PathBuf, BuildError> {
    let source = source(project, &["consumer.ts", "src/consumer.ts", "app.ts", "src/app.ts", "index.ts"])?;
    let tsc = npm(tools, "typescript", TYPESCRIPT, "tsc")?;
    tools.say(&format!("checking {} with typescript {TYPESCRIPT}", project.name));
    let out = project.intermediates().join("js");
    if out.exists() {
        // A compiled file must not outlive its source.
        fs::remove_dir_all(&out).map_err(io_error(&out))?;
    }
    let mut command = Command::new(tsc);
    command.current_dir(&project.folder);
    if project.folder.join("tsconfig.json").is_file() {
        command.args(["-p", "."]);
    } else {
        command.args(["--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler", "--strict"]);
        command.arg(&source);
    }
    command.arg("--outDir").arg(&out).args(["--noEmit", "false"]);
    run(&mut command, "tsc")?;
    let inner = source.strip_prefix(&project.folder).unwrap_or(&source).with_extension("js");
    let name = inner.file_name().unwrap_or_default();
    // The path of the output depends on `rootDir`.
    let found = [out.join(&inner), out.join(name)].into_iter().find(|path| path.is_file());
    let wanted = inner.display().to_string();
    let compiled = found.ok_or_else(|| ToolError::Nothing { what: "tsc".to_owned(), wanted })?;
    quickjs(project, tools, &compiled)
}

fn quickjs(project: &Project, tools: &mut Tools<'_>, source: &Path) -> Result<PathBuf, BuildError> {
    let tool = npm(tools, "componentize-qjs", COMPONENTIZE_QJS, "componentize-qjs")?;
    tools.say(&format!("building {} with componentize-qjs {COMPONENTIZE_QJS}{}", project.name, wasi_note(project)));
    let built = project.intermediates().join("component.wasm");
    let mut command = Command::new(tool);
    // Without `--sync` the component needs the asynchronous component model.
    command.current_dir(&project.folder).arg("--sync");
    if !project.wasi {
        command.arg("--stub-wasi");
    }
    let contract = contract::folder(project).map_err(io_error(&project.folder))?;
    command.arg("--wit").arg(contract).args(["-n", WORLD, "--js"]).arg(source).arg("-o").arg(&built);
    let built = finish(&mut command, "componentize-qjs", built)?;
    if project.http {
        let component = fs::read(&built).map_err(io_error(&built))?;
        let component = http::renamed(component).map_err(BuildError::Contract)?;
        fs::write(&built, component).map_err(io_error(&built))?;
    }
    Ok(built)
}

/// Returns the part of the build message that mentions WASI.
fn wasi_note(project: &Project) -> &'static str {
    match (project.wasi, project.http) {
        (true, true) => ", with WASI and HTTP",
        (false, true) => ", with HTTP",
        (true, false) => ", with WASI",
        (false, false) => "",
    }
}

/// Runs a tool that creates the file `built`. Removes an older file first, so that the result is that of the tool.
fn finish(command: &mut Command, what: &str, built: PathBuf) -> Result<PathBuf, BuildError> {
    match fs::remove_file(&built) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(&built)(error)),
        _ => {}
    }
    run(command, what)?;
    if built.is_file() {
        return Ok(built);
    }
    Err(ToolError::Nothing { what: what.to_owned(), wanted: built.display().to_string() }.into())
}

/// Returns the command of componentize-py, from `PATH` or from a private environment.
fn componentize_py(tools: &mut Tools<'_>) -> Result<Command, ToolError> {
    let fix = format!("pip install componentize-py=={COMPONENTIZE_PY}");
    if let Some(found) = tools.find("componentize-py") {
        let version = ask(&found, &["--version"]).unwrap_or_default();
        if version.split_whitespace().last() == Some(COMPONENTIZE_PY) {
            return Ok(Command::new(found));
        }
        tools.say(&format!("{} is `{version}`, not {COMPONENTIZE_PY}: another one is used", found.display()));
    }
    // The Python that the environment was made from may have been replaced or removed.
    let runs = |folder: &Path| ask(&folder.join("bin/python"), &["-c", "import componentize_py"]).is_some();
    let folder = private::folder(tools, "componentize-py", COMPONENTIZE_PY, &fix, runs, |tools, staging| {
        let get = "get Python 3.10 or later from https://python.org or your system's packages";
        let python = tools.need("python3", get)?;
        let what = "python3 -m venv (Debian has it in the package python3-venv)";
        run(Command::new(python).args(["-m", "venv"]).arg(staging), what)?;
        let package = format!("componentize-py=={COMPONENTIZE_PY}");
        let mut pip = Command::new(staging.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", &package]);
        run(&mut pip, &format!("pip install {package}"))?;
        let failed = |source| ToolError::Io { path: staging.to_path_buf(), source };
        remove_scripts(staging).map_err(failed)
    })?;
    let mut command = Command::new(folder.join("bin/python"));
    // It has no scripts (`remove_scripts`).
    command.args(["-c", "import sys, componentize_py; sys.argv[0] = 'componentize-py'; componentize_py.script()"]);
    Ok(command)
}

/// Removes the scripts of a Python environment that is going to be renamed: their first lines name its old path. Keeps
/// Python itself.
fn remove_scripts(environment: &Path) -> io::Result<()> {
    for entry in fs::read_dir(environment.join("bin"))? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(b"python") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Returns the path of a program of an npm package, which is installed in a private folder.
fn npm(tools: &mut Tools<'_>, package: &'static str, version: &str, program: &str) -> Result<PathBuf, ToolError> {
    let get = "get Node.js 20 or later from https://nodejs.org or your system's packages";
    tools.need("node", get)?;
    let fix = format!("npm install --global {package}@{version}");
    let is_there = |folder: &Path| folder.join("node_modules/.bin").join(program).exists();
    let folder = private::folder(tools, package, version, &fix, is_there, |tools, staging| {
        let npm = tools.need("npm", get)?;
        let package = format!("{package}@{version}");
        let mut command = Command::new(npm);
        command.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(staging).arg(&package);
        run(command.current_dir(staging), &format!("npm install {package}"))
    })?;
    Ok(folder.join("node_modules/.bin").join(program))
}
