//! The words for group chat: rooms of XMPP (XEP-0045) and conferences of SIP (RFC 4575, RFC 4579, RFC 7701), joined by
//! RFC 7702.
//!
//! One user in one room is a *leg*, named by a [`Ref`] from its first word to its last. There are two kinds:
//!
//! * An XMPP user in a SIP conference (RFC 7702 §5). The SIP adapter is a participant for her:
//!   [`ConferenceOut`] and [`ConferenceEvent`]. The room machine names the leg.
//! * A SIP user in an XMPP room (RFC 7702 §6). The SIP adapter is the focus for him: [`FocusOut`] and [`FocusEvent`].
//!   The SIP adapter names the leg.
//!
//! References of legs, messages and invitations are of one space on each side: those that the adapter chooses never
//! repeat one of its own, those that the machine chooses never one of the machine's.

use super::{Im, Ref, Text};
use crate::address::{Jid, SipAddress};
use crate::failure::Failure;

// --------------------------------------------------------------------------------------------- both

/// What a participant may do (XEP-0045 §5.1). Towards SIP it is an `<entry>` of `<roles>` (RFC 4575 §5.6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Role {
    /// May remove others.
    Moderator,
    /// May write.
    #[default]
    Participant,
    /// May read.
    Visitor,
    /// Is not in the room.
    None,
}

/// What a user is to a room, whether present or not (XEP-0045 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Affiliation {
    /// Owns it.
    Owner,
    /// Administers it.
    Admin,
    /// Belongs to it.
    Member,
    /// Nothing special.
    #[default]
    None,
    /// Is banned.
    Outcast,
}

/// Somebody in a room, as SIP names him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    /// `entity` of his `<user>` element (RFC 4575 §5.6), and the address that his messages carry in CPIM.
    ///
    /// In an XMPP room it is the room's address with the nickname as `gr` (RFC 7702 §6.2). In a SIP conference it is
    /// what the conference says; the adapter gives the same participant the same address in rosters and messages. One
    /// whose entity is no SIP URI is left out of the roster.
    pub address: SipAddress,
    /// The nickname (RFC 7701 §7), else the display text, for people. `None`: a conference says neither. The room
    /// machine always gives one.
    pub nick: Option<String>,
    /// What he may do.
    pub role: Role,
}

/// Who is in a room, or what has changed of that.
///
/// A change costs as much as it names, whatever the size of the room.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    /// Everybody who is there is in [`Roster::present`]. Otherwise those who are not named stay as they were.
    pub full: bool,
    /// Those who are there: newly, or with another nickname or role than before. An address names one participant.
    pub present: Vec<Participant>,
    /// Those who have left; never together with `full`. An unknown one is passed over.
    pub left: Vec<SipAddress>,
}

/// Why a leg is over, as far as the side knows on which it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Its user left by his own will.
    Left,
    /// It never came about: the answer to the INVITE, or the error of the room. Also when the nickname of somebody who
    /// asked for it was refused for another reason than [`End::NickTaken`].
    Refused(Failure),
    /// It never came about: the nickname is taken (409 `conflict` of XMPP, 425 of MSRP).
    NickTaken,
    /// A moderator has removed the user (status 307; `booted` of RFC 4575 §5.7.4).
    Removed {
        /// The moderator's words.
        reason: Option<String>,
    },
    /// A moderator has banned the user (status 301).
    Banned {
        /// The moderator's words.
        reason: Option<String>,
    },
    /// The room is no more: destroyed, or its service stops (`<destroy/>`, status 332; conference-info of state
    /// `deleted`, a BYE with no word of why).
    Over {
        /// Words about it.
        reason: Option<String>,
    },
    /// The connection, the dialog or the room's server is lost.
    Lost(Failure),
}

/// Why a nickname was not given to somebody who is in the room already (RFC 7701 §7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NickRefusal {
    /// 425: another one has it.
    Taken,
    /// 424: it is none by RFC 7700.
    Malformed,
    /// Another reason, such as 403 for a room that forbids changes.
    Refused(Failure),
}

