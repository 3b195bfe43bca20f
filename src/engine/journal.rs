//! One debug line for everything that crosses between the machines, and what an administrator should hear. Never a body;
//! addresses at debug only.

use stox_core::vocab::{Command, Input, SipIn, SipOut, XmppIn, XmppOut};
use stox_sip::adapt::diagnostics::Scope;
use stox_sip::msrp::endpoint::Fault;
use stox_sip::ua::{Cure, Impostor, MsrpImpostor, RegistrationNews, RelayNews, Trouble};
use tracing::{debug, info, warn};

mod room;

/// What the bridge is told.
pub(super) fn input(input: &Input) {
    match input {
        Input::Xmpp(XmppIn::Message { from, to, im }) => {
            debug!(%from, %to, id = im.id, "message from XMPP");
        }
        Input::Xmpp(XmppIn::Unreadable { from, to, im, why }) => {
            debug!(%from, %to, id = im.id, ?why, "unreadable message from XMPP");
        }
        Input::Xmpp(XmppIn::Receipt {
            from, id, receipt, ..
        }) => {
            debug!(%from, id, ?receipt, "receipt from XMPP");
        }
        Input::Xmpp(XmppIn::MessageError {
            from, id, error, ..
        }) => {
            debug!(%from, id, condition = error.condition.name(), "message error from XMPP");
        }
        Input::Xmpp(XmppIn::Presence { from, to, kind, .. }) => {
            debug!(%from, %to, ?kind, "presence from XMPP");
        }
        Input::Xmpp(XmppIn::PresenceError { from, to, error }) => {
            debug!(%from, %to, condition = error.condition.name(), "presence error from XMPP");
        }
        Input::Xmpp(XmppIn::Settled { reference, outcome }) => {
            debug!(reference = reference.0, ?outcome, "stanza settled");
        }
        Input::Sip(SipIn::Message {
            reference,
            from,
            to,
            ..
        }) => {
            debug!(reference = reference.0, %from, %to, "message from SIP");
        }
        Input::Sip(SipIn::ChatState {
            from, to, state, ..
        }) => debug!(%from, %to, ?state, "chat state from SIP"),
        Input::Sip(SipIn::Receipt { reference, receipt }) => {
            debug!(reference = reference.0, ?receipt, "receipt from SIP");
        }
        Input::Sip(SipIn::MessageExpired { from, to, .. }) => {
            debug!(%from, %to, "message from SIP that came too late to be shown");
        }
        Input::Sip(SipIn::MessageGone { reference }) => {
            debug!(
                reference = reference.0,
                "the SIP sender does not wait any more"
            );
        }
        Input::Sip(SipIn::Outcome { reference, outcome }) => {
            debug!(
                reference = reference.0,
                ?outcome,
                "outcome of a message to SIP"
            );
        }
        Input::Sip(SipIn::Subscription { reference, event }) => {
            debug!(
                reference = reference.0,
                ?event,
                "subscription at a SIP user"
            );
        }
        Input::Sip(SipIn::Watcher { reference, event }) => {
            debug!(reference = reference.0, ?event, "watcher from SIP");
        }
        Input::Xmpp(XmppIn::Muc(input)) => room::muc_input(input),
        Input::Sip(SipIn::Conference { leg, event }) => room::conference_event(*leg, event),
        Input::Sip(SipIn::Focus { leg, event }) => room::focus_event(*leg, event),
        Input::Sip(SipIn::Invitation(invitation)) => {
            let (from, to) = (&invitation.from, &invitation.to);
            debug!(%from, %to, conference = %invitation.conference, "invitation from SIP");
        }
        Input::Store(answer) => debug!(?answer, "store"),
    }
}

/// Why a SIP partner refuses. The user agent tells each kind once in a while.
pub(super) fn trouble(trouble: &Trouble) {
    let Trouble {
        domain,
        method,
        status,
        id,
        words,
        scope,
        source,
        unsaid,
    } = trouble;
    let (status, source) = (*status, source.as_deref());
    match scope {
        Scope::Partner => {
            warn!(partner = domain, %method, status, diagnostic = id, source, unsaid, "a SIP partner says why: {words}");
        }
        Scope::User => {
            info!(partner = domain, %method, status, diagnostic = id, source, unsaid, "a SIP partner says why: {words}");
        }
    }
}

/// A request was refused, as its connection may not speak for its sender.
pub(super) fn impostor(impostor: &Impostor) {
    let Impostor {
        domain,
        method,
        address,
        transport,
        certificate_names,
        proved,
        cure,
        unsaid,
    } = impostor;
    let cure = match cure {
        Cure::Domain => {
            "it is none of our SIP domains: if its users shall appear on XMPP, add a [[sip.domain]] for it"
        }
        Cure::CertificateName => {
            "if the server is the domain's, add a name of its certificate to certificate_names of its [[sip.domain]]"
        }
        Cure::Address => {
            "if the server is the domain's, add its address to trusted_addresses of its [[sip.domain]], or let it show a \
             certificate over TLS"
        }
        Cure::Certificate => {
            "the domain has client_certificate = \"required\": its server must show a certificate over TLS"
        }
    };
    warn!(
        claimed = domain,
        ?proved,
        %address,
        transport = transport.row().via,
        ?certificate_names,
        %method,
        unsaid,
        "refused (403): the connection has not proved the sender's SIP domain; {cure}"
    );
}

