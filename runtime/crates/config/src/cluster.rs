//! `[cluster]`: which part this process takes in a cluster on Redis. Without it, one process does everything.

use std::num::NonZeroU32;
use std::time::Duration;

use ::redis::{ConnectionAddr, IntoConnectionInfo as _};

use super::Config;
use super::consumers::Group;
use super::loader::{Key, Loader, Section, Sourced};
use super::native::redis::{self, RedisAddress};
use super::quantity::HumanDuration;
use super::value::{Fault, Scalar, choice};

const ROLE: Key = Key::new("role").variable("CLUSTER_ROLE");
const NAME: Key = Key::new("name").variable("CLUSTER_NAME");
const NODE: Key = Key::new("node").variable("CLUSTER_NODE");
const REDIS_URL: Key = Key::new("redis_url").variable("CLUSTER_REDIS_URL");
const SENTINELS: Key = Key::new("sentinels").variable("CLUSTER_SENTINELS");
const PARTITIONS: Key = Key::new("partitions");
const REPLICAS: Key = Key::new("replicas");
const RETAIN: Key = Key::new("retain");

const DEFAULT_PARTITIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(63);
const MAX_PARTITIONS: u32 = 1_024;
const DEFAULT_REPLICAS: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);
/// The functions in Redis keep the versions of as many nodes.
const MAX_REPLICAS: u32 = 8;
const DEFAULT_RETAIN: HumanDuration = HumanDuration(Duration::from_secs(60 * 60));
/// Nodes send their last minute again after a failover, and readers go back two.
const LEAST_RETAIN: HumanDuration = HumanDuration(Duration::from_secs(5 * 60));
const MAX_NAME: usize = 64;

/// The part of this process in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// What it does. Default: `All`.
    pub role: Role,
    /// The name of the cluster. Default: `main`.
    pub name: String,
    /// The name of the node, which no other node of the cluster may have. `None` means the name of the machine.
    pub node: Option<String>,
    /// Address of Redis, with the password; with Sentinels, its host is the name of the master that they watch. Always `Some`
    /// unless the role is `All`.
    pub redis_url: Option<RedisAddress>,
    /// Addresses of the Sentinels; empty for a single Redis.
    pub sentinels: Vec<RedisAddress>,
    /// Certificates in PEM that verify the server, instead of those of the system.
    pub authorities: Option<Vec<u8>>,
    /// The number of partitions, the same on all nodes. Default: 64.
    pub partitions: u16,
    /// The number of nodes that watch a partition. Default: 2.
    pub replicas: usize,
    /// How long Redis keeps klines for those who read. Default: 1 h.
    pub retain: Duration,
}

/// What a process does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Everything, without a cluster.
    #[default]
    All,
    /// It watches its share of the symbols and writes their klines to Redis. It has no consumers.
    Ingest,
    /// It reads klines from Redis and hands them to its consumers.
    Serve,
}

impl Role {
    const CHOICES: [(&'static str, Self); 3] = [("all", Self::All), ("ingest", Self::Ingest), ("serve", Self::Serve)];

    /// Returns the name of the role.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Ingest => "ingest",
            Self::Serve => "serve",
        }
    }
}

impl Config {
    /// Adapts the configuration to the role in a run: an ingest node has no consumers, and the members of a group go on
    /// behind what the group has acknowledged. Without a cluster there are no groups.
    pub fn adapt_to_role(&mut self) {
        match self.cluster.role {
            Role::Ingest => self.consumers.clear(),
            Role::All => self.consumers.iter_mut().for_each(|consumer| consumer.group = Group::Every),
            Role::Serve => {
                let members = self.consumers.iter_mut().filter(|consumer| consumer.group != Group::Every);
                members.for_each(|member| member.replay_on_start = 0);
            }
        }
    }
}

/// The name of a cluster or a node, which is a part of keys in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name(String);

