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
use klines_sharing::index::{Index, Listing, MAX_INDEX};
use klines_sharing::source::Source;
use klines_sharing::trust::TrustedKeys;

use super::remote;
use crate::app::output;
use crate::app::refusal::Refused;
use crate::cli::SearchArgs;

/// Searches an index.
///
/// # Errors
/// When the index cannot be read.
pub fn search(args: &SearchArgs) -> anyhow::Result<ExitCode> {
    let (config, _) = klines_config::load(args.config.sources()).map_err(Refused)?;
    let index = fetch(&args.index, &config)?;
    let mut text = String::new();
    for (name, listing) in index.search(&args.words) {
        text.push_str(&described(name, listing, &config.trusted_keys));
    }
    if text.is_empty() {
        output::eprint(&format!("none of its {} components has all of these words", index.0.len()));
    }
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn fetch(from: &Path, config: &Config) -> anyhow::Result<Index> {
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
pub(super) fn read_index(path: &Path) -> anyhow::Result<Option<Index>> {
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

fn parse(bytes: &[u8]) -> anyhow::Result<Index> {
    let text = std::str::from_utf8(bytes).context("it is no text in UTF-8")?;
    Ok(Index::parse(text)?)
}

fn described(name: &str, listing: &Listing, trusted: &TrustedKeys) -> String {
    let Listing { source, digest, key, version, description, contract, wants } = listing;
    // Many blanks could move a text to the beginning of another line, where it looks like one of these.
    let clean = |text: &str| sanitize(&text.split_whitespace().collect::<Vec<_>>().join(" "), usize::MAX);
    let signed = match trusted.publisher_of(key) {
        Some((publisher, false)) => format!("by {publisher}, with the trusted key {key}"),
        Some((publisher, true)) => format!("by {publisher}, with a key that is revoked"),
        None => format!("with the key {key}, which is none of the trusted keys"),
    };
    let add = match source {
        Source::Registry(reference) if reference.digest.is_some() => source.to_string(),
        _ => format!("{source} --digest {digest}"),
    };
    let mut text = format!("{} {}\n", clean(name), clean(version));
    let mut line = |what: &str, value: &str| {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "  {what:<12}{value}");
    };
    line("what", &clean(description));
    line("signed", &signed);
    line("contract", &clean(contract));
    match wants.as_slice() {
        [] => line("wants", "no permission that must be granted"),
        wants => wants.iter().for_each(|want| line("wants", &clean(want))),
    }
    line("add", &format!("klines consumer add {}", clean(&add)));
    text
}
