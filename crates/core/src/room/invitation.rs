//! Invitations of users who are in no room yet.
//!
//! RFC 7702 does not say how a SIP user hears of an invitation from XMPP. He gets a message with the room's address:
//! every phone can show that, and calling the address enters the room.

use std::collections::BTreeMap;

use crate::address::{Jid, Scheme, SipAddress, jid_to_sip, sip_to_jid};
use crate::bridge::context::{Context, local_error};
use crate::failure::{Failure, Local, to_stanza};
use crate::vocab::{Im, Invitation, MucIn, MucOut, Ref, SipOut, Text, XmppOut};

/// An invitation that a SIP user has not been told yet.
struct Told {
    from: Jid,
    to: Jid,
    id: Option<String>,
}

/// Invitations without an outcome.
#[derive(Default)]
pub(super) struct Invitations {
    /// To SIP users.
    to_sip: BTreeMap<Ref, Told>,
    /// To XMPP users, with the names that the SIP adapter has for them.
    to_xmpp: BTreeMap<Ref, Ref>,
}

impl Invitations {
    pub(super) fn pending_count(&self) -> usize {
        self.to_sip.len() + self.to_xmpp.len()
    }

    /// [`MucIn::Invited`].
    pub(super) fn invite_sip_user(&mut self, cx: &mut Context, input: MucIn) {
        let MucIn::Invited {
            from,
            to,
            id,
            room,
            inviter,
            reason,
            password,
        } = input
        else {
            return;
        };
        let inviter = inviter.unwrap_or_else(|| from.clone());
        let invitation = self
            .admit(cx, &from.domain, &to.domain)
            .and_then(|()| match password {
                Some(_) => Err(Local::NotImplemented),
                None => page(&from, &to, &room, &inviter, reason.as_deref()),
            });
        match invitation {
            Ok((sender, recipient, im)) => {
                let reference = cx.fresh_ref();
                self.to_sip.insert(reference, Told { from, to, id });
                cx.sip(SipOut::Message {
                    reference,
                    from: sender,
                    to: recipient,
                    im,
                });
            }
            Err(local) => cx.report_new((to, from, id), local_error(local)),
        }
    }

    /// The fate of a message to a SIP user. False: it is no invitation.
    pub(super) fn outcome(
        &mut self,
        cx: &mut Context,
        reference: Ref,
        outcome: &Result<(), Failure>,
    ) -> bool {
        let Some(told) = self.to_sip.remove(&reference) else {
            return false;
        };
        if let Err(failure) = outcome {
            cx.report_new((told.to, told.from, told.id), to_stanza(failure));
        }
        true
    }

    /// A SIP conference invites an XMPP user.
    pub(super) fn invite_xmpp_user(&mut self, cx: &mut Context, invitation: &Invitation) {
        let stanza = mediated(invitation).and_then(|(conference, to, inviter)| {
            // Neither lends the other's right to speak.
            cx.admit(&to.domain, &inviter.domain)?;
            self.admit(cx, &to.domain, &conference.domain)?;
            Ok((conference, to, inviter))
        });
        match stanza {
            Ok((from, to, inviter)) => {
                let reference = cx.fresh_ref();
                self.to_xmpp.insert(reference, invitation.reference);
                cx.xmpp(XmppOut::Muc(MucOut::Invited {
                    reference,
                    from,
                    to,
                    inviter,
                    reason: invitation.reason.clone(),
                }));
            }
            Err(local) => cx.sip(SipOut::AnswerInvitation {
                reference: invitation.reference,
                outcome: Err(Failure::Local(local)),
            }),
        }
    }

    /// The fate of a stanza to an XMPP user. False: it is no invitation.
    pub(super) fn settled(
        &mut self,
        cx: &mut Context,
        reference: Ref,
        outcome: &Result<(), Failure>,
    ) -> bool {
        let Some(reference) = self.to_xmpp.remove(&reference) else {
            return false;
        };
        cx.sip(SipOut::AnswerInvitation {
            reference,
            outcome: outcome.clone(),
        });
        true
    }

    fn admit(&self, cx: &Context, xmpp_domain: &str, sip_domain: &str) -> Result<(), Local> {
        if !cx.settings.rooms.enabled {
            return Err(Local::NotImplemented);
        }
        cx.admit(xmpp_domain, sip_domain)?;
        if self.pending_count() >= cx.settings.rooms.max_invitations {
            return Err(Local::Overloaded);
        }
        Ok(())
    }
}

/// The message that tells a SIP user of an invitation. It comes from whoever sent the stanza, and from nobody that the
/// stanza only names.
fn page(
    from: &Jid,
    to: &Jid,
    room: &Jid,
    inviter: &Jid,
    reason: Option<&str>,
) -> Result<(SipAddress, SipAddress, Im), Local> {
    let bad = |_| Local::BadAddress;
    if to.local.is_none() {
        return Err(Local::NoUser);
    }
    let sender = jid_to_sip(from, Scheme::Sip).map_err(bad)?;
    let recipient = jid_to_sip(&to.bare(), Scheme::Sip).map_err(bad)?;
    let room = jid_to_sip(&room.bare(), Scheme::Sip).map_err(bad)?;
    let inviter = jid_to_sip(&inviter.bare(), Scheme::Sip).map_err(bad)?;
    let mut text = format!("{inviter} invites you to the chat room {room}");
    if let Some(reason) = reason {
        text.push_str(": ");
        text.push_str(reason);
    }
    let im = Im {
        bodies: vec![Text {
            lang: Some("en".to_owned()).filter(|_| reason.is_none()),
            text,
        }],
        ..Im::default()
    };
    Ok((sender, recipient, im))
}

fn mediated(invitation: &Invitation) -> Result<(Jid, Jid, Jid), Local> {
    let bad = |_| Local::BadAddress;
    let conference = sip_to_jid(&invitation.conference.bare()).map_err(bad)?;
    let to = sip_to_jid(&invitation.to.bare()).map_err(bad)?;
    let inviter = sip_to_jid(&invitation.from.bare()).map_err(bad)?;
    if to.local.is_none() || conference.local.is_none() {
        return Err(Local::NoUser);
    }
    Ok((conference, to, inviter))
}
