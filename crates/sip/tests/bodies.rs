//! What Microsoft's clients put into a message, and how it is written for them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used
)]

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use proptest::prelude::*;
use serde_json::Value;
use stox_core::vocab::{Im, Rich, Style, Text};
use stox_sip::adapt::im::{self, Accepted, Inbound, Unwritable};
use stox_sip::body::imdn::Disposition;
use stox_sip::body::iscomposing::{self, Composing};
use stox_sip::body::text::is_xml_char;
use stox_sip::body::{html, keyboard, msgr, rtf};
use stox_sip::header::Headers;
use stox_sip::message::Message;
use stox_sip::validate::validate_request;

// ------------------------------------------------------------------------------------------- fixtures

fn described(style: &Style) -> String {
    let mut words: Vec<String> = [
        (style.bold, "bold"),
        (style.italic, "italic"),
        (style.underline, "underline"),
        (style.strike, "strike"),
    ]
    .iter()
    .filter(|(set, _)| *set)
    .map(|(_, word)| (*word).to_owned())
    .collect();
    words.extend(
        style
            .colour
            .map(|c| format!("#{:02x}{:02x}{:02x}", c.red, c.green, c.blue)),
    );
    words.extend(
        style
            .link
            .as_ref()
            .map(|link| format!("<{}>", link.as_str())),
    );
    words.join(" ")
}

fn described_runs(rich: Option<&Rich>) -> Vec<[String; 2]> {
    let runs = rich.map(Rich::runs).unwrap_or_default();
    runs.iter()
        .map(|run| [run.text.clone(), described(&run.style)])
        .collect()
}

fn check_fixture(name: &str, fixture: &Value) {
    let octets = fixture["message"].as_str().unwrap().as_bytes();
    let Message::Request(request) = Message::parse_datagram(octets).unwrap() else {
        panic!("{name} is a response");
    };
    assert_eq!(validate_request(&request), Ok(()), "{name}");
    let expect = &fixture["expect"];
    match im::read(&request, Default::default()) {
        Ok(Inbound::Message(im, _)) => {
            assert_eq!(
                im.bodies[0].text,
                expect["text"].as_str().unwrap(),
                "{name}"
            );
            let runs: Vec<[String; 2]> = serde_json::from_value(expect["runs"].clone()).unwrap();
            assert_eq!(described_runs(im.rich.as_ref()), runs, "{name}");
        }
        Ok(Inbound::Disposition(reports)) => {
            let [report] = reports.as_slice() else {
                panic!("{name}: {reports:?}");
            };
            let expected = match expect["report"].as_str().unwrap() {
                "delivered" => Disposition::Delivered,
                _ => Disposition::Failed,
            };
            assert_eq!(
                (report.message_id.as_str(), report.disposition),
                ("7", expected),
                "{name}"
            );
        }
        Err(refusal) => assert_eq!(
            Some(u64::from(refusal.status)),
            expect["status"].as_u64(),
            "{name}"
        ),
        Ok(other) => panic!("{name}: {other:?}"),
    }
}

#[test]
fn every_quirk_of_a_microsoft_body_is_understood() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/dialect/bodies");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let fixture = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        check_fixture(&path.display().to_string(), &fixture);
        count += 1;
    }
    assert!(count >= 30);
}

// ----------------------------------------------------------------------------------------- HTML, RTF

#[test]
fn markup_is_forgiven() {
    let cases = [
        ("a <b>b <i>c</b> d</i> e", "a b c d e"),
        ("<p>one<p>two</p></p>three", "one\ntwo\nthree"),
        (
            "<table><tr><td>a</td><td>b</td></tr><tr><td>c</table>",
            "a b\nc",
        ),
        ("<pre>a\n  b</pre>c", "a\n  b\nc"),
        ("&nbsp;&nbsp;x&nbsp;y&nbsp;", "  x y"),
        ("<a href=http://a.example>", ""),
        (
            "<a href=http://a.example>x<a href=mailto:b@c.example>b@c.example",
            "x <http://a.example>b@c.example",
        ),
        ("<title>t", ""),
        ("<b", ""),
        ("&amp", "&"),
        ("&#x1;&#0;", "\u{fffd}\u{fffd}"),
        ("a<template><p>b</p></template>c", "ac"),
        ("a<textarea><b></textarea>c", "a<b>c"),
        ("one\r\n two", "one two"),
    ];
    for (source, expected) in cases {
        assert_eq!(html::read(source).unwrap().text, expected, "{source}");
    }
}

