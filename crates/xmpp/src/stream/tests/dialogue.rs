//! Our own two machines against each other, with the third stream that dialback needs.

use super::*;

/// One connection: a dialled and an accepted end, and what crossed it.
struct Connection {
    /// What the dialling server's certificate is valid for.
    client_names: &'static [&'static str],
    dialled: Dialled,
    accepted: Accepted,
    wire: Vec<String>,
    said_by_dialled: Vec<OutboundEvent>,
    said_by_accepted: Vec<InboundEvent>,
}

impl Connection {
    fn new(dialled: OutboundSettings, accepted: InboundSettings) -> Self {
        Self {
            client_names: &[],
            dialled: Dialled::new(dialled),
            accepted: Accepted::new(accepted),
            wire: Vec::new(),
            said_by_dialled: Vec::new(),
            said_by_accepted: Vec::new(),
        }
    }

    /// Carries octets and handshakes until both ends are quiet.
    fn run(&mut self) {
        let mut hands = 0;
        loop {
            let dialled = self.dialled.seen();
            let accepted = self.accepted.seen();
            if dialled.is_empty() && accepted.is_empty() {
                return;
            }
            for seen in dialled {
                match seen {
                    Seen::Wrote(text) => {
                        self.accepted
                            .stream
                            .receive(text.as_bytes(), self.accepted.now);
                        self.wire.push(format!("> {text}"));
                    }
                    Seen::StartTls => hands += 1,
                    Seen::Close => self.accepted.stream.connection_lost(),
                    Seen::Said(event) => self.said_by_dialled.push(event),
                }
            }
            for seen in accepted {
                match seen {
                    Seen::Wrote(text) => {
                        self.dialled
                            .stream
                            .receive(text.as_bytes(), self.dialled.now);
                        self.wire.push(format!("< {text}"));
                    }
                    Seen::StartTls => hands += 1,
                    Seen::Close => self.dialled.stream.connection_lost(),
                    Seen::Said(event) => self.said_by_accepted.push(event),
                }
            }
            if hands == 2 {
                hands = 0;
                self.wire.push("= TLS".to_owned());
                let (entropy, now) = (&mut self.accepted.entropy, self.accepted.now);
                self.accepted
                    .stream
                    .tls_established(certificate(self.client_names), entropy, now);
                self.dialled
                    .stream
                    .tls_established(certificate(&["jabber.test"]), now);
            }
        }
    }

    fn take_wire(&mut self) -> Vec<String> {
        std::mem::take(&mut self.wire)
    }
}

fn gateway(local: &str) -> InboundSettings {
    inbound_settings(&[local], TlsRule::Required)
}

#[test]
fn a_pair_is_proved_through_the_authoritative_server() {
    let mut first = Connection::new(
        outbound_settings("sip.test", "jabber.test"),
        gateway("jabber.test"),
    );
    let wanted = pair("sip.test", "jabber.test");
    first.dialled.stream.authorise(wanted.clone(), at(0));
    first.run();
    let key = DialbackSecret::new(b"sip.test").key("jabber.test", "sip.test", ID_2);
    assert_eq!(
        first.take_wire(),
        [
            format!("> {}", our_header("sip.test", "jabber.test", None)),
            format!(
                "< {}{FEATURES_STARTTLS}",
                our_header("jabber.test", "sip.test", Some(ID_1))
            ),
            format!("> {STARTTLS}"),
            format!("< {PROCEED}"),
            "= TLS".to_owned(),
            format!("> {}", our_header("sip.test", "jabber.test", None)),
            format!(
                "< {}{OUR_FEATURES}",
                our_header("jabber.test", "sip.test", Some(ID_2)),
            ),
            format!("> <db:result from='sip.test' to='jabber.test'>{key}</db:result>"),
        ]
    );

    // The receiving server asks the authoritative one on a stream of its own.
    let Some(InboundEvent::VerifyKey {
        id,
        pair: claimed,
        stream_id,
        key: shown,
    }) = first.said_by_accepted.last().cloned()
    else {
        panic!("{:?}", first.said_by_accepted);
    };
    assert_eq!(
        (&claimed, stream_id.as_str(), &shown),
        (&pair("jabber.test", "sip.test"), ID_2, &key)
    );
    let mut second = Connection::new(
        outbound_settings("jabber.test", "sip.test"),
        gateway("sip.test"),
    );
    let question = VerifyRequest {
        pair: claimed.clone(),
        stream_id,
        key: shown,
    };
    let wrong = VerifyRequest {
        key: key.replace('a', "b"),
        stream_id: "other".to_owned(),
        ..question.clone()
    };
    second.dialled.stream.verify(question.clone(), at(0));
    second.dialled.stream.verify(wrong.clone(), at(0));
    second.run();
    let answers: Vec<_> = second
        .said_by_dialled
        .iter()
        .filter(|event| matches!(event, OutboundEvent::Verified(..)))
        .cloned()
        .collect();
    assert_eq!(
        answers,
        [
            OutboundEvent::Verified(question, Ok(true)),
            OutboundEvent::Verified(wrong, Ok(false)),
        ]
    );

    first.accepted.stream.verified(id, Ok(true), at(1));
    first.run();
    assert_eq!(
        first.take_wire(),
        [
            "< <db:result from='jabber.test' to='sip.test' type='valid'/>",
            "> <enable xmlns='urn:xmpp:sm:3'/>",
            "< <enabled xmlns='urn:xmpp:sm:3'/>",
        ]
    );
    assert_eq!(
        first.said_by_accepted.last(),
        Some(&InboundEvent::DomainProved(claimed, Proof::Dialback))
    );
    assert_eq!(
        first.said_by_dialled.last(),
        Some(&OutboundEvent::Ready(wanted))
    );
}

