//! The Message Session Relay Protocol of a session endpoint (RFC 4975), with nicknames (RFC 7701 §7) and the client side
//! of relays (RFC 4976). Nothing here knows SIP or session descriptions.

pub mod endpoint;
pub mod frame;
pub mod framer;
pub mod ident;
mod reassembly;
pub mod uri;