// ---------------------------------------------------------------------- an XMPP user in a conference

/// What the SIP adapter does for an XMPP user in a SIP conference.
#[derive(Debug, Clone, PartialEq)]
pub enum ConferenceOut {
    /// Enter: INVITE with MSRP, NICKNAME, SUBSCRIBE to the conference package (RFC 7702 §5.1 to §5.3). Answered with
    /// [`ConferenceEvent::Joined`] or [`ConferenceEvent::Ended`].
    Join {
        /// Names the leg from now on.
        leg: Ref,
        /// The XMPP user, with the resource as `gr`.
        user: SipAddress,
        /// The conference; no `gr`.
        conference: SipAddress,
        /// The nickname that she asks for; not empty.
        nick: String,
    },
    /// A message to the conference, or to one participant of it. Its fate comes back as [`ConferenceEvent::Outcome`],
    /// also when the leg ends before.
    Message {
        /// For [`ConferenceEvent::Outcome`].
        reference: Ref,
        /// The leg, which is joined.
        leg: Ref,
        /// The participant, as the roster names him. `None`: to all.
        to: Option<SipAddress>,
        /// Content.
        im: Im,
    },
    /// Another nickname. Answered with [`ConferenceEvent::Nick`]; there is one such request at a time.
    ChangeNick {
        /// The leg, which is joined.
        leg: Ref,
        /// The nickname; not empty.
        nick: String,
    },
    /// Ask the conference to invite somebody: REFER (RFC 7702 §5.7). Its fate comes back as
    /// [`ConferenceEvent::Outcome`]: `Ok` when the conference has taken the request.
    Invite {
        /// For [`ConferenceEvent::Outcome`].
        reference: Ref,
        /// The leg, which is joined.
        leg: Ref,
        /// Who.
        invitee: SipAddress,
        /// Words to him; told as far as the request can carry them.
        reason: Option<String>,
    },
    /// The answer to [`ConferenceEvent::Message`]. A second one, or one after the end of the leg, is ignored.
    Answer {
        /// As in [`ConferenceEvent::Message`].
        reference: Ref,
        /// 200, or the failure's code.
        outcome: Result<(), Failure>,
    },
    /// Leave: BYE, Expires 0, or CANCEL while the INVITE is open. Answered with [`ConferenceEvent::Ended`].
    Leave {
        /// The leg. One that is not there any more is passed over.
        leg: Ref,
    },
}

/// What becomes of an XMPP user in a SIP conference. Every [`ConferenceOut::Join`] comes to exactly one
/// [`ConferenceEvent::Ended`], and nothing of the leg comes after it but outcomes that are still owed.
#[derive(Debug, Clone, PartialEq)]
pub enum ConferenceEvent {
    /// She is in: the INVITE is accepted, the MSRP connection stands, the nickname is hers. Comes once, before all
    /// that follows here.
    Joined {
        /// Her nickname: the one that she asked for, or the conference's own choice. Where the conference knows no
        /// nicknames, the one that she asked for.
        nick: String,
        /// The conference delivers messages to single participants (`private-messages` of RFC 7701 §8).
        private_messages: bool,
    },
    /// Who is there. The first one is full; it comes also where the conference has no conference package, with nobody
    /// in it. She herself may be in it or not.
    Roster(Roster),
    /// The subject of the conference, where it has one: when it is first told, and when it changes. `None`: it has
    /// been taken away. That of a document comes before the roster of the same document.
    Subject(Option<Text>),
    /// A message. Those that she sent herself and the conference repeats do not come. Answered with
    /// [`ConferenceOut::Answer`].
    Message {
        /// Chosen by the SIP adapter.
        reference: Ref,
        /// The participant, as the roster names him; the conference's own address for its own words.
        from: SipAddress,
        /// To her alone.
        private: bool,
        /// Content.
        im: Im,
    },
    /// The answer to [`ConferenceOut::ChangeNick`].
    Nick(Result<String, NickRefusal>),
    /// The fate of [`ConferenceOut::Message`] or [`ConferenceOut::Invite`]: exactly one for each.
    Outcome {
        /// As given.
        reference: Ref,
        /// 2xx, or why not.
        outcome: Result<(), Failure>,
    },
    /// The leg is over, and its reference free.
    Ended(End),
}

