//! Several processes of the real binary on a real Redis: klines go on, and are exact, while nodes and Redis come and go.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

mod failures;
mod gateways;
mod groups;
mod tls;

use std::collections::BTreeMap;

use bybit_sim::{Category, Sim};
use tempfile::TempDir;

use crate::live::{DEMO, JSON, demo};
use crate::redis::server::{Server, eventually};
use crate::redis::tls::Tls;
use crate::support::program::{Running, Said, folder, klines};
use crate::support::received::{Received, SeriesKey, received};
use crate::support::truth::Truth;

/// The intervals of the klines: minutes would take minutes.
const INTERVALS: &str = "1s,2s";
/// Fewer partitions than usual: three symbols need no more.
const PARTITIONS: &str = "8";

/// A cluster with an exchange and a Redis of its own. Its processes end with it.
struct Cluster {
    sim: Sim,
    redis: Server,
    /// With it, nodes reach Redis by TLS.
    tls: Option<Tls>,
    folders: BTreeMap<String, TempDir>,
}

impl Cluster {
    async fn start(seed: u64) -> Self {
        // Nothing is kept on disk: a Redis that is killed loses everything.
        let redis = Server::with(&["--appendonly", "no"]);
        Self { sim: demo(seed).await, redis, tls: None, folders: BTreeMap::new() }
    }

    /// Starts one whose nodes reach Redis by TLS, and whose Redis keeps its data when it is killed.
    async fn start_with_tls(seed: u64) -> Self {
        let (tls, kept) = (Tls::new(), ["--appendonly", "yes", "--appendfsync", "no"]);
        let arguments: Vec<String> = tls.arguments().into_iter().chain(kept.map(ToOwned::to_owned)).collect();
        let redis = Server::with(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        Self { sim: demo(seed).await, redis, tls: Some(tls), folders: BTreeMap::new() }
    }

    fn toml(&self) -> String {
        let address = match &self.tls {
            None => format!("redis_url = \"{}\"", self.redis.url()),
            Some(tls) => format!("redis_url = \"{}\"\nca_file = \"{}\"", tls.url(), tls.certificate().display()),
        };
        format!("[cluster]\n{address}\npartitions = {PARTITIONS}\n{JSON}")
    }

    /// Starts a node; one with the name of an earlier one continues it.
    fn node(&mut self, name: &str, role: &str) -> Running {
        self.node_with(name, role, &[])
    }

    fn node_with(&mut self, name: &str, role: &str, variables: &[(&str, &str)]) -> Running {
        self.node_of(name, role, variables, "")
    }

    /// Starts a node with further sections of its configuration.
    fn node_of(&mut self, name: &str, role: &str, variables: &[(&str, &str)], sections: &str) -> Running {
        let toml = self.toml() + sections;
        let home = self.folders.entry(name.to_owned()).or_insert_with(|| folder(&[("klines.toml", &toml)]));
        let run = klines(home.path(), "run").at(&self.sim).with("LOG_FORMAT", "json");
        let run = run.with("BYBIT_SYMBOLS", &DEMO.join(",")).with("KLINE_INTERVALS", INTERVALS);
        let run = run.with("CLUSTER_ROLE", role).with("CLUSTER_NODE", name);
        variables.iter().fold(run, |run, (variable, value)| run.with(variable, value)).start()
    }

    /// Returns what `klines cluster status` says.
    fn status(&self) -> Said {
        let home = folder(&[("klines.toml", &self.toml())]);
        let ended = klines(home.path(), "cluster status --json").run();
        ended.said
    }

    /// Waits until these nodes count for every partition, and no others.
    fn until_counting(&self, nodes: &[&str]) {
        eventually("the nodes count", || {
            let Ok(status) = serde_json::from_str::<serde_json::Value>(&self.status().out) else { return false };
            let partitions = status["partitions"].as_array().unwrap().clone();
            partitions.iter().all(|partition| {
                let holders = partition["holders"].as_array().unwrap();
                let counting = holders.iter().filter(|holder| holder["phase"] == "counting");
                let mut names: Vec<_> = counting.filter_map(|holder| holder["name"].as_str()).collect();
                names.sort_unstable();
                names == nodes && holders.len() == nodes.len()
            })
        });
    }

    /// Checks the klines of a serve node: none twice, no hole in sequences, no window missing, and what is complete is what
    /// was traded. The last seconds are not compared: corrections of them were on their way when it ended.
    #[track_caller]
    fn check(&self, said: &Said) {
        let all = received(&said.out);
        assert_whole(&all);
        let horizon = all.iter().map(|kline| kline.end).max().unwrap() - 2_000;
        let settled: Vec<Received> = all.into_iter().filter(|kline| kline.end <= horizon).collect();
        let mut truth = Truth::default();
        truth.note(&self.sim, Category::Linear, &DEMO);
        assert!(truth.assert_same(&settled) > 0, "no kline was complete");
    }
}

/// Asserts that no kline comes twice, that sequences have no hole, and that no window between others is missing.
#[track_caller]
fn assert_whole(klines: &[Received]) {
    let (mut seen, mut starts) = (BTreeMap::new(), BTreeMap::<SeriesKey, Vec<(i64, i64)>>::new());
    let mut sequences = BTreeMap::<SeriesKey, u64>::new();
    for kline in klines {
        let before = seen.insert((kline.series(), kline.start, kline.revision), kline);
        assert!(before.is_none(), "received twice: {kline:?} after {before:?}");
        let sequence = sequences.entry(kline.series()).or_default();
        assert!(*sequence == 0 || kline.sequence == *sequence + 1, "{sequence} is followed by {kline:?}");
        *sequence = kline.sequence;
        starts.entry(kline.series()).or_default().push((kline.start, kline.end));
    }
    for (series, mut windows) in starts {
        windows.sort_unstable();
        windows.dedup();
        let hole = windows.windows(2).find(|pair| pair[0].1 + 1 != pair[1].0);
        assert!(hole.is_none(), "{series:?} lacks windows between {hole:?}");
    }
}

/// Waits until a serve node has handed on this number of further klines.
fn more(serve: &Running, klines: usize) {
    let before = serve.said().out.lines().count();
    serve.until("more klines", |said| said.out.lines().count() >= before + klines);
}
