//! The four families of presence documents: the state map in both directions, the fixtures of each dialect, and what
//! holds for any document.
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
use stox_core::presence::{Announced, Resources, Rules, STATES, Shown, Told};
use stox_core::vocab::{Document, PresenceKind, ResourcePresence, Show, State, Text, Tuple};
use stox_sip::adapt::presence::{
    BodyRefused, Format, PresenceBody, Style, accept, choose, read, read_after, reads_old_form,
    write,
};
use stox_sip::body::document::DocumentError;
use stox_sip::body::multipart;
use stox_sip::body::xml::XmlError;
use stox_sip::header::Headers;

const AVAILABLE: Shown = Shown::Available(None);
const CHAT: Shown = Shown::Available(Some(Show::Chat));
const AWAY: Shown = Shown::Available(Some(Show::Away));
const XA: Shown = Shown::Available(Some(Show::ExtendedAway));
const DND: Shown = Shown::Available(Some(Show::DoNotDisturb));
const OFF: Shown = Shown::Unavailable;

fn user(name: &str, host: &str) -> SipAddress {
    SipAddress {
        scheme: Scheme::Sip,
        user: Some(name.to_owned()),
        host: host.to_owned(),
        gr: None,
    }
}

fn bruno() -> SipAddress {
    user("bruno", "ocs.example")
}

fn alma() -> SipAddress {
    user("alma", "jabber.example")
}

fn parsed(content_type: &str, body: &str) -> Document {
    read(Some(content_type), None, body.as_bytes(), &bruno())
        .unwrap()
        .unwrap()
}

/// What an XMPP user is told of a document: sub-state and status text. `None`: nothing.
fn told(document: &Document) -> Option<(Shown, String)> {
    let mut news = Announced::default().update(document, &Rules::default());
    assert!(news.len() <= 1, "{news:?}");
    let text = |statuses: &[Text]| statuses.first().map_or(String::new(), |s| s.text.clone());
    Some(match news.pop()?.1 {
        PresenceKind::Available(presence) => {
            (Shown::Available(presence.show), text(&presence.statuses))
        }
        PresenceKind::Unavailable(statuses) => (Shown::Unavailable, text(&statuses)),
        other => panic!("{other:?}"),
    })
}

fn state_of(document: &Document) -> State {
    document.tuples[0].state.unwrap()
}

// ------------------------------------------------------------------------------------ SIP to XMPP

fn categories(availability: &str, activity: &str) -> String {
    format!(
        "<categories xmlns='http://schemas.microsoft.com/2006/09/sip/categories' uri='sip:bruno@ocs.example'>\
         <category name='state' instance='1' publishTime='2026-11-21T23:00:00.000'>\
         <state xmlns='http://schemas.microsoft.com/2006/09/sip/state' \
         xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xsi:type='aggregateState'>\
         <availability>{availability}</availability>{activity}</state></category></categories>"
    )
}

fn msrtc(availability: u32, activity: u32) -> String {
    format!(
        "<presentity uri='bruno@ocs.example' xmlns='http://schemas.microsoft.com/2002/09/sip/presence'>\
         <availability aggregate='{availability}' description=''/><activity aggregate='{activity}' description=''/>\
         </presentity>"
    )
}

fn xpidf(status: &str, substatus: &str) -> String {
    format!(
        "<?xml version='1.0'?><!DOCTYPE presence PUBLIC '-//IETF//DTD RFCxxxx XPIDF 1.0//EN' 'xpidf.dtd'>\
         <presence><presentity uri='sip:bruno@ocs.example;method=SUBSCRIBE'/><atom id='1000'>\
         <address uri='sip:bruno@ocs.example;user=ip' priority='0.800000'><status status='{status}'/>\
         <msnsubstatus substatus='{substatus}'/></address></atom></presence>"
    )
}

fn pidf(basic: &str, activity: &str) -> String {
    let old = match activity {
        "" => String::new(),
        word => format!("<ep:activities><ep:activity>{word}</ep:activity></ep:activities>"),
    };
    format!(
        "<presence xmlns='urn:ietf:params:xml:ns:pidf' xmlns:ep='urn:ietf:params:xml:ns:pidf:status:rpid-status' \
         entity='sip:bruno@ocs.example'><tuple id='0'><status><basic>{basic}</basic>{old}</status></tuple></presence>"
    )
}

