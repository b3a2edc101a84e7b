//! `klines verify --against`: compares the stored klines with the minutes of the REST API, or with archives of trades.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;

use klines_config::Config;
use klines_delivery::history::{Query, Side};
use klines_domain::count::counted;
use klines_domain::interval::Interval;
use klines_domain::kline::Kline;
use klines_domain::series::SeriesKey;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::Millis;
use klines_store::backfill::Comparison;
use klines_store::file;
use klines_store::reader::Reader;
use serde_json::json;

use super::super::backfill::{self, Taker, archives, candles};
use super::super::output;
use crate::cli::{EXIT_FAILED, VerifyArgs};

/// Compares and prints what differs. The exit code is 1 if a kline differs or none was compared.
///
/// # Errors
/// When the store or a file cannot be read, or the exchange does not answer.
pub fn run(mut config: Config, args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let reader = Reader::open(&file::path_in(&config.data_dir))?;
    let series = chosen(&config, args, &reader)?;
    let mut intervals: Vec<Interval> = series.iter().map(|series| series.interval).collect();
    intervals.sort();
    intervals.dedup();
    if intervals.is_empty() {
        anyhow::bail!("no such klines are stored");
    }
    let range = (args.from.unwrap_or(Millis::MIN), args.to.unwrap_or(Millis::MAX));
    let mut comparing =
        Comparing { reader, series: series.iter().cloned().collect(), range, comparison: Comparison::default() };
    let found = if args.is_against_rest() {
        candles::check(&config, &mut intervals)?;
        comparing.with_rest(&config, &series, &intervals)?;
        "Bybit"
    } else {
        config.klines.intervals = intervals;
        let symbols = args.symbols.iter().map(|symbol| symbol.symbol.clone()).collect();
        let category = args.symbols.iter().find_map(|symbol| symbol.category).or(args.category);
        archives::play(&config, "verify", archives::Input { files: &args.against, category, symbols }, &mut comparing)?;
        "the archive"
    };
    report(&comparing.comparison, found, args.json)
}

fn report(comparison: &Comparison, found: &str, is_json: bool) -> anyhow::Result<ExitCode> {
    let Comparison { equal, differing, uncertain, absent, conflicts } = comparison;
    if is_json {
        let object = json!({ "equal": equal, "differing": differing, "uncertain": uncertain, "absent": absent });
        output::print(&format!("{object}\n"))?;
    } else {
        backfill::print_conflicts(conflicts, found);
        let compared = counted(equal + differing, "kline");
        output::print(&format!(
            "{equal} of {compared} equal, {differing} differ; {uncertain} not known exactly, {absent} not stored\n"
        ))?;
    }
    let has_failed = *differing > 0 || *equal == 0;
    Ok(if has_failed { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS })
}

/// Returns the stored series that are compared.
fn chosen(config: &Config, args: &VerifyArgs, reader: &Reader) -> anyhow::Result<Vec<SeriesKey>> {
    let mut series = reader.series()?;
    if args.intervals.is_some() {
        series.retain(|series| config.klines.intervals.contains(&series.interval));
    }
    if !args.symbols.is_empty() {
        let is_chosen = |series: &SeriesKey| {
            args.symbols.iter().any(|choice| {
                let category = choice.category.or(args.category).unwrap_or_default();
                choice.symbol == series.symbol && (category == series.category || !args.is_against_rest())
            })
        };
        series.retain(is_chosen);
    } else if let Some(category) = args.category {
        series.retain(|series| series.category == category);
    }
    Ok(series)
}

/// Compares klines with the stored ones.
struct Comparing {
    reader: Reader,
    series: BTreeSet<SeriesKey>,
    range: (Millis, Millis),
    comparison: Comparison,
}

impl Comparing {
    /// Asks for the minutes of the time for which klines of a symbol are stored.
    fn with_rest(&mut self, config: &Config, series: &[SeriesKey], intervals: &[Interval]) -> anyhow::Result<()> {
        let symbols: BTreeSet<(Category, Symbol)> =
            series.iter().map(|series| (series.category, series.symbol.clone())).collect();
        for (category, symbol) in symbols {
            let mut spans = BTreeMap::new();
            for interval in intervals {
                let key = SeriesKey { category, symbol: symbol.clone(), interval: *interval };
                spans.extend(self.span(&key)?.map(|span| (*interval, span)));
            }
            let (Some(from), Some(to)) =
                (spans.values().map(|(from, _)| *from).min(), spans.values().map(|(_, to)| *to).max())
            else {
                continue;
            };
            let wanted = candles::Wanted {
                symbols: vec![(category, symbol)],
                intervals: spans.keys().copied().collect(),
                from,
                to: Some(to),
                is_all: true,
                what: "verify",
            };
            let oldest = spans.iter().map(|(interval, (from, _))| (*interval, *from)).collect();
            candles::walk(config, &wanted, &oldest, self)?;
        }
        Ok(())
    }

    /// Returns the start of the first and the end of the last stored kline of a series in the range.
    fn span(&self, series: &SeriesKey) -> anyhow::Result<Option<(Millis, Millis)>> {
        let (from, to) = self.range;
        let read = |side| self.reader.read(&Query { series: series.clone(), from, to, limit: 1, side });
        let (first, last) = (read(Side::Oldest)?, read(Side::Newest)?);
        Ok(first.first().zip(last.first()).map(|(first, last)| (first.start, last.end.min(to))))
    }
}

impl Taker for Comparing {
    fn take(&mut self, klines: &[Arc<Kline>]) -> anyhow::Result<()> {
        let (from, to) = self.range;
        let is_wanted =
            |kline: &&Arc<Kline>| kline.start >= from && kline.end <= to && self.series.contains(&*kline.series);
        let wanted: Vec<Arc<Kline>> = klines.iter().filter(is_wanted).cloned().collect();
        Ok(self.comparison.add(&self.reader, &wanted)?)
    }

    fn reader(&self) -> &Reader {
        &self.reader
    }
}
