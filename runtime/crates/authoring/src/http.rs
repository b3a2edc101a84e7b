//! `wasi:http` for projects with `http = true`: the world with which the tools generate bindings, and its imports in the
//! component.

use std::fs;
use std::io;
use std::path::PathBuf;

use wasmparser::{Parser, Payload};

use super::contract::{self, WORLD, version_of};
use super::embedded::WASI_HTTP;
use super::language::Language;
use super::project::Project;

/// The namespace of WASI, and the one under which JavaScript imports it. Both have the same length: see [`renamed`].
const WASI: &str = "wasi:";
const JAVASCRIPT: &str = "host:";
/// The folder that is written, in the build folder.
const FOLDER: &str = "wit/http";

/// Writes a folder with the world of a project that uses HTTP: its copy of the contract (or the embedded one), the WITs
/// of `wasi:http`, and a world with both. Returns its path.
///
/// For JavaScript the packages are called `host:http`, `host:io` and `host:clocks`: componentize-qjs implements every
/// interface of `wasi:io` itself while it starts the script, and cannot mix that with an interface that it does not
/// know, such as `wasi:http`. [`renamed`] restores the names in the component.
///
/// # Errors
/// A file cannot be read or written.
pub(super) fn folder(project: &Project) -> io::Result<PathBuf> {
    let is_script = matches!(project.language, Language::JavaScript | Language::TypeScript);
    let rename = |text: &str| if is_script { text.replace(WASI, JAVASCRIPT) } else { text.to_owned() };
    let folder = project.intermediates().join(FOLDER);
    let (packages, consumer) = (folder.join("deps"), folder.join("deps/consumer"));
    fs::create_dir_all(&consumer)?;
    let contract = contract::texts(project)?;
    // A file of an older contract must not stay.
    for entry in fs::read_dir(&consumer)? {
        fs::remove_file(entry?.path())?;
    }
    for (name, text) in &contract {
        fs::write(consumer.join(name), text)?;
    }
    for (name, text) in WASI_HTTP {
        fs::write(packages.join(name), rename(text))?;
    }
    let contract = contract.iter().find_map(|(_, text)| version_of(text)).unwrap_or_default();
    let world = format!(
        "package klines:project;\n\nworld {WORLD} {{\n    include klines:consumer/{WORLD}@{contract};\n    \
         import {WASI}http/outgoing-handler@{};\n}}\n",
        version()
    );
    fs::write(folder.join("world.wit"), rename(&world))?;
    Ok(folder)
}

/// Returns the names of interfaces in Python, as arguments of componentize-py. Both packages have an interface `types`,
/// which the tool would otherwise give other names than without HTTP.
///
/// # Errors
/// The project's copy of the contract cannot be read.
pub(super) fn python_names(project: &Project) -> io::Result<[String; 2]> {
    let contract = contract::version_of_project(project)?;
    Ok([format!("klines:consumer/types@{contract}=types"), format!("{WASI}http/types@{}=http_types", version())])
}

/// Returns the version of `wasi:http`.
pub(super) fn version() -> &'static str {
    WASI_HTTP.iter().find_map(|(_, text)| version_of(text)).unwrap_or_default()
}

/// Returns a component whose imports `host:…` are called `wasi:…` again. If the interpreter imports the same interface,
/// the name becomes that of the version before, because no name may be imported twice; the host offers one interface
/// under all versions of WASI 0.2.
///
/// # Errors
/// A message if the bytes are not a component.
pub(super) fn renamed(mut component: Vec<u8>) -> Result<Vec<u8>, String> {
    let imports = imports(&component)?;
    for (place, name) in &imports {
        let Some(rest) = name.strip_prefix(JAVASCRIPT) else { continue };
        let mut name = format!("{WASI}{rest}");
        if imports.iter().any(|(_, other)| *other == name) {
            let last = name.pop().and_then(|digit| digit.to_digit(10)).unwrap_or_default();
            name.push_str(&last.saturating_sub(1).to_string());
        }
        if let Some(bytes) = component.get_mut(*place..place + name.len()) {
            bytes.copy_from_slice(name.as_bytes());
        }
    }
    Ok(component)
}

/// Returns the names of the imports of a component, and their positions in its bytes. Names inside nested components are
/// matched by their arguments, so only those of the outermost one count.
fn imports(component: &[u8]) -> Result<Vec<(usize, String)>, String> {
    let start = component.as_ptr().addr();
    let (mut found, mut depth) = (Vec::new(), 0_usize);
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(|error| error.to_string())? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let name = import.map_err(|error| error.to_string())?.name.name;
                    found.push((name.as_ptr().addr() - start, name.to_owned()));
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::contract::World;
    use super::*;

    fn project(language: &str) -> (tempfile::TempDir, Project) {
        let folder = tempfile::TempDir::new().unwrap();
        let text = format!("name = \"demo\"\nlanguage = \"{language}\"\nhttp = true\n");
        fs::write(folder.path().join("consumer.toml"), text).unwrap();
        let project = Project::open(folder.path()).unwrap();
        (folder, project)
    }

    #[test]
    fn the_world_of_a_project_has_the_contract_and_http() {
        let (_folder, project) = project("go");
        let world = World::of_project(&project).unwrap();
        let found = &world.resolve.worlds[world.id];
        let imports: Vec<String> = found.imports.keys().map(|key| world.resolve.name_world_key(key)).collect();
        for name in ["klines:consumer/emit@1.2.0", "wasi:http/outgoing-handler@0.2.12", "wasi:io/streams@0.2.12"] {
            assert!(imports.iter().any(|import| import == name), "{name} in {imports:?}");
        }
        assert_eq!(found.exports.len(), 1);
    }

    #[test]
    fn the_copy_of_the_contract_decides_on_its_version() {
        let (folder, project) = project("go");
        let (copy, embedded) = (folder.path().join(contract::FOLDER), contract::texts(&project).unwrap());
        fs::create_dir_all(&copy).unwrap();
        let older = |text: &str| contract::renumbered(text, "1.0.9");
        for (name, text) in embedded {
            fs::write(copy.join(name), older(&text)).unwrap();
        }
        let old = "package old:old@0.1.0;";
        fs::create_dir_all(folder.path().join("build/wit/http/deps/consumer")).unwrap();
        fs::write(folder.path().join("build/wit/http/deps/consumer/gone.wit"), old).unwrap();
        let world = World::of_project(&project).unwrap();
        let imports = &world.resolve.worlds[world.id].imports;
        assert!(imports.keys().any(|key| world.resolve.name_world_key(key) == "klines:consumer/host@1.0.9"));
    }

    #[test]
    fn imports_of_javascript_get_their_names_back() {
        let names = |component: &[u8]| {
            assert!(wasmparser::Validator::new().validate_all(component).is_ok());
            imports(component).unwrap().into_iter().map(|(_, name)| name).collect::<Vec<_>>()
        };
        let text = r#"(component
            (import "wasi:io/poll@0.2.12" (instance))
            (component (import "host:inner/x@0.2.12" (instance)))
            (import "host:io/poll@0.2.12" (instance))
            (import "host:http/types@0.2.12" (instance)))"#;
        let component = wat::parse_str(text).unwrap();
        let renamed = renamed(component.clone()).unwrap();
        assert_eq!(names(&renamed), ["wasi:io/poll@0.2.12", "wasi:io/poll@0.2.11", "wasi:http/types@0.2.12"]);
        let inner = |bytes: &[u8]| bytes.windows(10).any(|part| part == b"host:inner");
        assert!(inner(&component) && inner(&renamed), "names inside stay");
        assert!(super::renamed(b"no component".to_vec()).is_err());
    }
}
