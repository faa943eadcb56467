//! Accepts public addresses only, so that a webhook cannot reach the internal network.

use std::{
    error::Error,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use ipnet::{Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

/// IPv4 networks that are not the public internet (the IANA special-purpose registry, multicast, and 6to4 relays).
const NOT_PUBLIC_V4: [Ipv4Net; 15] = [
    v4([0, 0, 0, 0], 8),       // "this" network, the unspecified address
    v4([10, 0, 0, 0], 8),      // private
    v4([100, 64, 0, 0], 10),   // shared by carriers (CGNAT)
    v4([127, 0, 0, 0], 8),     // loopback
    v4([169, 254, 0, 0], 16),  // link-local, instance metadata
    v4([172, 16, 0, 0], 12),   // private
    v4([192, 0, 0, 0], 24),    // protocol assignments
    v4([192, 0, 2, 0], 24),    // documentation
    v4([192, 88, 99, 0], 24),  // 6to4 relays
    v4([192, 168, 0, 0], 16),  // private
    v4([198, 18, 0, 0], 15),   // benchmarks
    v4([198, 51, 100, 0], 24), // documentation
    v4([203, 0, 113, 0], 24),  // documentation
    v4([224, 0, 0, 0], 4),     // multicast
    v4([240, 0, 0, 0], 4),     // reserved, broadcast
];

/// All public IPv6 addresses are in this network.
const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0], 3);

/// Networks inside [`GLOBAL_UNICAST`] that are not the public internet.
const NOT_PUBLIC_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0, 0, 0], 23),      // protocol assignments, Teredo
    v6([0x2001, 0x0db8, 0, 0], 32), // documentation
    v6([0x2002, 0, 0, 0], 16),      // 6to4
    v6([0x3fff, 0, 0, 0], 20),      // documentation
];

/// In this network, a NAT64 gateway translates to the IPv4 address in the last four bytes.
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0], 96);

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6([a, b, c, d]: [u16; 4], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix)
}

/// Returns `true` if an address is not on the public internet and is therefore refused.
pub(crate) fn address_refused(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => v4_refused(address),
        IpAddr::V6(address) => embedded_v4(address).map_or_else(|| v6_refused(address), v4_refused),
    }
}

fn v4_refused(address: Ipv4Addr) -> bool {
    NOT_PUBLIC_V4.iter().any(|network| network.contains(&address))
}

fn v6_refused(address: Ipv6Addr) -> bool {
    !GLOBAL_UNICAST.contains(&address) || NOT_PUBLIC_V6.iter().any(|network| network.contains(&address))
}

/// Returns the IPv4 address inside an IPv6 address that is mapped or behind NAT64.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b, c, d] = address.octets();
    address.to_ipv4_mapped().or_else(|| NAT64.contains(&address).then(|| Ipv4Addr::new(a, b, c, d)))
}

/// A host without a public address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AddressRefused {
    pub(crate) host: String,
}

impl AddressRefused {
    /// Error kind in the record.
    pub(crate) const KIND: &str = "address_refused";
}

impl fmt::Display for AddressRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no public address; WEBHOOK_ALLOW_PRIVATE=1 permits internal receivers", self.host)
    }
}

impl Error for AddressRefused {}

/// Resolves names to their public addresses only.
///
/// The connection uses an address that this resolver returned, so a name cannot change between check and use.
pub(crate) struct PublicResolver;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(public_only(name.as_str(), found)?.into_iter()) as Addrs)
        })
    }
}

fn public_only(host: &str, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, AddressRefused> {
    let public: Vec<_> = found.filter(|address| !address_refused(address.ip())).collect();
    if public.is_empty() { Err(AddressRefused { host: host.to_owned() }) } else { Ok(public) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(address: &str) -> bool {
        address_refused(address.parse().unwrap())
    }

    const INSIDE: &str = "
        0.0.0.0 10.1.2.3 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 172.31.255.255
        192.0.0.8 192.0.2.1 192.88.99.1 192.168.1.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255
        240.0.0.1 255.255.255.255 :: ::1 ::7f00:1 fe80::1 fec0::1 fc00::1 fd00:ec2::254 ff02::1 100::1 5f00::1 2001::1
        2001:db8::1 2002:7f00:1:: 3fff::1 64:ff9b:1::1
    ";

    const PUBLIC: &str = "
        1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.0 172.15.0.1 172.32.0.1 192.0.1.1 198.17.0.1 223.255.255.255
        2606:4700::1111 2a00:1450:4001::1 2600:1f18::1
    ";

    #[test]
    fn internal_addresses_are_refused() {
        for address in INSIDE.split_whitespace() {
            assert!(refused(address), "{address}");
        }
    }

    #[test]
    fn public_addresses_are_allowed() {
        for address in PUBLIC.split_whitespace() {
            assert!(!refused(address), "{address}");
        }
    }

    #[test]
    fn an_embedded_ipv4_address_is_judged_as_itself() {
        for embedding in ["::ffff:", "64:ff9b::"] {
            assert!(refused(&format!("{embedding}127.0.0.1")), "{embedding}");
            assert!(refused(&format!("{embedding}169.254.169.254")), "{embedding}");
            assert!(!refused(&format!("{embedding}8.8.8.8")), "{embedding}");
        }
    }

    #[test]
    fn a_name_keeps_its_public_addresses_only() {
        let found = ["10.0.0.1:0", "8.8.8.8:0", "[::1]:0"].map(|address| address.parse().unwrap());
        assert_eq!(public_only("mixed.example", found.into_iter()), Ok(vec!["8.8.8.8:0".parse().unwrap()]));
    }

    #[test]
    fn a_name_without_a_public_address_is_refused() {
        let found = ["10.0.0.1:0", "[::1]:0"].map(|address| address.parse().unwrap());
        assert!(public_only("inside.example", found.into_iter()).is_err());
    }
}
