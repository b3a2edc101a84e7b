//! `klines backfill`: stores klines of the past, from archives or from the minutes of the REST API.

pub(super) mod archives;
pub(super) mod candles;
mod compose;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;
use klines_config::Config;
use klines_domain::count::counted;
use klines_domain::interval::Interval;
use klines_domain::kline::Kline;
use klines_domain::time::Millis;
use klines_store::backfill::{Backfill, Conflict, Outcome};
use klines_store::file;
use klines_store::reader::Reader;
use klines_system::clock::LocalClock;
use url::{Host, Url};

use self::candles::{Walked, Wanted};
use super::{output, recording};
use crate::cli::{BackfillArgs, EXIT_FAILED};

/// How many klines are compared and stored at once.
pub(super) const BATCH: usize = 20_000;

/// Takes klines of the past, each in its final form, oldest first in each series.
pub(super) trait Taker {
    /// Takes a batch.
    ///
    /// # Errors
    /// When it cannot be stored; then there is no further batch.
    fn take(&mut self, klines: &[Arc<Kline>]) -> anyhow::Result<()>;

    /// Returns what reads the stored klines.
    fn reader(&self) -> &Reader;
}

/// Stores the klines of the arguments.
///
/// # Errors
/// When the store cannot be used, a file cannot be read, or the exchange does not answer.
pub fn backfill(config: &Config, args: &BackfillArgs) -> anyhow::Result<ExitCode> {
    let mut intervals = config.klines.intervals.clone();
    if args.files.is_empty() {
        candles::check(config, &mut intervals)?;
    }
    let mut storing = Storing::open(config, args, &intervals)?;
    if args.files.is_empty() {
        storing.report_bounds()?;
    }
    let made = if args.files.is_empty() {
        let wanted = args.symbols.iter().map(|symbol| (args.category_of(symbol), symbol.symbol.clone()));
        let wanted = Wanted {
            symbols: wanted.collect(),
            intervals,
            from: args.from.unwrap_or(0),
            to: args.to,
            is_all: false,
            what: "backfill",
        };
        let walked = candles::walk(config, &wanted, &storing.oldest.clone(), &mut storing);
        walked.map(|walked| {
            storing.outcome.unchanged += walked.known;
            without_klines(&walked)
        })
    } else {
        let symbols = args.symbols.iter().map(|symbol| symbol.symbol.clone()).collect();
        let input = archives::Input { files: &args.files, category: args.file_category(), symbols };
        archives::play(config, "backfill", input, &mut storing).map(|()| without_trades(storing.outside))
    };
    let Storing { backfill, outcome, too_old, .. } = storing;
    backfill.close()?;
    print_conflicts(&outcome.conflicts, "what was found");
    if too_old > 0 {
        let count = counted(too_old, "kline");
        output::eprint(&format!("{count} not stored: `retain` in [store] would remove them again"));
    }
    output::eprint(&summary(&outcome));
    let reason = made?;
    if is_nothing(&outcome) && outcome.conflicting == 0 && too_old == 0 {
        output::eprint(&format!("nothing was found that can be stored: {reason}"));
    }
    Ok(exit_code(&outcome))
}

/// Returns why a backfill from REST has found no kline, if it has not.
fn without_klines(walked: &Walked) -> String {
    if walked.has_windows {
        return "the exchange lacks minutes of every window of this time: look at the symbol, and since when it is listed".to_owned();
    }
    let until = moment(walked.until);
    format!(
        "no window of the intervals begins at --from or later and ends by {until}: ask for a longer time, or a shorter interval"
    )
}

/// Returns why a backfill from archives has found no kline, if it has not. `outside` has the start of the first and the end of the
/// last kline that was found and not asked for.
fn without_trades(outside: Option<(Millis, Millis)>) -> String {
    let Some((first, last)) = outside else { return "the files have no trade that makes a kline".to_owned() };
    format!("the klines of the files are from {} to {}, outside of --from and --to", moment(first), moment(last))
}

/// Returns whether no kline was stored, and none is known.
fn is_nothing(outcome: &Outcome) -> bool {
    outcome.added + outcome.improved + outcome.unchanged == 0
}

fn exit_code(outcome: &Outcome) -> ExitCode {
    let has_failed = outcome.conflicting > 0 || is_nothing(outcome);
    if has_failed { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS }
}

fn summary(outcome: &Outcome) -> String {
    let Outcome { added, improved, unchanged, conflicting, .. } = outcome;
    let mut text = format!("{} added, {improved} improved, {unchanged} stored already", counted(*added, "kline"));
    if *conflicting > 0 {
        text.push_str(&format!(", {conflicting} contradict stored ones, which stay"));
    }
    text
}

