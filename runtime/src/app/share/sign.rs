//! `klines keygen --minisign` and `klines consumer sign`: the two commands of a publisher. The private key is written
//! encrypted only, and never printed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use klines_domain::sanitize::sanitize;
use klines_domain::secret::Secret;
use klines_sharing::digest::Digest;
use klines_sharing::signature::{PublicKey, Signature};
use klines_sharing::signing::{self, SigningKey};
use klines_system::limits::Limits;
use klines_wasm::component_loader::{ComponentFile, Links, read, recognise};
use serde_json::json;

use super::files::{Changes, PRIVATE, PUBLIC};
use super::password::{self, Use};
use super::source::read_signature;
use crate::app::output;
use crate::cli::{KeygenArgs, PasswordArgs, SignArgs};

/// The ending that the file of a signature has after the name of its component.
pub(super) const SIGNATURE_ENDING: &str = ".minisig";

/// Writes a key pair.
///
/// # Errors
/// When a file exists already, there is no password, or the files cannot be written.
pub fn generate(file: &Path, args: &KeygenArgs) -> anyhow::Result<ExitCode> {
    let public_file = file.with_extension("pub");
    if public_file == file {
        bail!("{}: the private key needs another ending than .pub, which the public key gets", file.display());
    }
    for file in [file, &public_file] {
        if file.exists() {
            bail!("{} exists already: a key that is overwritten is lost", file.display());
        }
    }
    let keys = signing::generate(&password::read(&args.password, Use::New)?)?;
    let mut changes = Changes::default();
    changes.stage(file, keys.private_file.expose().as_bytes(), PRIVATE)?;
    changes.stage(&public_file, keys.public_file.as_bytes(), PUBLIC)?;
    changes.commit()?;
    if args.json {
        let files = json!({ "private": file.display().to_string(), "public": public_file.display().to_string() });
        let result = json!({ "key": keys.public.to_string(), "id": keys.public.id().to_string(), "files": files });
        output::print(&format!("{result:#}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::eprint(&format!(
        "wrote the private key, encrypted with the password, to {} and the public key to {}",
        file.display(),
        public_file.display()
    ));
    output::eprint("for the klines.toml of operators who trust it, with a name of their choice:\n");
    let publisher = file.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
    let publisher: String = publisher.chars().filter(|found| found.is_ascii_alphanumeric()).collect();
    let publisher = if publisher.is_empty() { "PUBLISHER" } else { &publisher };
    output::print(&format!("[trusted_keys.{publisher}]\nkeys = [\"{}\"]\n", keys.public))?;
    Ok(ExitCode::SUCCESS)
}

/// Signs a component.
///
/// # Errors
/// When the file is no component, or the private key cannot be used.
pub fn sign(args: &SignArgs) -> anyhow::Result<ExitCode> {
    let file = component(&args.component)?;
    let signed = sign_file(&args.component, &file, &unlock(&args.key, &args.password)?)?;
    output::print(&signed.text)?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a component that is to be signed or published.
///
/// # Errors
/// When the file is no component.
pub(super) fn component(path: &Path) -> anyhow::Result<ComponentFile> {
    let file = read(path, Limits::default().component_size, Links::Follow);
    let file = file.with_context(|| path.display().to_string())?;
    recognise(&file.bytes).with_context(|| path.display().to_string())?;
    Ok(file)
}

/// A file that was signed.
pub(super) struct SignedFile {
    /// The signature, which is in a file next to it.
    pub(super) signature: Signature,
    /// The key that has signed.
    pub(super) key: PublicKey,
    /// A line that says what was done.
    pub(super) text: String,
}

/// Signs the content of `path` if the file next to it is no signature of it with this key: each signature is another one, and
/// what has been published has the first.
///
/// # Errors
/// When the private key cannot be used, or the signature not be written.
pub(super) fn sign_once(
    path: &Path,
    file: &ComponentFile,
    key_file: &Path,
    password: &PasswordArgs,
) -> anyhow::Result<SignedFile> {
    let unlocked = unlock(key_file, password)?;
    let key = unlocked.public()?;
    let present = read_signature(&signature_of(path)).ok().flatten();
    let present = present.and_then(|text| Signature::parse(&text).ok());
    match present.filter(|present| present.is_of(&file.bytes, &key)) {
        Some(signature) => {
            let text = format!("{} is signed with the key {} already\n", shown(path), key.id());
            Ok(SignedFile { signature, key, text })
        }
        None => sign_file(path, file, &unlocked),
    }
}

fn unlock(key_file: &Path, password: &PasswordArgs) -> anyhow::Result<SigningKey> {
    let private = fs::read_to_string(key_file).with_context(|| format!("the private key {}", key_file.display()))?;
    let password = password::read(password, Use::Open)?;
    SigningKey::unlock(&Secret::new(private), &password).with_context(|| key_file.display().to_string())
}

fn shown(path: &Path) -> String {
    sanitize(&path.display().to_string(), usize::MAX)
}

/// Signs the content of `path`, and writes the signature next to it.
///
/// # Errors
/// When the signature cannot be written.
fn sign_file(path: &Path, file: &ComponentFile, unlocked: &SigningKey) -> anyhow::Result<SignedFile> {
    let signature = unlocked.sign(&file.bytes, &file.name)?;
    let signature_file = signature_of(path);
    let mut changes = Changes::default();
    changes.stage(&signature_file, signature.text().as_bytes(), PUBLIC)?;
    changes.commit()?;
    let key = unlocked.public()?;
    let text = format!(
        "signed {} ({}) with the key {}: {}\n",
        shown(path),
        Digest::of(&file.bytes),
        key.id(),
        shown(&signature_file)
    );
    Ok(SignedFile { signature, key, text })
}

/// Returns the file of the signature of a component.
pub(super) fn signature_of(component: &Path) -> PathBuf {
    let mut name = component.as_os_str().to_owned();
    name.push(SIGNATURE_ENDING);
    PathBuf::from(name)
}
