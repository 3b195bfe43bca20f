//! Presence documents: the corpus, round trips, and hostile octets.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use stox_core::address::{Scheme, SipAddress};
use stox_core::vocab::{Document, Show, Text, Tuple};
use stox_sip::adapt::presence::{BodyRefused, PresenceBody, Style, read};
use stox_sip::body::document::DocumentError;
use stox_sip::body::xml::XmlError;
use stox_sip::body::{time, tuple_id};
use stox_sip::message::Message;

const PIDF: &str = "application/pidf+xml";

fn user(user: &str, host: &str) -> SipAddress {
    SipAddress {
        scheme: Scheme::Sip,
        user: Some(user.to_owned()),
        host: host.to_owned(),
        gr: None,
    }
}

fn romeo() -> SipAddress {
    user("romeo", "sip.example")
}

fn write(document: &Document, presentity: &SipAddress) -> PresenceBody {
    stox_sip::adapt::presence::write(document, presentity, &Style::default())
}

/// A document about romeo with this inside `presence`.
fn document(inside: &str) -> Document {
    let text = wrapped(inside);
    read(Some(PIDF), None, text.as_bytes(), &romeo())
        .unwrap()
        .unwrap()
}

fn wrapped(inside: &str) -> String {
    format!(
        "<presence xmlns='urn:ietf:params:xml:ns:pidf' xmlns:p='urn:ietf:params:xml:ns:pidf' \
         xmlns:dm='urn:ietf:params:xml:ns:pidf:data-model' xmlns:r='urn:ietf:params:xml:ns:pidf:rpid' \
         xmlns:ep='urn:ietf:params:xml:ns:pidf:status:rpid-status' xmlns:im='urn:ietf:params:xml:ns:pidf:im' \
         entity='pres:romeo@sip.example'>{inside}</presence>"
    )
}

/// One tuple with this inside.
fn tuple(inside: &str) -> Tuple {
    let mut tuples = document(&format!("<tuple id='t1'>{inside}</tuple>")).tuples;
    assert_eq!(tuples.len(), 1);
    tuples.remove(0)
}

fn refused(octets: &[u8]) -> BodyRefused {
    read(Some(PIDF), None, octets, &romeo()).unwrap_err()
}

// --------------------------------------------------------------------------------------------- corpus

fn verdict(octets: &[u8]) -> &'static str {
    match read(Some(PIDF), None, octets, &romeo()) {
        Err(_) | Ok(None) => "reject",
        Ok(Some(document)) if document.tuples.iter().any(|t| t.open == Some(true)) => "accept:open",
        Ok(Some(document)) if document.tuples.iter().all(|t| t.open == Some(false)) => {
            "accept:closed"
        }
        Ok(Some(_)) => "accept:unknown",
    }
}

#[test]
fn every_document_of_the_corpus_gets_its_verdict() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/corpus");
    let index = std::fs::read_to_string(corpus.join("INDEX.tsv")).unwrap();
    let mut replayed = 0;
    for row in index.lines().skip(1) {
        let fields: Vec<&str> = row.split('\t').collect();
        let (file, what, expected, phase) = (fields[0], fields[1], fields[2], fields[4]);
        if phase != "body" {
            continue;
        }
        let found = verdict(&std::fs::read(corpus.join(file)).unwrap());
        assert!(
            expected.split('|').any(|one| one == found),
            "{file} ({what}): {found} instead of {expected}"
        );
        replayed += 1;
    }
    assert_eq!(replayed, 32);
}

const REPLAYED_VECTORS: usize = 31;
/// Vectors whose body this layer refuses; every other body is read.
const REFUSED_VECTORS: [&str; 2] = [
    "PVAL-S2X-036", // DTD
    "PVAL-S2X-045", // another user
];

