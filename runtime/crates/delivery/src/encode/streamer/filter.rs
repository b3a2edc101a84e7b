//! Decides which klines belong to the Streamer's arrays. A window whose first version is withheld because it is
//! `partial` is published when a later version is complete or repaired, although that version is a revision.

use hashbrown::HashMap;
use klines_domain::kline::{Kline, Quality};
use klines_domain::series::SeriesId;
use klines_domain::time::Millis;

/// Which closed klines are published in addition to those that the Streamer published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Whether to publish klines of windows in which watching began (quality `partial`).
    pub partial: bool,
    /// Whether to publish corrections of published klines (`revision` 1 and up).
    pub revisions: bool,
}

/// Maximum number of withheld windows of one series; the oldest is forgotten first. A series has one each time that
/// watching begins, and a second one if that moment is corrected.
const MAX_WITHHELD: usize = 8;

/// A window whose first version was withheld.
#[derive(Clone, Copy, Debug)]
struct Withheld {
    start: Millis,
    /// The revision that was published instead, once there was one.
    published: Option<u32>,
}

/// The filter of one output. Expects every closed kline of the output in order; the answer for a kline that is passed
/// again, because its delivery is repeated, is the same.
#[derive(Debug, Default)]
pub struct StreamerFilter {
    extras: Extras,
    withheld: HashMap<SeriesId, Vec<Withheld>, foldhash::fast::RandomState>,
}

impl StreamerFilter {
    /// Creates the filter of an output that has not published anything.
    #[must_use]
    pub fn new(extras: Extras) -> Self {
        Self { extras, withheld: HashMap::default() }
    }

    /// Returns whether a kline is published. Open klines never are.
    pub fn admits(&mut self, kline: &Kline) -> bool {
        let Extras { partial, revisions } = self.extras;
        let is_known = partial || kline.quality != Quality::Partial;
        match kline.revision {
            _ if !kline.confirm => false,
            0 if !is_known => {
                self.withhold(kline);
                false
            }
            0 => true,
            _ => is_known && (revisions || self.is_first(kline)),
        }
    }

    fn withhold(&mut self, kline: &Kline) {
        if self.extras.revisions {
            return;
        }
        let windows = self.withheld.entry(kline.series).or_default();
        if windows.iter().any(|withheld| withheld.start == kline.start) {
            return;
        }
        if windows.len() >= MAX_WITHHELD {
            windows.remove(0);
        }
        windows.push(Withheld { start: kline.start, published: None });
    }

    /// Returns whether a revision is the first version of its window that is published.
    fn is_first(&mut self, kline: &Kline) -> bool {
        let windows = self.withheld.get_mut(&kline.series);
        let withheld = windows.and_then(|windows| windows.iter_mut().find(|withheld| withheld.start == kline.start));
        withheld.is_some_and(|withheld| *withheld.published.get_or_insert(kline.revision) == kline.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn kline(window: i64, revision: u32, quality: Quality) -> Kline {
        Kline { revision, quality, ..fixture::kline("BTCUSDT", "1m", window, true) }
    }

    fn admitted(extras: Extras, klines: &[Kline]) -> Vec<bool> {
        let mut filter = StreamerFilter::new(extras);
        klines.iter().map(|kline| filter.admits(kline)).collect()
    }

    #[test]
    fn only_closed_klines_that_are_neither_partial_nor_revised_are_published_by_default() {
        let open = Kline { confirm: false, ..kline(4, 0, Quality::Complete) };
        let klines = [
            kline(2, 0, Quality::Complete),
            kline(3, 0, Quality::Partial),
            kline(2, 1, Quality::Complete),
            open,
            kline(5, 0, Quality::Repaired),
            kline(6, 0, Quality::Gapped),
        ];
        assert_eq!(admitted(Extras::default(), &klines), [true, false, false, false, true, true]);
        let partial = Extras { partial: true, revisions: false };
        assert_eq!(admitted(partial, &klines), [true, true, false, false, true, true]);
        let all = Extras { partial: true, revisions: true };
        assert_eq!(admitted(all, &klines), [true, true, true, false, true, true]);
    }

    #[test]
    fn the_first_version_that_is_not_partial_is_published_and_no_later_one() {
        use Quality::{Complete, Gapped, Partial, Repaired};
        for quality in [Complete, Repaired, Gapped] {
            let klines = [
                kline(3, 0, Partial),
                kline(3, 1, Partial),
                kline(3, 2, quality),
                kline(3, 3, Complete),
                kline(3, 4, Partial),
                // A delivery that is repeated.
                kline(3, 0, Partial),
                kline(3, 2, quality),
                kline(3, 3, Complete),
            ];
            let expected = [false, false, true, false, false, false, true, false];
            assert_eq!(admitted(Extras::default(), &klines), expected, "{quality}");
        }
        let revised = [kline(3, 0, Partial), kline(3, 1, Complete), kline(3, 2, Complete)];
        let revisions = Extras { partial: false, revisions: true };
        assert_eq!(admitted(revisions, &revised), [false, true, true]);
        let partial = Extras { partial: true, revisions: false };
        assert_eq!(admitted(partial, &revised), [true, false, false]);
    }

    #[test]
    fn a_window_that_was_published_before_it_became_partial_is_not_published_again() {
        let klines = [kline(3, 0, Quality::Complete), kline(3, 1, Quality::Partial), kline(3, 2, Quality::Repaired)];
        assert_eq!(admitted(Extras::default(), &klines), [true, false, false]);
    }

    #[test]
    fn windows_of_different_series_are_told_apart_and_the_oldest_are_forgotten() {
        let mut filter = StreamerFilter::new(Extras::default());
        let other = |kline: Kline| fixture::in_category(klines_domain::symbol::Category::Spot, &kline);
        for window in 0..=8 {
            assert!(!filter.admits(&kline(window, 0, Quality::Partial)));
        }
        assert!(!filter.admits(&other(kline(8, 1, Quality::Complete))), "its first version was published");
        assert!(filter.admits(&kline(8, 1, Quality::Complete)));
        assert!(filter.admits(&kline(1, 1, Quality::Complete)));
        assert!(!filter.admits(&kline(0, 1, Quality::Complete)));
    }
}