// ---------------------------------------------------------------------------- a SIP user in a room

/// What a SIP user does who is, or wants to be, in an XMPP room. The SIP adapter is the focus for him.
#[derive(Debug, Clone, PartialEq)]
pub enum FocusEvent {
    /// An INVITE with MSRP for a room. It is answered with [`FocusOut::Accept`] when the room has taken him, or with
    /// [`FocusOut::End`]: so the answer is the room's own (RFC 7702 §6.1 leaves the order open). It takes as long as
    /// the room does; the adapter sends 180 meanwhile.
    Asked {
        /// Who; no `gr`.
        user: SipAddress,
        /// The room; no `gr`.
        room: SipAddress,
        /// The nickname, where the request names one.
        nick: Option<String>,
        /// Display name, for a nickname where he names none.
        name: Option<String>,
    },
    /// NICKNAME. Answered with [`FocusOut::NickAnswer`]; there is one such request at a time.
    Nick {
        /// What he asks for.
        nick: String,
    },
    /// A message to the room, or to one occupant. Answered with [`FocusOut::Answer`].
    Message {
        /// Chosen by the SIP adapter.
        reference: Ref,
        /// The occupant: the room's address with a nickname as `gr`. `None`: to all.
        to: Option<SipAddress>,
        /// Content.
        im: Im,
    },
    /// He asks that somebody be invited: REFER to the room (RFC 7702 §6.5). Answered with [`FocusOut::Answer`]: `Ok` is
    /// 202, and the one NOTIFY is `100 Trying` with `terminated;reason=noresource`.
    Invite {
        /// Chosen by the SIP adapter.
        reference: Ref,
        /// Who.
        invitee: SipAddress,
        /// Words to him.
        reason: Option<String>,
    },
    /// The fate of [`FocusOut::Message`]: exactly one for each, also when the leg ends before.
    Outcome {
        /// As given.
        reference: Ref,
        /// 2xx, or why not.
        outcome: Result<(), Failure>,
    },
    /// He has left, or cannot be reached any more: BYE, CANCEL, or the end of his MSRP connection. The reference of the
    /// leg is free, and nothing of the leg comes after it but outcomes that are still owed.
    Left,
}

/// What the SIP adapter tells a SIP user in an XMPP room.
#[derive(Debug, Clone, PartialEq)]
pub enum FocusOut {
    /// He is in: 200 with `isfocus`. [`FocusOut::Roster`] follows at once.
    Accept {
        /// As in [`FocusEvent::Asked`].
        leg: Ref,
        /// His nickname in the room, which may be another one than he asked for (RFC 7702 §7).
        nick: String,
    },
    /// Who is there. The first one is full and complete: the room has named everybody (RFC 7702 §6.2). The adapter
    /// keeps the document until he subscribes to the conference package, and from then on.
    Roster {
        /// The leg.
        leg: Ref,
        /// What it says. He is in it himself, under his nickname.
        roster: Roster,
    },
    /// The room's subject: once after the first roster, if it has one, and when it changes.
    Subject {
        /// The leg.
        leg: Ref,
        /// `None`: none any more.
        subject: Option<Text>,
    },
    /// A message to him by MSRP. Its fate comes back as [`FocusEvent::Outcome`]. Those of before his time have
    /// `im.sent_at`.
    Message {
        /// For [`FocusEvent::Outcome`].
        reference: Ref,
        /// The leg, which is accepted.
        leg: Ref,
        /// The occupant, or the room itself (no `gr`). He may have left.
        from: SipAddress,
        /// To him alone: CPIM `To` is himself. Otherwise the room.
        private: bool,
        /// Content. Messages of his own that the room repeats are not among them.
        im: Im,
    },
    /// The answer to [`FocusEvent::Message`] or [`FocusEvent::Invite`]. A second one, or one after the end of the leg,
    /// is ignored.
    Answer {
        /// As given.
        reference: Ref,
        /// 200 or 202, or the failure's code. A message is answered when the room has repeated it (RFC 7702 §6.3.1).
        outcome: Result<(), Failure>,
    },
    /// The answer to [`FocusEvent::Nick`]. The roster follows by itself.
    NickAnswer {
        /// The leg.
        leg: Ref,
        /// 200, or why not.
        outcome: Result<(), NickRefusal>,
    },
    /// The leg is over: the final answer to the INVITE, or BYE and a last NOTIFY. The reference is free; events of it
    /// that are under way are ignored, but outcomes are still owed.
    End {
        /// The leg.
        leg: Ref,
        /// Why.
        end: End,
    },
}

