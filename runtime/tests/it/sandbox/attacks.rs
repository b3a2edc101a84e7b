//! Every attack of the hostile component ends with the expected kind of failure, within its limit.

use std::sync::Arc;

use klines_delivery::{Blueprint as _, CrashKind, Failure};
use klines_system::limits::Limits;
use klines_wasm::grants::{DirGrant, Grants};

use super::fixtures::{blueprint, hostile, live, tight};
use super::guest_log::lines;

/// Returns the crash at the third delivery in this mode.
fn crash(mode: &str) -> (CrashKind, String) {
    let settings = format!(r#"{{"mode":"{mode}","after":3}}"#);
    match live(&mut hostile(mode, &settings, tight()), 3).err() {
        Some(Failure::Crashed { kind, message }) => (kind, message),
        other => panic!("{mode} ended with {other:?}"),
    }
}

#[test]
fn a_call_that_never_returns_is_a_timeout() {
    for mode in ["loop", "loop-setup", "loop-start", "sleep"] {
        let (kind, message) = crash(mode);
        assert_eq!(kind, CrashKind::Timeout, "{mode}: {message}");
        assert!(message.starts_with("took longer than"), "{mode}: {message}");
    }
}

#[test]
fn a_call_that_traps_is_a_trap() {
    for (mode, words) in [
        ("trap", "unreachable"),
        ("panic-consume", "unreachable"),
        ("panic-setup", "unreachable"),
        ("panic-start", "unreachable"),
        ("recursion", "wasm trap: "),
        ("exact-out-of-range", "asked for the digits of row 1, but the current batch has 1 row"),
        ("exact-in-start", "asked for the digits of row 0, but the current batch has 0 rows"),
    ] {
        let (kind, message) = crash(mode);
        assert_eq!(kind, CrashKind::Trap, "{mode}: {message}");
        assert!(message.contains(words), "{mode}: {message}");
        assert!(message.contains("; in "), "no backtrace: {message}");
    }
}

#[test]
fn memory_grows_only_to_its_limit() {
    let mut blueprint = hostile("memory", r#"{"mode":"memory"}"#, Limits::default());
    match live(&mut blueprint, 1).err() {
        Some(Failure::Fatal(text)) => {
            let taken: u32 = text.split(' ').find_map(|word| word.parse().ok()).unwrap();
            assert!((50..64).contains(&taken), "{text}");
        }
        // The growth of the list of blocks may be refused instead, which crashes the guest.
        Some(Failure::Crashed { kind: CrashKind::Memory, message }) => assert!(message.contains("the limit is 64 MiB")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_component_whose_initial_memory_is_too_large_never_starts() {
    let limits = Limits { memory: 64 << 10, ..Limits::default() };
    match hostile("newborn", r#"{"mode":"count"}"#, limits).instantiate(&Arc::default()).err() {
        Some(Failure::Fatal(text)) => assert!(text.starts_with("memory limit: asked for 2 MiB in all"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_guest_cannot_make_the_host_allocate_without_bound() {
    let settings = |size: u32| format!(r#"{{"mode":"big-alloc-string","size":{size}}}"#);
    match live(&mut hostile("big", &settings(16 << 20), Limits::default()), 1).err() {
        Some(Failure::Crashed { kind: CrashKind::Trap, message }) => assert!(message.contains("fuel"), "{message}"),
        other => panic!("{other:?}"),
    }
    live(&mut hostile("fits", &settings(4 << 20), Limits::default()), 1).unwrap();
    let found = lines("fits");
    assert_eq!((found[0].len(), found[1].as_str()), (1_024, "the big line came through"));
}

#[test]
fn handles_are_counted() {
    let settings = |size: u32| format!(r#"{{"mode":"handles","size":{size}}}"#);
    live(&mut hostile("few-handles", &settings(100), Limits::default()), 1).unwrap();
    assert_eq!(lines("few-handles"), ["opened 100 handles"]);
    match live(&mut hostile("many-handles", &settings(5_000), Limits::default()), 1).err() {
        Some(Failure::Crashed { kind: CrashKind::Trap, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_flood_is_sanitized_and_limited() {
    live(&mut hostile("flood", r#"{"mode":"log-flood"}"#, Limits::default()), 1).unwrap();
    let found = lines("flood");
    // More than a hundred lines only if the flood took longer than a second.
    assert!((100..1_000).contains(&found.len()), "{} lines", found.len());
    assert_eq!(found[0], "[2J[31mflood 0 2026-01-01 ERROR klines: forged line0m");
}

#[test]
fn standard_streams_go_to_the_log() {
    live(&mut hostile("printer", r#"{"mode":"stdout"}"#, Limits::default()), 1).unwrap();
    assert_eq!(lines("printer"), ["hostile standard output", "hostile standard error", "stdout Ok(()) stderr Ok(())"]);
}

#[test]
fn a_guest_sees_no_variable_and_no_argument_of_the_process() {
    live(&mut hostile("spy", r#"{"mode":"env"}"#, Limits::default()), 1).unwrap();
    assert_eq!(lines("spy"), ["vars 0 args 0"]);
}

#[test]
fn no_file_is_reachable_without_a_grant() {
    live(&mut hostile("thief", r#"{"mode":"files"}"#, Limits::default()), 1).unwrap();
    let found = lines("thief");
    assert_eq!(found.len(), 13, "{found:#?}");
    assert!(found.iter().all(|line| !line.contains(": got ")), "{found:#?}");
}

#[test]
fn only_the_granted_folder_is_reachable() {
    let folder = tempfile::tempdir().unwrap();
    let host = folder.path().join("made");
    let dirs = vec![DirGrant { host: host.clone(), guest: "/out".into(), write: true, sensitive: false, max: 1 << 30 }];
    let grants = Grants { dirs, ..Grants::default() };
    let settings = r#"{"mode":"files"}"#;
    live(&mut blueprint("hostile", "tenant", settings, Limits::default(), grants), 1).unwrap();
    let reached: Vec<_> = lines("tenant").into_iter().filter(|line| line.contains(": got ")).collect();
    assert_eq!(reached, ["list /out: got 0 entries"]);
    assert!(host.is_dir());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_validate_that_loops_or_panics_is_reported_as_one_problem() {
    for (mode, words) in [("loop-validate", "time-out"), ("panic-validate", "trap")] {
        let problems = hostile(mode, &format!(r#"{{"mode":"{mode}"}}"#), tight()).validate();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].message.contains(words), "{problems:?}");
    }
    let problems = hostile("wrong", r#"{"mode":"no such mode"}"#, tight()).validate();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(hostile("right", r#"{"mode":"count"}"#, tight()).validate(), []);
}

#[test]
fn a_stop_that_loops_or_panics_ends() {
    for mode in ["loop-stop", "panic-stop"] {
        live(&mut hostile(mode, &format!(r#"{{"mode":"{mode}"}}"#), tight()), 1).unwrap().stop();
    }
}
