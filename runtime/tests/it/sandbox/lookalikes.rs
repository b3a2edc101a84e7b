//! Forged log lines of guests that look like the runtime's, in the real binary: both formats of the log, and `klines
//! consumer logs`.

use crate::support::program::{Running, component, folder, klines};

const FORGED: &str = "2026-01-01T00:00:00.000Z  INFO consumer started consumer=";

fn start(format: &str) -> (tempfile::TempDir, Running) {
    let toml = format!(
        "enabled_consumers = [\"forger\"]\n[consumers.forger]\ncomponent = {:?}\n[consumers.forger.settings]\nmode = \"forge-log\"\n",
        component("hostile")
    );
    let home = folder(&[("klines.toml", &toml)]);
    let run = klines(home.path(), "run --demo --config klines.toml --intervals 100ms");
    let run = run.with("LOG_FORMAT", format).start();
    run.until("all three lines", |said| said.err.contains("err") && said.err.contains("out"));
    (home, run)
}

/// Returns the first character that a terminal interprets or does not show.
fn hidden(text: &str) -> Option<char> {
    text.chars()
        .find(|found| *found != '\n' && (found.is_control() || "\u{202e}\u{200b}\u{e0041}\u{3164}".contains(*found)))
}

#[test]
fn in_a_text_log_a_guests_line_is_quoted_and_named() {
    let (home, run) = start("text");
    let logs = klines(home.path(), "consumer logs forger -n 1000").run().success().out;
    let said = run.stop().success();
    let lines: Vec<&str> = said.err.lines().filter(|line| line.contains("2026-01-01T00:00:00")).collect();
    assert!(lines.len() >= 3);
    for line in &lines {
        let (head, text) = line.split_once(" forger: \"").expect(line);
        assert!(head.ends_with("INFO") || head.ends_with("WARN"), "{line}");
        assert!(text.starts_with(FORGED) && text.contains(r#"consumer=\"redis\""#) && text.ends_with('"'), "{line}");
    }
    assert_eq!(hidden(&said.err), None);
    for line in logs.lines() {
        let text = line.get(31..).expect(line);
        assert!(text.starts_with(&format!("\"{FORGED}")) || text.starts_with("klines: "), "{line}");
    }
    assert_eq!(hidden(&logs), None);
}

#[test]
fn in_a_json_log_a_guests_line_has_its_own_target() {
    let (_home, run) = start("json");
    let said = run.stop().success();
    let forged: Vec<_> =
        said.log().into_iter().filter(|line| line["message"].as_str().unwrap().starts_with(FORGED)).collect();
    assert!(forged.len() >= 3);
    for line in forged {
        assert_eq!((&line["target"], &line["name"]), (&"consumer".into(), &"forger".into()));
        assert!(line.get("consumer").is_none(), "{line}");
    }
    assert_eq!(hidden(&said.err), None);
}
