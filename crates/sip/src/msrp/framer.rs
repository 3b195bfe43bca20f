//! Frames out of a stream of octets (RFC 4975 §7.1), bounded whatever the peer sends.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;

use super::frame::{Flag, Head, HeadError};
use super::ident::DASHES;

/// Octets of start line and header fields at most.
const MAX_HEAD: usize = 16 * 1024;

/// A part of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Start line and header fields. `body`: a body follows, which may be empty.
    Head {
        /// What it says.
        head: Head,
        /// Whether a body follows.
        body: bool,
    },
    /// The next octets of the body.
    Body(Bytes),
    /// The end-line.
    End(Flag),
}

#[derive(Debug)]
enum State {
    /// Before or inside a head; so many octets hold no line end.
    Head {
        searched: usize,
    },
    /// Inside the body of this transaction.
    Body {
        end: Vec<u8>,
    },
    /// Behind a head without body: its end-line is there already.
    Ending(Flag),
    Broken,
}

/// Cuts a stream into [`Item`]s.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    /// Ends of the lines of the head so far.
    lines: Vec<usize>,
    state: State,
}

impl Default for Framer {
    fn default() -> Self {
        Self {
            buffer: BytesMut::new(),
            lines: Vec::new(),
            state: State::Head { searched: 0 },
        }
    }
}

impl Framer {
    /// Takes octets.
    pub fn push(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    /// The next item, when it is there.
    ///
    /// # Errors
    /// The stream makes no sense any more; so it does at every later call.
    pub fn poll(&mut self) -> Result<Option<Item>, HeadError> {
        let item = match &mut self.state {
            State::Broken => return Err(HeadError::Start),
            State::Ending(flag) => {
                let flag = *flag;
                self.state = State::Head { searched: 0 };
                Ok(Some(Item::End(flag)))
            }
            State::Head { .. } => self.head(),
            State::Body { .. } => Ok(self.body()),
        };
        if item.is_err() {
            self.state = State::Broken;
            self.buffer.clear();
        }
        item
    }

    /// Looks for the end of a head: an empty line, or the end-line.
    fn head(&mut self) -> Result<Option<Item>, HeadError> {
        let State::Head { searched } = self.state else {
            return Ok(None);
        };
        loop {
            let begin = self.lines.last().map_or(0, |end| end + 2);
            let from = searched.saturating_sub(1).max(begin);
            let rest = self.buffer.get(from..).unwrap_or_default();
            let Some(at) = memmem::find(rest, b"\r\n") else {
                self.state = State::Head {
                    searched: self.buffer.len(),
                };
                return match self.buffer.len() > MAX_HEAD {
                    true => Err(HeadError::Fields),
                    false => Ok(None),
                };
            };
            let end = from + at;
            if end > MAX_HEAD {
                return Err(HeadError::Fields);
            }
            let line = self.buffer.get(begin..end).unwrap_or_default();
            let flag = line.strip_prefix(DASHES).filter(|_| !self.lines.is_empty());
            if line.is_empty() && !self.lines.is_empty() {
                return self.take_head(end + 2, None).map(Some);
            }
            if let Some(rest) = flag {
                let transaction = self.transaction().to_vec();
                if let Some([octet]) = rest.strip_prefix(transaction.as_slice())
                    && let Some(flag) = Flag::of(*octet)
                {
                    return self.take_head(end + 2, Some(flag)).map(Some);
                }
            }
            self.lines.push(end);
        }
    }

    /// The transaction id in the start line.
    fn transaction(&self) -> &[u8] {
        let end = self.lines.first().copied().unwrap_or_default();
        let line = self.buffer.get(..end).unwrap_or_default();
        line.split(|octet| *octet == b' ')
            .nth(1)
            .unwrap_or_default()
    }

    fn take_head(&mut self, length: usize, flag: Option<Flag>) -> Result<Item, HeadError> {
        let octets = self.buffer.split_to(length.min(self.buffer.len())).freeze();
        let mut begin = 0;
        let mut lines = std::mem::take(&mut self.lines).into_iter().map(|end| {
            let line = octets.get(begin..end).unwrap_or_default();
            begin = end + 2;
            line
        });
        let start = lines.next().unwrap_or_default();
        let head = Head::parse(start, lines)?;
        self.state = match flag {
            Some(flag) => State::Ending(flag),
            None => {
                let mut end = b"\r\n".to_vec();
                end.extend_from_slice(DASHES);
                end.extend_from_slice(head.transaction.as_bytes());
                State::Body { end }
            }
        };
        let body = flag.is_none();
        Ok(Item::Head { head, body })
    }

    /// Octets of the body, or its end. What may be the beginning of an end-line is held back.
    fn body(&mut self) -> Option<Item> {
        let State::Body { end } = &self.state else {
            return None;
        };
        // The end-line with the line end before it, the flag, and the line end behind it.
        let whole = end.len() + 3;
        let mut from = 0;
        while let Some(found) = self
            .buffer
            .get(from..)
            .and_then(|rest| memmem::find(rest, end))
        {
            let at = from + found;
            let Some(line) = self.buffer.get(at..at + whole) else {
                return self.give(at);
            };
            let flag = line.get(end.len()).and_then(|octet| Flag::of(*octet));
            if let Some(flag) = flag.filter(|_| line.ends_with(b"\r\n")) {
                if at > 0 {
                    return self.give(at);
                }
                self.buffer.advance(whole);
                self.state = State::Head { searched: 0 };
                return Some(Item::End(flag));
            }
            from = at + 1;
        }
        let free = self.buffer.len().saturating_sub(whole - 1);
        self.give(free)
    }

    fn give(&mut self, length: usize) -> Option<Item> {
        (length > 0).then(|| Item::Body(self.buffer.split_to(length).freeze()))
    }
}
