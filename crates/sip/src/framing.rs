//! Where messages start and end on a stream (RFC 3261 §18.3, §7.5; RFC 5626 §3.5.1 keep-alives).

use bytes::{Buf, BytesMut};

use crate::grammar::is_token_octet;
use crate::message::Message;
use crate::parse::{Head, Limits, ParseError, ParseErrorKind};

/// One thing that arrived on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A message.
    Message(Message),
    /// A message that is refused, with its end known for sure: answer [`ParseError::response`] and go on.
    Malformed(ParseError),
    /// A double CRLF between messages: answer with one CRLF (RFC 5626 §4.4.1).
    KeepAlivePing,
    /// A CRLF in answer to our ping; see [`StreamFramer::expect_pong`].
    KeepAlivePong,
}

/// Cuts one stream into messages. However the octets are cut into pushes, the frames are the same.
///
/// The first error ends the stream: a peer and a gateway that disagree about where a message ends must never talk on,
/// so nothing is ever searched for behind an error.
#[derive(Debug)]
pub struct StreamFramer {
    limits: Limits,
    buffer: BytesMut,
    /// Octets of the buffer, from its start, in which no end of line is left to be looked for.
    scanned: usize,
    /// A head that waits for its body.
    waiting: Option<(Head, usize)>,
    pongs_due: u32,
    ended: bool,
}