/// Prints in which fields klines differ from stored ones.
pub(super) fn print_conflicts(conflicts: &[Conflict], found: &str) {
    for Conflict { series, start, differences } in conflicts {
        let (category, symbol, interval) = (series.category, &series.symbol, series.interval);
        output::eprint(&format!("{category} {symbol} {interval} {}:", moment(*start)));
        for (field, stored, other) in differences {
            output::eprint(&format!("    {field:<12} stored {stored}, {found} {other}"));
        }
    }
}

/// Returns a time as text, to the second.
pub(super) fn moment(at: Millis) -> String {
    Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |time| format!("{time:.0}"))
}

/// Stores klines within the bounds of the arguments and of the store.
struct Storing {
    backfill: Backfill,
    /// The earliest start of each interval that is stored: what is older would be removed again.
    oldest: BTreeMap<Interval, Millis>,
    /// The earliest start and the latest end that are asked for.
    range: (Millis, Millis),
    max_bytes: u64,
    outcome: Outcome,
    /// Klines that were asked for and are older.
    too_old: u64,
    /// The start of the first and the end of the last kline that was not asked for.
    outside: Option<(Millis, Millis)>,
}

impl Storing {
    fn open(config: &Config, args: &BackfillArgs, intervals: &[Interval]) -> anyhow::Result<Self> {
        let now = LocalClock::start().now().get();
        let range = (args.from.unwrap_or(Millis::MIN), args.to.unwrap_or(Millis::MAX));
        let kept = |interval: &Interval| config.store.retain.of(*interval).map(|kept| now.saturating_sub(kept));
        let oldest = |interval: &Interval| kept(interval).unwrap_or(Millis::MIN).max(range.0);
        let backfill = Backfill::open(&file::path_in(&config.data_dir), origin(config))?;
        Ok(Self {
            backfill,
            oldest: intervals.iter().map(|interval| (*interval, oldest(interval))).collect(),
            range,
            max_bytes: recording::max_bytes(config),
            outcome: Outcome::default(),
            too_old: 0,
            outside: None,
        })
    }

    /// Says of which intervals the store does not keep what is asked for.
    fn report_bounds(&self) -> anyhow::Result<()> {
        let (from, to) = self.range;
        let old = self.oldest.iter().filter(|(_, oldest)| **oldest > from);
        for (interval, oldest) in old {
            output::eprint(&format!(
                "{interval} klines that start before {} are not stored: `retain` in [store] would remove them again",
                moment(*oldest)
            ));
        }
        if !self.oldest.is_empty() && self.oldest.values().all(|oldest| *oldest > to) {
            anyhow::bail!("nothing of this time is kept: raise `retain` in [store]");
        }
        Ok(())
    }
}

impl Taker for Storing {
    fn take(&mut self, klines: &[Arc<Kline>]) -> anyhow::Result<()> {
        let (from, to) = self.range;
        let (asked, others): (Vec<_>, Vec<_>) = klines.iter().partition(|kline| kline.start >= from && kline.end <= to);
        for kline in others {
            let (first, last) = self.outside.unwrap_or((kline.start, kline.end));
            self.outside = Some((first.min(kline.start), last.max(kline.end)));
        }
        let is_kept =
            |kline: &&Arc<Kline>| self.oldest.get(&kline.series.interval).is_none_or(|oldest| kline.start >= *oldest);
        let (wanted, old): (Vec<_>, Vec<_>) = asked.into_iter().partition(is_kept);
        self.too_old += old.len() as u64;
        let wanted: Vec<Arc<Kline>> = wanted.into_iter().cloned().collect();
        self.outcome.add(self.backfill.store(&wanted)?);
        // A run that finds it above its limit removes the oldest.
        let (used, limit) = (self.backfill.bytes()?, self.max_bytes - self.max_bytes / 20);
        if used > limit {
            anyhow::bail!("the store has reached `max_size` in [store]: raise it, or choose longer intervals");
        }
        Ok(())
    }

    fn reader(&self) -> &Reader {
        self.backfill.reader()
    }
}

/// Returns what kind of klines are stored: an exchange on this machine, whose minutes are taken, is a simulator.
fn origin(config: &Config) -> &'static str {
    let is_local = |url: &Url| match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let is_simulated = config.exchange.rest_url.as_ref().is_some_and(is_local);
    if is_simulated { recording::SIMULATED } else { recording::origin(config) }
}
