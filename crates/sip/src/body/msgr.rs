//! `X-MMS-IM-Format`: the looks of a plain text, as the `msgr` parameter of its content type (MS-CONFIM §4.2.1).

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use encoding_rs::UTF_16LE;
use stox_core::vocab::{Colour, Style};

/// Characters of a parameter that is looked at.
pub const MAX_LENGTH: usize = 4096;
const FIELD: &str = "x-mms-im-format";

/// Base64 as Microsoft's clients write it: padded, or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Octets of unpadded or padded base64. `None` when it is neither.
#[must_use]
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// Reads the parameter: effects (`EF`: `B`, `I`, `U`, `S`) and colour (`CO`: hexadecimal, blue first). Fonts are left
/// to the reader. `None` when it is malformed: the text alone counts then.
#[must_use]
pub fn read(parameter: &str) -> Option<Style> {
    if parameter.len() > MAX_LENGTH {
        return None;
    }
    let octets = decode_base64(parameter)?;
    let text = UTF_16LE.decode_without_bom_handling_and_without_replacement(&octets)?;
    let value = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case(FIELD).then_some(value)
    })?;
    let mut style = Style::default();
    for field in value.split(';') {
        match field.trim().split_once('=') {
            Some(("EF", effects)) => apply_effects(&mut style, effects),
            Some(("CO", colour)) => style.colour = parse_colour(colour)?,
            _ => {}
        }
    }
    Some(style)
}

fn apply_effects(style: &mut Style, effects: &str) {
    style.bold = effects.contains('B');
    style.italic = effects.contains('I');
    style.underline = effects.contains('U');
    style.strike = effects.contains('S');
}

/// `BBGGRR` without leading zeros. `None` when it is no colour.
fn parse_colour(digits: &str) -> Option<Option<Colour>> {
    if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let [_, blue, green, red] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
    Some(Colour::unless_black(red, green, blue))
}
