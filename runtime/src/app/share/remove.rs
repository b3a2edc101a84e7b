//! `klines consumer remove`: takes back what `add` has written. The state of the consumer stays, and is named.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use klines_config::consumers::{Component as Source, Consumer};
use klines_domain::sanitize::sanitize;
use klines_sharing::digest::Digest;

use super::candidate::Configuration;
use super::files::Changes;
use crate::app::output;
use crate::cli::RemoveArgs;

/// Removes a consumer that was added.
///
/// # Errors
/// When it has no entry in the lock file, or nothing can be written. Nothing is changed then.
pub fn remove(args: &RemoveArgs) -> anyhow::Result<ExitCode> {
    let name = &args.name;
    let mut to = Configuration::examine(&args.config)?;
    let Some(entry) = to.lock.0.remove(name) else {
        let lock = to.config.lock_file.display();
        bail!(
            "{lock} has no entry of `{}`: only what `klines consumer add` has written is removed",
            sanitize(name, 64)
        );
    };
    to.document.remove(name);
    to.disable(name);
    let mut changes = Changes::default();
    to.stage_document(&mut changes)?;
    to.stage_lock(&mut changes)?;
    changes.commit()?;
    let component = to.folder().join(&entry.component);
    let mut text = format!("removed {name}\n");
    text.push_str(&remove_component(name, &component, &entry.digest, &to)?);
    if to.lock.0.is_empty() {
        fs::remove_file(&to.config.lock_file).with_context(|| to.config.lock_file.display().to_string())?;
    }
    for path in to.left_by(name) {
        text.push_str(&format!("kept {}\n", path.display()));
    }
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Removes the component if it is the one that was accepted and lies where `add` has put it.
fn remove_component(name: &str, path: &Path, accepted: &Digest, to: &Configuration) -> anyhow::Result<String> {
    if fs::symlink_metadata(path).is_err() {
        return Ok(String::new());
    }
    let shown = path.display();
    let own = to.config.plugins_dir.join(format!("{name}.wasm"));
    let is_own = matches!((path.canonicalize(), own.canonicalize()), (Ok(path), Ok(own)) if path == own);
    let is_file = fs::metadata(path).is_ok_and(|found| found.is_file());
    if !is_own || !is_file || !fs::read(path).is_ok_and(|bytes| Digest::of(&bytes) == *accepted) {
        return Ok(format!("kept {shown}: it is not what `klines consumer add` has put there\n"));
    }
    let others = to.config.consumers.iter().filter(|consumer| consumer.name != name);
    let is_it = |consumer: &&Consumer| matches!(&consumer.component, Source::File(other) if other.canonicalize().ok() == path.canonicalize().ok());
    if let Some(other) = others.clone().find(is_it) {
        return Ok(format!("kept {shown}: it is the component of `{}`, too\n", other.name));
    }
    fs::remove_file(path).with_context(|| shown.to_string())?;
    Ok(format!("removed {shown}\n"))
}
