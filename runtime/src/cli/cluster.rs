//! `klines cluster …`: commands for several processes on Redis.

use clap::{Args, Subcommand};

use super::args::SourceArgs;

/// `klines cluster …`.
#[derive(Clone, Debug, Subcommand)]
pub enum ClusterCommand {
    /// Show the members, who watches and writes each partition, and what is wrong
    Status(ClusterStatusArgs),
    /// Load the functions into Redis, for nodes whose users may not
    Load(ClusterLoadArgs),
}

/// `klines cluster load`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Loads the functions of this version, unless they are there; those of other versions stay. Nodes do this themselves if their \
user may. Needed once for each version, with a user that may load functions.

Exit codes: 0 the functions are there, 1 they cannot be loaded, 78 configuration refused.

Example:
  CLUSTER_REDIS_URL=redis://klines-loader:PASSWORD@host:6379 klines cluster load")]
pub struct ClusterLoadArgs {
    /// The configuration.
    #[command(flatten)]
    pub flags: SourceArgs,
}

/// `klines cluster status`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Reads the state of the cluster in [cluster] from its Redis, on any machine that reaches it; it needs no run and changes \
nothing. CLUSTER_REDIS_URL can name a user that may only read.

Exit codes: 0 every partition is written by as many nodes as configured, 1 one is not, or Redis cannot be read, \
78 configuration refused.

Example:
  CLUSTER_REDIS_URL=redis://klines-status:PASSWORD@host:6379 klines cluster status")]
pub struct ClusterStatusArgs {
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// The configuration.
    #[command(flatten)]
    pub flags: SourceArgs,
}
