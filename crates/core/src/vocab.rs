//! The protocol-neutral words in which the two adapters and the bridge speak.
//!
//! Every request that expects an outcome carries a [`Ref`]; its outcome comes back as an input with the same
//! [`Ref`], exactly once. Addresses of SIP users are [`SipAddress`], of XMPP users [`Jid`]; only the bridge turns
//! one into the other.

mod im;
mod ledger;
mod presence;
mod rich;
mod room;
mod trace;

use std::time::Duration;

pub use im::{ChatState, Im, ImKind, Receipt, Text, Wants};
pub use ledger::{About, Amendment, Entry, Fate, Outcome, Party, Reason, Sayer, Way};
pub use presence::{Document, PresenceKind, ResourcePresence, Show, State, Tuple};
pub use rich::{Colour, Link, Rich, Run, Style};
pub use room::{
    Affiliation, ConferenceEvent, ConferenceOut, Destroyed, End, FocusEvent, FocusOut, Invitation,
    MucIn, MucOut, NickRefusal, OccupantPresence, Participant, Role, Roster,
};
pub use trace::Trace;

use crate::address::{Jid, SipAddress};
use crate::failure::{Failure, Local, StanzaError};

/// Names one message, subscription or watcher between a machine and the bridge. Unique within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ref(pub u64);

/// What the bridge is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// From the XMPP adapter.
    Xmpp(XmppIn),
    /// From the SIP adapter.
    Sip(SipIn),
    /// From the store.
    Store(StoreIn),
}

/// What the bridge asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// To the XMPP adapter.
    Xmpp(XmppOut),
    /// To the SIP adapter.
    Sip(SipOut),
    /// To the store.
    Store(StoreOut),
}

// --------------------------------------------------------------------------------------------- XMPP

/// What arrives from the XMPP world. `from` is proved by the stream, `to` is in a domain that we speak for.
#[derive(Debug, Clone, PartialEq)]
pub enum XmppIn {
    /// A message that is no error. It is answered with [`XmppOut::MessageError`], or with nothing.
    Message {
        /// Sender.
        from: Jid,
        /// SIP user or domain.
        to: Jid,
        /// Content.
        im: Im,
    },
    /// A message that cannot cross, and why. It is answered with [`XmppOut::MessageError`].
    Unreadable {
        /// Sender.
        from: Jid,
        /// SIP user or domain.
        to: Jid,
        /// What can be said of it.
        im: Im,
        /// Why.
        why: Local,
    },
    /// A receipt for a message that we sent, matched by its id. There is no outcome.
    Receipt {
        /// Whose device says so.
        from: Jid,
        /// The sender of the message.
        to: Jid,
        /// Id of the message.
        id: String,
        /// What it says.
        receipt: Receipt,
    },
    /// A message of type error: about one that we sent, matched by its id.
    MessageError {
        /// Who reports it.
        from: Jid,
        /// The sender of the message that failed.
        to: Jid,
        /// Id of the message that failed.
        id: Option<String>,
        /// The error.
        error: StanzaError,
    },
    /// A presence stanza that is no error.
    Presence {
        /// Sender.
        from: Jid,
        /// SIP user or domain.
        to: Jid,
        /// Stanza id, for an error in reply.
        id: Option<String>,
        /// Which gateways a request to subscribe or a probe has crossed.
        trace: Trace,
        /// Meaning.
        kind: PresenceKind,
    },
    /// A presence stanza of type error.
    PresenceError {
        /// Who reports it.
        from: Jid,
        /// The address that we spoke for.
        to: Jid,
        /// The error.
        error: StanzaError,
    },
    /// The fate of [`XmppOut::Message`] or [`XmppOut::MessageError`]: `Ok` when the partner's server has handled it (the
    /// fence has passed).
    Settled {
        /// As given.
        reference: Ref,
        /// Handled, or why it was given up. On `Err` the stanza is not in any queue any more.
        outcome: Result<(), Failure>,
    },
    /// About a room. Messages of rooms are [`XmppIn::Message`], errors [`XmppIn::MessageError`] and
    /// [`XmppIn::PresenceError`].
    Muc(MucIn),
}

