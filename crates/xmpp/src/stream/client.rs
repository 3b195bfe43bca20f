//! The stream of a client to the server of its account (RFC 6120), with a session that outlives it (XEP-0198).
//!
//! TLS with a certificate that is valid for the account's domain comes first: before it, nothing is said but whom the
//! stream is for. A stanza of the server's is acknowledged when its owner has taken it over, not when it has come.

mod login;
mod scram;
mod session;

use std::sync::Arc;
use std::time::Duration;

use minidom::Element;
use stox_core::time::Now;
use zeroize::Zeroizing;

use self::login::{Login, Move, Who};
use super::{
    StreamCommand, TlsInfo,
    acks::StanzaNumber,
    carrier::{Carrier, Due},
    error::{CloseReason, Step, StreamCondition, StreamError, peer_text},
    header::{StreamHeader, Version},
    limits::{Limits, Timing},
    ns,
    write::{Markup, component_stanza_to_wire},
    xml::XmlEvent,
};

pub use self::login::{LoginFault, Password, PasswordError};
pub use self::scram::{KeyRequest, SaltedPassword};
pub use self::session::{SendError, Session};

/// A client's stream is never idle: others write on it when they like.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);
/// The id of the request for an address.
const BIND_ID: &str = "stoxgate-bind";
/// The id of the request for a session, which old servers want (RFC 3921 §3).
const SESSION_ID: &str = "stoxgate-session";
/// The id of the pings that show whether the server lives. Nobody else's answer has it and comes from the server.
const ECHO_ID: &str = "stoxgate-echo";
const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
const SESSION: &str = "urn:ietf:params:xml:ns:xmpp-session";

/// Whose stream it is, and what it may cost.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// The local part of the account's address.
    pub user: String,
    /// The account's domain, in its normal form.
    pub domain: String,
    /// Its password.
    pub password: Password,
    /// The password may be shown to the server where it offers nothing better.
    pub plain: bool,
    /// Sizes.
    pub limits: Limits,
    /// Times. `idle` is not looked at.
    pub timing: Timing,
}

/// What a client's stream tells.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientEvent {
    /// This has to be computed, elsewhere, for [`ClientStream::derived`].
    Derive(KeyRequest),
    /// The login failed. [`ClientEvent::Closed`] follows.
    Refused(LoginFault),
    /// The server does not go on with the session that there was. Another one begins.
    SessionLost,
    /// A session has begun.
    Bound {
        /// Our full address.
        address: String,
        /// It can go on behind a cut.
        resumable: bool,
    },
    /// The session that there was goes on; so many stanzas were written again.
    Resumed(usize),
    /// A stanza.
    Stanza {
        /// For [`Session::handle`] and [`ClientStream::handled`].
        number: StanzaNumber,
        /// The stanza, in `jabber:client`.
        element: Element,
    },
    /// A stanza was larger than we take, and what of it fits is here: its sender should learn it.
    TooLarge {
        /// As above.
        number: StanzaNumber,
        /// The beginning of the stanza.
        element: Element,
    },
    /// The stream is over. The last event.
    Closed(CloseReason),
}

impl From<CloseReason> for ClientEvent {
    fn from(reason: CloseReason) -> Self {
        Self::Closed(reason)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The server's header is awaited.
    Header,
    /// Its features are awaited.
    Features,
    /// Its answer to STARTTLS is awaited.
    Proceed,
    /// The exchange of SASL.
    Login,
    /// Its word whether the session goes on is awaited.
    Resuming,
    /// Our address is awaited.
    Binding,
    /// What old servers call a session is awaited.
    Opening,
    /// Its word about stream management is awaited.
    Enabling,
    /// Stanzas flow.
    Ready,
}

/// What the server offers behind the login.
#[derive(Debug, Clone, Copy, Default)]
struct Offer {
    managed: bool,
    session: bool,
}

/// When something last came, and the ping that asks why nothing does.
#[derive(Debug, Clone, Copy)]
struct Echo {
    heard: Duration,
    asked: Option<Duration>,
}

/// One stream of a client.
pub struct ClientStream {
    settings: Arc<ClientSettings>,
    carrier: Carrier<ClientEvent>,
    state: State,
    tls: bool,
    /// What the TLS connection can be bound to (RFC 9266).
    exporter: Option<Zeroizing<Vec<u8>>>,
    nonce: String,
    login: Option<Login>,
    signed_in: bool,
    offer: Offer,
    address: String,
    session: Option<Session>,
    echo: Echo,
}

impl ClientStream {
    /// A stream on a connection that was just dialled and begins in clear. `session`: goes on, where the server lets it.
    /// `nonce`: fresh, of letters and digits.
    #[must_use]
    pub fn new(
        settings: Arc<ClientSettings>,
        session: Option<Session>,
        nonce: String,
        now: Now,
    ) -> Self {
        let mut stream = Self::unopened(settings, session, nonce, now);
        stream.open(now);
        stream
    }

