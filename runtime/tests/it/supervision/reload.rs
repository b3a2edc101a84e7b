//! Component files that change while a consumer runs: the new version takes over between two batches, and if anything
//! is wrong with it, the old one goes on.

use std::fs;

use bybit_sim::{Activity, Category, Instrument, Market, Sim, SimConfig};

use super::{RUN, home, kept, next_refusal, refused, replace};
use crate::support::program::{Said, component, klines, with_section};

/// Returns the component with a section without meaning: a different file with the same behaviour.
fn variant(number: u32) -> Vec<u8> {
    with_section("ledger", &format!("variant-{number}"), "")
}

fn swapped(said: &Said) -> usize {
    said.logged("consumer runs its new version").len()
}

#[test]
fn a_new_file_takes_over_with_the_state_and_a_bad_one_does_not() {
    let home = home("ledger", "");
    let path = home.path().join("it.wasm");
    let run = klines(home.path(), RUN).with("LOG_FORMAT", "json").start();
    run.until("the start", |said| said.logged("consumer started").iter().any(|line| line["consumer"] == "it"));
    for version in 1..=3 {
        replace(home.path(), &variant(version));
        run.until("the new version", |said| swapped(said) == version as usize);
    }
    // Half a file, as a copy in progress leaves it.
    fs::write(&path, &variant(4)[..20_000]).unwrap();
    assert!(next_refusal(&run).contains("is not a valid component"));
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(component("ledger"), &path).unwrap();
    assert!(next_refusal(&run).contains("is a symbolic link, which is not followed"));
    fs::remove_file(&path).unwrap();
    replace(home.path(), &wat::parse_str("(module)").unwrap());
    assert!(next_refusal(&run).contains("is a core WebAssembly module"));
    replace(home.path(), &fs::read(component("hostile")).unwrap());
    let other = next_refusal(&run);
    assert!(other.contains("the new version refuses its settings") && other.contains("mode"), "{other}");
    replace(home.path(), &with_section("ledger", "klines:manifest", r#"{"name":"it","env":["TZ"]}"#));
    let more = next_refusal(&run);
    assert!(more.contains("wants more than it is granted") && more.contains("TZ"), "{more}");
    // A complete file is accepted again.
    replace(home.path(), &variant(5));
    run.until("the fourth version", |said| swapped(said) == 4);
    let said = run.stop().success();
    assert_eq!(refused(&said).len(), 5, "{}", said.err);
    let kept = kept(home.path());
    assert!(kept.count > 0);
    assert_eq!((kept.keys, kept.taken, kept.doubles, kept.holes, kept.lost), (kept.count, kept.count, 0, 0, 0));
}

/// Returns a market of twenty symbols that trade all the time.
fn busy() -> Market {
    let instrument = |number: usize| {
        let symbol = format!("S{number:02}USDT");
        let instrument = Instrument::new(Category::Linear, &symbol, "1922.50", "0.01", "0.01").unwrap();
        instrument.with_activity(Activity::LIVELY)
    };
    Market::seeded(91, (0..20).map(instrument).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reloads_under_load_lose_and_repeat_no_kline() {
    let sim = Sim::start(SimConfig::new(busy())).await.unwrap();
    let home = home("ledger", "");
    let run = klines(home.path(), "run --load-all --intervals 100ms,1s").at(&sim).with("LOG_FORMAT", "json").start();
    run.until("the start", |said| said.logged("consumer started").iter().any(|line| line["consumer"] == "it"));
    for version in 1..=100 {
        // A few files in turn: each is compiled once and then read from the cache, as after a restart.
        replace(home.path(), &variant(version % 4));
        klines(home.path(), "consumer reload it").run().success();
    }
    let said = run.stop().success();
    assert!(swapped(&said) >= 100, "{}", said.err);
    assert_eq!(refused(&said), Vec::<String>::new());
    let kept = kept(home.path());
    assert!(kept.count > 100, "{kept:?}");
    assert_eq!((kept.keys, kept.taken, kept.doubles, kept.holes, kept.lost), (kept.count, kept.count, 0, 0, 0));
}

#[test]
fn a_new_version_is_refused_a_folder_below_a_link_to_data_dir() {
    let home = home(
        "hostile",
        "[consumers.it.allow]\ndirs = [{ host = \"a/out\", guest = \"/out\", write = true }]\n\
         [consumers.it.settings]\nmode = \"mark\"\n\
         # A call that a busy machine holds up must not end the instance: the next one would be refused, too.\n\
         [consumers.it.limits]\ncall = \"60s\"\n",
    );
    let mark = home.path().join("a/out/mark");
    let run = klines(home.path(), RUN).with("LOG_FORMAT", "json").start();
    run.until("the mark", |_| mark.exists());
    fs::create_dir_all(home.path().join("klines-data/out")).unwrap();
    fs::rename(home.path().join("a"), home.path().join("b")).unwrap();
    std::os::unix::fs::symlink("klines-data", home.path().join("a")).unwrap();
    let mut bytes = fs::read(component("hostile")).unwrap();
    bytes.extend([0, 2, 1, b'x']);
    replace(home.path(), &bytes);
    let refusal = next_refusal(&run);
    assert!(refusal.contains("`a/out` lies inside `data_dir`") && refusal.contains("expected a folder"), "{refusal}");
    assert_eq!(fs::read_dir(home.path().join("klines-data/out")).unwrap().count(), 0);
    run.stop().success_except(|line| line.contains("a/out"));
}
