//! The house rules that can be read off the sources: who may use whom, what must not occur where, how files begin
//! and how long they are.

// Tells the lints that helpers here are test code too.
#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which of our modules each one may use; `app` may use all. Layers from the bottom up.
const ALLOWED: [(&str, &[&str]); 12] = [
    ("domain", &[]),
    ("authoring", &["domain"]),
    ("secret", &[]),
    ("protected", &[]),
    ("sanitize", &[]),
    ("clock", &["domain"]),
    ("bybit", &["clock", "domain", "sanitize"]),
    ("consumer", &["clock", "domain", "protected", "sanitize", "secret"]),
    ("config", &["domain", "protected", "secret"]),
    ("telemetry", &["config", "sanitize"]),
    ("pipeline", &["clock", "consumer", "domain"]),
    ("cli", &["authoring", "config", "domain", "secret"]),
];

/// What must not occur in a module, and why.
const ABSENT: [(&str, &[&str], &str); 7] = [
    (
        "domain",
        &["tokio", "tracing", "serde", "SystemTime", "Instant", "std::time", "std::thread"],
        "domain does not know that time passes, nor any wire form, nor a log",
    ),
    (
        "bybit",
        &["Consumer", "Hub", "domain::kline", "Aggregator"],
        "the exchange's side knows trades and no kline of ours",
    ),
    ("pipeline", &["SystemTime", "Instant", "tungstenite", "hyper", "wasmtime"], "the pipeline is handed the time"),
    (
        "config",
        &["tokio", "SystemTime", "Instant", "TcpListener"],
        "reading the configuration binds and waits for nothing",
    ),
    ("cli", &["tokio", "std::fs", "std::net::Tcp"], "the command line is parsed and nothing else"),
    ("secret", &["impl fmt::Display for Secret", "impl Display for Secret", "derive(Serialize"], "no secret is shown"),
    ("consumer", &["unbounded", "spawn_blocking", "tokio::spawn"], "no queue without a bound, no guest on an executor"),
];

/// The longest file there may be.
const MOST_LINES: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// All Rust files below a folder of the workspace, by their path from it.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let base = root().join(folder);
    let (mut found, mut folders) = (Vec::new(), vec![base.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&base).unwrap().to_owned(), text));
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {}", base.display());
    found.sort();
    found
}

/// The path of modules that a file is: `bybit/rest/wire.rs` is `bybit`, `rest`, `wire`.
fn modules(path: &Path) -> Vec<String> {
    let parts = path.with_extension("");
    parts.iter().map(|part| part.to_str().unwrap().to_owned()).collect()
}

/// The text without comments.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    lines.collect::<Vec<_>>().join("\n")
}

