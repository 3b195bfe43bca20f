//! A small MSRP reader of the tests' own, so that what the gateway writes is not judged by the code that wrote it.

use crate::output::Output;
use crate::sip_text::SipText;

/// The type of notices of typing (RFC 3994 §5.2).
pub(crate) const COMPOSING: &str = "application/im-iscomposing+xml";
const BREAK: &[u8] = b"\r\n";
const BLANK: &[u8] = b"\r\n\r\n";
/// Longer than any start line of a vector.
const LONGEST_START: usize = 1024;

/// One MSRP request or response in parts.
#[derive(Debug, Clone)]
pub(crate) struct MsrpText {
    /// The whole first line.
    pub(crate) start: String,
    pub(crate) transaction: String,
    /// What follows the transaction in the first line: a method, or a status with its comment.
    rest: String,
    headers: Vec<(String, String)>,
    /// What follows the empty line; `None` where there is no empty line.
    pub(crate) body: Option<Vec<u8>>,
    /// `$`, `+` or `#` (RFC 4975 §7.1).
    flag: u8,
}

/// `Byte-Range` of a request: where it starts, and the total where that is said.
struct Range {
    start: usize,
    end: Option<usize>,
    total: Option<usize>,
}

fn find(octets: &[u8], wanted: &[u8]) -> Option<usize> {
    octets
        .windows(wanted.len())
        .position(|window| window == wanted)
}

impl MsrpText {
    /// Takes the first whole message off what came over a connection; `None` where some of it is still to come.
    pub(crate) fn take(received: &mut Vec<u8>) -> Result<Option<Self>, String> {
        let Some(line) = find(received, BREAK) else {
            let garbage = !b"MSRP ".starts_with(received.get(..5).unwrap_or(received));
            return match garbage || received.len() > LONGEST_START {
                true => Err("what came is no MSRP".to_owned()),
                false => Ok(None),
            };
        };
        let start = text(received.get(..line))?;
        let mut words = start.splitn(3, ' ');
        let (Some("MSRP"), Some(transaction), Some(rest)) =
            (words.next(), words.next(), words.next())
        else {
            return Err(format!("no MSRP start line: {start}"));
        };
        let end_line = format!("\r\n-------{transaction}");
        let Some(end) = find(received, end_line.as_bytes()) else {
            return Ok(None);
        };
        let after = end + end_line.len();
        let Some([flag, b'\r', b'\n']) = received.get(after..after + 3) else {
            return match received.len() < after + 3 {
                true => Ok(None),
                false => Err(format!("no flag ends the message: {start}")),
            };
        };
        if !b"$+#".contains(flag) {
            return Err(format!("an unknown flag ends the message: {start}"));
        }
        let message = Self {
            transaction: transaction.to_owned(),
            rest: rest.to_owned(),
            flag: *flag,
            ..Self::content(received.get(line..end).unwrap_or_default(), start.clone())?
        };
        received.drain(..after + 3);
        Ok(Some(message))
    }

    /// Headers and body, from the end of the first line to the end-line.
    fn content(octets: &[u8], start: String) -> Result<Self, String> {
        let blank = find(octets, BLANK);
        let (head, body) = match blank {
            Some(at) => (octets.get(..at), octets.get(at + BLANK.len()..)),
            None => (Some(octets), None),
        };
        let body = blank.map(|_| body.unwrap_or_default().to_vec());
        let mut headers = Vec::new();
        for line in text(head)?.split("\r\n").filter(|line| !line.is_empty()) {
            let (name, value) = line
                .split_once(": ")
                .ok_or_else(|| format!("no header line: {line}"))?;
            headers.push((name.to_owned(), value.to_owned()));
        }
        Ok(Self {
            start,
            transaction: String::new(),
            rest: String::new(),
            headers,
            body,
            flag: 0,
        })
    }

    /// The method of a request.
    pub(crate) fn method(&self) -> Option<&str> {
        self.status().is_none().then_some(self.rest.as_str())
    }

