//! Slow, silent and idle peers.

use super::*;

fn settings() -> InboundSettings {
    inbound_settings(&["sip.test"], TlsRule::Required)
}

fn timed_out<E: From<CloseReason>>(step: Step, start: &str) -> Vec<Seen<E>> {
    let text = format!("no {step} in time");
    vec![
        wrote(format!(
            "{start}{}",
            error_and_close("connection-timeout", &text)
        )),
        Seen::Said(E::from(CloseReason::Timeout(step))),
        Seen::Close,
    ]
}

#[test]
fn an_accepted_connection_that_says_nothing_is_closed() {
    let mut accepted = Accepted::new(settings());
    let our_header = super::super::header::header_to_wire(None, None, Some(ID_1));
    assert_eq!(
        accepted.time_out_at(10),
        timed_out(Step::Header, &our_header)
    );
}

#[test]
fn octets_one_by_one_do_not_move_the_deadline() {
    let mut accepted = Accepted::new(settings());
    for (second, octet) in (1..).zip("<?xml vers".chars()) {
        if second == 10 {
            break;
        }
        accepted.now = at(second);
        assert_eq!(accepted.take(&octet.to_string()), []);
    }
    assert_eq!(accepted.stream.poll_timeout(), Some(at(10).mono));
}

#[test]
fn the_handshake_and_the_proof_have_their_times() {
    let mut accepted = Accepted::new(settings());
    accepted.now = at(5);
    accepted.take(&header("jabber.test", "sip.test"));
    accepted.now = at(6);
    accepted.take(STARTTLS);
    assert_eq!(
        accepted.time_out_at(16),
        [
            Seen::Said(InboundEvent::Closed(CloseReason::Timeout(Step::Tls))),
            Seen::Close
        ]
    );

    let mut accepted = Accepted::new(settings());
    accepted.take(&header("jabber.test", "sip.test"));
    accepted.take(STARTTLS);
    accepted.now = at(8);
    accepted.tls(certificate(&[]));
    assert_eq!(accepted.stream.poll_timeout(), Some(at(18).mono));
    accepted.take(&header("jabber.test", "sip.test"));
    accepted.take("<db:result from='jabber.test' to='sip.test'>k</db:result>");
    let answer = "<db:result from='sip.test' to='jabber.test' type='error'><error type='wait'>\
                  <remote-server-timeout xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>";
    assert_eq!(
        accepted.time_out_at(30),
        timed_out(Step::Authentication, answer)
    );
}

#[test]
fn a_quiet_stream_is_kept_alive_and_then_closed() {
    let mut accepted = Accepted::proved(settings(), "sip.test", "jabber.test");
    for second in (60..600).step_by(60) {
        assert_eq!(accepted.time_out_at(second), [wrote(" ")]);
        assert_eq!(accepted.take(" \n"), [], "white space is no sign of life");
    }
    assert_eq!(accepted.time_out_at(600), [wrote(CLOSING)]);
    assert_eq!(
        accepted.time_out_at(605),
        [
            Seen::Said(InboundEvent::Closed(CloseReason::Idle)),
            Seen::Close
        ]
    );
}

#[test]
fn traffic_keeps_a_stream() {
    let mut accepted = Accepted::proved(settings(), "sip.test", "jabber.test");
    accepted.now = at(50);
    accepted.take("<iq from='jabber.test' to='sip.test'/>");
    for second in (60..650).step_by(60) {
        assert_eq!(accepted.time_out_at(second), [wrote(" ")]);
    }
    assert_eq!(accepted.time_out_at(650), [wrote(CLOSING)]);
}

#[test]
fn an_element_that_does_not_end_is_given_up() {
    let mut accepted = Accepted::proved(settings(), "sip.test", "jabber.test");
    accepted.now = at(20);
    accepted.take("<message ");
    accepted.now = at(40);
    accepted.take("from='a@jabber.test' ");
    assert_eq!(accepted.time_out_at(50), timed_out(Step::Element, ""));

    let mut accepted = Accepted::proved(settings(), "sip.test", "jabber.test");
    accepted.take("<iq from='jabber.test' to='sip.test'>");
    accepted.take("</iq>");
    assert_eq!(accepted.stream.poll_timeout(), Some(at(60).mono));
}

#[test]
fn a_dialled_server_that_says_nothing_is_left() {
    let mut dialled = Dialled::new(outbound_settings("sip.test", "jabber.test"));
    dialled.seen();
    assert_eq!(dialled.time_out_at(10), timed_out(Step::Header, ""));

    let mut dialled = Dialled::new(outbound_settings("sip.test", "jabber.test"));
    dialled.take(&answer_header("jabber.test", "sip.test", "s1"));
    assert_eq!(
        dialled.time_out_at(10),
        timed_out(Step::Header, ""),
        "features belong to the header"
    );

    let mut dialled = Dialled::new(outbound_settings("sip.test", "jabber.test"));
    dialled.take(&answer_header("jabber.test", "sip.test", "s1"));
    dialled.now = at(3);
    dialled.take(FEATURES_STARTTLS);
    assert_eq!(dialled.time_out_at(13), timed_out(Step::Tls, ""));
}

#[test]
fn dialback_requests_without_answer_are_given_up_one_by_one() {
    let mut dialled = Dialled::negotiated(outbound_settings("sip.test", "jabber.test"));
    let first = pair("sip.test", "jabber.test");
    let question = VerifyRequest {
        pair: pair("sip.test", "jabber.test"),
        stream_id: "i".to_owned(),
        key: "k".to_owned(),
    };
    dialled.stream.authorise(first.clone(), at(0));
    dialled.stream.verify(question.clone(), at(10));
    dialled.seen();
    assert_eq!(
        dialled.time_out_at(30),
        [Seen::Said(OutboundEvent::PairRefused(
            first.clone(),
            PairError::Timeout
        ))]
    );
    assert_eq!(
        dialled.time_out_at(40),
        [Seen::Said(OutboundEvent::Verified(
            question,
            Err(VerifyError::Timeout)
        ))]
    );
    assert_eq!(
        dialled.take("<db:result from='jabber.test' to='sip.test' type='valid'/>"),
        [],
        "too late"
    );
    assert_eq!(dialled.time_out_at(70), [wrote(" ")]);
}
