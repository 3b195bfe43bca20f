//! The pieces of RFC 3261 §25.1 that all SIP values are made of.

use std::borrow::Cow;

/// White space inside a logical line, after unfolding.
pub(crate) const WHITE: [char; 2] = [' ', '\t'];

/// Octets of `token` (RFC 3261 §25.1).
pub(crate) fn is_token_octet(octet: u8) -> bool {
    TOKEN.get(usize::from(octet)).is_some_and(|token| *token)
}

/// By octet. Names are most of what a parser reads octet by octet, hence a table.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut octet: u8 = 0;
    while octet < 128 {
        let token = octet.is_ascii_alphanumeric()
            || matches!(
                octet,
                b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
            );
        if let Some((_, [slot, ..])) = table.split_at_mut_checked(octet as usize) {
            *slot = token;
        }
        octet += 1;
    }
    table
};

/// One or more token octets and nothing else.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_octet)
}

/// A control octet that no header value may hold outside a quoted pair. HTAB is white space.
pub(crate) const fn is_control(octet: u8) -> bool {
    (octet < 0x20 && octet != b'\t') || octet == 0x7f
}

/// Without white space at either end.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(WHITE)
}

/// Each control character replaced by one space, so that the text can stand on one line.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if text.bytes().any(is_control) {
        let clean = |c: char| match u8::try_from(c) {
            Ok(octet) if is_control(octet) => ' ',
            _ => c,
        };
        Cow::Owned(text.chars().map(clean).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Decimal digits only, no sign, no white space. `None` for anything else, and for values above `u64`.
pub(crate) fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// The length of the quoted string that `text` starts with, both quotes included. `None` when it never ends.
pub(crate) fn quoted_length(text: &str) -> Option<usize> {
    let octets = text.as_bytes();
    let mut at = 1;
    loop {
        let step = memchr::memchr2(b'"', b'\\', octets.get(at..)?)?;
        at += step;
        if octets.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Splits at `separator`, but neither inside quoted strings nor inside `<…>`. Items come untrimmed.
pub(crate) fn split_outside(text: &str, separator: u8) -> Split<'_> {
    Split {
        rest: Some(text),
        separator,
    }
}

/// The iterator of [`split_outside`]. Linear in the length of the text.
#[derive(Debug, Clone)]
pub(crate) struct Split<'a> {
    rest: Option<&'a str>,
    separator: u8,
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest?;
        match find_outside(text, self.separator).and_then(|at| text.split_at_checked(at)) {
            Some((item, tail)) => {
                self.rest = tail.get(1..);
                Some(item)
            }
            None => {
                self.rest = None;
                Some(text)
            }
        }
    }
}

/// The first `wanted` octet that is neither inside a quoted string nor inside `<…>`.
pub(crate) fn find_outside(text: &str, wanted: u8) -> Option<usize> {
    let octets = text.as_bytes();
    let mut at = 0;
    loop {
        at += memchr::memchr3(wanted, b'"', b'<', octets.get(at..)?)?;
        match octets.get(at) {
            Some(&found) if found == wanted => return Some(at),
            Some(b'"') => at += quoted_length(text.get(at..)?)?,
            _ => at += memchr::memchr(b'>', octets.get(at..)?)? + 1,
        }
    }
}

/// The text inside a quoted string, quoted pairs resolved. Text that is not a quoted string comes back as it is.
pub(crate) fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inner) = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return Cow::Borrowed(text);
    };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    Cow::Owned(plain)
}

/// A quoted string that means `text`. Control characters become spaces.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in one_line(text).chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}
