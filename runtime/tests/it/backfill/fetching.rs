//! Archives are downloaded once, whole and checked.

use std::fs;
use std::path::Path;

use super::*;

fn names(home: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(home).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_of_each_category_are_downloaded_once_and_missing_days_are_named() {
    let (sim, home) = (exchange(81).await, folder(&[]));
    let (before, yesterday, today) = (date(&sim, 2), date(&sim, 1), date(&sim, 0));
    for (symbol, name) in [
        ("BTCUSDT", format!("BTCUSDT{yesterday}")),
        ("spot:ETHUSDT", format!("ETHUSDT_{yesterday}")),
        ("inverse:BTCUSD", format!("BTCUSD{yesterday}")),
    ] {
        let said = fetch(home.path(), &sim, &format!("{symbol} {before} {yesterday} --into archives")).run().success();
        assert_eq!(said.out.lines().last(), Some(&*format!("archives/{name}.csv.gz")));
        assert_eq!(said.err.lines().last(), Some("2 files downloaded, 0 there already"));
    }
    let requests = sim.counters().archive_requests;
    let ended = fetch(home.path(), &sim, &format!("BTCUSDT {before} {today} --into archives")).run();
    let said = failed(ended);
    assert_eq!(said.lines().last(), Some(&*format!("0 files downloaded, 2 there already, 1 missing: {today}")));
    assert_eq!(sim.counters().archive_requests, requests, "what is there is not asked for");
    assert_eq!(names(&home.path().join("archives")).len(), 6, "no part is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_continues_where_it_was_cut() {
    let (sim, whole, home) = (exchange(82).await, folder(&[]), folder(&[]));
    let yesterday = date(&sim, 1);
    let name = format!("BTCUSDT{yesterday}.csv.gz");
    fetch(whole.path(), &sim, &format!("BTCUSDT {yesterday}")).run().success();
    // Each answer ends after half of the rest.
    sim.inject(Fault::Rest(RestFault::Truncated));
    let run = fetch(home.path(), &sim, &format!("BTCUSDT {yesterday}")).start();
    let part = home.path().join(format!("{name}.part"));
    let before = sim.counters().archive_requests;
    while sim.counters().archive_requests < before + 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    run.kill();
    let length = fs::metadata(&part).unwrap().len();
    assert!(length > 0, "the part is kept");
    sim.heal();
    fetch(home.path(), &sim, &format!("BTCUSDT {yesterday}")).run().success();
    assert_eq!(names(home.path()), std::slice::from_ref(&name));
    let [whole, parts] = [whole.path(), home.path()].map(|home| fs::read(home.join(&name)).unwrap());
    assert!(parts == whole && whole.len() as u64 > length);
    // A part of another file: the whole is wrong, and is downloaded again.
    fs::remove_file(home.path().join(&name)).unwrap();
    fs::write(&part, &whole[100..300]).unwrap();
    fetch(home.path(), &sim, &format!("BTCUSDT {yesterday}")).run().success();
    assert_eq!(fs::read(home.path().join(&name)).unwrap(), whole);
    // A part that has all of it, and one that has more.
    for more in [0, 7] {
        fs::remove_file(home.path().join(&name)).unwrap();
        fs::write(&part, [&whole[..], &vec![1; more][..]].concat()).unwrap();
        fetch(home.path(), &sim, &format!("BTCUSDT {yesterday}")).run().success();
        assert_eq!(fs::read(home.path().join(&name)).unwrap(), whole);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_not_kept_and_a_refusal_ends_the_download() {
    let (sim, home) = (exchange(83).await, folder(&[]));
    let arguments = format!("spot:ETHUSDT {}", date(&sim, 1));
    sim.inject(Fault::Rest(RestFault::Garbage));
    let said = failed(fetch(home.path(), &sim, &arguments).run());
    assert!(said.contains("/spot/ETHUSDT/") && said.contains("1 failed"), "{said}");
    assert_eq!(names(home.path()), Vec::<String>::new());
    sim.heal();
    sim.inject(Fault::Rest(RestFault::Blocked));
    let said = failed(fetch(home.path(), &sim, &arguments).run());
    assert!(said.contains("refused with 403"), "{said}");
    sim.heal();
    sim.inject(Fault::Rest(RestFault::Unavailable).with_chance(60));
    fetch(home.path(), &sim, &arguments).run().success();
    let ended = klines(home.path(), &format!("fetch {arguments} --url file:///tmp")).run();
    assert!(failed(ended).contains("--url"));
}
