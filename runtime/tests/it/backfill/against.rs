//! The store beside what the exchange says, and beside archives.

use super::*;

fn verify(home: &Path, sim: &Sim, arguments: &str) -> Invocation {
    klines(home, &format!("verify {arguments}")).at(sim)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_compared_with_rest_and_with_archives() {
    let (sim, other, home) = (exchange(97).await, exchange(98).await, home());
    let files = two_days(home.path(), &sim, "BTCUSDT");
    backfill(home.path(), &sim, &format!("--intervals 1s,1m,1h,1D --files {files}")).run().success();
    let said = verify(home.path(), &sim, "--against rest").run().success();
    let compared = 2_879 + 47 + 1;
    assert_eq!(
        said.out.trim(),
        format!("{compared} of {compared} klines equal, 0 differ; 3 not known exactly, 0 not stored")
    );
    let said = verify(home.path(), &sim, &format!("--against {files}")).run().success();
    assert!(said.out.contains(" klines equal, 0 differ; 4 not known exactly, 0 not stored"), "{}", said.out);
    // The seconds are a sum of trades, the minutes of seconds, the hours of minutes, and the days of hours.
    let said = verify(home.path(), &sim, "--store").run().success();
    assert!(said.out.contains(", 2927 sums, no fault"), "{}", said.out);
    let json = verify(home.path(), &sim, "--store --json").run().success();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json.out).unwrap()["sums"], 2_927);
    let ended = verify(home.path(), &other, "--against rest --symbols BTCUSDT --intervals 1h").run();
    assert!(ended.said.out.contains("0 of 47 klines equal, 47 differ"), "{}", ended.said.out);
    let said = failed(ended);
    assert!(said.contains("linear BTCUSDT 1h 20") && said.contains("close        stored "), "{said}");
    let said = failed(verify(home.path(), &sim, "--against rest --symbols SOLUSDT").run());
    assert!(said.contains("no such klines are stored"), "{said}");
    let ended = verify(home.path(), &sim, "--store --against rest").run();
    assert_eq!(ended.code(), Some(2), "{}", ended.said.err);
}
