//! This process in a cluster: an ingest node, which watches its share of the symbols and writes their klines to Redis, or a
//! serve node, which reads klines from Redis and hands them to its consumers.

pub mod groups;
mod ingest;
mod serve;
pub mod share;
pub mod sight;
mod status;
mod wanted;

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use klines_cluster::library::{self, LIBRARY, Loaded};
use klines_cluster::member::{About, Name};
use klines_cluster::node::Settings;
use klines_cluster::partition::Partitions;
use klines_cluster::server::Server;
use klines_config::Config;
use klines_config::cluster::{Cluster, Role};
use klines_delivery::catalog::Catalog;
use klines_delivery::epochs::Epochs;
use klines_delivery::hub::Hub;
use klines_delivery::manager::Spec;
use klines_system::host_name;

use self::groups::Groups;
pub use self::ingest::Ingest;
pub use self::serve::Serve;
use self::share::Share;
use self::sight::Sight;
pub use self::status::status;
use super::observed::Observed;
use super::output;
use super::refusal::Refused;
use crate::cli::ClusterLoadArgs;

/// What a process does in a cluster.
#[derive(Debug)]
pub enum Part {
    /// Everything, without a cluster.
    Alone,
    /// It watches and writes.
    Ingest(Ingest),
    /// It reads and hands on.
    Serve(Serve),
}

impl Part {
    /// Prepares the part of this process. Does not connect.
    ///
    /// # Errors
    /// When the address or a name cannot be used.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        Ok(match config.cluster.role {
            Role::All => Self::Alone,
            Role::Ingest => Self::Ingest(Ingest::new(server(&config.cluster)?, settings(&config.cluster)?)),
            Role::Serve => Self::Serve(Serve::new(server(&config.cluster)?, settings(&config.cluster)?)),
        })
    }

    /// Returns the consumer that hands klines to an ingest node.
    #[must_use]
    pub fn spec(&self) -> Option<Spec> {
        if let Self::Ingest(node) = self { Some(node.spec()) } else { None }
    }

    /// Returns what metrics see.
    #[must_use]
    pub fn sight(&self) -> Sight {
        match self {
            Self::Alone => Sight::default(),
            Self::Ingest(node) => node.sight(),
            Self::Serve(node) => node.sight(),
        }
    }

    /// Returns the epochs that the gateways of a cluster share.
    #[must_use]
    pub fn epochs(&self) -> Option<Arc<dyn Epochs>> {
        if let Self::Serve(node) = self { Some(node.epochs()) } else { None }
    }

    /// Returns what lets consumers work for groups; `None` if each gets every kline.
    #[must_use]
    pub fn groups(&self, config: &Config, catalog: &Arc<Catalog>, hub: &Arc<Hub>) -> Option<Groups> {
        if let Self::Serve(node) = self { Some(node.groups(config, catalog, hub)) } else { None }
    }

    /// Joins the cluster, if this is an ingest node. Returns the symbols that this process watches.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn join(&self) -> anyhow::Result<Share> {
        if let Self::Ingest(node) = self { node.join() } else { Ok(Share::all()) }
    }

    /// Reports to the cluster and to clients what changes; never ends.
    pub async fn report(&self, config: &Config, observed: &Observed) -> Infallible {
        match self {
            Self::Alone => std::future::pending().await,
            Self::Ingest(node) => node.report_seeded(observed, config.klines.repair > 0).await,
            Self::Serve(node) => node.report_state(config, observed).await,
        }
    }

    /// Lets other ingest nodes take over, for a while.
    pub async fn leave(&self) {
        if let Self::Ingest(node) = self {
            node.leave().await;
        }
    }

    /// Ends the threads of the cluster. Blocks for a moment.
    pub fn end(&self) {
        match self {
            Self::Alone => {}
            Self::Ingest(node) => node.end(),
            Self::Serve(node) => node.end(),
        }
    }
}

/// Loads the functions into the Redis of the cluster.
///
/// # Errors
/// When Redis cannot be reached, or its user may not do that.
pub fn load(args: &ClusterLoadArgs) -> anyhow::Result<ExitCode> {
    let cluster = klines_config::cluster(args.flags.sources()).map_err(Refused)?;
    let server = server(&cluster)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let loaded = runtime.block_on(async { anyhow::Ok(library::load(&mut server.look().await?).await?) });
    let loaded = loaded.with_context(|| format!("loading the functions into {}", server.shown()))?;
    let how = match loaded {
        Loaded::Now => "loaded now",
        Loaded::Before => "were there already",
    };
    output::print(&format!("{}: the functions {LIBRARY} {how}\n", server.shown()))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the Redis of the cluster.
///
/// # Errors
/// When its address cannot be used.
pub fn server(cluster: &Cluster) -> anyhow::Result<Server> {
    let url = cluster.redis_url.as_ref().context("`cluster.redis_url` is not set: set the address of Redis")?;
    let sentinels: Vec<&str> = cluster.sentinels.iter().map(|address| address.0.expose()).collect();
    Server::new(url.0.expose(), &sentinels, cluster.authorities.clone()).context("`cluster.redis_url`")
}

fn settings(cluster: &Cluster) -> anyhow::Result<Settings> {
    let name = match &cluster.node {
        Some(node) => Name::new(node).context("`cluster.node`")?,
        None => {
            let host = host_name::host_name();
            let invalid = || format!("the name of this machine, `{host}`, cannot name a node: set `cluster.node`");
            Name::new(&host).with_context(invalid)?
        }
    };
    let (ingest, serve) = (cluster.role == Role::Ingest, cluster.role == Role::Serve);
    Ok(Settings {
        cluster: Name::new(&cluster.name).context("`cluster.name`")?,
        name,
        about: About { ingest, serve, partitions: Some(cluster.partitions), ..About::default() },
        partitions: Partitions::new(cluster.partitions).context("`cluster.partitions`")?,
        replicas: cluster.replicas,
        retain: cluster.retain,
    })
}