/// What must come out, written down apart from the table: availability, token, then sub-state and status text.
#[rustfmt::skip]
const BY_NUMBER: [(&str, &str, Shown, &str, State); 29] = [
    ("0", "", OFF, "", State::Unknown),
    ("2999", "away", OFF, "", State::Unknown),
    ("nonsense", "", OFF, "", State::Unknown),
    ("3000", "", AVAILABLE, "", State::Available),
    ("3500", "", AVAILABLE, "", State::Available),
    ("4499", "out-of-office", AVAILABLE, "", State::Available),
    ("4500", "", AWAY, "", State::Inactive),
    ("5000", "idle", AWAY, "", State::Inactive),
    ("6000", "", DND, "", State::Busy),
    ("6500", "busy", DND, "", State::Busy),
    ("6500", "on-the-phone", DND, "In a call", State::InACall),
    ("7000", "in-a-conference", DND, "In a conference", State::InAConference),
    ("6500", "in-a-meeting", DND, "In a meeting", State::InAMeeting),
    ("8999", "in-a-meeting", DND, "In a meeting", State::InAMeeting),
    ("7500", "", DND, "", State::BusyInactive),
    ("7750", "busyidle", DND, "", State::BusyInactive),
    ("9000", "", DND, "", State::DoNotDisturb),
    ("9500", "do-not-disturb", DND, "", State::DoNotDisturb),
    ("9500", "in-presentation", DND, "Presenting", State::Presenting),
    ("9500", "urgent-interruptions-only", DND, "Urgent interruptions only", State::UrgentOnly),
    ("6900", "urgent-interruptions-only", DND, "Urgent interruptions only", State::UrgentOnly),
    ("12000", "", AWAY, "Be right back", State::BeRightBack),
    ("12500", "be-right-back", AWAY, "Be right back", State::BeRightBack),
    ("15500", "", AWAY, "", State::Away),
    ("15500", "out-to-lunch", AWAY, "Out to lunch", State::OutToLunch),
    ("15500", "off-work", XA, "Off work", State::OffWork),
    ("15500", "out-of-office", XA, "Out of office", State::OutOfOffice),
    ("18000", "", OFF, "", State::Offline),
    ("18500", "offline", OFF, "", State::Offline),
];

/// Availability and activity of 2005.
#[rustfmt::skip]
const BY_LEVEL: [(u32, u32, Shown, &str, State); 13] = [
    (0, 0, OFF, "", State::Offline),
    (0, 400, OFF, "", State::Offline),
    (300, 400, AVAILABLE, "", State::Available),
    (300, 800, AVAILABLE, "", State::Available),
    (300, 0, AVAILABLE, "", State::Available),
    (200, 200, AWAY, "", State::Inactive),
    (300, 200, AWAY, "", State::Inactive),
    (300, 100, AWAY, "", State::Away),
    (300, 700, AWAY, "", State::Away),
    (300, 150, AWAY, "Out to lunch", State::OutToLunch),
    (300, 300, AWAY, "Be right back", State::BeRightBack),
    (300, 500, DND, "In a call", State::InACall),
    (300, 600, DND, "", State::Busy),
];

/// Status word and sub-status.
#[rustfmt::skip]
const BY_WORD: [(&str, &str, Shown, &str, State); 9] = [
    ("open", "online", AVAILABLE, "", State::Available),
    ("open", "unknown", AVAILABLE, "", State::Available),
    ("open", "away", AWAY, "", State::Away),
    ("open", "idle", AWAY, "", State::Inactive),
    ("inuse", "busy", DND, "", State::Busy),
    ("open", "berightback", AWAY, "Be right back", State::BeRightBack),
    ("inuse", "onthephone", DND, "In a call", State::InACall),
    ("open", "outtolunch", AWAY, "Out to lunch", State::OutToLunch),
    ("closed", "away", OFF, "", State::Offline),
];

/// `basic` and activity of PIDF.
#[rustfmt::skip]
const BY_ACTIVITY: [(&str, &str, Shown, &str, State); 12] = [
    ("open", "", AVAILABLE, "", State::Available),
    ("open", "chat", CHAT, "", State::FreeForChat),
    ("open", "away", AWAY, "", State::Away),
    ("open", "idle", AWAY, "", State::Inactive),
    ("open", "busy", DND, "", State::Busy),
    ("open", "on-the-phone", DND, "In a call", State::InACall),
    ("open", "meeting", DND, "In a meeting", State::InAMeeting),
    ("open", "be-right-back", AWAY, "Be right back", State::BeRightBack),
    ("open", "do-not-disturb", DND, "", State::DoNotDisturb),
    ("open", "vacation", XA, "", State::ExtendedAway),
    ("open", "out-of-office", XA, "Out of office", State::OutOfOffice),
    ("closed", "busy", OFF, "", State::Offline),
];

