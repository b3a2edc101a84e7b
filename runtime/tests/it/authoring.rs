//! `klines consumer new`, `build` and `check`: what a newcomer types, and how mistakes are reported.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::program::{Ended, component, folder, klines};

const TEXT: &str = include_str!("../../../examples/text/consumer.wat");
const LANGUAGES: [&str; 6] = ["rust", "python", "javascript", "typescript", "c", "go"];

/// Runs a command with no program except klines on its PATH, and with a home folder of its test.
fn typed(home: &Path, arguments: &str) -> Ended {
    let empty = home.join("empty");
    klines(home, arguments).with("PATH", empty.to_str().unwrap()).with("HOME", home.to_str().unwrap()).run()
}

/// Runs a command and returns it with its output and exit code.
fn transcript(home: &Path, arguments: &str) -> String {
    let ended = typed(home, arguments);
    let said = format!("{}{}", ended.said.out, ended.said.err).replace(home.to_str().unwrap(), "HOME");
    format!("$ klines {arguments}\n{}-> {}\n\n", said, ended.code().unwrap())
}

fn names(home: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(home).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_new_project_of_every_language_says_what_to_type_next() {
    let home = folder(&[]);
    for language in LANGUAGES {
        let said = typed(home.path(), &format!("consumer new my-{language} --lang {language}")).success();
        assert!(
            said.out.contains(&format!("cd my-{language}\n  klines consumer build\n  klines consumer test\n")),
            "{}",
            said.out
        );
        let project = home.path().join(format!("my-{language}"));
        for file in ["consumer.toml", "klines.toml", "README.md", ".gitignore", "tests/basic.toml", "wit/v1/world.wit"]
        {
            assert!(project.join(file).is_file(), "{language}: {file}");
        }
    }
    let said = typed(home.path(), "consumer new demo --lang c --dir deep/er").success();
    assert!(said.out.contains("cd deep/er\n") && home.path().join("deep/er/consumer.c").is_file());
}

#[test]
fn mistakes_in_new_are_reported_with_the_fix() {
    let home = folder(&[("file", "mine"), ("demo.txt", "")]);
    fs::create_dir(home.path().join("demo")).unwrap();
    fs::write(home.path().join("demo/mine"), "").unwrap();
    let mistakes = [
        "consumer new demo --lang cobol",
        "consumer new demo --lang ts",
        "consumer new demo",
        "consumer new My_Demo --lang c",
        "consumer new console --lang c",
        "consumer new demo --lang c",
        "consumer new file --lang c",
        "consumer new other --lang c --dir demo",
    ];
    let transcripts: String = mistakes.map(|mistake| transcript(home.path(), mistake)).concat();
    insta::assert_snapshot!(transcripts);
    assert_eq!(names(home.path()), ["demo", "demo.txt", "file"], "nothing was created");
}

#[test]
fn a_missing_tool_is_one_line_with_what_to_type() {
    let home = folder(&[]);
    let transcripts: String = LANGUAGES
        .map(|language| {
            typed(home.path(), &format!("consumer new {language}-demo --lang {language}")).success();
            transcript(home.path(), &format!("consumer build {language}-demo"))
        })
        .concat();
    insta::assert_snapshot!(transcripts);
    assert_eq!(names(&home.path().join(".cache/klines/tools")), [""; 0], "no part of an installation remains");
}

#[test]
fn mistakes_in_build_are_reported_with_the_name_and_the_fix() {
    let no_stop = TEXT.replace("#stop\"", "#halt\"");
    let other_world = "(component (instance $i) (export \"wasi:cli/run@0.2.6\" (instance $i)))";
    let other_import = "(component (import \"wasi:gfx/surface@0.1.0\" (instance (export \"draw\" (func)))))";
    let home = folder(&[
        ("stop.wat", &no_stop),
        ("typo.wat", "(module\n  (memory (export \"memory\") one))"),
        ("world.wat", other_world),
        ("import.wat", other_import),
        ("text.txt", "hello"),
        ("old.wat", &TEXT.replace("@1.2.0", "@2.0.0")),
        ("consumer.toml", "name = \"demo\"\nlanguage = \"c\"\nwasm = true\n"),
    ]);
    fs::create_dir(home.path().join("none")).unwrap();
    fs::write(home.path().join("whole.wasm"), fs::read(component("console")).unwrap()).unwrap();
    let before = names(home.path());
    let mistakes = [
        "consumer build",
        "consumer build none",
        "consumer build nowhere",
        "consumer build text.txt",
        "consumer build typo.wat",
        "consumer build stop.wat",
        "consumer build old.wat",
        "consumer build world.wat",
        "consumer build import.wat",
        "consumer build whole.wasm",
    ];
    let transcripts: String = mistakes.map(|mistake| transcript(home.path(), mistake)).concat();
    insta::assert_snapshot!(transcripts);
    let after: Vec<_> = names(home.path()).into_iter().filter(|name| name != ".cache").collect();
    assert_eq!(after, before, "nothing was written");
}

/// Returns a folder in which the example in WebAssembly text is built.
fn built(more: &[(&str, &str)]) -> TempDir {
    let home = folder(&[&[("range.wat", TEXT)], more].concat());
    let said = typed(home.path(), "consumer build range.wat").success();
    assert!(said.out.starts_with("built range.wasm: ") && said.err.is_empty(), "{said:?}");
    home
}

#[test]
fn a_module_written_by_hand_becomes_a_consumer_that_runs() {
    let config = "enabled_consumers = [\"range\"]\n[klines]\nintervals = [\"1s\"]\n[consumers.range]\ncomponent = \"range.wasm\"\n";
    let home = built(&[("klines.toml", config)]);
    let said = klines(home.path(), "run --demo --config klines.toml --for 4s").run().success();
    assert!(said.err.contains("begins"), "{}", said.err);
    assert!(!said.err.contains("WARN") && !said.err.contains("range: 0 klines"), "{}", said.err);
}

#[test]
fn the_component_of_a_core_module_is_written_to_the_given_path() {
    let home = folder(&[]);
    fs::write(home.path().join("core.wasm"), wat::parse_str(TEXT).unwrap()).unwrap();
    typed(home.path(), "consumer build core.wasm").success();
    typed(home.path(), "consumer build core.wasm -o other.wasm").success();
    let read = |name: &str| fs::read(home.path().join(name)).unwrap();
    assert_eq!(read("core.component.wasm"), read("other.wasm"));
    let said = typed(home.path(), "consumer build core.wasm -o no/where.wasm");
    assert!(said.said.err.contains("no/where.wasm"), "{}", said.said.err);
    assert_eq!(said.code(), Some(1));
}

#[test]
fn a_check_says_what_it_is_and_whether_it_would_run() {
    let home = built(&[("world.wat", "(component)")]);
    fs::write(home.path().join("world.wasm"), wat::parse_str("(component)").unwrap()).unwrap();
    let said = typed(home.path(), "consumer check range.wasm").success();
    for words in [
        "klines:consumer/consumer@1.2.0",
        "values that it publishes for clients",
        "compiled    earlier: the code is in the cache",
        "takes the settings {}",
    ] {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
    let said = typed(home.path(), "consumer check range.wasm --json").success();
    let json: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&json["runs"], &json["problems"]), (&Value::Bool(true), &serde_json::json!([])));
    assert_eq!(json["compile_seconds"], Value::Null);
    let cache = folder(&[]);
    let said = klines(home.path(), "consumer check range.wasm --json");
    let said = said.with("XDG_CACHE_HOME", cache.path().to_str().unwrap()).run().success();
    let json: Value = serde_json::from_str(&said.out).unwrap();
    assert!(json["compile_seconds"].as_f64().unwrap() > 0.0, "{json}");
    let ended = typed(home.path(), "consumer check world.wasm");
    assert_eq!(ended.code(), Some(1));
    assert!(ended.said.err.contains("does not export klines:consumer/consumer@1.2.0"), "{}", ended.said.err);
    let ended = typed(home.path(), "consumer check world.wasm --json");
    assert_eq!(ended.code(), Some(1));
    assert_eq!(serde_json::from_str::<Value>(&ended.said.out).unwrap()["runs"], false);
}

#[test]
fn a_check_of_a_project_asks_about_the_settings_of_its_klines_toml() {
    let home = folder(&[]);
    typed(home.path(), "consumer new demo --lang rust").success();
    let demo = home.path().join("demo");
    let ended = typed(home.path(), "consumer check demo");
    assert!(ended.said.err.contains("run `klines consumer build` first"), "{}", ended.said.err);
    fs::copy(component("example"), demo.join("demo.wasm")).unwrap();
    assert!(typed(home.path(), "consumer check demo").success().out.contains("takes the settings {\"period\":5}"));
    let written = fs::read_to_string(demo.join("klines.toml")).unwrap();
    fs::write(demo.join("klines.toml"), written.replace("period = 5", "perod = 5")).unwrap();
    let ended = typed(home.path(), "consumer check demo");
    assert_eq!(ended.code(), Some(1), "the example has no such setting");
    assert!(ended.said.err.contains("{\"perod\":5}") && ended.said.err.contains(".perod"), "{}", ended.said.err);
}
