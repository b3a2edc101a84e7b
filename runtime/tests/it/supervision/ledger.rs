//! State and deliveries agree, whatever ends the consumer or the program.

use std::thread;
use std::time::Duration;

use super::{RUN, home, kept};
use crate::support::program::klines;

/// How often the program is killed.
const KILLS: u64 = 8;

/// Waits for a different time before each kill, because the test tries different moments.
#[expect(clippy::disallowed_methods, reason = "a kill at a random moment is the test; nothing is concluded from time")]
fn a_while(round: u64) {
    let mixed = (round + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54;
    thread::sleep(Duration::from_millis(mixed));
}

#[test]
fn after_a_kill_at_any_moment_state_and_counted_klines_agree() {
    let home = home("ledger", "");
    let mut before = 0;
    for round in 0..KILLS {
        let run = klines(home.path(), RUN).start();
        run.until("the start", |said| said.err.contains("consumer started"));
        a_while(round);
        // Dropping kills with SIGKILL.
        drop(run);
        let kept = kept(home.path());
        assert_eq!((kept.keys, kept.taken), (kept.count, kept.count), "after kill {round}: {kept:?}");
        assert!(kept.count >= before, "the state is not lost");
        assert_eq!((kept.doubles, kept.lost), (0, 0), "{kept:?}");
        before = kept.count;
    }
    assert!(before > 0, "some klines were counted");
}

#[test]
fn a_batch_that_crashes_or_is_asked_for_again_is_applied_once() {
    let settings = "[consumers.it.settings]\nretry_every = 7\n";
    let home = home("ledger", settings);
    let run = klines(home.path(), RUN).with("LOG_FORMAT", "json").start();
    let again = |said: &crate::support::program::Said| said.logged("consumer accepts calls again").len() >= 2;
    run.until("two repeats", again);
    run.stop().success();
    let kept = kept(home.path());
    assert_eq!((kept.keys, kept.taken, kept.doubles, kept.holes), (kept.count, kept.count, 0, 0), "{kept:?}");
}

#[test]
fn a_batch_that_is_set_aside_leaves_no_trace_in_the_state() {
    let settings = "on_error = \"skip\"\n[consumers.it.settings]\ntrap_every = 2\n";
    let home = home("ledger", settings);
    let run = klines(home.path(), RUN).with("LOG_FORMAT", "json").start();
    run.until("two crashes", |said| said.logged("delivery crashed the consumer and is set aside").len() >= 2);
    run.stop().success_except(|name| name == "it");
    let kept = kept(home.path());
    assert_eq!((kept.keys, kept.taken, kept.doubles), (kept.count, kept.count, 0), "{kept:?}");
    assert!(kept.lost > 0 && kept.holes <= kept.lost, "every missing kline is reported as lost: {kept:?}");
}