#[test]
fn a_pair_is_proved_by_certificate() {
    let mut connection = Connection::new(
        outbound_settings("sip.test", "jabber.test"),
        gateway("jabber.test"),
    );
    connection.client_names = &["sip.test"];
    let wanted = pair("sip.test", "jabber.test");
    connection.dialled.stream.authorise(wanted.clone(), at(0));
    connection.run();
    let Some(InboundEvent::Authenticate { id, pair: claimed }) =
        connection.said_by_accepted.last().cloned()
    else {
        panic!("{:?}", connection.said_by_accepted);
    };
    assert_eq!(claimed, pair("jabber.test", "sip.test"));
    connection.accepted.stream.verified(id, Ok(true), at(1));
    connection.run();
    assert!(
        connection
            .said_by_accepted
            .contains(&InboundEvent::DomainProved(claimed, Proof::Certificate))
    );
    assert_eq!(
        connection.said_by_dialled.last(),
        Some(&OutboundEvent::Ready(wanted))
    );
    let wire = connection.take_wire().concat();
    assert!(!wire.contains("<db:result"), "{wire}");
    assert!(wire.ends_with("<enabled xmlns='urn:xmpp:sm:3'/>"), "{wire}");
}

/// A connection on which a first pair is proved without asking anybody.
fn proved() -> Connection {
    let mut connection = Connection::new(
        outbound_settings("sip.test", "jabber.test"),
        inbound_settings(&["jabber.test", "rooms.jabber.test"], TlsRule::Required),
    );
    prove(&mut connection, "sip.test", "jabber.test");
    connection
}

fn prove(connection: &mut Connection, local: &str, remote: &str) {
    connection
        .dialled
        .stream
        .authorise(pair(local, remote), at(0));
    connection.run();
    let Some(InboundEvent::VerifyKey { id, .. }) = connection.said_by_accepted.last() else {
        panic!("{:?}", connection.said_by_accepted);
    };
    connection.accepted.stream.verified(*id, Ok(true), at(0));
    connection.run();
    connection.take_wire();
    connection.said_by_accepted.clear();
    connection.said_by_dialled.clear();
}

fn message(from: &str, to: &str, body: &str) -> minidom::Element {
    format!("<message xmlns='jabber:client' from='{from}' to='{to}'><body>{body}</body></message>")
        .parse()
        .unwrap()
}

#[test]
fn stanzas_arrive_as_they_were_sent_and_are_acknowledged_when_kept() {
    let mut connection = proved();
    let sent: Vec<_> = ["one", "two &amp; &lt;three&gt;"]
        .iter()
        .map(|body| message("juliet@sip.test/x", "romeo@jabber.test", body))
        .collect();
    for (number, stanza) in (1..).zip(&sent) {
        assert_eq!(connection.dialled.stream.send(stanza, at(1)), Ok(number));
    }
    assert!(connection.dialled.stream.request_acknowledgement(at(1)));
    connection.run();
    let arrived = std::mem::take(&mut connection.said_by_accepted);
    let mut numbers = Vec::new();
    for (event, expected) in arrived.iter().zip(&sent) {
        let InboundEvent::Stanza {
            pair: proved,
            number,
            element,
        } = event
        else {
            panic!("{event:?}");
        };
        assert_eq!(
            (proved, element),
            (&pair("jabber.test", "sip.test"), expected)
        );
        numbers.push(*number);
    }
    assert_eq!((arrived.len(), numbers.len()), (2, 2));
    assert_eq!(connection.said_by_dialled, [], "nothing is kept yet");

    for number in numbers {
        connection.accepted.stream.stanza_handled(number, at(2));
    }
    connection.run();
    assert_eq!(connection.said_by_dialled, [OutboundEvent::Acknowledged(2)]);
}