/// What goes to the XMPP world.
#[derive(Debug, Clone, PartialEq)]
pub enum XmppOut {
    /// A message; its fate comes back as [`XmppIn::Settled`].
    Message {
        /// For [`XmppIn::Settled`].
        reference: Ref,
        /// SIP user, as JID.
        from: Jid,
        /// XMPP user.
        to: Jid,
        /// Content; `im.id` is set.
        im: Im,
    },
    /// An error reply to a message: same id, addresses swapped by the bridge.
    MessageError {
        /// For [`XmppIn::Settled`]. Until then the message counts as not handled.
        reference: Ref,
        /// The address that the message was for.
        from: Jid,
        /// Its sender.
        to: Jid,
        /// Its id.
        id: Option<String>,
        /// The error.
        error: StanzaError,
    },
    /// A receipt for a message that came from there. Nobody waits for its fate.
    Receipt {
        /// SIP user, as JID.
        from: Jid,
        /// XMPP user: the sender of the message.
        to: Jid,
        /// Id of the message.
        id: String,
        /// Kind of the message, which is that of its receipt (XEP-0184 §5.3).
        kind: ImKind,
        /// What the SIP side says.
        receipt: Receipt,
    },
    /// A chat state without a message. Nobody waits for its fate.
    ChatState {
        /// SIP user, as JID.
        from: Jid,
        /// XMPP user.
        to: Jid,
        /// Thread of the conversation.
        thread: Option<String>,
        /// What the SIP user is doing.
        state: ChatState,
        /// That it has crossed a gateway: the next one does not carry it on.
        trace: Trace,
    },
    /// A presence stanza.
    Presence {
        /// SIP user, as JID.
        from: Jid,
        /// XMPP user.
        to: Jid,
        /// Which gateways a request to subscribe or a probe has crossed, this one included.
        trace: Trace,
        /// Meaning.
        kind: PresenceKind,
    },
    /// An error reply to a presence stanza.
    PresenceError {
        /// The address that the stanza was for.
        from: Jid,
        /// Its sender.
        to: Jid,
        /// Its id.
        id: Option<String>,
        /// The error.
        error: StanzaError,
    },
    /// About a room.
    Muc(MucOut),
}

// ---------------------------------------------------------------------------------------------- SIP

/// Why a subscription ended (RFC 6665 §4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// `deactivated`: subscribe again at once.
    Deactivated,
    /// `probation`: subscribe again later.
    Probation,
    /// `rejected`: the authorisation is gone.
    Rejected,
    /// `timeout`: it ran out.
    Timeout,
    /// `giveup`: no decision was reached.
    Giveup,
    /// `noresource`: nothing to watch; do not retry.
    NoResource,
    /// `invariant`: the state cannot change; do not retry.
    Invariant,
    /// No reason, or one that we do not know.
    Unknown,
}

/// What becomes of a subscription that we hold at a SIP user ([`SipOut::Subscribe`]).
#[derive(Debug, Clone, PartialEq)]
pub enum SubscriptionEvent {
    /// NOTIFY with state pending. Nothing of it reaches the XMPP user.
    Pending,
    /// NOTIFY with state active, and its document when it had one that could be read.
    Active(Option<Document>),
    /// NOTIFY with state terminated. The reference is free.
    Ended {
        /// Why.
        reason: EndReason,
        /// `retry-after`, when given.
        retry_after: Option<Duration>,
        /// The document in it: the answer to a poll, or the last state.
        document: Option<Document>,
    },
    /// The first SUBSCRIBE failed for good, or no NOTIFY came (Timer N, as [`Failure`] timeout). The reference is free.
    /// The SIP adapter has already retried what RFC 6665 lets it retry (423 with Min-Expires, an authentication challenge).
    Refused(Failure),
    /// An established dialog is gone (481 and its like on a refresh, RFC 6665 §4.1.2.2). The reference is free.
    Lost(Failure),
    /// The answer to [`SipOut::Unsubscribe`], or the time for it is over. The reference is free.
    Closed,
}

/// What a SIP user who watches an XMPP user does (we are the notifier).
#[derive(Debug, Clone, PartialEq)]
pub enum WatcherEvent {
    /// A SUBSCRIBE outside a dialog. Answered with [`SipOut::AcceptWatcher`] or [`SipOut::RefuseWatcher`] at once.
    Arrived {
        /// Who watches.
        watcher: SipAddress,
        /// Whom.
        presentity: SipAddress,
        /// `Expires: 0`: one answer only, no subscription (RFC 6665 §4.4.3).
        poll: bool,
        /// Which gateways it has crossed.
        trace: Trace,
    },
    /// A refresh inside the dialog; the 200 has been sent, a NOTIFY is owed.
    Refreshed,
    /// The watcher left (Expires 0 in the dialog). A last NOTIFY is owed: [`SipOut::Notify`] terminated, timeout.
    Left,
    /// It ran out without refresh. A last NOTIFY is owed: terminated, timeout.
    Expired,
    /// A NOTIFY was refused or not answered; the dialog is gone, nothing is owed (RFC 6665 §4.2.2).
    Broken,
}

