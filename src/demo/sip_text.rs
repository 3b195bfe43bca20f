//! The demo's own few lines of SIP (RFC 3261 §7): enough for one honest endpoint, and nothing of the gateway's.

use std::fmt;

/// The most octets that wait for the rest of their message.
const LIMIT: usize = 1_000_000;

/// A request or a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SipMessage {
    /// Request line or status line.
    pub(super) first: String,
    /// Names in lower case, and values.
    headers: Vec<(String, String)>,
    /// The body.
    pub(super) body: String,
    /// As it was on the wire.
    pub(super) text: String,
}

/// The short names that may stand for the long ones (RFC 3261 §7.3.3).
const COMPACT: [(&str, &str); 8] = [
    ("v", "via"),
    ("f", "from"),
    ("t", "to"),
    ("i", "call-id"),
    ("m", "contact"),
    ("l", "content-length"),
    ("c", "content-type"),
    ("o", "event"),
];

impl SipMessage {
    /// Reads a head without its empty line.
    fn head(text: &str) -> Self {
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| {
                let name = name.trim().to_ascii_lowercase();
                let long = COMPACT.iter().find(|(short, _)| *short == name);
                let name = long.map_or(name.clone(), |(_, long)| (*long).to_owned());
                (name, value.trim().to_owned())
            })
            .collect();
        Self {
            first,
            headers,
            body: String::new(),
            text: String::new(),
        }
    }

    /// The first value of a header, empty without one. `name` in lower case.
    pub(super) fn get(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// All values of a header, in order.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(had, _)| had == name)
            .map(|(_, value)| value.as_str())
    }

    /// The status of a response.
    pub(super) fn status(&self) -> Option<u16> {
        let rest = self.first.strip_prefix("SIP/2.0 ")?;
        rest.split(' ').next()?.parse().ok()
    }

    /// The method of a request; of a response, that of its request.
    pub(super) fn method(&self) -> &str {
        if self.status().is_some() {
            self.get("cseq").split(' ').nth(1).unwrap_or_default()
        } else {
            self.first.split(' ').next().unwrap_or_default()
        }
    }

    /// Whether it is a request of this method.
    pub(super) fn is_request(&self, method: &str) -> bool {
        self.status().is_none() && self.method() == method
    }

    /// The Request-URI.
    pub(super) fn uri(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }

    /// The number of `CSeq`.
    pub(super) fn cseq(&self) -> u32 {
        let number = self.get("cseq").split(' ').next().unwrap_or_default();
        number.parse().unwrap_or_default()
    }

    /// The state in `Subscription-State`.
    pub(super) fn subscription_state(&self) -> &str {
        let value = self.get("subscription-state");
        value.split(';').next().unwrap_or_default().trim()
    }

    /// Whether a body holds this.
    pub(super) fn says(&self, text: &str) -> bool {
        self.body.contains(text)
    }
}

impl fmt::Display for SipMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(status) = self.first.strip_prefix("SIP/2.0 ") {
            return write!(f, "{status} ({})", self.method());
        }
        write!(f, "{} {}", self.method(), short_uri(self.uri()))?;
        match self.method() {
            "SUBSCRIBE" => write!(f, ", Expires {}", self.get("expires")),
            "NOTIFY" => {
                let state = self.get("subscription-state");
                write!(f, " {}", state.split(";expires").next().unwrap_or(state))?;
                write!(f, "{}", presence_words(&self.body))
            }
            "MESSAGE" => write!(f, " \"{}\"", self.body.trim()),
            _ => Ok(()),
        }
    }
}

/// A URI without port and parameters; of a contact, the user alone.
fn short_uri(uri: &str) -> &str {
    let plain = uri.split(';').next().unwrap_or(uri);
    match plain.rsplit_once(':') {
        Some((before, port)) if port.parse::<u16>().is_ok() => {
            between(before, "sip:", "@").unwrap_or(before)
        }
        _ => plain,
    }
}

/// What a presence document says, in a few words.
fn presence_words(body: &str) -> String {
    let basic = between(body, "<basic>", "</basic>").map(|word| format!(", {word}"));
    let note = between(body, "<note", "</note>")
        .and_then(|rest| rest.split_once('>'))
        .map(|(_, text)| format!(" \"{text}\""));
    let words = [basic, note];
    words.into_iter().flatten().collect()
}

/// The text between two marks.
pub(super) fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(begin)?;
    rest.split_once(end).map(|(inner, _)| inner)
}

/// The URI in a `From`, `To` or `Contact`.
pub(super) fn uri_of(value: &str) -> &str {
    between(value, "<", ">").unwrap_or_else(|| value.split(';').next().unwrap_or(value))
}

/// The tag in a `From` or `To`.
pub(super) fn tag_of(value: &str) -> &str {
    let after = value.rsplit_once('>').map_or(value, |(_, after)| after);
    after
        .split(';')
        .find_map(|parameter| parameter.trim().strip_prefix("tag="))
        .unwrap_or_default()
}

