//! Metrics of the Redis consumer, by output: whether Redis takes klines, and what waits.

use klines_delivery::stats::{Forwarded, Kind, Meter, Metric, Sample};
use klines_domain::time::Millis;

use super::tally::{Link, Tallies, Tally};

impl Meter for Tallies {
    fn forwarded(&self) -> Option<Forwarded> {
        Some(Forwarded {
            delivered: self.delivered(),
            losses: self.losses(),
            in_memory: self.in_memory(),
            on_disk: self.on_disk(),
            is_disconnected: self.is_disconnected(),
            is_full: self.is_full(),
        })
    }

    fn metrics(&self, now: Millis) -> Vec<Metric> {
        // `now` and `oldest` are by the exchange's clock; `oldest` may be slightly in the future.
        let age = |tally: &Tally| tally.oldest().map_or(0, |oldest| (now - oldest).max(0).unsigned_abs());
        let of_each = |name, help, kind, value: &dyn Fn(&Tally) -> u64| Metric {
            name,
            help,
            kind,
            samples: self.samples(|tally| vec![(None, value(tally))]),
        };
        vec![
            of_each(
                "klines_redis_connected",
                "Whether Redis accepts the commands of an output (1) or not (0).",
                Kind::Gauge,
                &|tally| u64::from(tally.link() == Link::Up),
            ),
            Metric {
                name: "klines_redis_backlog_klines",
                help: "Number of klines that Redis has not acknowledged, by place.",
                kind: Kind::Gauge,
                samples: self.samples(|tally| {
                    vec![(Some(("place", "memory")), tally.in_memory()), (Some(("place", "disk")), tally.on_disk())]
                }),
            },
            of_each(
                "klines_redis_spill",
                "Size in bytes of the unacknowledged klines on disk.",
                Kind::Bytes,
                &Tally::disk_bytes,
            ),
            of_each(
                "klines_redis_oldest_unacknowledged_age",
                "Age in seconds of the oldest closed kline that Redis has not acknowledged; 0 if there is none.",
                Kind::Age,
                &age,
            ),
            Metric {
                name: "klines_redis_items",
                help: "Total number of klines and values of an output, by outcome.",
                kind: Kind::Counter,
                samples: self.samples(|tally| {
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
    /// Builds the samples of every enabled output: with the label `output`, and one label more where `of` returns it.
    fn samples(&self, of: impl Fn(&Tally) -> Vec<(Option<(&'static str, &'static str)>, u64)>) -> Vec<Sample> {
        let sample = |output, (own, value): (Option<_>, u64)| Sample {
            labels: [("output", output)].into_iter().chain(own).collect(),
            value,
        };
        self.enabled()
            .flat_map(|(output, tally)| of(tally).into_iter().map(move |found| sample(output, found)))
            .collect()
    }
}
