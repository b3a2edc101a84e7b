//! `klines replay`: writes the klines of a recording to a file, or delivers them to the enabled consumers.

mod values;

use std::io::{self, IsTerminal};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use klines_bybit::source::Progress;
use klines_config::exchange::{Listing, Symbols};
use klines_config::{Config, Place};
use klines_delivery::emit::ValueSink;
use klines_delivery::encode::CsvColumn;
use klines_delivery::hub::Hub;
use klines_delivery::stats::State;
use klines_delivery::view::View;
use klines_domain::aggregator::Settings;
use klines_domain::count::counted;
use klines_domain::kline::Batch;
use klines_domain::symbol::{Category, Symbol};

use self::values::ValueFile;
use super::player::{CsvLayout, Format, Replay, Sink, Sorted, Summary, Target, inputs, refuse_existing};
use super::refusal::Refused;
use super::{demo, output, past, wiring};
use crate::cli::{Decimals, EXIT_FAILED, OutputFormat, ReplayArgs, ValuePath};

/// How long consumers may take to finish at the end of a recording.
const DRAIN: Duration = Duration::from_secs(60);

/// Replays the files of the arguments.
///
/// # Errors
/// When a file cannot be read, or the output cannot be written.
pub fn replay(config: &Config, args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let bar = Bar::start(&args.files);
    let replay = configured_replay(config, args)?;
    let Some(format) = args.format else { return into_consumers(config, replay, args, &bar) };
    let format = match format {
        OutputFormat::Csv => Format::Csv(layout(args)),
        OutputFormat::Ndjson => Format::Ndjson,
        OutputFormat::Bybit => Format::Bybit,
        OutputFormat::Parquet => Format::Parquet(columns(args, &CsvColumn::ALL)),
    };
    // Files contain each kline once, in its final form, so updates are not needed.
    let replay = Replay { settings: Settings { update_interval: None, ..replay.settings }, ..replay };
    let target = target(args)?;
    let summary = match replay.run(&bar.progress, &mut Sorted::new(format, args.closed_only, target)) {
        Err(error) if output::is_broken_pipe(&error) => return Ok(ExitCode::SUCCESS),
        other => other?,
    };
    bar.finish();
    Ok(print_summary(&summary))
}

/// Returns the columns of csv.
fn layout(args: &ReplayArgs) -> CsvLayout {
    CsvLayout {
        columns: columns(args, &CsvColumn::DEFAULT),
        header: args.header,
        padded: args.decimals == Some(Decimals::Scale),
    }
}

fn columns(args: &ReplayArgs, default: &[CsvColumn]) -> Vec<CsvColumn> {
    args.columns.as_ref().map_or(default, |columns| &columns.0).to_vec()
}

/// Returns the output: a file, or standard output for `-`, for `/dev/stdout` (which can be a file that the shell
/// appends to) or without `--output`.
fn target(args: &ReplayArgs) -> anyhow::Result<Target> {
    let is_stdout = |path: &PathBuf| ["-", "/dev/stdout"].iter().any(|name| path.as_os_str() == *name);
    let Some(path) = args.output.as_ref().filter(|path| !is_stdout(path)) else {
        if args.format == Some(OutputFormat::Parquet) && io::stdout().is_terminal() {
            anyhow::bail!("a Parquet file is not for a terminal: name a file with --output");
        }
        return Ok(Target::open(Box::new(io::stdout())));
    };
    output_file(path, "--output", args)
}

/// Returns a file that is written to, the value of `flag`. It must be no input, and must not exist without `--force`.
fn output_file(path: &Path, flag: &'static str, args: &ReplayArgs) -> anyhow::Result<Target> {
    // Compares the files, not the paths: a link is another path of the same file.
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let inputs = inputs(&args.files)?;
    if identity(path).is_some_and(|output| inputs.iter().any(|file| identity(file) == Some(output))) {
        anyhow::bail!("{} is an input and would be overwritten: choose another {flag}", path.display());
    }
    if !args.force {
        // The file is checked again when it is created, but reading the input can take long.
        refuse_existing(path, flag)?;
    }
    Ok(Target::File { path: path.to_path_buf(), force: args.force, flag })
}

fn configured_replay(config: &Config, args: &ReplayArgs) -> anyhow::Result<Replay> {
    // The configured symbols are those of a live run. Only a flag restricts the symbols of a replay.
    let by_flag = |key: &str| matches!(config.place(key), Place::Flag(..));
    let listed = match &config.exchange.symbols {
        Symbols::Listed(listed) if by_flag("exchange.symbols") => listed.as_slice(),
        _ => &[],
    };
    let flag = args.category.as_deref().and_then(|category| category.parse().ok());
    let category = category(flag, listed)?;
    let mut symbols: Vec<Symbol> = listed.iter().map(|listing| listing.symbol.clone()).collect();
    symbols.sort();
    symbols.dedup();
    let settings = config.klines.settings(category.unwrap_or_default());
    Ok(Replay { files: inputs(&args.files)?, category, symbols, settings, closes_days: false })
}

