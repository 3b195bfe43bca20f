//! Server Dialback (XEP-0220): keys and elements.

use hmac::{Hmac, KeyInit, Mac};
use minidom::Element;
use sha2::{Digest, Sha256};
use xmpp_parsers::stanza_error::StanzaError;
use zeroize::Zeroizing;

use crate::stream::{ns, write::Markup};

/// Longest key and stream id that is looked at, in octets.
const LONGEST_TOKEN: usize = 1_024;

/// The secret behind all dialback keys of a deployment (XEP-0185 §3). Every node that may be asked to verify a key
/// needs the same one.
#[derive(Clone)]
pub struct DialbackSecret(Hmac<Sha256>);

impl std::fmt::Debug for DialbackSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DialbackSecret")
    }
}

impl DialbackSecret {
    /// Takes a secret of any length.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let mut key = Zeroizing::new([0_u8; 64]);
        let digest = Zeroizing::new(hex(&Sha256::digest(secret)));
        for (place, octet) in key.iter_mut().zip(digest.bytes()) {
            *place = octet;
        }
        Self(Hmac::new((&*key).into()))
    }

    /// The key for one stream (XEP-0185 §3): proof that whoever shows it speaks for `originating`.
    #[must_use]
    pub fn key(&self, receiving: &str, originating: &str, stream_id: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(receiving.as_bytes());
        mac.update(b" ");
        mac.update(originating.as_bytes());
        mac.update(b" ");
        mac.update(stream_id.as_bytes());
        hex(&mac.finalize().into_bytes())
    }

    /// Whether a key is ours, in time that does not depend on where it differs.
    #[must_use]
    pub fn verify(&self, receiving: &str, originating: &str, stream_id: &str, key: &str) -> bool {
        let expected = self.key(receiving, originating, stream_id);
        expected.len() == key.len()
            && expected
                .bytes()
                .zip(key.bytes())
                .fold(0, |difference, (a, b)| difference | (a ^ b))
                == 0
    }
}

fn hex(octets: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    octets
        .iter()
        .flat_map(|octet| [octet >> 4, octet & 15])
        .filter_map(|nibble| DIGITS.get(usize::from(nibble)))
        .collect()
}

/// Which of the two dialback elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `db:result`: between originating and receiving server.
    Result,
    /// `db:verify`: between receiving and authoritative server.
    Verify,
}

impl Kind {
    const fn qualified_name(self) -> &'static str {
        match self {
            Self::Result => "db:result",
            Self::Verify => "db:verify",
        }
    }
}

/// The answer to a dialback request.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The key is right.
    Valid,
    /// The key is wrong.
    Invalid,
    /// It could not be found out (XEP-0220 §2.5). `None` when the peer's error is unreadable.
    Error(Option<Box<StanzaError>>),
}

/// A dialback element as it was read. Addresses are as written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dialback {
    pub(crate) kind: Kind,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) id: Option<String>,
    /// `None`: this is a request.
    pub(crate) answer: Option<Answer>,
    pub(crate) key: String,
}

impl Dialback {
    /// Reads `db:result` or `db:verify`; `None` for anything else.
    pub(crate) fn from_element(element: &Element) -> Option<Self> {
        let kind = match element.name() {
            "result" => Kind::Result,
            "verify" => Kind::Verify,
            _ => return None,
        };
        let attribute = |name: &str| element.attr(name).map(str::to_owned);
        Some(Self {
            kind,
            from: attribute("from"),
            to: attribute("to"),
            id: attribute("id"),
            answer: element.attr("type").map(|kind| match kind {
                "valid" => Answer::Valid,
                "error" => Answer::Error(read_error(element)),
                _ => Answer::Invalid,
            }),
            key: element.text().trim().to_owned(),
        })
    }

    /// The request carries a key of a believable size.
    pub(crate) fn has_usable_key(&self) -> bool {
        (1..=LONGEST_TOKEN).contains(&self.key.len())
    }
}

fn read_error(element: &Element) -> Option<Box<StanzaError>> {
    let error = element.get_child("error", ns::CLIENT)?;
    StanzaError::try_from(error.clone()).ok().map(Box::new)
}

