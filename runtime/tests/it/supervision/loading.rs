//! The cost of an untrusted component before it is accepted, in the real binary: it is first compiled and loaded in
//! another process. A component that is refused there, and code in the cache that is not its own, is never loaded.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{RUN, home, next_refusal, replace};
use crate::support::program::{Said, component, klines};

/// Memory in KiB that refused components may cost a run: a tenth of what the smallest of them used when this process
/// itself compiled and loaded it (140 MiB). That leaves room for what the run itself keeps meanwhile.
#[cfg(target_os = "linux")]
const ROOM: u64 = 14 << 10;

/// Builds a component that instantiates a component twice, which instantiates another one twice, and so on.
fn nested(levels: u32) -> Vec<u8> {
    let mut text = "(component (component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for level in 1..=levels {
        let below = level - 1;
        text += &format!("(component $c{level} (instance (instantiate $c{below})) (instance (instantiate $c{below})))");
    }
    wat::parse_str(text + &format!("(instance (instantiate $c{levels})))")).unwrap()
}

/// Builds a component of 4 KB with two to the power of `levels` instances of a module that imports 200 functions. Each
/// level is exported by an instance, so that counting without the types does not find it.
fn wide(levels: u32) -> Vec<u8> {
    let names: Vec<String> = (0..200).map(|number| format!("{number:x}")).collect();
    let all = |form: &dyn Fn(&str) -> String| names.iter().map(|name| form(name)).collect::<String>();
    let (exports, imports) =
        (all(&|name| format!("(export \"{name}\" (func 0))")), all(&|name| format!("(import \"\" \"{name}\" (func))")));
    let mut text = format!(
        r#"(component (component $b0 (component $c
            (core module $p (func) {exports}) (core module $m {imports})
            (core instance $i (instantiate $p)) (core instance (instantiate $m (with "" (instance $i)))))
            (export "c" (component $c))) (instance $i0 (instantiate $b0)) (alias export $i0 "c" (component $c0))"#
    );
    for level in 1..=levels {
        let below = level - 1;
        text += &format!(
            r#"(component $b{level} (alias outer 1 $c{below} (component $p))
                (component $c (alias outer 1 $p (component $q)) (instance (instantiate $q)) (instance (instantiate $q)))
                (export "c" (component $c)))
                (instance $i{level} (instantiate $b{level})) (alias export $i{level} "c" (component $c{level}))"#
        );
    }
    wat::parse_str(text + &format!("(instance (instantiate $c{levels})))")).unwrap()
}

/// Builds a consumer that also instantiates another component.
fn consumer_with(inner: &[u8]) -> Vec<u8> {
    let mut bytes = fs::read(component("ledger")).unwrap();
    let before = sections(&bytes).iter().filter(|id| **id == COMPONENT).count();
    bytes.push(COMPONENT);
    bytes.extend(leb(inner.len()));
    bytes.extend(inner);
    // One entry: instantiate this component, with no arguments.
    let instance: Vec<u8> = [&[1, 0][..], &leb(before), &[0]].concat();
    bytes.push(COMPONENT_INSTANCE);
    bytes.extend(leb(instance.len()));
    bytes.extend(instance);
    bytes
}

