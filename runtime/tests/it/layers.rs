//! The rules of the project that can be checked in the sources: which crate may use which, what must not occur where,
//! how files begin and how long they are.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

mod circles;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Words that must not occur in a crate, and why.
const ABSENT: [(&str, &[&str], &str); 10] = [
    (
        "domain",
        &["tokio", "tracing", "serde", "SystemTime", "Instant", "std::time", "std::thread"],
        "domain knows neither the current time, nor a wire format, nor a log",
    ),
    (
        "bybit",
        &["Consumer", "Hub", "klines_domain::kline", "Aggregator"],
        "the exchange's side knows trades and no kline of this program",
    ),
    (
        "pipeline",
        &["SystemTime", "Instant", "tungstenite", "hyper", "wasmtime"],
        "the pipeline gets the time as an argument",
    ),
    ("cluster", &["SystemTime", "Instant"], "a node of a cluster gets the time as an argument"),
    (
        "config",
        &["tokio", "SystemTime", "Instant", "TcpListener"],
        "reading the configuration binds no address and waits for nothing",
    ),
    ("domain", &["impl fmt::Display for Secret", "impl Display for Secret", "derive(Serialize"], "no secret is shown"),
    ("delivery", &UNBOUNDED, "no queue without a bound, no guest on an executor"),
    ("wasm", &UNBOUNDED, "no queue without a bound, no guest on an executor"),
    ("redis", &UNBOUNDED, "no queue without a bound, no guest on an executor"),
    // It has its own executor, on which no guest runs.
    ("websocket", &["unbounded", "spawn_blocking"], "no queue without a bound, no guest on an executor"),
];
const UNBOUNDED: [&str; 3] = ["unbounded", "spawn_blocking", "tokio::spawn"];

/// The maximum number of lines of a file.
const MAX_LINES: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Returns all Rust files below a folder of the workspace, with their paths relative to it.
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

/// Returns the module path of a file: `bybit/rest/wire.rs` is `bybit`, `rest`, `wire`.
fn modules(path: &Path) -> Vec<String> {
    let parts = path.with_extension("");
    parts.iter().map(|part| part.to_str().unwrap().to_owned()).collect()
}

/// Returns the text without comments.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the code without the tests, which are at the end of a file.
fn working_code(path: &Path, text: &str) -> String {
    if modules(path).iter().any(|module| module == "tests") {
        return String::new();
    }
    let code = code(text);
    code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

/// Returns the first names of the paths that follow `prefix` in `code`, including groups in braces.
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

/// Returns each crate of the workspace and the ones that it depends on, as ARCHITECTURE.md shows them.
fn picture() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let lines = text.lines().filter(|line| line.starts_with("    ") && line.contains(" klines"));
    let crates = lines.filter_map(|line| {
        let (left, right) = line.split_once('→').unwrap_or((line, ""));
        let mut words = left.split_whitespace();
        let (name, package) = (words.next()?, words.next()?);
        let below = right.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        (package == format!("klines-{name}")).then(|| (name.to_owned(), below.collect()))
    });
    crates.collect()
}

#[test]
fn crates_depend_on_each_other_as_the_picture_says() {
    let folders = fs::read_dir(root().join("runtime/crates")).unwrap();
    let found = folders.map(|folder| {
        let name = folder.unwrap().file_name().into_string().unwrap();
        let all = dependencies(&format!("runtime/crates/{name}/Cargo.toml"));
        let ours = all.iter().filter_map(|package| package.strip_prefix("klines-"));
        (name, ours.map(str::to_owned).collect())
    });
    assert_eq!(found.collect::<BTreeMap<String, BTreeSet<String>>>(), picture());
}

#[test]
fn the_pipeline_knows_of_consumers_only_the_hub() {
    for (path, text) in sources("runtime/crates/pipeline/src") {
        for part in names_after(&code(&text), "klines_delivery::") {
            assert_eq!(part, "hub", "{}", path.display());
        }
    }
}

