//! A small SIP reader of the tests' own, so that what the gateway writes is not judged by the code that wrote it.

/// A header or URI parameter: its name in lower case and its value, if it has one.
pub(crate) type Param = (String, Option<String>);

/// Compact header names (RFC 3261 §7.3.3, RFC 6665 §8.2).
const COMPACT: [(&str, &str); 11] = [
    ("v", "via"),
    ("f", "from"),
    ("t", "to"),
    ("i", "call-id"),
    ("m", "contact"),
    ("l", "content-length"),
    ("c", "content-type"),
    ("o", "event"),
    ("k", "supported"),
    ("s", "subject"),
    ("e", "content-encoding"),
];

/// One SIP message in parts.
#[derive(Debug, Clone)]
pub(crate) struct SipText {
    /// Request line or status line.
    pub(crate) start: String,
    /// Names as written, values unfolded and trimmed.
    pub(crate) headers: Vec<(String, String)>,
    /// What follows the empty line.
    pub(crate) body: Vec<u8>,
    /// All octets.
    pub(crate) raw: Vec<u8>,
}

fn long_name(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    COMPACT
        .iter()
        .find(|(compact, _)| *compact == lower)
        .map_or(lower, |(_, long)| (*long).to_owned())
}

impl SipText {
    /// Takes a whole message apart.
    pub(crate) fn parse(raw: &[u8]) -> Result<Self, String> {
        let end = raw
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .ok_or("no empty line ends the head")?;
        let (head, rest) = raw.split_at(end);
        let head = std::str::from_utf8(head).map_err(|_| "the head is not UTF-8")?;
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            if let (true, Some((_, value))) = (line.starts_with([' ', '\t']), headers.last_mut()) {
                value.push(' ');
                value.push_str(line.trim());
                continue;
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| format!("a header line without colon: {line}"))?;
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(Self {
            start,
            headers,
            body: rest.get(4..).unwrap_or_default().to_vec(),
            raw: raw.to_vec(),
        })
    }

    pub(crate) fn is_response(&self) -> bool {
        self.start.starts_with("SIP/2.0 ")
    }

    /// The method of a request, empty for a response.
    pub(crate) fn method(&self) -> &str {
        if self.is_response() {
            return "";
        }
        self.start.split(' ').next().unwrap_or_default()
    }

    pub(crate) fn request_uri(&self) -> Option<&str> {
        if self.is_response() {
            return None;
        }
        self.start.split(' ').nth(1)
    }

    pub(crate) fn status(&self) -> Option<u16> {
        self.start
            .strip_prefix("SIP/2.0 ")?
            .split(' ')
            .next()?
            .parse()
            .ok()
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        let line = self.start.strip_prefix("SIP/2.0 ")?;
        Some(line.split_once(' ').map_or("", |(_, reason)| reason))
    }

    /// Every line of this header.
    pub(crate) fn lines<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let wanted = long_name(name);
        self.headers
            .iter()
            .filter(move |(have, _)| long_name(have) == wanted)
            .map(|(_, value)| value.as_str())
    }

    /// The header, its lines joined as one list (RFC 3261 §7.3.1).
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let lines: Vec<&str> = self.lines(name).collect();
        (!lines.is_empty()).then(|| lines.join(", "))
    }

    pub(crate) fn call_id(&self) -> Option<&str> {
        self.lines("Call-ID").next()
    }

    /// The branch of the topmost `Via`.
    pub(crate) fn branch(&self) -> Option<String> {
        let via = self.lines("Via").next()?;
        param(&params(via), "branch").flatten()
    }

    /// The transport word of the topmost `Via`.
    pub(crate) fn via_transport(&self) -> Option<&str> {
        let via = self.lines("Via").next()?;
        via.split_whitespace().next()?.rsplit('/').next()
    }

    pub(crate) fn tag(&self, header: &str) -> Option<String> {
        let value = self.lines(header).next()?;
        param(&params(after_uri(value)), "tag").flatten()
    }

    pub(crate) fn cseq_number(&self) -> Option<&str> {
        self.lines("CSeq").next()?.split_whitespace().next()
    }

    pub(crate) fn cseq_method(&self) -> Option<&str> {
        self.lines("CSeq").next()?.split_whitespace().nth(1)
    }
}

/// A value without its quoted display name, so that nothing inside the quotes counts.
fn after_display_name(value: &str) -> &str {
    let value = value.trim_start();
    let Some(quoted) = value.strip_prefix('"') else {
        return value;
    };
    let mut escaped = false;
    for (index, c) in quoted.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return quoted.get(index + 1..).unwrap_or_default(),
            _ => escaped = false,
        }
    }
    value
}

/// The URI in a value of the forms `name-addr` or `addr-spec`.
pub(crate) fn uri_of(value: &str) -> Option<&str> {
    let value = after_display_name(value);
    match value.split_once('<') {
        Some((_, rest)) => rest.split_once('>').map(|(uri, _)| uri),
        None => value.split(';').next().map(str::trim),
    }
}

/// The header parameters behind the URI of such a value.
pub(crate) fn after_uri(value: &str) -> &str {
    let value = after_display_name(value);
    match value.split_once('>') {
        Some((_, rest)) if value.contains('<') => rest,
        _ => value
            .split_once(';')
            .map_or("", |(uri, _)| value.get(uri.len()..).unwrap_or_default()),
    }
}

/// The parameters of a value, split at semicolons outside quotes; what stands before the first one is left out.
pub(crate) fn params(value: &str) -> Vec<Param> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in value.chars() {
        match (c, parts.last_mut()) {
            (';', _) if !quoted => parts.push(String::new()),
            (_, Some(part)) => {
                quoted ^= c == '"';
                part.push(c);
            }
            (_, None) => {}
        }
    }
    let pair = |part: String| match part.split_once('=') {
        Some((name, value)) => (
            name.trim().to_ascii_lowercase(),
            Some(value.trim().trim_matches('"').to_owned()),
        ),
        None => (part.trim().to_ascii_lowercase(), None),
    };
    parts.into_iter().skip(1).map(pair).collect()
}

/// A parameter: outside `None` when it is absent, inside `None` when it has no value.
pub(crate) fn param(params: &[Param], name: &str) -> Option<Option<String>> {
    params
        .iter()
        .find(|(have, _)| have.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.clone())
}

/// A SIP URI in the parts that the assertions ask for.
#[derive(Debug, Clone)]
pub(crate) struct UriText {
    /// `scheme:user@host`, without password, port and parameters.
    pub(crate) aor: String,
    pub(crate) user: Option<String>,
    pub(crate) host: String,
    pub(crate) port: Option<String>,
    pub(crate) params: Vec<Param>,
}

impl UriText {
    pub(crate) fn parse(uri: &str) -> Option<Self> {
        let (scheme, rest) = uri.split_once(':')?;
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user.split(':').next().unwrap_or(user)), rest),
            None => (None, rest),
        };
        let rest = rest.split('?').next().unwrap_or(rest);
        let authority = rest.split(';').next().unwrap_or(rest);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port.to_owned())),
            _ => (authority, None),
        };
        let at = user.map(|user| format!("{user}@")).unwrap_or_default();
        Some(Self {
            aor: format!("{scheme}:{at}{host}"),
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port,
            params: params(rest),
        })
    }
}
