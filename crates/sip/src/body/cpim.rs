//! The message/cpim wrapper (RFC 3862).

use std::time::Duration;

use super::imdn::{self, HEADER_NAMESPACE, Wanted};
use super::multipart::{MAX_HEADER_OCTETS, Part, find_header, parse_headers, split_head};
use super::text::{clean, language_tag};
use super::time::{format_rfc3339, parse_rfc3339};

/// Content type of the wrapper.
pub const CONTENT_TYPE: &str = "message/cpim";
/// The prefix of the notification headers where a peer does not say which.
const IMDN_PREFIX: &str = "imdn";
/// Octets of an identifier or a URI that is looked at.
const MAX_ID: usize = 256;

/// A wrapper that is not in the form of RFC 3862. The sender is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message/cpim wrapper is malformed")]
pub struct CpimError;

/// An unwrapped message. Its `From` and `To` are claims of the sender and no identity (RFC 3428 §11.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpim<'a> {
    headers: Vec<(String, String)>,
    /// The content with its MIME headers.
    pub content: Part<'a>,
}

impl<'a> Cpim<'a> {
    /// Reads message headers, an empty line, MIME headers, an empty line and the content.
    ///
    /// # Errors
    /// [`CpimError`] when the message headers are missing or too long.
    pub fn parse(octets: &'a [u8]) -> Result<Self, CpimError> {
        let (head, rest) = split_head(octets);
        if head.len() > MAX_HEADER_OCTETS {
            return Err(CpimError);
        }
        let headers = parse_headers(std::str::from_utf8(head).map_err(|_| CpimError)?);
        if headers.is_empty() {
            return Err(CpimError);
        }
        Ok(Self {
            headers,
            content: Part::parse(rest).map_err(|_| CpimError)?,
        })
    }

    /// `Subject` with its language, when given.
    pub fn subject(&self) -> Option<(Option<&str>, String)> {
        let value = find_header(&self.headers, "Subject")?;
        let (lang, text) = match value.strip_prefix(";lang=") {
            Some(rest) => {
                let (lang, text) = rest.split_once(' ').unwrap_or((rest, ""));
                (Some(lang), text)
            }
            None => (None, value),
        };
        Some((lang, clean(&unescape(text))))
    }

    /// `DateTime`, since 1970 UTC, when given and legal.
    pub fn sent_at(&self) -> Option<Duration> {
        parse_rfc3339(find_header(&self.headers, "DateTime")?)
    }

    /// `From`: the name for people, where there is one, and the URI.
    pub fn sender(&self) -> Option<(Option<String>, &str)> {
        find_header(&self.headers, "From").and_then(name_and_uri)
    }

    /// The first `To`, as [`Cpim::sender`].
    pub fn recipient(&self) -> Option<(Option<String>, &str)> {
        find_header(&self.headers, "To").and_then(name_and_uri)
    }

    /// What the sender wants to be told of the message. `None` where it has no name or nothing is wanted.
    pub fn wanted(&self) -> Option<Wanted> {
        let mut wanted = Wanted {
            message_id: self.message_id()?,
            sent_at: self.sent_at(),
            original_to: self
                .imdn_header("Original-To")
                .map(|value| bare_uri(&value))
                .filter(|uri| uri.len() <= MAX_ID),
            ..Wanted::default()
        };
        imdn::read_words(&self.imdn_header("Disposition-Notification")?, &mut wanted);
        let any = wanted.delivered || wanted.failed || wanted.displayed;
        any.then_some(wanted)
    }

    /// `imdn.Message-ID` (RFC 5438 §6.3).
    pub fn message_id(&self) -> Option<String> {
        self.imdn_header("Message-ID")
            .filter(|id| (1..=MAX_ID).contains(&id.len()))
    }

    /// A header of RFC 5438, whatever prefix the sender has bound to its namespace (RFC 3862 §3.4.5).
    fn imdn_header(&self, name: &str) -> Option<String> {
        let bound = self.headers.iter().filter(|(own, _)| own == "NS");
        let prefix = bound
            .filter_map(|(_, value)| value.split_once('<'))
            .find(|(_, uri)| uri.trim_end().trim_end_matches('>').trim() == HEADER_NAMESPACE)
            .map_or(IMDN_PREFIX, |(prefix, _)| prefix.trim());
        let full = format!("{prefix}.{name}");
        find_header(&self.headers, &full).map(|value| clean(&unescape(value)))
    }
}

