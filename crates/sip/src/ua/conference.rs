//! Group chat (RFC 7702): XMPP users in SIP conferences, for whom we are participants, and SIP users in XMPP rooms, for
//! whom we are the focus. Either is an INVITE dialog with an MSRP session in it (RFC 7701) and a subscription to the state
//! of the conference (RFC 4575).

mod focus;
mod invitation;
mod message;
mod participant;
mod referral;
mod roster;
mod subscription;
mod watchers;

use stox_core::address::SipAddress;
use stox_core::time::Now;
use stox_core::vocab::{ConferenceOut, FocusOut, Ref};

pub(super) use self::focus::Foci;
pub(super) use self::invitation::Invitations;
pub(super) use self::participant::Participants;
use super::effects::{Asked, Env};
use super::refusals::{self, Refusal};
use super::settings::OwnUser;
use super::{UserAgent, with};
use crate::body::sdp::{self, Carrier, Media};
use crate::deadlines::Deadlines;
use crate::header::{HeaderValue, Headers, MediaType, ReferTo};
use crate::message::Request;
use crate::method::Method;
use crate::msrp::endpoint::Event;

/// The event package of conferences (RFC 4575 §3.1).
pub(super) const PACKAGE: &str = "conference";
/// What a REFER is about (RFC 3515 §3).
const REFERRALS: &str = "refer";
/// What we say that rooms can do, and ask of them (RFC 7701 §8).
const ABILITIES: &str = "nickname private-messages";
/// The word for a focus in `Contact` (RFC 4579 §5.1).
const FOCUS: &str = "isfocus";

/// Characters of somebody's words in a header field, at most.
const MOST_WORDS: usize = 256;

/// Names one leg, or one subscription of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LegId(u64);

/// What a request of ours is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Sets a leg up.
    Invite,
    /// Ends it.
    Bye,
    /// Asks for the state of the conference.
    Subscribe,
    /// Tells of it.
    Notify,
    /// Asks that somebody be invited.
    Refer(Ref),
}

/// What waits for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Our INVITE has waited long enough.
    Answer,
    /// The MSRP connection has.
    Link,
    /// No NOTIFY came.
    FirstNotify,
    /// A subscription is to be refreshed, or tried anew.
    Refresh,
    /// A subscription runs out.
    Expiry,
    /// The next NOTIFY may go out.
    Pace,
}

type Timers = Deadlines<(LegId, Timer)>;

/// Whom the `Contact` of a room names.
fn focus_contact(room: &SipAddress, domain: &str, env: &Env<'_>) -> OwnUser {
    OwnUser {
        feature: Some(FOCUS),
        ..OwnUser::new(room, &env.behaviour(domain))
    }
}

/// Whether a message comes from a focus.
fn is_focus(headers: &Headers) -> bool {
    let contact = headers.contact();
    contact.is_ok_and(|contact| contact.params.contains(FOCUS))
}

/// The media lines of a request or an answer.
fn described(headers: &Headers, body: &[u8]) -> Vec<Media> {
    let media_type = headers.get("Content-Type").map(MediaType::parse);
    match media_type {
        Some(Ok(found)) if crate::adapt::is_named(&found, sdp::CONTENT_TYPE) => sdp::media(body),
        _ => Vec::new(),
    }
}

fn is_msrp(media: &Media) -> bool {
    matches!(media.carrier(), Some(Carrier::Msrp { .. }))
}

/// Whether a room or its user can do something.
fn can(media: &Media, ability: &str) -> bool {
    let said = media.chatroom.as_deref().unwrap_or_default();
    said.split_ascii_whitespace()
        .any(|word| word.eq_ignore_ascii_case(ability))
}

/// What of somebody's words goes into a header field.
fn in_short(words: &str) -> String {
    words.chars().take(MOST_WORDS).collect()
}

/// The methods that we serve in conferences, for `Allow`.
fn allow() -> String {
    format!("{}, {}", refusals::allow(), Method::REFER.as_str())
}

impl UserAgent {
    /// How many messages, referrals and invitations the bridge has not answered.
    pub(super) fn conferences_owe(&self) -> usize {
        self.participants.unanswered() + self.foci.unanswered() + self.invitations.len()
    }

    /// What the bridge wants of a conference.
    pub(super) fn conference(&mut self, out: ConferenceOut, now: Now) {
        with!(self.participants.command(out), now);
    }

