//! `wit/v1` is frozen: its text by checksum, its meaning by comparison with what was released.

use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use wit_component::semver_check;
use wit_parser::Resolve;

/// Every file of `wit/v1`.
const FILES: [(&str, &str); 5] = [
    ("consumer.wit", "bf4b853943381255e261fd8f148512652f7a3ebd57bebb0da51c4c87d626a10f"),
    ("host.wit", "1aa02611ac272263d11477e98c0c419fe6c869aa26a2f9890c443bf3c8ecc242"),
    ("state.wit", "144e7cbd3aa8235a8bc53335dcf7fda7e9327e3585b2a98f10d8bcd78b0fe97f"),
    ("types.wit", "ed7391482f87ca32b2bb92aaa792e2e07c1415ea5f86aff64edac9b60634a2a5"),
    ("world.wit", "f50158dad0a75227aba71719cc9d68b95985bd3d5c273ee50e432a70a47ff4a5"),
];
/// How each file begins; then comes the version.
const PACKAGE: &str = "package klines:consumer@1.";

/// The texts of a folder's files by name, in order.
fn texts(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let named = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut texts: Vec<_> = files.map(|path| (named(&path), fs::read_to_string(&path).unwrap())).collect();
    texts.sort();
    texts
}

/// A folder's files as one text, without the line that names the package.
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

/// Whether consumers that were built against `old` run where there is `new`; if not, why.
fn compare(old: &str, new: &str) -> Result<(), String> {
    let mut resolve = Resolve::default();
    let mut world = |text: &str, number: &str| {
        let package = resolve.push_str("all.wit", &format!("package klines:consumer@{number};\n{text}")).unwrap();
        resolve.select_world(&[package], Some("kline-consumer")).unwrap()
    };
    // The comparison ignores numbers; the new one is above every addition's `@since`.
    let (old, new) = (world(old, "1.0.0"), world(new, "1.999.0"));
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
        "a file of wit/v1 was changed, added or removed, and consumers out there were built against it. Read \
         wit/README.md: if the change only adds what may be added, or only mends a comment, put the new checksum into \
         this test; otherwise undo it and begin a wit/v2"
    );
}

#[test]
fn what_was_built_against_the_release_runs_with_the_contract_of_today() {
    compare(&released(), &whole("../wit/v1")).unwrap_or_else(|error| {
        panic!("wit/v1 breaks every consumer that was built against 1.0.0; this belongs into a wit/v2: {error}")
    });
}

/// The release with one place replaced.
fn changed(from: &str, to: &str) -> String {
    let text = released();
    assert_eq!(text.matches(from).count(), 1, "{from}");
    text.replace(from, to)
}

#[test]
fn what_only_adds_passes() {
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
fn what_breaks_a_consumer_that_was_built_is_refused() {
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