/// The parts of `Name <uri>` (RFC 3862 §4.1); the brackets may be missing where there is no name.
fn name_and_uri(value: &str) -> Option<(Option<String>, &str)> {
    let Some((name, rest)) = value.rsplit_once('<') else {
        let uri = value.trim();
        return (!uri.is_empty()).then_some((None, uri));
    };
    let uri = rest.split_once('>')?.0.trim();
    let name = name.trim();
    let quoted = name
        .strip_prefix('"')
        .and_then(|name| name.strip_suffix('"'));
    let name = clean(&unescape(quoted.unwrap_or(name)));
    let name = Some(name.trim().to_owned()).filter(|name| !name.is_empty());
    (!uri.is_empty()).then_some((name, uri))
}

/// The URI in `Name <uri>`.
fn bare_uri(value: &str) -> String {
    let inside = value
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or(value, |(uri, _)| uri).trim().to_owned()
}

/// A wrapper to write. Nothing in any of its fields can add a header line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wrapper<'a> {
    /// URI of the sender.
    pub from: &'a str,
    /// URI of the recipient.
    pub to: &'a str,
    /// `DateTime`, since 1970 UTC.
    pub sent_at: Option<Duration>,
    /// `Subject`, with its language when known.
    pub subject: Option<(Option<&'a str>, &'a str)>,
    /// `imdn.Message-ID`.
    pub message_id: Option<&'a str>,
    /// `imdn.Disposition-Notification`: what the sender wants to be told. Its name and time stand above.
    pub wanted: Option<&'a Wanted>,
}

/// Writes a wrapper (RFC 3862 §2, §3) around a content with its MIME header fields (RFC 5438 §9: those of a notification
/// are `Content-Type: message/imdn+xml` and `Content-Disposition: notification`).
#[must_use]
pub fn write(wrapper: &Wrapper<'_>, content_headers: &[(&str, &str)], content: &[u8]) -> Vec<u8> {
    write_as(None, wrapper, content_headers, content)
}

