use proptest::prelude::*;
use stox_core::address::Jid;
use stox_core::vocab::{ImKind, Receipt, Wants, XmppIn, XmppOut};

use super::*;
use crate::adapt::{Inbound, read, write};

fn inputs(attributes: &str, inner: &str) -> Vec<XmppIn> {
    let xml = format!(
        "<message xmlns='jabber:client' from='alma@jabber.example/x' to='bruno@ocs.example' {attributes}>{inner}</message>"
    );
    match read(&xml.parse().expect(&xml)) {
        Inbound::Core(input) => vec![input],
        Inbound::Several(inputs) => inputs,
        other => panic!("{other:?}"),
    }
}

/// The one body of a message, or none.
fn said(inner: &str) -> Option<String> {
    match inputs("id='m1' type='chat'", inner).as_slice() {
        [XmppIn::Message { im, .. }] => im.bodies.first().map(|body| body.text.clone()),
        other => panic!("{other:?}"),
    }
}

fn kinds(inputs: &[XmppIn]) -> Vec<String> {
    let word = |input: &XmppIn| match input {
        XmppIn::Message { im, .. } => format!("message {}", im.bodies.len()),
        XmppIn::Receipt { id, receipt, .. } => format!("{receipt:?} {id}"),
        XmppIn::Unreadable { im, why, .. } => format!("{why:?} {}", im.bodies.len()),
        other => panic!("{other:?}"),
    };
    inputs.iter().map(word).collect()
}

#[test]
fn payloads_come_to_words() {
    let rows = [
        (
            "<body>new</body><replace xmlns='urn:xmpp:message-correct:0' id='m0'/>",
            Some("[corrected] new"),
        ),
        (
            "<retract xmlns='urn:xmpp:message-retract:1' id='m0'/>",
            Some("[withdrew a message]"),
        ),
        (
            "<retract xmlns='urn:xmpp:message-retract:1' id='m0'/><body>took it back</body>",
            Some("took it back"),
        ),
        (
            "<apply-to xmlns='urn:xmpp:fasten:0' id='m0'><retract xmlns='urn:xmpp:message-retract:0'/></apply-to>",
            Some("[withdrew a message]"),
        ),
        (
            "<apply-to xmlns='urn:xmpp:fasten:0' id='m0'><x xmlns='urn:own'/></apply-to>",
            None,
        ),
        (
            "<reactions xmlns='urn:xmpp:reactions:0' id='m0'><reaction>👍\u{202e}</reaction><reaction>👩\u{200d}🚀</reaction></reactions>",
            Some("[reacted: 👍 👩\u{200d}🚀]"),
        ),
        ("<reactions xmlns='urn:xmpp:reactions:0' id='m0'/>", None),
        (
            "<attention xmlns='urn:xmpp:attention:0'/>",
            Some("[asks for attention]"),
        ),
        (
            "<attention xmlns='urn:xmpp:attention:0'/><body>hey</body>",
            Some("hey"),
        ),
        ("<x xmlns='http://jabber.org/protocol/muc#user'/>", None),
        (
            "<x xmlns='jabber:x:oob'><url>https://f.example/a</url><desc>a cat</desc></x>",
            Some("a cat\nhttps://f.example/a"),
        ),
        (
            "<body>https://f.example/a</body><x xmlns='jabber:x:oob'><url>https://f.example/a</url></x>",
            Some("https://f.example/a"),
        ),
        (
            "<body>see</body><x xmlns='jabber:x:oob'><url>https://f.example/a</url></x>",
            Some("see\nhttps://f.example/a"),
        ),
        (
            "<x xmlns='jabber:x:oob'><url>javascript:alert(1)</url></x>",
            None,
        ),
        (
            "<file-sharing xmlns='urn:xmpp:sfs:0'><file xmlns='urn:xmpp:file:metadata:0'><desc>cat</desc></file><sources><url-data xmlns='http://jabber.org/protocol/url-data' target='https://f.example/c'/></sources></file-sharing>",
            Some("cat\nhttps://f.example/c"),
        ),
        (
            "<body>x</body><reference xmlns='urn:xmpp:reference:0' type='mention' uri='xmpp:b@ocs.example'/>",
            Some("x"),
        ),
        (
            "<reference xmlns='urn:xmpp:reference:0' type='data'><media-sharing xmlns='urn:xmpp:sims:1'><sources><reference xmlns='urn:xmpp:reference:0' type='data' uri='https://f.example/s'/></sources></media-sharing></reference>",
            Some("https://f.example/s"),
        ),
        ("<body>/me *waves*</body>", Some("/me *waves*")),
        (
            "<body>&gt; quoted\nyes</body><fallback xmlns='urn:xmpp:fallback:0' for='urn:own'/>",
            Some("> quoted\nyes"),
        ),
        (
            "<event xmlns='http://jabber.org/protocol/pubsub#event'/>",
            None,
        ),
        ("<odd xmlns='urn:own'>text</odd>", None),
    ];
    for (inner, words) in rows {
        assert_eq!(said(inner).as_deref(), words, "{inner}");
    }
}

