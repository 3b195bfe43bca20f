//! Peers that connect before the answer to our offer has come: what they send waits for it.

use std::collections::{BTreeMap, BTreeSet};

use stox_core::time::Now;

use super::{Endpoint, Head};
use crate::msrp::frame::Start;
use crate::msrp::framer::Item;
use crate::transport::FlowId;

/// Octets that wait on one connection at most.
const MAX_OCTETS: usize = 64 * 1024;

/// Session ids that are offered, and the connections that wait for each.
#[derive(Debug, Default)]
pub(super) struct Offers(BTreeMap<String, BTreeSet<FlowId>>);

impl Offers {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, flow: FlowId, session: &str) {
        if let Some(flows) = self.0.get_mut(session) {
            flows.remove(&flow);
        }
    }
}

/// A frame that waits, with everything behind it.
#[derive(Debug)]
pub(super) struct Early {
    pub(super) session: String,
    item: Item,
}

impl Endpoint {
    /// A session of this id is offered. A peer may connect for it before its answer is here: its requests wait until
    /// [`Endpoint::open`] or [`Endpoint::expect_no_more`].
    pub fn expect(&mut self, session: &str) {
        self.offers.0.entry(session.to_owned()).or_default();
    }

    /// Nothing came of an offer: whoever has connected for it is turned away.
    pub fn expect_no_more(&mut self, session: &str, now: Now) {
        let flows = self.offers.0.remove(session);
        for flow in flows.into_iter().flatten() {
            self.resume(flow, now);
        }
    }

    /// Keeps a request for a session that is only offered; gives back any other item, and each of a connection that is in
    /// use.
    pub(super) fn hold_early(&mut self, flow: FlowId, item: Item) -> Option<Item> {
        let Some(session) = offered(&item) else {
            return Some(item);
        };
        let Some(waiting) = self.offers.0.get_mut(session) else {
            return Some(item);
        };
        match self.flows.get_mut(&flow) {
            // One that others use, such as that of a relay, does not stand still for one peer.
            Some(connection) if connection.is_idle() => {
                let session = session.to_owned();
                waiting.insert(flow);
                connection.early = Some(Early { session, item });
                None
            }
            _ => Some(item),
        }
    }

    /// A connection with a request that waits got more octets: they wait, too, or it has sent too many.
    pub(super) fn is_held(&mut self, flow: FlowId) -> bool {
        let Some(connection) = self.flows.get(&flow).filter(|c| c.early.is_some()) else {
            return false;
        };
        if connection.framer.buffered() > MAX_OCTETS {
            self.closes.push_back(flow);
            self.drop_flow(flow);
        }
        true
    }

    fn resume(&mut self, flow: FlowId, now: Now) {
        let connection = self.flows.get_mut(&flow);
        if let Some(early) = connection.and_then(|c| c.early.take()) {
            self.take(flow, early.item, now);
            self.drain(flow, now);
        }
    }
}

/// The session id that a request names.
fn offered(item: &Item) -> Option<&str> {
    let Item::Head {
        head:
            Head {
                start: Start::Request(_),
                to_path,
                ..
            },
        ..
    } = item
    else {
        return None;
    };
    to_path.first()?.session.as_deref()
}
