//! Requests are checked like those of a run and answered by the case: no request leaves the machine.

use super::{failures, flat, project, reports, test};

const KLINES: &str = "{\"close\": 10}\n{\"close\": 11}\n";

fn webhook(allow: &str, rest: &str) -> String {
    format!(
        "settings = {{ url = \"https://hooks.example.com/x\" }}\nallow = {{ {allow} }}\n{rest}\n\
         [input]\nklines = \"k.ndjson\"\n"
    )
}

const GRANTED: &str = "http = [{ host = \"hooks.example.com\", methods = [\"POST\"] }]";
const EXPECTED: &str = "[expect]\nhttp = [{ method = \"POST\", url = \"https://hooks.example.com/x\", count = 2, contains = \"BTCUSDT\" }]\n";

fn case(allow: &str, rest: &str, stubs: &str) -> String {
    format!("{}{EXPECTED}{stubs}", webhook(allow, rest))
}

#[test]
fn a_stub_answers_what_the_grants_allow() {
    let stub = "[[http]]\nurl = \"https://hooks.example.com/x\"\nmethod = \"post\"\n";
    let home = project("webhook", &[("tests/basic.toml", &case(GRANTED, "", stub)), ("tests/k.ndjson", KLINES)]);
    let cases = reports(home.path());
    assert_eq!(cases[0]["ok"], true, "{}", cases[0]);
    assert_eq!(cases[0]["http"]["POST https://hooks.example.com/x -> 200"], 2, "{}", cases[0]);
}

#[test]
fn answers_can_change_and_a_refused_batch_is_delivered_again() {
    let stubs = "[[http]]\nurl = \"https://hooks.example.com/*\"\nstatus = 503\ntimes = 2\n\
        [[http]]\nurl = \"https://hooks.example.com/*\"\n";
    let more = case(GRANTED, "", stubs).replace("count = 2", "count = 4");
    let home = project("webhook", &[("tests/basic.toml", &more), ("tests/k.ndjson", KLINES)]);
    let cases = reports(home.path());
    assert_eq!((&cases[0]["ok"], &cases[0]["retries"]), (&true.into(), &2.into()), "{}", cases[0]);
}

#[test]
fn without_a_stub_a_request_fails_and_the_summary_reports_it() {
    let found = failures("webhook", &[("tests/basic.toml", &case(GRANTED, "", "")), ("tests/k.ndjson", KLINES)]);
    assert!(found[0].contains("ends: `ok` wanted, `retry` found"), "{found:?}");
    let home = project("webhook", &[("tests/basic.toml", &case(GRANTED, "", "")), ("tests/k.ndjson", KLINES)]);
    let said = test(home.path(), "").said.out;
    let note = "http: nobody answers POST https://hooks.example.com/x: it needs an [[http]] in the case";
    assert!(said.contains(note), "{said}");
}

#[test]
fn a_request_without_a_grant_is_denied_with_the_line_that_would_grant_it() {
    let stub = "[[http]]\nurl = \"https://hooks.example.com/x\"\n";
    let home = project("webhook", &[("tests/basic.toml", &case("", "", stub)), ("tests/k.ndjson", KLINES)]);
    let said = test(home.path(), "").said.out;
    let line = "denied: POST https://hooks.example.com/x: http = [{ host = \"hooks.example.com\", methods = [\"POST\"] }] in [consumers.demo.allow] would grant it";
    assert!(flat(&said).contains(line), "{said}");
    assert!(said.contains("http: POST https://hooks.example.com/x: 2 wanted, 0 found"), "{said}");
}

#[test]
fn addresses_of_this_machine_need_the_grant_that_a_run_asks_for() {
    for (host, private) in [("127.0.0.1", ""), ("localhost", ""), ("127.0.0.1", ", private = true")] {
        let case = format!(
            "settings = {{ mode = \"http\", http.url = \"http://{host}/x\" }}\n\
             allow = {{ http = [{{ host = \"{host}\", plain = true{private} }}] }}\n\
             [input]\nklines = \"k.ndjson\"\n[[http]]\nurl = \"http://{host}/x\"\nbody = \"pong\"\n"
        );
        let home = project("hostile", &[("tests/basic.toml", &case), ("tests/k.ndjson", "{}\n")]);
        let ended = test(home.path(), "--until 1");
        if private.is_empty() {
            assert_eq!(ended.code(), Some(78), "{}", ended.said.err);
            assert!(ended.said.err.contains("private"), "{}", ended.said.err);
        } else {
            assert!(ended.said.out.contains("log info status 200, 4 bytes: pong"), "{}", ended.said.out);
        }
    }
}

#[test]
fn secrets_come_from_the_case_and_appear_only_in_requests() {
    let secrets = "http = [{ host = \"hooks.example.com\", methods = [\"POST\"] }], \
        secrets = [{ variable = \"HOOK_TOKEN\", header = \"authorization\", host = \"hooks.example.com\" }]";
    let stub = "[[http]]\nurl = \"https://hooks.example.com/x\"\n";
    let files = [("tests/basic.toml", case(secrets, "", stub)), ("tests/k.ndjson", KLINES.to_owned())];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let home = project("webhook", &files);
    // Variables of the machine are not used.
    let ended = crate::support::program::klines(home.path(), "consumer test").with("HOOK_TOKEN", "canary").run();
    assert_eq!(ended.code(), Some(78), "{}", ended.said.err);
    assert!(flat(&ended.said.err).contains("`HOOK_TOKEN` is not set"), "{}", ended.said.err);
    assert!(flat(&ended.said.err).contains("in `env` of the case"), "{}", ended.said.err);
    let given = case(secrets, "env = { HOOK_TOKEN = \"made-up\" }", stub);
    let home = project("webhook", &[("tests/basic.toml", &given), ("tests/k.ndjson", KLINES)]);
    let ended = test(home.path(), "");
    assert_eq!(ended.code(), Some(0), "{}{}", ended.said.out, ended.said.err);
    assert!(!ended.said.out.contains("made-up"), "{}", ended.said.out);
}
