//! `klines consumer upgrade`: another release of a component, of the same publisher. What differs is shown, and what it
//! asks for in addition is decided before anything is written.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use klines_config::consumers::{Component as Configured, Consumer};
use klines_domain::sanitize::sanitize;
use klines_sharing::digest::Digest;
use klines_sharing::lock::{LockEntry, Signed};
use klines_sharing::source::Source;
use klines_wasm::component_loader::{Links, read};
use klines_wasm::grants::Grants;
use klines_wasm::manifest::{Missing, Wants};

use super::add::{entry, show_wants};
use super::candidate::Configuration;
use super::choice::{self, confirm};
use super::files::{Changes, PUBLIC, put};
use super::offer::{Demands, Offer, signer};
use super::source;
use crate::app::output;
use crate::app::wiring::grants;
use crate::cli::UpgradeArgs;

/// Replaces the component of a consumer.
///
/// # Errors
/// When the component is not accepted, or nothing can be written. Nothing is changed then.
pub fn upgrade(args: &UpgradeArgs) -> anyhow::Result<ExitCode> {
    // Its component may be missing; whether all is well with the new one is checked below.
    let mut to = Configuration::examine(&args.config)?;
    let (consumer, path) = consumer(&to, &args.name)?;
    let accepted = to.lock.0.get(&args.name).cloned();
    let from = source_of(args, &to, accepted.as_ref())?;
    let offer = Offer::take(&from, demands(args, &consumer, accepted.as_ref()), &to.config)?;
    // What is granted is granted, whether the variable is set at the moment or not.
    let env =
        consumer.allow.env.iter().map(|granted| (granted.name.clone(), granted.value.clone().unwrap_or_default()));
    let present = Grants { env: env.collect(), ..grants::of(&consumer.allow) };
    let mut wants = Change::of((&path, accepted.as_ref()), &consumer, &offer, &present);
    if !args.offer.grants.is_empty() {
        // What is given by flags is also about what was refused before.
        wants.to_decide = wants.missing.clone();
    }
    let edited_by_hand = accepted.as_ref().map_or(Vec::new(), |entry| {
        let now = grants::lines(&consumer.allow, to.folder());
        let signed = |sign: &str, these: &[String], others: &[String]| -> Vec<String> {
            these.iter().filter(|line| !others.contains(line)).map(|line| format!("{sign} {line}")).collect()
        };
        [signed("+", &now, &entry.grants), signed("-", &entry.grants, &now)].concat()
    });
    say_moved(accepted.as_ref(), &offer);
    output::eprint(differences(&args.name, accepted.as_ref(), &offer).trim_end());
    wants.show();
    agree(args, accepted.as_ref(), (&offer, &wants), &edited_by_hand)?;
    let granted = choice::grants(&wants.to_decide, &args.offer.grants)?;
    to.document.grant(&args.name, &granted)?;
    let is_missing = !path.exists();
    if is_missing {
        // The configuration would be refused without it.
        put(&path, &offer.file.bytes)?;
    }
    let entry = to.written(&path).and_then(|component| entry(&to, &args.name, &offer, &component));
    let entry = entry.inspect_err(|_| take_back(&path, is_missing))?;
    let is_same = accepted.as_ref() == Some(&entry) && fs::read(&path).is_ok_and(|bytes| bytes == offer.file.bytes);
    if is_same && !is_missing {
        output::print(&format!("{}: this is what was accepted; nothing is changed\n", args.name))?;
        return Ok(ExitCode::SUCCESS);
    }
    to.lock.0.insert(args.name.clone(), entry);
    write(&to, &path, &offer).inspect_err(|_| take_back(&path, is_missing))?;
    let mut text = format!("{} is now {}\n", args.name, offer.digest);
    granted.iter().for_each(|granted| text.push_str(&format!("granted {}\n", granted.line())));
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the lock file and the configuration, and then the component.
fn write(to: &Configuration, path: &Path, offer: &Offer) -> anyhow::Result<()> {
    let mut changes = Changes::default();
    to.stage_lock(&mut changes)?;
    to.stage_document(&mut changes)?;
    // Last, so that a run that notices the new file finds its entry.
    changes.stage(path, &offer.file.bytes, PUBLIC)?;
    changes.commit()
}

/// Removes a component again that was missing before.
fn take_back(path: &Path, was_missing: bool) {
    if was_missing {
        let _ = fs::remove_file(path);
    }
}

fn consumer(to: &Configuration, name: &str) -> anyhow::Result<(Consumer, PathBuf)> {
    let found = to.config.consumers.iter().find(|consumer| consumer.name == name);
    let found = found.with_context(|| format!("no consumer `{}` is enabled", sanitize(name, 64)))?;
    match &found.component {
        Configured::File(path) => Ok((found.clone(), path.clone())),
        _ => bail!("`{name}` is part of klines: it is upgraded with klines"),
    }
}

/// Returns where the new component is. Without an argument, a file or a URL is read again, and a registry is asked what
/// the tag names by now.
fn source_of(args: &UpgradeArgs, to: &Configuration, accepted: Option<&LockEntry>) -> anyhow::Result<Source> {
    match (&args.source, accepted) {
        (Some(source), _) => Ok(Source::parse(source)?),
        (None, Some(entry)) => Ok(match source::of_entry(&entry.source, to.folder())? {
            Source::Registry(reference) => Source::Registry(reference.unpinned()),
            other => other,
        }),
        (None, None) => {
            bail!("`{0}` is not locked: name the component with `klines consumer upgrade {0} FILE`", args.name)
        }
    }
}

/// Says that the tag names another manifest than when the component was accepted.
fn say_moved(accepted: Option<&LockEntry>, offer: &Offer) {
    let old = accepted.and_then(|entry| Source::parse(Path::new(&entry.source)).ok());
    if let (Some(Source::Registry(old)), Source::Registry(new)) = (&old, &offer.source)
        && let Some((tag, old, new)) = old.moved(new)
    {
        output::eprint(&format!("the tag {tag} has moved: {old} → {new}"));
    }
}

fn demands<'a>(args: &'a UpgradeArgs, consumer: &'a Consumer, accepted: Option<&'a LockEntry>) -> Demands<'a> {
    let publisher = accepted.and_then(|entry| entry.signed.as_ref()).map(|signed| signed.signer.publisher.as_str());
    Demands {
        digest: args.offer.digest.as_ref(),
        publisher: args.offer.publisher.as_deref().or(publisher),
        allow_unsigned: args.offer.allow_unsigned,
        limits: &consumer.limits,
    }
}

