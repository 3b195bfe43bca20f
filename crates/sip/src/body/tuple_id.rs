//! Resources as tuple ids: `ID-` and the resource in a reversible spelling that is a legal `xs:ID` (RFC 8048
//! Table 1 note 2, RFC 3863 §4.1.2).
//!
//! A character that an XML name cannot hold is written `_xHEX_`, the spelling that XML toolkits use for names; an
//! underscore that would read as the start of one is written `_x5F_`.

const PREFIX: &str = "ID-";
/// Hexadecimal digits of one character at most.
const MAX_DIGITS: usize = 6;

/// The id for a resource. Different resources have different ids.
pub fn encode(resource: &str) -> String {
    let mut out = String::with_capacity(PREFIX.len() + resource.len());
    out.push_str(PREFIX);
    let mut rest = resource.chars();
    while let Some(character) = rest.next() {
        let literal = match character {
            '_' => !rest.as_str().starts_with('x'),
            c => is_name_char(c),
        };
        if literal {
            out.push(character);
        } else {
            out.push_str(&format!("_x{:X}_", u32::from(character)));
        }
    }
    out
}

/// The resource of an id that [`encode`] made; any other id is left as it is.
pub fn decode(id: &str) -> String {
    let Some(mut rest) = id.strip_prefix(PREFIX) else {
        return id.to_owned();
    };
    let mut out = String::with_capacity(rest.len());
    while let Some((before, after)) = rest.split_once("_x") {
        out.push_str(before);
        match escaped(after) {
            Some((character, behind)) => {
                out.push(character);
                rest = behind;
            }
            None => {
                out.push_str("_x");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn escaped(after: &str) -> Option<(char, &str)> {
    let end = after.bytes().take(MAX_DIGITS + 1).position(|b| b == b'_')?;
    let (digits, behind) = after.split_at_checked(end)?;
    let is_hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let character = char::from_u32(u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?)?;
    // No resource holds a control character, so no id of ours does.
    (!character.is_control()).then_some((character, behind.strip_prefix('_')?))
}

/// NameChar of XML Namespaces 1.0 (no colon), as far as every XML 1.0 edition agrees: ASCII.
fn is_name_char(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '_')
}
