//! Where frames start and end on a connection (RFC 4975 §5.1, §7.1, §9).

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memmem};
use thiserror::Error;

use super::frame::{Defect, Flag, Head, HeaderLines, read_start};
use super::ident::DASHES;

/// How much of a frame is taken at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of the start line and the headers together.
    pub head: usize,
    /// Header lines.
    pub lines: usize,
    /// Octets of the body of one frame. Memory does not grow with it: bodies come in pieces.
    pub body: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 16 * 1024,
            lines: 64,
            body: 256 * 1024 * 1024,
        }
    }
}

/// Why a connection is of no more use. The peer is at fault, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum FrameError {
    /// Nothing that looks like MSRP: TLS, HTTP, SIP.
    #[error("not MSRP")]
    NotMsrp,
    /// A start line that is none.
    #[error("malformed start line")]
    StartLine,
    /// A line feed without carriage return before it.
    #[error("bare line feed")]
    LineEnd,
    /// Dashes and then no end-line of this frame.
    #[error("malformed end-line")]
    EndLine,
    /// No `To-Path` or `From-Path` that can be read: nobody knows whom to answer.
    #[error("missing or malformed path")]
    Path,
    /// Over [`Limits::head`] or [`Limits::lines`].
    #[error("headers too large")]
    HeadTooLarge,
    /// Over [`Limits::body`].
    #[error("body too large")]
    BodyTooLarge,
}

/// One thing that arrived. A frame is one `Head`, any number of `Body`, one `End`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A frame begins.
    Head {
        /// Its start line and headers.
        head: Head,
        /// It has a body, which may be empty.
        has_body: bool,
        /// What is wrong with it. A request is answered 400.
        defect: Option<Defect>,
    },
    /// The next octets of its body, at least one.
    Body(Bytes),
    /// The frame ends.
    End(Flag),
}

/// Cuts one connection into frames. However the octets are cut into pushes, the frames and the bodies are the same.
///
/// The first error ends the connection: nothing is searched for behind it.
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    buffer: BytesMut,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Between frames or inside a head.
    Head {
        /// Where the line starts that is looked at.
        line: usize,
        /// Up to where that line has been looked at.
        scanned: usize,
        /// Lines before it.
        lines: usize,
    },
    /// A head without body was handed out.
    Ended(Flag),
    Body(Box<Search>),
    /// After an error.
    Dead,
}

const FRESH: State = State::Head {
    line: 0,
    scanned: 0,
    lines: 0,
};

/// The search for the end of a body.
#[derive(Debug)]
struct Search {
    /// CR LF, dashes, transaction id.
    end_line: memmem::Finder<'static>,
    /// No end-line starts before here in the buffer.
    scanned: usize,
    /// Octets handed out.
    taken: u64,
}

/// Flag, CR, LF.
const TAIL: usize = 3;

impl Framer {
    /// A framer for a fresh connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
            state: FRESH,
        }
    }

    /// Takes octets in the order in which they arrived. Call [`Framer::poll`] until it returns `None` before pushing
    /// more: that bounds the buffer.
    pub fn push(&mut self, octets: &[u8]) {
        if !matches!(self.state, State::Dead) {
            self.buffer.extend_from_slice(octets);
        }
    }

    /// Octets that were not looked at yet, or are not complete.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// A frame has begun and not ended.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        !self.buffer.is_empty() || matches!(self.state, State::Body(_) | State::Ended(_))
    }

    /// The next item, if it is there.
    ///
    /// # Errors
    /// The connection is of no more use. Further calls return `None`.
    pub fn poll(&mut self) -> Result<Option<Item>, FrameError> {
        let result = match self.state {
            State::Head { .. } => self.poll_head(),
            State::Ended(flag) => {
                self.state = FRESH;
                return Ok(Some(Item::End(flag)));
            }
            State::Body(_) => self.poll_body(),
            State::Dead => return Ok(None),
        };
        result.inspect_err(|_| {
            self.state = State::Dead;
            self.buffer = BytesMut::new();
        })
    }

    fn poll_head(&mut self) -> Result<Option<Item>, FrameError> {
        self.skip_line_ends();
        let known = self.buffer.len().min(MAGIC.len());
        if self.buffer.get(..known) != MAGIC.get(..known) {
            let line_end = self.buffer.as_ref() == b"\r";
            return if line_end {
                Ok(None)
            } else {
                Err(FrameError::NotMsrp)
            };
        }
        while let Some((line, next)) = self.next_line()? {
            let octets = self.buffer.get(line..next - 2).unwrap_or_default();
            if octets.is_empty() || octets.starts_with(DASHES) {
                return self.end_head(line, next).map(Some);
            }
        }
        if self.buffer.len() > self.limits.head {
            return Err(FrameError::HeadTooLarge);
        }
        Ok(None)
    }

    /// Line ends between frames are nothing; some peers keep connections alive with them.
    fn skip_line_ends(&mut self) {
        if !matches!(
            self.state,
            State::Head {
                lines: 0,
                line: 0,
                ..
            }
        ) {
            return;
        }
        while self.buffer.starts_with(b"\r\n") {
            self.buffer.advance(2);
            self.state = FRESH;
        }
    }

    /// Where the next line starts, and where the one after it.
    fn next_line(&mut self) -> Result<Option<(usize, usize)>, FrameError> {
        let State::Head {
            line,
            scanned,
            lines,
        } = &mut self.state
        else {
            return Ok(None);
        };
        let rest = self.buffer.get(*scanned..).unwrap_or_default();
        let Some(step) = memchr(b'\n', rest) else {
            *scanned = self.buffer.len();
            return Ok(None);
        };
        let (start, next) = (*line, *scanned + step + 1);
        *lines += 1;
        (*line, *scanned) = (next, next);
        // The start line, the paths, and what ends the head come on top of the limit's lines.
        if next > self.limits.head || *lines > self.limits.lines + 4 {
            return Err(FrameError::HeadTooLarge);
        }
        let octets = self.buffer.get(start..next).unwrap_or_default();
        if octets.ends_with(b"\r\n") {
            Ok(Some((start, next)))
        } else {
            Err(FrameError::LineEnd)
        }
    }

    /// The line from `line` to `next` ends the head: it is empty or starts with dashes.
    fn end_head(&mut self, line: usize, next: usize) -> Result<Item, FrameError> {
        let block = self.buffer.split_to(line);
        let last = self.buffer.split_to(next - line);
        let (head, defect) = read_head(&block)?;
        let has_body = last.as_ref() == b"\r\n";
        self.state = if has_body {
            State::Body(Box::new(Search::new(&head.transaction)))
        } else {
            let flag = last
                .strip_prefix(DASHES)
                .and_then(|rest| rest.strip_prefix(head.transaction.as_bytes()))
                .and_then(read_tail);
            State::Ended(flag.ok_or(FrameError::EndLine)?)
        };
        Ok(Item::Head {
            head,
            has_body,
            defect,
        })
    }

    fn poll_body(&mut self) -> Result<Option<Item>, FrameError> {
        let State::Body(search) = &mut self.state else {
            return Ok(None);
        };
        let found = search.find(&self.buffer);
        let (piece, rest) = match found {
            Found::Body(octets) => (octets, None),
            Found::End { at, skip, flag } => (at, Some((skip, flag))),
        };
        if piece > 0 {
            search.taken += piece as u64;
            search.scanned = 0;
            if search.taken > self.limits.body {
                return Err(FrameError::BodyTooLarge);
            }
            return Ok(Some(Item::Body(self.buffer.split_to(piece).freeze())));
        }
        Ok(rest.map(|(skip, flag)| {
            self.buffer.advance(skip);
            self.state = FRESH;
            Item::End(flag)
        }))
    }
}

