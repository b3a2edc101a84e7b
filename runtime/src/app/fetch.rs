//! `klines fetch`: downloads the archives of days into a folder, and checks them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use klines_bybit::archives::check::check;
use klines_bybit::archives::{ARCHIVES, ArchiveDay, ArchiveError, ArchiveHost};
use klines_config::Config;
use klines_domain::count::counted;
use tokio::time::sleep;
use url::Url;

use super::meter::{Meter, Unit};
use super::{exchange, output};
use crate::cli::{EXIT_FAILED, FetchArgs};

/// Attempts without a new byte after which a day is given up.
const ATTEMPTS: u32 = 6;
/// How often a file that is complete and wrong is downloaded again.
const WRONG_FILES: u32 = 1;
/// The wait after the first failed attempt; it doubles with each further one.
const PAUSE: Duration = Duration::from_millis(500);

/// Downloads the days of the arguments. The exit code is 1 if one is missing.
///
/// # Errors
/// When the folder cannot be written, or the host refuses this address.
pub fn fetch(config: &Config, args: &FetchArgs) -> anyhow::Result<ExitCode> {
    fs::create_dir_all(&args.into).with_context(|| format!("creating {}", args.into.display()))?;
    let url = args.url.as_deref().unwrap_or(ARCHIVES);
    let base = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let base = base.with_context(|| format!("--url: {url:?} is not an address such as {ARCHIVES}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let dialer = exchange::dialer(config)?;
    let fetched = runtime.block_on(async {
        let mut fetch = Fetch { host: ArchiveHost::new(dialer, base), folder: &args.into };
        fetch.all(args).await
    })?;
    Ok(fetched.report())
}

/// What became of the days.
#[derive(Debug, Default)]
struct Fetched {
    downloaded: u64,
    /// The files that were there.
    found: u64,
    /// The days of which the host has no file.
    missing: Vec<String>,
    /// The days whose file could not be downloaded.
    failed: u64,
}

impl Fetched {
    fn report(&self) -> ExitCode {
        let Self { downloaded, found, missing, failed } = self;
        let mut text = format!("{} downloaded, {found} there already", counted(*downloaded, "file"));
        if *failed > 0 {
            text.push_str(&format!(", {failed} failed"));
        }
        if !missing.is_empty() {
            text.push_str(&format!(", {} missing: {}", missing.len(), missing.join(" ")));
        }
        output::eprint(&text);
        if missing.is_empty() && *failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) }
    }
}

struct Fetch<'a> {
    host: ArchiveHost,
    folder: &'a Path,
}

/// Why there is no file of a day.
enum Failure {
    Missing,
    /// With the reason.
    Failed(String),
}

impl Fetch<'_> {
    async fn all(&mut self, args: &FetchArgs) -> anyhow::Result<Fetched> {
        let mut fetched = Fetched::default();
        let mut meter = Meter::start("fetch", args.days().count() as u64, Unit::Things("days"));
        for (number, day) in (1..).zip(args.days()) {
            let day = ArchiveDay { category: args.category(), symbol: args.symbol.symbol.clone(), day };
            let path = self.folder.join(day.file_name());
            if path.exists() {
                fetched.found += 1;
                output::print(&format!("{}\n", path.display()))?;
            } else {
                match self.day(&day, &path).await? {
                    Ok(()) => {
                        fetched.downloaded += 1;
                        output::print(&format!("{}\n", path.display()))?;
                    }
                    Err(Failure::Missing) => fetched.missing.push(day.date()),
                    Err(Failure::Failed(reason)) => {
                        fetched.failed += 1;
                        meter.print(&format!("{}: {reason}", self.host.redacted_url(&day)));
                    }
                }
            }
            meter.set(number);
        }
        meter.finish();
        Ok(fetched)
    }

    /// Downloads one file until it is complete and right.
    ///
    /// # Errors
    /// When no other day can succeed either.
    async fn day(&mut self, day: &ArchiveDay, path: &Path) -> anyhow::Result<Result<(), Failure>> {
        let part = part_of(path);
        let (mut attempts, mut wrong) = (0, 0);
        loop {
            let mut received = 0;
            let outcome = self.host.download(day, &part, |bytes| received += bytes).await;
            match outcome {
                Ok(()) => match check(day, &part) {
                    Ok(_) => {
                        fs::rename(&part, path).with_context(|| format!("naming {}", path.display()))?;
                        return Ok(Ok(()));
                    }
                    // A part of an older file, or bytes that were damaged on the way: once more from the start.
                    Err(error) => {
                        fs::remove_file(&part).with_context(|| format!("removing {}", part.display()))?;
                        if wrong >= WRONG_FILES {
                            return Ok(Err(Failure::Failed(error.to_string())));
                        }
                        wrong += 1;
                    }
                },
                Err(ArchiveError::Missing) => return Ok(Err(Failure::Missing)),
                Err(error @ ArchiveError::File(_)) => {
                    return Err(error).with_context(|| format!("writing {}", part.display()));
                }
                Err(error) if !error.is_retryable() => {
                    return Err(error).with_context(|| format!("downloading {}", self.host.redacted_url(day)));
                }
                Err(error) => {
                    attempts = if received > 0 { 1 } else { attempts + 1 };
                    if attempts >= ATTEMPTS {
                        return Ok(Err(Failure::Failed(error.to_string())));
                    }
                    sleep(PAUSE * 2_u32.pow(attempts - 1)).await;
                }
            }
        }
    }
}

/// Returns the file that has what has arrived so far.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}