/// Returns the category to read: that of the flag, or of symbols such as `spot:ETHUSDT`, which must all agree.
fn category(flag: Option<Category>, listed: &[Listing]) -> anyhow::Result<Option<Category>> {
    let mut chosen = flag.map(|category| (category, format!("--category {category}")));
    for Listing { category, symbol, .. } in listed.iter().filter(|listing| listing.explicit) {
        let (expected, by) = chosen.get_or_insert_with(|| (*category, format!("{category}:{symbol}")));
        if expected != category {
            anyhow::bail!(
                "a replay reads one category, but {by} and {category}:{symbol} are of two: replay each one separately"
            );
        }
    }
    Ok(chosen.map(|(category, _)| category))
}

/// A sink that publishes klines to the consumers. Unlike a live feed, it waits while their queues are full. It fails
/// with [`io::ErrorKind::BrokenPipe`] once every consumer has finished.
struct HubSink {
    hub: Arc<Hub>,
    consumers: Vec<View>,
    values: Option<Arc<ValueFile>>,
}

impl Sink for HubSink {
    fn open(&mut self) -> anyhow::Result<()> {
        self.values.as_ref().map_or(Ok(()), |values| values.open())
    }

    fn take(&mut self, batch: Batch) -> anyhow::Result<()> {
        if self.consumers.iter().all(|consumer| consumer.stats.state() == State::Finished) {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        }
        self.hub.wait_for_room();
        self.hub.publish(&batch);
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}

fn into_consumers(config: &Config, replay: Replay, args: &ReplayArgs, bar: &Bar) -> anyhow::Result<ExitCode> {
    demo::warn_of_outlets(config, "the klines of the recording are not live, and this consumer passes them on");
    let values = args.values.as_ref().map(|values| value_file(values, args)).transpose()?;
    let sink = values.clone().map(|values| values as Arc<dyn ValueSink>);
    let components = wiring::compiling::kept(config, wiring::compiling::log_notice)?;
    let catalog = wiring::catalog(config);
    let past = past::of_replay();
    let reads = wiring::Reads { values: sink.as_ref(), ..wiring::Reads::of(&past) };
    let prepared = wiring::prepare(config, &catalog, &components, wiring::Awaited::All, reads)?.map_err(Refused)?;
    output::report(&prepared.warnings);
    components.remove_unused_code();
    if values.is_some() && !prepared.files.iter().any(|file| file.blueprint.component().publishes()) {
        anyhow::bail!(
            "no enabled consumer can publish values, so --values would write none: enable one with --consumers"
        );
    }
    let hub = Arc::new(Hub::new());
    let manager =
        wiring::start(prepared.specs, prepared.relay, config, &hub, &prepared.data_dir, wiring::Awaited::All)?;
    let mut sink = HubSink { hub, consumers: manager.views(), values: values.clone() };
    let played = replay.run(&bar.progress, &mut sink);
    bar.finish();
    let summaries = manager.shutdown(DRAIN);
    let written = values.as_ref().map(|values| (values, values.finish()));
    let understood = match played {
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        played => print_summary(&played?),
    };
    let delivered = wiring::print_summaries(&summaries);
    let written = written.map_or(ExitCode::SUCCESS, |(values, written)| values.report(&written));
    let failed = [delivered, written].into_iter().find(|code| *code != ExitCode::SUCCESS);
    Ok(failed.unwrap_or(understood))
}

fn value_file(values: &ValuePath, args: &ReplayArgs) -> anyhow::Result<Arc<ValueFile>> {
    let target = output_file(&values.path, "--values", args)?;
    Ok(Arc::new(ValueFile::new(values.path.clone(), values.format, target)))
}

/// Prints the counts of trades by outcome. Returns the exit code: a replay without a valid trade has failed.
fn print_summary(summary: &Summary) -> ExitCode {
    let tally = &summary.tally;
    let mut text = format!("{}, {} counted", counted(tally.received, "trade"), tally.counted);
    let others = [
        (tally.duplicate, "duplicate"),
        (tally.late, "late"),
        (tally.rejected, "rejected"),
        (tally.excluded, "excluded"),
        (tally.superseded, "superseded"),
    ];
    for (count, what) in others.iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!(", {count} {what}"));
    }
    if summary.undecoded > 0 {
        text.push_str(&format!(", {} not decoded", counted(summary.undecoded, "frame")));
    }
    if !summary.skipped.is_empty() {
        text.push_str(&format!("; {}", summary.skipped));
    }
    output::eprint(&text);
    if tally.received > tally.rejected {
        return ExitCode::SUCCESS;
    }
    output::eprint("error: no trade could be decoded: is this a recording of Bybit's public trades?");
    ExitCode::from(EXIT_FAILED)
}

/// A progress bar; hidden unless standard error is a terminal.
struct Bar {
    progress: Progress,
    shown: ProgressBar,
}

impl Bar {
    fn start(files: &[PathBuf]) -> Self {
        let progress = Progress::default();
        if !io::stderr().is_terminal() {
            return Self { progress, shown: ProgressBar::hidden() };
        }
        let total = files.iter().filter_map(|file| std::fs::metadata(file).ok()).map(|found| found.len()).sum();
        let shown = ProgressBar::new(total);
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}") {
            shown.set_style(style);
        }
        let (watched, counted) = (shown.clone(), progress.clone());
        // The thread ends when the bar is finished.
        let _ = std::thread::Builder::new().name("progress".to_owned()).spawn(move || {
            while !watched.is_finished() {
                watched.set_position(counted.read());
                std::thread::park_timeout(Duration::from_millis(100));
            }
        });
        Self { progress, shown }
    }

    fn finish(&self) {
        self.shown.finish_and_clear();
    }
}
