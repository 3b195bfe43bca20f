//! Which addresses anybody may be sent to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks within IPv4 that are not for everybody (RFC 6890), beyond those that the standard library knows.
const SPECIAL_V4: &[(Ipv4Addr, u32)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Networks within the global unicast of IPv6 that are for documentation, or hide an IPv4 address.
const SPECIAL_V6: &[(Ipv6Addr, u32)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Whether the address is a host's on the public Internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let special = |(base, prefix): &(Ipv4Addr, u32)| {
                address.to_bits() >> (32 - prefix) == base.to_bits() >> (32 - prefix)
            };
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_documentation()
                || SPECIAL_V4.iter().any(special))
        }
        IpAddr::V6(address) => {
            let special = |(base, prefix): &(Ipv6Addr, u32)| {
                address.to_bits() >> (128 - prefix) == base.to_bits() >> (128 - prefix)
            };
            address.to_bits() >> 125 == 1 && !SPECIAL_V6.iter().any(special)
        }
    }
}