#[test]
fn deep_and_long_documents_stay_cheap() {
    let deep = "<div><b>".repeat(5000) + "x" + &"</b></div>".repeat(2000);
    let found = html::read(&deep).unwrap();
    assert_eq!(found.text, "x");
    let hidden = "<i>".repeat(100) + "<script>x</script><span style='display:none'>y</span>z";
    assert_eq!(html::read(&hidden).unwrap().text, "z");
    let striped = "<b>a</b>c".repeat(3000);
    let found = html::read(&striped).unwrap();
    assert_eq!((found.text.len(), found.rich), (6000, None));
    assert_eq!(
        html::read(&"x".repeat(html::MAX_OCTETS + 1)),
        Err(html::TooLarge)
    );
    assert!(html::read(&"x".repeat(html::MAX_OCTETS)).is_ok());
    let nested = format!("{{\\rtf1 {}x{}}}", "{".repeat(20_000), "}".repeat(20_000));
    assert_eq!(rtf::read(nested.as_bytes()).unwrap().text, "x");
    let long = format!("{{\\rtf1 {}}}", "x".repeat(rtf::MAX_OCTETS));
    assert_eq!(rtf::read(long.as_bytes()), Err(rtf::RtfError));
    for no_rtf in [&b"plain"[..], b"{}", b"{\\html}", b""] {
        assert_eq!(rtf::read(no_rtf), Err(rtf::RtfError));
    }
}

// ------------------------------------------------------------------------------------- first messages

fn first(value: &str) -> Option<Im> {
    let mut headers = Headers::default();
    headers.push("Call-ID", "c1");
    headers.push(
        "ms-im-format",
        "text/html; charset=UTF-8;ms-body=PGI+bm90IHRoaXM8L2I+",
    );
    headers.push("ms-text-format", value);
    im::embedded(&headers)
}

#[test]
fn the_first_message_is_in_the_invitation() {
    let im = first("text/plain; charset=UTF-8;msgr=WAAtAE0ATQBTAC0ASQBNAC0ARgBvAHIAbQBhAHQAOgAgAEUARgA9AEIADQAKAA;ms-body=SGkgQWxtYSDigqwNCjop").unwrap();
    assert_eq!(im.bodies[0].text, "Hi Alma €\n:)");
    assert_eq!(im.thread.as_deref(), Some("c1"));
    assert_eq!(
        described_runs(im.rich.as_ref()),
        [["Hi Alma €\n:)".to_owned(), "bold".to_owned()]]
    );
    // Padded and not, quoted and not.
    for value in [
        "text/plain;charset=utf-8;ms-body=aA==",
        "text/plain; ms-body=aA",
        "text/plain;ms-body=\"aA\"",
        "text/html;ms-body=PGI+aDwvYj4",
        "text/plain;msgr=;ms-body=aA==",
    ] {
        assert_eq!(first(value).unwrap().bodies[0].text, "h", "{value}");
    }
    for value in [
        "text/plain; charset=UTF-8",
        "text/plain;ms-body=",
        "text/plain;ms-body=!!",
        "text/plain;charset=UTF-8;ms-body=/w",
        "text/plain;ms-body=/w",
        "image/gif;ms-body=aA==",
        "application/im-iscomposing+xml;ms-body=aA==",
        "rubbish",
    ] {
        assert_eq!(first(value), None, "{value}");
    }
    assert_eq!(im::embedded(&Headers::default()), None);
}

// -------------------------------------------------------------------------------------------- typing

#[test]
fn keyboard_activity_is_read_in_each_form() {
    for (document, active) in [
        (keyboard::write(true), Some(true)),
        (keyboard::write(false), Some(false)),
        (
            "<KeyboardActivity>\r\n<status status='type' /></KeyboardActivity>",
            Some(true),
        ),
        (
            "<k:KeyboardActivity xmlns:k='urn:x'><k:status status='idle'/></k:KeyboardActivity>",
            Some(false),
        ),
        (
            "<KeyboardActivity><status status='asleep'/></KeyboardActivity>",
            Some(false),
        ),
        ("<KeyboardActivity><status/></KeyboardActivity>", None),
        ("<KeyboardActivity/>", None),
        (
            "<action name='rgbtypecall'><status status='type'/></action>",
            None,
        ),
        ("", None),
    ] {
        let found = keyboard::parse(document.as_bytes(), None);
        assert_eq!(found.ok().map(|found| found.active), active, "{document}");
    }
}

// ----------------------------------------------------------------------------------------- the way out