#[test]
fn the_body_of_every_presence_vector_is_read_or_refused_as_it_should() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vectors/presence");
    let mut replayed = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let vector = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let vector: serde_json::Value = serde_json::from_str(&vector).unwrap();
        let (id, sip) = (
            vector["id"].as_str().unwrap(),
            vector["given"]["sip"].as_str(),
        );
        let Some(sip) = sip.filter(|_| id.starts_with("PVAL-S2X")) else {
            continue;
        };
        let Ok(Message::Request(notify)) = Message::parse_datagram(sip.as_bytes()) else {
            panic!("{id}: no request");
        };
        let headers = &notify.headers;
        let (kind, language) = (headers.get("Content-Type"), headers.get("Content-Language"));
        let result = read(kind, language, &notify.body, &user("bruno", "ocs.example"));
        assert_eq!(
            result.is_err(),
            REFUSED_VECTORS.contains(&id),
            "{id}: {result:?}"
        );
        replayed += 1;
    }
    assert_eq!(replayed, REPLAYED_VECTORS);
}

// -------------------------------------------------------------------------------------------- reading

#[test]
fn limits_and_entities_are_refused_for_what_they_are() {
    let huge = wrapped(&format!("<note>{}</note>", "a".repeat(300_000)));
    let deep = wrapped(&"<a>".repeat(64));
    let wide = wrapped(&"<tuple/>".repeat(5000));
    let attributes: String = (0..100).map(|n| format!(" a{n}=''")).collect();
    let cases = [
        (huge, XmlError::TooLarge),
        (deep, XmlError::TooLarge),
        (wide, XmlError::TooLarge),
        (wrapped(&format!("<x{attributes}/>")), XmlError::TooLarge),
        (format!("<!DOCTYPE presence>{}", wrapped("")), XmlError::Dtd),
        (wrapped("<note>&nbsp;</note>"), XmlError::Entity),
        (wrapped("<note x='&nbsp;'/>"), XmlError::Entity),
        (wrapped("<note>&#0;</note>"), XmlError::NotWellFormed),
        (wrapped("<note>&#x1;</note>"), XmlError::NotWellFormed),
        (wrapped("<note>\u{1}</note>"), XmlError::NotWellFormed),
        (wrapped("<note x='&#8;'/>"), XmlError::NotWellFormed),
        (wrapped("<no:prefix/>"), XmlError::NotWellFormed),
        (wrapped("<rpid:/>"), XmlError::NotWellFormed),
        (wrapped("<:x/>"), XmlError::NotWellFormed),
        (wrapped("<note 1a='x'/>"), XmlError::NotWellFormed),
        (wrapped("</presence>"), XmlError::NotWellFormed),
        (format!("{} text", wrapped("")), XmlError::NotWellFormed),
    ];
    for (text, error) in cases {
        let start: String = text.chars().take(400).collect();
        assert_eq!(
            refused(text.as_bytes()),
            BodyRefused::Document(DocumentError::Xml(error)),
            "{start}"
        );
    }
}

#[test]
fn the_charset_is_found_where_rfc_7303_says() {
    let note = |text: &str| format!("<tuple id='a'><note>{text}</note></tuple>");
    let declared = |name: &str| {
        format!(
            "<?xml version='1.0' encoding='{name}'?>{}",
            wrapped(&note("café"))
        )
    };
    let latin = |text: &str| -> Vec<u8> {
        text.chars()
            .map(|c| u8::try_from(u32::from(c)).unwrap())
            .collect()
    };
    let utf16 = |text: &str, big: bool| -> Vec<u8> {
        let unit = |u: u16| {
            if big {
                u.to_be_bytes()
            } else {
                u.to_le_bytes()
            }
        };
        text.encode_utf16().flat_map(unit).collect()
    };
    let marked = [&[0xff, 0xfe][..], &utf16(&declared("UTF-16"), false)].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        (PIDF, declared("UTF-8").into_bytes()),
        (PIDF, latin(&declared("ISO-8859-1"))),
        (
            "application/pidf+xml;charset=UTF-8",
            declared("ISO-8859-1").into_bytes(),
        ),
        (
            "application/pidf+xml; charset=\"iso-8859-1\"",
            latin(&declared("UTF-8")),
        ),
        ("application/pidf+xml;charset=us-ascii", marked),
        (PIDF, utf16(&declared("UTF-16"), true)),
        (PIDF, utf16(&declared("UTF-16"), false)),
    ];
    for (content_type, octets) in cases {
        let document = read(Some(content_type), None, &octets, &romeo())
            .unwrap()
            .unwrap();
        assert_eq!(document.tuples[0].notes[0].text, "café", "{content_type}");
    }
    let broken = latin(&declared("UTF-8"));
    assert_eq!(
        refused(&broken),
        BodyRefused::Document(DocumentError::Xml(XmlError::Charset))
    );
    let unknown = declared("klingon-8");
    assert_eq!(
        refused(unknown.as_bytes()),
        BodyRefused::Document(DocumentError::Xml(XmlError::Charset))
    );
}

