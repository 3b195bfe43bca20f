//! The stream of a component to the server that it belongs to (XEP-0114, `jabber:component:accept`).
//!
//! The server federates for the component's domain: on this one stream come the stanzas of every partner, and what goes
//! to them leaves here. The server vouches for the senders, save that nobody speaks for a domain of ours.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use minidom::Element;
use sha1::{Digest, Sha1};
use stox_core::time::Now;
use thiserror::Error;
use zeroize::Zeroizing;

use super::{
    StreamCommand,
    carrier::{Carrier, Due},
    domain::domain_of_address,
    error::{CloseReason, Step, StreamCondition, StreamError},
    header::StreamHeader,
    limits::{Limits, Timing},
    ns,
    outbound::NotReady,
    write::{Markup, component_stanza_to_wire},
    xml::XmlEvent,
};

/// A component's stream is never idle: it is there so that others can write.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);
/// The id of the pings to ourselves. Nobody else can use it: their answers have our own domain as sender.
const ECHO_ID: &str = "stoxgate-echo";

/// The secret that a server and its component share, wiped from memory when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct ComponentSecret(Zeroizing<String>);

impl ComponentSecret {
    /// As it stands in both configurations.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Zeroizing::new(secret.into()))
    }

    /// What proves it on one stream: the SHA-1 of the stream's id and the secret, in lower-case hexadecimal
    /// (XEP-0114 §3).
    fn handshake(&self, stream_id: &str) -> String {
        let digest = Sha1::new()
            .chain_update(stream_id.as_bytes())
            .chain_update(self.0.as_bytes())
            .finalize();
        digest.iter().map(|octet| format!("{octet:02x}")).collect()
    }
}

impl fmt::Debug for ComponentSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ComponentSecret(..)")
    }
}

/// What one component's stream is told. Domains are in their normal form.
#[derive(Debug, Clone)]
pub struct ComponentSettings {
    /// The component's domain, which the server knows.
    pub domain: String,
    /// All domains that this gateway speaks for, this one among them.
    pub own_domains: BTreeSet<String>,
    /// The secret.
    pub secret: ComponentSecret,
    /// Sizes.
    pub limits: Limits,
    /// Times. `idle` is not looked at.
    pub timing: Timing,
}

/// What a component's stream tells.
#[derive(Debug, Clone, PartialEq)]
pub enum ComponentEvent {
    /// The server has taken the secret: stanzas flow.
    Ready,
    /// A stanza to the component's domain.
    Stanza {
        /// The sender's domain, in its normal form. None of ours.
        remote: String,
        /// The stanza, in `jabber:client`.
        element: Element,
    },
    /// A stanza to the component's domain was larger than we take, and what of it fits is here: its sender should learn it.
    TooLarge(Element),
    /// Something came that is none of our business. It was dropped: an error of the stream would cut off everybody.
    Dropped(Odd),
    /// The stream is over. The last event.
    Closed(CloseReason),
}

impl From<CloseReason> for ComponentEvent {
    fn from(reason: CloseReason) -> Self {
        Self::Closed(reason)
    }
}

/// Why something was dropped.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Odd {
    /// It is neither message, presence nor iq.
    #[error("it is not a stanza")]
    NotAStanza,
    /// An address is missing or is none.
    #[error("it has no usable sender and recipient")]
    Addresses,
    /// Its recipient is in this domain.
    #[error("its recipient is in {0}, which is not this component's domain")]
    NotForUs(String),
    /// Its sender claims to be in a domain of ours.
    #[error("its sender claims to be in {0}, for which only this gateway speaks")]
    OwnDomain(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The server's header is awaited.
    Header,
    /// Its answer to our handshake is awaited.
    Handshake,
    /// Stanzas flow.
    Ready,
}

/// Pings to ourselves through the server show that it lives. A server that does not send them back is believed to live.
#[derive(Debug, Clone, Copy, Default)]
struct Echo {
    /// One has come back on this stream.
    works: bool,
    /// When one was sent after which nothing at all has come.
    asked: Option<Duration>,
    /// When something last came.
    heard: Duration,
}

/// One component's stream.
pub struct ComponentStream {
    settings: Arc<ComponentSettings>,
    carrier: Carrier<ComponentEvent>,
    state: State,
    echo: Echo,
}

impl ComponentStream {
    /// A stream on a connection that was just dialled.
    #[must_use]
    pub fn new(settings: Arc<ComponentSettings>, now: Now) -> Self {
        let timing = Timing {
            idle: NEVER,
            ..settings.timing.clone()
        };
        let limits = Limits {
            cut: true,
            ..settings.limits.clone()
        };
        let mut carrier = Carrier::new(limits, timing, now);
        carrier.write(header_to_wire(&settings.domain), now);
        carrier.expect(Some(now.mono + settings.timing.header));
        Self {
            settings,
            carrier,
            state: State::Header,
            echo: Echo {
                heard: now.mono,
                ..Echo::default()
            },
        }
    }

    /// Sends a stanza of the component's domain.
    ///
    /// # Errors
    /// [`NotReady`]: nothing was sent.
    pub fn send(&mut self, stanza: &Element, now: Now) -> Result<(), NotReady> {
        if !self.carrier.is_open() {
            return Err(NotReady::Closed);
        }
        let sender = stanza.attr("from").and_then(domain_of_address);
        if self.state != State::Ready || sender.as_ref() != Some(&self.settings.domain) {
            return Err(NotReady::Pair);
        }
        self.carrier.write(component_stanza_to_wire(stanza), now);
        Ok(())
    }

