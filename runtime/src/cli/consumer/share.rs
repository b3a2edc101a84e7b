//! `klines consumer sign`, `publish`, `search`, `add`, `upgrade` and `remove`: the commands for components of others.

use std::path::PathBuf;

use clap::Args;
use klines_config::{Flags, Sources};
use klines_sharing::digest::Digest;

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

/// `klines consumer publish`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Uploads the component and its signature (COMPONENT.minisig) as one artifact, and prints its reference with the digest of \
its manifest, which is what operators pin. A component without a signature is not published. The same component and \
signature give the same artifact. User and password of the registry are in the variables KLINES_REGISTRY_USER and \
KLINES_REGISTRY_PASSWORD.

Exit codes: 0 published, or there already, 1 not published; the reason is printed, 78 configuration refused.

Examples:
  klines consumer publish demo.wasm oci://ghcr.io/acme/demo:1.2.0
  klines consumer publish demo.wasm oci://ghcr.io/acme/demo:1.2.0 --key acme.key
  klines consumer publish demo.wasm oci://ghcr.io/acme/demo:1.2.0 --key acme.key --index index.toml")]
pub struct PublishArgs {
    /// Component to publish
    #[arg(value_name = "COMPONENT")]
    pub component: PathBuf,
    /// Where: oci://HOST/NAME:TAG
    #[arg(value_name = "REFERENCE")]
    pub to: PathBuf,
    /// Sign it first, with this private key
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Where its password comes from.
    #[command(flatten)]
    pub password: PasswordArgs,
    /// Move the tag if it names something else; operators who have taken it see that it has moved
    #[arg(long)]
    pub move_tag: bool,
    /// Name it in this index, too, which `klines consumer search` reads; an index that does not exist is created
    #[arg(long, value_name = "FILE", requires = "key")]
    pub index: Option<PathBuf>,
    /// The configuration, for its proxy.
    #[command(flatten)]
    pub config: ConfigFileArgs,
}

/// `klines consumer search`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Prints each component in whose name, version, description or wants all of the words occur, and the command that adds it. An \
index is one file, which anybody can write with `klines consumer publish --index` and host. What it says is not verified: \
`klines consumer add` verifies the component.

Exit codes: 0 ok, also if there is none, 1 the index cannot be read, 78 configuration refused.

Examples:
  klines consumer search --index https://example.com/index.toml
  klines consumer search webhook alert --index index.toml")]
pub struct SearchArgs {
    /// Words to search for [default: all components]
    #[arg(value_name = "WORD")]
    pub words: Vec<String>,
    /// Index to search in: a file, or https://…
    #[arg(long, value_name = "FILE|URL")]
    pub index: PathBuf,
    /// The configuration, for its proxy and its trusted keys.
    #[command(flatten)]
    pub config: ConfigFileArgs,
}

/// The configuration that a command changes.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Configuration")]
pub struct ConfigFileArgs {
    /// Configuration file [default: klines.toml; variable KLINES_CONFIG]. The lock file is next to it
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// File of environment variables [default: .env, if it exists]
    #[arg(long, value_name = "PATH")]
    pub env_file: Option<PathBuf>,
}

impl ConfigFileArgs {
    /// Returns the sources of the configuration.
    #[must_use]
    pub fn sources(&self) -> Sources {
        Sources::of_process(Flags::new(), self.config.clone(), self.env_file.clone())
    }
}

/// What is demanded of a component, and granted to it.
#[derive(Args, Clone, Debug, Default)]
pub struct OfferArgs {
    /// The SHA-256 that the component must have
    #[arg(long, value_name = "SHA256")]
    pub digest: Option<Digest>,
    /// The publisher in `trusted_keys` whose key must have signed it [default: any; of an upgrade, the same as before]
    #[arg(long, value_name = "NAME")]
    pub publisher: Option<String>,
    /// Accept exactly these bytes without a signature of a trusted key
    #[arg(long, conflicts_with = "publisher")]
    pub allow_unsigned: bool,
    /// What to grant, in place of questions in the terminal: all, none, or a line of [consumers.NAME.allow]; can be
    /// repeated
    #[arg(long = "grant", value_name = "all|none|LINE")]
    pub grants: Vec<String>,
}

/// `klines consumer add`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Reads the component and its signature once, verifies them with the keys in [trusted_keys], shows what the component asks \
for, and asks what to grant. Then it copies the component to the plugins folder and writes klines.toml and klines.lock, \
which `klines check` and `klines run` obey.

COMPONENT is a file or a URL, with the signature in COMPONENT.minisig, or a reference to an artifact in a registry, which \
has its signature. User and password of the registry are in the variables KLINES_REGISTRY_USER and \
KLINES_REGISTRY_PASSWORD.

Exit codes: 0 added, 1 not added, and nothing was changed; the reason is printed, 78 configuration refused.

Examples:
  klines consumer add demo.wasm
  klines consumer add demo.wasm --publisher acme --grant 'env = \"TZ\"'
  klines consumer add https://example.com/releases/demo-1.2.0.wasm --name demo
  klines consumer add oci://ghcr.io/acme/demo:1.2.0")]
pub struct AddArgs {
    /// Component to add: a file, https://…, or oci://HOST/NAME:TAG
    #[arg(value_name = "COMPONENT")]
    pub source: PathBuf,
    /// Name of the consumer [default: the last part of COMPONENT without .wasm]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// What is demanded and granted.
    #[command(flatten)]
    pub offer: OfferArgs,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFileArgs,
}

/// `klines consumer upgrade`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Shows how the release, the bytes, the signature and the wants differ from what was accepted, and asks about what it wants \
in addition. A run that goes on takes the new component over. A consumer that is not locked is locked by this. Without \
another component, its source is asked again, a registry for what the tag names by now, and what the configuration grants \
by now is accepted.

Exit codes: 0 upgraded, or nothing to do, 1 not upgraded, and nothing was changed; the reason is printed, 78 \
configuration refused.

Examples:
  klines consumer upgrade demo demo-1.3.0.wasm
  klines consumer upgrade demo oci://ghcr.io/acme/demo:1.3.0
  klines consumer upgrade demo demo-1.2.0.wasm --yes     # a downgrade")]
pub struct UpgradeArgs {
    /// Name of the consumer
    pub name: String,
    /// New component: a file, https://…, or oci://HOST/NAME:TAG [default: where it was added from]
    #[arg(value_name = "COMPONENT")]
    pub source: Option<PathBuf>,
    /// Accept without a question an older release, one without the signature that the present one has, and grants that
    /// were changed by hand
    #[arg(long)]
    pub yes: bool,
    /// What is demanded and granted.
    #[command(flatten)]
    pub offer: OfferArgs,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFileArgs,
}

/// `klines consumer remove`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Removes the consumer from klines.toml and klines.lock, and its component. Its state, dead letters and crash reports stay; \
their files are printed.

Exit codes: 0 removed, 1 not removed; the reason is printed, 78 configuration refused.

Example:
  klines consumer remove demo")]
pub struct RemoveArgs {
    /// Name of the consumer
    pub name: String,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigFileArgs,
}
