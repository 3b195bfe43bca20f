//! The half that accepted and dialled streams share: parser, output, clocks and the closing handshake.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use stox_core::time::Now;

use super::{
    StreamCommand,
    error::{CloseReason, StreamError},
    limits::{Limits, Timing},
    xml::{StreamParser, XmlEvent},
};

/// Where the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// Octets flow in both directions.
    Open,
    /// The TLS handshake has the connection.
    Handshake,
    /// We have sent our closing tag and wait for the peer's.
    Closing,
    /// Over.
    Closed,
}

/// What a clock asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing that the machine has to do.
    Nothing,
    /// The step named in [`Carrier::expect`] took too long.
    Step,
    /// An element did not end in time.
    Element,
}

pub(super) struct Carrier<E> {
    limits: Limits,
    timing: Timing,
    parser: StreamParser,
    commands: VecDeque<StreamCommand<E>>,
    /// Our header, while nothing was said on this stream: it goes out in front of whatever comes first, an error or the
    /// closing tag as well (RFC 6120 §4.9.1.2).
    header: Option<String>,
    link: Link,
    reason: Option<CloseReason>,
    step_deadline: Option<Duration>,
    element_deadline: Option<Duration>,
    idle_deadline: Duration,
    space_deadline: Option<Duration>,
    close_deadline: Option<Duration>,
}

impl<E: From<CloseReason>> Carrier<E> {
    pub(super) fn new(limits: Limits, timing: Timing, now: Now) -> Self {
        Self {
            parser: StreamParser::new(limits.clone()),
            commands: VecDeque::new(),
            header: None,
            link: Link::Open,
            reason: None,
            step_deadline: None,
            element_deadline: None,
            idle_deadline: now.mono + timing.idle,
            space_deadline: None,
            close_deadline: None,
            limits,
            timing,
        }
    }

    pub(super) fn poll_command(&mut self) -> Option<StreamCommand<E>> {
        self.commands.pop_front()
    }

    pub(super) fn timing(&self) -> &Timing {
        &self.timing
    }

    pub(super) fn is_closed(&self) -> bool {
        self.link == Link::Closed
    }

    pub(super) fn is_in_handshake(&self) -> bool {
        self.link == Link::Handshake
    }

    /// We may still write.
    pub(super) fn is_open(&self) -> bool {
        self.link == Link::Open
    }

    pub(super) fn set_authenticated(&mut self) {
        self.parser.set_authenticated();
    }

    /// The element that was read last was over a limit and is not whole.
    pub(super) fn was_cut(&self) -> bool {
        self.parser.was_cut()
    }

    /// The peer has begun an element and not ended it.
    pub(super) fn is_mid_element(&self) -> bool {
        self.parser.is_mid_element()
    }

    // ---------------------------------------------------------------------------------------- reading

    /// The next event of the input. Spaces between elements do not count as a sign of life.
    pub(super) fn read(
        &mut self,
        input: &mut &[u8],
        now: Now,
    ) -> Result<Option<XmlEvent>, StreamError> {
        let event = self.parser.next(input);
        match &event {
            Ok(Some(_)) => {
                self.element_deadline = None;
                self.idle_deadline = now.mono + self.timing.idle;
            }
            Ok(None) if self.parser.is_mid_element() => {
                self.element_deadline
                    .get_or_insert(now.mono + self.timing.element);
            }
            Ok(None) | Err(_) => self.element_deadline = None,
        }
        event
    }

    // ---------------------------------------------------------------------------------------- writing

    /// What our header is as long as nobody knows better.
    pub(super) fn begin_with(&mut self, header: String) {
        self.header = Some(header);
    }

    /// Our header has not gone out yet.
    pub(super) fn owes_header(&self) -> bool {
        self.header.is_some()
    }

    /// Sends the header that is owed.
    pub(super) fn write_header(&mut self, header: String, now: Now) {
        self.header = None;
        self.write(header, now);
    }

    /// Sends something that counts as traffic.
    pub(super) fn write(&mut self, text: String, now: Now) {
        self.idle_deadline = now.mono + self.timing.idle;
        self.send(text, now);
    }

