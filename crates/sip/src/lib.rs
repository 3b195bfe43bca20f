//! SIP SIMPLE as sans-IO machines.

pub mod adapt;
pub mod body;
pub(crate) mod deadlines;
pub mod dialect;
pub mod dialog;
pub mod digest;
pub mod framing;
pub(crate) mod grammar;
pub mod header;
pub mod message;
pub mod method;
pub mod msrp;
pub mod parse;
pub mod target;
pub mod transaction;
pub mod transport;
pub mod ua;
pub mod uri;
pub mod validate;