/// As [`write()`], with the sender's name for people.
#[must_use]
pub fn write_as(
    name: Option<&str>,
    wrapper: &Wrapper<'_>,
    content_headers: &[(&str, &str)],
    content: &[u8],
) -> Vec<u8> {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| out.push_str(&format!("{name}: {value}\r\n"));
    let name = name.map(|name| format!("\"{}\" ", quoted(name)));
    line(
        "From",
        &format!("{}<{}>", name.unwrap_or_default(), uri(wrapper.from)),
    );
    line("To", &format!("<{}>", uri(wrapper.to)));
    if let Some(sent_at) = wrapper.sent_at {
        line("DateTime", &format_rfc3339(sent_at));
    }
    let words = wrapper.wanted.and_then(imdn::write_words);
    if wrapper.message_id.is_some() || words.is_some() {
        line("NS", &format!("{IMDN_PREFIX} <{HEADER_NAMESPACE}>"));
    }
    if let Some(id) = wrapper.message_id {
        line("imdn.Message-ID", &escape(id));
    }
    if let Some(words) = words {
        line("imdn.Disposition-Notification", &words);
    }
    if let Some((lang, subject)) = wrapper.subject {
        let lang = lang.and_then(language_tag);
        let lang = lang.map_or(String::new(), |tag| format!(";lang={tag}"));
        let mut text = escape(subject);
        // A semicolon in front would begin a parameter for a reader that does not mind the space.
        if text.trim_start().starts_with(';') {
            text = text.replacen(';', "\\u003B", 1);
        }
        out.push_str(&format!("Subject:{lang} {text}\r\n"));
    }
    out.push_str("\r\n");
    for (name, value) in content_headers {
        let (name, value) = (one_word(name), without_controls(value));
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out.push_str("\r\n");
    let mut out = out.into_bytes();
    out.extend_from_slice(content);
    out
}

/// A URI between angle brackets: what would end it, or the line, is left out.
fn uri(text: &str) -> String {
    let legal = |c: &char| !c.is_control() && !c.is_whitespace() && !matches!(c, '<' | '>');
    text.chars().filter(legal).collect()
}

fn one_word(name: &str) -> String {
    let legal = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    name.chars().filter(legal).collect()
}

fn without_controls(value: &str) -> String {
    value.chars().filter(|c| !is_break(*c)).collect()
}

/// What may end a line somewhere.
fn is_break(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// The escapes of RFC 3862 §2.3.
const ESCAPES: [(char, char); 7] = [
    ('\\', '\\'),
    ('b', '\u{8}'),
    ('t', '\t'),
    ('n', '\n'),
    ('r', '\r'),
    ('"', '"'),
    ('\'', '\''),
];

/// A header value on one line: controls and backslashes are escaped.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let known = ESCAPES.iter().find(|(_, meant)| *meant == c);
        match known {
            Some((letter, _)) if c == '\\' || c.is_control() => {
                out.push('\\');
                out.push(*letter);
            }
            _ if is_break(c) => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out
}

/// Text between quotation marks.
fn quoted(text: &str) -> String {
    escape(text).replace('"', "\\\"")
}

/// Undoes [`escape`]. What is no escape stays as it is.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\\') {
        out.push_str(before);
        let (meant, behind) = escaped(behind).unwrap_or(('\\', behind));
        out.push(meant);
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// What stands behind a backslash.
fn escaped(text: &str) -> Option<(char, &str)> {
    let mut chars = text.chars();
    let letter = chars.next()?;
    if let Some((_, meant)) = ESCAPES.iter().find(|(known, _)| *known == letter) {
        return Some((*meant, chars.as_str()));
    }
    let (digits, behind) = chars.as_str().split_at_checked(4)?;
    let is_code = letter == 'u' && digits.bytes().all(|octet| octet.is_ascii_hexdigit());
    let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_code)?;
    Some((char::from_u32(code)?, behind))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::imdn::{Disposition, Notification};
    use super::*;

    #[test]
    fn a_wrapper_asks_and_a_notification_answers() {
        let sent = parse_rfc3339("2026-03-01T09:00:00Z");
        let wanted = Wanted {
            delivered: true,
            displayed: true,
            ..Wanted::default()
        };
        let wrapper = Wrapper {
            from: "sip:alma@jabber.example",
            to: "sip:bruno@ocs.example",
            sent_at: sent,
            subject: Some((Some("fr"), "Objet\r\nX: y")),
            message_id: Some("34jk"),
            wanted: Some(&wanted),
        };
        let out = write(&wrapper, &[("Content-Type", "text/plain")], b"hi");
        let text = "From: <sip:alma@jabber.example>\r\nTo: <sip:bruno@ocs.example>\r\n\
            DateTime: 2026-03-01T09:00:00Z\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: 34jk\r\n\
            imdn.Disposition-Notification: positive-delivery, display\r\nSubject:;lang=fr Objet\\r\\nX: y\r\n\r\n\
            Content-Type: text/plain\r\n\r\nhi";
        assert_eq!(String::from_utf8_lossy(&out), text);
        let found = Cpim::parse(&out).ok().and_then(|cpim| cpim.wanted());
        let expected = Wanted {
            message_id: "34jk".to_owned(),
            sent_at: sent,
            ..wanted
        };
        assert_eq!(found.as_ref(), Some(&expected));
        let written = imdn::write(&Notification {
            wanted: &expected,
            recipient: "sip:bruno@ocs.example",
            now: Duration::ZERO,
            disposition: Disposition::Displayed,
        });
        assert_eq!(
            written,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><imdn xmlns=\"urn:ietf:params:xml:ns:imdn\">\
             <message-id>34jk</message-id><datetime>2026-03-01T09:00:00Z</datetime>\
             <recipient-uri>sip:bruno@ocs.example</recipient-uri>\
             <display-notification><status><displayed/></status></display-notification></imdn>"
        );
    }

    #[test]
    fn what_is_wanted_is_read_under_any_prefix() {
        let wanted = |head: &str| {
            let text = format!("{head}\r\n\r\nContent-Type: text/plain\r\n\r\nx");
            Cpim::parse(text.as_bytes())
                .ok()
                .and_then(|cpim| cpim.wanted())
                .map(|found| {
                    (
                        found.message_id,
                        found.delivered,
                        found.failed,
                        found.displayed,
                    )
                })
        };
        let id = || "a1".to_owned();
        let ns = "NS: imdn <urn:ietf:params:imdn>\r\n";
        for (head, expected) in [
            (
                format!("{ns}imdn.Message-ID: a1\r\nimdn.Disposition-Notification: positive-delivery, negative-delivery"),
                Some((id(), true, true, false)),
            ),
            (
                "NS: x <urn:other>\r\nNS: R <urn:ietf:params:imdn>\r\nR.Message-ID: a1\r\nR.Disposition-Notification: DISPLAY;x=1,processing".to_owned(),
                Some((id(), false, false, true)),
            ),
            (
                "imdn.Message-ID: a1\r\nimdn.Disposition-Notification: display".to_owned(),
                Some((id(), false, false, true)),
            ),
            (format!("{ns}imdn.Message-ID: a1\r\nimdn.Disposition-Notification: processing"), None),
            (format!("{ns}imdn.Message-ID: a1"), None),
            (format!("{ns}imdn.Disposition-Notification: display"), None),
            (
                "NS: R <urn:ietf:params:imdn>\r\nimdn.Message-ID: a1\r\nimdn.Disposition-Notification: display".to_owned(),
                None,
            ),
        ] {
            assert_eq!(wanted(&head), expected, "{head}");
        }
    }

    #[test]
    fn senders_have_names_or_not() {
        for (value, expected) in [
            (
                "MR SANDERS <im:piglet@100acre.example>",
                Some((Some("MR SANDERS"), "im:piglet@100acre.example")),
            ),
            ("<sip:a@b;gr=x>", Some((None, "sip:a@b;gr=x"))),
            ("sip:a@b", Some((None, "sip:a@b"))),
            (
                "\"A <B>: \\\"c\\\"\" <sip:a@b>",
                Some((Some("A <B>: \"c\""), "sip:a@b")),
            ),
            ("A <>", None),
            ("A <sip:a@b", None),
        ] {
            let found = name_and_uri(value);
            let found = found.as_ref().map(|(name, uri)| (name.as_deref(), *uri));
            assert_eq!(found, expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn a_wrapper_is_read_as_it_was_written(
            from in any::<String>(), to in ".{0,30}", id in "[!-~]{1,60}", subject in any::<String>(),
            semicolon in any::<bool>(), lang in proptest::option::of("[a-z\r\n: -]{0,8}"), content_type in any::<String>(),
            content in proptest::collection::vec(any::<u8>(), 0..60), bits in 0..8_u8,
        ) {
            let subject = if semicolon { format!(";lang=x {subject}") } else { subject };
            let wanted = Wanted {
                delivered: bits & 1 != 0, failed: bits & 2 != 0, displayed: bits & 4 != 0, ..Wanted::default()
            };
            let wrapper = Wrapper {
                from: &from, to: &to, sent_at: Some(Duration::from_secs(1_772_000_000)), message_id: Some(&id),
                subject: Some((lang.as_deref(), &subject)), wanted: Some(&wanted),
            };
            let out = write(&wrapper, &[("Content-Type", &content_type)], &content);
            let cpim = Cpim::parse(&out).unwrap_or_else(|error| unreachable!("{error}"));
            let lines = 6 + usize::from(bits != 0);
            prop_assert_eq!(cpim.headers.len(), lines);
            prop_assert_eq!(cpim.message_id(), Some(id.clone()));
            let content_type = without_controls(&content_type);
            prop_assert_eq!(cpim.content.header("Content-Type"), Some(content_type.trim()));
            let octets = cpim.content.content();
            prop_assert_eq!(octets.as_deref(), Some(&content[..]));
            let read = cpim.subject().map(|(_, text)| text);
            prop_assert_eq!(read.map(|text| text.trim().to_owned()), Some(clean(&subject).trim().to_owned()));
            let expected = (bits != 0).then(|| Wanted { message_id: id.clone(), sent_at: wrapper.sent_at, ..wanted.clone() });
            prop_assert_eq!(cpim.wanted(), expected);
        }

        #[test]
        fn a_sender_is_read_as_it_was_written(name in any::<String>(), uri in "[a-z]{1,4}:[!-;=?-~]{1,20}") {
            let wrapper = Wrapper { from: &uri, to: "sip:a@b", ..Wrapper::default() };
            let out = write_as(Some(&name), &wrapper, &[("Content-Type", "text/plain")], b"x");
            let cpim = Cpim::parse(&out).unwrap_or_else(|error| unreachable!("{error}"));
            let expected = Some(clean(&name).trim().to_owned()).filter(|name| !name.is_empty());
            prop_assert_eq!(cpim.sender(), Some((expected, uri.as_str())));
            prop_assert_eq!(cpim.recipient(), Some((None, "sip:a@b")));
        }

        #[test]
        fn escapes_are_undone(text in any::<String>()) {
            let escaped = escape(&text);
            prop_assert!(!escaped.chars().any(is_break));
            prop_assert_eq!(unescape(&escaped), text);
        }

        #[test]
        fn a_notification_is_read_as_it_was_written(id in "[!-~]{1,40}", to in proptest::option::of("[ -~]{0,30}"), which in 0..4_usize) {
            let disposition = [
                Disposition::Delivered, Disposition::Displayed, Disposition::Failed, Disposition::Other,
            ][which];
            let wanted = Wanted { message_id: id.clone(), original_to: to, ..Wanted::default() };
            let written = imdn::write(&Notification { wanted: &wanted, recipient: "sip:a@b", now: Duration::ZERO, disposition });
            let read = imdn::parse(written.as_bytes(), None);
            prop_assert_eq!(read, Ok(imdn::Imdn { message_id: id, disposition }));
        }
    }
}