    /// A stream on a connection that begins with TLS (XEP-0368): [`Self::tls_done`] comes first.
    #[must_use]
    pub fn in_tls(
        settings: Arc<ClientSettings>,
        session: Option<Session>,
        nonce: String,
        now: Now,
    ) -> Self {
        let mut stream = Self::unopened(settings, session, nonce, now);
        stream.carrier.start_tls(now);
        stream
    }

    fn unopened(
        settings: Arc<ClientSettings>,
        session: Option<Session>,
        nonce: String,
        now: Now,
    ) -> Self {
        let timing = Timing {
            idle: NEVER,
            ..settings.timing.clone()
        };
        let limits = Limits {
            cut: true,
            ..settings.limits.clone()
        };
        Self {
            carrier: Carrier::new(limits, timing, now),
            settings,
            state: State::Header,
            tls: false,
            exporter: None,
            nonce,
            login: None,
            signed_in: false,
            offer: Offer::default(),
            address: String::new(),
            session,
            echo: Echo {
                heard: now.mono,
                asked: None,
            },
        }
    }

    /// Our header. Who we are is said inside TLS only (RFC 6120 §4.7.1).
    fn open(&mut self, now: Now) {
        let Self { settings, .. } = self;
        let from = format!("{}@{}", settings.user, settings.domain);
        let mut out = Markup::new();
        out.open("stream:stream")
            .attribute("xmlns", ns::CLIENT)
            .attribute("xmlns:stream", ns::STREAMS)
            .optional("from", self.tls.then_some(from.as_str()))
            .attribute("to", &settings.domain)
            .attribute("version", "1.0")
            .attribute("xml:lang", "en");
        let header = format!("<?xml version='1.0'?>{}", out.finish());
        let deadline = now.mono + settings.timing.header;
        self.carrier.write(header, now);
        self.state = State::Header;
        if !self.tls {
            self.carrier.expect(Some(deadline));
        }
    }

    // ------------------------------------------------------------------------------------------- the owner

    /// The TLS handshake has succeeded. `exporter`: 32 octets of keying material under the label of RFC 9266, where the
    /// connection has them.
    pub fn tls_done(&mut self, info: &TlsInfo, exporter: Option<Zeroizing<Vec<u8>>>, now: Now) {
        if !self.carrier.is_in_handshake() {
            return;
        }
        let domain = &self.settings.domain;
        if !info.is_valid_for(domain) {
            return self.carrier.end(CloseReason::CertificateNotValid {
                domain: domain.clone(),
                why: info.why_not_valid_for(domain),
            });
        }
        self.tls = true;
        self.exporter = exporter;
        self.carrier.restart(now);
        self.carrier
            .expect(Some(now.mono + self.settings.timing.authentication));
        self.open(now);
    }

    /// The TLS handshake has failed.
    pub fn tls_failed(&mut self, why: impl Into<String>) {
        if self.carrier.is_in_handshake() {
            self.carrier.end(CloseReason::TlsFailed(why.into()));
        }
    }

    /// What [`ClientEvent::Derive`] asked for.
    pub fn derived(&mut self, key: &SaltedPassword, now: Now) {
        if self.state != State::Login {
            return;
        }
        let answer = self.login.as_mut().map(|login| login.derived(key));
        match answer {
            Some(Ok(text)) => self.carrier.write(text, now),
            Some(Err(fault)) => self.refuse_login(fault, now),
            None => {}
        }
    }

    /// Sends a stanza of the session. With stream management it is kept until the server has acknowledged it; while it is
    /// not known yet whether the session goes on, it is kept and goes out when it does.
    ///
    /// # Errors
    /// [`SendError`]: nothing was sent or kept.
    pub fn send(&mut self, stanza: &Element, now: Now) -> Result<(), SendError> {
        self.send_wire(component_stanza_to_wire(stanza), now)
    }

    fn send_wire(&mut self, wire: String, now: Now) -> Result<(), SendError> {
        let session = self.session.as_mut().ok_or(SendError::NoSession)?;
        if self.state != State::Ready {
            if !session.is_resumable() {
                return Err(SendError::NoSession);
            }
            return session.keep(wire).map(|_| ());
        }
        if !self.carrier.is_open() && !session.is_managed() {
            return Err(SendError::NoSession);
        }
        let wire = session.keep(wire)?;
        self.carrier.write(wire, now);
        Ok(())
    }