#[test]
fn forbidden_words_do_not_occur() {
    let crates = picture().into_keys().map(|name| format!("runtime/crates/{name}/src"));
    for (name, absent, why) in ABSENT {
        for (path, text) in sources(&format!("runtime/crates/{name}/src")) {
            let code = working_code(&path, &text);
            for word in absent {
                assert!(!code.contains(word), "{name}/{} mentions {word}: {why}", path.display());
            }
        }
    }
    for (path, text) in sources("runtime/src").iter().filter(|(path, _)| modules(path)[0] == "cli") {
        for word in ["tokio", "std::fs", "std::net::Tcp"] {
            assert!(!code(text).contains(word), "{} mentions {word}: it only parses", path.display());
        }
    }
    for folder in crates.chain(["runtime/src".to_owned()]) {
        for (path, text) in sources(&folder) {
            let (shown, code) = (format!("{folder}/{}", path.display()), working_code(&path, &text));
            assert!(!code.contains("unbounded_channel"), "{shown}: every queue has a bound");
            let reads_the_clock = self::code(&text).contains("SystemTime::now");
            assert!(
                !reads_the_clock || shown == "runtime/crates/system/src/clock.rs",
                "{shown}: the time is read in one place"
            );
        }
    }
}

/// Returns the dependencies of a package.
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
        "examples/rsi-rust",
        "runtime/tests/guests/average",
        "runtime/tests/guests/hostile",
        "runtime/tests/guests/past",
    ] {
        let ours = dependencies(&format!("{guest}/Cargo.toml"));
        let ours: Vec<&String> =
            ours.iter().filter(|name| name.starts_with("klines") || *name == "bybit-sim").collect();
        assert_eq!(ours, ["klines-guest"], "{guest}");
    }
}

#[test]
fn every_file_begins_with_its_job_and_is_short() {
    for folder in ["runtime", "guest-sdk", "consumers", "examples"] {
        for (path, text) in sources(folder) {
            let path = Path::new(folder).join(path);
            assert!(text.starts_with("//!"), "{} does not begin with its job", path.display());
            let lines = text.lines().count();
            assert!(lines <= MAX_LINES, "{} has {lines} lines", path.display());
            assert_ne!(path.file_name().unwrap(), "mod.rs", "{}", path.display());
        }
    }
}

#[test]
fn the_reader_finds_paths_in_every_form() {
    let text =
        "use a_crate::{\n  a::{x, b2},\n  b,\n};\n// a_crate::d\nfn f() { a_crate::c::g(); not_a_crate::d::h() }";
    assert_eq!(names_after(&code(text), "a_crate::"), ["a", "b", "c"]);
}

#[test]
fn the_examples_have_the_helper_modules_of_new_projects() {
    let contract = fs::read_to_string(root().join("wit/v1/world.wit")).unwrap();
    let version = contract.split_once('@').unwrap().1.split_once(';').unwrap().0;
    let typescript: &[&str] = &["src/klines.ts", "src/contract.d.ts", "tsconfig.json"];
    let copies: [(&str, &str, &str, &[&str]); 6] = [
        ("python", "python", "price-alert", &["klines.py"]),
        ("python", "rsi-python", "rsi", &["klines.py"]),
        ("typescript", "typescript", "volume-spike", typescript),
        ("typescript", "rsi-typescript", "rsi", typescript),
        ("c", "c", "csv-writer", &["klines.h", "klines.c", "compile_flags.txt"]),
        ("go", "go", "correlation", &["go.mod.in", "klines", "shim"]),
    ];
    for (language, example, name, paths) in copies {
        let template = root().join("runtime/templates").join(language);
        let files = paths.iter().flat_map(|path| {
            let files = files(&template.join(path));
            assert!(!files.is_empty(), "{language} has no {path}");
            files
        });
        for file in files {
            let inner = file.strip_prefix(&template).unwrap().to_str().unwrap();
            let copy = root().join("examples").join(example).join(inner.strip_suffix(".in").unwrap_or(inner));
            let text = fs::read_to_string(&file).unwrap().replace("{{name}}", name);
            let text = text.replace("{{ident}}", &name.replace('-', "_")).replace("{{contract}}", version);
            assert_eq!(fs::read_to_string(&copy).unwrap(), text, "{} differs from {inner}", copy.display());
        }
    }
}

/// Returns the file itself, or all files below the folder.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).into_iter().flatten();
    entries.flat_map(|entry| files(&entry.unwrap().path())).collect()
}
