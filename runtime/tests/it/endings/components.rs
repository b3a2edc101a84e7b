//! Components that accept no klines when a run ends.

use super::{Fixture, SOME, assert_accounted, assert_exit, due, interrupt_twice, printed};
use crate::support::program::{component, klines};

const CONSOLE: &str = "[consumers.console.settings]\nshow = \"closed\"\nformat = \"json\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn klines_that_wait_for_a_paused_component_are_counted_after_one_signal_or_two() {
    for signals in [1, 2] {
        let toml = format!("enabled_consumers = [\"console\", \"jsonl\"]\n{CONSOLE}");
        let fixture = Fixture::new(97, &toml).await;
        let run = fixture.run().start();
        run.until("klines", |said| printed(said) >= SOME);
        klines(fixture.folder(), "consumer pause jsonl").run().success();
        let before = printed(&run.said());
        run.until("klines go on", |said| printed(said) >= before + SOME);
        if signals == 1 {
            run.interrupt();
        } else {
            interrupt_twice(&run);
        }
        let ended = run.end();
        let account = assert_accounted(&ended.said, "jsonl", due(&ended.said));
        assert!(account.lost_at_the_end >= SOME as u64 && account.delivered > 0, "{account:?}");
        // After two signals the console has not printed everything either.
        let lost = account.lost_at_the_end + ended.said.account("console").lost_at_the_end;
        assert_exit(ended.code(), &ended.said, lost);
        assert!(signals == 2 || due(&ended.said) == printed(&ended.said), "{}", ended.said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn klines_that_a_crashing_component_did_not_take_are_counted() {
    let path = component("hostile");
    let toml = format!(
        "enabled_consumers = [\"console\", \"bad\"]\n{CONSOLE}\
         [consumers.bad]\ncomponent = {path:?}\nclosed_only = true\nsettings.mode = \"trap\"\n"
    );
    let fixture = Fixture::new(98, &toml).await;
    let run = fixture.run().start();
    let crashed = "consumer crashed and gets a new instance";
    run.until("it is in backoff", |said| printed(said) >= SOME && !said.logged(crashed).is_empty());
    let ended = run.stop();
    let account = assert_accounted(&ended.said, "bad", printed(&ended.said));
    assert_eq!(account.delivered, 0, "{account:?}");
    assert!(account.set_aside > 0, "{account:?}");
    assert_exit(ended.code(), &ended.said, account.lost_at_the_end);
}

#[tokio::test(flavor = "multi_thread")]
async fn klines_of_a_call_that_does_not_return_are_counted() {
    let path = component("hostile");
    // A call may take longer than a run waits at its end.
    let toml = format!(
        "enabled_consumers = [\"console\", \"bad\"]\n{CONSOLE}\
         [consumers.bad]\ncomponent = {path:?}\nclosed_only = true\nlimits.call = \"10m\"\nsettings.mode = \"loop\"\n"
    );
    let fixture = Fixture::new(99, &toml).await;
    let run = fixture.run().start();
    run.until("klines", |said| printed(said) >= SOME);
    let ended = run.stop();
    let account = assert_accounted(&ended.said, "bad", printed(&ended.said));
    assert_eq!((account.delivered, account.state.as_str()), (0, "abandoned"), "{account:?}");
    assert_exit(ended.code(), &ended.said, printed(&ended.said) as u64);
}
