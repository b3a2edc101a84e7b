//! The commands of each output: which klines it sends to Redis, and how.
//!
//! `PUBLISH` carries the Streamer's JSON; streams and last values carry the whole record with exact decimals as
//! text, its revision and its quality, so that they contain every field.

use std::sync::{Arc, Mutex, PoisonError};

use ::redis::Pipeline;
use klines_delivery::emit::Point;
use klines_delivery::encode::{self, StreamerFilter, ValueTopic};
use klines_domain::kline::Kline;
use klines_domain::series::SeriesKey;
use klines_domain::symbol::Category;

use crate::settings::LastValue;

/// The field of a stream's entry that contains the record.
const FIELD: &str = "kline";

/// A channel's or stream's name for each category.
#[derive(Clone, Debug)]
pub(super) struct Names([(Category, String); 3]);

impl Names {
    /// Builds the names: `base` for the first category, `base:category` for the others.
    pub(super) fn new(base: &str, first: Category) -> Self {
        let name = |category: Category| match category {
            category if category == first => base.to_owned(),
            category => format!("{base}:{category}"),
        };
        Self(Category::ALL.map(|category| (category, name(category))))
    }

    fn of(&self, category: Category) -> &str {
        self.0.iter().find(|(known, _)| *known == category).map_or("", |(_, name)| name)
    }
}

/// Turns klines or values into Redis commands.
pub(super) trait Commands<T>: Send + 'static {
    /// Appends the commands for the items of one batch to `pipeline`. Returns the number of commands.
    fn commands(&self, items: &[Arc<T>], pipeline: &mut Pipeline, text: &mut String) -> usize;

    /// Returns the ACL rules that allow these commands.
    fn rights(&self) -> String;
}

/// The output of values that consumers publish: one `PUBLISH` for each, on the channel of its series.
#[derive(Clone, Debug)]
pub(super) struct Values {
    /// The category that channel names leave out.
    pub(super) first: Category,
}

impl Commands<Point> for Values {
    fn commands(&self, points: &[Arc<Point>], pipeline: &mut Pipeline, text: &mut String) -> usize {
        for point in points {
            let channel = ValueTopic { series: &point.value_series(), first: self.first }.to_string();
            text.clear();
            encode::whole_value(point, text);
            pipeline.cmd("PUBLISH").arg(channel).arg(text.as_str());
        }
        points.len()
    }

    fn rights(&self) -> String {
        "+publish &ext.*".to_owned()
    }
}

/// An output of klines.
#[derive(Clone, Debug)]
pub(super) enum Output {
    /// One `PUBLISH` for each boundary and category. The instances of a run share the filter.
    Publish { names: Names, filter: Arc<Mutex<StreamerFilter>> },
    /// One `XADD` for each closed kline.
    Append { names: Names, max_len: u32 },
    /// One `SET` for each kline.
    Set { prefix: String, which: LastValue },
}

impl Output {
    /// Returns whether the output sends this kline.
    pub(super) fn wants(&self, kline: &Kline) -> bool {
        match self {
            Self::Publish { filter, .. } => filter.lock().unwrap_or_else(PoisonError::into_inner).admits(kline),
            Self::Append { .. } => kline.confirm,
            Self::Set { which, .. } => kline.confirm || *which == LastValue::Open,
        }
    }
}

impl Commands<Kline> for Output {
    fn commands(&self, klines: &[Arc<Kline>], pipeline: &mut Pipeline, text: &mut String) -> usize {
        let before = pipeline.len();
        match self {
            Self::Publish { names, .. } => {
                for of_category in klines.chunk_by(|one, other| one.series.category == other.series.category) {
                    text.clear();
                    encode::streamer(of_category.iter().map(AsRef::as_ref), text);
                    let category = of_category.first().map(|kline| kline.series.category).unwrap_or_default();
                    pipeline.cmd("PUBLISH").arg(names.of(category)).arg(text.as_str());
                }
            }
            Self::Append { names, max_len } => {
                for kline in klines {
                    let add =
                        pipeline.cmd("XADD").arg(names.of(kline.series.category)).arg("MAXLEN").arg("~").arg(max_len);
                    add.arg("*").arg(FIELD).arg(record(kline, text));
                }
            }
            Self::Set { prefix, .. } => {
                for kline in klines {
                    let SeriesKey { category, interval, symbol } = &*kline.series;
                    let key = format!("{prefix}:last:{category}:{interval}:{symbol}");
                    pipeline.cmd("SET").arg(key).arg(record(kline, text));
                }
            }
        }
        pipeline.len() - before
    }

