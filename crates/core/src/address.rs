//! Addresses of both worlds and the map between them (RFC 7247 §6, XEP-0106).
//!
//! The map is one to one on canonical addresses: a canonical JID goes to a URI and back to itself, and two
//! different canonical JIDs never share a URI. What cannot keep that promise is refused, never bent.

use std::fmt;
use std::str::FromStr;

use crate::failure::{Failure, Local};

mod classes;
mod host;
mod localpart;
mod percent;

/// Largest size of one part of a JID in octets (RFC 7622 §3.2 to §3.4).
pub const MAX_PART: usize = 1023;

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

/// Why an address is none, or has no counterpart. The fault is with whoever wrote the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AddressError {
    /// A part is there and empty.
    #[error("a part of the address is empty")]
    EmptyPart,
    /// A part is longer than [`MAX_PART`] octets.
    #[error("a part of the address is longer than {MAX_PART} octets")]
    TooLong,
    /// A part holds a character that it may not hold.
    #[error("the address holds a character that it may not hold")]
    Forbidden,
    /// A `%` without two hexadecimal digits.
    #[error("the address holds a broken percent triplet")]
    BrokenTriplet,
    /// Octets that are no UTF-8.
    #[error("the address is not UTF-8")]
    NotUtf8,
    /// A space first or last in a user part (XEP-0106 §4.1).
    #[error("the user part begins or ends with a space")]
    SpaceAtEdge,
    /// A combining mark that would join with an escape sequence: the address would not survive the way back.
    #[error("the user part changes when it is normalised")]
    Unstable,
    /// No domain name and no IP literal.
    #[error("the host is neither a domain name nor an IP literal")]
    BadHost,
    /// A scheme that is not translated (RFC 7247 §8).
    #[error("sips addresses are not translated")]
    Untranslated,
}

impl AddressError {
    /// The SIP status for a request that names the address: the one place where it is chosen.
    #[must_use]
    pub fn sip_code(self) -> u16 {
        match self {
            Self::Untranslated => 416,
            Self::EmptyPart
            | Self::TooLong
            | Self::Forbidden
            | Self::BrokenTriplet
            | Self::NotUtf8
            | Self::SpaceAtEdge
            | Self::Unstable
            | Self::BadHost => 400,
        }
    }
}

impl From<AddressError> for Failure {
    fn from(_: AddressError) -> Self {
        Self::Local(Local::BadAddress)
    }
}

impl Jid {
    /// Splits and checks an address: at the first slash, then at the first at-sign (RFC 7622 §3.1).
    ///
    /// # Errors
    /// An empty, over-long or malformed part; the answer to its writer is `jid-malformed`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (bare, resource) = match text.split_once('/') {
            Some((bare, resource)) => (bare, Some(resource)),
            None => (text, None),
        };
        let (local, domain) = match bare.split_once('@') {
            Some((local, domain)) => (Some(local), domain),
            None => (None, bare),
        };
        let jid = Self {
            local: local.map(str::to_owned),
            domain: domain.to_owned(),
            resource: resource.map(str::to_owned),
        };
        jid.check()?;
        Ok(jid)
    }

    /// Checks the parts (RFC 7622 §3.2 to §3.4).
    ///
    /// # Errors
    /// As [`Jid::parse`].
    pub fn check(&self) -> Result<(), AddressError> {
        if let Some(local) = &self.local {
            localpart::check(local)?;
        }
        if self.domain.len() > MAX_PART {
            return Err(AddressError::TooLong);
        }
        host::to_ascii(&self.domain)?;
        match &self.resource {
            Some(resource) => check_resource(resource),
            None => Ok(()),
        }
    }

    /// Without the resource.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self {
            local: self.local.clone(),
            domain: self.domain.clone(),
            resource: None,
        }
    }

    /// With this resource.
    #[must_use]
    pub fn with_resource(&self, resource: &str) -> Self {
        Self {
            resource: Some(resource.to_owned()),
            ..self.bare()
        }
    }

    /// The one spelling of all equal addresses: localpart and domain in lower case and NFC, the domain in U-labels,
    /// escapes only where XEP-0106 wants them. Parts that are malformed stay as folded. The resource stays.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let local = self.local.as_deref().map(|local| {
            localpart::to_text(local)
                .and_then(|text| localpart::from_text(&text))
                .unwrap_or_else(|_| localpart::fold(local))
        });
        Self {
            local,
            domain: canonical_domain(&self.domain),
            resource: self.resource.clone(),
        }
    }

    /// What the spellings of one address at all servers have in common: to find what an answer is about, never to write to.
    /// The resource stays. A server that prepares localparts by Nodeprep (RFC 6122 appendix A) answers for `weiß` as `weiss`, one that
    /// does as RFC 7622 wants does not.
    #[must_use]
    pub fn match_key(&self) -> Self {
        let canonical = self.canonical();
        Self {
            local: canonical.local.map(localpart::match_key),
            ..canonical
        }
    }

    /// As an `xmpp:` URI (RFC 5122), for `gone` and `redirect`.
    #[must_use]
    pub fn to_uri(&self) -> String {
        format!(
            "xmpp:{}",
            percent::encode(&self.to_string(), classes::XMPP_URI)
        )
    }

    /// Reads an `xmpp:` URI, its query and fragment left aside.
    ///
    /// # Errors
    /// Another scheme ([`AddressError::Untranslated`]), or no JID in it.
    pub fn from_uri(uri: &str) -> Result<Self, AddressError> {
        let uri = uri.trim();
        let path = match uri.split_once(':') {
            Some((scheme, path)) if scheme.eq_ignore_ascii_case("xmpp") => path,
            _ => return Err(AddressError::Untranslated),
        };
        let path = path.split(['?', '#']).next().unwrap_or_default();
        Self::parse(&percent::decode(path)?)
    }
}

