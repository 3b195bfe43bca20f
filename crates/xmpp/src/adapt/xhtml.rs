//! Styled text as XHTML-IM (XEP-0071): only elements, attributes and properties of its profile.

use minidom::Element;
use rxml::xml_ncname;
use stox_core::vocab::{Rich, Run, Style};
use xmpp_parsers::ns;

use super::xml;

/// The `html` element that goes beside `body`.
pub(super) fn write(rich: &Rich) -> Element {
    let mut paragraph = Element::bare("p", ns::XHTML);
    let mut before = '\n';
    for run in rich.runs() {
        add_run(&mut paragraph, run, &mut before);
    }
    let mut body = Element::bare("body", ns::XHTML);
    body.append_child(paragraph);
    let mut html = Element::bare("html", ns::XHTML_IM);
    html.append_child(body);
    html
}

fn add_run(paragraph: &mut Element, run: &Run, before: &mut char) {
    let mut shells = shells(&run.style);
    let Some(mut inner) = shells.pop() else {
        return add_lines(paragraph, &run.text, before);
    };
    add_lines(&mut inner, &run.text, before);
    while let Some(mut outer) = shells.pop() {
        outer.append_child(inner);
        inner = outer;
    }
    paragraph.append_child(inner);
}

/// The elements that make a style, from the outside in.
fn shells(style: &Style) -> Vec<Element> {
    let mut shells = Vec::new();
    if let Some(link) = &style.link {
        let mut anchor = Element::bare("a", ns::XHTML);
        xml::set_attr(&mut anchor, xml_ncname!("href").into(), link.as_str());
        shells.push(anchor);
    }
    for (name, wanted) in [("strong", style.bold), ("em", style.italic)] {
        if wanted {
            shells.push(Element::bare(name, ns::XHTML));
        }
    }
    if let Some(properties) = properties(style) {
        let mut span = Element::bare("span", ns::XHTML);
        xml::set_attr(&mut span, xml_ncname!("style").into(), &properties);
        shells.push(span);
    }
    shells
}

/// Colour and lines: two of the properties that XEP-0071 recommends.
fn properties(style: &Style) -> Option<String> {
    let mut properties = Vec::new();
    if let Some(colour) = style.colour {
        let [red, green, blue] = [colour.red, colour.green, colour.blue];
        properties.push(format!("color: #{red:02x}{green:02x}{blue:02x}"));
    }
    let lines = [
        (style.underline, "underline"),
        (style.strike, "line-through"),
    ];
    let lines: Vec<&str> = lines
        .iter()
        .filter(|(wanted, _)| *wanted)
        .map(|(_, name)| *name)
        .collect();
    if !lines.is_empty() {
        properties.push(format!("text-decoration: {}", lines.join(" ")));
    }
    (!properties.is_empty()).then(|| properties.join("; "))
}

