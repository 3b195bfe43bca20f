use std::time::Duration;

use super::*;
use crate::message::{Message, Request};

const HOUR: Duration = Duration::from_secs(3600);

fn parse(text: &str) -> Request {
    match Message::parse_datagram(text.replace('\n', "\r\n").as_bytes()) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn invite(user_agent: &str, media: &str) -> Request {
    let mut invite = parse(&format!(
        "INVITE sip:a@jabber.example SIP/2.0\nVia: SIP/2.0/TLS e.example;branch=z9hG4bK1\nFrom: <sip:b@ocs.example>;tag=1\n\
         To: <sip:a@jabber.example>\nCall-ID: 1\nCSeq: 1 INVITE\n{user_agent}Content-Type: application/sdp\n\
         Content-Length: 0\n\n"
    ));
    let body = format!("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=session\r\n{media}\r\n");
    invite.body = bytes::Bytes::from(body);
    invite
}

#[test]
fn each_row_stands_in_the_order_of_its_profile_and_words_are_unique() {
    for row in &PROFILES {
        assert_eq!(row.profile.row().product, row.product);
        assert_eq!(Profile::from_word(row.profile.word()), Some(row.profile));
        assert_eq!(row.profile.is_microsoft(), row.behaviour.diagnostics);
    }
    assert_eq!(Profile::from_word("OCS"), None);
}

#[test]
fn product_names_tell_the_profile() {
    let rows = [
        (
            "UCCAPI/3.5.6907.9 OC/3.5.6907.34 (Microsoft Office Communicator 2007 R2)",
            Profile::Ocs2007R2,
        ),
        (
            "UCCP/2.0.6362.0 OC/2.0.6362.0 (Microsoft Office Communicator)",
            Profile::Ocs2007R2,
        ),
        (
            "UCCAPI/15.0.4420.1017 OC/15.0.4420.1017 (Microsoft Lync)",
            Profile::Lync,
        ),
        (
            "UCCAPI/16.0.4266.1001 OC/16.0.4266.1001 (Skype for Business)",
            Profile::Skype,
        ),
        (
            "Purple/2.14.12 Sipe/1.25.0 (linux-x86_64; RTC/3.5)",
            Profile::Ocs2007R2,
        ),
        ("LCC/1.3", Profile::Lcs2005),
    ];
    for (name, profile) in rows {
        let found = of_request(&invite(
            &format!("User-Agent: {name}\n"),
            "m=audio 1 RTP/AVP 0",
        ));
        assert_eq!(
            found.map(|evidence| (evidence.profile, evidence.weight)),
            Some((profile, Weight::Product)),
            "{name}"
        );
    }
}

#[test]
fn abilities_tell_the_profile_where_no_product_does() {
    let rows = [
        ("m=message 5060 sip null", Some(Profile::Ocs2007R2)),
        ("m=x-ms-message 5060 sip null", Some(Profile::Lcs2005)),
        ("m=message 7313 TCP/MSRP *", None),
        ("m=audio 1 RTP/AVP 0", None),
    ];
    for (media, profile) in rows {
        let found = of_request(&invite("User-Agent: Anything/1\n", media));
        assert_eq!(found.map(|evidence| evidence.profile), profile, "{media}");
    }
    let subscribe = |accept: &str| {
        parse(&format!(
            "SUBSCRIBE sip:a@jabber.example SIP/2.0\nVia: SIP/2.0/TLS e.example;branch=z9hG4bK1\nFrom: <sip:b@ocs.example>;tag=1\n\
             To: <sip:a@jabber.example>\nCall-ID: 1\nCSeq: 1 SUBSCRIBE\nAccept: {accept}\nContent-Length: 0\n\n"
        ))
    };
    let all = "application/msrtc-event-categories+xml, text/xml+msrtc.pidf, application/pidf+xml";
    let rows = [
        (all, Some(Profile::Ocs2007R2)),
        (
            "text/xml+msrtc.pidf, application/pidf+xml",
            Some(Profile::Lcs2005),
        ),
        ("application/pidf+xml", None),
    ];
    for (accept, profile) in rows {
        let found = of_request(&subscribe(accept));
        assert_eq!(found.map(|evidence| evidence.profile), profile, "{accept}");
    }
}

fn evidence(profile: Profile, weight: Weight) -> Evidence {
    Evidence {
        profile,
        weight,
        seen_in: "Server",
        sign: "x",
    }
}

#[test]
fn heavier_signs_displace_lighter_ones_and_old_ones_of_the_same_weight() {
    let mut dialects = Dialects::default();
    let auto = Rule::default();
    let profile = |dialects: &Dialects| dialects.profile("OCS.example", &auto);
    assert_eq!(profile(&dialects), Profile::Simple);
    dialects.observe(
        "ocs.example",
        evidence(Profile::Ocs2007R2, Weight::Ability),
        HOUR,
    );
    assert_eq!(profile(&dialects), Profile::Ocs2007R2);
    dialects.observe(
        "ocs.example",
        evidence(Profile::Lync, Weight::Product),
        HOUR,
    );
    assert_eq!(profile(&dialects), Profile::Lync);
    dialects.observe(
        "ocs.example",
        evidence(Profile::Lcs2005, Weight::Ability),
        HOUR,
    );
    dialects.observe(
        "ocs.example",
        evidence(Profile::Skype, Weight::Product),
        HOUR * 2,
    );
    assert_eq!(profile(&dialects), Profile::Lync);
    dialects.observe(
        "ocs.example",
        evidence(Profile::Lync, Weight::Product),
        HOUR * 20,
    );
    dialects.observe(
        "ocs.example",
        evidence(Profile::Skype, Weight::Product),
        HOUR * 26,
    );
    assert_eq!(profile(&dialects), Profile::Lync);
    dialects.observe(
        "ocs.example",
        evidence(Profile::Skype, Weight::Product),
        HOUR * 45,
    );
    assert_eq!(profile(&dialects), Profile::Skype);
    let news: Vec<Profile> = std::iter::from_fn(|| dialects.poll_news())
        .map(|learned| learned.profile)
        .collect();
    assert_eq!(news, [Profile::Ocs2007R2, Profile::Lync, Profile::Skype]);
}

#[test]
fn answers_teach_the_way_of_messages() {
    let mut dialects = Dialects::default();
    let auto = Rule::default();
    dialects.answered("ocs.example", ImMode::Session, 405, HOUR);
    assert_eq!(dialects.behaviour("ocs.example", &auto).im, ImMode::Session);
    let learned = dialects.poll_news().unwrap();
    assert_eq!(learned.profile, Profile::Ocs2007R2);
    assert_eq!(
        learned.evidence,
        "took session messages, refused page with 405"
    );
    dialects.observe(
        "ocs.example",
        evidence(Profile::Lync, Weight::Product),
        HOUR,
    );
    dialects.answered("ocs.example", ImMode::Page, 488, HOUR);
    let behaviour = dialects.behaviour("ocs.example", &auto);
    assert_eq!(
        (behaviour.im, behaviour.typing),
        (ImMode::Page, Typing::Keyboard)
    );
    let again = dialects.learned("ocs.example").cloned().unwrap();
    assert_eq!(Learned::of(&(&again).into()), Some(again.clone()));
    let mut next = Dialects::default();
    next.restore(again.clone(), HOUR);
    assert_eq!(next.learned("ocs.example"), Some(&again));
    assert_eq!(next.poll_news(), None);
}

#[test]
fn rules_have_the_last_word() {
    let mut dialects = Dialects::default();
    dialects.observe(
        "ocs.example",
        evidence(Profile::Lync, Weight::Product),
        HOUR,
    );
    let fixed = Rule {
        profile: Some(Profile::Simple),
        overrides: Overrides {
            typing: Some(Typing::Off),
            presence_tell: Some(vec![Format::Categories]),
            ..Overrides::default()
        },
    };
    let behaviour = dialects.behaviour("ocs.example", &fixed);
    assert_eq!(
        (behaviour.im, behaviour.typing),
        (ImMode::Page, Typing::Off)
    );
    assert_eq!(*behaviour.presence_tell, [Format::Categories]);
}