    /// Asks the server what it has of what was sent, unless it owes that.
    pub fn request_acknowledgement(&mut self, now: Now) {
        if self.state == State::Ready
            && self.carrier.is_open()
            && let Some(request) = self.session.as_mut().and_then(Session::ask)
        {
            self.carrier.write(request.to_owned(), now);
        }
    }

    /// A stanza is taken over: the server may forget it. A question from before a cut is answered by resuming the session.
    pub fn handled(&mut self, number: StanzaNumber, now: Now) {
        let answer = self.session.as_mut().and_then(|s| s.handle(number));
        if let Some(answer) = answer.filter(|_| self.state == State::Ready) {
            self.carrier.write(answer, now);
        }
    }

    /// What is not acknowledged is not written again on another stream: [`Session::forget`].
    pub fn forget(&mut self) {
        if self.state != State::Ready
            && let Some(session) = &mut self.session
        {
            session.forget();
        }
    }

    /// Closes in order, and with it the session.
    pub fn close(&mut self, now: Now) {
        if self.state == State::Ready
            && let Some(count) = self.session.as_mut().and_then(Session::answer)
        {
            self.carrier.write(count, now);
        }
        self.carrier.close(CloseReason::Requested, now);
    }

    /// The connection ended or broke.
    pub fn connection_lost(&mut self) {
        self.carrier.end(CloseReason::ConnectionLost);
    }

    /// What is written now may hold a password.
    #[must_use]
    pub fn is_signing_in(&self) -> bool {
        self.login.is_some()
    }

    /// The session, where it can go on.
    #[must_use]
    pub fn into_session(self) -> Option<Session> {
        self.session.filter(Session::is_resumable)
    }

    /// The next thing to do.
    pub fn poll_command(&mut self) -> Option<StreamCommand<ClientEvent>> {
        self.carrier.poll_command()
    }

    /// When [`Self::handle_timeout`] is due, in monotonic time.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let echo = self.next_echo();
        self.carrier.poll_timeout().into_iter().chain(echo).min()
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Now) {
        let step = match self.carrier.handle_timeout(now) {
            Due::Nothing => return self.watch(now),
            Due::Element => Step::Element,
            Due::Step if self.carrier.is_in_handshake() => Step::Tls,
            Due::Step if matches!(self.state, State::Header | State::Features) => Step::Header,
            Due::Step => Step::Authentication,
        };
        self.give_up(step, now);
    }

    fn give_up(&mut self, step: Step, now: Now) {
        let error = StreamError::new(
            StreamCondition::ConnectionTimeout,
            format!("no {step} in time"),
        );
        self.carrier.refuse(&error, CloseReason::Timeout(step), now);
    }

    /// Takes octets: clear ones before, deciphered ones after the TLS handshake.
    pub fn receive(&mut self, mut input: &[u8], now: Now) {
        if !input.is_empty() {
            self.echo.heard = now.mono;
            self.echo.asked = None;
        }
        while !self.carrier.is_closed() {
            if self.carrier.is_in_handshake() {
                if !input.is_empty() {
                    self.carrier.end(CloseReason::OctetsBehindStartTls);
                }
                return;
            }
            let result = match self.carrier.read(&mut input, now) {
                Ok(Some(XmlEvent::Open(header))) => self.opened(&header),
                Ok(Some(XmlEvent::Element(element))) => self.element(element, now),
                Ok(Some(XmlEvent::Close)) => return self.carrier.peer_closed(now),
                Ok(None) => return,
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                let reason = CloseReason::Refused(error.clone());
                self.carrier.refuse(&error, reason, now);
            }
        }
    }

    // ----------------------------------------------------------------------------------------- negotiation

    fn opened(&mut self, header: &StreamHeader) -> Result<(), StreamError> {
        if header.default_ns != ns::CLIENT {
            return Err(StreamError::new(
                StreamCondition::InvalidNamespace,
                "this is the stream of a client (jabber:client)",
            ));
        }
        if header.version() != Version::AtLeast1 {
            return Err(StreamError::new(
                StreamCondition::UnsupportedVersion,
                "streams of version 1.0 only",
            ));
        }
        self.state = State::Features;
        Ok(())
    }

