//! The terminal of a run is closed: it gets SIGHUP, perhaps twice. `live/reload.rs` has runs without a terminal.

use super::{Fixture, SOME, printed};

const TOML: &str = "[consumers.console]\nclosed_only = true\nsettings.format = \"json\"\n";

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_ends_a_run_as_a_termination_does_however_often_it_comes() {
    let fixture = Fixture::new(111, TOML).await;
    let (run, _terminal) = fixture.run().in_terminal();
    let run = run.start();
    run.until("klines are printed", |said| printed(said) >= SOME);
    run.hang_up();
    run.hang_up();
    run.until("the end to be logged", |said| !said.logged("ending; a second signal ends at once").is_empty());
    // A second one that comes late.
    run.hang_up();
    let ended = run.end();
    assert_eq!(ended.code(), Some(0), "{}", ended.said.err);
    assert_eq!(ended.said.logged("ending; a second signal ends at once")[0]["signal"], "SIGHUP");
    let account = ended.said.account("console");
    assert_eq!((account.state.as_str(), account.lost), ("stopped", 0), "{}", ended.said.err);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_that_is_ignored_at_the_start_stays_ignored() {
    let fixture = Fixture::new(112, TOML).await;
    let run = fixture.run().ignoring("HUP").start();
    run.until("klines are printed", |said| printed(said) >= 1);
    run.hang_up();
    let before = printed(&run.said());
    run.until("klines go on", |said| printed(said) >= before + SOME);
    let ended = run.stop();
    assert_eq!(ended.code(), Some(0), "{}", ended.said.err);
    assert_eq!(ended.said.logged("ending; a second signal ends at once")[0]["signal"], "SIGINT");
}