#[test]
fn basic_says_open_closed_or_nothing() {
    let cases = [
        ("<status><basic> open\n</basic></status>", Some(true)),
        ("<status><basic>closed</basic></status>", Some(false)),
        ("<status><basic>maybe</basic></status>", None),
        ("<status><basic/></status>", None),
        ("<status/>", None),
        ("", None),
        (
            "<status><z:basic xmlns:z='urn:z'>open</z:basic></status>",
            None,
        ),
        (
            "<status><z:m xmlns:z='urn:z'><basic>open</basic></z:m></status>",
            None,
        ),
    ];
    for (inside, open) in cases {
        assert_eq!(tuple(inside).open, open, "{inside}");
    }
}

#[test]
fn show_extension_takes_the_four_legal_values_only() {
    let cases = [
        ("chat", Some(Show::Chat)),
        ("away", Some(Show::Away)),
        ("xa", Some(Show::ExtendedAway)),
        ("dnd", Some(Show::DoNotDisturb)),
        ("gone-fishing", None),
        ("DND", None),
        ("", None),
    ];
    for (value, show) in cases {
        let inside = format!(
            "<status><basic>open</basic><show xmlns='jabber:client'>{value}</show></status>"
        );
        assert_eq!(tuple(&inside).show, show, "{value}");
    }
    assert_eq!(tuple("<status><show>dnd</show></status>").show, None);
}

#[test]
fn activities_are_told_apart_by_place_and_age() {
    let in_tuple = [
        "<r:activities><r:busy/></r:activities>",
        "<status><r:activities><r:busy/></r:activities></status>",
    ];
    for inside in in_tuple {
        assert_eq!(
            (tuple(inside).activities, tuple(inside).legacy_activities),
            (vec!["busy".to_owned()], vec![])
        );
    }
    let old = [
        "<status><ep:activities><ep:activity> busy </ep:activity></ep:activities></status>",
        "<status><r:activities><r:activity>busy</r:activity></r:activities></status>",
        "<status><im:im>busy</im:im></status>",
    ];
    for inside in old {
        assert_eq!(
            (tuple(inside).activities, tuple(inside).legacy_activities),
            (vec![], vec!["busy".to_owned()])
        );
    }
    let person = document(
        "<dm:person id='p'><r:activities><r:note>x</r:note><r:away/><r:other>golf</r:other><z:q xmlns:z='urn:z'/>\
         </r:activities><dm:note>out</dm:note></dm:person>",
    );
    assert_eq!(person.activities, ["away", "golf"]);
    assert_eq!(person.notes[0].text, "out");
    // COMPAT(baresip): a person with an empty list.
    assert_eq!(
        document("<dm:person id='p'><r:activities/></dm:person>"),
        Document::default()
    );
}

#[test]
fn notes_have_the_nearest_language() {
    let text = wrapped(
        "<tuple id='a' xml:lang='de'><note>eins</note><note xml:lang='en'>one</note><note xml:lang=''>1</note></tuple>\
         <note>un</note><note>  </note>",
    );
    let document = read(Some(PIDF), Some("fr, en"), text.as_bytes(), &romeo())
        .unwrap()
        .unwrap();
    let notes = |notes: &[Text]| -> Vec<(Option<String>, String)> {
        notes
            .iter()
            .map(|note| (note.lang.clone(), note.text.clone()))
            .collect()
    };
    let said = |lang: Option<&str>, text: &str| (lang.map(str::to_owned), text.to_owned());
    let in_tuple = [
        said(Some("de"), "eins"),
        said(Some("en"), "one"),
        said(None, "1"),
    ];
    assert_eq!(notes(&document.tuples[0].notes), in_tuple);
    assert_eq!(notes(&document.notes), [said(Some("fr"), "un")]);
}