#[test]
fn ciphertext_goes_back() {
    const HINT: &str = "<body>I sent you an OMEMO encrypted message</body>";
    let encrypted = [
        format!("{HINT}<encrypted xmlns='eu.siacs.conversations.axolotl'><header/></encrypted>"),
        "<encrypted xmlns='urn:xmpp:omemo:2'><header/><payload>abc</payload></encrypted>"
            .to_owned(),
        format!("{HINT}<encryption xmlns='urn:xmpp:eme:0' namespace='urn:own'/>"),
        "<x xmlns='jabber:x:encrypted'>abc</x>".to_owned(),
        "<openpgp xmlns='urn:xmpp:openpgp:0'>abc</openpgp>".to_owned(),
        "<body>?OTR:AAMDJ+MVmSfjFZcAAAAAAQAAAAIAAADA1g5I</body>".to_owned(),
        "<body>?OTRv23?</body>".to_owned(),
    ];
    for inner in encrypted {
        assert_eq!(
            kinds(&inputs("id='m1'", &inner)),
            ["Encrypted 0"],
            "{inner}"
        );
    }
    let inner = format!("{HINT}<encryption xmlns='urn:xmpp:eme:0' namespace='urn:own'/>");
    match inputs("type='groupchat'", &inner).as_slice() {
        [XmppIn::Message { im, .. }] => assert_eq!(im.bodies, [unreadable()]),
        other => panic!("{other:?}"),
    }
    // Keys only, or a tag of spaces that offers OTR.
    let keys = "<encrypted xmlns='eu.siacs.conversations.axolotl'><header/></encrypted>";
    assert_eq!(said(keys), None);
    let tag = "hi \t  \t\t\t\t \t \t \t  ";
    assert_eq!(said(&format!("<body>{tag}</body>")).as_deref(), Some(tag));
}

#[test]
fn receipts_are_read() {
    let (r, m) = ("urn:xmpp:receipts", "urn:xmpp:chat-markers:0");
    let rows: [(&str, String, &[&str]); 9] = [
        (
            "",
            format!("<received xmlns='{r}' id='b1'/>"),
            &["Delivered b1"],
        ),
        (
            "id='b1'",
            format!("<received xmlns='{r}'/>"),
            &["Delivered b1"],
        ),
        (
            "id='x'",
            format!("<received xmlns='{m}' id='b1'/>"),
            &["Delivered b1"],
        ),
        (
            "",
            format!("<displayed xmlns='{m}' id='b1'/>"),
            &["Displayed b1"],
        ),
        (
            "",
            format!("<acknowledged xmlns='{m}' id='b1'/>"),
            &["Displayed b1"],
        ),
        ("", format!("<displayed xmlns='{m}'/>"), &["message 0"]),
        (
            "",
            format!("<body>x</body><received xmlns='{r}' id='b1'/>"),
            &["Delivered b1", "message 1"],
        ),
        (
            "",
            format!("<received xmlns='{r}' id='b1'/><displayed xmlns='{m}' id='b1'/>"),
            &["Delivered b1", "Displayed b1"],
        ),
        (
            "type='groupchat'",
            format!("<received xmlns='{r}' id='b1'/>"),
            &["message 0"],
        ),
    ];
    for (attributes, inner, expected) in rows {
        assert_eq!(kinds(&inputs(attributes, &inner)), expected, "{inner}");
    }
}

#[test]
fn wishes_are_read_and_written() {
    let request = "<request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>";
    let wants = |attributes: &str, inner: &str| {
        let inputs = inputs(attributes, &format!("<body>x</body>{request}{inner}"));
        match inputs.last() {
            Some(XmppIn::Message { im, .. }) => (im.wants.delivered, im.wants.displayed),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(wants("", ""), (true, true));
    assert_eq!(wants("type='groupchat'", ""), (false, false));
    let ack = "<received xmlns='urn:xmpp:receipts' id='b1'/>";
    assert_eq!(wants("", ack), (false, true));

    let jid = |text| Jid::parse(text).expect("a JID");
    let (from, to) = (jid("bruno@ocs.example"), jid("alma@jabber.example/x"));
    let im = Im {
        bodies: vec![Text {
            lang: None,
            text: "x".into(),
        }],
        wants: Wants {
            delivered: true,
            displayed: true,
        },
        ..Im::default()
    };
    let reference = stox_core::vocab::Ref(1);
    let out = XmppOut::Message {
        reference,
        from: from.clone(),
        to: to.clone(),
        im,
    };
    let written = write(&out, stox_core::time::Now::default());
    assert!(String::from(&written).contains("<request xmlns='urn:xmpp:receipts'/>"));
    assert!(written.has_child("markable", MARKERS));

    let (id, kind) = ("b1".to_owned(), ImKind::Chat);
    let receipt = Receipt::Delivered;
    let out = XmppOut::Receipt {
        from,
        to,
        id,
        kind,
        receipt,
    };
    let written = write(&out, stox_core::time::Now::default());
    assert_eq!(written.attr("type"), Some("chat"));
    let received = written.get_child("received", RECEIPTS).expect("a receipt");
    assert_eq!(received.attr("id"), Some("b1"));
}

#[test]
fn no_row_hides_another() {
    for (at, row) in PAYLOADS.iter().enumerate() {
        let first = PAYLOADS
            .iter()
            .position(|other| (other.element, other.namespace) == (row.element, row.namespace));
        assert_eq!(first, Some(at), "{row:?}");
    }
}

proptest! {
    /// Whatever payloads meet: no panic, and with ciphertext among them no body gets through.
    #[test]
    fn any_payloads_are_read(picks in prop::collection::vec((0..PAYLOADS.len(), "[a-z👍\u{202e} ]{0,6}"), 0..6), body: bool) {
        let mut inner = String::new();
        if body {
            inner.push_str("<body>fallback</body>");
        }
        let mut encrypted = false;
        for (pick, text) in &picks {
            let row = PAYLOADS[*pick];
            encrypted |= body && row.treatment == Treatment::Encrypted;
            inner.push_str(&format!("<{0} xmlns='{1}' id='{text}'>{text}</{0}>", row.element, row.namespace));
        }
        for input in inputs("id='m1'", &inner) {
            if let XmppIn::Message { im, .. } = input {
                prop_assert!(!encrypted, "{inner}");
                prop_assert_eq!(body, im.bodies.iter().any(|b| b.text.contains("fallback")));
            }
        }
    }
}