    fn element(&mut self, element: Element, now: Now) -> Result<(), StreamError> {
        let namespace = element.ns();
        match (namespace.as_str(), self.state) {
            (ns::STREAMS, _) if element.name() == "error" => {
                let error = StreamError::from_element(&element);
                self.carrier.peer_failed(error, now);
            }
            (ns::STREAMS, State::Features) if element.name() == "features" => {
                self.features(&element, now);
            }
            (ns::TLS, State::Proceed) if element.name() == "proceed" => {
                self.carrier.start_tls(now);
            }
            (ns::TLS, State::Proceed) => {
                self.carrier.close(CloseReason::TlsRefused, now);
            }
            (ns::SASL, State::Login) => self.sasl(&element, now),
            (ns::SM, State::Resuming | State::Enabling | State::Ready) => {
                return self.management(&element, now);
            }
            (ns::CLIENT, State::Binding | State::Opening) if element.name() == "iq" => {
                self.bound(&element, now);
            }
            (ns::CLIENT, State::Enabling | State::Ready) => self.stanza(element, now),
            // What a server says that was not asked for can be left, when there is a session.
            (_, State::Ready) => {}
            _ => {
                return Err(StreamError::new(
                    StreamCondition::NotAuthorized,
                    "this was not asked for",
                ));
            }
        }
        Ok(())
    }

    fn features(&mut self, features: &Element, now: Now) {
        if !self.tls {
            if !features.has_child("starttls", ns::TLS) {
                return self.carrier.close(CloseReason::TlsNotOffered, now);
            }
            let request = format!("<starttls xmlns='{}'/>", ns::TLS);
            self.carrier.write(request, now);
            self.state = State::Proceed;
        } else if !self.signed_in {
            self.begin_login(features, now);
        } else {
            let session = features.get_child("session", SESSION);
            self.offer = Offer {
                managed: features.has_child("sm", ns::SM),
                session: session.is_some_and(|session| !session.has_child("optional", SESSION)),
            };
            self.resume(now);
        }
    }

    fn begin_login(&mut self, features: &Element, now: Now) {
        let settings = self.settings.clone();
        let who = Who {
            user: &settings.user,
            password: &settings.password,
            plain: settings.plain,
        };
        let nonce = std::mem::take(&mut self.nonce);
        match Login::choose(features, who, self.exporter.take(), nonce) {
            Ok(login) => {
                self.carrier.write(login.begin(), now);
                self.login = Some(login);
                self.state = State::Login;
            }
            Err(fault) => self.refuse_login(fault, now),
        }
    }

    fn sasl(&mut self, element: &Element, now: Now) {
        let Some(login) = &mut self.login else {
            return;
        };
        match login.receive(element) {
            Ok(Move::Write(text)) => self.carrier.write(text, now),
            Ok(Move::Derive(request)) => self.carrier.event(ClientEvent::Derive(request)),
            // A stream that closes does not begin anew.
            Ok(Move::Done) if !self.carrier.is_open() => {}
            Ok(Move::Done) => {
                self.login = None;
                self.signed_in = true;
                self.carrier.restart(now);
                self.carrier.set_authenticated();
                self.open(now);
            }
            Err(fault) => self.refuse_login(fault, now),
        }
    }

    fn refuse_login(&mut self, fault: LoginFault, now: Now) {
        self.carrier.event(ClientEvent::Refused(fault));
        self.carrier.close(CloseReason::Requested, now);
        self.carrier.end(CloseReason::Requested);
    }

    // --------------------------------------------------------------------------------------------- session

    fn resume(&mut self, now: Now) {
        let request = match &mut self.session {
            Some(session) if self.offer.managed => session.resume(),
            _ => None,
        };
        match request {
            Some(request) => {
                self.carrier.write(request, now);
                self.state = State::Resuming;
            }
            None => self.bind(now),
        }
    }

    /// The address is the server's choice, so that no two sessions ever want the same.
    fn bind(&mut self, now: Now) {
        if self.session.take().is_some() {
            self.carrier.event(ClientEvent::SessionLost);
        }
        self.request((BIND_ID, "bind", BIND), now);
        self.state = State::Binding;
    }