#[test]
fn contact_priority_is_scaled_or_ignored() {
    let cases = [
        ("1.0", Some(127)),
        ("1", Some(127)),
        ("0", Some(0)),
        ("0.102", Some(13)),
        ("0.5", Some(64)),
        ("1.1", None),
        ("-0.5", None),
        ("NaN", None),
        ("1e-1", None),
        ("", None),
    ];
    for (written, priority) in cases {
        let inside = format!("<contact priority='{written}'>sip:x@y</contact>");
        assert_eq!(tuple(&inside).priority, priority, "{written}");
    }
    assert_eq!(tuple("<contact>sip:x@y</contact>").priority, None);
}

#[test]
fn last_input_counts_while_idle_and_reaches_every_device() {
    let input = |state: &str| {
        format!("<r:user-input last-input='2026-03-01T10:00:00Z'>{state}</r:user-input>")
    };
    let at = time::parse_rfc3339("2026-03-01T10:00:00Z");
    assert_eq!(tuple(&input("idle")).idle_since, at);
    assert_eq!(tuple(&input("active")).idle_since, None);
    let person = format!(
        "<tuple id='a'/><tuple id='b'/><dm:person id='p'>{}</dm:person>",
        input("idle")
    );
    assert_eq!(
        document(&person)
            .tuples
            .iter()
            .map(|t| t.idle_since)
            .collect::<Vec<_>>(),
        [at, at]
    );
}

#[test]
fn what_must_be_understood_and_is_not_takes_its_tuple_out() {
    let needy = "<x:y xmlns:x='urn:x' p:mustUnderstand='true'/>";
    let found = document(&format!(
        "<tuple id='ID-a'><status><basic>open</basic></status>{needy}</tuple>\
         <tuple id='b'><status><basic>open</basic><x:y xmlns:x='urn:x' p:mustUnderstand='false'/></status></tuple>"
    ));
    let silent = Tuple {
        id: "a".to_owned(),
        ..Tuple::default()
    };
    assert_eq!(found.tuples[0], silent);
    assert_eq!(found.tuples[1].open, Some(true));
    assert_eq!(
        refused(wrapped(needy).as_bytes()),
        BodyRefused::Document(DocumentError::MustUnderstand)
    );
    // Understood: our own namespaces.
    assert_eq!(
        tuple("<r:activities p:mustUnderstand='1'><r:away/></r:activities>").activities,
        ["away"]
    );
}

#[test]
fn tuple_ids_are_resources_and_unique() {
    let found = document(
        "<tuple id='ID-desk'/><tuple id='t1'/><tuple id='ID-t1'/><tuple/><tuple/><tuple id='t1'/><tuple id='tuple-4'/>",
    );
    let ids: Vec<&str> = found.tuples.iter().map(|t| t.id.as_str()).collect();
    assert_eq!(ids[..5], ["desk", "t1", "ID-t1", "tuple-3", "tuple-4"]);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 7);
}

#[test]
fn the_entity_has_to_be_the_user_of_the_dialog() {
    let about = |entity: &str| {
        let text = format!("<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='{entity}'/>");
        read(
            Some(PIDF),
            None,
            text.as_bytes(),
            &user("o'neil", "sip.example"),
        )
    };
    let same = [
        "pres:o&apos;neil@sip.example",
        "sip:O%27Neil@sip.example",
        "SIP:o%27neil@192.0.2.7;transport=tls",
        "sip%3Ao%27neil%40sip.example",
        "o%27neil@sip.example",
    ];
    for entity in same {
        assert_eq!(about(entity), Ok(Some(Document::default())), "{entity}");
    }
    let text = "<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='sip:Zoë@sip.example'/>";
    assert!(
        read(
            Some(PIDF),
            None,
            text.as_bytes(),
            &user("zo%C3%AB", "sip.example")
        )
        .is_ok()
    );
    assert_eq!(about("sip:ceo@sip.example"), Err(BodyRefused::OtherEntity));
    assert_eq!(about("sip:sip.example"), Err(BodyRefused::OtherEntity));
    for entity in [
        "",
        " ",
        "mailto:o%27neil@sip.example",
        "http://o%27neil@sip.example",
        "sip:",
        "sip",
        "a b",
    ] {
        assert_eq!(
            about(entity),
            Err(BodyRefused::Document(DocumentError::BadEntity)),
            "{entity:?}"
        );
    }
}