/// Text as XHTML shows it: a space that would be lost does not break instead.
fn add_lines(element: &mut Element, text: &str, before: &mut char) {
    let mut line = String::new();
    for character in text.chars() {
        match character {
            '\n' => {
                xml::add_text(element, &line);
                line.clear();
                element.append_child(Element::bare("br", ns::XHTML));
            }
            ' ' if matches!(before, ' ' | '\n') => line.push('\u{a0}'),
            other => line.push(other),
        }
        *before = character;
    }
    xml::add_text(element, &line);
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test fails by panicking"
    )]

    use minidom::Node;
    use proptest::prelude::*;
    use stox_core::address::Jid;
    use stox_core::time::Now;
    use stox_core::vocab::{Colour, Im, Link, Text};

    use super::*;
    use crate::adapt::message;

    /// Elements that are written, and the one attribute that each may have.
    const ALLOWED: [(&str, Option<&str>); 7] = [
        ("body", None),
        ("p", None),
        ("br", None),
        ("strong", None),
        ("em", None),
        ("span", Some("style")),
        ("a", Some("href")),
    ];

    fn run(text: &str, style: Style) -> Run {
        Run {
            text: text.to_owned(),
            style,
        }
    }

    fn message_of(bodies: &[&str], rich: Option<Rich>) -> Element {
        let text = |text: &&str| Text {
            lang: None,
            text: (*text).to_owned(),
        };
        let im = Im {
            bodies: bodies.iter().map(text).collect(),
            rich,
            ..Im::default()
        };
        let jid = |text| Jid::parse(text).unwrap();
        let (from, to) = (jid("bruno@ocs.example"), jid("alma@jabber.example"));
        message::write(&from, &to, &im, Now::default())
    }

    #[test]
    fn style_goes_beside_the_plain_body() {
        let strong = Style {
            bold: true,
            italic: true,
            ..Style::default()
        };
        let drawn = Style {
            underline: true,
            strike: true,
            colour: Colour::unless_black(255, 128, 0),
            link: Link::parse("https://a.example/?x=1&y=%27"),
            ..Style::default()
        };
        let runs = [
            run("a < b\n", Style::default()),
            run("  c", strong),
            run("d", drawn),
        ];
        let written = message_of(&["a < b\n  cd"], Rich::new(runs));
        let expected = "<message xmlns='jabber:client' from='bruno@ocs.example' to='alma@jabber.example'>\
            <body>a &lt; b\n  cd</body><html xmlns='http://jabber.org/protocol/xhtml-im'>\
            <body xmlns='http://www.w3.org/1999/xhtml'><p>a &lt; b<br/><strong><em>\u{a0}\u{a0}c</em></strong>\
            <a href='https://a.example/?x=1&amp;y=%27'><span style='color: #ff8000; \
            text-decoration: underline line-through'>d</span></a></p></body></html></message>";
        assert_eq!(written, expected.parse::<Element>().unwrap());
    }

    #[test]
    fn without_style_or_body_there_is_no_xhtml() {
        let bold = Style {
            bold: true,
            ..Style::default()
        };
        let has_html = |written: &Element| written.has_child("html", ns::XHTML_IM);
        assert!(has_html(&message_of(
            &["x"],
            Rich::new([run("x", bold.clone())])
        )));
        assert!(!has_html(&message_of(
            &["x"],
            Rich::new([run("x", Style::default())])
        )));
        assert!(!has_html(&message_of(&[], Rich::new([run("x", bold)]))));
    }

    fn any_style() -> impl Strategy<Value = Style> {
        let link = prop_oneof![
            Just(String::new()),
            "(http|mailto|javascript|data):.{0,12}",
            ".{0,8}"
        ];
        (any::<[bool; 4]>(), any::<Option<[u8; 3]>>(), link).prop_map(|(flags, colour, link)| {
            Style {
                bold: flags[0],
                italic: flags[1],
                underline: flags[2],
                strike: flags[3],
                colour: colour
                    .and_then(|[red, green, blue]| Colour::unless_black(red, green, blue)),
                link: Link::parse(&link),
            }
        })
    }

    /// Text without the differences that XHTML needs: line breaks and spaces.
    fn shown(element: &Element, out: &mut String) {
        for node in element.nodes() {
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Element(child) if child.name() == "br" => out.push('\n'),
                Node::Element(child) => shown(child, out),
            }
        }
    }

    fn check_allowed(element: &Element) {
        let row = ALLOWED.iter().find(|row| row.0 == element.name());
        let (_, attribute) = row.unwrap();
        assert!(element.has_ns(ns::XHTML));
        for ((_, name), value) in element.attrs() {
            assert_eq!(Some(name.as_str()), *attribute);
            match name.as_str() {
                "href" => assert!(Link::parse(value).is_some()),
                _ => assert!(value.split("; ").all(|property| {
                    property.starts_with("color: #") || property.starts_with("text-decoration: ")
                })),
            }
        }
        element.children().for_each(check_allowed);
    }

    proptest! {
        #[test]
        fn nothing_but_the_profile_is_written(
            pieces in prop::collection::vec((".{0,6}|[ \n<&\"']{0,6}", any_style()), 1..12)
        ) {
            let Some(rich) = Rich::new(pieces.iter().map(|(text, style)| run(text, style.clone()))) else {
                return Ok(());
            };
            let wire = String::from(&message_of(&["x"], Some(rich.clone())));
            let parsed: Element = wire.parse().unwrap();
            prop_assert_eq!(&String::from(&parsed), &wire);
            let html = parsed.get_child("html", ns::XHTML_IM).unwrap();
            html.children().for_each(check_allowed);
            let mut text = String::new();
            shown(html, &mut text);
            let clean = |text: &str| xml::clean(text).replace('\r', "\n").replace('\u{a0}', " ");
            let expected: String = rich.runs().iter().map(|run| run.text.as_str()).collect();
            prop_assert_eq!(clean(&text), clean(&expected));
        }
    }
}
