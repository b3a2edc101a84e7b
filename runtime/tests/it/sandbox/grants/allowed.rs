//! The grants that the configuration accepts, and its messages about those that it refuses.

use klines_config::{Config, Report, load};

use crate::config::folder;

fn read(allow: &str, env: &str) -> Result<(Config, Report), Report> {
    let toml = format!("enabled_consumers = [\"jsonl\"]\n[consumers.jsonl.allow]\n{allow}\n");
    let (_folder, sources) = folder(&[("klines.toml", &toml), (".env", env)]);
    load(sources)
}

/// Reads a configuration that must be refused. Returns its messages, each followed by what was expected instead.
#[track_caller]
fn refused(allow: &str, env: &str) -> Vec<String> {
    let report = read(allow, env).expect_err(allow);
    report.sorted().iter().map(|found| format!("{} -> {}", found.message, found.expected)).collect()
}

#[track_caller]
fn granted(allow: &str, env: &str) -> Config {
    match read(allow, env) {
        Ok((config, warnings)) => {
            assert!(warnings.is_empty(), "{}", warnings.render(false, 100));
            config
        }
        Err(report) => panic!("{}", report.render(false, 100)),
    }
}

#[test]
fn grants_are_read_with_their_defaults() {
    let config = granted(
        r#"http = [{ host = "Hooks.Example.com" }, { host = "localhost", plain = true, private = true, methods = ["post", "GET"] }]
env = ["TZ", "UNSET"]
secrets = [{ variable = "KLINES_HOOK", header = "X-Api-Key", host = "hooks.example.com" }]"#,
        "TZ=UTC\nKLINES_HOOK=canary-1b7d\n",
    );
    let allow = &config.consumers[0].allow;
    let http = |at: usize| {
        let grant = &allow.http[at];
        (grant.host.as_str(), grant.port, grant.methods.clone(), grant.plain, grant.private)
    };
    assert_eq!(http(0), ("hooks.example.com", 443, vec!["GET"], false, false));
    assert_eq!(http(1), ("localhost", 80, vec!["POST", "GET"], true, true));
    assert_eq!((allow.env[0].value.as_deref(), allow.env[1].value.as_deref()), (Some("UTC"), None));
    assert_eq!((allow.secrets[0].header.as_str(), allow.secrets[0].value.expose()), ("x-api-key", "canary-1b7d"));
    let shown = config.show() + &config.show_json().to_string() + &format!("{config:?}");
    assert!(shown.contains("KLINES_HOOK to hooks.example.com in x-api-key") && !shown.contains("canary"), "{shown}");
}