impl fmt::Display for Jid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(local) = &self.local {
            write!(out, "{local}@")?;
        }
        out.write_str(&self.domain)?;
        match &self.resource {
            Some(resource) => write!(out, "/{resource}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Jid {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

impl Scheme {
    /// The scheme's name, without the colon.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sip => "sip",
            Self::Sips => "sips",
            Self::Im => "im",
            Self::Pres => "pres",
        }
    }

    fn plain_in_user(self) -> &'static [u8] {
        match self {
            Self::Sip | Self::Sips => classes::SIP_USER,
            Self::Im | Self::Pres => classes::IM_USER,
        }
    }
}

impl SipAddress {
    /// Without the `gr` parameter: the address of record.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self {
            gr: None,
            ..self.clone()
        }
    }

    /// The one spelling of all addresses that are the same user here: scheme `sip`, the host in lower-case A-labels, the
    /// user part folded as JIDs are and encoded only where RFC 3261 wants it. Parts that are malformed stay.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let user = self.user.as_deref().map(|user| {
            percent::decode(user).map_or_else(
                |_| user.to_owned(),
                |text| percent::encode(&localpart::fold(&text), classes::SIP_USER),
            )
        });
        let gr = self.gr.as_deref().map(|gr| {
            percent::decode(gr).map_or_else(
                |_| gr.to_owned(),
                |text| percent::encode(&text, classes::SIP_PARAMETER),
            )
        });
        Self {
            scheme: Scheme::Sip,
            user,
            host: host::to_ascii(&self.host).unwrap_or_else(|_| self.host.to_ascii_lowercase()),
            gr,
        }
    }
}

impl fmt::Display for SipAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:", self.scheme.name())?;
        if let Some(user) = &self.user {
            write!(out, "{user}@")?;
        }
        out.write_str(&self.host)?;
        match &self.gr {
            Some(gr) => write!(out, ";gr={gr}"),
            None => Ok(()),
        }
    }
}

/// A domain in the spelling of a canonical [`Jid`]: lower case, U-labels. What is no domain stays, in lower case.
#[must_use]
pub fn canonical_domain(domain: &str) -> String {
    host::to_unicode(domain).unwrap_or_else(|_| domain.to_lowercase())
}

/// A domain in that spelling, for those who have to know whether it is one.
///
/// # Errors
/// [`AddressError::BadHost`].
pub fn parse_domain(domain: &str) -> Result<String, AddressError> {
    host::to_unicode(domain)
}

/// The JID for a SIP address (RFC 7247 §6.4), canonical but for the resource, which is the `gr` value.
///
/// # Errors
/// What XMPP cannot hold; nothing is cut or replaced. `sips` addresses are refused (RFC 7247 §8).
pub fn sip_to_jid(address: &SipAddress) -> Result<Jid, AddressError> {
    if address.scheme == Scheme::Sips {
        return Err(AddressError::Untranslated);
    }
    let local = match &address.user {
        Some(user) => Some(localpart::from_text(&percent::decode(user)?)?),
        None => None,
    };
    let domain = host::to_unicode(&address.host)?;
    let resource = match &address.gr {
        Some(gr) => {
            let resource = percent::decode(gr)?;
            check_resource(&resource)?;
            Some(resource)
        }
        None => None,
    };
    Ok(Jid {
        local,
        domain,
        resource,
    })
}

/// The SIP address for a JID (RFC 7247 §6.5), with the resource as `gr`. Only [`Scheme::Sip`] and [`Scheme::Sips`]
/// have room for that parameter. Which scheme to use is local policy: `sip` unless more is known of the domain.
///
/// # Errors
/// A malformed JID, or one that would not survive the way back.
pub fn jid_to_sip(jid: &Jid, scheme: Scheme) -> Result<SipAddress, AddressError> {
    jid.check()?;
    let user = match &jid.local {
        Some(local) => Some(percent::encode(
            &localpart::to_text(local)?,
            scheme.plain_in_user(),
        )),
        None => None,
    };
    let gr = match (&jid.resource, scheme) {
        (Some(resource), Scheme::Sip | Scheme::Sips) => {
            Some(percent::encode(resource, classes::SIP_PARAMETER))
        }
        _ => None,
    };
    Ok(SipAddress {
        scheme,
        user,
        host: host::to_ascii(&jid.domain)?,
        gr,
    })
}

fn check_resource(resource: &str) -> Result<(), AddressError> {
    if resource.is_empty() {
        return Err(AddressError::EmptyPart);
    }
    if resource.len() > MAX_PART {
        return Err(AddressError::TooLong);
    }
    if !resource.chars().all(classes::resource_allows) {
        return Err(AddressError::Forbidden);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
