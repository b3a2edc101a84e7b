//! `klines consumer publish`: puts a signed component into a registry of OCI artifacts, and names it in an index for
//! `klines consumer search`.

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use klines_authoring::tools::cache_of_process;
use klines_config::Config;
use klines_domain::sanitize::sanitize;
use klines_sharing::digest::Digest;
use klines_sharing::index::Listing;
use klines_sharing::oci::{About, Publication};
use klines_sharing::signature::{PublicKey, Signature};
use klines_sharing::source::{Reference, Source};
use klines_sharing::trust::TrustError;
use klines_system::limits::Limits;
use klines_wasm::component::Component;
use klines_wasm::component_loader::ComponentFile;
use klines_wasm::grants::Grants;

use super::candidate::real;
use super::files::{Changes, PUBLIC};
use super::remote;
use super::search::read_index;
use super::sign::{component, sign_once, signature_of};
use super::source::read_signature;
use crate::app::output;
use crate::app::refusal::Refused;
use crate::app::wiring::compiling;
use crate::cli::PublishArgs;

/// Publishes a component.
///
/// # Errors
/// When it is not signed, no component that klines runs, or the registry refuses it.
pub fn publish(args: &PublishArgs) -> anyhow::Result<ExitCode> {
    let to = destination(args)?;
    let (config, _) = klines_config::load(args.config.sources()).map_err(Refused)?;
    // An index that cannot be read or written is noticed before anything is published.
    if let Some(path) = &args.index {
        drop(with_listing(path, None)?);
    }
    let file = component(&args.component)?;
    let components = compiling::for_an_author(cache_of_process().as_deref())?;
    let component = components.from_untrusted(&file, &Limits::default()).with_context(|| shown(args))?;
    let (signature, key) = signature(args, &config, &file)?;
    let publication = publication(&component, &file, &signature)?;
    let digest = Digest::of(&file.bytes);
    let (manifest, was_there) = remote::publish(&config, &to, file.bytes, publication, args.move_tag)?;
    if was_there {
        output::eprint("the tag names exactly this already; nothing is changed");
    }
    let to = to.pinned(manifest);
    if let (Some(path), Some(key)) = (&args.index, key) {
        // Another command may have changed it until then.
        let _folder = wait_for_folder(path)?;
        with_listing(path, Some((&to, listing(&component, digest, key, &to))))?.commit()?;
        output::eprint(&format!("{} is listed in {}", to.name, sanitize(&path.display().to_string(), usize::MAX)));
    }
    output::print(&format!("{to}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn shown(args: &PublishArgs) -> String {
    sanitize(&args.component.display().to_string(), usize::MAX)
}

/// Returns where the component is published.
fn destination(args: &PublishArgs) -> anyhow::Result<Reference> {
    match Source::parse(&args.to)? {
        Source::Registry(reference) if reference.tag.is_some() && reference.digest.is_none() => Ok(reference),
        _ => bail!("{}: expected oci://HOST/NAME:TAG", sanitize(&args.to.display().to_string(), usize::MAX)),
    }
}

/// Signs the component if a key is given and has not signed it yet, or else reads its signature.
fn signature(
    args: &PublishArgs,
    config: &Config,
    file: &ComponentFile,
) -> anyhow::Result<(Signature, Option<PublicKey>)> {
    let Some(key) = &args.key else {
        return Ok((present_signature(args, config, file)?, None));
    };
    let signed = sign_once(&args.component, file, key, &args.password)?;
    output::eprint(signed.text.trim_end());
    Ok((signed.signature, Some(signed.key)))
}

fn publication(component: &Component, file: &ComponentFile, signature: &Signature) -> anyhow::Result<Publication> {
    let wants = component.wants();
    let manifest = wants.manifest.clone().unwrap_or_default();
    let title = if manifest.name.is_empty() { file.name.trim_end_matches(".wasm") } else { &manifest.name };
    let (version, description) = (manifest.version.as_str(), manifest.description.as_str());
    let about = About { title, version, description, exports: &[component.contract()], imports: &wants.imports };
    Publication::new(&file.bytes, about, signature).context("describing the component")
}

fn listing(component: &Component, digest: Digest, key: PublicKey, at: &Reference) -> Listing {
    let wants = component.wants();
    let manifest = wants.manifest.clone().unwrap_or_default();
    Listing {
        source: Source::Registry(at.clone()),
        digest,
        key,
        version: manifest.version,
        description: manifest.description,
        contract: component.contract(),
        wants: wants.missing(&Grants::default()).into_iter().map(|want| want.what).collect(),
    }
}

/// Returns the change of an index that puts a component in it, in place of what has its name there. A symbolic link stays.
fn with_listing(path: &Path, listing: Option<(&Reference, Listing)>) -> anyhow::Result<Changes> {
    let (mut index, faults) = read_index(path)?.unwrap_or_default();
    if let Some(fault) = faults.first() {
        bail!("{}: {fault}: correct or remove it", sanitize(&path.display().to_string(), usize::MAX));
    }
    if let Some((at, listing)) = listing {
        index.0.insert(at.name.clone(), listing);
    }
    let mut changes = Changes::default();
    changes.stage(&real(path), index.text().as_bytes(), PUBLIC)?;
    Ok(changes)
}

/// Waits until no other command changes an index in this folder. Another one can do so when the returned value is dropped.
fn wait_for_folder(index: &Path) -> anyhow::Result<File> {
    let folder = index.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let opened = File::open(folder).with_context(|| folder.display().to_string())?;
    opened.lock().with_context(|| format!("locking {}", folder.display()))?;
    Ok(opened)
}

/// Reads the signature next to the component, and refuses one that is evidently of other bytes.
fn present_signature(args: &PublishArgs, config: &Config, file: &ComponentFile) -> anyhow::Result<Signature> {
    let shown = shown(args);
    let path = signature_of(&args.component);
    let Some(text) = read_signature(&path)? else {
        bail!("{shown}: it is not signed ({}): sign it with --key FILE", path.display());
    };
    let signature = Signature::parse(&text).with_context(|| path.display().to_string())?;
    match config.trusted_keys.signer(&signature, &file.bytes) {
        Ok(_) => return Ok(signature),
        // Publishers need not trust their own key; the signed comment of `klines consumer sign` has the digest.
        Err(TrustError::Unknown(_)) => {}
        Err(error) => bail!("{shown}: {error}: sign it again with --key FILE"),
    }
    let comment = signature.comment();
    let digest = Digest::of(&file.bytes);
    let signed =
        comment.split_whitespace().find_map(|word| word.starts_with("sha256:").then(|| word.parse::<Digest>()));
    if let Some(Ok(signed)) = signed.filter(|signed| signed.as_ref() != Ok(&digest)) {
        bail!("{shown}: it has {digest}, and {signed} was signed: sign it again with --key FILE");
    }
    Ok(signature)
}