#[test]
fn an_impossible_grant_is_refused_with_the_fix() {
    for (allow, message) in [
        (r#"http = [{ host = "*.example.com" }]"#, "a pattern for several hosts"),
        (r#"http = [{ host = "https://a.example/x" }]"#, "with a scheme"),
        (r#"http = [{ host = "a.example:8080" }]"#, "a port has its own key"),
        (r#"http = [{ host = "127.0.0.1" }]"#, "`private = true` in this entry"),
        (r#"http = [{ host = "localhost" }]"#, "`private = true` in this entry"),
        (r#"http = [{ host = "a.example", methods = ["CONNECT"] }]"#, "GET, HEAD, POST"),
        (r#"http = [{ host = "a.example", methods = [] }]"#, "names no method"),
        (r#"http = [{ host = "a.example", port = 0 }]"#, "port 0"),
        (r#"http = [{ port = 80 }]"#, "`host` is missing"),
        (r#"http = [{ host = "a.example" }, { host = "A.example" }]"#, "granted twice"),
        (r#"http = [{ host = "a.example", plain = true, ca_file = "x.pem" }]"#, "encrypted connections"),
        (r#"http = [{ host = "a.example", ca_file = "klines.toml" }]"#, "no certificates in PEM"),
        (r#"http = "a.example""#, "is a list, not"),
        (r#"env = ["API_KEY"]"#, "looks like a secret"),
        (r#"env = ["REDIS_URL"]"#, "looks like a secret"),
        (r#"env = ["MY_DATABASE"]"#, "an address with a password"),
        (r#"env = ["a b"]"#, "not the name of a variable"),
        (
            "http = [{ host = \"a.example\" }]\nenv = [\"HOOK\"]\nsecrets = [{ variable = \"HOOK\", header = \"x-a\", host = \"a.example\" }]",
            "named in `allow.secrets`",
        ),
        (r#"secrets = [{ variable = "HOOK", header = "x-a", host = "a.example" }]"#, "a host of `allow.http`"),
        (
            "http = [{ host = \"a.example\" }]\nsecrets = [{ variable = \"NONE\", header = \"x-a\", host = \"a.example\" }]",
            "`NONE` is not set",
        ),
        (
            "http = [{ host = \"a.example\" }]\nsecrets = [{ variable = \"WSS_AUTH_KEY\", header = \"x-a\", host = \"a.example\" }]",
            "of klines itself",
        ),
        (
            "http = [{ host = \"a.example\" }]\nsecrets = [{ variable = \"HOOK\", header = \"Host\", host = \"a.example\" }]",
            "not for secrets",
        ),
        (
            "http = [{ host = \"a.example\", plain = true }]\nsecrets = [{ variable = \"HOOK\", header = \"x-a\", host = \"a.example\" }]",
            "without encryption",
        ),
    ] {
        let found = refused(allow, "HOOK=canary-77\nMY_DATABASE=postgres://me:canary@host/x\n");
        assert!(found.iter().any(|found| found.contains(message)), "{allow}: {found:#?}");
        assert!(!format!("{found:?}").contains("canary"), "{found:#?}");
    }
}

#[test]
fn no_folder_may_contain_files_of_klines() {
    for (host, message) in [
        (".", "contains `data_dir`"),
        ("klines-data", "is `data_dir`"),
        ("klines-data/../klines-data/x", "lies inside `data_dir`"),
        ("./plugins/mine", "lies inside `plugins_dir`"),
        ("nowhere/../plugins", "is `plugins_dir`"),
        ("/", "contains `data_dir`"),
    ] {
        let found = refused(&format!(r#"dirs = [{{ host = "{host}", guest = "/out", write = true }}]"#), "");
        assert!(found[0].contains(message) && found[0].contains("a folder of its own"), "{host}: {found:?}");
    }
    let toml = "enabled_consumers = [\"jsonl\"]\ndata_dir = \"/nowhere/data\"\nplugins_dir = \"/nowhere/plugins\"\n\
                [consumers.jsonl.allow]\ndirs = [{ host = \"conf\", guest = \"/out\" }]\n";
    let inside = toml.replace("\"conf\"", "\".\"");
    for (file, set) in [("conf/klines.toml", true), ("conf/env", false)] {
        let (_folder, mut sources) =
            folder(&[("conf/klines.toml", &inside), ("klines.toml", toml), ("conf/env", "A=1\n")]);
        sources.config_file = set.then(|| file.into());
        sources.env_file = (!set).then(|| file.into());
        let report = load(sources).expect_err(file);
        assert!(report.sorted()[0].message.contains("which klines reads"), "{}", report.render(false, 100));
    }
}

#[test]
fn a_folder_must_not_lie_where_a_consumer_could_put_a_link() {
    let toml = r#"
enabled_consumers = ["jsonl", "other"]
[consumers.jsonl.allow]
dirs = [{ host = "out", guest = "/out", write = true }]
[consumers.other]
component = "jsonl"
[consumers.other.allow]
dirs = [{ host = "out/deep/er", guest = "/out" }]
"#;
    let (_folder, sources) = folder(&[("klines.toml", toml)]);
    let report = load(sources).expect_err("nested");
    assert!(report.sorted()[0].message.contains("which a consumer may change"), "{}", report.render(false, 100));
    let (_folder, sources) = folder(&[("klines.toml", &toml.replace("out/deep/er", "out"))]);
    load(sources).expect("two consumers in one folder avoid conflicts by file names");
}