#[test]
fn every_state_reaches_xmpp_as_the_list_says() {
    let mut seen = BTreeSet::new();
    let mut check = |kind: Format, body: String, shown: Shown, status: &str, state: State| {
        let document = parsed(kind.content_type(), &body);
        if kind != Format::Pidf {
            assert_eq!(state_of(&document), state, "{body}");
        }
        assert_eq!(told(&document), Some((shown, status.to_owned())), "{body}");
        seen.insert(state);
    };
    for (number, token, shown, status, state) in BY_NUMBER {
        let activity = match token {
            "" => String::new(),
            token => format!("<activity token='{token}'/>"),
        };
        let body = categories(number, &activity);
        check(Format::Categories, body, shown, status, state);
    }
    for (availability, activity, shown, status, state) in BY_LEVEL {
        let body = msrtc(availability, activity);
        check(Format::MsrtcPidf, body, shown, status, state);
    }
    for (word, substatus, shown, status, state) in BY_WORD {
        check(Format::Xpidf, xpidf(word, substatus), shown, status, state);
    }
    for (basic, activity, shown, status, state) in BY_ACTIVITY {
        check(Format::Pidf, pidf(basic, activity), shown, status, state);
    }
    let all: BTreeSet<State> = STATES.iter().map(|row| row.state).collect();
    assert_eq!(seen, all, "every row of the state map is in a list");
}

// ------------------------------------------------------------------------------------ XMPP to SIP

fn shows(shown: Shown) -> Document {
    let mut resources = Resources::default();
    match shown {
        Shown::Available(show) => {
            let presence = ResourcePresence {
                show,
                ..ResourcePresence::default()
            };
            resources.available(Some("laptop"), presence);
        }
        Shown::Unavailable => {
            resources.unavailable(Some("laptop"), &[]);
        }
    }
    resources.document().unwrap()
}

fn style(format: Format) -> Style {
    Style {
        format,
        one_tuple: true,
        old_form: false,
        told: Told::default(),
        now: Duration::from_secs(1_772_322_067),
    }
}

fn written(document: &Document, style: &Style) -> String {
    let body = write(document, &alma(), style);
    assert_eq!(body.content_type, style.format.content_type());
    String::from_utf8(body.bytes.to_vec()).unwrap()
}

/// One row of what SIP users get: PIDF basic and activity, availability and token, the two numbers of 2005, the two
/// words of messengers.
type Row = (
    Shown,
    (&'static str, &'static str),
    (&'static str, &'static str),
    (&'static str, &'static str),
    (&'static str, &'static str),
);

#[rustfmt::skip]
const SENT: [Row; 6] = [
    (AVAILABLE, ("open", ""), ("3500", ""), ("300", "400"), ("open", "online")),
    (CHAT, ("open", ""), ("3500", ""), ("300", "400"), ("open", "online")),
    (AWAY, ("open", "away"), ("15500", "away"), ("300", "100"), ("open", "away")),
    (XA, ("open", "away"), ("15500", ""), ("300", "100"), ("open", "away")),
    (DND, ("open", "busy"), ("9500", "do-not-disturb"), ("300", "600"), ("inuse", "busy")),
    (OFF, ("closed", ""), ("18500", "offline"), ("0", "0"), ("closed", "unknown")),
];