    /// The status of a response.
    pub(crate) fn status(&self) -> Option<u16> {
        let digits = self.rest.split(' ').next()?;
        digits.parse().ok().filter(|_| digits.len() == 3)
    }

    /// The comment behind the status of a response.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.status()?;
        self.rest.split_once(' ').map(|(_, reason)| reason)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(have, _)| have.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// A SEND that only binds or keeps a connection counts for nothing.
    pub(crate) fn is_empty_send(&self) -> bool {
        self.method() == Some("SEND") && self.body.as_ref().is_none_or(Vec::is_empty)
    }

    /// The response with this status that its receiver owes for a request (RFC 4975 §7.2).
    pub(crate) fn answer(&self, status: &str) -> String {
        let path = |name: &str| {
            let path = self.header(name).unwrap_or_default();
            path.split(' ').next_back().unwrap_or_default().to_owned()
        };
        let transaction = &self.transaction;
        format!(
            "MSRP {transaction} {status}\r\nTo-Path: {}\r\nFrom-Path: {}\r\n-------{transaction}$\r\n",
            path("From-Path"),
            path("To-Path"),
        )
    }

    fn range(&self) -> Option<Range> {
        let (start, rest) = self.header("Byte-Range")?.split_once('-')?;
        let (end, total) = rest.split_once('/')?;
        Some(Range {
            start: start.parse().ok()?,
            end: end.parse().ok(),
            total: total.parse().ok(),
        })
    }
}

fn text(octets: Option<&[u8]>) -> Result<String, String> {
    let octets = octets.unwrap_or_default().to_vec();
    String::from_utf8(octets).map_err(|_| "what came is no UTF-8".to_owned())
}

/// A message that is being put together.
struct Parts {
    id: String,
    body: Vec<u8>,
}

/// What the gateway sent in sessions, whole messages in the order in which they ended, without notices of typing.
///
/// # Errors
/// Chunks that do not make up a message.
pub(crate) fn payloads(outputs: &[Output]) -> Result<Vec<Vec<u8>>, String> {
    let mut open: Vec<Parts> = Vec::new();
    let mut whole = Vec::new();
    for output in outputs {
        let in_dialog = |sip: &&SipText| sip.method() == "MESSAGE" && sip.tag("To").is_some();
        if let Some(sip) = output.request().filter(in_dialog) {
            whole.push(sip.body.clone());
        }
        let content = output.msrp().filter(|msrp| {
            let typing = msrp.header("Content-Type") == Some(COMPOSING);
            msrp.method() == Some("SEND") && !msrp.is_empty_send() && !typing
        });
        if let Some(msrp) = content {
            whole.extend(chunk(msrp, &mut open)?);
        }
    }
    match open.first() {
        Some(parts) => Err(format!("the message {} never ends", parts.id)),
        None => Ok(whole),
    }
}

/// Adds a chunk to its message, which comes back when that is whole.
fn chunk(msrp: &MsrpText, open: &mut Vec<Parts>) -> Result<Option<Vec<u8>>, String> {
    let wrong = |why: &str| format!("{why}: {}", msrp.start);
    let id = msrp.header("Message-ID").ok_or_else(|| wrong("no id"))?;
    let range = msrp.range().ok_or_else(|| wrong("no range"))?;
    let body = msrp.body.as_deref().unwrap_or_default();
    let at = open.iter().position(|parts| parts.id == id);
    let mut parts = match at {
        Some(at) => open.swap_remove(at),
        None => Parts {
            id: id.to_owned(),
            body: Vec::new(),
        },
    };
    if range.start != parts.body.len() + 1 {
        return Err(wrong("a chunk is missing before this one"));
    }
    parts.body.extend_from_slice(body);
    if range.end.is_some_and(|end| end != parts.body.len()) {
        return Err(wrong("the range does not fit the body"));
    }
    match msrp.flag {
        b'$' if range.total.is_none_or(|total| total == parts.body.len()) => Ok(Some(parts.body)),
        b'$' => Err(wrong("the total does not fit the message")),
        b'+' => {
            open.push(parts);
            Ok(None)
        }
        // Given up: nothing of it counts.
        _ => Ok(None),
    }
}
