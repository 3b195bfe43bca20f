//! What carries the messages of a session: the dialog of its INVITE, or MSRP (RFC 4975 §8, RFC 7573 §4).

use std::collections::VecDeque;

use stox_core::vocab::Ref;

use crate::adapt::im::Accepted;
use crate::body::sdp::{self, Carrier, Media, OwnMsrp, Setup};
use crate::dialect::{Behaviour, MsrpTls, SessionBy};
use crate::msrp::endpoint::{Channel, Fingerprint, Plan, Proof, Relayed, Role, Security};
use crate::msrp::uri::{self, MsrpUri};
use crate::transport::Source;
use crate::ua::effects::Env;
use crate::ua::routing;
use crate::ua::settings::Settings;
use crate::uri::{Scheme, Uri};

/// What we take over MSRP, the best first.
const ACCEPT_TYPES: &str = "message/cpim text/plain text/html application/im-iscomposing+xml \
     message/imdn+xml multipart/alternative text/rtf";
/// What we take inside a message/cpim wrapper.
const ACCEPT_WRAPPED_TYPES: &str = "text/plain text/html application/im-iscomposing+xml \
     message/imdn+xml multipart/alternative text/rtf";
/// Messages of one session whose reports are waited for; the oldest goes first.
const MAX_REPORTED: usize = 64;

/// What carries the messages of one session.
#[derive(Debug)]
pub(in crate::ua) enum Medium {
    /// MESSAGEs in its dialog.
    Dialog,
    /// MSRP.
    Msrp(Box<Line>),
}

/// The MSRP part of a session.
#[derive(Debug)]
pub(in crate::ua) struct Line {
    /// What our description says of it.
    pub(in crate::ua) own: OwnMsrp,
    /// Our own URI.
    local: MsrpUri,
    /// The way to us through our relay, where it takes that.
    relayed: Option<Relayed>,
    /// The peer's path, once it is known.
    pub(in crate::ua) remote: Vec<MsrpUri>,
    /// Its session, once the peer's path is known.
    pub(in crate::ua) channel: Option<Channel>,
    /// A connection carries it.
    pub(in crate::ua) up: bool,
    /// None will any more.
    pub(super) lost: bool,
    /// What the peer takes inside message/cpim.
    pub(in crate::ua) wrapped: Accepted,
    /// The notice of typing that is under way, by Message-ID.
    pub(in crate::ua) typing: Option<String>,
    /// Messages of ours that a report or a notification may come for, by Message-ID.
    sent: VecDeque<(String, Ref)>,
}

impl Medium {
    /// The MSRP part, where it has one.
    pub(in crate::ua) fn line(&self) -> Option<&Line> {
        match self {
            Self::Dialog => None,
            Self::Msrp(line) => Some(line),
        }
    }

    /// The same, to be changed.
    pub(in crate::ua) fn line_mut(&mut self) -> Option<&mut Line> {
        match self {
            Self::Dialog => None,
            Self::Msrp(line) => Some(line),
        }
    }

    /// Messages can flow as far as it is concerned.
    pub(in crate::ua) fn is_up(&self) -> bool {
        self.line().is_none_or(|line| line.up)
    }

    /// The medium of a session that we open to users of a domain.
    pub(in crate::ua) fn for_offer(domain: &str, behaviour: &Behaviour, env: &mut Env<'_>) -> Self {
        if behaviour.session_by == SessionBy::Dialog {
            return Self::Dialog;
        }
        let secure = match behaviour.msrp_tls {
            MsrpTls::Always => true,
            MsrpTls::Never => false,
            MsrpTls::Auto => signals_securely(domain, env.settings),
        };
        let relayed = env.msrp.relayed();
        // A relay says by itself whether it is for TLS, unless the administrator does.
        let secure = match (&relayed, behaviour.msrp_tls) {
            (Some(relayed), MsrpTls::Auto) => relayed.is_secure(),
            _ => secure,
        };
        let reach = Reach::new(secure, env);
        let setup = match reach {
            Reach::Nobody if needs_relay(env.settings) => return Self::Dialog,
            Reach::Nobody => Setup::Active,
            Reach::Relay(_) | Reach::Listener => Setup::ActPass,
        };
        match Line::new(secure, setup, reach, env) {
            Some(line) => Self::Msrp(Box::new(line)),
            None => Self::Dialog,
        }
    }

    /// The medium of a conference of a domain that we enter; `None` where the gateway is not set up for it.
    pub(in crate::ua) fn for_room(domain: &str, env: &mut Env<'_>) -> Option<Self> {
        let behaviour = Behaviour {
            session_by: SessionBy::Msrp,
            ..env.behaviour(domain)
        };
        let medium = Self::for_offer(domain, &behaviour, env);
        medium.line().is_some().then_some(medium)
    }