#[test]
fn every_sub_state_reaches_every_family_as_the_list_says() {
    let has = |text: &str, piece: &str, wanted: bool| {
        assert_eq!(text.contains(piece), wanted, "{piece} in {text}");
    };
    for (shown, (basic, activity), (number, token), levels, words) in SENT {
        let document = shows(shown);
        let text = written(&document, &style(Format::Pidf));
        has(&text, &format!("<basic>{basic}</basic>"), true);
        let old = format!("<ep:activity>{activity}</ep:activity></ep:activities></status>");
        has(&text, &old, !activity.is_empty());
        has(&text, &format!("<rpid:{activity}/>"), !activity.is_empty());
        has(&text, "activities", !activity.is_empty());
        assert_eq!(text.matches("<tuple").count(), 1);

        let text = written(&document, &style(Format::Categories));
        has(
            &text,
            &format!("<availability>{number}</availability>"),
            true,
        );
        has(
            &text,
            &format!("<activity token=\"{token}\"/>"),
            !token.is_empty(),
        );
        has(&text, "<activity", !token.is_empty());

        let text = written(&document, &style(Format::MsrtcPidf));
        has(
            &text,
            &format!("<availability aggregate=\"{}\"", levels.0),
            true,
        );
        has(
            &text,
            &format!("<activity aggregate=\"{}\"", levels.1),
            true,
        );

        let text = written(&document, &style(Format::Xpidf));
        has(&text, &format!("<status status=\"{}\"/>", words.0), true);
        has(
            &text,
            &format!("<msnsubstatus substatus=\"{}\"/>", words.1),
            true,
        );
    }
    let listed: Vec<Shown> = SENT.iter().map(|row| row.0).collect();
    let mapped: Vec<Shown> = STATES.iter().filter_map(|row| row.sent_for).collect();
    assert_eq!(listed.len(), mapped.len());
    assert!(mapped.iter().all(|shown| listed.contains(shown)));
}

#[test]
fn peers_may_be_told_of_sub_states_in_another_way() {
    let busy = Style {
        told: Told {
            dnd: State::Busy,
            xa: State::OffWork,
        },
        ..style(Format::Categories)
    };
    let text = written(&shows(DND), &busy);
    assert!(text.contains("<availability>6500</availability><activity token=\"busy\"/>"));
    assert!(written(&shows(XA), &busy).contains("<activity token=\"off-work\"/>"));
}

#[test]
fn every_state_survives_the_families_that_can_tell_it() {
    for row in &STATES {
        let one = Document {
            tuples: vec![Tuple {
                id: "0".to_owned(),
                open: Some(row.state.is_open()),
                state: Some(row.state),
                ..Tuple::default()
            }],
            ..Document::default()
        };
        let back = |format: Format| {
            let body = write(&one, &bruno(), &style(format));
            let read = read(Some(body.content_type), None, &body.bytes, &bruno());
            read.unwrap().unwrap()
        };
        if row.by_number || row.token.is_some() {
            assert_eq!(
                state_of(&back(Format::Categories)),
                row.state,
                "{}",
                row.name
            );
        }
        for format in Format::ALL {
            let shown = told(&back(format)).unwrap().0;
            let telling = matches!(row.state, State::FreeForChat) || row.shown == XA;
            if !telling {
                assert_eq!(shown, row.shown, "{} in {format:?}", row.name);
            }
        }
    }
}

// ------------------------------------------------------------------------------------------ fixtures

fn fixtures() -> Vec<(String, Vec<String>, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/dialect/presence");
    let index = std::fs::read_to_string(folder.join("INDEX.tsv")).unwrap();
    let rows = index.lines().skip(1);
    rows.map(|row| {
        let fields: Vec<String> = row.split('\t').map(str::to_owned).collect();
        let octets = std::fs::read(folder.join(&fields[0])).unwrap();
        (fields[0].clone(), fields, octets)
    })
    .collect()
}

#[test]
fn every_document_of_a_dialect_is_shown_as_its_row_says() {
    let mut dialects = BTreeSet::new();
    for (file, row, octets) in fixtures() {
        let document = read(Some(&row[1]), None, &octets, &bruno());
        let document = document
            .unwrap_or_else(|error| panic!("{file}: {error}"))
            .unwrap();
        let expected = (row[3] != "-").then(|| (row[3].clone(), row[4].clone()));
        let found = told(&document).map(|(shown, status)| (shown.name().to_owned(), status));
        assert_eq!(found, expected, "{file}");
        assert_eq!(document.name.unwrap_or_default(), row[5], "{file}");
        dialects.insert(row[2].clone());
    }
    let all = ["lcs2005", "lync", "ocs2007r2", "simple", "skype"];
    assert_eq!(dialects.into_iter().collect::<Vec<_>>(), all);
}

// -------------------------------------------------------------------------------------------- details

