//! `klines consumer add`: verifies a component, shows what it asks for, and writes what was decided: the component, the
//! lock file and `klines.toml`, together.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use klines_config::consumers::Component as Configured;
use klines_sharing::lock::LockEntry;
use klines_sharing::source::Source;
use klines_system::limits::Limits;
use klines_wasm::grants::Grants;
use klines_wasm::manifest::Missing;

use super::candidate::{Configuration, check_name};
use super::choice::{self, Granted};
use super::files::{Changes, put};
use super::offer::{Demands, Offer};
use super::source::written;
use crate::app::output;
use crate::app::wiring::grants;
use crate::cli::AddArgs;

/// Adds a consumer.
///
/// # Errors
/// When the component is not accepted, or nothing can be written. Nothing is changed then.
pub fn add(args: &AddArgs) -> anyhow::Result<ExitCode> {
    let mut to = Configuration::read(&args.config)?;
    let demands = Demands {
        digest: args.offer.digest.as_ref(),
        publisher: args.offer.publisher.as_deref(),
        allow_unsigned: args.offer.allow_unsigned,
        limits: &Limits::default(),
    };
    let source = Source::parse(&args.source)?;
    let name = args.name.clone().unwrap_or_else(|| source.stem());
    check_name(&name)?;
    let path = free_place(&to, &name, &source)?;
    let offer = Offer::take(&source, demands, &to.config)?;
    output::eprint(&format!("consumer    {name}\n{}", offer.text().trim_end()));
    let wants = offer.component.wants().missing(&Grants::default());
    show_wants(&wants);
    let granted = choice::grants(&wants, &args.offer.grants)?;
    let component = to.written(&path)?;
    to.document.add(&name, &component)?;
    to.document.grant(&name, &granted)?;
    to.enable(&name)?;
    let is_new = !path.exists();
    // The component is there before anything names it: the configuration can then be checked as a whole.
    put(&path, &offer.file.bytes)?;
    if let Err(error) = write(&mut to, &name, &offer, &component) {
        if is_new {
            let _ = fs::remove_file(&path);
        }
        return Err(error);
    }
    report(&to, &name, &component, &granted, wants.len())
}

fn write(to: &mut Configuration, name: &str, offer: &Offer, component: &str) -> anyhow::Result<()> {
    let entry = entry(to, name, offer, component)?;
    to.lock.0.insert(name.to_owned(), entry);
    let mut changes = Changes::default();
    to.stage_lock(&mut changes)?;
    to.stage_document(&mut changes)?;
    changes.commit()
}

/// Returns the entry of a component under the edited configuration, which must be valid.
///
/// # Errors
/// When the configuration would be refused.
pub(super) fn entry(to: &Configuration, name: &str, offer: &Offer, component: &str) -> anyhow::Result<LockEntry> {
    let edited = to.edited(name)?;
    let consumer = edited.consumers.iter().find(|consumer| consumer.name == name);
    let allow = &consumer.with_context(|| format!("`{name}` cannot be enabled"))?.allow;
    Ok(LockEntry {
        component: component.to_owned(),
        source: written(&offer.source, to.folder())?,
        digest: offer.digest.clone(),
        release: offer.release(),
        contract: offer.component.contract(),
        signed: offer.signed.clone(),
        grants: grants::lines(allow, to.folder()),
    })
}

/// Returns where the component goes: `NAME.wasm` in the plugins folder. Nothing that is there is overwritten.
fn free_place(to: &Configuration, name: &str, source: &Source) -> anyhow::Result<PathBuf> {
    let is_used = to.config.consumers.iter().any(|consumer| consumer.name == name) || to.document.has(name);
    if is_used || to.lock.0.contains_key(name) {
        bail!(
            "there is a consumer `{name}` already: `klines consumer upgrade {name} FILE`, or another name with --name"
        );
    }
    let path = to.config.plugins_dir.join(format!("{name}.wasm"));
    let is_source = || match source {
        Source::File(file) => path.canonicalize().is_ok_and(|path| file.canonicalize().is_ok_and(|file| file == path)),
        Source::Url(_) | Source::Registry(_) => false,
    };
    if fs::symlink_metadata(&path).is_ok() && !is_source() {
        bail!("{} exists already: remove it, or give another name with --name", path.display());
    }
    let same = |consumer: &&klines_config::consumers::Consumer| consumer.component == Configured::File(path.clone());
    match to.config.consumers.iter().find(same) {
        Some(other) => bail!("{} is the component of `{}`: give another name with --name", path.display(), other.name),
        None => Ok(path),
    }
}

/// Prints what a component asks for.
pub(super) fn show_wants(wants: &[Missing]) {
    if wants.is_empty() {
        return output::eprint("wants       no permission that must be granted");
    }
    output::eprint("wants");
    for want in wants {
        output::eprint(&format!("  {}", klines_domain::sanitize::sanitize(&want.what, usize::MAX)));
    }
}

fn report(
    to: &Configuration,
    name: &str,
    component: &str,
    granted: &[Granted],
    wants: usize,
) -> anyhow::Result<ExitCode> {
    let (toml, lock) = (to.document.path().display(), to.config.lock_file.display());
    let mut text = format!("added {name}: its component is {component}, its lines are in {toml} and {lock}\n");
    for granted in granted {
        text.push_str(&format!("granted {}\n", granted.line()));
    }
    if granted.is_empty() && wants > 0 {
        text.push_str("granted nothing\n");
    }
    output::print(&text)?;
    output::eprint("`klines check` says whether it needs settings");
    Ok(ExitCode::SUCCESS)
}
