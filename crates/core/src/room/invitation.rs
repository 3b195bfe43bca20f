//! Invitations of users who are in no room yet.
//!
//! RFC 7702 does not say how a SIP user hears of an invitation from XMPP. He gets a message with the room's address:
//! every phone can show that, and calling the address enters the room.

use std::collections::BTreeMap;

use crate::address::{Jid, Scheme, SipAddress, jid_to_sip, sip_to_jid};
use crate::bridge::context::{Context, local_error};
use crate::bridge::messages::reported;
use crate::failure::{Failure, Local, StanzaError, to_stanza};
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
    /// To XMPP users.
    to_xmpp: BTreeMap<Ref, Sent>,
    /// Those by the ids of their stanzas.
    by_id: BTreeMap<String, Ref>,
}

/// An invitation that an XMPP user's server has not handled yet.
struct Sent {
    id: String,
    /// The conference and she.
    from: Jid,
    to: Jid,
    /// What the SIP adapter calls it; gone when it has been answered.
    open: Option<Ref>,
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
                let id = cx.entropy.token();
                let sent = Sent {
                    id: id.clone(),
                    from: from.clone(),
                    to: to.clone(),
                    open: Some(invitation.reference),
                };
                self.to_xmpp.insert(reference, sent);
                self.by_id.insert(id.clone(), reference);
                cx.xmpp(XmppOut::Muc(MucOut::Invited {
                    reference,
                    id,
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
        let Some(sent) = self.to_xmpp.remove(&reference) else {
            return false;
        };
        self.by_id.remove(&sent.id);
        if let Some(reference) = sent.open {
            cx.sip(SipOut::AnswerInvitation {
                reference,
                outcome: outcome.clone(),
            });
        }
        true
    }

    /// An error about an invitation to an XMPP user. False: it is about something else.
    pub(super) fn message_error(
        &mut self,
        cx: &mut Context,
        (from, to): (&Jid, &Jid),
        id: Option<&String>,
        error: &StanzaError,
    ) -> bool {
        let sent = id.and_then(|id| self.to_xmpp.get_mut(self.by_id.get(id)?));
        let is_meant = |sent: &&mut Sent| {
            sent.to.match_key() == from.bare().match_key()
                && sent.from.match_key() == to.bare().match_key()
        };
        let Some(sent) = sent.filter(is_meant) else {
            return false;
        };
        if let Some(reference) = sent.open.take() {
            cx.sip(SipOut::AnswerInvitation {
                reference,
                outcome: Err(reported(from, error.clone())),
            });
        }
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
