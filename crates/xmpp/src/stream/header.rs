//! Stream headers (RFC 6120 §4.7).

use super::{ns, write::Markup};

/// A peer's stream header as it was read. Nothing in it is proved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamHeader {
    /// Who the peer says it is.
    pub from: Option<String>,
    /// Whom the peer wants.
    pub to: Option<String>,
    /// Stream identifier, of a receiving server.
    pub id: Option<String>,
    /// `version` as written.
    pub version: Option<String>,
    /// `xml:lang`.
    pub lang: Option<String>,
    /// The default namespace, which must be `jabber:server`.
    pub default_ns: String,
    /// The dialback namespace is declared (XEP-0220 §2.1.1).
    pub declares_dialback: bool,
}

/// What the `version` of a header says (RFC 6120 §4.7.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// No version, or 0.x: no features, no TLS.
    Before1,
    /// 1.0 or later; later ones are answered with 1.0.
    AtLeast1,
    /// Not a version number.
    Malformed,
}

impl StreamHeader {
    pub(crate) fn version(&self) -> Version {
        let Some(text) = self.version.as_deref() else {
            return Version::Before1;
        };
        let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |part: &str| {
            !part.is_empty() && part.len() <= 9 && part.bytes().all(|b| b.is_ascii_digit())
        };
        if !is_number(major) || !is_number(minor) {
            Version::Malformed
        } else if major.bytes().all(|b| b == b'0') {
            Version::Before1
        } else {
            Version::AtLeast1
        }
    }
}

/// Our stream header. `id` is given by the receiving server only.
pub(crate) fn header_to_wire(from: Option<&str>, to: Option<&str>, id: Option<&str>) -> String {
    let mut out = Markup::new();
    out.open("stream:stream")
        .attribute("xmlns", ns::SERVER)
        .attribute("xmlns:stream", ns::STREAMS)
        .attribute("xmlns:db", ns::DIALBACK)
        .optional("from", from)
        .optional("to", to)
        .optional("id", id)
        .attribute("version", "1.0")
        .attribute("xml:lang", "en");
    format!("<?xml version='1.0'?>{}", out.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions_tolerantly() {
        let cases = [
            (None, Version::Before1),
            (Some("0.9"), Version::Before1),
            (Some("1.0"), Version::AtLeast1),
            (Some("1"), Version::AtLeast1),
            (Some("1.1"), Version::AtLeast1),
            (Some("2.0"), Version::AtLeast1),
            (Some("01.0"), Version::AtLeast1),
            (Some(""), Version::Malformed),
            (Some("one"), Version::Malformed),
            (Some("-1.0"), Version::Malformed),
        ];
        for (text, expected) in cases {
            let header = StreamHeader {
                version: text.map(str::to_owned),
                ..StreamHeader::default()
            };
            assert_eq!(header.version(), expected, "{text:?}");
        }
    }

    #[test]
    fn writes_every_declaration_that_old_servers_look_for() {
        assert_eq!(
            header_to_wire(Some("sip.test"), Some("jabber.test"), Some("i1")),
            "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
             xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' \
             from='sip.test' to='jabber.test' id='i1' version='1.0' xml:lang='en'>"
        );
    }
}
