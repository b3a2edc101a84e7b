//! `wit/v1` is frozen: its text is compared by checksum, its meaning with each released version.

use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use wit_component::semver_check;
use wit_parser::Resolve;

/// Every file of `wit/v1`.
const FILES: [(&str, &str); 7] = [
    ("consumer.wit", "aa58eb489a584e3e0a0b98eb2756b0a2c14f03205d37ec57e9405f21b2867cef"),
    ("emit.wit", "738376c3a4b6a526486b97271a1f5c082623046ba09a83621857e5c65efe1354"),
    ("history.wit", "143f5eb7dd932c5de88bca6bedf04771fb9c8cbb9e44797da0235c625af442a9"),
    ("host.wit", "700d199f3744fe672a2734afbdc11b784cc58d5fa80bca897f552e9d8b4a1b71"),
    ("state.wit", "2acd77ca5fe1814551150e1fe7e7241035a7fac9d8ee47e5e61eda5bf87ef01a"),
    ("types.wit", "dd22fb37ab6079597d863314cde085992b3eca34215c7f23af0d4f8fd2e47d57"),
    ("world.wit", "3e79c4f6b135e1e9865182f2bb011d676b8d555856ce8306f8e60eea79c36bdd"),
];
/// The released versions, whose text never changes.
const RELEASES: [&str; 3] = ["1.0.0", "1.1.0", "1.2.0"];
/// The beginning of each file, before the version.
const PACKAGE: &str = "package klines:consumer@1.";

/// Returns the texts of the files in a folder, ordered by name.
fn texts(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let named = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut texts: Vec<_> = files.map(|path| (named(&path), fs::read_to_string(&path).unwrap())).collect();
    texts.sort();
    texts
}

/// Returns the files of a folder as one text, without the lines that name the package.
fn whole(folder: &str) -> String {
    let rest = |text: String| {
        assert!(text.starts_with(PACKAGE), "{text}");
        text.split_once('\n').unwrap().1.to_owned()
    };
    texts(folder).into_iter().map(|(_, text)| rest(text)).collect()
}

fn released() -> String {
    whole("tests/fixtures/contract/1.0.0")
}

/// Checks that consumers built against `old` run with `new`; the error says why not.
fn compare(old: &str, new: &str) -> Result<(), String> {
    let mut resolve = Resolve::default();
    let mut world = |text: &str, number: &str| {
        let package = resolve.push_str("all.wit", &format!("package klines:consumer@{number};\n{text}")).unwrap();
        resolve.select_world(&[package], Some("kline-consumer")).unwrap()
    };
    // The comparison ignores numbers; both are above every addition's `@since`.
    let (old, new) = (world(old, "1.998.0"), world(new, "1.999.0"));
    semver_check(resolve, old, new).map_err(|error| format!("{error:#}"))
}

#[test]
fn no_file_of_the_contract_changes_unnoticed() {
    let found = texts("../wit/v1").into_iter().map(|(name, text)| {
        let sum = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        (name, sum)
    });
    let known = FILES.map(|(name, sum)| (name.to_owned(), sum.to_owned()));
    assert_eq!(
        found.collect::<Vec<_>>(),
        known,
        "a file of wit/v1 was changed, added or removed, and consumers of other people were built against it. Read \
         wit/README.md: if the change only adds what may be added, or only fixes a comment, put the new checksum into \
         this test; otherwise undo it and begin a wit/v2"
    );
}

#[test]
fn a_consumer_built_against_a_release_runs_with_the_current_contract() {
    for release in RELEASES {
        compare(&whole(&format!("tests/fixtures/contract/{release}")), &whole("../wit/v1")).unwrap_or_else(|error| {
            panic!("wit/v1 breaks every consumer that was built against {release}; this belongs in a wit/v2: {error}")
        });
    }
}

/// Returns the text of 1.0.0 with one place replaced.
fn changed(from: &str, to: &str) -> String {
    let text = released();
    assert_eq!(text.matches(from).count(), 1, "{from}");
    text.replace(from, to)
}

#[test]
fn changes_that_only_add_pass() {
    let emit = "interface emit {\n record point { name: string, value: f64 }\n emit: func(point: point);\n}\n";
    for (what, new) in [
        ("an interface", changed("    import state;\n", "    import state;\n    import emit;\n") + emit),
        (
            "a function of the host",
            changed(
                "    terminal: func()",
                "    @since(version = 1.2.0)\n    now: func() -> u64;\n    terminal: func()",
            ),
        ),
        ("a type", changed("    record batch {", "    record trade {\n price: f64,\n }\n    record batch {")),
    ] {
        compare(&released(), &new).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

#[test]
fn changes_that_break_a_built_consumer_are_refused() {
    let export = "interface more {\n more: func();\n}\n";
    for (what, new) in [
        ("a field of a record", changed("        emitted: u64,\n", "        emitted: u64,\n        extra: u64,\n")),
        ("a case of an enum", changed("        gapped,\n", "        gapped,\n        guessed,\n")),
        ("a case of a variant", changed("        fatal(string),\n", "        fatal(string),\n        skip(string),\n")),
        ("a parameter", changed("exact: func(row: u32)", "exact: func(row: u32, places: u8)")),
        ("another result", changed("stop: func();", "stop: func() -> bool;")),
        ("a function that is gone", changed("    terminal: func() -> option<terminal-info>;\n", "")),
        ("a function of the consumer", changed("    stop: func();", "    pause: func();\n    stop: func();")),
        ("a required export", changed("    export consumer;\n", "    export consumer;\n    export more;\n") + export),
    ] {
        assert!(compare(&released(), &new).is_err(), "{what} passed");
    }
}