/// State of a watcher's subscription, said in a NOTIFY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatcherState {
    /// Waiting for the XMPP user.
    Pending,
    /// Approved.
    Active,
    /// Over.
    Terminated {
        /// Why.
        reason: EndReason,
        /// When to try again.
        retry_after: Option<Duration>,
    },
}

/// What arrives from the SIP world. `from` is an address that the connection may speak for.
#[derive(Debug, Clone, PartialEq)]
pub enum SipIn {
    /// A page-mode MESSAGE; answered with [`SipOut::AnswerMessage`].
    Message {
        /// Chosen by the SIP adapter.
        reference: Ref,
        /// Sender.
        from: SipAddress,
        /// XMPP user.
        to: SipAddress,
        /// Content.
        im: Im,
    },
    /// A MESSAGE that came later than its sender wanted it to be shown (RFC 3428 §7), and is answered. It goes no further.
    MessageExpired {
        /// Sender.
        from: SipAddress,
        /// XMPP user.
        to: SipAddress,
        /// Content.
        im: Im,
    },
    /// The client gave the transaction up, or it timed out: no answer can be sent any more.
    MessageGone {
        /// As in [`SipIn::Message`].
        reference: Ref,
    },
    /// What a SIP user is doing in a conversation.
    ChatState {
        /// Who.
        from: SipAddress,
        /// The XMPP user at the other end.
        to: SipAddress,
        /// Thread, or Call-ID of the session.
        thread: Option<String>,
        /// What.
        state: ChatState,
    },
    /// What a SIP user's device says of a [`SipOut::Message`] that has wants: after its [`SipIn::Outcome`], or before
    /// where it is quicker. A failure here is one that became known after the outcome.
    Receipt {
        /// As given in [`SipOut::Message`].
        reference: Ref,
        /// The receipt, or that the message did not arrive after all.
        receipt: Result<Receipt, Failure>,
    },
    /// The final fate of [`SipOut::Message`].
    Outcome {
        /// As given.
        reference: Ref,
        /// 2xx, or why not.
        outcome: Result<(), Failure>,
    },
    /// About a subscription of ours.
    Subscription {
        /// As given in [`SipOut::Subscribe`].
        reference: Ref,
        /// What happened.
        event: SubscriptionEvent,
    },
    /// About a watcher.
    Watcher {
        /// Chosen by the SIP adapter at [`WatcherEvent::Arrived`].
        reference: Ref,
        /// What happened.
        event: WatcherEvent,
    },
    /// About an XMPP user in a SIP conference.
    Conference {
        /// As given in [`ConferenceOut::Join`].
        leg: Ref,
        /// What happened.
        event: ConferenceEvent,
    },
    /// About a SIP user in an XMPP room.
    Focus {
        /// Chosen by the SIP adapter at [`FocusEvent::Asked`].
        leg: Ref,
        /// What he does.
        event: FocusEvent,
    },
    /// Somebody asks an XMPP user into a conference. Answered with [`SipOut::AnswerInvitation`].
    Invitation(Invitation),
}

