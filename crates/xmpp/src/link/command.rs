//! What goes into a link and comes out of it.

use std::sync::Arc;
use std::time::Duration;

use minidom::Element;
use stox_core::failure::Failure;
use stox_core::time::Now;
use stox_core::vocab::{Ref, XmppOut};

#[cfg(doc)]
use super::{Link, Settings};
use crate::adapt;

/// A stanza to send.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// Settled once with [`LinkCommand::Settled`]. Without one nobody learns the fate.
    pub reference: Option<Ref>,
    /// The stanza, with from and to in the domains of the link.
    pub element: Element,
    /// When it is given up, in monotonic time; by default after [`Settings::message_wait`] or
    /// [`Settings::presence_wait`].
    pub deadline: Option<Duration>,
}

impl Outgoing {
    /// What the core asks for, with the default deadline.
    #[must_use]
    pub fn from_core(out: &XmppOut, now: Now) -> Self {
        Self {
            reference: match out {
                XmppOut::Message { reference, .. } | XmppOut::MessageError { reference, .. } => {
                    Some(*reference)
                }
                XmppOut::ChatState { .. }
                | XmppOut::Receipt { .. }
                | XmppOut::Presence { .. }
                | XmppOut::PresenceError { .. } => None,
                XmppOut::Muc(out) => out.reference(),
            },
            element: adapt::write(out, now),
            deadline: None,
        }
    }
}

/// How a stream, or the attempt to get one, came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// It may work the next time: what waits goes on waiting.
    Passing(Failure),
    /// It will not get better soon (no such domain, certificate refused, host unknown, policy): what waits fails now.
    Lasting(Failure),
}

/// What the link wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum LinkCommand {
    /// Get a stream that is authorised for this domain pair, then call [`Link::stream_ready`] or [`Link::stream_lost`]
    /// with this number. It names the stream until then.
    Connect(Attempt),
    /// Write this to the stream.
    Write(Arc<Element>),
    /// The fate of a stanza.
    Settled {
        /// As given.
        reference: Ref,
        /// The partner's server has handled it, or why it was given up.
        outcome: Result<(), Failure>,
    },
    /// For the log: a stanza was larger than the partner takes. It goes without its words, where they are presence's or
    /// an error's; otherwise it does not go, and whoever waits for it is told so.
    Oversized {
        /// Its size.
        octets: usize,
        /// What the partner takes.
        limit: usize,
        /// It goes, shortened.
        goes: bool,
    },
    /// A request to subscribe was given up because the partner's name leads nowhere; it has no reference.
    Unaskable {
        /// The request.
        element: Arc<Element>,
        /// Why.
        failure: Failure,
    },
    /// The stream is not wanted any more; nothing has to be reported about it.
    CloseStream {
        /// Which.
        attempt: Attempt,
        /// Why.
        reason: CloseReason,
    },
}

/// Numbers the streams of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(pub u64);

/// Why the link lets a stream go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Nothing was written for [`Settings::idle`].
    Idle,
    /// [`Settings::missed_fences`] were not answered.
    Dead,
    /// [`Link::shut_down`].
    ShuttingDown,
}
