//! Which addresses may be reached.
//!
//! Looked at in the connector, on the address that is about to be connected to: of a literal in the URL, in whatever form it was
//! written, and of everything that a name resolves to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Which addresses may be reached; set by the cluster admin, never by a destination.
///
/// Addresses of instance metadata services are denied whatever it says. After that `deny`, then `allow`, then the flags decide;
/// every other special-purpose range is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// 127.0.0.0/8 and ::1.
    pub allow_loopback: bool,
    /// 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 and fc00::/7.
    pub allow_private: bool,
    /// Allowed, even where they lie in a special-purpose range.
    pub allow: Vec<Cidr>,
    /// Denied, even where they are public.
    pub deny: Vec<Cidr>,
}

impl Policy {
    /// For a person's own machine: loopback and private ranges are allowed.
    pub fn standalone() -> Policy {
        Policy { allow_loopback: true, allow_private: true, allow: Vec::new(), deny: Vec::new() }
    }

    /// The operator's default: only public addresses.
    pub fn cluster_default() -> Policy {
        Policy { allow_loopback: false, allow_private: false, allow: Vec::new(), deny: Vec::new() }
    }

    /// The policy for Services of the cluster that destinations address by `ref`: their addresses are private ones. What is denied by list
    /// stays denied, as does every other range.
    pub fn for_services(&self) -> Policy {
        Policy { allow_private: true, ..self.clone() }
    }

    /// Whether a connection to this address may be opened.
    pub fn check(&self, ip: IpAddr) -> Result<(), Denied> {
        let canonical = ip.to_canonical();
        let denied = |range| Err(Denied { ip, range });
        if METADATA.contains(&canonical) {
            return denied(Range::Metadata);
        }
        if self.deny.iter().any(|cidr| cidr.contains(canonical)) {
            return denied(Range::Listed);
        }
        if self.allow.iter().any(|cidr| cidr.contains(canonical)) {
            return Ok(());
        }
        match Range::of(canonical) {
            None => Ok(()),
            Some(Range::Loopback) if self.allow_loopback => Ok(()),
            Some(Range::Private) if self.allow_private => Ok(()),
            Some(range) => denied(range),
        }
    }
}

/// Instance metadata services: AWS and most others, AWS tasks, Alibaba, Azure's wire server, AWS over IPv6, Google over IPv6.
const METADATA: [IpAddr; 6] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// An address that may not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address {ip} ({range}) is denied by the address policy; ask the cluster admin to allow it, or use another receiver")]
pub struct Denied {
    /// The address.
    pub ip: IpAddr,
    /// What it belongs to.
    pub range: Range,
}

/// Why an address is special (IANA special-purpose address registries, RFC 6890).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// An instance metadata service.
    Metadata,
    /// A CIDR of [`Policy::deny`].
    Listed,
    /// This host.
    Loopback,
    /// Private, shared (RFC 6598) and unique local addresses.
    Private,
    /// One link.
    LinkLocal,
    /// `0.0.0.0/8` and `::`, which reach this host on many systems.
    Unspecified,
    /// Multicast.
    Multicast,
    /// Broadcast.
    Broadcast,
    /// Examples in texts.
    Documentation,
    /// Benchmarks of network devices.
    Benchmarking,
    /// An IPv4 address inside an IPv6 one: 6to4, Teredo, NAT64, IPv4-compatible.
    Translated,
    /// Everything else that is not globally reachable.
    Reserved,
}