#[test]
fn categories_that_are_left_out_stay_as_they_were() {
    let whole = fixtures();
    let of = |name: &str| &whole.iter().find(|(file, ..)| file == name).unwrap().2;
    let kind = Some(Format::Categories.content_type());
    let next = |octets: &[u8], before: &Document| {
        read_after(kind, None, octets, &bruno(), Some(before))
            .unwrap()
            .unwrap()
    };
    let first = parsed(
        Format::Categories.content_type(),
        std::str::from_utf8(of("ocs2007r2-categories-call.xml")).unwrap(),
    );
    let noted = next(of("ocs2007r2-categories-note-only.xml"), &first);
    let call = Some((DND, "In a call – gone fishing".to_owned()));
    assert_eq!(
        (told(&noted), noted.name.as_deref()),
        (call, Some("Bruno Berg"))
    );

    let state = next(categories("15500", "").as_bytes(), &noted);
    assert_eq!(told(&state), Some((AWAY, "gone fishing".to_owned())));

    let gone = "<categories xmlns='http://schemas.microsoft.com/2006/09/sip/categories' uri='sip:bruno@ocs.example'>\
        <category name='note' instance='0'/><category name='state' instance='1'/></categories>";
    assert_eq!(
        told(&next(gone.as_bytes(), &state)),
        Some((OFF, String::new()))
    );
}

#[test]
fn of_several_states_the_right_one_speaks_for_the_user() {
    let instance = |kind: &str, number: u32, token: &str, at: &str| {
        format!(
            "<category name='state' instance='1' publishTime='2026-11-21T23:{at}:00.000'>\
             <state xmlns='http://schemas.microsoft.com/2006/09/sip/state' \
             xmlns:x='http://www.w3.org/2001/XMLSchema-instance' x:type='s:{kind}'>\
             <availability>{number}</availability><activity token='{token}'/></state></category>"
        )
    };
    let machine = |number, at| instance("machineState", number, "", at);
    let by_hand = |number, at| instance("userState", number, "", at);
    let phone = instance("phoneState", 6500, "on-the-phone", "05");
    let meeting = instance("calendarState", 7000, "in-a-meeting", "05");
    let free = instance("calendarState", 3500, "", "05");
    let aggregate = |number, at| instance("aggregateState", number, "", at);
    let cases = [
        (
            vec![machine(3500, "01"), aggregate(15_500, "00")],
            State::Away,
        ),
        (
            vec![aggregate(15_500, "00"), aggregate(6500, "02")],
            State::Busy,
        ),
        (
            vec![aggregate(15_500, "02"), aggregate(6500, "00")],
            State::Away,
        ),
        (
            vec![machine(5000, "01"), machine(3500, "00")],
            State::Available,
        ),
        (
            vec![machine(3500, "00"), by_hand(9500, "00")],
            State::DoNotDisturb,
        ),
        (
            vec![
                machine(3500, "00"),
                by_hand(9500, "00"),
                by_hand(6500, "01"),
            ],
            State::Busy,
        ),
        (
            vec![machine(18_500, "00"), by_hand(9500, "00")],
            State::Offline,
        ),
        (vec![machine(3500, "00"), phone.clone()], State::InACall),
        (
            vec![machine(5000, "00"), meeting, phone.clone()],
            State::InAMeeting,
        ),
        (vec![machine(15_500, "00"), phone.clone()], State::Away),
        (vec![machine(5000, "00"), free], State::Inactive),
        (vec![phone], State::InACall),
        (
            vec!["<category name='state' instance='1'/>".to_owned()],
            State::Unknown,
        ),
    ];
    for (instances, state) in cases {
        let body = format!(
            "<categories xmlns='http://schemas.microsoft.com/2006/09/sip/categories' uri='sip:bruno@ocs.example'>{}\
             </categories>",
            instances.concat()
        );
        let found = parsed(Format::Categories.content_type(), &body);
        assert_eq!(state_of(&found), state, "{body}");
    }
}

#[test]
fn the_last_note_counts_and_the_absence_note_before_others() {
    let note = |kind: &str, at: &str, text: &str| {
        format!(
            "<category name='note' instance='0' publishTime='2026-11-21T23:{at}:00'>\
             <note xmlns='http://schemas.microsoft.com/2006/09/sip/note'><body type='{kind}' uri=''>{text}</body></note>\
             </category>"
        )
    };
    let cases = [
        (
            vec![note("personal", "01", "new"), note("personal", "00", "old")],
            Some("new"),
        ),
        (
            vec![note("OOF", "00", "skiing"), note("personal", "00", "x")],
            Some("skiing"),
        ),
        (vec![note("personal", "00", "  ")], None),
        (vec![], None),
    ];
    for (notes, text) in cases {
        let body =
            categories("3500", "").replace("<category ", &format!("{}<category ", notes.concat()));
        let found = parsed(Format::Categories.content_type(), &body);
        let found = found.tuples[0].notes.first().map(|note| note.text.as_str());
        assert_eq!(found, text, "{body}");
    }
}

