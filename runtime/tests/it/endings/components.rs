//! Components that take nothing when a run ends.

use super::{SOME, Scene, assert_accounted, assert_exit, due, interrupt_twice, printed};
use crate::support::program::{component, klines};

const CONSOLE: &str = "[consumers.console.settings]\nshow = \"closed\"\nformat = \"json\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_paused_component_is_counted_after_one_signal_or_two() {
    for signals in [1, 2] {
        let toml = format!("enabled_consumers = [\"console\", \"jsonl\"]\n{CONSOLE}");
        let scene = Scene::new(97, &toml).await;
        let run = scene.run().start();
        run.until("klines", |said| printed(said) >= SOME);
        klines(scene.folder(), "consumer pause jsonl").run().well();
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
        // Cut short, the console has not done all of its work either.
        let lost = account.lost_at_the_end + ended.said.account("console").lost_at_the_end;
        assert_exit(ended.code(), &ended.said, lost);
        assert!(signals == 2 || due(&ended.said) == printed(&ended.said), "{}", ended.said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crashing_component_did_not_take_is_counted() {
    let path = component("hostile");
    let toml = format!(
        "enabled_consumers = [\"console\", \"bad\"]\n{CONSOLE}\
         [consumers.bad]\ncomponent = {path:?}\nclosed_only = true\nsettings.mode = \"trap\"\n"
    );
    let scene = Scene::new(98, &toml).await;
    let run = scene.run().start();
    let crashed = "consumer crashed and gets a new instance";
    run.until("it is in backoff", |said| printed(said) >= SOME && !said.logged(crashed).is_empty());
    let ended = run.stop();
    let account = assert_accounted(&ended.said, "bad", printed(&ended.said));
    assert_eq!(account.delivered, 0, "{account:?}");
    assert!(account.set_aside > 0, "{account:?}");
    assert_exit(ended.code(), &ended.said, account.lost_at_the_end);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_component_holds_in_a_call_that_does_not_return_is_counted() {
    let path = component("hostile");
    // A call may take longer than the end waits.
    let toml = format!(
        "enabled_consumers = [\"console\", \"bad\"]\n{CONSOLE}\
         [consumers.bad]\ncomponent = {path:?}\nclosed_only = true\nlimits.call = \"10m\"\nsettings.mode = \"loop\"\n"
    );
    let scene = Scene::new(99, &toml).await;
    let run = scene.run().start();
    run.until("klines", |said| printed(said) >= SOME);
    let ended = run.stop();
    let account = assert_accounted(&ended.said, "bad", printed(&ended.said));
    assert_eq!((account.delivered, account.state.as_str()), (0, "abandoned"), "{account:?}");
    assert_exit(ended.code(), &ended.said, printed(&ended.said) as u64);
}