impl StreamFramer {
    /// A framer for a fresh stream.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
            scanned: 0,
            waiting: None,
            pongs_due: 0,
            ended: false,
        }
    }

    /// Takes octets in the order in which they arrived. After an error they are dropped. Call
    /// [`StreamFramer::poll_frame`] until it returns `None` before pushing more: that bounds the buffer.
    pub fn push(&mut self, octets: &[u8]) {
        if !self.ended {
            self.buffer.extend_from_slice(octets);
        }
    }

    /// A ping was sent: the next single CRLF between messages is its answer. Without this, single CRLFs are skipped.
    pub fn expect_pong(&mut self) {
        self.pongs_due = self.pongs_due.saturating_add(1);
    }

    /// Octets are waiting for the rest of their message. A clean end of a stream leaves none.
    #[must_use]
    pub fn is_mid_message(&self) -> bool {
        self.waiting.is_some() || !self.buffer.is_empty()
    }

    /// The next frame, if it is complete.
    ///
    /// # Errors
    /// The stream is of no more use: send [`ParseError::response`] if there is one, then close. Further calls return
    /// `None`.
    pub fn poll_frame(&mut self) -> Result<Option<Frame>, ParseError> {
        if self.ended {
            return Ok(None);
        }
        self.advance().inspect_err(|_| {
            self.ended = true;
            self.buffer = BytesMut::new();
            self.waiting = None;
        })
    }

    fn advance(&mut self) -> Result<Option<Frame>, ParseError> {
        if self.waiting.is_none() {
            if let Some(keep_alive) = self.take_line_ends()? {
                return Ok(Some(keep_alive));
            }
            self.waiting = self.take_head()?;
        }
        let complete = |(_, length): &mut (Head, usize)| self.buffer.len() >= *length;
        let Some((head, length)) = self.waiting.take_if(complete) else {
            return Ok(None);
        };
        let body = self.buffer.split_to(length).freeze();
        Ok(Some(match head.finish(body) {
            Ok(message) => Frame::Message(message),
            Err(error) => Frame::Malformed(error),
        }))
    }

    /// Line ends between messages. A CR that nothing follows yet stays where it is.
    fn take_line_ends(&mut self) -> Result<Option<Frame>, ParseError> {
        loop {
            match self.buffer.as_ref() {
                [b'\r', b'\n', ..] if self.pongs_due > 0 => {
                    self.pongs_due -= 1;
                    self.buffer.advance(2);
                    return Ok(Some(Frame::KeepAlivePong));
                }
                [b'\r', b'\n', b'\r', b'\n', ..] => {
                    self.buffer.advance(4);
                    return Ok(Some(Frame::KeepAlivePing));
                }
                [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return Ok(None),
                [b'\r', b'\n', ..] => self.buffer.advance(2),
                [b'\r' | b'\n', ..] => return Err(ParseError::silent(ParseErrorKind::LineEnd)),
                _ => return Ok(None),
            }
        }
    }

    /// The next head with the length of its body, if its end is there.
    fn take_head(&mut self) -> Result<Option<(Head, usize)>, ParseError> {
        if matches!(self.buffer.first(), None | Some(b'\r')) {
            return Ok(None);
        }
        if !self.starts_like_sip() {
            return Err(ParseError::silent(ParseErrorKind::NotSip));
        }
        let end = match self.find_head_end() {
            HeadEnd::At(end) if end <= self.limits.head => end,
            HeadEnd::BareLineFeed(at) => {
                let block = self.buffer.split_to(at + 1).freeze();
                return Err(Head::read(&block, &self.limits).fail(ParseErrorKind::LineEnd));
            }
            HeadEnd::Unknown if self.buffer.len() < self.limits.head + TERMINATOR => {
                return Ok(None);
            }
            HeadEnd::At(_) | HeadEnd::Unknown => {
                let block = self.buffer.split_to(self.limits.head).freeze();
                return Err(Head::overlong(&block, &self.limits));
            }
        };
        let block = self.buffer.split_to(end).freeze();
        self.buffer.advance(TERMINATOR);
        self.scanned = 0;
        let head = Head::read(&block, &self.limits);
        if let Some(kind) = head.defect().filter(|kind| kind.breaks_framing()) {
            return Err(head.fail(kind));
        }
        match head.content_length(&self.limits) {
            Ok(Some(length)) => Ok(Some((head, length))),
            Ok(None) => Err(head.fail(ParseErrorKind::ContentLengthMissing)),
            Err(kind) => Err(head.fail(kind)),
        }
    }

    /// A method and a space, or `SIP/`, as far as octets are there. TLS, HTTP answers and XMPP are told at once.
    fn starts_like_sip(&self) -> bool {
        let window = self.limits.head + TERMINATOR;
        let octets = self.buffer.get(..window).unwrap_or(&self.buffer);
        let Some(end) = octets.iter().position(|octet| !is_token_octet(*octet)) else {
            return true;
        };
        let word = octets.get(..end).unwrap_or_default();
        match octets.get(end) {
            Some(b' ') => !word.is_empty(),
            Some(b'/') => word.eq_ignore_ascii_case(b"SIP"),
            _ => false,
        }
    }

    /// Looks for the end of a head in what the limit allows. Every octet is looked at once.
    fn find_head_end(&mut self) -> HeadEnd {
        let window = self.limits.head + TERMINATOR;
        let octets = self.buffer.get(..window).unwrap_or(&self.buffer);
        while let Some(step) = octets
            .get(self.scanned..)
            .and_then(|rest| memchr::memchr(b'\n', rest))
        {
            let at = self.scanned + step;
            self.scanned = at + 1;
            let before = octets.get(..at).unwrap_or_default();
            match before.strip_suffix(b"\r") {
                None => return HeadEnd::BareLineFeed(at),
                Some(lines) if lines.ends_with(b"\r\n") => return HeadEnd::At(lines.len() - 2),
                Some(_) => {}
            }
        }
        self.scanned = octets.len();
        HeadEnd::Unknown
    }
}

/// CR LF CR LF.
const TERMINATOR: usize = 4;

/// What the search for the end of a head found.
enum HeadEnd {
    /// CR LF CR LF starts here.
    At(usize),
    /// A line feed without carriage return before it: some peers would take it for a line end, others not.
    BareLineFeed(usize),
    /// Nothing yet.
    Unknown,
}

impl Default for StreamFramer {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}