    fn request(&mut self, (id, name, namespace): (&str, &'static str, &str), now: Now) {
        let mut out = Markup::new();
        out.open("iq")
            .attribute("type", "set")
            .attribute("id", id)
            .open(name)
            .attribute("xmlns", namespace)
            .close()
            .close();
        self.carrier.write(out.finish(), now);
    }

    fn bound(&mut self, iq: &Element, now: Now) {
        let expected = match self.state {
            State::Binding => BIND_ID,
            _ => SESSION_ID,
        };
        if iq.attr("id") != Some(expected) {
            return;
        }
        if iq.attr("type") != Some("result") {
            let error = iq.get_child("error", ns::CLIENT);
            let condition = error.and_then(|error| {
                let mut conditions = error.children();
                conditions.find(|child| child.has_ns(ns::STANZA_ERRORS))
            });
            let words = condition.map_or("no reason given", Element::name);
            return self.refuse_login(LoginFault::Bind(peer_text(words)), now);
        }
        if self.state == State::Binding {
            let jid = iq
                .get_child("bind", BIND)
                .and_then(|bind| bind.get_child("jid", BIND));
            self.address = jid
                .map(|jid| jid.text().trim().to_owned())
                .unwrap_or_default();
            if self.offer.session {
                self.request((SESSION_ID, "session", SESSION), now);
                self.state = State::Opening;
                return;
            }
        }
        self.session = Some(Session::default());
        if self.offer.managed {
            let request = format!("<enable xmlns='{}' resume='true'/>", ns::SM);
            self.carrier.write(request, now);
            self.state = State::Enabling;
        } else {
            self.begin(now);
        }
    }

    /// Stanzas flow from here on.
    fn begin(&mut self, now: Now) {
        self.ready(now);
        let resumable = self.session.as_ref().is_some_and(Session::is_resumable);
        let address = std::mem::take(&mut self.address);
        self.carrier
            .event(ClientEvent::Bound { address, resumable });
    }

    fn ready(&mut self, now: Now) {
        self.state = State::Ready;
        self.echo.heard = now.mono;
        self.carrier.expect(None);
    }

    fn management(&mut self, element: &Element, now: Now) -> Result<(), StreamError> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        match (element.name(), self.state) {
            ("resumed", State::Resuming) => {
                let again = session.resumed(element)?;
                self.ready(now);
                self.carrier.event(ClientEvent::Resumed(again.len()));
                for wire in again {
                    self.carrier.write(wire, now);
                }
                self.request_acknowledgement(now);
            }
            ("failed", State::Resuming) => self.bind(now),
            ("enabled", State::Enabling) => {
                let resumes = matches!(element.attr("resume"), Some("true" | "1"));
                let id = element.attr("id").filter(|id| resumes && !id.is_empty());
                session.manage(id.map(str::to_owned));
                self.begin(now);
            }
            ("failed", State::Enabling) => self.begin(now),
            ("r", State::Ready) => {
                if let Some(answer) = session.answer() {
                    self.carrier.write(answer, now);
                }
            }
            ("a", State::Ready) => session.acknowledge(element)?,
            _ => {}
        }
        Ok(())
    }

    fn stanza(&mut self, element: Element, now: Now) {
        if !matches!(element.name(), "message" | "presence" | "iq") {
            return;
        }
        let Some(number) = self.session.as_mut().and_then(Session::receive) else {
            return;
        };
        if self.is_echo(&element) {
            self.handled(number, now);
        } else if self.carrier.was_cut() {
            self.carrier
                .event(ClientEvent::TooLarge { number, element });
        } else {
            self.carrier.event(ClientEvent::Stanza { number, element });
        }
    }

    // ------------------------------------------------------------------------------------------------ echo

    fn is_echo(&self, element: &Element) -> bool {
        element.name() == "iq"
            && element.attr("id") == Some(ECHO_ID)
            && matches!(element.attr("type"), Some("result" | "error"))
            && element
                .attr("from")
                .is_none_or(|from| from == self.settings.domain)
    }

    fn next_echo(&self) -> Option<Duration> {
        if self.state != State::Ready || !self.carrier.is_open() {
            return None;
        }
        let timing = &self.settings.timing;
        Some(match self.echo.asked {
            Some(asked) => asked + timing.authentication,
            None => self.echo.heard + timing.keep_alive,
        })
    }

    fn watch(&mut self, now: Now) {
        if self.next_echo().is_none_or(|at| at > now.mono) {
            return;
        }
        if self.echo.asked.is_some() {
            return self.give_up(Step::Life, now);
        }
        self.echo.asked = Some(now.mono);
        let mut out = Markup::new();
        out.open("iq")
            .attribute("type", "get")
            .attribute("id", ECHO_ID)
            .attribute("to", &self.settings.domain)
            .open("ping")
            .attribute("xmlns", ns::PING)
            .close()
            .close();
        // Where no more is kept, the server is asked for its acknowledgement, and that is a sign of life, too.
        _ = self.send_wire(out.finish(), now);
    }
}
