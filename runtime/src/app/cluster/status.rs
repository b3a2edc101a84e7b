//! `klines cluster status`: the members of a cluster, who writes each partition, who consumes it, and what is wrong.

mod groups;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Context;
use klines_cluster::keys::ClusterKeys;
use klines_cluster::library::{PartitionState, PartitionView, ViewMembers, call};
use klines_cluster::member::{About, Name, View};
use klines_cluster::membership::Phase;
use klines_cluster::partition::{Partition, Partitions};
use klines_cluster::server::Server;
use klines_config::cluster::Cluster;
use klines_domain::count::counted;
use serde_json::{Value, json};

use crate::app::output;
use crate::app::refusal::Refused;
use crate::cli::{ClusterStatusArgs, EXIT_FAILED};

/// The state of a cluster.
struct Status {
    view: View,
    partitions: Vec<(Partition, PartitionState)>,
    replicas: usize,
}

/// Prints the state of a cluster.
///
/// # Errors
/// When Redis cannot be read.
pub fn status(args: &ClusterStatusArgs) -> anyhow::Result<ExitCode> {
    let cluster = klines_config::cluster(args.flags.sources()).map_err(Refused)?;
    let server = super::server(&cluster)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let read = runtime.block_on(read(&server, &cluster));
    let status = read.with_context(|| format!("reading the cluster `{}` on {}", cluster.name, server.shown()))?;
    let title = format!("cluster {} on {}", cluster.name, server.shown());
    output::print(&if args.json { status.json(&cluster.name) } else { status.text(&title) })?;
    Ok(if status.weak().is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

async fn read(server: &Server, cluster: &Cluster) -> anyhow::Result<Status> {
    let mut connection = server.look().await?;
    let keys = ClusterKeys::new(&Name::new(&cluster.name)?);
    let view = call(&mut connection, &ViewMembers { keys: &keys }).await?;
    let mut partitions = Vec::new();
    for partition in Partitions::new(cluster.partitions)?.iter() {
        let keys = keys.partition(partition);
        partitions.push((partition, call(&mut connection, &PartitionView { keys: &keys }).await?));
    }
    Ok(Status { view, partitions, replicas: cluster.replicas })
}

/// Returns the live holders of a partition. A record is a process, a token, when the lease is over, and the phase.
fn holders(state: &PartitionState) -> Vec<(&str, Phase)> {
    let of = |record: &String| {
        let words: Vec<&str> = record.split(' ').collect();
        let [_, _, expires, phase] = words.as_slice() else { return None };
        (expires.parse::<u64>().ok()? > state.now).then(|| Phase::parse(phase))?
    };
    state.holders.iter().filter_map(|(name, record)| Some((name.as_str(), of(record)?))).collect()
}

fn count(state: &PartitionState, field: &str) -> u64 {
    state.meta.get(field).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Returns what a member does, as text. Its groups are in a table of their own.
fn roles(about: &About) -> String {
    About { partitions: None, groups: BTreeSet::new(), ..about.clone() }.to_string()
}

/// Returns ascending numbers as text, such as `0-3, 7`.
fn spans(numbers: &[u16]) -> String {
    let spans = numbers.chunk_by(|one, next| *next == one + 1).map(|span| match span {
        [first, .., last] => format!("{first}-{last}"),
        one => one.iter().map(u16::to_string).collect(),
    });
    spans.collect::<Vec<_>>().join(", ")
}

impl Status {
    /// Returns the partitions with fewer nodes that count than configured, or than there are.
    fn weak(&self) -> Vec<Partition> {
        let wanted = self.replicas.min(self.view.ingest().count()).max(1);
        let counting = |state| holders(state).iter().filter(|(_, phase)| *phase == Phase::Counting).count();
        let weak = self.partitions.iter().filter(|(_, state)| counting(state) < wanted);
        weak.map(|(partition, _)| *partition).collect()
    }

    /// Returns how many partitions each holder seeds, and how many it counts for.
    fn by_node(&self) -> BTreeMap<&str, (usize, usize)> {
        let mut nodes = BTreeMap::new();
        for (name, phase) in self.partitions.iter().flat_map(|(_, state)| holders(state)) {
            let (seeding, counting) = nodes.entry(name).or_insert((0, 0));
            match phase {
                Phase::Seeding => *seeding += 1,
                Phase::Counting => *counting += 1,
            }
        }
        nodes
    }

    fn sum(&self, field: &str) -> u64 {
        self.partitions.iter().map(|(_, state)| count(state, field)).sum()
    }

    fn text(&self, title: &str) -> String {
        let mut text = format!("{title}: {}\n\n", counted(self.view.members.len(), "live member"));
        let _ = writeln!(text, "{:<24} {:<16} {:>8} {:>8}", "node", "does", "counting", "seeding");
        let nodes = self.by_node();
        for member in &self.view.members {
            let (seeding, counting) = nodes.get(member.name.as_str()).copied().unwrap_or_default();
            let _ = writeln!(text, "{:<24} {:<16} {counting:>8} {seeding:>8}", member.name, roles(&member.about));
        }
        for (name, (seeding, counting)) in &nodes {
            if !self.view.members.iter().any(|member| member.name.as_str() == *name) {
                let _ = writeln!(text, "{name:<24} {:<16} {counting:>8} {seeding:>8}", "leaving or gone");
            }
        }
        text.push_str(&groups::text(&groups::workers(&self.partitions)));
        let entries: u64 = self.partitions.iter().map(|(_, state)| state.length).sum();
        let _ = writeln!(
            text,
            "\n{}, {} in their streams",
            counted(self.partitions.len(), "partition"),
            counted(entries, "entry")
        );
        for (field, what) in [
            ("conflicts", "versions of two nodes that are equally good and differ"),
            ("forced", "entries that were removed before a group had acknowledged them"),
        ] {
            if self.sum(field) > 0 {
                let _ = writeln!(text, "{} {what}", self.sum(field));
            }
        }
        let weak = self.weak();
        if !weak.is_empty() {
            let numbers: Vec<u16> = weak.iter().map(|partition| partition.number()).collect();
            let partitions = counted(weak.len(), "partition");
            let _ = writeln!(
                text,
                "error: {partitions} with too few nodes whose first windows are right: {}: start ingest nodes, or wait \
                 until those that seed have learned them",
                spans(&numbers)
            );
        }
        text
    }

    fn json(&self, name: &str) -> String {
        let member = |member: &klines_cluster::member::Member| {
            json!({
                "name": member.name.as_str(),
                "ingest": member.about.ingest,
                "serve": member.about.serve,
                "groups": member.about.groups.iter().map(Name::as_str).collect::<Vec<_>>(),
            })
        };
        let partition = |(partition, state): &(Partition, PartitionState)| {
            let holders: Vec<Value> =
                holders(state).iter().map(|(name, phase)| json!({ "name": name, "phase": phase.as_str() })).collect();
            json!({
                "partition": partition.number(),
                "epoch": count(state, "epoch"),
                "holders": holders,
                "entries": state.length,
                "last": state.last.to_string(),
                "conflicts": count(state, "conflicts"),
                "forced": count(state, "forced"),
                "groups": groups::json(&self.partitions, state),
            })
        };
        let weak: Vec<u16> = self.weak().into_iter().map(Partition::number).collect();
        let text = json!({
            "cluster": name,
            "generation": self.view.generation,
            "members": self.view.members.iter().map(member).collect::<Vec<_>>(),
            "partitions": self.partitions.iter().map(partition).collect::<Vec<_>>(),
            "weak": weak,
        });
        format!("{text:#}\n")
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_that_follow_one_another_are_a_span() {
        assert_eq!(super::spans(&[0, 1, 2, 3, 7, 9, 10]), "0-3, 7, 9-10");
        assert_eq!(super::spans(&[]), "");
    }
}
