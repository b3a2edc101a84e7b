//! `klines tls …`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `klines tls …`.
#[derive(Clone, Debug, Subcommand)]
pub enum TlsCommand {
    /// Make a certificate that is signed by nobody but itself, for use at home and in tests
    SelfSigned(SelfSignedArgs),
}

/// `klines tls self-signed`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Writes cert.pem and key.pem (readable by you alone), valid from yesterday for 397 days, and prints the lines of \
klines.toml that use them. Clients have to be told to trust cert.pem; on the open internet take a certificate \
that they trust already. A running klines uses new files by itself within seconds.

Exit codes: 0 ok, 1 failed, such as when the files are there and --force was not given.

Examples:
  klines tls self-signed
  klines tls self-signed --host klines.lan --host 192.168.1.20 --output certificates")]
pub struct SelfSignedArgs {
    /// Name or address that clients connect to; may be given several times [default: localhost, 127.0.0.1, ::1]
    #[arg(long = "host", value_name = "NAME", value_parser = host)]
    pub hosts: Vec<String>,
    /// Folder to write to; made if it is not there
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,
    /// Replace files that are there
    #[arg(long)]
    pub force: bool,
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
}

/// An IP address, or what can stand as a name in a certificate.
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
        Err("a name such as klines.lan or an address such as 192.168.1.20, without scheme, port or path".to_owned())
    }
}