#[test]
fn a_document_may_stand_in_a_multipart_and_other_bodies_are_refused() {
    let inside = wrapped("<tuple id='a'><status><basic>open</basic></status></tuple>");
    let body = format!(
        "--b1\r\nContent-Type: application/rlmi+xml\r\n\r\n<list/>\r\n--b1\r\nContent-Type: application/pidf+xml\r\n\r\n\
         {inside}\r\n--b1--\r\n"
    );
    let outer = "multipart/related;boundary=b1;type=\"application/rlmi+xml\"";
    let found = read(Some(outer), None, body.as_bytes(), &romeo())
        .unwrap()
        .unwrap();
    assert_eq!(found.tuples[0].open, Some(true));

    assert_eq!(read(None, None, b"", &romeo()), Ok(None));
    let plain = inside.as_bytes();
    for content_type in [
        None,
        Some("text/plain"),
        Some("nonsense"),
        Some("application/watcherinfo+xml"),
    ] {
        let refused = read(content_type, None, plain, &romeo()).unwrap_err();
        assert_eq!(
            (refused.clone(), refused.status()),
            (BodyRefused::UnsupportedType, 415),
            "{content_type:?}"
        );
    }
    let refused = read(Some("multipart/related"), None, body.as_bytes(), &romeo()).unwrap_err();
    assert_eq!(refused.status(), 400);
}

// -------------------------------------------------------------------------------------------- writing

#[test]
fn the_writer_keeps_the_schema_order_and_escapes() {
    let full = Document {
        name: Some("A & B".to_owned()),
        tuples: vec![Tuple {
            id: "laptop 2".to_owned(),
            open: Some(true),
            show: Some(Show::DoNotDisturb),
            state: None,
            state_texts: vec![],
            activities: vec!["busy".to_owned()],
            legacy_activities: vec!["busy".to_owned()],
            notes: vec![Text {
                lang: Some("en".to_owned()),
                text: "a < b && c \u{1}".to_owned(),
            }],
            priority: Some(8),
            since: Some(Duration::from_millis(1_772_322_067_500)),
            idle_since: Some(Duration::from_secs(0)),
        }],
        activities: vec!["busy".to_owned(), "chess".to_owned()],
        notes: vec![],
    };
    let body = write(&full, &user("a(b)", "jabber.example"));
    let text = std::str::from_utf8(&body.bytes).unwrap();
    let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" \
        xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" entity=\"pres:a%28b%29@jabber.example\">\
        <tuple id=\"ID-laptop_x20_2\"><status><basic>open</basic><show xmlns=\"jabber:client\">dnd</show>\
        <ep:activities xmlns:ep=\"urn:ietf:params:xml:ns:pidf:status:rpid-status\"><ep:activity>busy</ep:activity>\
        </ep:activities></status><rpid:activities><rpid:busy/></rpid:activities>\
        <rpid:user-input last-input=\"1970-01-01T00:00:00Z\">idle</rpid:user-input>\
        <contact priority=\"0.062\">sip:a(b)@jabber.example</contact>\
        <note xml:lang=\"en\">a &lt; b &amp;&amp; c \u{fffd}</note>\
        <timestamp>2026-02-28T23:41:07.5Z</timestamp></tuple>\
        <dm:person id=\"person\"><rpid:activities><rpid:busy/><rpid:other>chess</rpid:other></rpid:activities>\
        </dm:person><ci:display-name xmlns:ci=\"urn:ietf:params:xml:ns:pidf:cipid\">A &amp; B</ci:display-name>\
        </presence>";
    assert_eq!(text, expected);
    assert_eq!(body.content_type, PIDF);
    assert_eq!(body.content_language.as_deref(), Some("en"));
}

