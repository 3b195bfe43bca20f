//! The book of contacts: who watches whom.

use crate::address::{Jid, SipAddress};

/// An XMPP user and a SIP user, both bare and canonical.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ContactKey {
    pub(super) xmpp: Jid,
    pub(super) sip: SipAddress,
}
