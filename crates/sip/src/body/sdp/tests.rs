use proptest::prelude::*;

use super::*;

fn offered(lines: &str) -> Vec<Media> {
    media(format!("v=0\r\ns=-\r\n{lines}").as_bytes())
}

fn in_dialog(format: &str) -> Own {
    Own::Dialog {
        word: "message",
        format: format.to_owned(),
        accept_types: "text/plain".to_owned(),
    }
}

fn over_msrp(secure: bool) -> Own {
    Own::Msrp(OwnMsrp {
        secure,
        port: 2855,
        path: "msrp://gw.example:2855/abc;tcp".to_owned(),
        accept_types: "text/plain message/cpim".to_owned(),
        accept_wrapped_types: Some("text/plain".to_owned()),
        max_size: 65_536,
        setup: Setup::ActPass,
        fingerprint: secure.then(|| "SHA-256 AB:CD".to_owned()),
        chatroom: None,
    })
}

#[test]
fn carriers_are_told_from_each_other() {
    let dialog = Some(Carrier::Dialog);
    let msrp = |secure| Some(Carrier::Msrp { secure });
    let path = "\r\na=path:msrp://a.example:7313/x;tcp";
    let rows = [
        ("m=message 5060 sip null", "", dialog),
        ("m=x-ms-message 5060 sip null", "", dialog),
        ("m=message 5060 SIP sip:a@b", "", dialog),
        ("m=message 0 sip null", "", None),
        ("m=message 7313 TCP/MSRP *", path, msrp(false)),
        ("m=message 7313 TCP/TLS/MSRP *", path, msrp(true)),
        ("m=message 7313 tcp/msrp *", path, msrp(false)),
        ("m=message 7313 TCP/MSRP *", "", None),
        ("m=message 0 TCP/MSRP *", path, None),
        ("m=x-ms-message 7313 TCP/MSRP *", path, None),
        ("m=audio 30000 RTP/AVP 0", "", None),
        ("m=message", "", None),
    ];
    for (line, attributes, carrier) in rows {
        let found = offered(&format!("{line}{attributes}\r\n"));
        let found = found.first().and_then(Media::carrier);
        assert_eq!(found, carrier, "{line}");
    }
}

#[test]
fn an_answer_mirrors_the_word_and_refuses_other_lines() {
    let lines = offered(
        "m=audio 30000 RTP/AVP 0\r\nm=x-ms-message 5060 sip null\r\na=accept-types:text/plain text/rtf\r\n",
    );
    let types = lines[1].accept_types.as_deref();
    assert_eq!(types, Some("text/plain text/rtf"));
    let own = in_dialog("sip:a@jabber.example");
    let answer = answer("gw.example", 3, &lines, 1, &own);
    assert!(answer.contains("o=- 0 3 IN IP4 gw.example\r\n"));
    assert!(answer.contains("\r\nc=IN IP4 gw.example\r\n"));
    assert!(answer.ends_with(
        "m=audio 0 RTP/AVP 0\r\nm=x-ms-message 5060 sip sip:a@jabber.example\r\na=accept-types:text/plain\r\n"
    ));
    assert!(media(offer("::1", 0, &in_dialog("null")).as_bytes())[0].is_in_dialog());
}

#[test]
fn what_msrp_needs_is_read_and_written() {
    for secure in [false, true] {
        let own = over_msrp(secure);
        let text = offer("gw.example", 0, &own);
        let found = media(text.as_bytes());
        assert_eq!(found[0].carrier(), Some(Carrier::Msrp { secure }), "{text}");
        assert_eq!(found[0].setup, Some(Setup::ActPass));
        assert_eq!(found[0].max_size, Some(65_536));
        assert_eq!(
            found[0].path.as_deref(),
            Some("msrp://gw.example:2855/abc;tcp")
        );
        assert_eq!(found[0].accept_wrapped_types.as_deref(), Some("text/plain"));
        assert_eq!(found[0].fingerprints.len(), usize::from(secure));
        let answered = answer("peer.example", 0, &found, 0, &over_msrp(secure));
        assert_eq!(
            media(answered.as_bytes())[0].carrier(),
            Some(Carrier::Msrp { secure })
        );
    }
}

#[test]
fn what_stands_before_the_first_line_holds_for_all() {
    let found = media(
        b"v=0\r\na=setup:passive\r\na=fingerprint:SHA-1 01\r\na=inactive\r\nm=message 1 TCP/TLS/MSRP *\r\n\
          m=message 2 TCP/MSRP *\r\na=setup:active\r\na=sendonly\r\na=fingerprint:SHA-1 02\r\n",
    );
    let said = |media: &Media| (media.setup, media.direction, media.fingerprints.concat());
    assert_eq!(
        said(&found[0]),
        (
            Some(Setup::Passive),
            Some("inactive"),
            "SHA-1 01".to_owned()
        )
    );
    assert_eq!(
        said(&found[1]),
        (Some(Setup::Active), Some("sendonly"), "SHA-1 02".to_owned())
    );
    let answer = answer("gw", 0, &found, 1, &over_msrp(false));
    assert!(answer.ends_with("a=recvonly\r\n"), "{answer}");
}

proptest! {
    #[test]
    fn any_octets_are_read(octets in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(media(&octets).len() <= MAX_MEDIA);
    }

    #[test]
    fn answers_have_the_lines_of_their_offer(lines in prop::collection::vec("m=[a-z-]{1,12} [0-9]{1,5} (sip|RTP/AVP|TCP/MSRP) [a-z0-9*]{1,8}\r\n", 1..16), taken in 0_usize..16) {
        let offered = media(lines.concat().as_bytes());
        let answer = answer("h", 0, &offered, taken % offered.len(), &in_dialog("sip:u@h"));
        prop_assert_eq!(media(answer.as_bytes()).len(), offered.len());
    }
}
