//! `klines consumer search`: finds published components in an index. What the index says is a claim; it becomes certain
//! when `klines consumer add` has verified the component.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use klines_config::Config;
use klines_domain::sanitize::sanitize;
use klines_sharing::digest::Digest;
use klines_sharing::index::{Index, IndexError, Listing, MAX_INDEX};
use klines_sharing::source::Source;
use klines_sharing::trust::TrustedKeys;

use super::candidate::check_name;
use super::remote;
use crate::app::output::{self, shell_word};
use crate::app::refusal::Refused;
use crate::cli::SearchArgs;

/// The maximum length of a text of an index.
const MAX_TEXT: usize = 256;

/// Searches an index.
///
/// # Errors
/// When the index cannot be read.
pub fn search(args: &SearchArgs) -> anyhow::Result<ExitCode> {
    let (config, _) = klines_config::load(args.config.sources()).map_err(Refused)?;
    let (index, faults) = fetch(&args.index, &config)?;
    faults.iter().for_each(|fault| output::eprint(&format!("{fault}; it is left out")));
    let mut text = String::new();
    for (name, listing) in index.search(&args.words) {
        text.push_str(&described(name, listing, &config.trusted_keys));
    }
    output::print(&text)?;
    output::eprint(&if text.is_empty() {
        format!("none of its {} components has all of these words", index.0.len())
    } else {
        "an index can say anything: `klines consumer add` verifies the component and its key".to_owned()
    });
    Ok(ExitCode::SUCCESS)
}

/// An index, and why some of its entries cannot be used.
type Found = (Index, Vec<IndexError>);

fn fetch(from: &Path, config: &Config) -> anyhow::Result<Found> {
    let shown = || sanitize(&from.display().to_string(), usize::MAX);
    match Source::parse(from)? {
        Source::File(path) => read_index(&path)?.with_context(|| format!("{}: there is no such file", shown())),
        Source::Url(url) => parse(&remote::file(config, &url, MAX_INDEX)?).with_context(shown),
        Source::Registry(_) => bail!("{}: expected a file or https://HOST/PATH", shown()),
    }
}

/// Reads an index from a file; `None` if there is none.
///
/// # Errors
/// When it cannot be read, or is no index.
pub(super) fn read_index(path: &Path) -> anyhow::Result<Option<Found>> {
    let shown = || sanitize(&path.display().to_string(), usize::MAX);
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        // A pipe would have to be waited for.
        Ok(found) if !found.is_file() => bail!("{}: it is no file", shown()),
        _ => {}
    }
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a longer one is refused.
    let read = File::open(path).and_then(|file| file.take(MAX_INDEX + 1).read_to_end(&mut bytes));
    read.with_context(shown)?;
    if bytes.len() as u64 > MAX_INDEX {
        bail!("{}: it has more than {MAX_INDEX} bytes", shown());
    }
    parse(&bytes).with_context(shown).map(Some)
}

fn parse(bytes: &[u8]) -> anyhow::Result<Found> {
    let text = std::str::from_utf8(bytes).context("it is no text in UTF-8")?;
    Ok(Index::parse(text)?)
}

fn described(name: &str, listing: &Listing, trusted: &TrustedKeys) -> String {
    let Listing { source, digest, key, version, description, contract, wants } = listing;
    // Many blanks could move a text to the beginning of another line, where it looks like one of these.
    let clean = |text: &str| sanitize(&text.split_whitespace().collect::<Vec<_>>().join(" "), MAX_TEXT);
    let key = match trusted.publisher_of(key) {
        Some((publisher, false)) => format!("{key}, a trusted key of {publisher}"),
        Some((publisher, true)) => format!("{key}, a revoked key of {publisher}"),
        None => format!("{key}, which is none of the trusted keys"),
    };
    let mut text = format!("{}\n", clean(&format!("{name} {version}")));
    let mut line = |what: &str, value: &str| {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "  {what:<12}{value}");
    };
    if !description.is_empty() {
        line("what", &clean(description));
    }
    line("key", &key);
    line("contract", &clean(contract));
    match wants.as_slice() {
        [] => line("wants", "no permission that must be granted"),
        wants => wants.iter().for_each(|want| line("wants", &clean(want))),
    }
    line("add", &command(source, digest));
    text
}

/// Returns the command that adds a component. People paste it, and the source is a text of others.
fn command(source: &Source, digest: &Digest) -> String {
    let mut command = format!("klines consumer add {}", shell_word(&sanitize(&source.to_string(), usize::MAX)));
    if !matches!(source, Source::Registry(reference) if reference.digest.is_some()) {
        command.push_str(&format!(" --digest {digest}"));
    }
    if check_name(&source.stem()).is_err() {
        command.push_str(" --name NAME");
    }
    command
}
