//! The words about rooms. Whoever joins, leaves or is removed is said with addresses; what they say is not.

use stox_core::vocab::{
    ConferenceEvent, ConferenceOut, FocusEvent, FocusOut, MucIn, MucOut, Ref, Roster,
};
use tracing::debug;

pub(super) fn muc_input(input: &MucIn) {
    match input {
        MucIn::Join { from, to, .. } => debug!(%from, %to, "wants to enter a conference"),
        MucIn::Occupant { from, to, presence } => {
            let (available, statuses) = (presence.available, &presence.statuses);
            debug!(%from, %to, available, ?statuses, "occupant of a room");
        }
        MucIn::Invite {
            from, to, invitees, ..
        } => {
            debug!(%from, %to, count = invitees.len(), "invites into a conference");
        }
        MucIn::Invited { from, to, room, .. } => debug!(%from, %to, %room, "invitation from XMPP"),
        MucIn::Declined { from, to, .. } => debug!(%from, %to, "invitation declined"),
        MucIn::Pong {
            from,
            reference,
            joined,
        } => {
            debug!(%from, reference = reference.0, ?joined, "answer from a room");
        }
    }
}

pub(super) fn muc_command(out: &MucOut) {
    let (from, to) = out.addresses();
    let what = match out {
        MucOut::Join { .. } => "join",
        MucOut::Occupant { .. } => "occupant",
        MucOut::Private { .. } => "private message",
        MucOut::Subject { .. } => "subject",
        MucOut::Invite { .. } => "invite",
        MucOut::Invited { .. } => "invited",
        MucOut::Ping { .. } => "ping",
    };
    debug!(%from, %to, what, "about a room to XMPP");
}

pub(super) fn conference_event(leg: Ref, event: &ConferenceEvent) {
    let leg = leg.0;
    match event {
        ConferenceEvent::Joined {
            private_messages, ..
        } => {
            debug!(leg, private_messages, "in the conference");
        }
        ConferenceEvent::Roster(roster) => roster_of(leg, roster),
        ConferenceEvent::Subject(_) => debug!(leg, "subject of a conference"),
        ConferenceEvent::Message {
            reference,
            from,
            private,
            ..
        } => {
            debug!(leg, reference = reference.0, %from, private, "message from a conference");
        }
        ConferenceEvent::Nick(answer) => debug!(leg, ok = answer.is_ok(), "answer to a nickname"),
        ConferenceEvent::Outcome { reference, outcome } => {
            debug!(
                leg,
                reference = reference.0,
                ?outcome,
                "outcome in a conference"
            );
        }
        ConferenceEvent::Ended(end) => debug!(leg, ?end, "out of the conference"),
    }
}

pub(super) fn conference_command(out: &ConferenceOut) {
    match out {
        ConferenceOut::Join {
            leg,
            user,
            conference,
            ..
        } => {
            debug!(leg = leg.0, %user, %conference, "enter a conference");
        }
        ConferenceOut::Message {
            reference, leg, to, ..
        } => {
            let private = to.is_some();
            debug!(
                leg = leg.0,
                reference = reference.0,
                private,
                "message to a conference"
            );
        }
        ConferenceOut::ChangeNick { leg, .. } => debug!(leg = leg.0, "nickname to a conference"),
        ConferenceOut::Invite {
            reference,
            leg,
            invitee,
            ..
        } => {
            debug!(leg = leg.0, reference = reference.0, %invitee, "invite into a conference");
        }
        ConferenceOut::Answer { reference, outcome } => {
            debug!(reference = reference.0, ?outcome, "answer to a conference");
        }
        ConferenceOut::Leave { leg } => debug!(leg = leg.0, "leave a conference"),
    }
}

pub(super) fn focus_event(leg: Ref, event: &FocusEvent) {
    let leg = leg.0;
    match event {
        FocusEvent::Asked { user, room, .. } => debug!(leg, %user, %room, "wants to enter a room"),
        FocusEvent::Nick { .. } => debug!(leg, "nickname from SIP"),
        FocusEvent::Message { reference, to, .. } => {
            let private = to.is_some();
            debug!(
                leg,
                reference = reference.0,
                private,
                "message from SIP to a room"
            );
        }
        FocusEvent::Invite {
            reference, invitee, ..
        } => {
            debug!(leg, reference = reference.0, %invitee, "invites into a room");
        }
        FocusEvent::Outcome { reference, outcome } => {
            debug!(
                leg,
                reference = reference.0,
                ?outcome,
                "outcome at a SIP user in a room"
            );
        }
        FocusEvent::Left => debug!(leg, "has left the room"),
    }
}

pub(super) fn focus_command(out: &FocusOut) {
    match out {
        FocusOut::Accept { leg, .. } => debug!(leg = leg.0, "in the room"),
        FocusOut::Roster { leg, roster } => roster_of(leg.0, roster),
        FocusOut::Subject { leg, .. } => debug!(leg = leg.0, "subject of a room"),
        FocusOut::Message {
            reference,
            leg,
            from,
            private,
            ..
        } => {
            debug!(leg = leg.0, reference = reference.0, %from, private, "message from a room");
        }
        FocusOut::Answer { reference, outcome } => {
            debug!(reference = reference.0, ?outcome, "answer from a room");
        }
        FocusOut::NickAnswer { leg, outcome } => {
            debug!(leg = leg.0, ?outcome, "answer to a nickname")
        }
        FocusOut::End { leg, end } => debug!(leg = leg.0, ?end, "out of the room"),
    }
}

fn roster_of(leg: u64, roster: &Roster) {
    let (full, present, left) = (roster.full, roster.present.len(), roster.left.len());
    debug!(leg, full, present, left, "roster");
}