/// How the wants of a new release differ from those of the present one.
struct Change {
    /// What it asks for in addition.
    more: Vec<Missing>,
    /// What it no longer asks for.
    less: Vec<Missing>,
    /// What it asks for and is not granted yet.
    missing: Vec<Missing>,
    /// That of it which it asks for in addition.
    to_decide: Vec<Missing>,
}

impl Change {
    /// Compares with the component that is there now. If that cannot be read, or is not the one that was accepted, everything
    /// counts as more.
    fn of((path, accepted): (&Path, Option<&LockEntry>), consumer: &Consumer, offer: &Offer, present: &Grants) -> Self {
        let old = read(path, consumer.limits.component_size, Links::Follow).ok();
        let old = old.filter(|file| accepted.is_none_or(|entry| Digest::of(&file.bytes) == entry.digest));
        let old = old.and_then(|file| Wants::of(&file.bytes).ok());
        let old = old.map_or(Vec::new(), |wants| wants.missing(&Grants::default()));
        let wants = offer.component.wants();
        let new = wants.missing(&Grants::default());
        let (granted, _) = wants.narrow(present);
        let not_in = |these: &[Missing], others: &[Missing]| -> Vec<Missing> {
            these.iter().filter(|want| !others.contains(want)).cloned().collect()
        };
        let (more, less) = (not_in(&new, &old), not_in(&old, &new));
        let missing = wants.missing(&granted);
        let to_decide = missing.iter().filter(|missing| !old.contains(missing)).cloned().collect();
        Self { more, less, missing, to_decide }
    }

    fn show(&self) {
        for (wants, what) in [(&self.more, "wants more"), (&self.less, "no longer wants")] {
            for want in wants {
                output::eprint(&format!("  {what:<16}{}", sanitize(&want.what, usize::MAX)));
            }
        }
        if self.more.is_empty() && self.less.is_empty() {
            output::eprint("  wants           the same");
        } else if !self.to_decide.is_empty() {
            show_wants(&self.to_decide);
        }
    }
}