    /// The medium of a session that the peer opens, and its number in the offer: the first line that can be taken.
    pub(in crate::ua) fn for_answer(
        offered: &[Media],
        behaviour: &Behaviour,
        env: &mut Env<'_>,
    ) -> Option<(usize, Self)> {
        offered.iter().enumerate().find_map(|(index, media)| {
            let medium = match media.carrier()? {
                Carrier::Dialog => Self::Dialog,
                Carrier::Msrp { secure: false } if behaviour.msrp_tls == MsrpTls::Always => {
                    return None;
                }
                Carrier::Msrp { secure } => {
                    let reach = Reach::new(secure, env);
                    let setup = answer_setup(media.setup, reach != Reach::Nobody)?;
                    Self::Msrp(Box::new(Line::new(secure, setup, reach, env)?))
                }
            };
            Some((index, medium))
        })
    }

    /// It was offered by us, and the peer's side of it is not known.
    pub(in crate::ua) fn awaits_answer(&self) -> bool {
        self.line().is_some_and(|line| line.channel.is_none())
    }

    /// Whether a later offer of the peer's goes on with it. MSRP with another path is another MSRP session, for which
    /// the peer opens another dialog.
    pub(in crate::ua) fn continues_with(&self, theirs: &Media) -> bool {
        match self {
            Self::Dialog => theirs.is_in_dialog(),
            Self::Msrp(line) => {
                let secure = line.own.secure;
                let path = theirs.path.as_deref().map(uri::parse_path);
                theirs.carrier() == Some(Carrier::Msrp { secure })
                    && matches!(path, Some(Ok(path)) if uri::same_path(&path, &line.remote))
            }
        }
    }

    /// Takes an offer that it was chosen for. `None` where it does not fit after all.
    pub(in crate::ua) fn take_offer(
        &mut self,
        theirs: &Media,
        place: (&str, Option<&Source>),
        env: &mut Env<'_>,
    ) -> Option<()> {
        match self {
            Self::Dialog => Some(()),
            Self::Msrp(line) => line.open(theirs, callee_role(line.own.setup), place, env),
        }
    }

    /// Our side of it in a session description. `uri` is ours, for answers.
    pub(in crate::ua) fn own(&self, behaviour: &Behaviour, uri: Option<String>) -> sdp::Own {
        match self {
            Self::Dialog => super::in_dialog(behaviour, uri.unwrap_or_else(|| "null".to_owned())),
            Self::Msrp(line) => sdp::Own::Msrp(line.own.clone()),
        }
    }
}

impl Line {
    /// A new session of ours; `None` where the gateway is not set up for it.
    fn new(secure: bool, setup: Setup, reach: Reach, env: &mut Env<'_>) -> Option<Self> {
        let msrp = env.settings.msrp.as_ref()?;
        let relayed = match reach {
            Reach::Relay(relayed) => Some(relayed),
            Reach::Listener | Reach::Nobody => None,
        };
        // Peers do not see our certificate where they connect to the relay.
        let direct = secure && relayed.is_none();
        let fingerprint = msrp.fingerprint.as_ref().filter(|_| direct);
        if direct && fingerprint.is_none() {
            return None;
        }
        let to_us = relayed.as_ref().map_or(secure, |r| r.security.is_tls());
        let local = msrp.uri(to_us, &env.msrp.fresh_session());
        let mut path = relayed.as_ref().map_or_else(Vec::new, |r| r.path.clone());
        path.push(local.clone());
        let own = OwnMsrp {
            secure,
            port: path.first().map_or(0, MsrpUri::effective_port),
            path: uri::print_path(&path),
            accept_types: ACCEPT_TYPES.to_owned(),
            accept_wrapped_types: Some(ACCEPT_WRAPPED_TYPES.to_owned()),
            max_size: msrp.endpoint.max_message,
            setup,
            fingerprint: fingerprint.map(Fingerprint::to_string),
            chatroom: None,
        };
        if setup == Setup::ActPass {
            // The peer may connect before its answer is here.
            env.msrp
                .expect(local.session.as_deref().unwrap_or_default());
        }
        Some(Self {
            own,
            local,
            relayed,
            remote: Vec::new(),
            channel: None,
            up: false,
            lost: false,
            wrapped: Accepted::default(),
            typing: None,
            sent: VecDeque::new(),
        })
    }

    /// Nothing comes of it any more.
    pub(in crate::ua) fn withdraw(&self, env: &mut Env<'_>) {
        let session = self.local.session.as_deref().unwrap_or_default();
        env.msrp.expect_no_more(session, env.now);
    }

