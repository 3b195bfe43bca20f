//! The MSRP side of the SIP peer: its connections with the gateway, and the answers that it owes.

use std::collections::VecDeque;

use stox_sip::msrp::endpoint::{Dial, Security};
use stox_sip::transport::FlowId;

use crate::msrp_text::MsrpText;
use crate::sip_text::SipText;

/// Where the peer listens.
const HOST: &str = "127.0.0.1";
pub(crate) const PORT: u16 = 7313;

/// One connection.
#[derive(Debug)]
struct Connection {
    flow: FlowId,
    /// What is no whole message yet.
    received: Vec<u8>,
}

/// The peer's connections, the newest last.
#[derive(Debug, Default)]
pub(crate) struct MsrpPeer {
    connections: Vec<Connection>,
    /// Requests of the gateway that wait for an answer, and where they came.
    unanswered: VecDeque<(FlowId, MsrpText)>,
}

impl MsrpPeer {
    /// Whether it takes a connection that the gateway wants.
    pub(crate) fn takes(dial: &Dial) -> bool {
        let target = &dial.target;
        target.host == HOST && target.port == Some(PORT) && dial.security == Security::Plain
    }

    pub(crate) fn opened(&mut self, flow: FlowId) {
        self.connections.push(Connection {
            flow,
            received: Vec::new(),
        });
    }

    pub(crate) fn closed(&mut self, flow: FlowId) {
        self.connections.retain(|open| open.flow != flow);
        self.unanswered.retain(|(over, _)| *over != flow);
    }

    /// The connection that it writes to.
    pub(crate) fn flow(&self) -> Option<FlowId> {
        self.connections.last().map(|open| open.flow)
    }

    /// Octets of the gateway's came: what is whole now.
    pub(crate) fn receive(&mut self, flow: FlowId, octets: &[u8]) -> Result<Vec<MsrpText>, String> {
        let mut connections = self.connections.iter_mut();
        let Some(connection) = connections.find(|open| open.flow == flow) else {
            return Err("the gateway writes to an MSRP connection that is closed".to_owned());
        };
        connection.received.extend_from_slice(octets);
        let mut whole = Vec::new();
        while let Some(message) = MsrpText::take(&mut connection.received)? {
            let answers =
                message.method() == Some("SEND") && message.header("Failure-Report") != Some("no");
            if answers {
                self.unanswered.push_back((flow, message.clone()));
            }
            whole.push(message);
        }
        Ok(whole)
    }

    /// The next answer that it owes.
    pub(crate) fn answer(&mut self) -> Option<(FlowId, String)> {
        let (flow, request) = self.unanswered.pop_front()?;
        Some((flow, request.answer("200 OK")))
    }
}

/// What the peer answers an offer of a session with; `None` where it is none.
pub(crate) fn description(invite: &SipText) -> Option<String> {
    let offer = String::from_utf8_lossy(&invite.body);
    let media = offer.lines().find_map(|line| line.strip_prefix("m="))?;
    let answer = match media.split(' ').nth(2)? {
        "TCP/MSRP" => {
            format!(
                "m=message {PORT} TCP/MSRP *\r\na=accept-types:text/plain\r\na=setup:passive\r\n\
                 a=path:msrp://{HOST}:{PORT}/peer5;tcp\r\n"
            )
        }
        "sip" => {
            "m=message 5060 sip sip:bruno@ocs.example\r\na=accept-types:text/plain\r\n".to_owned()
        }
        _ => return None,
    };
    Some(format!(
        "v=0\r\no=- 0 0 IN IP4 {HOST}\r\ns=session\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n{answer}"
    ))
}
