//! The meaning of the gateway: addresses, presence, instant messages, subscriptions and outcomes.
//!
//! Nothing here knows SIP or XML syntax, sockets, clocks or randomness. The [`bridge::Bridge`] takes an
//! [`vocab::Input`] and the time, and is polled for [`vocab::Command`]s and for its next timeout.

pub mod address;
pub mod bridge;
pub mod failure;
pub mod policy;
pub mod presence;
pub mod quiet;
pub mod rates;
pub mod room;
pub mod subscription;
pub mod time;
pub mod vocab;
