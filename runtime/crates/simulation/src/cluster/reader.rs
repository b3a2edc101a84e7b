//! What readers see of all streams: every published kline, also one that a failover loses afterwards.
//!
//! Within an epoch, the sequences of a series have no hole. No revision of a kline has two contents, unless a failure of
//! Redis has lost the first one and nobody could know its number any longer.

use std::collections::{BTreeMap, BTreeSet};

use klines_cluster::version::{Digest, Identity, Published};

use super::plan::Millis;

/// Epochs have the numbers of milliseconds: two masters can begin different ones under the same number, within the time of
/// a split, and of what it and a failover lose.
const SAME_MOMENT: Millis = 16_000;

/// One entry that was seen.
#[derive(Debug)]
struct Seen {
    at: Millis,
    server: usize,
    identity: Identity,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct Reader {
    log: Vec<Seen>,
    /// The last sequence of each series and epoch of a Redis.
    last: BTreeMap<(usize, u64, String), u64>,
    /// Which Redis was first seen in an epoch, and when.
    begun: BTreeMap<(u64, String), (usize, Millis)>,
    contents: BTreeMap<(Identity, u64), Digest>,
    /// Klines whose numbers may have been given twice, because the first ones were lost.
    lost: BTreeSet<Identity>,
    /// Klines that were found with two contents for one revision; an error only if they were not lost.
    twice: BTreeMap<Identity, String>,
}

impl Reader {
    /// Takes what one Redis has published. Returns what is wrong.
    pub fn see(&mut self, server: usize, at: Millis, (epoch, kline): &(u64, Published)) -> Option<String> {
        let Published { identity, version, revision, sequence } = kline;
        self.log.push(Seen { at, server, identity: identity.clone() });
        let known = *self.contents.entry((identity.clone(), *revision)).or_insert(version.digest);
        if known != version.digest {
            let text = format!("{identity:?} has two contents for revision {revision}, the second in epoch {epoch}");
            self.twice.insert(identity.clone(), text);
        }
        let series = &identity.series;
        let (first, began) = *self.begun.entry((*epoch, series.clone())).or_insert((server, at));
        if first != server && at > began + SAME_MOMENT {
            return Some(format!("{series} goes on in epoch {epoch} of r{first} on r{server}"));
        }
        let before = self.last.insert((server, *epoch, series.clone()), *sequence);
        let expected = before.map_or(*sequence, |before| before + 1);
        (expected != *sequence)
            .then(|| format!("{series} in epoch {epoch}: sequence {sequence} follows, {expected} was expected"))
    }

    /// Forgets what one Redis has published since a moment, of some series: it is lost.
    pub fn lose(&mut self, server: usize, since: Millis, is_lost: impl Fn(&str) -> bool) {
        let recent = self.log.iter().rev().take_while(|seen| seen.at >= since).filter(|seen| seen.server == server);
        self.lost.extend(recent.map(|seen| &seen.identity).filter(|identity| is_lost(&identity.series)).cloned());
    }

    /// Forgets one kline, because the answer for it is lost.
    pub fn lose_one(&mut self, identity: &Identity) {
        self.lost.insert(identity.clone());
    }

    /// Returns how much was seen.
    pub const fn len(&self) -> usize {
        self.log.len()
    }

    /// Returns what is wrong in the end. `published` finds the revision and the digest of what Redis has of a kline.
    pub fn finish(&self, published: impl Fn(&Identity) -> Option<(u64, Digest)>) -> Vec<String> {
        let is_known = |identity: &Identity| !self.lost.contains(identity);
        let mut faults: Vec<String> =
            self.twice.iter().filter(|(identity, _)| is_known(identity)).map(|(_, text)| text.clone()).collect();
        // The last one of each identity is its highest revision.
        let newest: BTreeMap<&Identity, (u64, Digest)> =
            self.contents.iter().map(|((identity, revision), digest)| (identity, (*revision, *digest))).collect();
        for (identity, seen) in newest.into_iter().filter(|(identity, _)| is_known(identity)) {
            let found = published(identity);
            if found != Some(seen) {
                faults.push(format!("readers have {seen:?} of {identity:?}, and Redis has {found:?}"));
            }
        }
        faults
    }
}