/// Somebody in the SIP world asks an XMPP user into a SIP conference: an INVITE with MSRP whose Contact has `isfocus`
/// (RFC 4579 §5.4), or a REFER to the user whose Refer-To is a conference (RFC 4579 §5.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Chosen by the SIP adapter, for [`super::SipOut::AnswerInvitation`].
    pub reference: Ref,
    /// Who asks; the conference itself, where nobody else is named.
    pub from: SipAddress,
    /// The conference; no `gr`.
    pub conference: SipAddress,
    /// The XMPP user.
    pub to: SipAddress,
    /// Words to her.
    pub reason: Option<String>,
}

// ---------------------------------------------------------------------------------------------- XMPP

/// What a room's presence says of one occupant (XEP-0045 §7.2, §7.6, §8.2, §9.1, §10.9).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OccupantPresence {
    /// He is there. Otherwise he has left, or goes on under [`OccupantPresence::new_nick`].
    pub available: bool,
    /// What he is to the room.
    pub affiliation: Affiliation,
    /// What he may do.
    pub role: Role,
    /// Who he is, where the room tells.
    pub jid: Option<Jid>,
    /// `nick` of the item: his name from now on (status 303).
    pub new_nick: Option<String>,
    /// Words of whoever removed him.
    pub reason: Option<String>,
    /// Status codes, in ascending order.
    pub statuses: Vec<u16>,
    /// The room is destroyed.
    pub destroyed: Option<Destroyed>,
}

/// The end of a room (XEP-0045 §10.9).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Destroyed {
    /// Where to go instead.
    pub venue: Option<Jid>,
    /// Words about it.
    pub reason: Option<String>,
}

/// What arrives from the XMPP world about rooms and is no ordinary message or presence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MucIn {
    /// An XMPP user asks to enter a conference: presence with `<x xmlns='http://jabber.org/protocol/muc'/>`.
    Join {
        /// Who, a full JID.
        from: Jid,
        /// The conference, with the nickname as resource.
        to: Jid,
        /// Stanza id, for an error in reply.
        id: Option<String>,
    },
    /// A room tells of an occupant: presence with `<x xmlns='http://jabber.org/protocol/muc#user'/>`.
    Occupant {
        /// The room, with the nickname as resource; the room itself in a few cases.
        from: Jid,
        /// A SIP user.
        to: Jid,
        /// What it tells.
        presence: OccupantPresence,
    },
    /// An XMPP user in a conference asks it to invite others (XEP-0045 §7.8.2).
    Invite {
        /// Who asks.
        from: Jid,
        /// The conference.
        to: Jid,
        /// Stanza id, for an error in reply.
        id: Option<String>,
        /// Whom.
        invitees: Vec<Jid>,
        /// Words to them.
        reason: Option<String>,
    },
    /// An invitation to a SIP user: from a room (XEP-0045 §7.8.2), or from a user directly (XEP-0249).
    Invited {
        /// The room or the user that sent the stanza.
        from: Jid,
        /// A SIP user.
        to: Jid,
        /// Stanza id, for an error in reply.
        id: Option<String>,
        /// The room.
        room: Jid,
        /// Who invites, where it is said.
        inviter: Option<Jid>,
        /// Words to him.
        reason: Option<String>,
        /// For a room that has one.
        password: Option<String>,
    },
    /// Somebody does not follow an invitation (XEP-0045 §7.8.2).
    Declined {
        /// The room.
        from: Jid,
        /// The SIP user who invited.
        to: Jid,
        /// Who declines.
        by: Option<Jid>,
        /// Words about it.
        reason: Option<String>,
    },
    /// The answer to [`MucOut::Ping`].
    Pong {
        /// Who answers.
        from: Jid,
        /// As given.
        reference: Ref,
        /// Whether the user is still an occupant. `None`: nobody can tell (XEP-0410 §3.2).
        joined: Option<bool>,
    },
}

