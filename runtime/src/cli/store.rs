//! `klines store …`: commands for the file in which klines are stored.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use klines_config::{Flags, Sources};

/// `klines store …`.
#[derive(Clone, Debug, Subcommand)]
pub enum StoreCommand {
    /// Show the size of the store, its series and the time that each of them covers
    Info(StoreInfoArgs),
    /// Copy the store to a file, also while a run writes to it
    Backup(StoreBackupArgs),
    /// Check that every stored kline can be read and that nothing contradicts itself
    Verify(StoreVerifyArgs),
}

/// Selects the store.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Store")]
pub struct StoreArgs {
    /// The data_dir that contains the store [default: as in the configuration, or klines-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// The configuration file that names it [default: klines.toml, if it exists; variable KLINES_CONFIG]
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// The file of environment variables [default: .env, if it exists]
    #[arg(long, value_name = "PATH")]
    pub env_file: Option<PathBuf>,
}

impl StoreArgs {
    /// Returns the sources that the configuration is read from.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let data_dir = self.data_dir.clone().map(|folder| ("--data-dir", folder));
        let flags: Flags = data_dir.into_iter().collect();
        Sources::of_process(flags, self.config.clone(), self.env_file.clone())
    }
}

/// `klines store info`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Works beside a run and without one.

Exit codes: 0 ok, 1 there is no store, or it cannot be read, 78 configuration refused.")]
pub struct StoreInfoArgs {
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// The store.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `klines store backup`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
The copy is complete and consistent: it contains everything that was stored when the command began. To restore it, stop \
the run and put the copy in the place of klines.db in data_dir.

The pages and checksums of the store are checked before, which takes about as long as the copy. A damaged store is copied as \
it is, and the exit code is 1.

Exit codes: 0 ok, 1 failed, for example because FILE exists, or the store is damaged, 78 configuration refused.

Example:
  klines store backup klines-2026-01-01.db")]
pub struct StoreBackupArgs {
    /// File to write the copy to; it must not exist
    pub file: PathBuf,
    /// The store.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `klines store verify`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Reads the whole store and changes nothing. Works beside a run and without one.

Exit codes: 0 no fault was found, 1 a fault was found, or the store cannot be read, 78 configuration refused.")]
pub struct StoreVerifyArgs {
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// The store.
    #[command(flatten)]
    pub store: StoreArgs,
}