#[test]
fn there_is_always_a_tuple_and_never_one_twice() {
    let body = write(&Document::default(), &romeo());
    let back = read(Some(PIDF), None, &body.bytes, &romeo())
        .unwrap()
        .unwrap();
    assert_eq!(
        back.tuples.iter().map(|t| t.open).collect::<Vec<_>>(),
        [Some(false)]
    );
    let twice = Document {
        tuples: vec![Tuple::default(), Tuple::default()],
        ..Document::default()
    };
    let back = read(Some(PIDF), None, &write(&twice, &romeo()).bytes, &romeo())
        .unwrap()
        .unwrap();
    assert_eq!(back.tuples.len(), 1);
}

#[test]
fn every_priority_has_its_own_decimal_and_comes_back() {
    let written = |priority: i8| {
        let tuple = Tuple {
            priority: Some(priority),
            ..Tuple::default()
        };
        let document = Document {
            tuples: vec![tuple],
            ..Document::default()
        };
        String::from_utf8(write(&document, &romeo()).bytes.to_vec()).unwrap()
    };
    let decimals: BTreeSet<String> = (0..=127).map(written).collect();
    assert_eq!(decimals.len(), 128);
    for (priority, decimal) in [(0, "0"), (1, "0.007"), (63, "0.496"), (127, "1")] {
        assert!(
            written(priority).contains(&format!("priority=\"{decimal}\"")),
            "{priority}"
        );
    }
    assert!(!written(-1).contains("priority"));
}

#[test]
fn a_language_is_announced_only_when_it_holds_for_every_note() {
    let noted = |langs: &[Option<&str>]| Document {
        notes: langs
            .iter()
            .map(|lang| Text {
                lang: lang.map(str::to_owned),
                text: "x".to_owned(),
            })
            .collect(),
        ..Document::default()
    };
    let announced = |langs: &[Option<&str>]| write(&noted(langs), &romeo()).content_language;
    assert_eq!(announced(&[Some("en"), Some("de")]).as_deref(), Some("en"));
    assert_eq!(announced(&[Some("en"), None]), None);
    assert_eq!(announced(&[None]), None);
    assert_eq!(announced(&[]), None);
    assert_eq!(announced(&[Some("en\r\nX: 1")]), None);
}

// ----------------------------------------------------------------------------------------- properties

fn text() -> impl Strategy<Value = String> {
    "[ -~äöü漢🚀\n\t]{0,20}[!-~é]"
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("away".to_owned()),
        Just("on-the-phone".to_owned()),
        Just("note".to_owned()),
        Just("activity".to_owned()),
        "[!-~]{1,3}( [!-~é]{1,3})?",
    ]
}

fn note() -> impl Strategy<Value = Text> {
    let lang = proptest::option::of("[a-z]{2,3}(-[A-Z]{2})?");
    (lang, text()).prop_map(|(lang, text)| Text { lang, text })
}

fn moment() -> impl Strategy<Value = Option<Duration>> {
    proptest::option::of(
        (0..253_402_300_800_u64, 0..1_000_000_000_u32).prop_map(|(s, n)| Duration::new(s, n)),
    )
}

fn shown() -> impl Strategy<Value = Option<Show>> {
    let shows = vec![
        Show::Chat,
        Show::Away,
        Show::ExtendedAway,
        Show::DoNotDisturb,
    ];
    proptest::option::of(proptest::sample::select(shows))
}

