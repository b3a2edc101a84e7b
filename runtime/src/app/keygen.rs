//! `klines keygen`: generates a key for clients of the websocket consumer.

use std::process::ExitCode;

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;

use super::output;
use crate::cli::KeygenArgs;

/// Number of random bytes in a key.
const BYTES: usize = 32;

/// Prints a new key, and only that, on standard output.
///
/// # Errors
/// When the operating system returns no random bits, or standard output cannot be written.
pub fn keygen(args: &KeygenArgs) -> anyhow::Result<ExitCode> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).context("requesting random bits from the system")?;
    let key = BASE64_URL_SAFE_NO_PAD.encode(bytes);
    output::print(&if args.json {
        format!("{:#}\n", json!({ "key": key, "bits": BYTES * 8 }))
    } else {
        format!("{key}\n")
    })?;
    Ok(ExitCode::SUCCESS)
}
