//! Properties of the parser and the machines over many inputs.

use minidom::Element;
use proptest::prelude::*;

use super::{
    xml::{StreamParser, XmlEvent},
    *,
};

/// Small limits, so that short inputs reach them.
fn limits() -> Limits {
    Limits {
        header_octets: 400,
        octets_before_auth: 200,
        octets_after_auth: 300,
        depth: 4,
        attributes: 4,
        namespaces: 8,
        elements: 12,
        ..Limits::default()
    }
}

fn parse(parts: &[&[u8]]) -> Result<Vec<XmlEvent>, (Vec<XmlEvent>, StreamError)> {
    let mut parser = StreamParser::new(limits());
    let mut events = Vec::new();
    for part in parts {
        let mut input = *part;
        loop {
            match parser.next(&mut input) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return Err((events, error)),
            }
        }
    }
    Ok(events)
}

/// Pieces that make streams, good ones and bad ones.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("<message from='a@b' to='c@d'><body>text</body></message>".to_owned()),
        2 => Just("<iq xmlns:p='u:p' p:a='1' b=\"2\"><p:q/></iq>".to_owned()),
        2 => Just("<x xmlns='u:x'>&lt;&#x1F600;<![CDATA[<&]]>ü</x>".to_owned()),
        2 => Just(" \n".to_owned()),
        1 => Just("<a><b><c><d><e/></d></c></b></a>".to_owned()),
        1 => Just("<a b='' c='' d='' e='' f=''/>".to_owned()),
        1 => Just("<a><!-- no --></a>".to_owned()),
        1 => Just("<?no ?>".to_owned()),
        1 => Just("text".to_owned()),
        1 => Just("<a>&no;</a>".to_owned()),
        1 => Just("</stream:stream>".to_owned()),
        1 => (0_usize..400).prop_map(|n| format!("<t>{}</t>", "x".repeat(n))),
        1 => (0_usize..20).prop_map(|n| format!("<t>{}</t>", "<y/>".repeat(n))),
        1 => "[<>/a&;!\\[\\]'\" =:-]{0,12}",
        1 => "\\PC{0,6}",
    ]
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    (
        prop::collection::vec(piece(), 0..8),
        prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>())),
    )
        .prop_map(|(pieces, flip)| {
            let mut octets =
                format!("{}{}", header("a.test", "b.test"), pieces.concat()).into_bytes();
            if let Some((place, value)) = flip {
                let place = place.index(octets.len());
                octets[place] = value;
            }
            octets
        })
}

fn cut(octets: &[u8], places: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut places: Vec<_> = places
        .iter()
        .map(|place| place.index(octets.len() + 1))
        .collect();
    places.extend([0, octets.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|window| octets[window[0]..window[1]].to_vec())
        .collect()
}

fn text() -> impl Strategy<Value = String> {
    "[a-z<>&'\"\\r\\n\\t ü\u{1F600}]{0,12}"
}

fn tree() -> impl Strategy<Value = Element> {
    let leaf = (
        "[a-c]",
        prop_oneof![Just("jabber:client"), Just("u:x"), Just("")],
        text(),
        text(),
    )
        .prop_map(|(name, namespace, attribute, text)| {
            let mut element = Element::builder(name, namespace)
                .attr("k".try_into().unwrap(), attribute)
                .build();
            if !text.is_empty() {
                element.append_text(text);
            }
            element
        });
    leaf.prop_recursive(3, 10, 3, |inner| {
        (
            prop_oneof![Just("jabber:client"), Just("u:y")],
            prop::collection::vec(inner, 0..3),
        )
            .prop_map(|(namespace, children)| {
                let mut element = Element::bare("n", namespace);
                for child in children {
                    element.append_child(child);
                }
                element
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_cut_gives_the_same_events_and_the_same_error(
        octets in stream(),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let whole = parse(&[&octets]);
        let cut = cut(&octets, &places);
        let parts: Vec<_> = cut.iter().map(Vec::as_slice).collect();
        let in_parts = parse(&parts);
        let condition = |error: &(Vec<XmlEvent>, StreamError)| (error.0.clone(), error.1.condition);
        prop_assert_eq!(in_parts.as_ref().map_err(condition), whole.as_ref().map_err(condition));
        let octet_by_octet: Vec<_> = octets.chunks(1).collect();
        let single = parse(&octet_by_octet);
        prop_assert_eq!(single.as_ref().map_err(condition), whole.as_ref().map_err(condition));
    }

    #[test]
    fn whatever_is_written_reads_back(tree in tree()) {
        let mut stanza = Element::bare("message", ns::CLIENT);
        stanza.append_child(tree);
        let wire = super::write::stanza_to_wire(&stanza);
        let mut parser = StreamParser::new(Limits::default());
        let opening = header("a.test", "b.test");
        parser.next(&mut opening.as_bytes()).unwrap();
        let read = parser.next(&mut wire.as_bytes());
        prop_assert_eq!(read, Ok(Some(XmlEvent::Element(stanza))), "{}", wire);
    }

    #[test]
    fn no_octets_make_the_machines_panic_or_write_bad_xml(octets in stream(), tls: bool) {
        let rule = if tls { TlsRule::Required } else { TlsRule::Optional };
        let mut accepted = Accepted::new(inbound_settings(&["b.test"], rule));
        accepted.stream.receive(&octets, at(1));
        check_wire(accepted.seen());
        accepted.stream.handle_timeout(at(1_000));
        check_wire(accepted.seen());

        let mut dialled = Dialled::ready(outbound_settings("b.test", "a.test"));
        dialled.stream.receive(&octets[header("a.test", "b.test").len()..], at(1));
        dialled.stream.handle_timeout(at(1_000));
        dialled.seen();
        component::survives(&octets[header("a.test", "b.test").len()..]);
    }
}

/// All that an accepted stream wrote is one stream of ours, whole or cut off behind an element.
fn check_wire(seen: Vec<Seen<InboundEvent>>) {
    let wire: String = seen
        .into_iter()
        .filter_map(|seen| match seen {
            Seen::Wrote(text) => Some(text),
            _ => None,
        })
        .collect();
    if !wire.starts_with("<?xml") {
        return;
    }
    let mut parser = StreamParser::new(Limits::default());
    let mut input = wire.as_bytes();
    while parser.next(&mut input).unwrap().is_some() {}
    assert!(!parser.is_mid_element());
}
