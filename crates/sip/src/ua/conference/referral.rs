//! REFERs of SIP users (RFC 3515): to a room, so that it invites somebody, or to an XMPP user, so that she comes into a
//! conference. What becomes of that is not followed: the one NOTIFY says so (RFC 7702 §6.5).

use bytes::Bytes;
use stox_core::address::SipAddress;
use stox_core::failure::Failure;

use super::REFERRALS;
use crate::adapt;
use crate::body::sipfrag;
use crate::dialog::Dialog;
use crate::header::{HeaderValue, ReferSub, ReferTo};
use crate::method::Method;
use crate::transaction::ServerId;
use crate::transport::Source;
use crate::ua::effects::{Asked, Env, Outgoing, Purpose};
use crate::ua::notifier::{leads_back, set_up};
use crate::ua::refusals::Refusal;
use crate::ua::settings::OwnUser;

/// One REFER that waits for its answer.
#[derive(Debug)]
pub(super) struct Referral {
    asked: Asked,
    /// Its own dialog; `None` where it came in another one.
    dialog: Option<Dialog>,
    over: Option<Source>,
    domain: String,
    own: OwnUser,
    /// The sender wants no NOTIFY (RFC 4488).
    silent: bool,
}

/// Whom a REFER wants to be invited.
pub(super) fn invitee(refer_to: &ReferTo) -> Result<SipAddress, Refusal> {
    let address = adapt::address::from_name_addr(&refer_to.target);
    let address = address.map_err(|_| Refusal::BadScheme)?;
    match refer_to.method() {
        Some(Method::INVITE) => Ok(address.bare()),
        _ => Err(Refusal::NoTransfer),
    }
}

impl Referral {
    pub(super) fn new(
        asked: Asked,
        from: &SipAddress,
        own: OwnUser,
        inside: bool,
        env: &mut Env<'_>,
    ) -> Result<Self, Refusal> {
        let dialog = match inside {
            true => None,
            false => Some(set_up(&asked, &env.entropy.token(), &from.host, env)?),
        };
        let sub = asked.request.headers.get("Refer-Sub").map(ReferSub::parse);
        Ok(Self {
            dialog,
            over: leads_back(&asked).then(|| asked.source.clone()),
            domain: from.host.clone(),
            own,
            silent: matches!(sub, Some(Ok(ReferSub(false)))),
            asked,
        })
    }

    /// Its transaction.
    pub(super) fn server(&self) -> Option<ServerId> {
        self.asked.server
    }

    /// 202 and the one NOTIFY, or a refusal. `shared` is the dialog that it came in, where it has none of its own.
    pub(super) fn answer(
        self,
        shared: Option<&mut Dialog>,
        outcome: &Result<(), Failure>,
        env: &mut Env<'_>,
    ) {
        let Self {
            asked,
            mut dialog,
            over,
            domain,
            own,
            silent,
        } = self;
        if let Err(failure) = outcome {
            let response = env.failure(&asked.request, failure);
            return env.respond(&asked, response);
        }
        let mut response = env.response(&asked.request, 202, "Accepted");
        let contact = env.settings.local.contact(&own, asked.source.transport);
        let headers = &mut response.headers;
        if let Some(dialog) = &dialog {
            headers.set("To", dialog.local());
        }
        headers.copy_from(&asked.request.headers, "Record-Route");
        headers.push("Contact", contact);
        if silent {
            headers.push("Refer-Sub", ReferSub(false).to_string());
        }
        env.respond(&asked, response);
        let Some(dialog) = dialog.as_mut().or(shared).filter(|_| !silent) else {
            return;
        };
        let cseq = asked.request.headers.cseq().ok().map(|cseq| cseq.number);
        let mut request = dialog.request(Method::NOTIFY);
        let headers = &mut request.headers;
        let id = cseq.map_or_else(String::new, |cseq| format!(";id={cseq}"));
        headers.push("Event", format!("{REFERRALS}{id}"));
        headers.push("Subscription-State", "terminated;reason=noresource");
        headers.push("User-Agent", &env.settings.product);
        headers.push("Content-Type", sipfrag::CONTENT_TYPE);
        request.body = Bytes::from(sipfrag::write(100, "Trying"));
        env.send(Outgoing {
            purpose: Purpose::Stray,
            next_hop: dialog.next_hop(),
            request,
            over,
            domain,
            contact: Some(own),
            branch_hint: None,
        });
    }
}