/// What goes to the XMPP world about rooms and is no ordinary message or presence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MucOut {
    /// A SIP user enters a room. The fate of the stanza comes back as [`super::XmppIn::Settled`].
    Join {
        /// For [`super::XmppIn::Settled`].
        reference: Ref,
        /// SIP user, as JID, with a resource of the leg's own.
        from: Jid,
        /// The room, with the nickname as resource.
        to: Jid,
        /// Most messages of the room's past that he wants.
        history: u32,
    },
    /// A conference tells of a participant.
    Occupant {
        /// The conference, with the nickname as resource.
        from: Jid,
        /// XMPP user, a full JID.
        to: Jid,
        /// What it tells.
        presence: OccupantPresence,
    },
    /// A message from one occupant to another (XEP-0045 §7.5); its fate comes back as [`super::XmppIn::Settled`].
    Private {
        /// For [`super::XmppIn::Settled`].
        reference: Ref,
        /// Sender: the room with a nickname, or a SIP user.
        from: Jid,
        /// Recipient.
        to: Jid,
        /// Content; `im.id` is set.
        im: Im,
    },
    /// A room's subject (XEP-0045 §7.2.15, §8.1), to one occupant.
    Subject {
        /// The conference, with a nickname where it is known who set it.
        from: Jid,
        /// XMPP user, a full JID.
        to: Jid,
        /// `None`: there is none, which is said outright.
        subject: Option<Text>,
    },
    /// A SIP user in a room asks it to invite somebody.
    Invite {
        /// For [`super::XmppIn::Settled`].
        reference: Ref,
        /// SIP user, as JID.
        from: Jid,
        /// The room.
        to: Jid,
        /// Id of the stanza.
        id: String,
        /// Whom.
        invitee: Jid,
        /// Words to him.
        reason: Option<String>,
    },
    /// A conference invites an XMPP user.
    Invited {
        /// For [`super::XmppIn::Settled`].
        reference: Ref,
        /// Id of the stanza.
        id: String,
        /// The conference.
        from: Jid,
        /// XMPP user.
        to: Jid,
        /// Who invites.
        inviter: Jid,
        /// Words to her.
        reason: Option<String>,
    },
    /// Asks whether a SIP user is still an occupant (XEP-0410).
    Ping {
        /// For [`MucIn::Pong`] and [`super::XmppIn::Settled`].
        reference: Ref,
        /// SIP user, as JID, with the leg's resource.
        from: Jid,
        /// The room, with his nickname as resource.
        to: Jid,
    },
}

impl MucOut {
    /// From whom and to whom it is.
    #[must_use]
    pub fn addresses(&self) -> (&Jid, &Jid) {
        let (Self::Join { from, to, .. }
        | Self::Occupant { from, to, .. }
        | Self::Private { from, to, .. }
        | Self::Subject { from, to, .. }
        | Self::Invite { from, to, .. }
        | Self::Invited { from, to, .. }
        | Self::Ping { from, to, .. }) = self;
        (from, to)
    }

    /// What its fate comes back under, where somebody waits for it.
    #[must_use]
    pub fn reference(&self) -> Option<Ref> {
        match self {
            Self::Join { reference, .. }
            | Self::Private { reference, .. }
            | Self::Invite { reference, .. }
            | Self::Invited { reference, .. }
            | Self::Ping { reference, .. } => Some(*reference),
            Self::Occupant { .. } | Self::Subject { .. } => None,
        }
    }
}