    fn rights(&self) -> String {
        let all =
            |names: &Names, sign: char| names.0.iter().map(|(_, name)| format!(" {sign}{name}")).collect::<String>();
        match self {
            Self::Publish { names, .. } => format!("+publish{}", all(names, '&')),
            Self::Append { names, .. } => format!("+xadd{}", all(names, '~')),
            Self::Set { prefix, .. } => format!("+set ~{prefix}:last:*"),
        }
    }
}

fn record<'a>(kline: &Kline, text: &'a mut String) -> &'a str {
    text.clear();
    encode::ndjson(kline, text);
    text.trim_end()
}

#[cfg(test)]
mod tests {
    use klines_delivery::fixture;

    use super::*;

    fn sent(output: &Output, klines: &[Arc<Kline>]) -> Vec<Vec<String>> {
        let (mut pipeline, mut text) = (Pipeline::new(), String::new());
        let commands = output.commands(klines, &mut pipeline, &mut text);
        let words = |argument| match argument {
            ::redis::Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => panic!("a cursor"),
        };
        let found: Vec<Vec<_>> = pipeline.cmd_iter().map(|command| command.args_iter().map(words).collect()).collect();
        assert_eq!(found.len(), commands);
        found
    }

    fn klines() -> Vec<Arc<Kline>> {
        let linear = fixture::kline("BTCUSDT", "1m", 2, true);
        let spot = fixture::in_category(Category::Spot, &linear);
        vec![Arc::new(linear.clone()), Arc::new(linear), Arc::new(spot)]
    }

    #[test]
    fn a_boundary_is_one_message_on_each_categorys_channel() {
        let output = Output::Publish { names: Names::new("klines", Category::Linear), filter: Arc::default() };
        let found = sent(&output, &klines());
        let heads: Vec<_> = found.iter().map(|words| (words[0].as_str(), words[1].as_str())).collect();
        assert_eq!(heads, [("PUBLISH", "klines"), ("PUBLISH", "klines:spot")]);
        assert_eq!(found[0][2].matches("BTCUSDT").count(), 2);
        assert_eq!(output.rights(), "+publish &klines &klines:spot &klines:inverse");
    }

    #[test]
    fn a_stream_gets_every_closed_kline_whole_and_stays_short() {
        let output = Output::Append { names: Names::new("all", Category::Spot), max_len: 500 };
        let found = sent(&output, &klines());
        assert_eq!(found[0][..7], ["XADD", "all:linear", "MAXLEN", "~", "500", "*", "kline"]);
        assert!(found[0][7].starts_with(r#"{"category":"linear","#) && found[0][7].ends_with('}'), "{}", found[0][7]);
        assert_eq!(found[2][1], "all");
        let revised = Kline { revision: 3, ..fixture::kline("BTCUSDT", "1m", 2, true) };
        assert!(output.wants(&revised) && !output.wants(&fixture::kline("BTCUSDT", "1m", 2, false)));
    }

    #[test]
    fn a_value_is_published_on_the_channel_of_its_series() {
        let point = fixture::point("mine", "rsi", 2, true, "[1]");
        let spot = Point { series: point.series.in_category(Category::Spot), ..point.clone() };
        let output = Values { first: Category::Linear };
        let (mut pipeline, mut text) = (Pipeline::new(), String::new());
        assert_eq!(output.commands(&[point.into(), spot.into()], &mut pipeline, &mut text), 2);
        let packed = String::from_utf8(pipeline.get_packed_pipeline()).unwrap();
        for part in ["ext.mine.rsi.1m.BTCUSDT\r\n", "ext.mine.rsi.1m.spot:BTCUSDT\r\n", r#""value":[1]}"#] {
            assert!(packed.contains(part), "{packed}");
        }
        assert_eq!(output.rights(), "+publish &ext.*");
    }

    #[test]
    fn a_last_value_has_a_key_for_each_series() {
        let output = Output::Set { prefix: "klines".to_owned(), which: LastValue::Open };
        let found = sent(&output, &klines());
        assert_eq!(found[2][..2], ["SET", "klines:last:spot:1m:BTCUSDT"]);
        let open = fixture::kline("BTCUSDT", "1m", 2, false);
        assert!(output.wants(&open));
        assert!(!Output::Set { prefix: String::new(), which: LastValue::Closed }.wants(&open));
    }
}