/// What a search found.
enum Found {
    /// So many octets belong to the body for sure, and no end in sight.
    Body(usize),
    /// The body ends at `at`; the end-line with the CR LF before it is `skip` octets long.
    End { at: usize, skip: usize, flag: Flag },
}

impl Search {
    fn new(transaction: &str) -> Self {
        let needle = [b"\r\n", DASHES, transaction.as_bytes()].concat();
        Self {
            end_line: memmem::Finder::new(&needle).into_owned(),
            scanned: 0,
            taken: 0,
        }
    }

    /// Every octet is looked at once, but for the length of an end-line at the end of each push.
    fn find(&mut self, buffer: &[u8]) -> Found {
        let length = self.end_line.needle().len();
        if self.taken == 0
            && let Some(found) = self.at_once(buffer)
        {
            return found;
        }
        while let Some(step) = buffer
            .get(self.scanned..)
            .and_then(|rest| self.end_line.find(rest))
        {
            let at = self.scanned + step;
            let Some(tail) = buffer.get(at + length..at + length + TAIL) else {
                self.scanned = at;
                return Found::Body(at);
            };
            if let Some(flag) = read_tail(tail) {
                let skip = length + TAIL;
                return Found::End { at, skip, flag };
            }
            self.scanned = at + 1;
        }
        let sure = buffer.len().saturating_sub(length - 1).max(self.scanned);
        self.scanned = sure;
        Found::Body(sure)
    }

    /// Some peers write the end-line of an empty body right after the empty line. `Some` when it is one, or may become
    /// one.
    fn at_once(&self, buffer: &[u8]) -> Option<Found> {
        let end_line = self.end_line.needle().get(2..).unwrap_or_default();
        let known = buffer.len().min(end_line.len());
        if buffer.get(..known) != end_line.get(..known) {
            return None;
        }
        let skip = end_line.len() + TAIL;
        match buffer.get(end_line.len()..skip) {
            None => Some(Found::Body(0)),
            Some(tail) => read_tail(tail).map(|flag| Found::End { at: 0, skip, flag }),
        }
    }
}

const MAGIC: &[u8] = b"MSRP ";

/// Flag, CR, LF and nothing else.
fn read_tail(tail: &[u8]) -> Option<Flag> {
    match tail {
        [flag, b'\r', b'\n'] => Flag::parse(*flag),
        _ => None,
    }
}

/// The start line and the header lines.
fn read_head(block: &[u8]) -> Result<(Head, Option<Defect>), FrameError> {
    let mut lines = block
        .split(|octet| *octet == b'\n')
        .filter_map(|line| line.strip_suffix(b"\r"));
    let start_line = lines
        .next()
        .and_then(|line| std::str::from_utf8(line).ok())
        .ok_or(FrameError::StartLine)?;
    let (start, transaction) = read_start(start_line).ok_or(FrameError::StartLine)?;
    let mut read = HeaderLines::default();
    lines.for_each(|line| read.read(line));
    if read.to_path.is_empty() || read.from_path.is_empty() {
        return Err(FrameError::Path);
    }
    let head = Head {
        start,
        transaction: transaction.to_owned(),
        to_path: read.to_path,
        from_path: read.from_path,
        headers: read.headers,
    };
    let defect = read.defect.or_else(|| head.check().err());
    Ok((head, defect))
}
