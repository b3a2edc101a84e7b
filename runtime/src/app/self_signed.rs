//! `klines tls self-signed`: writes a certificate and its key, and prints how to use them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use klines_system::clock::LocalClock;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::output;
use crate::cli::SelfSignedArgs;

/// Days of validity. Some clients reject certificates that are valid for more than 398 days.
const DAYS: i32 = 397;

/// The default hosts: the names of the local machine.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A certificate and its key, before they are written.
struct GeneratedCertificate {
    certificate: String,
    key: String,
    /// SHA-256 of the certificate, in the format of other tools.
    fingerprint: String,
    /// Last day on which it is valid.
    until: Date,
}

/// Creates both files.
///
/// # Errors
/// When the files exist and `--force` is not set, or when they cannot be written.
pub fn self_signed(args: &SelfSignedArgs) -> anyhow::Result<ExitCode> {
    let (certificate, key) = (args.output.join("cert.pem"), args.output.join("key.pem"));
    for file in [&certificate, &key] {
        if !args.force && fs::symlink_metadata(file).is_ok() {
            bail!("{} already exists; --force replaces it", file.display());
        }
    }
    let hosts = if args.hosts.is_empty() { LOCAL.map(str::to_owned).to_vec() } else { args.hosts.clone() };
    let made = make(&hosts).context("making the certificate")?;
    fs::create_dir_all(&args.output).with_context(|| format!("making {}", args.output.display()))?;
    replace(&key, &made.key, 0o600)?;
    replace(&certificate, &made.certificate, 0o644)?;
    print_result(args, &hosts, &made, [&absolute(&certificate), &absolute(&key)])?;
    Ok(ExitCode::SUCCESS)
}

fn make(hosts: &[String]) -> anyhow::Result<GeneratedCertificate> {
    let key = KeyPair::generate()?;
    let today = Timestamp::from_millisecond(LocalClock::start().now().get())?.to_zoned(TimeZone::UTC).date();
    // Valid from yesterday, because the client's clock may be behind.
    let from = today.checked_sub(1.day())?;
    let until = from.checked_add(DAYS.days())?;
    let mut params = CertificateParams::new(hosts)?;
    let midnight = |date: Date| -> anyhow::Result<_> {
        Ok(rcgen::date_time_ymd(date.year().into(), date.month().try_into()?, date.day().try_into()?))
    };
    (params.not_before, params.not_after) = (midnight(from)?, midnight(until)?);
    for host in hosts.iter().take(1) {
        params.distinguished_name.push(DnType::CommonName, host);
    }
    // Sets no other key usage: a certificate that is its own root must not exclude signing.
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key)?;
    let bytes: [u8; 32] = Sha256::digest(certificate.der()).into();
    let fingerprint = bytes.map(|byte| format!("{byte:02X}")).join(":");
    Ok(GeneratedCertificate {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        fingerprint,
        until: until.yesterday()?,
    })
}

/// Replaces a file atomically: a reader sees either the old or the new file, each with its mode.
fn replace(file: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let written = write(&new, text, mode).and_then(|()| fs::rename(&new, file));
    written.with_context(|| format!("writing {}", file.display()))
}

fn write(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut out: File = OpenOptions::new().write(true).create_new(true).mode(mode).open(file)?;
    out.write_all(text.as_bytes())
}

fn absolute(file: &Path) -> PathBuf {
    fs::canonicalize(file).unwrap_or_else(|_| file.to_owned())
}

/// Prints the configuration lines on standard output, and instructions on standard error.
fn print_result(
    args: &SelfSignedArgs,
    hosts: &[String],
    made: &GeneratedCertificate,
    files: [&Path; 2],
) -> anyhow::Result<()> {
    let [certificate, key] = files.map(|file| file.display().to_string());
    if args.json {
        let GeneratedCertificate { fingerprint, until, .. } = made;
        let result = json!({
            "certificate": certificate, "certificate_key": key, "hosts": hosts, "sha256": fingerprint, "until": until.to_string(),
        });
        return output::print(&format!("{result:#}\n"));
    }
    let host = hosts.first().map_or("localhost", String::as_str);
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    output::eprint(&format!("wrote cert.pem and key.pem for {}, valid until {}", hosts.join(", "), made.until));
    output::eprint(&format!("sha256 fingerprint {}", made.fingerprint));
    output::eprint("for klines.toml:\n");
    let quoted = |text: String| toml::Value::String(text).to_string();
    let lines =
        format!("[websocket]\ncertificate = {}\ncertificate_key = {}\n", quoted(certificate.clone()), quoted(key));
    output::print(&lines)?;
    output::eprint(&format!(
        "\nto try it, once `klines run --consumers websocket` is up:\n  \
         curl --cacert \"{certificate}\" -H \"Authorization: Bearer $WSS_AUTH_KEY\" https://{host}:9500/v5/market/time\n\
         pybit trusts it with WEBSOCKET_CLIENT_CA_BUNDLE=\"{certificate}\""
    ));
    Ok(())
}