/// The code that is not only for tests: tests of a file stand at its end.
fn working_code(path: &Path, text: &str) -> String {
    if modules(path).iter().any(|module| module == "tests") {
        return String::new();
    }
    let code = code(text);
    code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

/// The first names of the paths that follow `prefix` in `code`, groups in braces included.
fn names_after<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let starts = code.match_indices(prefix).map(|(at, _)| at);
    let whole = starts.filter(|at| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'));
    whole.flat_map(|at| first_names(&code[at + prefix.len()..])).collect()
}

fn first_names(path: &str) -> Vec<&str> {
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut names, mut begins) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && !c.is_whitespace() => {
                names.push(name(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    names
}

fn name(path: &str) -> &str {
    path.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default()
}

/// The modules directly below the crate that a file uses, its own left out.
fn used(path: &Path, text: &str, known: &BTreeSet<String>) -> BTreeSet<String> {
    let (code, modules) = (code(text), modules(path));
    let to_the_root = "super::".repeat(modules.len());
    let names = ["crate::", "klines::", to_the_root.as_str()].map(|prefix| names_after(&code, prefix));
    let names = names.concat().into_iter().filter(|name| known.contains(*name) && *name != modules[0]);
    names.map(str::to_owned).collect()
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let sources = sources("runtime/src");
    let known: BTreeSet<String> = sources.iter().map(|(path, _)| modules(path)[0].clone()).collect();
    let ruled = ALLOWED.iter().map(|(module, _)| *module).chain(["app", "lib", "main"]);
    assert_eq!(known, ruled.map(str::to_owned).collect(), "every module has its place in the layers");
    let mut forbidden = Vec::new();
    let mut seen = BTreeSet::new();
    for (path, text) in &sources {
        let module = &modules(path)[0];
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| name == module) else { continue };
        for name in used(path, text, &known) {
            if !allowed.contains(&name.as_str()) {
                forbidden.push(format!("{} uses {name}", path.display()));
            }
            seen.insert((module.clone(), name));
        }
    }
    assert_eq!(forbidden, [""; 0]);
    assert!(seen.contains(&("bybit".to_owned(), "domain".to_owned())), "the reading works: {seen:?}");
}

#[test]
fn the_pipeline_knows_of_consumers_only_the_hub() {
    for (path, text) in sources("runtime/src").iter().filter(|(path, _)| modules(path)[0] == "pipeline") {
        for part in names_after(&code(text), "crate::consumer::") {
            assert_eq!(part, "hub", "{}", path.display());
        }
    }
}

#[test]
fn what_must_not_occur_does_not() {
    let sources = sources("runtime/src");
    for (module, absent, why) in ABSENT {
        let of_module = sources.iter().filter(|(path, _)| modules(path)[0] == module);
        for (path, text) in of_module {
            let code = working_code(path, text);
            // Its executor is its own, and no guest is on it.
            let is_served = path.starts_with("consumer/websocket");
            for word in absent.iter().filter(|word| !(is_served && **word == "tokio::spawn")) {
                assert!(!code.contains(word), "{} mentions {word}: {why}", path.display());
            }
        }
    }
    for (path, text) in &sources {
        assert!(!working_code(path, text).contains("unbounded_channel"), "{}: every queue has a bound", path.display());
        let reads_the_clock = code(text).contains("SystemTime::now");
        assert!(!reads_the_clock || path == Path::new("clock.rs"), "{}: time enters once", path.display());
    }
}

/// What a package depends on.
fn dependencies(manifest: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(manifest)).unwrap();
    let manifest: toml::Table = toml::from_str(&text).unwrap();
    let tables = ["dependencies", "dev-dependencies"].map(|name| manifest.get(name).and_then(toml::Value::as_table));
    tables.into_iter().flatten().flat_map(|table| table.keys().cloned()).collect()
}

#[test]
fn the_simulator_and_the_guests_share_no_code_with_the_runtime() {
    let sim = dependencies("runtime/sim/Cargo.toml");
    assert!(sim.iter().all(|name| !name.starts_with("klines")), "{sim:?}");
    for (path, text) in sources("runtime/sim/src") {
        for word in ["#[path", "include!", "include_str!"] {
            assert!(!code(&text).contains(word), "{} mentions {word}", path.display());
        }
    }
    for guest in [
        "consumers/console",
        "consumers/jsonl",
        "consumers/webhook",
        "examples/rust",
        "runtime/tests/guests/average",
        "runtime/tests/guests/hostile",
    ] {
        let ours = dependencies(&format!("{guest}/Cargo.toml"));
        let ours: Vec<&String> =
            ours.iter().filter(|name| name.starts_with("klines") || *name == "bybit-sim").collect();
        assert_eq!(ours, ["klines-guest"], "{guest}");
    }
}

#[test]
fn every_file_says_its_job_first_and_is_short() {
    for folder in ["runtime", "guest-sdk", "consumers", "examples"] {
        for (path, text) in sources(folder) {
            let path = Path::new(folder).join(path);
            assert!(text.starts_with("//!"), "{} does not begin with its job", path.display());
            let lines = text.lines().count();
            assert!(lines <= MOST_LINES, "{} has {lines} lines", path.display());
            assert_ne!(path.file_name().unwrap(), "mod.rs", "{}", path.display());
        }
    }
}

#[test]
fn the_reader_finds_paths_in_every_form() {
    let known = ["a", "b", "c", "d"].map(str::to_owned).into();
    let text = "use crate::{\n  a::{x, b2},\n  b,\n};\n// crate::d\nfn f() { crate::c::g(); mycrate::d::h() }";
    let names: Vec<String> = used(Path::new("z.rs"), text, &known).into_iter().collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(used(Path::new("z/y.rs"), "use super::super::d::X;", &known), ["d".to_owned()].into());
    assert!(used(Path::new("z/y.rs"), "use super::a::X;", &known).is_empty());
}

#[test]
fn the_examples_have_the_helper_modules_of_new_projects() {
    let contract = fs::read_to_string(root().join("wit/v1/world.wit")).unwrap();
    let version = contract.split_once('@').unwrap().1.split_once(';').unwrap().0;
    let copies: [(&str, &str, &[&str]); 4] = [
        ("python", "price-alert", &["klines.py"]),
        ("typescript", "volume-spike", &["src/klines.ts", "src/contract.d.ts", "tsconfig.json"]),
        ("c", "csv-writer", &["klines.h", "klines.c", "compile_flags.txt"]),
        ("go", "correlation", &["go.mod.in", "klines", "shim"]),
    ];
    for (language, name, paths) in copies {
        let template = root().join("runtime/templates").join(language);
        let files = paths.iter().flat_map(|path| {
            let files = files(&template.join(path));
            assert!(!files.is_empty(), "{language} has no {path}");
            files
        });
        for file in files {
            let inner = file.strip_prefix(&template).unwrap().to_str().unwrap();
            let copy = root().join("examples").join(language).join(inner.strip_suffix(".in").unwrap_or(inner));
            let text = fs::read_to_string(&file).unwrap().replace("{{name}}", name);
            let text = text.replace("{{ident}}", &name.replace('-', "_")).replace("{{contract}}", version);
            assert_eq!(fs::read_to_string(&copy).unwrap(), text, "{} differs from {inner}", copy.display());
        }
    }
}

/// The file, or all files below the folder.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).into_iter().flatten();
    entries.flat_map(|entry| files(&entry.unwrap().path())).collect()
}