fn any_tuple() -> impl Strategy<Value = Tuple> {
    let names = || proptest::collection::vec(name(), 0..3);
    let state = (any::<Option<bool>>(), shown(), names(), names());
    let rest = (
        proptest::collection::vec(note(), 0..3),
        proptest::option::of(0..=127_i8),
        moment(),
        moment(),
    );
    ("\\PC{0,12}|[_x0-9A-F]{0,9}", state, rest).prop_map(|(id, state, rest)| Tuple {
        id,
        open: state.0,
        show: state.1,
        state: None,
        state_texts: vec![],
        activities: state.2,
        legacy_activities: state.3,
        notes: rest.0,
        priority: rest.1,
        since: rest.2,
        idle_since: rest.3,
    })
}

fn any_document() -> impl Strategy<Value = Document> {
    let tuples = proptest::collection::vec(any_tuple(), 1..5).prop_map(|mut tuples| {
        let mut seen = BTreeSet::new();
        tuples.retain(|tuple| seen.insert(tuple.id.clone()));
        tuples
    });
    let names = proptest::collection::vec(name(), 0..3);
    let notes = proptest::collection::vec(note(), 0..3);
    let person = proptest::option::of("[!-~é]{1,9}( [!-~]{1,9})?");
    (tuples, names, notes, person).prop_map(|(tuples, activities, notes, name)| Document {
        name,
        tuples,
        activities,
        notes,
    })
}

proptest! {
    #[test]
    fn a_document_survives_the_way_there_and_back(document in any_document()) {
        let body = write(&document, &romeo());
        let back = read(Some(body.content_type), None, &body.bytes, &romeo());
        prop_assert_eq!(back, Ok(Some(document)));
    }

    #[test]
    fn damaged_documents_are_read_or_refused(
        document in any_document(),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        let mut octets = write(&document, &romeo()).bytes.to_vec();
        for (index, octet, kind) in cuts {
            let at = index.index(octets.len());
            match kind {
                0 => octets[at] = octet,
                1 => octets.insert(at, octet),
                _ => octets.truncate(at.max(1)),
            }
        }
        if let Ok(Some(found)) = read(Some(PIDF), None, &octets, &romeo()) {
            let ids: BTreeSet<_> = found.tuples.iter().map(|tuple| &tuple.id).collect();
            prop_assert_eq!(ids.len(), found.tuples.len());
        }
    }

    #[test]
    fn any_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(Some(PIDF), None, &octets, &romeo()).is_err());
    }

    #[test]
    fn tuple_ids_are_legal_and_reversible(resource in "\\PC{0,20}|[_x0-9A-F]{0,12}") {
        let id = tuple_id::encode(&resource);
        prop_assert!(id.starts_with("ID-"));
        prop_assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)));
        prop_assert_eq!(tuple_id::decode(&id), resource);
    }

    #[test]
    fn stamps_survive(seconds in 0..253_402_300_800_u64, nanos in 0..1_000_000_000_u32) {
        let moment = Duration::new(seconds, nanos);
        prop_assert_eq!(time::parse_rfc3339(&time::format_rfc3339(moment)), Some(moment));
    }
}

#[test]
fn stamps_are_read_as_rfc_3339_says() {
    let at = |seconds| Some(Duration::from_secs(seconds));
    let cases = [
        ("1970-01-01T00:00:00Z", at(0)),
        ("2000-02-29T12:00:00z", at(951_825_600)),
        ("2026-03-01T11:30:00+01:30", at(1_772_359_200)),
        ("2026-03-01T08:30:00-01:30", at(1_772_359_200)),
        (" 2026-03-01T10:00:00.000Z ", at(1_772_359_200)),
        ("1990-12-31T23:59:60Z", at(662_688_000)),
        ("2026-02-29T00:00:00Z", None),
        ("9999999-99-99T99:99:99Z", None),
        ("1969-12-31T23:59:59Z", None),
        ("2026-03-01T10:00:00", None),
        ("2026-03-01", None),
        ("2026-03-01T10:00:00.Z", None),
        ("2026-03-01T24:00:00Z", None),
        ("2026-03-01T10:00:00+1:30", None),
        ("é026-03-01T10:00:00Z", None),
        ("", None),
    ];
    for (text, moment) in cases {
        assert_eq!(time::parse_rfc3339(text), moment, "{text}");
    }
}
