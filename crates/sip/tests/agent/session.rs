//! The words of a peer and of the bridge in IM sessions.

use stox_core::address::SipAddress;
use stox_core::failure::to_sip;
use stox_core::vocab::{ChatState, Im, ImKind, Ref, SipIn, SipOut, Text};
use stox_sip::dialect::{Overrides, Profile, Rule};
use stox_sip::message::Request;
use stox_sip::ua::settings::Settings;

use super::{Agent, Fields, alma, bruno, from_bruno, world};

pub(crate) const SDP: &str = "Content-Type: application/sdp\r\n";
pub(crate) const GRUU: &str =
    "Contact: <sip:bruno@ocs.example;opaque=user:epid:Zq81LmN_xF6;gruu>\r\n";
pub(crate) const PLAIN: &str = "Content-Type: text/plain; charset=UTF-8\r\n";
pub(crate) const ACCEPTS: &str = "text/plain text/html multipart/alternative";
pub(crate) const KEYBOARD: &str = "Content-Type: application/xml\r\n";

pub(crate) fn described(media: &str) -> String {
    format!(
        "v=0\r\no=- 0 0 IN IP4 10.0.0.9\r\ns=session\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n{media}\r\n"
    )
}

pub(crate) fn offer() -> String {
    described(&format!(
        "m=message 5060 sip null\r\na=accept-types:{ACCEPTS}"
    ))
}

pub(crate) fn keyboard(status: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><KeyboardActivity><status status=\"{status}\"/></KeyboardActivity>"
    )
}

pub(crate) fn ocs(overrides: Overrides) -> Agent {
    Agent::with(ocs_world(overrides))
}

/// The settings of a world where bruno's server wants sessions.
pub(crate) fn ocs_world(overrides: Overrides) -> Settings {
    let mut settings = world();
    settings.sip_domains[0].dialect = Rule {
        profile: Some(Profile::Ocs2007R2),
        overrides: Overrides {
            requests_per_second: Some(0),
            ..overrides
        },
    };
    settings
}

pub(crate) fn auto() -> Agent {
    Agent::new()
}

pub(crate) fn laptop() -> SipAddress {
    SipAddress {
        gr: Some("laptop".to_owned()),
        ..alma()
    }
}

pub(crate) fn im(text: &str, thread: Option<&str>) -> Im {
    Im {
        kind: ImKind::Chat,
        id: Some(text.replace(' ', "-")),
        thread: thread.map(str::to_owned),
        bodies: vec![Text {
            lang: None,
            text: text.to_owned(),
        }],
        ..Im::default()
    }
}

pub(crate) fn sends(agent: &mut Agent, reference: u64, im: Im) {
    agent.does(SipOut::Message {
        reference: Ref(reference),
        from: laptop(),
        to: bruno(),
        im,
    });
}

pub(crate) fn shows(agent: &mut Agent, state: ChatState) {
    agent.does(SipOut::ChatState {
        from: laptop(),
        to: bruno(),
        thread: None,
        state,
    });
}

pub(crate) fn settled(agent: &mut Agent) -> (u64, Result<(), u16>) {
    match agent.tells() {
        SipIn::Outcome { reference, outcome } => (
            reference.0,
            outcome.map_err(|failure| to_sip(&failure).code),
        ),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn state(agent: &mut Agent) -> ChatState {
    match agent.tells() {
        SipIn::ChatState {
            from, to, state, ..
        } => {
            assert_eq!((from, to.bare()), (bruno(), alma()));
            state
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn text(request: &Request) -> &str {
    std::str::from_utf8(&request.body).unwrap()
}

/// The 200 to an INVITE of ours.
pub(crate) fn accepts(agent: &mut Agent, invite: &Request, tag: &str, media: &str) {
    let body = described(media);
    let to = format!("{};tag={tag}", invite.field("To"));
    let (via, from) = (invite.field("Via"), invite.field("From"));
    let (call_id, cseq) = (invite.field("Call-ID"), invite.field("CSeq"));
    let length = body.len();
    agent.hears(&format!(
        "SIP/2.0 200 OK\r\nVia: {via}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n\
         Record-Route: <sip:pool.ocs.example:5061;transport=tls;ms-fe=fe1.ocs.example;opaque=state:T:F;lr>\r\n\
         Record-Route: <sip:edge.ocs.example:5061;transport=tls;opaque=state:F;lr;ms-route-sig=AbC>;tag=9F\r\n\
         Contact: <sip:bruno@ocs.example;opaque=user:epid:{tag};gruu>\r\n{SDP}Content-Length: {length}\r\n\r\n{body}"
    ));
}

pub(crate) const IN_DIALOG: &str =
    "m=message 5060 sip sip:bruno@ocs.example\r\na=accept-types:text/plain";

/// A session that alma has opened with one message, which was taken.
pub(crate) fn opened(agent: &mut Agent) -> Request {
    sends(agent, 1, im("hello", Some("t-1")));
    let invite = agent.says_request("INVITE");
    accepts(agent, &invite, "b1", IN_DIALOG);
    agent.says_request("ACK");
    let message = agent.says_request("MESSAGE");
    agent.hears_answer(&message, 200, "");
    assert_eq!(settled(agent), (1, Ok(())));
    message
}

/// A session that bruno has opened.
pub(crate) fn called(agent: &mut Agent, more: &str) -> String {
    let more = format!("{GRUU}{more}{SDP}");
    agent.hears(&from_bruno("INVITE", "i1", 1, "", &more, &offer()));
    let answer = agent.says_response(200);
    let tag = answer.tag("To");
    agent.hears(&from_bruno("ACK", "a1", 1, &tag, "", ""));
    tag
}
