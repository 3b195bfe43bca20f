//! The MSRP connections between the two sides: octets arrive late and in pieces, in order, or not at all.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use stox_core::time::{Entropy, Now, SeededEntropy};
use stox_sip::msrp::endpoint::DialId;
use stox_sip::transport::FlowId;
use stox_sip::ua::UserAgent;

/// Something on its way to one side.
#[derive(Debug)]
enum Parcel {
    Accepted,
    Dialled(DialId, bool),
    Octets(Bytes),
    Written(usize),
    Closed,
}

/// One connection: what goes to each side, in order.
#[derive(Debug)]
struct Connection {
    flow: FlowId,
    ways: [VecDeque<(Duration, Parcel)>; 2],
    /// How many sides have seen its end.
    closed: u8,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Wires {
    connections: Vec<Connection>,
    last_flow: u64,
    /// Of 100 dials so many fail.
    bad: u64,
}

impl Wires {
    pub(crate) fn new(bad: u64) -> Self {
        Self {
            bad,
            ..Self::default()
        }
    }

    /// How many connections were opened.
    pub(crate) fn opened(&self) -> u64 {
        self.last_flow
    }

    /// Takes what a side says. `true`: there was something.
    pub(crate) fn hears(
        &mut self,
        side: usize,
        ua: &mut UserAgent,
        now: Now,
        chance: &mut SeededEntropy,
    ) -> bool {
        let mut any = false;
        while let Some(dial) = ua.poll_msrp_dial() {
            any = true;
            let works = chance.next_u64() % 100 >= self.bad;
            self.last_flow += 1;
            let flow = FlowId(self.last_flow);
            let mut connection = Connection {
                flow,
                ways: [VecDeque::new(), VecDeque::new()],
                closed: if works { 0 } else { 2 },
            };
            if works {
                connection.push(1 - side, Parcel::Accepted, now, chance);
            }
            connection.push(side, Parcel::Dialled(dial.id, works), now, chance);
            self.connections.push(connection);
        }
        while let Some((flow, octets)) = ua.poll_msrp_transmit() {
            any = true;
            if let Some(connection) = self.find(flow) {
                connection.push(side, Parcel::Written(octets.len()), now, chance);
                let cut = usize::try_from(chance.next_u64()).unwrap_or(0) % (octets.len() + 1);
                let (first, second) = (octets.slice(..cut), octets.slice(cut..));
                for piece in [first, second] {
                    if !piece.is_empty() {
                        connection.push(1 - side, Parcel::Octets(piece), now, chance);
                    }
                }
            }
        }
        while let Some(flow) = ua.poll_msrp_close() {
            any = true;
            if let Some(connection) = self.find(flow) {
                for side in [0, 1] {
                    connection.push(side, Parcel::Closed, now, chance);
                }
            }
        }
        any
    }

    fn find(&mut self, flow: FlowId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|known| known.flow == flow)
    }

    /// When the next thing arrives.
    pub(crate) fn next(&self) -> Option<Duration> {
        let ways = self.connections.iter().flat_map(|known| &known.ways);
        ways.filter_map(|way| way.front()).map(|(at, _)| *at).min()
    }

    /// Gives a side what has arrived for it.
    pub(crate) fn arrives(&mut self, side: usize, ua: &mut UserAgent, now: Now) {
        for connection in &mut self.connections {
            let flow = connection.flow;
            while let Some(way) = connection.ways.get_mut(side)
                && way.front().is_some_and(|(at, _)| *at <= now.mono)
                && let Some((_, parcel)) = way.pop_front()
            {
                match parcel {
                    Parcel::Accepted => ua.msrp_accepted(flow, false, None, now),
                    Parcel::Dialled(id, works) => ua.msrp_dialled(id, works.then_some(flow), now),
                    Parcel::Octets(octets) => ua.msrp_received(flow, &octets, now),
                    Parcel::Written(octets) => ua.msrp_written(flow, octets, now),
                    Parcel::Closed => {
                        ua.msrp_closed(flow, now);
                        way.clear();
                        connection.closed += 1;
                    }
                }
            }
        }
    }

    /// Forgets connections of which nothing more comes.
    pub(crate) fn tidy(&mut self) {
        self.connections
            .retain(|known| known.closed < 2 || known.ways.iter().any(|way| !way.is_empty()));
    }

    /// All connections break: what is on its way is lost, and both ends see it.
    pub(crate) fn cuts(&mut self, sides: [&mut UserAgent; 2], now: Now) {
        let broken = std::mem::take(&mut self.connections);
        let [left, right] = sides;
        for connection in broken {
            for (ua, way) in [&mut *left, &mut *right].into_iter().zip(connection.ways) {
                let dials = way.iter().find_map(|(_, parcel)| match parcel {
                    Parcel::Dialled(id, _) => Some(*id),
                    _ => None,
                });
                match dials {
                    Some(id) => ua.msrp_dialled(id, None, now),
                    None => ua.msrp_closed(connection.flow, now),
                }
            }
        }
    }
}

impl Connection {
    fn push(&mut self, side: usize, parcel: Parcel, now: Now, chance: &mut SeededEntropy) {
        let delay = Duration::from_millis(1 + chance.next_u64() % 300);
        if let Some(way) = self.ways.get_mut(side) {
            let last = way.back().map_or(Duration::ZERO, |(at, _)| *at);
            way.push_back(((now.mono + delay).max(last), parcel));
        }
    }
}
