//! What the network is asked for: names, and encryption.

pub mod dane;
pub mod discovery;
pub mod dns;
pub mod expiry;
mod legacy_tls;
pub mod lookup;
pub mod msrp_tls;
pub mod own_certificate;
pub mod peer_certificate;
pub mod posh;
pub(crate) mod public_address;
mod recall;
pub mod sip_identity;
pub mod sip_tls;
#[cfg(test)]
pub(crate) mod test_settings;
pub mod tls;
pub mod warnings;
