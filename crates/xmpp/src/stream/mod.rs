//! Server-to-server streams (RFC 6120, XEP-0220) as sans-IO machines.

pub mod domain;
pub mod error;
pub mod features;
pub mod header;
pub mod limits;
pub mod ns;
pub(crate) mod write;
pub mod xml;
