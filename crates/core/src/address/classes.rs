//! Character classes of both address syntaxes, as tables.

/// Characters that XEP-0106 escapes in a localpart, with the two digits that stand for them (§3.1).
/// A backslash is escaped only where it would read as one of these sequences.
pub(super) const ESCAPES: [(char, &str); 10] = [
    (' ', "20"),
    ('"', "22"),
    ('&', "26"),
    ('\'', "27"),
    ('/', "2f"),
    (':', "3a"),
    ('<', "3c"),
    ('>', "3e"),
    ('@', "40"),
    ('\\', "5c"),
];

/// Octets beside letters and digits that stand for themselves in the user part of a SIP URI: `mark` and
/// `user-unreserved` of RFC 3261 §25.1 (RFC 7247 §6.2).
pub(super) const SIP_USER: &[u8] = b"-_.!~*'()&=+$,;?/";

/// The same for the user part of an `im:` or `pres:` URI, where more is encoded (RFC 7247 §6.5 step 4), and `?`
/// would begin the headers (RFC 3860 §3.2).
pub(super) const IM_USER: &[u8] = b"-_!~*'&=+$/";

/// The same for the value of a URI parameter: `mark` and `param-unreserved` (RFC 3261 §25.1).
pub(super) const SIP_PARAMETER: &[u8] = b"-_.!~*'()[]/:&+$";

/// Octets that stand for themselves in the path of an `xmpp:` URI (RFC 5122 §2.2).
pub(super) const XMPP_URI: &[u8] = b"-._~!$'()*+,;=@/:";

/// Code points that no part of an address may hold: controls, noncharacters, private use.
const REFUSED: &[(u32, u32)] = &[
    (0x00, 0x1f),
    (0x7f, 0x9f),
    (0x2028, 0x202e),
    (0x2066, 0x2069),
    (0xe000, 0xf8ff),
    (0xfdd0, 0xfdef),
    (0xfff9, 0xfffb),
    (0xfffe, 0xffff),
    (0xf0000, 0x10_ffff),
];

/// Code points that a localpart may not hold either: white space, and those that show nothing and so make two
/// addresses look alike (RFC 8264 §9.13).
const INVISIBLE: &[(u32, u32)] = &[
    (0x00a0, 0x00a0),
    (0x00ad, 0x00ad),
    (0x034f, 0x034f),
    (0x061c, 0x061c),
    (0x115f, 0x1160),
    (0x1680, 0x1680),
    (0x17b4, 0x17b5),
    (0x180b, 0x180f),
    (0x2000, 0x200f),
    (0x202f, 0x202f),
    (0x205f, 0x206f),
    (0x3000, 0x3000),
    (0x3164, 0x3164),
    (0xfe00, 0xfe0f),
    (0xfeff, 0xfeff),
    (0xffa0, 0xffa0),
    (0xfff0, 0xfff8),
    (0x1_bca0, 0x1_bca3),
    (0x1_d173, 0x1_d17a),
    (0xe_0000, 0xe_0fff),
];

/// Legal in a resourcepart.
pub(super) fn resource_allows(c: char) -> bool {
    !within(REFUSED, c) && u32::from(c) & 0xfffe != 0xfffe
}

/// Legal in the text that a localpart stands for, before XEP-0106.
pub(super) fn text_allows(c: char) -> bool {
    resource_allows(c) && !within(INVISIBLE, c)
}

/// Legal in a localpart itself (RFC 7622 §3.3.1): what XEP-0106 escapes is not, but for the backslash.
pub(super) fn localpart_allows(c: char) -> bool {
    text_allows(c) && (c == '\\' || !ESCAPES.iter().any(|(escaped, _)| *escaped == c))
}

fn within(ranges: &[(u32, u32)], c: char) -> bool {
    let point = u32::from(c);
    ranges
        .iter()
        .any(|(first, last)| (*first..=*last).contains(&point))
}
