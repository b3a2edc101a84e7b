//! `klines tls …`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `klines tls …`.
#[derive(Clone, Debug, Subcommand)]
pub enum TlsCommand {
    /// Create a self-signed certificate, for private networks and tests
    SelfSigned(SelfSignedArgs),
}

/// `klines tls self-signed`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Writes cert.pem and key.pem (readable only by you), valid from yesterday for 397 days, and prints the lines for \
klines.toml that use them. Clients must be configured to trust cert.pem; on the public internet, use a \
certificate of an authority that they already trust. A running klines loads new files within seconds.

Exit codes: 0 ok, 1 failed, for example because the files exist and --force is not set.

Examples:
  klines tls self-signed
  klines tls self-signed --host klines.lan --host 192.168.1.20 --output certificates")]
pub struct SelfSignedArgs {
    /// Name or address that clients connect to; can be repeated [default: localhost, 127.0.0.1, ::1]
    #[arg(long = "host", value_name = "NAME", value_parser = host)]
    pub hosts: Vec<String>,
    /// Folder to write to; it is created if it does not exist
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,
    /// Replace existing files
    #[arg(long)]
    pub force: bool,
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
}

/// Accepts an IP address or a name that a certificate can contain.
fn host(text: &str) -> Result<String, String> {
    let is_part = |part: &str| {
        let is_name = part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        (1..=63).contains(&part.len()) && is_name && !part.starts_with('-') && !part.ends_with('-')
    };
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_name = text.len() <= 253 && name.split('.').all(is_part);
    if is_name || text.parse::<IpAddr>().is_ok() {
        Ok(text.to_owned())
    } else {
        let expected = "a name such as klines.lan or an address such as 192.168.1.20, without scheme, port or path";
        Err(format!("expected {expected}"))
    }
}