    fn send(&mut self, text: String, now: Now) {
        if self.link == Link::Open {
            self.space_deadline = Some(now.mono + self.timing.keep_alive);
            if let Some(header) = self.header.take() {
                self.commands
                    .push_back(StreamCommand::Write(Bytes::from(header)));
            }
            self.commands
                .push_back(StreamCommand::Write(Bytes::from(text)));
        }
    }

    pub(super) fn event(&mut self, event: E) {
        if self.link != Link::Closed {
            self.commands.push_back(StreamCommand::Event(event));
        }
    }

    // -------------------------------------------------------------------------------------------- TLS

    /// Hands the connection to the TLS handshake, unless it is being closed.
    pub(super) fn start_tls(&mut self, now: Now) {
        if self.link != Link::Open {
            return;
        }
        self.commands.push_back(StreamCommand::StartTls);
        self.link = Link::Handshake;
        self.space_deadline = None;
        self.element_deadline = None;
        self.step_deadline = Some(now.mono + self.timing.tls);
    }

    /// A new stream begins on the same connection; nothing of the old one is kept (RFC 6120 §4.3.3).
    pub(super) fn restart(&mut self, now: Now) {
        self.parser = StreamParser::new(self.limits.clone());
        self.link = Link::Open;
        self.element_deadline = None;
        // A space in front of our new header would spoil it.
        self.space_deadline = None;
        self.idle_deadline = now.mono + self.timing.idle;
    }

    // ------------------------------------------------------------------------------------------ clocks

    /// Sets the one deadline of the negotiation, or takes it away.
    pub(super) fn expect(&mut self, deadline: Option<Duration>) {
        self.step_deadline = deadline;
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        match self.link {
            Link::Closed => None,
            Link::Closing => self.close_deadline,
            Link::Handshake => self.step_deadline,
            Link::Open => [
                self.step_deadline,
                self.element_deadline,
                self.space_deadline,
                Some(self.idle_deadline),
            ]
            .into_iter()
            .flatten()
            .min(),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Now) -> Due {
        let due =
            |deadline: Option<Duration>| deadline.is_some_and(|deadline| deadline <= now.mono);
        match self.link {
            Link::Closed => {}
            Link::Closing => {
                if due(self.close_deadline) {
                    self.end(CloseReason::Requested);
                }
            }
            Link::Handshake | Link::Open if due(self.step_deadline) => return Due::Step,
            Link::Handshake => {}
            Link::Open => {
                if due(self.element_deadline) {
                    return Due::Element;
                }
                if due(Some(self.idle_deadline)) {
                    self.close(CloseReason::Idle, now);
                } else if due(self.space_deadline) {
                    self.send(" ".to_owned(), now);
                }
            }
        }
        Due::Nothing
    }

    // ----------------------------------------------------------------------------------------- closing

    /// Closes in order: our closing tag, then what the peer still sends, then its closing tag (RFC 6120 §4.4).
    pub(super) fn close(&mut self, reason: CloseReason, now: Now) {
        match self.link {
            Link::Open => {
                self.send("</stream:stream>".to_owned(), now);
                self.link = Link::Closing;
                self.close_deadline = Some(now.mono + self.timing.close);
                self.reason = Some(reason);
            }
            Link::Handshake => self.end(reason),
            Link::Closing | Link::Closed => {}
        }
    }

    /// The peer's closing tag has come.
    pub(super) fn peer_closed(&mut self, now: Now) {
        self.send("</stream:stream>".to_owned(), now);
        self.end(CloseReason::PeerClosed);
    }

    /// The peer has reported an error; the stream is dead (RFC 6120 §4.9.1.1).
    pub(super) fn peer_failed(&mut self, error: StreamError, now: Now) {
        self.send("</stream:stream>".to_owned(), now);
        self.end(CloseReason::PeerError(error));
    }

    /// Tells the peer what it did wrong and ends.
    pub(super) fn refuse(&mut self, error: &StreamError, reason: CloseReason, now: Now) {
        self.send(format!("{}</stream:stream>", error.to_wire()), now);
        self.end(reason);
    }

    /// Ends at once. The first reason given is the one that is reported.
    pub(super) fn end(&mut self, reason: CloseReason) {
        if self.link == Link::Closed {
            return;
        }
        let reason = self.reason.take().unwrap_or(reason);
        self.commands
            .push_back(StreamCommand::Event(E::from(reason)));
        self.commands.push_back(StreamCommand::Close);
        self.link = Link::Closed;
    }
}