/// Cuts a connection's octets into messages by `Content-Length` (RFC 3261 §18.3).
#[derive(Default)]
pub(super) struct Framer {
    buffer: Vec<u8>,
}

impl Framer {
    /// Where read octets go.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// The next whole message.
    ///
    /// # Errors
    /// What comes in is no SIP.
    pub(super) fn next(&mut self) -> Result<Option<SipMessage>, &'static str> {
        let blank = self
            .buffer
            .iter()
            .take_while(|octet| matches!(octet, b'\r' | b'\n'));
        let blank = blank.count();
        self.buffer.drain(..blank);
        let Some(head) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            return if self.buffer.len() > LIMIT {
                Err("a head without end")
            } else {
                Ok(None)
            };
        };
        let text = self.buffer.get(..head).unwrap_or_default();
        let mut message = SipMessage::head(&String::from_utf8_lossy(text));
        let length: usize = message
            .get("content-length")
            .parse()
            .map_err(|_| "a message without Content-Length")?;
        if length > LIMIT {
            return Err("a body that is too long");
        }
        let end = head + 4 + length;
        let Some(whole) = self.buffer.get(..end) else {
            return Ok(None);
        };
        message.text = String::from_utf8_lossy(whole).into_owned();
        let body = self.buffer.get(head + 4..end).unwrap_or_default();
        message.body = String::from_utf8_lossy(body).into_owned();
        self.buffer.drain(..end);
        Ok(Some(message))
    }
}

/// Writes a message; the lines of the head without their ends.
pub(super) fn write(lines: &[String], body: &str) -> String {
    let head = lines.join("\r\n");
    let length = body.len();
    format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// The lines of a response that repeat its request (RFC 3261 §8.2.6), with a tag in `To`.
pub(super) fn response_lines(request: &SipMessage, status: &str, tag: &str) -> Vec<String> {
    let mut lines = vec![format!("SIP/2.0 {status}")];
    lines.extend(request.all("via").map(|via| format!("Via: {via}")));
    lines.extend(
        request
            .all("record-route")
            .map(|route| format!("Record-Route: {route}")),
    );
    let to = request.get("to");
    let to = if tag_of(to).is_empty() {
        format!("{to};tag={tag}")
    } else {
        to.to_owned()
    };
    lines.push(format!("From: {}", request.get("from")));
    lines.push(format!("To: {to}"));
    lines.push(format!("Call-ID: {}", request.get("call-id")));
    lines.push(format!("CSeq: {}", request.get("cseq")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTIFY: &str = "NOTIFY sip:alice@127.0.0.1:1 SIP/2.0\r\nVia: SIP/2.0/TLS gw\r\n\
        f: <sip:romeo@jabber.test>;tag=r\r\nTo: \"A\" <sip:alice@ocs.test>;x=y;tag=a\r\ni: 1@gw\r\n\
        CSeq: 2 NOTIFY\r\nSubscription-State: active;expires=60\r\nContent-Length: 43\r\n\r\n\
        <basic>open</basic><note lang=\"en\">A</note>";

    #[test]
    fn messages_are_cut_from_any_pieces() {
        let mut framer = Framer::default();
        let mut found = Vec::new();
        let stream = format!("\r\n\r\n{NOTIFY}{NOTIFY}");
        for octet in stream.bytes() {
            framer.buffer().push(octet);
            found.extend(framer.next().unwrap());
        }
        assert_eq!(found.len(), 2);
        let message = found.pop().unwrap();
        assert_eq!(message.text, NOTIFY);
        assert!(message.is_request("NOTIFY"));
        assert_eq!(message.cseq(), 2);
        assert_eq!(message.subscription_state(), "active");
        assert_eq!(tag_of(message.get("to")), "a");
        assert_eq!(tag_of(message.get("from")), "r");
        assert_eq!(uri_of(message.get("to")), "sip:alice@ocs.test");
        assert_eq!(message.to_string(), "NOTIFY alice active, open \"A\"");
    }

    #[test]
    fn a_message_without_length_is_no_message() {
        let mut framer = Framer::default();
        framer.buffer().extend(b"MESSAGE sip:a@b SIP/2.0\r\n\r\n");
        assert!(framer.next().is_err());
    }

    #[test]
    fn responses_repeat_their_request() {
        let mut framer = Framer::default();
        framer.buffer().extend(NOTIFY.bytes());
        let request = framer.next().unwrap().unwrap();
        let text = write(&response_lines(&request, "200 OK", "unused"), "");
        framer.buffer().extend(text.bytes());
        let response = framer.next().unwrap().unwrap();
        assert_eq!(response.status(), Some(200));
        assert_eq!(response.to_string(), "200 OK (NOTIFY)");
        for name in ["via", "from", "to", "call-id", "cseq"] {
            assert_eq!(response.get(name), request.get(name), "{name}");
        }
    }
}
