//! SIP users and conferences who ask XMPP users into a conference: INVITE of a focus (RFC 4579 §5.4), or REFER to the user
//! (RFC 4579 §5.6).

use std::collections::BTreeMap;

use stox_core::address::SipAddress;
use stox_core::failure::Failure;
use stox_core::vocab::{Invitation, Ref, SipIn};

use super::referral::{self, Referral};
use crate::adapt;
use crate::body::text::clean;
use crate::header::{HeaderValue, NameAddr, ReferTo};
use crate::transaction::ServerId;
use crate::ua::effects::{Asked, Env};
use crate::ua::refusals::Refusal;
use crate::ua::settings::OwnUser;

/// Those that wait for an answer, at most.
const MOST: usize = 1000;

#[derive(Debug)]
enum Open {
    Invite(Asked),
    Refer(Box<Referral>),
}

/// Invitations that the bridge has not answered.
#[derive(Debug, Default)]
pub(in crate::ua) struct Invitations {
    by_ref: BTreeMap<Ref, Open>,
    by_server: BTreeMap<ServerId, Ref>,
}

impl Invitations {
    pub(in crate::ua) fn len(&self) -> usize {
        self.by_ref.len()
    }

    fn keep(&mut self, reference: Ref, server: Option<ServerId>, open: Open) {
        if let Some(server) = server {
            self.by_server.insert(server, reference);
        }
        self.by_ref.insert(reference, open);
    }

    /// An INVITE of a focus.
    pub(in crate::ua) fn invited(
        &mut self,
        reference: Ref,
        asked: Asked,
        (from, to): (&SipAddress, &SipAddress),
        env: &mut Env<'_>,
    ) {
        if self.by_ref.len() >= MOST {
            return env.refuse(&asked, &Refusal::Busy);
        }
        let headers = &asked.request.headers;
        let contact = headers.contact().ok();
        let contact = contact.and_then(|contact| adapt::address::from_name_addr(&contact).ok());
        // A Contact elsewhere is where the focus runs, and no name for it.
        let same = |address: &SipAddress| address.host.eq_ignore_ascii_case(&from.host);
        let conference = contact.filter(|found| found.user.is_some() && same(found));
        let by = headers.get("Referred-By").map(NameAddr::parse);
        let by = by.and_then(Result::ok);
        let by = by.and_then(|by| adapt::address::from_name_addr(&by).ok());
        let invitation = Invitation {
            reference,
            from: by.filter(same).map_or_else(|| from.bare(), |by| by.bare()),
            conference: conference.map_or_else(|| from.bare(), |found| found.bare()),
            to: to.clone(),
            reason: headers.get("Subject").map(clean),
        };
        self.keep(reference, asked.server, Open::Invite(asked));
        env.tell(SipIn::Invitation(invitation));
    }

    /// A REFER to an XMPP user.
    pub(in crate::ua) fn referred(
        &mut self,
        reference: Ref,
        asked: Asked,
        refer_to: &ReferTo,
        (from, to): (&SipAddress, &SipAddress),
        env: &mut Env<'_>,
    ) {
        let own = OwnUser::new(to, &env.behaviour(&from.host));
        let known = |found: &SipAddress| env.settings.sip_domain(&found.host).is_some();
        let conference = referral::invitee(refer_to).and_then(|found| {
            let room = found.user.is_some() && known(&found);
            room.then_some(found).ok_or(Refusal::NoTransfer)
        });
        let referral = match conference {
            Ok(_) if self.by_ref.len() >= MOST => Err(Refusal::Busy),
            Ok(conference) => Referral::new(asked.clone(), from, own, false, env)
                .map(|referral| (conference, referral)),
            Err(refusal) => Err(refusal),
        };
        match referral {
            Ok((conference, referral)) => {
                let invitation = Invitation {
                    reference,
                    from: from.bare(),
                    conference,
                    to: to.clone(),
                    reason: refer_to.header("Subject").map(|words| clean(&words)),
                };
                self.keep(reference, asked.server, Open::Refer(Box::new(referral)));
                env.tell(SipIn::Invitation(invitation));
            }
            Err(refusal) => env.refuse(&asked, &refusal),
        }
    }

    /// The bridge's answer. Whether she comes nobody knows.
    pub(in crate::ua) fn answer(
        &mut self,
        reference: Ref,
        outcome: &Result<(), Failure>,
        env: &mut Env<'_>,
    ) {
        self.by_server.retain(|_, of| *of != reference);
        match (self.by_ref.remove(&reference), outcome) {
            (Some(Open::Refer(referral)), outcome) => referral.answer(None, outcome, env),
            (Some(Open::Invite(asked)), Ok(())) => {
                let response = env.response(&asked.request, 480, "Has Been Told");
                env.respond(&asked, response);
            }
            (Some(Open::Invite(asked)), Err(failure)) => {
                let response = env.failure(&asked.request, failure);
                env.respond(&asked, response);
            }
            (None, _) => {}
        }
    }

    /// The caller cancels.
    pub(in crate::ua) fn cancelled(&mut self, server: ServerId, env: &mut Env<'_>) {
        if let Some(reference) = self.by_server.get(&server)
            && let Some(Open::Invite(asked)) = self.by_ref.get(reference)
        {
            let response = env.response(&asked.request, 487, "Request Terminated");
            env.respond(asked, response);
            self.server_gone(server);
        }
    }

    /// One that cannot be answered any more.
    pub(in crate::ua) fn server_gone(&mut self, server: ServerId) {
        if let Some(reference) = self.by_server.remove(&server) {
            self.by_ref.remove(&reference);
        }
    }
}
