//! Classifies an address by its network. The caller decides whether the address may be used.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The network of an address, from harmless to dangerous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// The public internet.
    Public,
    /// This machine, or a private network.
    Private,
    /// Addresses to which no name should resolve: link-local, metadata of a cloud, multicast, reserved.
    Special,
}

/// Metadata servers of clouds whose addresses are in ordinary ranges.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

impl Reach {
    /// Classifies an address. An IPv6 address that embeds IPv4 addresses gets the most dangerous class of all.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        let own = if METADATA.contains(&address) {
            Self::Special
        } else {
            match address {
                IpAddr::V4(address) => of_v4(address),
                IpAddr::V6(address) => of_v6(address),
            }
        };
        let inner = match address {
            IpAddr::V6(address) => embedded(address).into_iter().flatten().map(|inner| Self::of(inner.into())).max(),
            IpAddr::V4(_) => None,
        };
        inner.map_or(own, |inner| inner.max(own))
    }
}

fn of_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        [0 | 224..=255, ..] | [169, 254, ..] | [192, 0, 0 | 2, _] | [192, 88, 99, _] => Reach::Special,
        [198, 51, 100, _] | [203, 0, 113, _] => Reach::Special,
        [10 | 127, ..] | [100, 64..=127, ..] | [172, 16..=31, ..] | [192, 168, ..] => Reach::Private,
        [198, 18 | 19, ..] => Reach::Private,
        _ => Reach::Public,
    }
}

/// Classifies an IPv6 range alone. Ranges that embed IPv4 are public here; the embedded address decides.
fn of_v6(address: Ipv6Addr) -> Reach {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Private,
        // IPv4-mapped, and the well-known prefix of NAT64.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Reach::Public,
        [0x64, 0xff9b, 1, ..] | [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Reach::Private,
        // Benchmarks, ORCHID, documentation.
        [0x2001, 2, 0, ..] | [0x2001, 0x10..=0x3f, ..] | [0x2001, 0xdb8, ..] => Reach::Special,
        [0x3fff, 0..=0xfff, ..] => Reach::Special,
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => Reach::Special,
    }
}

/// Returns the IPv4 addresses that packets to this IPv6 address may reach.
fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let join = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match address.segments() {
        // `::1` and `::` embed no IPv4 address.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [None, None],
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, _, _, _, _, high, low] => [join(high, low), None],
        [0x2002, high, low, ..] => [join(high, low), None],
        // Teredo: the server, and the client with all bits inverted.
        [0x2001, 0, high, low, _, _, client_high, client_low] => [join(high, low), join(!client_high, !client_low)],
        // ISATAP.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => [join(high, low), None],
        _ => [None, None],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_classified_by_the_network_that_they_reach() {
        for (reach, addresses) in [
            (Reach::Public, &["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111"][..]),
            (Reach::Public, &["::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1", "192.0.1.1"]),
            (Reach::Private, &["127.0.0.1", "127.255.0.9", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"]),
            (Reach::Private, &["100.64.0.1", "198.18.0.1", "::1", "fc00::1", "fd12::1", "fec0::1", "64:ff9b:1::a00:1"]),
            (
                Reach::Private,
                &["::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::1"],
            ),
            (Reach::Private, &["2001:0:101:101::f5ff:fffe", "2606:4700::5efe:10.0.0.1"]),
            (Reach::Special, &["0.0.0.0", "0.1.2.3", "169.254.169.254", "224.0.0.1", "240.0.0.1", "255.255.255.255"]),
            (
                Reach::Special,
                &["::", "fe80::1", "ff02::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "::127.0.0.1"],
            ),
            (
                Reach::Special,
                &["2002:a9fe:a9fe::", "2001:db8::1", "100::1", "192.0.0.192", "203.0.113.5", "::ffff:0.0.0.0"],
            ),
            (Reach::Special, &["168.63.129.16", "100.100.100.200", "fd00:ec2::254", "::ffff:168.63.129.16"]),
        ] {
            for address in addresses {
                assert_eq!(Reach::of(address.parse().unwrap()), reach, "{address}");
            }
        }
    }
}
