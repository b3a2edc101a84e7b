//! The components that are shipped with the binary, under the default limits.

use klines_delivery::Blueprint as _;
use klines_system::limits::Limits;
use klines_wasm::grants::{DirGrant, Grants};

use super::fixtures::{blueprint, live};

#[test]
fn jsonl_writes_the_exact_digits_into_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let dirs = vec![DirGrant {
        host: folder.path().to_owned(),
        guest: "/out".into(),
        write: true,
        sensitive: false,
        max: 1 << 30,
    }];
    let grants = Grants { dirs, ..Grants::default() };
    let mut jsonl = blueprint("jsonl", "jsonl", "{}", Limits::default(), grants);
    assert_eq!(jsonl.validate(), []);
    live(&mut jsonl, 3).unwrap().stop();
    let mut text = String::new();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        text += &std::fs::read_to_string(entry.unwrap().path()).unwrap();
    }
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains("4144.625"), "{text}");
}

#[test]
fn an_unknown_setting_is_a_problem_with_its_name() {
    for name in ["console", "jsonl", "average", "example"] {
        let problems = blueprint(name, name, r#"{"colour":1}"#, Limits::default(), Grants::default()).validate();
        assert_eq!(problems.len(), 1, "{name}: {problems:?}");
        assert!(problems[0].path.contains("colour") || problems[0].message.contains("colour"), "{problems:?}");
    }
}