/// Why a dialback request got no verdict (XEP-0220 §2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// The domain asked for is none of ours.
    NotServed,
    /// The domain claimed is ours, or no domain at all.
    NotClaimable,
    /// The key is missing or of absurd size.
    MalformedKey,
    /// Policy forbids this partner.
    Forbidden,
    /// The claimed domain has no server in DNS.
    ServerNotFound,
    /// Its server cannot be reached or cannot be trusted.
    ConnectionFailed,
    /// Its server did not answer in time.
    Timeout,
    /// Too many claims at once.
    Overloaded,
}

impl Trouble {
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::NotServed => ("cancel", "item-not-found"),
            Self::NotClaimable => ("cancel", "not-allowed"),
            Self::MalformedKey => ("modify", "bad-request"),
            Self::Forbidden => ("cancel", "policy-violation"),
            Self::ServerNotFound => ("cancel", "remote-server-not-found"),
            Self::ConnectionFailed => ("wait", "remote-server-timeout"),
            Self::Timeout => ("wait", "remote-server-timeout"),
            Self::Overloaded => ("wait", "resource-constraint"),
        }
    }
}

/// A request with its key.
pub(crate) fn request_to_wire(
    kind: Kind,
    from: &str,
    to: &str,
    id: Option<&str>,
    key: &str,
) -> String {
    let mut out = Markup::new();
    out.open(kind.qualified_name())
        .attribute("from", from)
        .attribute("to", to)
        .optional("id", id)
        .text(key)
        .close();
    out.finish()
}

/// The answer to a request.
pub(crate) fn answer_to_wire(
    kind: Kind,
    from: &str,
    to: &str,
    id: Option<&str>,
    verdict: Result<bool, Trouble>,
) -> String {
    let mut out = Markup::new();
    out.open(kind.qualified_name())
        .attribute("from", from)
        .attribute("to", to)
        .optional("id", id);
    match verdict {
        Ok(true) => out.attribute("type", "valid"),
        Ok(false) => out.attribute("type", "invalid"),
        Err(trouble) => {
            let (kind, condition) = trouble.names();
            out.attribute("type", "error")
                .open("error")
                .attribute("type", kind)
                .open(condition)
                .attribute("xmlns", ns::STANZA_ERRORS)
                .close()
                .close()
        }
    };
    out.close();
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// XEP-0185 §5.
    #[test]
    fn makes_the_published_key() {
        let secret = DialbackSecret::new(b"s3cr3tf0rd14lb4ck");
        let key = "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643";
        assert_eq!(
            secret.key("xmpp.example.com", "example.org", "D60000229F"),
            key
        );
        assert!(secret.verify("xmpp.example.com", "example.org", "D60000229F", key));
        for (receiving, originating, id) in [
            ("example.com", "example.org", "D60000229F"),
            ("xmpp.example.com", "example.net", "D60000229F"),
            ("xmpp.example.com", "example.org", "D60000229E"),
        ] {
            assert!(!secret.verify(receiving, originating, id, key));
        }
        assert!(!secret.verify("xmpp.example.com", "example.org", "D60000229F", ""));
    }

    #[test]
    fn does_not_show_the_secret() {
        assert_eq!(format!("{:?}", DialbackSecret::new(b"x")), "DialbackSecret");
    }

    #[test]
    fn writes_errors_that_it_can_read() {
        for trouble in [
            Trouble::NotServed,
            Trouble::NotClaimable,
            Trouble::MalformedKey,
            Trouble::Forbidden,
            Trouble::ServerNotFound,
            Trouble::ConnectionFailed,
            Trouble::Timeout,
            Trouble::Overloaded,
        ] {
            let wire = answer_to_wire(Kind::Result, "a.test", "b.test", None, Err(trouble))
                .replace(
                    "<db:result",
                    "<db:result xmlns:db='jabber:server:dialback' xmlns='jabber:client'",
                );
            let read = Dialback::from_element(&wire.parse().unwrap()).unwrap();
            assert_eq!(read.from.as_deref(), Some("a.test"));
            let Some(Answer::Error(Some(error))) = read.answer else {
                panic!("{trouble:?}: {wire}");
            };
            let (kind, _) = trouble.names();
            assert_eq!(format!("{:?}", error.type_).to_lowercase(), kind);
        }
    }
}