    /// What the bridge wants of a SIP user in a room.
    pub(super) fn focus(&mut self, out: FocusOut, now: Now) {
        if let FocusOut::Answer { reference, outcome } = &out
            && with!(self.foci.answer(*reference, outcome), now)
        {
            return;
        }
        with!(self.foci.command(out), now);
    }

    /// Something happened in an MSRP session of a conference.
    pub(super) fn conference_happened(&mut self, event: Event, now: Now) {
        let reference = self.next_ref();
        if let Some(event) = with!(self.participants.happened(event, reference), now) {
            with!(self.foci.happened(event, reference), now);
        }
    }

    /// Whether an INVITE outside a dialog is for a room: by the domains of rooms where the settings name them, else by
    /// what the offer asks for.
    fn is_for_room(&self, request: &Request, to: &SipAddress) -> bool {
        if to.user.is_none() || is_focus(&request.headers) {
            return false;
        }
        let rooms = &self.settings.rooms;
        if !rooms.is_empty() {
            let domain = stox_core::address::canonical_domain(&to.host);
            return rooms.iter().any(|pattern| pattern.matches(&domain));
        }
        let offer = described(&request.headers, &request.body);
        offer
            .iter()
            .any(|media| is_msrp(media) && media.chatroom.is_some())
    }

    /// An INVITE outside a dialog that has to do with conferences. What comes back has not.
    pub(super) fn take_conference_invite(
        &mut self,
        asked: Asked,
        (from, to): (&SipAddress, &SipAddress),
        now: Now,
    ) -> Option<Asked> {
        if self.settings.msrp.is_none() {
            return Some(asked);
        }
        if self.is_for_room(&asked.request, to) {
            let reference = self.next_ref();
            with!(self.foci.arrived(reference, asked, (from, to)), now);
            return None;
        }
        let offer = described(&asked.request.headers, &asked.request.body);
        if is_focus(&asked.request.headers) && offer.iter().any(is_msrp) {
            let reference = self.next_ref();
            with!(self.invitations.invited(reference, asked, (from, to)), now);
            return None;
        }
        Some(asked)
    }

    /// A SUBSCRIBE to the state of a room.
    pub(super) fn take_room_subscribe(
        &mut self,
        asked: &Asked,
        (from, to): (&SipAddress, &SipAddress),
        now: Now,
    ) {
        with!(self.foci.subscribed(asked, (from, to)), now);
    }

    /// A REFER: in or beside the dialog of a SIP user in a room, or to an XMPP user.
    pub(super) fn take_refer(&mut self, asked: Asked, now: Now) {
        let refer_to = asked.request.headers.get("Refer-To").map(ReferTo::parse);
        let parties = self.parties(&asked, now);
        let (from, to) = match parties {
            Ok(parties) => parties,
            Err(refusal) => return self.refuse(&asked, &refusal, now),
        };
        if !self.is_within_rate(&asked, &from.host, now) {
            return self.env(now).refuse(&asked, &Refusal::Busy);
        }
        let Some(Ok(refer_to)) = refer_to else {
            let refusal = Refusal::Malformed("Missing Or Malformed Refer-To".to_owned());
            return self.env(now).refuse(&asked, &refusal);
        };
        let tag = refusals::to_tag(&asked.request);
        let call_id = asked.request.headers.get("Call-ID").unwrap_or_default();
        let member = tag
            .as_ref()
            .and_then(|tag| self.participants.find(call_id, tag));
        if let Some(id) = member {
            return with!(self.participants.receive(id, &asked, &from), now);
        }
        let reference = self.next_ref();
        let parties = (&from, &to);
        let back = with!(
            self.foci.referred(reference, asked, &refer_to, parties),
            now
        );
        if let Some(asked) = back {
            if tag.is_some() {
                return self.env(now).refuse(&asked, &Refusal::NoDialog);
            }
            with!(
                self.invitations
                    .referred(reference, asked, &refer_to, parties),
                now
            );
        }
    }

    /// A request in a dialog of a conference. What comes back is in none.
    pub(super) fn take_in_conference(
        &mut self,
        asked: Asked,
        from: &SipAddress,
        tag: &str,
        now: Now,
    ) -> Option<Asked> {
        let call_id = asked.request.headers.get("Call-ID").unwrap_or_default();
        if let Some(id) = self.participants.find(call_id, tag) {
            with!(self.participants.receive(id, &asked, from), now);
            return None;
        }
        if let Some(id) = self.foci.find(call_id, tag) {
            with!(self.foci.receive(id, &asked, from), now);
            return None;
        }
        Some(asked)
    }
}