/// A connection was refused to a message session.
pub(super) fn msrp_impostor(impostor: &MsrpImpostor) {
    warn!(
        partner = impostor.domain,
        unsaid = impostor.unsaid,
        "an MSRP connection was refused (403): its certificate is not the one whose fingerprint the SIP partner has told; \
         either somebody else has connected, or the partner's server tells the fingerprint of another certificate"
    );
}

/// A line at a provider is registered, or is not.
pub(super) fn registration(news: &RegistrationNews) {
    let address = &news.address;
    match &news.outcome {
        Ok(granted) => info!(
            address,
            seconds = granted.as_secs(),
            "registered at the SIP provider"
        ),
        Err(why) => warn!(address, %why, "not registered at the SIP provider; trying again later"),
    }
}

/// The MSRP relay lets peers through, or does not any more.
pub(super) fn relay(news: &RelayNews) {
    let relay = &news.relay;
    let (why, status) = match &news.outcome {
        Ok(()) => return info!(%relay, "MSRP sessions go through the relay"),
        Err(Fault::Refused(status)) => (
            "refuses us: check msrp.relay_user and its password",
            Some(status.code),
        ),
        Err(Fault::Lost) => ("closed the connection", None),
        Err(Fault::Timeout) => (
            "does not answer: check that msrp.relay is an MSRP relay",
            None,
        ),
        Err(_) => (
            "cannot be reached: check msrp.relay, and that the way there is open",
            None,
        ),
    };
    warn!(%relay, status, "the MSRP relay {why}; it is asked again, and sessions go without it until then");
}

/// What the bridge asks for.
pub(super) fn command(command: &Command) {
    match command {
        Command::Xmpp(XmppOut::Message {
            reference,
            from,
            to,
            im,
        }) => {
            debug!(reference = reference.0, %from, %to, id = im.id, "message to XMPP");
        }
        Command::Xmpp(XmppOut::MessageError { to, id, error, .. }) => {
            debug!(%to, id, condition = error.condition.name(), "message error to XMPP");
        }
        Command::Xmpp(XmppOut::Receipt {
            to, id, receipt, ..
        }) => {
            debug!(%to, id, ?receipt, "receipt to XMPP");
        }
        Command::Sip(SipOut::Receipt { reference, receipt }) => {
            debug!(reference = reference.0, ?receipt, "receipt to SIP");
        }
        Command::Xmpp(XmppOut::ChatState {
            from, to, state, ..
        }) => debug!(%from, %to, ?state, "chat state to XMPP"),
        Command::Sip(SipOut::ChatState {
            from, to, state, ..
        }) => debug!(%from, %to, ?state, "chat state to SIP"),
        Command::Xmpp(XmppOut::Presence { from, to, kind, .. }) => {
            debug!(%from, %to, ?kind, "presence to XMPP");
        }
        Command::Xmpp(XmppOut::PresenceError { to, error, .. }) => {
            debug!(%to, condition = error.condition.name(), "presence error to XMPP");
        }
        Command::Sip(SipOut::Message {
            reference,
            from,
            to,
            ..
        }) => {
            debug!(reference = reference.0, %from, %to, "message to SIP");
        }
        Command::Sip(SipOut::AnswerMessage { reference, outcome }) => {
            debug!(
                reference = reference.0,
                ?outcome,
                "answer to a message from SIP"
            );
        }
        Command::Sip(SipOut::Subscribe {
            reference,
            watcher,
            presentity,
            poll,
            ..
        }) => {
            debug!(reference = reference.0, %watcher, %presentity, poll, "subscribe at a SIP user");
        }
        Command::Sip(SipOut::Notify {
            reference,
            state,
            document,
        }) => {
            let tuples = document.as_ref().map(|document| document.tuples.len());
            debug!(
                reference = reference.0,
                ?state,
                ?tuples,
                "notify a SIP watcher"
            );
        }
        Command::Sip(
            out @ (SipOut::Unsubscribe { .. }
            | SipOut::AcceptWatcher { .. }
            | SipOut::RefuseWatcher { .. }),
        ) => debug!(?out, "to SIP"),
        Command::Xmpp(XmppOut::Muc(out)) => room::muc_command(out),
        Command::Sip(SipOut::Conference(out)) => room::conference_command(out),
        Command::Sip(SipOut::Focus(out)) => room::focus_command(out),
        Command::Sip(SipOut::AnswerInvitation { reference, outcome }) => {
            debug!(
                reference = reference.0,
                ?outcome,
                "answer to an invitation from SIP"
            );
        }
        Command::Store(_) => {}
    }
}