    /// Begins the MSRP session with what the peer's description says. `None` where it does not fit ours, or asks us to
    /// connect to somewhere that is not the peer's.
    pub(in crate::ua) fn open(
        &mut self,
        theirs: &Media,
        role: Role,
        (domain, source): (&str, Option<&Source>),
        env: &mut Env<'_>,
    ) -> Option<()> {
        let secure = self.own.secure;
        if theirs.carrier() != Some(Carrier::Msrp { secure }) {
            return None;
        }
        let remote = uri::parse_path(theirs.path.as_deref()?).ok()?;
        let next = remote.first().filter(|next| next.secure == secure)?;
        if role == Role::Dials && !routing::may_dial(next, domain, source, env.settings) {
            return None;
        }
        let parsed = theirs.fingerprints.iter();
        let fingerprints: Vec<_> = parsed.filter_map(|text| Fingerprint::parse(text)).collect();
        // Who names certificates in words that we do not know is not to be taken for one who names none.
        if secure && fingerprints.is_empty() && !theirs.fingerprints.is_empty() {
            return None;
        }
        let proof = Proof {
            fingerprints,
            name: next.host.clone(),
        };
        let security = match &self.relayed {
            Some(relayed) => relayed.security.clone(),
            None if secure => Security::Tls(proof),
            None => Security::Plain,
        };
        let relayed = self.relayed.as_ref();
        let plan = Plan {
            local: self.local.clone(),
            relays: relayed.map_or_else(Vec::new, |relayed| relayed.path.clone()),
            remote: remote.clone(),
            role,
            security,
            max_size: theirs.max_size,
        };
        if let Some(types) = &theirs.accept_wrapped_types {
            self.wrapped = Accepted::parse(types);
        }
        self.remote = remote;
        self.channel = Some(env.msrp.open(plan, env.now));
        Some(())
    }

    /// Remembers a message that the peer may say something of later.
    pub(in crate::ua) fn remember(&mut self, message_id: String, reference: Ref) {
        if self.sent.len() >= MAX_REPORTED {
            self.sent.pop_front();
        }
        self.sent.push_back((message_id, reference));
    }

    /// The message that a report is about.
    pub(in crate::ua) fn reported(&self, message_id: &str) -> Option<Ref> {
        let mut sent = self.sent.iter();
        let found = sent.find(|(known, _)| known == message_id);
        found.map(|(_, reference)| *reference)
    }
}

/// Who connects when the peer answers our offer (RFC 4145 §4.1; RFC 4975 §5.4 where it says nothing). `None`: nobody can.
pub(in crate::ua) fn caller_role(ours: Setup, theirs: Option<Setup>) -> Option<Role> {
    match (ours, theirs) {
        (_, Some(Setup::HoldConn)) | (Setup::Active, Some(Setup::Active)) => None,
        (_, Some(Setup::Active)) => Some(Role::Waits),
        _ => Some(Role::Dials),
    }
}

/// Who connects by our answer.
pub(in crate::ua) fn callee_role(ours: Setup) -> Role {
    match ours {
        Setup::Active => Role::Dials,
        _ => Role::Waits,
    }
}

/// Our `a=setup` for an offer: we wait where we can, since the peer may be where nobody can connect to (RFC 6135 §4).
/// `None`: nobody could connect.
fn answer_setup(theirs: Option<Setup>, listens: bool) -> Option<Setup> {
    match (theirs, listens) {
        (Some(Setup::HoldConn), _) | (None | Some(Setup::Active), false) => None,
        (Some(Setup::Passive), _) | (Some(Setup::ActPass), false) => Some(Setup::Active),
        (None | Some(Setup::Active | Setup::ActPass), true) => Some(Setup::Passive),
    }
}

/// Where peers can connect to for a new session.
#[derive(Debug, PartialEq, Eq)]
enum Reach {
    /// Our relay, to which we are connected.
    Relay(Relayed),
    /// Us.
    Listener,
    Nobody,
}

impl Reach {
    /// The relay while we are known to it, if it is for such sessions.
    fn new(secure: bool, env: &Env<'_>) -> Self {
        match env.msrp.relayed() {
            Some(relayed) if relayed.is_secure() == secure => Self::Relay(relayed),
            _ if listens(secure, env.settings) => Self::Listener,
            _ => Self::Nobody,
        }
    }
}

/// Peers are meant to come through a relay, and have no other way.
fn needs_relay(settings: &Settings) -> bool {
    let msrp = settings.msrp.as_ref();
    let listens = listens(true, settings) || listens(false, settings);
    msrp.is_some_and(|msrp| msrp.relay.is_some()) && !listens
}

fn listens(secure: bool, settings: &Settings) -> bool {
    let msrp = settings.msrp.as_ref();
    msrp.is_some_and(|msrp| msrp.port(secure).is_some())
}

/// Whether SIP to a domain runs over TLS, as far as its rule tells: by the transport of its next hop, or because its
/// servers prove themselves by certificates.
fn signals_securely(domain: &str, settings: &Settings) -> bool {
    let Some(domain) = settings.sip_domain(domain) else {
        return true;
    };
    let hop = domain.next_hop.as_deref().map(Uri::parse);
    match hop.and_then(Result::ok) {
        Some(hop) => {
            let transport = hop.param("transport");
            hop.scheme == Scheme::Sips
                || transport.is_some_and(|word| word.eq_ignore_ascii_case("tls"))
        }
        None => domain.trusted_addresses.is_empty(),
    }
}
