//! Addresses of both worlds and the map between them (RFC 7247 §6, XEP-0106).

/// An XMPP address in parts (RFC 7622). The parts are kept as the peer wrote them, unescaped nowhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Jid {
    /// Localpart, in its XEP-0106 escaped form.
    pub local: Option<String>,
    /// Domainpart.
    pub domain: String,
    /// Resourcepart.
    pub resource: Option<String>,
}

/// `sip` or one of its relatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Scheme {
    /// `sip:`
    #[default]
    Sip,
    /// `sips:`: never translated (RFC 7247 §8).
    Sips,
    /// `im:` (RFC 3860)
    Im,
    /// `pres:` (RFC 3859)
    Pres,
}

/// The parts of a SIP URI that are an address (RFC 7247 §6.3): no port, no transport, no password, no headers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SipAddress {
    /// Scheme.
    pub scheme: Scheme,
    /// User part as on the wire, percent-encoded.
    pub user: Option<String>,
    /// Host as on the wire; IPv6 literals in brackets.
    pub host: String,
    /// `gr` value as on the wire, percent-encoded. A `gr` without value is no address part (ADDR-12).
    pub gr: Option<String>,
}