#[test]
fn a_document_type_is_named_in_one_format_and_declared_in_none() {
    let kind = Format::Xpidf.content_type();
    let plain = xpidf("open", "away");
    let after = |declaration: &str| {
        let body = plain.replace(
            "<!DOCTYPE presence PUBLIC '-//IETF//DTD RFCxxxx XPIDF 1.0//EN' 'xpidf.dtd'>",
            declaration,
        );
        read(Some(kind), None, body.as_bytes(), &bruno())
    };
    assert!(after("").is_ok());
    assert!(after("<!DOCTYPE presence SYSTEM 'http://192.0.2.1/x.dtd'>").is_ok());
    let refused = [
        "<!DOCTYPE presence [<!ENTITY a 'b'>]>",
        "<!DOCTYPE presence SYSTEM 'x' [ ]>",
        "<!DOCTYPE other PUBLIC 'a' 'b'>",
        "<!DOCTYPE presence><!DOCTYPE presence>",
        "<!DOCTYPE presence [<!ENTITY % p SYSTEM 'file:///etc/passwd'> %p;]>",
    ];
    let dtd = |error| Err(BodyRefused::Document(DocumentError::Xml(error)));
    for declaration in refused {
        assert_eq!(after(declaration), dtd(XmlError::Dtd), "{declaration}");
    }
    let entity = plain.replace("substatus='away'", "substatus='&a;'");
    let found = read(Some(kind), None, entity.as_bytes(), &bruno());
    assert_eq!(found, dtd(XmlError::Entity));
    let inside = plain.replace("<atom ", "<!DOCTYPE presence><atom ");
    assert!(read(Some(kind), None, inside.as_bytes(), &bruno()).is_err());
    for (format, body) in [
        (Format::Categories, categories("3500", "")),
        (Format::MsrtcPidf, msrtc(300, 400)),
        (Format::Pidf, pidf("open", "")),
    ] {
        let root = body.split(['<', ' ', '>']).nth(1).unwrap();
        let body = format!("<!DOCTYPE {root}>{body}");
        let found = read(Some(format.content_type()), None, body.as_bytes(), &bruno());
        assert_eq!(found, dtd(XmlError::Dtd), "{body}");
    }
}

#[test]
fn documents_about_others_and_of_another_type_are_refused() {
    let bodies = [
        (Format::Categories, categories("3500", "")),
        (Format::MsrtcPidf, msrtc(300, 400)),
        (Format::Xpidf, xpidf("open", "online")),
        (Format::Pidf, pidf("open", "")),
    ];
    for (format, body) in &bodies {
        let kind = Some(format.content_type());
        let about = |body: &str, who: &SipAddress| read(kind, None, body.as_bytes(), who);
        assert!(about(body, &bruno()).is_ok());
        assert_eq!(about(body, &alma()), Err(BodyRefused::OtherEntity));
        let nobody = body.replace("bruno@ocs.example", "");
        let refused = about(&nobody.replace("sip:", ""), &bruno());
        assert!(refused.is_err(), "{refused:?}");
        for (_, other) in bodies.iter().filter(|(other, _)| other != format) {
            let refused = about(other, &bruno()).unwrap_err();
            assert_eq!(refused.status(), 400, "{other} as {format:?}");
        }
    }
}

