use bytes::Bytes;
use stox_core::address::SipAddress;
use stox_core::failure::{Failure, SipStatus};
use stox_core::time::Now;
use stox_core::vocab::{Receipt, Wants};

use super::write::PageMessage;
use crate::adapt::address::to_uri;
use crate::body::cpim::{self, Wrapper};
use crate::body::imdn::{self, Disposition, Notification, Wanted};

/// Header fields that belong to the content, and go into the wrapper with it.
const OF_CONTENT: [&str; 2] = ["Content-Type", "Content-Language"];

/// Puts a message into a wrapper that says what its sender wants to be told, under that name (RFC 5438 §6). A message
/// that may fail says so in the answer to its request, so that only good news is asked for. Its subject stands inside, too.
#[must_use]
pub fn wrap(
    message: &PageMessage,
    (from, to): (&SipAddress, &SipAddress),
    (message_id, wants): (&str, Wants),
    now: Now,
) -> PageMessage {
    let inside = |name: &str| OF_CONTENT.contains(&name);
    let (content, around): (Vec<_>, Vec<_>) =
        message.headers.iter().partition(|(name, _)| inside(name));
    let content: Vec<(&str, &str)> = content
        .into_iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let (from, to) = (to_uri(&from.bare()), to_uri(&to.bare()));
    let wanted = Wanted {
        delivered: wants.delivered,
        displayed: wants.displayed,
        ..Wanted::default()
    };
    let field = |name: &str| {
        let row = message.headers.iter().find(|(known, _)| *known == name);
        row.map(|(_, value)| value.as_str())
    };
    let wrapper = Wrapper {
        from: &from.to_string(),
        to: &to.to_string(),
        sent_at: Some(now.wall),
        subject: field("Subject").map(|subject| (field("Content-Language"), subject)),
        message_id: Some(message_id),
        wanted: Some(&wanted),
    };
    let mut headers = vec![("Content-Type", cpim::CONTENT_TYPE.to_owned())];
    headers.extend(around.into_iter().cloned());
    PageMessage {
        headers,
        body: Bytes::from(cpim::write(&wrapper, &content, &message.body)),
    }
}

/// Writes the notification that tells the sender of a message what became of it (RFC 5438 §8.1, §9). `from` is our user,
/// who got it; `message_id` names the notification itself.
#[must_use]
pub fn notification(
    wanted: &Wanted,
    receipt: Receipt,
    (from, to): (&SipAddress, &SipAddress),
    message_id: &str,
    now: Now,
) -> PageMessage {
    let (from, to) = (to_uri(&from.bare()), to_uri(&to.bare()));
    let (from, to) = (from.to_string(), to.to_string());
    let document = imdn::write(&Notification {
        wanted,
        recipient: &from,
        now: now.wall,
        disposition: match receipt {
            Receipt::Delivered => Disposition::Delivered,
            Receipt::Displayed => Disposition::Displayed,
        },
    });
    let wrapper = Wrapper {
        from: &from,
        to: &to,
        sent_at: Some(now.wall),
        message_id: Some(message_id),
        ..Wrapper::default()
    };
    let content = [
        ("Content-Type", imdn::CONTENT_TYPE),
        ("Content-Disposition", "notification"),
    ];
    PageMessage {
        headers: vec![("Content-Type", cpim::CONTENT_TYPE.to_owned())],
        body: Bytes::from(cpim::write(&wrapper, &content, document.as_bytes())),
    }
}

/// What a notification says to the sender; `None` where it says nothing of delivery.
#[must_use]
pub fn receipt(disposition: Disposition) -> Option<Result<Receipt, Failure>> {
    const UNAVAILABLE: u16 = 480;
    match disposition {
        Disposition::Delivered => Some(Ok(Receipt::Delivered)),
        Disposition::Displayed => Some(Ok(Receipt::Displayed)),
        Disposition::Failed => Some(Err(Failure::Sip(SipStatus::new(
            UNAVAILABLE,
            "The message did not reach the recipient's device",
        )))),
        Disposition::Other => None,
    }
}