#[test]
fn text_is_written_as_the_peer_takes_it() {
    let im = Im {
        bodies: vec![Text {
            lang: None,
            text: "1 < 2 & \"3\"\n  x".to_owned(),
        }],
        ..Im::default()
    };
    let written = |list: &str| {
        let out = im::write(&im, &Accepted::parse(list));
        out.map(|out| {
            (
                out.headers[0].1.clone(),
                String::from_utf8(out.body.to_vec()).unwrap(),
            )
        })
    };
    let plain = (
        "text/plain;charset=UTF-8".to_owned(),
        im.bodies[0].text.clone(),
    );
    assert_eq!(written("text/html text/plain"), Ok(plain.clone()));
    assert_eq!(written("*"), Ok(plain));
    let html = "1 &lt; 2 &amp; &quot;3&quot;<br>&nbsp;&nbsp;x".to_owned();
    assert_eq!(
        written("text/html;q=0.1, text/rtf"),
        Ok(("text/html;charset=UTF-8".to_owned(), html))
    );
    assert_eq!(written("text/rtf image/gif"), Err(Unwritable::NotAccepted));
    assert_eq!(written(""), Err(Unwritable::NotAccepted));
}

// ------------------------------------------------------------------------------------------ properties

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

proptest! {
    #[test]
    fn html_that_we_write_is_read_as_it_was(text in "[a-z<>&\"; é😀\n]{0,60}") {
        let text = text.trim_end().trim_start_matches('\n');
        let found = html::read(&html::write(text)).unwrap();
        prop_assert_eq!(found.text.as_str(), text);
        prop_assert_eq!(found.rich, None);
    }

    #[test]
    fn written_html_has_no_markup_but_breaks(text in ".{0,80}") {
        let written = html::write(&text).replace("<br>", "");
        prop_assert!(!written.contains(['<', '>', '"', '\n']));
    }

    #[test]
    fn a_format_is_read_as_it_was_written(effects in "B?I?U?S?", colour in 0..0x100_0000_u32, padded in any::<bool>()) {
        let text = format!("X-MMS-IM-Format: FN=MS%20Sans%20Serif; EF={effects}; CO={colour:x}; PF=0; RL=1\r\n\r\n");
        let engine = if padded { STANDARD } else { STANDARD_NO_PAD };
        let style = msgr::read(&engine.encode(utf16(&text))).unwrap();
        let found = [style.bold, style.italic, style.underline, style.strike];
        prop_assert_eq!(found, ["B", "I", "U", "S"].map(|letter| effects.contains(letter)));
        let back = style.colour.map_or(0, |c| u32::from_be_bytes([0, c.blue, c.green, c.red]));
        prop_assert_eq!(back, colour);
    }

    #[test]
    fn a_typing_state_is_read_as_it_was_written(
        active in any::<bool>(), seconds in proptest::option::of(1..100_000_u64), content_type in proptest::option::of(".{0,20}"),
    ) {
        let composing = Composing { active, refresh: seconds.map(Duration::from_secs) };
        let written = iscomposing::write(&composing, content_type.as_deref());
        let found = iscomposing::parse(written.as_bytes(), None).unwrap();
        prop_assert_eq!(found, Composing { refresh: composing.refresh.filter(|_| active), ..composing });
        prop_assert_eq!(keyboard::parse(keyboard::write(active).as_bytes(), None).unwrap().active, active);
    }

    #[test]
    fn a_first_message_is_read_as_it_was_put_in(text in "[^\r]{1,40}", padded in any::<bool>()) {
        let engine = if padded { STANDARD } else { STANDARD_NO_PAD };
        let found = first(&format!("text/plain; charset=UTF-8;ms-body={}", engine.encode(&text)));
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let clean: String = text.chars().map(|c| if is_xml_char(c) { c } else { '\u{fffd}' }).collect();
        prop_assert_eq!(found.map(|im| im.bodies[0].text.clone()), Some(clean).filter(|clean| !clean.is_empty()));
    }

    #[test]
    fn plain_rtf_is_read_as_it_was_written(text in "[a-z{}\\\\ é€😀]{0,40}") {
        let mut source = "{\\rtf1\\ansi\\uc1 ".to_owned();
        for unit in text.encode_utf16() {
            match u8::try_from(unit) {
                Ok(octet) if b"{}\\".contains(&octet) => source.push_str(&format!("\\{}", char::from(octet))),
                Ok(octet) if octet.is_ascii() => source.push(char::from(octet)),
                _ => source.push_str(&format!("\\u{}?", unit.cast_signed())),
            }
        }
        source.push('}');
        prop_assert_eq!(rtf::read(source.as_bytes()).unwrap().text, text.trim_end());
    }
}
