//! What travels over MSRP in conferences: texts in wrappers that say who speaks to whom (RFC 7701 §6, RFC 7702 Table 4).

use bytes::Bytes;
use stox_core::address::SipAddress;
use stox_core::failure::Local;
use stox_core::time::Now;
use stox_core::vocab::{Im, ImKind};

use crate::adapt;
use crate::adapt::im::{Accepted, Inbound};
use crate::body::cpim::{self, Cpim, Wrapper};
use crate::header::{HeaderValue, MediaType};
use crate::msrp::endpoint::{FailureReport, Message, Received, Status};
use crate::ua::effects::Env;

/// Header fields that go into the wrapper with the content.
const OF_CONTENT: [&str; 2] = ["Content-Type", "Content-Language"];

/// Who speaks to whom in a wrapper.
pub(super) struct Parties<'a> {
    /// The sender's name for people.
    pub(super) name: Option<&'a str>,
    pub(super) from: &'a SipAddress,
    pub(super) to: &'a SipAddress,
}

/// Writes a text in a wrapper; `wrapped` is what the peer takes inside it.
pub(super) fn write(
    im: &Im,
    parties: &Parties<'_>,
    wrapped: &Accepted,
    env: &mut Env<'_>,
) -> Result<Message, Local> {
    let content = adapt::im::write(im, wrapped);
    let content = content.map_err(|_| Local::NotAcceptable)?;
    let (from, to) = (uri(parties.from), uri(parties.to));
    let field = |name: &str| {
        let mut fields = content.headers.iter();
        fields.find(|(found, _)| *found == name)
    };
    let subject = field("Subject").map(|(_, subject)| (None, subject.as_str()));
    let wrapper = Wrapper {
        from: &from,
        to: &to,
        sent_at: Some(im.sent_at.unwrap_or(env.now.wall)),
        subject,
        ..Wrapper::default()
    };
    let inside: Vec<(&str, &str)> = OF_CONTENT
        .iter()
        .filter_map(|name| field(name))
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let body = cpim::write_as(parties.name, &wrapper, &inside, &content.body);
    Ok(Message {
        id: env.entropy.token(),
        content_type: cpim::CONTENT_TYPE.to_owned(),
        body: Bytes::from(body),
        success_report: false,
        failure_report: FailureReport::Yes,
        hint: im.id.clone(),
    })
}

fn uri(address: &SipAddress) -> String {
    adapt::address::to_uri(address).to_string()
}

/// A message of the peer's.
pub(super) struct Said {
    /// The sender by the wrapper, with a name for people; none where there is no wrapper.
    pub(super) from: Option<(Option<String>, SipAddress)>,
    /// The recipient by the wrapper.
    pub(super) to: Option<SipAddress>,
    /// The text; none where it is no text, such as a notice of typing.
    pub(super) im: Option<Im>,
}

/// Reads a message.
///
/// # Errors
/// The status that refuses it.
pub(super) fn read(message: &Received, now: Now) -> Result<Said, Status> {
    let media_type = message.content_type.as_deref();
    let refuse = |refusal: adapt::im::Refusal| Status::said(refusal.status, refusal.reason);
    let inbound = adapt::im::read_content(media_type, &message.body, now).map_err(refuse)?;
    let wrapped = media_type
        .map(MediaType::parse)
        .is_some_and(|found| matches!(found, Ok(found) if found.is("message", "cpim")));
    let malformed = || Status::said(400, "Malformed Wrapper");
    let (mut from, mut to) = (None, None);
    if wrapped {
        let cpim = Cpim::parse(&message.body).map_err(|_| malformed())?;
        let (name, sender) = cpim.sender().ok_or_else(malformed)?;
        let (_, recipient) = cpim.recipient().ok_or_else(malformed)?;
        let address = |text: &str| adapt::address::from_text(text).map_err(|_| malformed());
        from = Some((name, address(sender)?));
        to = Some(address(recipient)?);
    }
    let im = match inbound {
        Inbound::Message(im, _) => Some(Im {
            kind: ImKind::Groupchat,
            id: Some(message.message_id.clone()),
            thread: None,
            ..*im
        }),
        _ => None,
    };
    Ok(Said { from, to, im })
}
