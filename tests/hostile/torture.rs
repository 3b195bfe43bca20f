//! The torture messages of RFC 4475 and RFC 5118: each of them is among the files that are played, with the verdict of its
//! section.

use std::collections::BTreeSet;

use crate::corpus::cases;

/// RFC and section, file, and what may become of it. `accept` means that it is read; what it asks for may be refused, since it
/// is about other people's users and methods. `tolerate` leaves it to the reader.
#[rustfmt::skip]
const MESSAGES: &[(&str, &str, &str)] = &[
    ("4475 3.1.1.1", "rfc4475-wsinv", "accept"),
    ("4475 3.1.1.2", "rfc4475-intmeth", "accept"),
    ("4475 3.1.1.3", "rfc4475-esc01", "accept"),
    ("4475 3.1.1.4", "rfc4475-escnull", "accept"),
    ("4475 3.1.1.5", "rfc4475-esc02", "accept"),
    ("4475 3.1.1.6", "rfc4475-lwsdisp", "accept"),
    ("4475 3.1.1.7", "rfc4475-longreq", "accept"),
    ("4475 3.1.1.8", "rfc4475-dblreq", "accept"),
    ("4475 3.1.1.9", "rfc4475-semiuri", "accept"),
    ("4475 3.1.1.10", "rfc4475-transports", "accept"),
    ("4475 3.1.1.11", "rfc4475-mpart01", "accept"),
    ("4475 3.1.1.12", "rfc4475-unreason", "ignore"),
    ("4475 3.1.1.13", "rfc4475-noreason", "ignore"),
    ("4475 3.1.2.1", "rfc4475-badinv01", "reject:400"),
    ("4475 3.1.2.2", "rfc4475-clerr", "reject:400"),
    ("4475 3.1.2.3", "rfc4475-ncl", "reject:400|close"),
    ("4475 3.1.2.4", "rfc4475-scalar02", "reject:400"),
    ("4475 3.1.2.5", "rfc4475-scalarlg", "ignore"),
    ("4475 3.1.2.6", "rfc4475-quotbal", "reject:400"),
    ("4475 3.1.2.7", "rfc4475-ltgtruri", "reject:400"),
    ("4475 3.1.2.8", "rfc4475-lwsruri", "reject:400"),
    ("4475 3.1.2.9", "rfc4475-lwsstart", "reject:400"),
    ("4475 3.1.2.10", "rfc4475-trws", "reject:400"),
    ("4475 3.1.2.11", "rfc4475-escruri", "reject:400"),
    ("4475 3.1.2.12", "rfc4475-baddate", "tolerate"),
    ("4475 3.1.2.13", "rfc4475-regbadct", "reject:400"),
    ("4475 3.1.2.14", "rfc4475-badaspec", "reject:400|accept"),
    ("4475 3.1.2.15", "rfc4475-baddn", "reject:400|accept"),
    ("4475 3.1.2.16", "rfc4475-badvers", "reject:505"),
    ("4475 3.1.2.17", "rfc4475-mismatch01", "reject:400"),
    ("4475 3.1.2.18", "rfc4475-mismatch02", "reject:400,501"),
    ("4475 3.1.2.19", "rfc4475-bigcode", "ignore"),
    ("4475 3.2.1", "rfc4475-badbranch", "tolerate"),
    ("4475 3.3.1", "rfc4475-insuf", "reject:400"),
    ("4475 3.3.2", "rfc4475-unkscm", "reject:416"),
    ("4475 3.3.3", "rfc4475-novelsc", "reject:416"),
    ("4475 3.3.4", "rfc4475-unksm2", "tolerate"),
    ("4475 3.3.5", "rfc4475-bext01", "reject:420"),
    ("4475 3.3.6", "rfc4475-invut", "reject:415"),
    ("4475 3.3.7", "rfc4475-regaut01", "tolerate"),
    ("4475 3.3.8", "rfc4475-multi01", "reject:400"),
    ("4475 3.3.9", "rfc4475-mcl01", "reject:400|close"),
    ("4475 3.3.10", "rfc4475-bcast", "ignore"),
    ("4475 3.3.11", "rfc4475-zeromf", "reject:483,200"),
    ("4475 3.3.12", "rfc4475-cparam01", "accept"),
    ("4475 3.3.13", "rfc4475-cparam02", "accept"),
    ("4475 3.3.14", "rfc4475-regescrt", "accept"),
    ("4475 3.3.15", "rfc4475-sdp01", "accept"),
    ("4475 3.4.1", "rfc4475-inv2543", "accept"),
    ("5118 4.1", "rfc5118-ipv6-good", "accept"),
    ("5118 4.2", "rfc5118-ipv6-bad", "reject:400|ignore"),
    ("5118 4.3", "rfc5118-port-ambiguous", "accept"),
    ("5118 4.4", "rfc5118-port-unambiguous", "accept"),
    ("5118 4.5", "rfc5118-via-received-param-with-delim", "accept"),
    ("5118 4.5", "rfc5118-via-received-param-no-delim", "accept"),
    ("5118 4.6", "rfc5118-ipv6-in-sdp", "accept"),
    ("5118 4.7", "rfc5118-mult-ip-in-header", "accept"),
    ("5118 4.8", "rfc5118-mult-ip-in-sdp", "accept"),
    ("5118 4.9", "rfc5118-ipv4-mapped-ipv6", "accept"),
    ("5118 4.10", "rfc5118-ipv6-bug-abnf-3-colons", "accept"),
    ("5118 4.10", "rfc5118-ipv6-correct-abnf-2-colons", "accept"),
];

#[test]
fn every_torture_message_is_played_with_the_verdict_of_its_section() {
    let cases = cases("sip");
    for (section, name, verdict) in MESSAGES {
        let case = cases.iter().find(|case| case.name == *name);
        let case = case.unwrap_or_else(|| panic!("no file {name} (RFC {section})"));
        assert_eq!(case.expected, *verdict, "{name} (RFC {section})");
        assert!(case.is_for("udp") && case.is_for("tcp"), "{name} is played");
        assert!(!case.octets.is_empty(), "{name}");
    }
    let named: BTreeSet<&str> = MESSAGES.iter().map(|(_, name, _)| *name).collect();
    let of = |rfc: &str| named.iter().filter(|name| name.starts_with(rfc)).count();
    assert_eq!((of("rfc4475-"), of("rfc5118-")), (49, 12), "all there are");
    let others = cases.iter().filter(|case| case.name.starts_with("rfc"));
    let others: Vec<&str> = others
        .map(|case| case.name.as_str())
        .filter(|name| !named.contains(name))
        .collect();
    assert!(others.is_empty(), "in no section: {others:?}");
}
