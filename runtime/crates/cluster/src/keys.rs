//! The names of all keys in Redis. The keys of one call share a hash tag, so that they are on one node of a Redis Cluster.
//! `docs/cluster.md` has the same table.

use crate::member::Name;
use crate::partition::Partition;
use crate::version::Bucket;

/// The keys of what all nodes share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterKeys {
    /// A hash: the process, the token and the description of each member.
    pub members: String,
    /// A sorted set: when the lease of each member is over.
    pub leases: String,
    /// A hash: the generation of the view, and the last token.
    pub meta: String,
    tag: String,
}

impl ClusterKeys {
    /// Builds the keys of a cluster.
    #[must_use]
    pub fn new(cluster: &Name) -> Self {
        let tag = format!("klines:{cluster}");
        let key = |kind: &str| format!("{{{tag}}}:{kind}");
        Self { members: key("members"), leases: key("leases"), meta: key("meta"), tag }
    }

    /// Returns the keys of a partition.
    #[must_use]
    pub fn partition(&self, partition: Partition) -> PartitionKeys {
        let base = format!("{{{}:{partition}}}", self.tag);
        let key = |kind: &str| format!("{base}:{kind}");
        PartitionKeys {
            meta: key("meta"),
            holders: key("holders"),
            series: key("series"),
            stream: key("stream"),
            groups: key("groups"),
            updates: key("updates"),
            base,
        }
    }
}

/// The keys of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionKeys {
    /// A hash: epoch, replication id, the last token, and counts.
    pub meta: String,
    /// A hash: the lease of each holder.
    pub holders: String,
    /// A hash: the last sequence of each series.
    pub series: String,
    /// A stream: what was published.
    pub stream: String,
    /// A hash: the lease and the position of each group.
    pub groups: String,
    /// A channel: updates of open windows.
    pub updates: String,
    base: String,
}

impl PartitionKeys {
    /// Returns the hash that has the state of the consumer of a group.
    #[must_use]
    pub fn state(&self, group: &Name) -> String {
        format!("{}:state:{group}", self.base)
    }

    /// Returns the hash that has the versions of the klines of a bucket.
    #[must_use]
    pub fn bucket(&self, bucket: Bucket) -> String {
        format!("{}:{}:{}", self.base, bucket.class.as_str(), bucket.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::Partitions;
    use crate::version::Class;

    #[test]
    fn the_keys_of_a_partition_have_one_hash_tag_that_no_other_partition_has() {
        let keys = ClusterKeys::new(&Name::new("main").unwrap());
        assert_eq!((keys.members.as_str(), keys.leases.as_str()), ("{klines:main}:members", "{klines:main}:leases"));
        let of = keys.partition(Partitions::default().get(7).unwrap());
        assert_eq!((of.stream.as_str(), of.groups.as_str()), ("{klines:main:7}:stream", "{klines:main:7}:groups"));
        assert_eq!(of.state(&Name::new("rsi").unwrap()), "{klines:main:7}:state:rsi");
        assert_eq!(of.bucket(Bucket { class: Class::Short, number: 42 }), "{klines:main:7}:short:42");
    }
}
