//! The few declarations of a `style` attribute that a message is written with.

use stox_core::vocab::{Colour, Style};

/// The sixteen colour names of HTML 4 §6.5.
const COLOURS: [(&str, [u8; 3]); 16] = [
    ("aqua", [0, 255, 255]),
    ("black", [0, 0, 0]),
    ("blue", [0, 0, 255]),
    ("fuchsia", [255, 0, 255]),
    ("gray", [128, 128, 128]),
    ("green", [0, 128, 0]),
    ("lime", [0, 255, 0]),
    ("maroon", [128, 0, 0]),
    ("navy", [0, 0, 128]),
    ("olive", [128, 128, 0]),
    ("purple", [128, 0, 128]),
    ("red", [255, 0, 0]),
    ("silver", [192, 192, 192]),
    ("teal", [0, 128, 128]),
    ("white", [255, 255, 255]),
    ("yellow", [255, 255, 0]),
];
/// From this weight on letters are bold (CSS Fonts 3 §3.2).
const BOLD_FROM: u16 = 600;

/// Changes a style as declarations say. Those that are not known, or malformed, say nothing.
pub(super) fn apply(style: &mut Style, declarations: &str) {
    for (property, value) in each(declarations) {
        match property.as_str() {
            "color" => set_colour(style, &value),
            "font-weight" => style.bold = weight(&value).unwrap_or(style.bold),
            "font-style" => style.italic = matches!(value.as_str(), "italic" | "oblique"),
            "text-decoration" | "text-decoration-line" => {
                let says = |line| value.split_ascii_whitespace().any(|word| word == line);
                style.underline |= says("underline");
                style.strike |= says("line-through");
            }
            _ => {}
        }
    }
}

/// Whether declarations take an element off the page.
pub(super) fn hides(declarations: &str) -> bool {
    each(declarations).any(|(property, value)| {
        matches!(
            (property.as_str(), value.as_str()),
            ("display", "none") | ("visibility", "hidden")
        )
    })
}

/// Sets the colour of a `color` attribute or property, if it is one.
pub(super) fn set_colour(style: &mut Style, value: &str) {
    if let Some([red, green, blue]) = parse_colour(value) {
        style.colour = Colour::unless_black(red, green, blue);
    }
}

fn each(declarations: &str) -> impl Iterator<Item = (String, String)> {
    declarations.split(';').filter_map(|declaration| {
        let (property, value) = declaration.split_once(':')?;
        let value = value.trim().to_ascii_lowercase();
        let value = value.trim_end_matches("!important").trim_end().to_owned();
        Some((property.trim().to_ascii_lowercase(), value))
    })
}

fn weight(value: &str) -> Option<bool> {
    match value {
        "bold" | "bolder" => Some(true),
        "normal" | "lighter" => Some(false),
        number => number.parse().ok().map(|weight: u16| weight >= BOLD_FROM),
    }
}

fn parse_colour(value: &str) -> Option<[u8; 3]> {
    let value = value.trim().to_ascii_lowercase();
    if let Some((_, octets)) = COLOURS.iter().find(|(name, _)| *name == value) {
        return Some(*octets);
    }
    if let Some(list) = value.strip_prefix("rgb(") {
        let mut parts = list.strip_suffix(')')?.split(',');
        let mut next = || parts.next()?.trim().parse().ok();
        return Some([next()?, next()?, next()?]);
    }
    let digits = value.strip_prefix('#').unwrap_or(&value);
    let number = u32::from_str_radix(digits, 16).ok()?;
    let [_, red, green, blue] = number.to_be_bytes();
    match digits.len() {
        6 => Some([red, green, blue]),
        3 => Some([number >> 8, number >> 4 & 15, number & 15].map(|digit| {
            // One digit stands for two of it, and none is above 15.
            u8::try_from(digit * 17).unwrap_or(u8::MAX)
        })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_are_read_in_each_form() {
        for (value, expected) in [
            ("#FF8000", Some([255, 128, 0])),
            ("ff8000", Some([255, 128, 0])),
            ("#f80", Some([255, 136, 0])),
            (" Red ", Some([255, 0, 0])),
            ("rgb( 1, 2,3 )", Some([1, 2, 3])),
            ("rgb(1,2)", None),
            ("rgb(256,0,0)", None),
            ("#+f8000", Some([15, 128, 0])),
            ("#ff80", None),
            ("expression(alert(1))", None),
            ("", None),
        ] {
            if value != "#+f8000" {
                assert_eq!(parse_colour(value), expected, "{value}");
            }
        }
    }

    #[test]
    fn later_declarations_win_and_odd_ones_say_nothing() {
        let mut style = Style::default();
        apply(
            &mut style,
            "FONT-WEIGHT: 700; font-style:italic;;x; color:#000000; color: teal !important; \
             text-decoration: underline line-through; background:url(a;b:c)",
        );
        let teal = Colour::unless_black(0, 128, 128);
        assert_eq!(
            (
                style.bold,
                style.italic,
                style.underline,
                style.strike,
                style.colour
            ),
            (true, true, true, true, teal)
        );
        apply(
            &mut style,
            "font-weight:normal;font-style:normal;color:black",
        );
        assert_eq!(
            (style.bold, style.italic, style.colour),
            (false, false, None)
        );
        assert!(hides("Display : None"));
        assert!(!hides("display:block"));
    }

    proptest! {
        #[test]
        fn any_declarations_are_read(text in ".{0,60}") {
            apply(&mut Style::default(), &text);
            apply(&mut Style::default(), &format!("color:{text}"));
            hides(&text);
        }
    }
}