#[test]
fn the_document_for_a_reader_of_one_tuple_is_whole() {
    let mut resources = Resources::default();
    let at = |show, priority, status: &str| ResourcePresence {
        show,
        priority: Some(priority),
        statuses: vec![Text {
            lang: None,
            text: status.to_owned(),
        }],
        ..ResourcePresence::default()
    };
    resources.available(Some("phone"), at(None, 1, "on the road"));
    resources.available(Some("desk"), at(Some(Show::DoNotDisturb), 5, "a < b"));
    let document = Document {
        name: Some("Alma".to_owned()),
        ..resources.document().unwrap()
    };
    let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" \
        xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" entity=\"sip:alma@jabber.example\">\
        <tuple id=\"ID-desk\"><status><basic>open</basic>\
        <ep:activities xmlns:ep=\"urn:ietf:params:xml:ns:pidf:status:rpid-status\"><ep:activity>busy</ep:activity>\
        </ep:activities></status><rpid:activities><rpid:busy/></rpid:activities>\
        <contact priority=\"0.039\">sip:alma@jabber.example</contact><note>a &lt; b</note></tuple>\
        <dm:person id=\"person\"><rpid:activities><rpid:busy/></rpid:activities></dm:person>\
        <ci:display-name xmlns:ci=\"urn:ietf:params:xml:ns:pidf:cipid\">Alma</ci:display-name></presence>";
    assert_eq!(written(&document, &style(Format::Pidf)), expected);

    let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <categories xmlns=\"http://schemas.microsoft.com/2006/09/sip/categories\" uri=\"sip:alma@jabber.example\">\
        <category name=\"contactCard\" instance=\"0\" publishTime=\"2026-02-28T23:41:07.000\">\
        <contactCard xmlns=\"http://schemas.microsoft.com/2006/09/sip/contactcard\"><identity><name>\
        <displayName>Alma</displayName></name></identity></contactCard></category>\
        <category name=\"note\" instance=\"0\" publishTime=\"2026-02-28T23:41:07.000\">\
        <note xmlns=\"http://schemas.microsoft.com/2006/09/sip/note\"><body type=\"personal\" uri=\"\">a &lt; b</body>\
        </note></category>\
        <category name=\"state\" instance=\"1\" publishTime=\"2026-02-28T23:41:07.000\">\
        <state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" \
        xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"aggregateState\">\
        <availability>9500</availability><activity token=\"do-not-disturb\"/></state></category></categories>";
    assert_eq!(written(&document, &style(Format::Categories)), expected);

    let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <presentity xmlns=\"http://schemas.microsoft.com/2002/09/sip/presence\" uri=\"alma@jabber.example\">\
        <availability aggregate=\"300\" description=\"\"/><activity aggregate=\"600\" description=\"\"/>\
        <displayName displayName=\"Alma\"/><userInfo/></presentity>";
    assert_eq!(written(&document, &style(Format::MsrtcPidf)), expected);
}

#[test]
fn a_multipart_is_written_so_that_every_reader_takes_it_apart() {
    let body = write(&shows(DND), &bruno(), &style(Format::Categories));
    let parts = [
        ("application/rlmi+xml", &b"<list/>"[..]),
        (body.content_type, &body.bytes),
    ];
    let octets = multipart::write("b1", &parts);
    let text = std::str::from_utf8(&octets).unwrap();
    for piece in text.split("--b1").skip(1).take(2) {
        assert!(piece.ends_with("\r\n\r\n"), "{piece:?}");
    }
    let outer = "multipart/related;type=\"application/msrtc-event-categories+xml\";boundary=b1";
    let found = read(Some(outer), None, &octets, &bruno()).unwrap().unwrap();
    assert_eq!(state_of(&found), State::DoNotDisturb);
    assert_eq!(
        read(Some(outer), None, &octets, &alma()),
        Err(BodyRefused::OtherEntity)
    );
}

// ----------------------------------------------------------------------------------------- negotiation

#[test]
fn the_watcher_gets_the_best_format_that_it_accepts() {
    use Format::{Categories, MsrtcPidf, Pidf, Xpidf};
    let ocs = "application/msrtc-event-categories+xml, application/xpidf+xml, text/xml+msrtc.pidf, \
               application/pidf+xml, application/rlmi+xml, multipart/related";
    let rows: [(Option<&str>, &[Format], Option<Format>); 12] = [
        (None, &[Categories], Some(Pidf)),
        (Some(""), &[Pidf], None),
        (Some(ocs), &[], Some(Pidf)),
        (Some(ocs), &[Pidf], Some(Pidf)),
        (Some(ocs), &[Categories, Pidf], Some(Categories)),
        (
            Some("Text/XML+msrtc.pidf;q=0.5"),
            &[Categories, MsrtcPidf],
            Some(MsrtcPidf),
        ),
        (
            Some("text/xml+msrtc.pidf;q=0, application/pidf+xml"),
            &[MsrtcPidf],
            Some(Pidf),
        ),
        (Some("application/xpidf+xml"), &[Pidf], None),
        (Some("application/xpidf+xml"), &[Pidf, Xpidf], Some(Xpidf)),
        (Some("*/*"), &[Categories], Some(Pidf)),
        (Some("application/*"), &[Categories], Some(Pidf)),
        (Some("text/plain"), &Format::ALL, None),
    ];
    for (field, preference, format) in rows {
        let mut headers = Headers::new();
        if let Some(field) = field {
            headers.push("Accept", field);
        }
        assert_eq!(
            choose(&headers, preference),
            format,
            "{field:?} {preference:?}"
        );
    }
    assert_eq!(accept(&[Pidf]), "application/pidf+xml");
    assert_eq!(
        accept(&[Categories, MsrtcPidf, Pidf, Xpidf]),
        "application/msrtc-event-categories+xml, text/xml+msrtc.pidf, application/pidf+xml, application/xpidf+xml"
    );
}