fn differences(name: &str, accepted: Option<&LockEntry>, offer: &Offer) -> String {
    let release = |release: Option<&String>| release.map_or_else(|| "of no version".to_owned(), Clone::clone);
    let pairs = [
        ("release", accepted.map(|entry| release(entry.release.as_ref())), release(offer.release().as_ref())),
        ("digest", accepted.map(|entry| entry.digest.to_string()), offer.digest.to_string()),
        ("signed", accepted.map(|entry| signer(entry.signed.as_ref())), signer(offer.signed.as_ref())),
        ("contract", accepted.map(|entry| entry.contract.clone()), offer.component.contract()),
    ];
    let mut text = format!("upgrade of {name}\n");
    for (what, old, new) in pairs {
        let old = old.filter(|old| *old != new).map_or(String::new(), |old| format!("{old} → "));
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "  {what:<16}{}", sanitize(&format!("{old}{new}"), usize::MAX));
    }
    text
}

/// Asks whether to go on where a new release may be worse than the present one, wants more and has it already, or the
/// configuration was edited by hand.
fn agree(
    args: &UpgradeArgs,
    accepted: Option<&LockEntry>,
    (offer, wants): (&Offer, &Change),
    edited: &[String],
) -> anyhow::Result<()> {
    let Some(accepted) = accepted else { return Ok(()) };
    let release = offer.release();
    if accepted.digest != offer.digest {
        let releases = [accepted.release.as_deref(), release.as_deref()];
        let [from, to] = releases.map(|release| sanitize(release.unwrap_or("no version"), 64));
        let what = match is_older(release.as_deref(), accepted.release.as_deref()) {
            Some(true) => Some("this is a downgrade"),
            Some(false) => None,
            None => Some("nobody can tell whether this is a downgrade"),
        };
        what.map_or(Ok(()), |what| confirm(&format!("{}: {what}, from {from} to {to}", args.name), args.yes))?;
    }
    let publisher = |signed: &Signed| sanitize(&signed.signer.publisher, 64);
    match (accepted.signed.as_ref().map(publisher), offer.signed.as_ref().map(publisher)) {
        (Some(old), None) => {
            let what = format!("{}: what was accepted is signed by {old}, and this is not signed", args.name);
            confirm(&what, args.yes)?;
        }
        (Some(old), Some(new)) if old != new => {
            let what = format!("{}: what was accepted is signed by {old}, and this by {new}", args.name);
            confirm(&what, args.yes)?;
        }
        _ => {}
    }
    let granted: Vec<String> = wants
        .more
        .iter()
        .filter(|want| !wants.to_decide.contains(want))
        .map(|want| sanitize(&want.what, usize::MAX))
        .collect();
    if !granted.is_empty() {
        let what =
            format!("{}: it wants more, and the configuration grants it already: {}", args.name, granted.join("; "));
        confirm(&what, args.yes)?;
    }
    if !edited.is_empty() {
        let lines = sanitize(&edited.join("; "), usize::MAX);
        confirm(&format!("{}: its grants were changed since they were accepted: {lines}", args.name), args.yes)?;
    }
    Ok(())
}

/// Returns whether a version is older than another one, by their numbers; with the same numbers, a pre-release is. `None` if
/// one of them is not made of numbers.
fn is_older(new: Option<&str>, old: Option<&str>) -> Option<bool> {
    let parts = |version: &str| -> Option<(Vec<u64>, bool)> {
        let core = version.split(['-', '+']).next()?;
        let numbers: Option<Vec<u64>> = core.split('.').map(|number| number.parse().ok()).collect();
        Some((numbers?, !version.contains('-')))
    };
    let (new, old) = (new?, old?);
    if new == old {
        return Some(false);
    }
    Some(parts(new)? < parts(old)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let older = [("1.9.0", "1.10.0"), ("0.9", "1.0.0"), ("1.0.0-rc.1", "1.0.1"), ("2.0.0-beta", "2.0.0")];
        older.iter().for_each(|(new, old)| assert_eq!(is_older(Some(new), Some(old)), Some(true), "{new} after {old}"));
        let newer = [("1.10.0", "1.9.0"), ("1.0.0", "1.0.0"), ("2.0.0", "2.0.0-beta"), ("yesterday", "yesterday")];
        newer
            .iter()
            .for_each(|(new, old)| assert_eq!(is_older(Some(new), Some(old)), Some(false), "{new} after {old}"));
        let unknown = [None, Some("yesterday"), Some("99999999999999999999999.0.0"), Some("-5")];
        unknown.iter().for_each(|new| assert_eq!(is_older(*new, Some("1.0.0")), None, "{new:?}"));
        [None, Some("1.0.0")].iter().for_each(|new| assert_eq!(is_older(*new, None), None, "{new:?}"));
    }
}
