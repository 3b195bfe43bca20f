//! Streams between servers (RFC 6120, XEP-0220), to a server of which we are a component (XEP-0114), and to the server of
//! an account (RFC 6120, XEP-0198), as sans-IO machines.
//!
//! [`InboundStream`] sits on a connection that was accepted, [`OutboundStream`] on one that was dialled, and
//! [`ComponentStream`] on one that was dialled to the component port of a server, and [`ClientStream`] on one to the
//! clients' port. They take octets and the time, and are
//! polled for [`StreamCommand`]s until there are none, and for their next time-out.

mod acks;
mod carrier;
mod client;
mod component;
pub mod domain;
pub mod error;
pub mod features;
pub mod header;
mod inbound;
pub mod limits;
pub mod ns;
mod outbound;
pub mod rule;
mod sasl;
#[cfg(test)]
mod tests;
pub(crate) mod write;
pub mod xml;

use bytes::Bytes;

pub use acks::StanzaNumber;
pub use client::{
    ClientEvent, ClientSettings, ClientStream, KeyRequest, LoginFault, Password, PasswordError,
    SaltedPassword, SendError, Session,
};
pub use component::{ComponentEvent, ComponentSecret, ComponentSettings, ComponentStream, Odd};
pub use domain::DomainPair;
pub use error::{CloseReason, Step, StreamCondition, StreamError};
pub use inbound::{ClaimRefusal, InboundEvent, InboundSettings, InboundStream, Proof, VerifyId};
pub use limits::{Limits, Timing};
pub use outbound::{
    NotReady, OutboundEvent, OutboundSettings, OutboundStream, PairError, VerifyError,
    VerifyRequest,
};
pub use rule::{CertificateRule, ExternalRule, PartnerRule, PartnerRules, TlsRule};

/// What the owner of the connection has to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamCommand<E> {
    /// Send these octets.
    Write(Bytes),
    /// Send all that was written, then shake hands: as TLS client on a dialled, as server on an accepted
    /// connection. Octets read in clear behind this point go to `receive`, which ends the stream.
    StartTls,
    /// Send all that was written, then close the connection. The last command.
    Close,
    /// Take note.
    Event(E),
}

/// What a finished TLS handshake has shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsInfo {
    /// The names in the peer's certificate that may name an XMPP server, when its chain and dates are valid for
    /// us; a leading `*.` stands for one label. Empty without a valid certificate.
    pub valid_names: Vec<String>,
    /// For the administrator: why the chain, or its names, do not count, and what to do. `None` where they do.
    pub distrust: Option<String>,
}

impl TlsInfo {
    /// Whether the certificate speaks for this domain, which is in its normal form (RFC 9525 §6.3: a wildcard is
    /// the whole left-most label).
    #[must_use]
    pub fn is_valid_for(&self, domain: &str) -> bool {
        let parent = domain.split_once('.').map(|(_, parent)| parent);
        self.valid_names
            .iter()
            .any(|name| match name.strip_prefix("*.") {
                Some(name) => parent.is_some() && domain::normal_domain(name).as_deref() == parent,
                None => domain::normal_domain(name).as_deref() == Some(domain),
            })
    }

    /// Why the certificate does not speak for this domain: words for the administrator.
    #[must_use]
    pub fn why_not_valid_for(&self, domain: &str) -> String {
        match &self.distrust {
            Some(why) => why.clone(),
            None if self.valid_names.is_empty() => "no valid certificate was shown".to_owned(),
            None => format!(
                "it is for {}, not for {domain}",
                self.valid_names.join(", ")
            ),
        }
    }
}