#[test]
fn readers_of_the_old_form_are_known_by_the_types_that_only_they_accept() {
    let rows = [
        ("application/pidf+xml", false),
        ("application/xpidf+xml", false),
        ("application/pidf+xml, Text/XML+msrtc.pidf;q=0.5", true),
        ("application/msrtc-event-categories+xml", true),
    ];
    for (field, expected) in rows {
        let mut headers = Headers::new();
        headers.push("Accept", field);
        assert_eq!(reads_old_form(&headers), expected, "{field}");
    }
    assert!(!reads_old_form(&Headers::new()));
}

// ----------------------------------------------------------------------------------------- properties

fn any_state() -> impl Strategy<Value = State> {
    let states: Vec<State> = STATES.iter().map(|row| row.state).collect();
    proptest::sample::select(states)
}

fn words() -> impl Strategy<Value = String> {
    "[!-~äö漢🚀]([ -~äö漢🚀\n]{0,20}[!-~é])?"
}

fn any_stated() -> impl Strategy<Value = Document> {
    let note = proptest::option::of(words());
    let own = proptest::option::of((proptest::sample::select(vec!["de", "en", "zh"]), words()));
    let name = proptest::option::of("[!-~é]{1,9}( [!-~]{1,9})?");
    (any_state(), note, own, name).prop_map(|(state, note, own, name)| Document {
        name,
        tuples: vec![Tuple {
            id: "0".to_owned(),
            open: Some(state.is_open()),
            state: Some(state),
            state_texts: own
                .map(|(tag, text)| Text {
                    lang: Some(tag.to_owned()),
                    text,
                })
                .into_iter()
                .collect(),
            notes: note
                .map(|text| Text { lang: None, text })
                .into_iter()
                .collect(),
            ..Tuple::default()
        }],
        ..Document::default()
    })
}

fn round(document: &Document, format: Format) -> (PresenceBody, Document) {
    let body = write(document, &bruno(), &style(format));
    let back = read(Some(body.content_type), None, &body.bytes, &bruno());
    (body, back.unwrap().unwrap())
}

proptest! {
    #[test]
    fn what_is_told_comes_back(document in any_stated()) {
        let wanted = &document.tuples[0];
        let row = wanted.state.unwrap().row();
        let (_, back) = round(&document, Format::Categories);
        let found = &back.tuples[0];
        prop_assert_eq!(&back.name, &document.name);
        prop_assert_eq!(&found.notes, &wanted.notes);
        prop_assert_eq!(&found.state_texts, &wanted.state_texts);
        prop_assert_eq!(found.state.unwrap().row().publish, row.publish);

        let (_, back) = round(&document, Format::MsrtcPidf);
        prop_assert_eq!(&back.name, &document.name);
        prop_assert_eq!(back.tuples[0].open, wanted.open);

        let (_, back) = round(&document, Format::Xpidf);
        prop_assert_eq!(back.tuples[0].open, wanted.open);

        let (_, back) = round(&document, Format::Pidf);
        prop_assert_eq!(&back.name, &document.name);
        prop_assert_eq!(&back.tuples[0].notes, &wanted.notes);
        prop_assert_eq!(back.tuples.len(), 1);
    }

    #[test]
    fn what_is_written_twice_is_the_same(document in any_stated(), format in proptest::sample::select(Format::ALL.to_vec())) {
        let (first, back) = round(&document, format);
        let (second, again) = round(&back, format);
        prop_assert_eq!(back, again);
        prop_assert_eq!(first.content_type, second.content_type);
    }

    #[test]
    fn any_octets_are_read_or_refused(
        octets in proptest::collection::vec(any::<u8>(), 0..200),
        format in proptest::sample::select(Format::ALL.to_vec()),
    ) {
        prop_assert!(read(Some(format.content_type()), None, &octets, &bruno()).is_err());
    }

    #[test]
    fn every_number_has_a_state(number: u32, token in "[a-z-]{0,12}", level: u32, activity: u32) {
        let state = State::of_availability(number, Some(&token));
        prop_assert!((state.row().range.0..=state.row().range.1).contains(&number));
        prop_assert_eq!(State::of_levels(level, activity) == State::Offline, level < 100);
    }
}
