//! A new project is complete, contains its name, and never overwrites existing files.

use super::*;

const KINDS: [Kind; 2] = [Kind::Average, Kind::Alert];

fn name() -> Name {
    Name::parse("my-demo").unwrap()
}

#[test]
fn names_are_put_into_texts_and_file_names() {
    let text = "{{name}} {{ident}} {{contract}} {{other}}";
    let filled = format!("my-demo my_demo {} {{{{other}}}}", contract::version());
    for (path, wanted) in [
        ("src/{{ident}}.go.in", "src/my_demo.go"),
        ("gitignore.in", ".gitignore"),
        ("sub/gitignore", "sub/.gitignore"),
        ("consumer.toml", "consumer.toml"),
    ] {
        assert_eq!(rendered(path, text, &name()), File { path: wanted.to_owned(), text: filled.clone() });
    }
}

#[test]
fn every_template_has_what_the_commands_need() {
    for (language, kind) in Language::ALL.into_iter().flat_map(|language| KINDS.map(|kind| (language, kind))) {
        let files = files(&name(), language, kind);
        if files.is_empty() {
            continue;
        }
        let of = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
        for path in ["klines.toml", "README.md", ".gitignore", "tests/basic.toml", "wit/v1/world.wit"] {
            assert!(of(path).is_some_and(|text| !text.is_empty()), "{language}: {path}");
        }
        assert!(of("consumer.toml").unwrap().contains("my-demo"), "{language}");
        for file in &files {
            for left in ["{{name}}", "{{ident}}", "{{contract}}", "{{http}}"] {
                assert!(!file.text.contains(left) && !file.path.contains(left), "{language}: {} {left}", file.path);
            }
        }
    }
}

#[test]
fn only_a_project_that_sends_alerts_can_use_http() {
    for language in Language::ALL {
        let sees = |kind| {
            let files = files(&name(), language, kind);
            let texts =
                files.iter().filter(|file| !file.path.starts_with("klines-guest/") && !file.path.ends_with(".md"));
            texts.map(|file| file.text.as_str()).collect::<String>()
        };
        let key = if language == Language::Rust { "features = [\"http\"]" } else { "http = true" };
        assert!(!sees(Kind::Average).contains(key), "{language}");
        assert!(sees(Kind::Alert).contains(key), "{language}");
    }
}

#[test]
fn the_manifest_of_the_guest_sdk_needs_no_workspace() {
    let manifest: toml::Table = toml::from_str(&guest_sdk_manifest()).unwrap();
    let package = manifest.get("package").and_then(toml::Value::as_table).unwrap();
    assert_eq!(package.get("version").and_then(toml::Value::as_str), Some(env!("CARGO_PKG_VERSION")));
    assert!(!guest_sdk_manifest().contains("workspace"), "{}", guest_sdk_manifest());
    assert!(manifest.contains_key("dependencies") && !manifest.contains_key("lints"));
}

#[test]
fn existing_files_are_never_changed() {
    let Some(language) =
        Language::ALL.into_iter().find(|language| !files(&name(), *language, Kind::Average).is_empty())
    else {
        return;
    };
    let home = tempfile::TempDir::new().unwrap();
    let folder = home.path().join("demo");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("note.txt"), "mine").unwrap();
    let refused = make(&folder, &name(), language, Kind::Average).unwrap_err();
    assert!(matches!(refused, TemplateError::NotEmpty(_)), "{refused}");
    let refused = make(&folder.join("note.txt"), &name(), language, Kind::Average).unwrap_err();
    assert!(matches!(refused, TemplateError::NotFolder(_)), "{refused}");
    fs::remove_file(folder.join("note.txt")).unwrap();
    make(&folder, &name(), language, Kind::Average).unwrap();
    assert!(folder.join("consumer.toml").is_file());
    let refused = make(&folder, &name(), language, Kind::Average).unwrap_err();
    assert!(matches!(refused, TemplateError::NotEmpty(_)), "{refused}");
}