/// What goes to the SIP world.
#[derive(Debug, Clone, PartialEq)]
pub enum SipOut {
    /// A message; its fate comes back as [`SipIn::Outcome`].
    Message {
        /// For [`SipIn::Outcome`].
        reference: Ref,
        /// XMPP user, as SIP address, with the resource as `gr`.
        from: SipAddress,
        /// SIP user.
        to: SipAddress,
        /// Content.
        im: Im,
    },
    /// What an XMPP user is doing in a conversation; told as far as the peer can take it. There is no outcome.
    ChatState {
        /// XMPP user, as SIP address, with the resource as `gr`.
        from: SipAddress,
        /// SIP user.
        to: SipAddress,
        /// Thread of the conversation.
        thread: Option<String>,
        /// What.
        state: ChatState,
    },
    /// A receipt for a [`SipIn::Message`] that has wants. The adapter sends each at most once, in whatever way the sender
    /// asked for it; one that was not asked for, or for a message that it does not remember any more, is dropped.
    Receipt {
        /// As in [`SipIn::Message`].
        reference: Ref,
        /// What the XMPP user's client says.
        receipt: Receipt,
    },
    /// The answer to [`SipIn::Message`]. A second one for the same reference is ignored.
    AnswerMessage {
        /// As in [`SipIn::Message`].
        reference: Ref,
        /// 200, or the failure's code.
        outcome: Result<(), Failure>,
    },
    /// Watch a SIP user for an XMPP user. Events come back as [`SipIn::Subscription`].
    Subscribe {
        /// Names it from now on.
        reference: Ref,
        /// XMPP user, as SIP address.
        watcher: SipAddress,
        /// SIP user.
        presentity: SipAddress,
        /// One answer only (Expires 0 in a dialog of its own). It ends with [`SubscriptionEvent::Ended`] or `Refused`.
        poll: bool,
        /// Which gateways the wish has crossed, this one included.
        trace: Trace,
    },
    /// End a subscription (Expires 0 in its dialog). Ends with [`SubscriptionEvent::Closed`].
    Unsubscribe {
        /// As given in [`SipOut::Subscribe`].
        reference: Ref,
    },
    /// Take a watcher: 200 to its SUBSCRIBE. A [`SipOut::Notify`] follows at once.
    AcceptWatcher {
        /// As in [`SipIn::Watcher`].
        reference: Ref,
    },
    /// Refuse a watcher: the failure's code to its SUBSCRIBE. The reference is free.
    RefuseWatcher {
        /// As in [`SipIn::Watcher`].
        reference: Ref,
        /// Why.
        failure: Failure,
    },
    /// Tell a watcher. The adapter keeps at most one NOTIFY in five seconds, the last state wins (PRES-59);
    /// a change of state is sent at once. After `Terminated` the reference is free.
    Notify {
        /// As in [`SipIn::Watcher`].
        reference: Ref,
        /// Subscription state.
        state: WatcherState,
        /// The full document, when there is one to show.
        document: Option<Document>,
    },
    /// For an XMPP user in a SIP conference.
    Conference(ConferenceOut),
    /// For a SIP user in an XMPP room.
    Focus(FocusOut),
    /// The answer to [`SipIn::Invitation`]: `Ok` when she has been told. Nobody knows whether she comes: a REFER gets
    /// 202, an INVITE 480.
    AnswerInvitation {
        /// As in [`Invitation::reference`].
        reference: Ref,
        /// Told, or why not.
        outcome: Result<(), Failure>,
    },
}

// -------------------------------------------------------------------------------------------- store

/// Which of the two users watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The XMPP user sees the SIP user.
    XmppWatchesSip,
    /// The SIP user sees the XMPP user.
    SipWatchesXmpp,
}

/// Two users and who watches: the key of an authorisation. Both addresses are canonical.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// Direction.
    pub direction: Direction,
    /// XMPP user, bare and canonical.
    pub xmpp: Jid,
    /// SIP user, canonical ([`SipAddress::canonical`]).
    pub sip: SipAddress,
}

/// How far an authorisation has come. Only these outlive the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// Asked, not answered.
    Asked,
    /// Granted.
    Granted,
}

/// An X→S message that has been taken from its sender and has no outcome yet. After a crash it is settled towards the
/// sender as an error, since nobody knows how far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsettled {
    /// Names it.
    pub reference: Ref,
    /// Sender.
    pub from: Jid,
    /// Recipient as the sender addressed it.
    pub to: Jid,
    /// Stanza id.
    pub id: Option<String>,
    /// For the ledger.
    pub about: About,
}

/// What was learnt of how one domain speaks, in words that only its adapter knows. It outlives the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lesson {
    /// The domain, canonical.
    pub domain: String,
    /// Its dialect.
    pub dialect: String,
    /// Its way of messages, where that is not the dialect's.
    pub im: Option<String>,
    /// What taught it, for people.
    pub evidence: String,
    /// What that is worth against other evidence.
    pub weight: String,
}

/// What the store says.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreIn {
    /// [`StoreOut::Keep`] is on disk.
    Kept(Ref),
    /// [`StoreOut::Keep`] failed; the message must be refused.
    NotKept(Ref),
}

/// What the store is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreOut {
    /// Write an authorisation, replacing one of the same pair.
    Put {
        /// Key.
        pair: Pair,
        /// State.
        grant: Grant,
    },
    /// Remove an authorisation.
    Remove(Pair),
    /// Remember a message until it is settled. Answered with [`StoreIn::Kept`] or [`StoreIn::NotKept`].
    Keep(Unsettled),
    /// Forget it.
    Settle(Ref),
    /// Write what was learnt of a domain, replacing what was known of it.
    Learn(Lesson),
    /// Enter a message in the ledger. What there is no room for is left out: the ledger delays nothing.
    Record(Box<Entry>),
    /// Amend an entry of the ledger. One that is not there is passed over.
    Amend(Box<Amendment>),
}
