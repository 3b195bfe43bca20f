//! What conversations have shown of their two sides. It outlives neither the process nor its bounds.

use std::time::Duration;

use super::recent::{Limits, Recent};
use crate::address::{Jid, SipAddress};
use crate::time::Now;
use crate::vocab::{Im, ImKind};

/// How long a client that has shown chat states is taken to understand them.
pub(in crate::bridge) const STATES_KEPT: Duration = Duration::from_secs(24 * 3600);
/// How long a device of a SIP user is written to after a message from it.
pub(in crate::bridge) const DEVICE_KEPT: Duration = Duration::from_secs(3600);

const STATES: Limits = Limits {
    kept: STATES_KEPT,
    values: 100_000,
    of_owner: 1000,
};

const DEVICES: Limits = Limits {
    kept: DEVICE_KEPT,
    values: 100_000,
    of_owner: 1000,
};

/// See the module's text. Users are bare and canonical, the SIP ones as JIDs.
pub(super) struct Seen {
    /// XMPP users whose clients have shown chat states to a SIP user.
    states: Recent<Jid, Jid, ()>,
    /// Devices of a SIP user, by resource and by the XMPP user whom they wrote to, with their `gr`.
    devices: Recent<Jid, (String, Jid), String>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            states: Recent::new(STATES),
            devices: Recent::new(DEVICES),
        }
    }
}

impl Seen {
    /// A message or a chat state from an XMPP user. Who answers without a chat state has shown that her client knows
    /// none (XEP-0085 §5.1).
    pub(super) fn xmpp_wrote(&mut self, (from, to): (&Jid, &Jid), im: &Im, now: Now) {
        let (xmpp, sip) = (user(from), user(to));
        if im.chat_state.is_some() {
            self.states.insert(&xmpp, &sip, (), now);
        } else if im.kind == ImKind::Chat {
            self.states.remove(&xmpp, &sip);
        }
    }

    /// Whether an XMPP user may be told alone what a SIP user is doing (XEP-0085 §5.1).
    pub(super) fn takes_states(&self, xmpp: &Jid, sip: &Jid, now: Now) -> bool {
        self.states.get(&user(xmpp), &user(sip), now).is_some()
    }

    /// A message from a SIP user's device that has named itself.
    pub(super) fn sip_wrote(&mut self, from: &SipAddress, (sip, xmpp): (&Jid, &Jid), now: Now) {
        if let (Some(gr), Some(key)) = (&from.gr, device(sip, xmpp)) {
            self.devices.insert(&user(sip), &key, gr.clone(), now);
        }
    }

    /// The `gr` of the device that an XMPP user answers.
    pub(super) fn device(&self, sip: &Jid, xmpp: &Jid, now: Now) -> Option<String> {
        let key = device(sip, xmpp)?;
        self.devices.get(&user(sip), &key, now).cloned()
    }

    /// A message did not reach the device: the next one goes to the user.
    pub(super) fn forget_device(&mut self, sip: &Jid, xmpp: &Jid) {
        if let Some(key) = device(sip, xmpp) {
            self.devices.remove(&user(sip), &key);
        }
    }
}

fn user(jid: &Jid) -> Jid {
    jid.bare().canonical()
}

fn device(sip: &Jid, xmpp: &Jid) -> Option<(String, Jid)> {
    Some((sip.resource.clone()?, user(xmpp)))
}