const COMPONENT: u8 = 4;
const COMPONENT_INSTANCE: u8 = 5;

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 128 {
        bytes.push((number & 127) as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// Returns the ids of a component's sections.
fn sections(bytes: &[u8]) -> Vec<u8> {
    let (mut ids, mut place) = (Vec::new(), 8);
    while place < bytes.len() {
        ids.push(bytes[place]);
        let (mut length, mut shift) = (0, 0);
        loop {
            place += 1;
            length |= usize::from(bytes[place] & 127) << shift;
            shift += 7;
            if bytes[place] < 128 {
                break;
            }
        }
        place += 1 + length;
    }
    ids
}

#[cfg(target_os = "linux")]
#[test]
fn a_component_that_is_refused_costs_the_run_no_memory() {
    let home = home("ledger", "");
    let run = klines(home.path(), RUN).with("LOG_FORMAT", "json").start();
    run.until("the start", |said| said.logged("consumer started").iter().any(|line| line["consumer"] == "it"));
    // The first refusal allocates the memory that every refusal needs.
    replace(home.path(), &nested(7));
    assert_eq!(
        next_refusal(&run),
        "makes 255 instances of modules or components inside it, more than 100 (limits.instances)"
    );
    let before = run.usage().memory;
    replace(home.path(), &nested(16));
    let counted = next_refusal(&run);
    assert!(counted.starts_with("makes 131071 instances"), "{counted}");
    replace(home.path(), &wide(14));
    let no_consumer = next_refusal(&run);
    assert!(no_consumer.contains("it exports nothing, so it was built for another world"), "{no_consumer}");
    replace(home.path(), &consumer_with(&wide(15)));
    let measured = next_refusal(&run);
    assert!(measured.contains("of memory once it is compiled, more than 98304 KiB (limits.loaded)"), "{measured}");
    let growth = run.usage().memory.saturating_sub(before);
    assert!(growth < ROOM, "{growth} KiB");
    run.stop().success();
}

#[test]
fn a_component_that_exceeds_its_limit_once_compiled_is_refused_with_the_limit() {
    let home = home("ledger", "limits.loaded = \"256KiB\"\n");
    let ended = klines(home.path(), "check").run();
    assert_eq!(ended.code(), Some(78), "{}", ended.said.err);
    let flat = ended.said.err.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    assert!(flat.contains("of memory once it is compiled, more than 256 KiB (limits.loaded)"), "{}", ended.said.err);
}

#[test]
fn instances_that_need_much_memory_outside_their_linear_memory_are_refused_before_compilation() {
    let (globals, instances) =
        ("(global i32 (i32.const 0))".repeat(2_000), "(core instance (instantiate $m))".repeat(90));
    let text = format!("(component (core module $m {globals}) {instances})");
    let home = home("ledger", "limits.loaded = \"2MiB\"\n");
    replace(home.path(), &consumer_with(&wat::parse_str(text).unwrap()));
    let ended = klines(home.path(), "check").run();
    assert_eq!(ended.code(), Some(78), "{}", ended.said.err);
    let flat = ended.said.err.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    assert!(flat.contains("for the globals, functions and imports of the instances inside it, more than"), "{flat}");
    assert!(flat.contains("2048 KiB (limits.loaded)"), "{flat}");
}

#[test]
fn the_first_content_of_memories_counts_twice_as_it_is_held_twice() {
    let data = "a".repeat(8 << 20);
    let text = format!(
        r#"(component (core module $m (memory 129) (data (i32.const 0) "{data}")) (core instance (instantiate $m)))"#
    );
    let home = home("ledger", "limits.loaded = \"12MiB\"\n");
    replace(home.path(), &consumer_with(&wat::parse_str(text).unwrap()));
    let ended = klines(home.path(), "check").run();
    assert_eq!(ended.code(), Some(78), "{}", ended.said.err);
    let words: Vec<&str> = ended.said.err.split_whitespace().collect();
    let taken = words.windows(2).find(|pair| pair[1] == "KiB").map(|pair| pair[0].parse::<u64>().unwrap());
    assert!(taken.is_some_and(|taken| (16 << 10..20 << 10).contains(&taken)), "{}", ended.said.err);
}

#[test]
fn consumers_of_one_component_show_what_it_takes() {
    let section = "[consumers.again]\ncomponent = \"it.wasm\"\n";
    let home = home("ledger", section);
    let config = fs::read_to_string(home.path().join("klines.toml")).unwrap();
    fs::write(home.path().join("klines.toml"), config.replace("[\"it\"]", "[\"it\", \"again\", \"console\"]")).unwrap();
    let run = klines(home.path(), RUN).with("LOG_FORMAT", "json").start();
    run.until("the start", |said| said.logged("consumer started").len() == 3);
    let listed = klines(home.path(), "consumer list --json").run().success().out;
    let rows: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
    let loaded: Vec<u64> = rows.iter().map(|row| row["loaded"].as_u64().unwrap()).collect();
    assert!(loaded.iter().all(|bytes| (100 << 10..16 << 20).contains(bytes)), "{listed}");
    assert_eq!(loaded[0], loaded[1]);
    assert_eq!(artifacts(home.path()).len(), 1, "compiled once");
    run.stop().success();
}

/// Returns the files of compiled code.
fn artifacts(home: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(home.join("klines-data/compiled")).unwrap();
    found.map(|entry| entry.unwrap().path()).collect()
}

fn run_a_moment(home: &Path) -> Said {
    klines(home, &format!("{RUN} --for 1s")).run().success()
}

#[test]
fn changed_code_is_compiled_again_and_unused_code_is_removed() {
    let home = home("ledger", "");
    run_a_moment(home.path());
    let files = artifacts(home.path());
    let [path] = files.as_slice() else { panic!("{files:?}") };
    let whole = fs::read(path).unwrap();
    // In the middle of the machine code.
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 0xff;
    fs::write(path, &changed).unwrap();
    let said = run_a_moment(home.path());
    assert!(said.err.contains("compiled code is not used"), "{}", said.err);
    assert_ne!(fs::read(path).unwrap(), changed, "the file was written again");
    // Another component's code under this one's name.
    fs::copy(component("hostile"), home.path().join("it.wasm")).unwrap();
    let config = fs::read_to_string(home.path().join("klines.toml")).unwrap();
    fs::write(home.path().join("klines.toml"), format!("{config}[consumers.it.settings]\nmode = \"count\"\n")).unwrap();
    run_a_moment(home.path());
    let files = artifacts(home.path());
    let [other] = files.as_slice() else { panic!("the ledger's code is removed: {files:?}") };
    assert_ne!(other, path);
    fs::write(other, &whole).unwrap();
    let said = run_a_moment(home.path());
    assert!(said.err.contains("it belongs to another component or engine"), "{}", said.err);
    // A file that others may read.
    fs::set_permissions(other, fs::Permissions::from_mode(0o644)).unwrap();
    let said = run_a_moment(home.path());
    assert!(said.err.contains("other users have access to it, or it is not a regular file"), "{}", said.err);
    let said = run_a_moment(home.path());
    assert!(!said.err.contains("compiled code is not used"), "{}", said.err);
    fs::write(home.path().join("klines.toml"), "enabled_consumers = [\"console\"]\n").unwrap();
    run_a_moment(home.path());
    assert_eq!(artifacts(home.path()).len(), 0, "no consumer has a component file any more");
}