    /// Takes octets.
    pub fn receive(&mut self, mut input: &[u8], now: Now) {
        if !input.is_empty() {
            self.echo.heard = now.mono;
            self.echo.asked = None;
        }
        while !self.carrier.is_closed() {
            let result = match self.carrier.read(&mut input, now) {
                Ok(Some(XmlEvent::Open(header))) => self.opened(&header, now),
                Ok(Some(XmlEvent::Element(element))) => self.element(element, now),
                Ok(Some(XmlEvent::Close)) => {
                    self.carrier.peer_closed(now);
                    return;
                }
                Ok(None) => return,
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                let reason = CloseReason::Refused(error.clone());
                self.carrier.refuse(&error, reason, now);
            }
        }
    }

    /// Closes in order; stanzas that the server sends until it has closed, too, still come.
    pub fn close(&mut self, now: Now) {
        self.carrier.close(CloseReason::Requested, now);
    }

    /// The connection ended or broke.
    pub fn connection_lost(&mut self) {
        self.carrier.end(CloseReason::ConnectionLost);
    }

    /// The next thing to do.
    pub fn poll_command(&mut self) -> Option<StreamCommand<ComponentEvent>> {
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
            Due::Nothing => {
                self.watch(now);
                return;
            }
            Due::Element => Step::Element,
            Due::Step if self.state == State::Header => Step::Header,
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

    // ------------------------------------------------------------------------------------ negotiation

    fn opened(&mut self, header: &StreamHeader, now: Now) -> Result<(), StreamError> {
        if header.default_ns != ns::COMPONENT {
            return Err(StreamError::new(
                StreamCondition::InvalidNamespace,
                "this is the stream of a component (jabber:component:accept)",
            ));
        }
        // A stream that closes is not begun. A refusal may follow a header without id, and says more than that there is none.
        let id = header.id.as_deref().filter(|id| !id.is_empty());
        if let Some(id) = id.filter(|_| self.carrier.is_open()) {
            let mut out = Markup::new();
            out.open("handshake")
                .text(&self.settings.secret.handshake(id))
                .close();
            self.carrier.write(out.finish(), now);
            self.state = State::Handshake;
            let deadline = now.mono + self.settings.timing.authentication;
            self.carrier.expect(Some(deadline));
        }
        Ok(())
    }

    fn element(&mut self, element: Element, now: Now) -> Result<(), StreamError> {
        let namespace = element.ns();
        match (namespace.as_str(), element.name(), self.state) {
            (ns::STREAMS, "error", _) => {
                let error = StreamError::from_element(&element);
                self.carrier.peer_failed(error, now);
            }
            // Nothing is negotiated here: what a server offers can be left.
            (ns::STREAMS, "features", _) => {}
            (_, _, State::Header) => {
                return Err(StreamError::new(StreamCondition::BadFormat, "no stream id"));
            }
            (ns::CLIENT, "handshake", State::Handshake) => self.authenticated(now),
            (_, _, State::Handshake) => {
                return Err(StreamError::new(
                    StreamCondition::NotAuthorized,
                    "the handshake is not answered",
                ));
            }
            (ns::CLIENT, "message" | "presence" | "iq", State::Ready) => self.stanza(element),
            (_, _, State::Ready) => self.drop_it(Odd::NotAStanza),
        }
        Ok(())
    }

    fn authenticated(&mut self, now: Now) {
        self.state = State::Ready;
        self.carrier.set_authenticated();
        self.carrier.expect(None);
        self.carrier.event(ComponentEvent::Ready);
        // Whether it comes back is known before it matters.
        self.ask_for_echo(now);
    }

    // ---------------------------------------------------------------------------------------- stanzas

    fn stanza(&mut self, element: Element) {
        let address = |name: &str| element.attr(name).and_then(domain_of_address);
        let (Some(remote), Some(local)) = (address("from"), address("to")) else {
            return self.drop_it(Odd::Addresses);
        };
        if local != self.settings.domain {
            self.drop_it(Odd::NotForUs(local));
        } else if remote == local && element.attr("id") == Some(ECHO_ID) {
            self.echo.works = true;
        } else if self.settings.own_domains.contains(&remote) {
            self.drop_it(Odd::OwnDomain(remote));
        } else if self.carrier.was_cut() {
            self.carrier.event(ComponentEvent::TooLarge(element));
        } else {
            self.carrier
                .event(ComponentEvent::Stanza { remote, element });
        }
    }

    fn drop_it(&mut self, why: Odd) {
        self.carrier.event(ComponentEvent::Dropped(why));
    }

    // ------------------------------------------------------------------------------------------- echo

    fn next_echo(&self) -> Option<Duration> {
        if self.state != State::Ready || !self.carrier.is_open() || !self.echo.works {
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
        match self.echo.asked {
            Some(_) => self.give_up(Step::Life, now),
            None => self.ask_for_echo(now),
        }
    }

    fn ask_for_echo(&mut self, now: Now) {
        self.echo.asked = Some(now.mono);
        let domain = &self.settings.domain;
        let mut out = Markup::new();
        out.open("iq")
            .attribute("type", "get")
            .attribute("id", ECHO_ID)
            .attribute("from", domain)
            .attribute("to", domain)
            .open("ping")
            .attribute("xmlns", ns::PING)
            .close()
            .close();
        self.carrier.write(out.finish(), now);
    }
}

/// Our stream header (XEP-0114 §3). Without a version: nothing of RFC 6120's negotiation is there.
fn header_to_wire(domain: &str) -> String {
    let mut out = Markup::new();
    out.open("stream:stream")
        .attribute("xmlns", ns::COMPONENT)
        .attribute("xmlns:stream", ns::STREAMS)
        .attribute("to", domain);
    format!("<?xml version='1.0'?>{}", out.finish())
}
