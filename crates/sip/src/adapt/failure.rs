//! Final SIP answers and the failures of the core.

use stox_core::failure::{Failure, SipStatus, to_sip};

use super::{address, diagnostics, im};
use crate::body::text::one_line;
use crate::header::Contact;
use crate::message::{Request, Response};
use crate::msrp::endpoint::Status;

/// Statuses that need a challenge, which we never send (RFC 3261 §21.4.2).
const CHALLENGES: [u16; 2] = [401, 407];

/// What a final answer of 300 to 699 means. The first `Contact` of a 3xx that is an address is where the user is now. What
/// a Communications Server explains stands behind the reason phrase: `Not Found (1003 User does not exist)`.
pub fn from_response(response: &Response) -> Failure {
    let redirects = (300..400).contains(&response.status);
    let contacts = response.headers.contacts().unwrap_or_default();
    let contact = contacts
        .iter()
        .filter(|_| redirects)
        .find_map(|contact| match contact {
            Contact::Address(value) => address::from_name_addr(value).ok(),
            Contact::Any => None,
        });
    Failure::Sip(SipStatus {
        code: response.status,
        reason: reason(response),
        contact,
    })
}

fn reason(response: &Response) -> String {
    let phrase = one_line(&response.reason);
    match diagnostics::explanation(response) {
        Some(why) if why.words.is_empty() => format!("{phrase} ({})", why.id),
        Some(why) => format!("{phrase} ({} {})", why.id, why.words),
        None => phrase,
    }
}

/// What a status of MSRP means (RFC 4975 §10), which is a status of SIP but for those that SIP knows nothing of.
pub fn from_msrp(code: u16, comment: &str) -> Failure {
    let code = match code {
        // Out of bounds of the negotiated session; bound to another connection.
        423 => 488,
        506 => 481,
        // The recipient takes no private messages (RFC 7701 §6.2).
        428 => 501,
        code @ 400..=699 => code,
        _ => 500,
    };
    Failure::Sip(SipStatus {
        code,
        reason: one_line(comment),
        contact: None,
    })
}

/// SIP statuses and what MSRP has for them (RFC 4975 §10); the words tell the rest.
pub const MSRP_STATUSES: [(&[u16], u16); 5] = [
    (&[400, 420, 484, 416], 400),
    (&[408, 480, 500, 502, 503, 504], 408),
    (&[413, 513], 413),
    (&[415, 406, 488, 606], 415),
    (&[481], 481),
];

/// The status of every other failure.
pub const MSRP_OTHERWISE: u16 = 403;

/// The status that tells a failure to the sender of a message over MSRP.
pub fn to_msrp(failure: &Failure) -> Status {
    let status = to_sip(failure);
    let row = MSRP_STATUSES
        .iter()
        .find(|(codes, _)| codes.contains(&status.code));
    Status::said(
        row.map_or(MSRP_OTHERWISE, |row| row.1),
        &one_line(&status.reason),
    )
}

/// The same to a participant of a room, who is told when the recipient is not there (RFC 7701 §6.2).
pub fn to_room_status(failure: &Failure) -> Status {
    let status = to_sip(failure);
    match status.code {
        404 => Status::said(404, &one_line(&status.reason)),
        _ => to_msrp(failure),
    }
}

/// The final answer that tells a failure to the sender of `request`. `allow` lists our methods, for 405.
///
/// The answer never asks for credentials, and has the header fields that its status calls for: `Allow` in 405
/// (RFC 3261 §21.4.6), `Accept` in 415 of a MESSAGE, `Contact` in 3xx.
pub fn to_response(failure: &Failure, request: &Request, allow: &str) -> Response {
    let status = to_sip(failure);
    let code = match status.code {
        code if CHALLENGES.contains(&code) => 403,
        code @ 300..=699 => code,
        _ => 500,
    };
    let mut response = Response::for_request(request, code, one_line(&status.reason));
    match code {
        405 => response.headers.push("Allow", allow),
        415 => response.headers.push("Accept", im::accept()),
        300..=399 => {
            if let Some(contact) = &status.contact {
                response
                    .headers
                    .push("Contact", address::to_name_addr(contact).to_string());
            }
        }
        _ => {}
    }
    response
}
