//! URIs on the wire and the addresses of the core. Percent decoding and JID escaping are the core's.

use stox_core::address::{Scheme, SipAddress};

use crate::header::NameAddr;
use crate::uri::{self, AnyUri, Uri, UriError};

/// Why a URI is no address here. Whoever wrote it is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressRefused {
    /// `tel` or another scheme that names no user at a host (RFC 3261 §8.2.2.1).
    #[error("the URI scheme is not supported")]
    Scheme,
    /// Not a URI.
    #[error("the URI is malformed")]
    Malformed,
}

impl AddressRefused {
    /// The status of an answer that says so, for a Request-URI.
    pub fn status(self) -> u16 {
        match self {
            Self::Scheme => 416,
            Self::Malformed => 400,
        }
    }

    /// Its reason phrase.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Scheme => "Unsupported URI Scheme",
            Self::Malformed => "Malformed URI",
        }
    }
}

/// The schemes of wire and core.
const SCHEMES: [(uri::Scheme, Scheme); 4] = [
    (uri::Scheme::Sip, Scheme::Sip),
    (uri::Scheme::Sips, Scheme::Sips),
    (uri::Scheme::Im, Scheme::Im),
    (uri::Scheme::Pres, Scheme::Pres),
];

/// The parts of a URI that are an address. Password, port, all parameters but `gr`, and headers are left out
/// (RFC 7247 §6.4, RFC 3261 §19.1.5).
///
/// A `gr` without value names a temporary GRUU and is left out too (RFC 5627 §3.1.2).
pub fn from_uri(uri: &Uri) -> SipAddress {
    let scheme = SCHEMES.iter().find(|(wire, _)| *wire == uri.scheme);
    let gr = uri
        .params
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("gr"));
    SipAddress {
        scheme: scheme.map(|(_, own)| *own).unwrap_or_default(),
        user: uri.user.clone(),
        host: uri.host.clone(),
        gr: gr
            .and_then(|(_, value)| value.clone())
            .filter(|value| !value.is_empty()),
    }
}

/// The address in a Request-URI or another URI that stands alone.
///
/// # Errors
/// [`AddressRefused`].
pub fn from_text(text: &str) -> Result<SipAddress, AddressRefused> {
    match Uri::parse(text) {
        Ok(uri) => Ok(from_uri(&uri)),
        Err(UriError::Scheme) if has_scheme(text) => Err(AddressRefused::Scheme),
        Err(_) => Err(AddressRefused::Malformed),
    }
}

fn has_scheme(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    text.split_once(':')
        .is_some_and(|(scheme, _)| !scheme.is_empty() && scheme.bytes().all(legal))
}

/// The address in `From`, `To` or `Contact`. Header parameters are no part of it: a `gr` beside the angle brackets, or
/// in a form without brackets, is passed over (RFC 3261 §20.10). Nor is the display name.
///
/// # Errors
/// [`AddressRefused::Scheme`] for a URI of another scheme.
pub fn from_name_addr(value: &NameAddr) -> Result<SipAddress, AddressRefused> {
    value.sip_uri().map(from_uri).ok_or(AddressRefused::Scheme)
}

/// The URI of an address, `gr` inside it.
pub fn to_uri(address: &SipAddress) -> Uri {
    let scheme = SCHEMES.iter().find(|(_, own)| *own == address.scheme);
    Uri {
        scheme: scheme.map(|(wire, _)| *wire).unwrap_or_default(),
        user: address.user.clone(),
        host: address.host.clone(),
        params: address
            .gr
            .iter()
            .map(|gr| ("gr".to_owned(), Some(gr.clone())))
            .collect(),
        ..Uri::default()
    }
}

/// The value of a header that holds an address; the URI is in angle brackets, so its parameters stay its own.
pub fn to_name_addr(address: &SipAddress) -> NameAddr {
    NameAddr::new(AnyUri::from(to_uri(address)))
}