#[test]
fn several_pairs_share_a_stream_and_stay_apart() {
    let mut connection = proved();
    prove(&mut connection, "sip.test", "rooms.jabber.test");
    prove(&mut connection, "other.test", "jabber.test");
    let send = |connection: &mut Connection, from: &str, to: &str| {
        let result = connection
            .dialled
            .stream
            .send(&message(from, to, "x"), at(1));
        connection.run();
        result
    };
    assert_eq!(send(&mut connection, "a@sip.test", "b@jabber.test"), Ok(1));
    assert_eq!(
        send(&mut connection, "a@sip.test", "b@rooms.jabber.test"),
        Ok(2)
    );
    assert_eq!(send(&mut connection, "a@other.test", "jabber.test"), Ok(3));
    assert_eq!(
        send(&mut connection, "a@other.test", "b@rooms.jabber.test"),
        Err(NotReady::Pair)
    );
    assert_eq!(
        send(&mut connection, "a@third.test", "b@jabber.test"),
        Err(NotReady::Pair)
    );
    assert_eq!(connection.said_by_accepted.len(), 3);

    // The accepted end does not rely on the other's good manners.
    assert_eq!(
        inbound_refused_with(
            &connection
                .accepted
                .take("<message from='a@other.test' to='b@rooms.jabber.test'/>")
        ),
        Some(StreamCondition::ImproperAddressing)
    );
}

#[test]
fn a_wrong_key_ends_a_stream_that_has_nothing_else() {
    let mut connection = Connection::new(
        outbound_settings("sip.test", "jabber.test"),
        gateway("jabber.test"),
    );
    let wanted = pair("sip.test", "jabber.test");
    connection.dialled.stream.authorise(wanted.clone(), at(0));
    connection.run();
    let Some(InboundEvent::VerifyKey { id, .. }) = connection.said_by_accepted.last() else {
        panic!("{:?}", connection.said_by_accepted);
    };
    connection.accepted.stream.verified(*id, Ok(false), at(0));
    connection.run();
    assert_eq!(
        connection.said_by_dialled[1..],
        [
            OutboundEvent::PairRefused(wanted, PairError::Invalid),
            OutboundEvent::Closed(CloseReason::PeerClosed),
        ]
    );
    assert_eq!(
        connection.said_by_accepted.last(),
        Some(&InboundEvent::Closed(CloseReason::Refused(
            StreamError::new(StreamCondition::NotAuthorized, "dialback key is wrong")
        )))
    );
}

#[test]
fn trouble_on_the_way_is_told_and_can_be_tried_again() {
    let mut connection = Connection::new(
        outbound_settings("sip.test", "jabber.test"),
        gateway("jabber.test"),
    );
    let wanted = pair("sip.test", "jabber.test");
    connection.dialled.stream.authorise(wanted.clone(), at(0));
    connection.run();
    let Some(InboundEvent::VerifyKey { id, .. }) = connection.said_by_accepted.last() else {
        panic!("{:?}", connection.said_by_accepted);
    };
    let trouble = crate::dialback::Trouble::ServerNotFound;
    connection
        .accepted
        .stream
        .verified(*id, Err(trouble), at(0));
    connection.run();
    let Some(OutboundEvent::PairRefused(refused, PairError::Peer(Some(error)))) =
        connection.said_by_dialled.last()
    else {
        panic!("{:?}", connection.said_by_dialled);
    };
    assert_eq!(refused, &wanted);
    assert_eq!(
        error.defined_condition,
        xmpp_parsers::stanza_error::DefinedCondition::RemoteServerNotFound
    );
    prove(&mut connection, "sip.test", "jabber.test");
}

#[test]
fn closing_is_polite_from_either_end() {
    let mut connection = proved();
    connection.dialled.stream.close(at(5));
    connection.run();
    assert_eq!(
        connection.take_wire(),
        ["> </stream:stream>", "< </stream:stream>"]
    );
    assert_eq!(
        connection.said_by_dialled,
        [OutboundEvent::Closed(CloseReason::Requested)]
    );
    assert_eq!(
        connection.said_by_accepted,
        [InboundEvent::Closed(CloseReason::PeerClosed)]
    );

    let mut connection = proved();
    connection.accepted.stream.close(at(5));
    connection.run();
    assert_eq!(
        connection.take_wire(),
        ["< </stream:stream>", "> </stream:stream>"]
    );
}

#[test]
fn stanzas_on_their_way_while_we_close_still_arrive() {
    let mut connection = proved();
    connection.accepted.stream.close(at(5));
    assert_eq!(connection.accepted.seen(), [wrote(CLOSING)]);
    let late = connection
        .accepted
        .take("<message from='a@sip.test' to='b@jabber.test'/>");
    assert!(
        matches!(late.as_slice(), [Seen::Said(InboundEvent::Stanza { .. })]),
        "{late:?}"
    );
    assert_eq!(
        connection.accepted.take(CLOSING),
        [
            Seen::Said(InboundEvent::Closed(CloseReason::Requested)),
            Seen::Close
        ]
    );
    assert_eq!(connection.accepted.stream.poll_timeout(), None);
}
