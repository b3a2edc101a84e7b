//! Builds C projects: generates the bindings, runs the first compiler that is found, and turns the core module into a
//! component.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::bindings;
use super::build::{BuildError, io_error};
use super::component;
use super::contract::World;
use super::project::Project;
use super::tools::{ToolError, Tools, ask, run};

/// The folder of the headers of Debian's wasi-libc.
const DEBIAN_HEADERS: &str = "/usr/include/wasm32-wasi";

/// Sets the stack size. Zig's default is 16 MiB, a quarter of the memory of a consumer.
const STACK_SIZE: &str = "-Wl,-z,stack-size=262144";
/// Places the stack below all other data, as zig does, so that an overflow ends the call instead of overwriting data.
const STACK_FIRST: &str = "-Wl,--stack-first";

/// A compiler for WebAssembly, with a C library.
struct Compiler {
    /// Its name in messages.
    name: String,
    program: PathBuf,
    /// The arguments before those that all compilers get.
    arguments: Vec<OsString>,
}

/// Builds the project from the C files in its folder and below `src`.
pub(super) fn build(project: &Project, tools: &mut Tools<'_>) -> Result<Vec<u8>, BuildError> {
    let sources = sources(project)?;
    for path in other_sources(project) {
        tools.say(&format!("{} is not compiled: C sources are in the project's folder or below src", path.display()));
    }
    let world = World::of_project(project).map_err(BuildError::Contract)?;
    let compiler = compiler(tools)?;
    let folder = project.intermediates().join("bindings");
    fs::create_dir_all(&folder).map_err(io_error(&folder))?;
    bindings::generate(wit_bindgen_c::Opts::default().build(), &world, &folder, &[])?;
    tools.say(&format!("building {} with {}", project.name, compiler.name));
    let core = project.intermediates().join("core.wasm");
    let mut command = Command::new(&compiler.program);
    command.current_dir(&project.folder).args(&compiler.arguments);
    command.args([
        "-mexec-model=reactor",
        STACK_SIZE,
        "-O2",
        "-s",
        "-Wall",
        "-Wextra",
        "-I.",
        "-Isrc",
        "-Ibuild/bindings",
        "-o",
    ]);
    command.arg(&core).args(sources);
    command.args(["build/bindings/kline_consumer.c", "build/bindings/kline_consumer_component_type.o"]);
    run(&mut command, &compiler.name)?;
    let bytes = fs::read(&core).map_err(io_error(&core))?;
    component::of_module(&bytes, Some(&world)).map_err(|error| BuildError::Module { path: core, error })
}

/// Returns the paths of the project's C files, relative to its folder: those directly in it, and all below `src`.
fn sources(project: &Project) -> Result<Vec<PathBuf>, BuildError> {
    let (mut found, _) = listed(&project.folder);
    let mut waiting = vec![project.folder.join("src")];
    while let Some(folder) = waiting.pop() {
        let (files, folders) = listed(&folder);
        found.extend(files);
        waiting.extend(folders);
    }
    let relative = |path: PathBuf| path.strip_prefix(&project.folder).map(Path::to_path_buf).unwrap_or(path);
    let mut found: Vec<PathBuf> = found.into_iter().map(relative).collect();
    if found.is_empty() {
        return Err(BuildError::NoSources { folder: project.folder.clone(), wanted: "*.c, src/**/*.c" });
    }
    found.sort();
    Ok(found)
}

/// Returns the C files in other folders of the project, which an author may expect to be compiled, relative to it.
fn other_sources(project: &Project) -> Vec<PathBuf> {
    let (_, folders) = listed(&project.folder);
    let is_other = |name: &OsStr| !["src", "build", "tests"].iter().any(|known| name == *known);
    let others = folders.into_iter().filter(|folder| folder.file_name().is_some_and(is_other));
    let mut found: Vec<PathBuf> = others.flat_map(|folder| listed(&folder).0).collect();
    found.sort();
    found.into_iter().map(|path| path.strip_prefix(&project.folder).map(Path::to_path_buf).unwrap_or(path)).collect()
}

/// Returns the C files of a folder, and the folders in it that are neither hidden nor links.
fn listed(folder: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders.push(path);
        } else if path.extension().is_some_and(|ending| ending == "c") {
            files.push(path);
        }
    }
    folders.retain(|folder| folder.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b".")));
    (files, folders)
}

/// Returns the first compiler that is found.
fn compiler(tools: &Tools<'_>) -> Result<Compiler, ToolError> {
    let with = |name: String, program: PathBuf, arguments: &[&str]| {
        let arguments = arguments.iter().map(OsString::from).collect();
        Ok(Compiler { name, program, arguments })
    };
    let zig = ["cc", "-target", "wasm32-wasi"];
    if let Some(kit) = tools.variable("WASI_SDK_PATH") {
        let program = Path::new(&kit).join("bin/clang");
        if program.is_file() {
            return with(format!("clang of {}", kit.display()), program, &["--target=wasm32-wasip1", STACK_FIRST]);
        }
    }
    for program in ["zig", "python-zig"] {
        if let Some(found) = tools.find(program) {
            let version = ask(&found, &["version"]).unwrap_or_default();
            return with(format!("zig cc {version}"), found, &zig);
        }
    }
    let pythons = ["python3", "python"].map(|name| tools.find(name));
    for python in pythons.into_iter().flatten() {
        if let Some(version) = ask(&python, &["-m", "ziglang", "version"]) {
            let arguments = [&["-m", "ziglang"], &zig[..]].concat();
            return with(format!("zig cc {version} (Python's ziglang)"), python, &arguments);
        }
    }
    if let (Some(clang), Some(_)) = (tools.find("clang"), tools.find("wasm-ld"))
        && Path::new(DEBIAN_HEADERS).is_dir()
    {
        return with(
            "clang with wasi-libc".to_owned(),
            clang,
            &["--target=wasm32-wasi", "--sysroot=/usr", STACK_FIRST],
        );
    }
    let fix = "pip install ziglang==0.17.1 (or zig from https://ziglang.org, or set WASI_SDK_PATH to a wasi-sdk)";
    Err(ToolError::Missing { what: "a C compiler for WebAssembly", fix: fix.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_in_the_folder_and_below_src_and_others_are_named() {
        let folder = tempfile::tempdir().unwrap();
        for path in
            ["consumer.c", "src/a.c", "src/deep/er/b.c", "lib/other.c", "tests/t.c", "build/bindings/x.c", ".git/y.c"]
        {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::write(folder.path().join("consumer.toml"), "name = \"demo\"\nlanguage = \"c\"\n").unwrap();
        let project = Project::open(folder.path()).unwrap();
        let shown = |paths: Vec<PathBuf>| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        assert_eq!(shown(sources(&project).unwrap()), ["consumer.c", "src/a.c", "src/deep/er/b.c"]);
        assert_eq!(shown(other_sources(&project)), ["lib/other.c"]);
    }
}
