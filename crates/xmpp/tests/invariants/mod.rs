//! What holds for every stream, shared by the tests and the fuzz target.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use stox_core::{
    policy::DomainPattern,
    time::{Now, SeededEntropy},
};
use stox_xmpp::{
    dialback::DialbackSecret,
    stream::{
        InboundEvent, InboundSettings, InboundStream, Limits, PartnerRule, StreamCommand,
        StreamCondition, Timing, TlsRule,
        xml::{StreamParser, XmlEvent},
    },
};

/// The parser gives the same events and the same error however the octets are cut; an accepted stream that was told
/// of no proof never lets a stanza through, and what it says is well-formed.
pub(crate) fn stream(octets: &[u8], sizes: &[u8]) {
    let whole = parse(std::iter::once(octets));
    assert_eq!(parse(pieces(octets, sizes).into_iter()), whole);
    for tls in [TlsRule::Required, TlsRule::Optional] {
        accepted(octets, sizes, tls);
    }
}

fn pieces<'a>(octets: &'a [u8], sizes: &[u8]) -> Vec<&'a [u8]> {
    let mut rest = octets;
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle().take(octets.len()) {
        let (piece, behind) = rest.split_at(usize::from(*size).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    pieces
}

fn parse<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<XmlEvent>, Option<StreamCondition>) {
    let mut parser = StreamParser::new(Limits::default());
    let mut events = Vec::new();
    for mut piece in pieces {
        loop {
            match parser.next(&mut piece) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error.condition)),
            }
        }
    }
    (events, None)
}

fn accepted(octets: &[u8], sizes: &[u8], tls: TlsRule) {
    let rule = PartnerRule {
        tls,
        before_1_0: true,
        bidirectional: true,
        ..PartnerRule::default()
    };
    let settings = InboundSettings {
        local_domains: BTreeSet::from(["xmpp.example".to_owned()]),
        serves_unnamed: false,
        unclaimable_domains: BTreeSet::new(),
        partners: std::iter::once((DomainPattern::Any, rule)).collect(),
        secret: DialbackSecret::new(b"secret"),
        limits: Limits::default(),
        timing: Timing::default(),
    };
    let mut stream = InboundStream::new(Arc::new(settings), &mut SeededEntropy(0), Now::default());
    let mut said = Vec::new();
    for piece in pieces(octets, sizes) {
        stream.receive(piece, Now::default());
        take(&mut stream, &mut said);
    }
    stream.handle_timeout(Now::default().after(Duration::from_secs(3_600)));
    take(&mut stream, &mut said);
    let (_, error) = parse(std::iter::once(said.as_slice()));
    assert_eq!(error, None, "{}", String::from_utf8_lossy(&said));
}

fn take(stream: &mut InboundStream, said: &mut Vec<u8>) {
    while let Some(command) = stream.poll_command() {
        match command {
            StreamCommand::Write(octets) => said.extend_from_slice(&octets),
            StreamCommand::Event(event) => assert!(
                !matches!(
                    event,
                    InboundEvent::Stanza { .. } | InboundEvent::DomainProved(..)
                ),
                "{event:?}"
            ),
            StreamCommand::StartTls | StreamCommand::Close => {}
        }
    }
}