impl Cluster {
    pub(super) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>) -> Self {
        let role = loader.read(section, ROLE, Role::default());
        let name = loader.read(section, NAME, Name("main".to_owned())).value.0;
        let node: Option<Sourced<Name>> = loader.read_optional(section, NODE);
        let redis_url: Option<Sourced<RedisAddress>> = loader.read_optional(section, REDIS_URL);
        let sentinels = loader.read(section, SENTINELS, Vec::<RedisAddress>::new());
        redis::protect_socket(loader, redis_url.as_ref(), "cluster.redis_url");
        let authorities = redis::authorities(loader, section, redis_url.as_ref(), REDIS_URL.name);
        let partitions = loader.read(section, PARTITIONS, DEFAULT_PARTITIONS);
        let replicas = loader.read(section, REPLICAS, DEFAULT_REPLICAS);
        let retain = loader.read(section, RETAIN, DEFAULT_RETAIN);
        check_address(loader, &role, redis_url.as_ref(), &sentinels);
        for (number, most) in [(&partitions, MAX_PARTITIONS), (&replicas, MAX_REPLICAS)] {
            if number.value.get() > most {
                let diagnostic = number.error(format!("{} is too many", number.value));
                loader.report.push(diagnostic.expected(format!("1 to {most}")));
            }
        }
        if retain.value < LEAST_RETAIN {
            let diagnostic = retain.error(format!("{} is too short to resume", retain.value));
            loader.report.push(diagnostic.expected(format!("{LEAST_RETAIN} or more")));
        }
        Self {
            role: role.value,
            name,
            node: node.map(|node| node.value.0),
            redis_url: redis_url.map(|url| url.value),
            sentinels: sentinels.value,
            authorities,
            partitions: u16::try_from(partitions.value.get().min(MAX_PARTITIONS)).unwrap_or_default(),
            replicas: usize::try_from(replicas.value.get().min(MAX_REPLICAS)).unwrap_or_default(),
            retain: retain.value.0,
        }
    }
}

/// Reports a role without an address, and an address without a role.
fn check_address(
    loader: &mut Loader<'_>,
    role: &Sourced<Role>,
    redis_url: Option<&Sourced<RedisAddress>>,
    sentinels: &Sourced<Vec<RedisAddress>>,
) {
    let expected = "redis_url = \"redis://user:password@host:6379\" in [cluster], or the variable CLUSTER_REDIS_URL";
    match (role.value, redis_url) {
        (Role::All, Some(url)) => {
            let warning = url.warning("`redis_url` has no effect: the role is `all`, which uses no Redis");
            loader.report.push(warning.expected("role = \"ingest\" or \"serve\""));
        }
        (Role::Ingest | Role::Serve, None) => {
            let message = format!("the role `{}` needs the address of Redis", role.value.as_str());
            loader.report.push(role.error(message).expected(expected));
        }
        _ => {}
    }
    let local = redis_url.filter(|url| {
        let info = url.value.0.expose().into_connection_info().ok();
        info.is_some_and(|info| matches!(info.addr(), ConnectionAddr::Unix(_)))
    });
    if let Some(url) = local.filter(|_| !sentinels.value.is_empty()) {
        let diagnostic = url.error("Sentinels name the master by host and port, and this is a socket");
        loader.report.push(diagnostic.expected("redis://NAME, where NAME is the name that the Sentinels watch"));
    }
}

impl Scalar for Role {
    const EXPECTED: &'static str = "\"all\", \"ingest\" or \"serve\"";

    fn parse(text: &str) -> Result<Self, Fault> {
        choice(text, &Self::CHOICES, Self::EXPECTED)
    }

    fn show(&self) -> String {
        self.as_str().to_owned()
    }
}

impl Scalar for Name {
    const EXPECTED: &'static str = "1 to 64 letters, digits, `.`, `_` or `-`";

    fn parse(text: &str) -> Result<Self, Fault> {
        let fits = |found: char| found.is_ascii_alphanumeric() || matches!(found, '.' | '_' | '-');
        if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(fits) {
            return Err(Fault::new(format!("`{text}` cannot be a part of keys in Redis"), Self::EXPECTED));
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}
