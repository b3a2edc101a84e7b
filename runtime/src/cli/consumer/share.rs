//! `klines consumer sign`: the command for publishers.

use std::path::PathBuf;

use clap::Args;

/// Where the password of a private key comes from. There is no flag for the password itself: other users could read it.
#[derive(Args, Clone, Debug, Default)]
pub struct PasswordArgs {
    /// File whose first line is the password of the private key [default: variable KLINES_MINISIGN_PASSWORD, or a
    /// question in the terminal]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// `klines consumer sign`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Writes COMPONENT.minisig next to the component: a signature of minisign, which `minisign -V` verifies too. Hand out both \
files together.

Exit codes: 0 signed, 1 not signed; the reason is printed.

Example:
  klines consumer sign demo.wasm --key acme.key")]
pub struct SignArgs {
    /// Component to sign
    #[arg(value_name = "COMPONENT")]
    pub component: PathBuf,
    /// Private key that `klines keygen --minisign` has written
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Where its password comes from.
    #[command(flatten)]
    pub password: PasswordArgs,
}