impl Range {
    /// What a canonical address belongs to; `None` for an ordinary public one.
    fn of(ip: IpAddr) -> Option<Range> {
        let (table, width): (&[(u128, u32, Range)], u32) = match ip {
            IpAddr::V4(_) => (V4, 32),
            IpAddr::V6(_) => (V6, 128),
        };
        let bits = bits(ip);
        let found = table.iter().find(|(network, prefix, _)| (bits ^ network).checked_shr(width - prefix).unwrap_or(0) == 0);
        match (found, ip) {
            (Some((_, _, range)), _) => Some(*range),
            // only 2000::/3 has been given out
            (None, IpAddr::V6(_)) if bits >> 125 != 1 => Some(Range::Reserved),
            (None, _) => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Range::Metadata => "instance metadata",
            Range::Listed => "listed as denied",
            Range::Loopback => "loopback",
            Range::Private => "private",
            Range::LinkLocal => "link-local",
            Range::Unspecified => "unspecified",
            Range::Multicast => "multicast",
            Range::Broadcast => "broadcast",
            Range::Documentation => "documentation",
            Range::Benchmarking => "benchmarking",
            Range::Translated => "IPv4 inside IPv6",
            Range::Reserved => "reserved",
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Special ranges of IPv4: network, prefix length, what it is. The first match counts.
const V4: &[(u128, u32, Range)] = &[
    (v4(0, 0, 0, 0), 8, Range::Unspecified),
    (v4(10, 0, 0, 0), 8, Range::Private),
    (v4(100, 64, 0, 0), 10, Range::Private),
    (v4(127, 0, 0, 0), 8, Range::Loopback),
    (v4(169, 254, 0, 0), 16, Range::LinkLocal),
    (v4(172, 16, 0, 0), 12, Range::Private),
    (v4(192, 0, 0, 0), 24, Range::Reserved),
    (v4(192, 0, 2, 0), 24, Range::Documentation),
    (v4(192, 88, 99, 0), 24, Range::Translated),
    (v4(192, 168, 0, 0), 16, Range::Private),
    (v4(198, 18, 0, 0), 15, Range::Benchmarking),
    (v4(198, 51, 100, 0), 24, Range::Documentation),
    (v4(203, 0, 113, 0), 24, Range::Documentation),
    (v4(224, 0, 0, 0), 4, Range::Multicast),
    (v4(255, 255, 255, 255), 32, Range::Broadcast),
    (v4(240, 0, 0, 0), 4, Range::Reserved),
];

/// Special ranges of IPv6, likewise. IPv4-mapped addresses were made IPv4 before.
const V6: &[(u128, u32, Range)] = &[
    (v6(0, 0, 0), 128, Range::Unspecified),
    (1, 128, Range::Loopback),
    (v6(0, 0, 0), 96, Range::Translated),
    (v6(0x64, 0xff9b, 0), 96, Range::Translated),
    (v6(0x64, 0xff9b, 1), 48, Range::Translated),
    (v6(0x2001, 0, 0), 32, Range::Translated),
    (v6(0x2001, 2, 0), 48, Range::Benchmarking),
    (v6(0x2001, 0xdb8, 0), 32, Range::Documentation),
    (v6(0x2001, 0, 0), 23, Range::Reserved),
    (v6(0x2002, 0, 0), 16, Range::Translated),
    (v6(0x3fff, 0, 0), 20, Range::Documentation),
    (v6(0xfc00, 0, 0), 7, Range::Private),
    (v6(0xfe80, 0, 0), 10, Range::LinkLocal),
    (v6(0xff00, 0, 0), 8, Range::Multicast),
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> u128 {
    u32::from_be_bytes([a, b, c, d]) as u128
}

const fn v6(a: u16, b: u16, c: u16) -> u128 {
    (a as u128) << 112 | (b as u128) << 96 | (c as u128) << 80
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// A range of addresses, written as `10.0.0.0/8` or `fd00::/8`; a lone address is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Whether the address lies in the range.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let shift = width(self.network) - u32::from(self.prefix);
        self.network.is_ipv4() == ip.is_ipv4() && (bits(self.network) ^ bits(ip)).checked_shr(shift).unwrap_or(0) == 0
    }
}

fn width(ip: IpAddr) -> u32 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// Not a range of addresses.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a range of addresses: write it as 10.0.0.0/8 or fd00::/8, with no bit set behind the prefix")]
pub struct NotACidr(pub String);

impl FromStr for Cidr {
    type Err = NotACidr;

    fn from_str(text: &str) -> Result<Cidr, NotACidr> {
        let wrong = || NotACidr(text.to_owned());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let network: IpAddr = address.parse().map_err(|_| wrong())?;
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| wrong())?,
            None => width(network) as u8,
        };
        let host_bits = width(network).checked_sub(u32::from(prefix)).ok_or_else(wrong)?;
        let behind = 1u128.checked_shl(host_bits).map_or(u128::MAX, |bit| bit - 1);
        if bits(network) & behind != 0 || network.to_canonical() != network {
            return Err(wrong());
        }
        Ok(Cidr { network, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(policy: &Policy, ip: &str) -> Option<Range> {
        policy.check(ip.parse().expect("an address")).err().map(|denied| denied.range)
    }

    #[test]
    fn a_cluster_reaches_only_public_addresses() {
        let table = [
            (
                Range::Metadata,
                "169.254.169.254 169.254.170.2 100.100.100.200 168.63.129.16 fd00:ec2::254 fd20:ce::254 ::ffff:169.254.169.254",
            ),
            (Range::Loopback, "127.0.0.1 127.255.255.254 ::1 ::ffff:127.0.0.1"),
            (
                Range::Private,
                "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 100.127.255.255 fc00::1 fd12:3456::1 ::ffff:10.0.0.1",
            ),
            (Range::LinkLocal, "169.254.0.1 169.254.169.253 fe80::1 febf::1"),
            (Range::Unspecified, "0.0.0.0 0.1.2.3 ::"),
            (Range::Multicast, "224.0.0.1 239.255.255.255 ff02::1"),
            (Range::Broadcast, "255.255.255.255"),
            (Range::Documentation, "192.0.2.1 198.51.100.1 203.0.113.1 2001:db8::1 3fff::1 3fff:fff:ffff::1"),
            (Range::Benchmarking, "198.18.0.1 198.19.255.255 2001:2::1"),
            (Range::Translated, "64:ff9b::7f00:1 64:ff9b:1::1 2002:7f00:1::1 2001::1 ::127.0.0.1 ::169.254.169.254 192.88.99.1"),
            (Range::Reserved, "192.0.0.1 192.0.0.192 240.0.0.1 2001:10::1 2001:20::1 fec0::1 100::1 5f00::1 4000::1"),
        ];
        for (expected, addresses) in table {
            for ip in addresses.split(' ') {
                assert_eq!(range(&Policy::cluster_default(), ip), Some(expected), "{ip}");
            }
        }
        for ip in "1.1.1.1 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 172.15.255.255 172.32.0.1 192.0.1.1 223.255.255.255 \
                   2606:4700::1111 2001:200::1 2003::1 2a00:1450::1"
            .split_whitespace()
        {
            assert_eq!(range(&Policy::cluster_default(), ip), None, "{ip}");
        }
    }

    #[test]
    fn standalone_reaches_loopback_and_private_addresses_but_no_metadata() {
        let policy = Policy::standalone();
        for ip in "127.0.0.1 ::1 ::ffff:127.0.0.1 10.0.0.1 172.16.0.1 192.168.1.1 100.64.0.1 fd12::1 1.1.1.1".split(' ') {
            assert_eq!(range(&policy, ip), None, "{ip}");
        }
        for ip in "169.254.169.254 fd00:ec2::254 0.0.0.0 169.254.0.1 224.0.0.1 64:ff9b::7f00:1".split(' ') {
            assert!(range(&policy, ip).is_some(), "{ip}");
        }
    }

    #[test]
    fn the_lists_of_the_admin_decide_before_the_ranges() {
        let cidrs = |text: &str| text.split(' ').map(|cidr| cidr.parse().expect("a range")).collect::<Vec<Cidr>>();
        let policy =
            Policy { allow: cidrs("10.1.0.0/16 169.254.0.0/16 fd00::/8"), deny: cidrs("10.1.2.3 8.8.0.0/16"), ..Policy::cluster_default() };
        assert_eq!(range(&policy, "10.1.0.1"), None);
        assert_eq!(range(&policy, "::ffff:10.1.0.1"), None);
        assert_eq!(range(&policy, "10.2.0.1"), Some(Range::Private));
        assert_eq!(range(&policy, "10.1.2.3"), Some(Range::Listed));
        assert_eq!(range(&policy, "::ffff:8.8.8.8"), Some(Range::Listed));
        assert_eq!(range(&policy, "169.254.1.1"), None);
        assert_eq!(range(&policy, "169.254.169.254"), Some(Range::Metadata));
        assert_eq!(range(&policy, "fd00:ec2::254"), Some(Range::Metadata));
    }

    #[test]
    fn a_service_may_have_a_private_address_and_no_other_special_one() {
        let policy = Policy { deny: vec!["10.1.0.0/16".parse().expect("a range")], ..Policy::cluster_default() }.for_services();
        for ip in "10.96.0.1 172.20.0.1 192.168.1.1 100.64.0.1 fd00::1 1.1.1.1".split(' ') {
            assert_eq!(range(&policy, ip), None, "{ip}");
        }
        for ip in "127.0.0.1 ::1 169.254.169.254 169.254.0.1 fd00:ec2::254 fe80::1 0.0.0.0 224.0.0.1 64:ff9b::a00:1 10.1.2.3".split(' ') {
            assert!(range(&policy, ip).is_some(), "{ip}");
        }
    }

    #[test]
    fn what_is_no_range_of_addresses_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0.1/8", "10.0.0/8", "::/129", "fd00::1/8", "10.0.0.0/", "10.0.0.0/-1", "::ffff:10.0.0.0/104"]
        {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        assert!("0.0.0.0/0".parse::<Cidr>().expect("a range").contains([8, 8, 8, 8].into()));
        assert!("::/0".parse::<Cidr>().expect("a range").contains(Ipv6Addr::LOCALHOST.into()));
    }

    proptest! {
        #[test]
        fn a_mapped_address_is_judged_like_the_one_it_stands_for(bits: u32) {
            let ip = Ipv4Addr::from_bits(bits);
            let judged = |ip: IpAddr| Policy::cluster_default().check(ip).map_err(|denied| denied.range);
            prop_assert_eq!(judged(ip.into()), judged(ip.to_ipv6_mapped().into()));
        }
    }
}
