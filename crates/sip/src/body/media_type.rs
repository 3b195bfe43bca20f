//! Media types with parameters (RFC 2045 §5.1), as bodies and their parts name them.

/// A media type. Type, subtype and parameter names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    kind: String,
    subtype: String,
    params: Vec<(String, String)>,
}

impl MediaType {
    /// Reads `type/subtype;name=value;name="value"`. Parameters that are malformed are left out (RFC 3261 §7.4.1
    /// lets unknown ones be ignored). `None` without a type and a subtype.
    pub fn parse(text: &str) -> Option<Self> {
        let (essence, params) = text.split_once(';').unwrap_or((text, ""));
        let (kind, subtype) = essence.trim().split_once('/')?;
        let legal = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        (legal(kind.trim()) && legal(subtype.trim())).then(|| Self {
            kind: kind.trim().to_ascii_lowercase(),
            subtype: subtype.trim().to_ascii_lowercase(),
            params: parse_params(params),
        })
    }

    /// Whether this is the type; `*` stands for every subtype.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind == kind && (subtype == "*" || self.subtype == subtype)
    }

    /// Whether this is the type written `type/subtype`.
    pub fn is_named(&self, name: &str) -> bool {
        name.split_once('/').is_some_and(|(kind, subtype)| self.is(kind, subtype))
    }

    /// The subtype, in lower case.
    pub fn subtype(&self) -> &str {
        &self.subtype
    }

    /// The value of a parameter, unquoted.
    pub fn param(&self, name: &str) -> Option<&str> {
        let found = self.params.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// `;`-separated `name=value` pairs, values may be quoted strings.
pub(crate) fn parse_params(text: &str) -> Vec<(String, String)> {
    let mut params = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['=', ';']).unwrap_or(rest.len());
        let (name, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let Some(written) = behind.strip_prefix('=') else {
            rest = behind.strip_prefix(';').unwrap_or_default();
            continue;
        };
        let (value, behind) = param_value(written.trim_start());
        params.push((name.trim().to_ascii_lowercase(), value));
        rest = behind.split_once(';').map_or("", |(_, behind)| behind);
    }
    params
}

fn param_value(written: &str) -> (String, &str) {
    let Some(quoted) = written.strip_prefix('"') else {
        let (value, behind) = written.split_at_checked(written.find(';').unwrap_or(written.len())).unwrap_or_default();
        return (value.trim().to_owned(), behind);
    };
    let mut value = String::new();
    let mut rest = quoted.chars();
    while let Some(character) = rest.next() {
        match character {
            '"' => break,
            '\\' => value.extend(rest.next()),
            c => value.push(c),
        }
    }
    (value, rest.as_str())
}
