//! Figures of what the redis consumer hands on, by output: whether Redis takes it, and what waits.

use klines_delivery::stats::{Figure, HandedOn, Kind, Meter, Row};
use klines_domain::time::Millis;

use super::tally::{Link, Tallies, Tally};

impl Meter for Tallies {
    fn handed_on(&self) -> Option<HandedOn> {
        Some(HandedOn {
            delivered: self.delivered(),
            losses: self.losses(),
            in_memory: self.in_memory(),
            on_disk: self.on_disk(),
            is_disconnected: self.is_disconnected(),
            is_full: self.is_full(),
        })
    }

    fn figures(&self, now: Millis) -> Vec<Figure> {
        // Of the exchange's clock, which may be a little ahead.
        let age = |tally: &Tally| tally.oldest().map_or(0, |oldest| (now - oldest).max(0).unsigned_abs());
        let of_each = |name, help, kind, value: &dyn Fn(&Tally) -> u64| Figure {
            name,
            help,
            kind,
            rows: self.rows(|tally| vec![(None, value(tally))]),
        };
        vec![
            of_each(
                "klines_redis_connected",
                "1 while Redis takes what an output sends, else 0.",
                Kind::Gauge,
                &|tally| u64::from(tally.link() == Link::Up),
            ),
            Figure {
                name: "klines_redis_backlog",
                help: "Klines that Redis has not acknowledged yet.",
                kind: Kind::Gauge,
                rows: self.rows(|tally| {
                    vec![(Some(("place", "memory")), tally.in_memory()), (Some(("place", "disk")), tally.on_disk())]
                }),
            },
            of_each("klines_redis_spill", "What waiting klines take on disk.", Kind::Bytes, &Tally::disk_bytes),
            of_each(
                "klines_redis_oldest_unsent",
                "Age of the oldest closed kline that Redis has not acknowledged.",
                Kind::Age,
                &age,
            ),
            Figure {
                name: "klines_redis_klines",
                help: "What became of the klines and values of an output.",
                kind: Kind::Counter,
                rows: self.rows(|tally| {
                    let totals = tally.totals();
                    [
                        ("acknowledged", totals.acknowledged),
                        ("overtaken", totals.overtaken),
                        ("dropped", totals.dropped),
                    ]
                    .map(|(outcome, klines)| (Some(("outcome", outcome)), klines))
                    .into()
                }),
            },
        ]
    }
}

impl Tallies {
    /// Rows of every output that is switched on; each with a label of its own where there are several.
    fn rows(&self, of: impl Fn(&Tally) -> Vec<(Option<(&'static str, &'static str)>, u64)>) -> Vec<Row> {
        let row = |output, (own, value): (Option<_>, u64)| Row {
            labels: [("output", output)].into_iter().chain(own).collect(),
            value,
        };
        self.enabled().flat_map(|(output, tally)| of(tally).into_iter().map(move |found| row(output, found))).collect()
    }
}
