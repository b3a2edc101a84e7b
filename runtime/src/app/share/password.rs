//! Passwords of private keys: from a file, a variable or the terminal, never from an argument.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use klines_domain::secret::Secret;

use crate::cli::PasswordArgs;

/// The variable that can hold a password.
const VARIABLE: &str = "KLINES_MINISIGN_PASSWORD";

/// Whether the password protects a new key, and so is asked for twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It protects a new key.
    New,
    /// It opens a key.
    Open,
}

/// Returns the password of a private key.
///
/// # Errors
/// When there is none.
pub(super) fn read(args: &PasswordArgs, purpose: Use) -> anyhow::Result<Secret> {
    if let Some(file) = &args.password_file {
        return of_file(file);
    }
    if let Some(password) = std::env::var_os(VARIABLE).filter(|password| !password.is_empty()) {
        let password = password.into_string().map_err(|_| anyhow::anyhow!("{VARIABLE} is not UTF-8"))?;
        return Ok(Secret::new(password));
    }
    let missing = || format!("no terminal asks for the password: name a file with --password-file, or set {VARIABLE}");
    let password = Secret::new(rpassword::prompt_password("password of the private key: ").with_context(missing)?);
    if purpose == Use::New {
        let again = Secret::new(rpassword::prompt_password("the same password again: ").with_context(missing)?);
        if password != again {
            bail!("the two passwords differ");
        }
    }
    Ok(password)
}

fn of_file(file: &Path) -> anyhow::Result<Secret> {
    let text = Secret::new(fs::read_to_string(file).with_context(|| file.display().to_string())?);
    let line = text.expose().lines().next().unwrap_or_default();
    if line.is_empty() {
        bail!("{}: its first line, which is the password, is empty", file.display());
    }
    Ok(Secret::new(line.to_owned()))
}
