//! The bodies that SIP carries for us, as plain values: presence documents, texts, multiparts, CPIM, typing and
//! delivery notifications. Nothing here looks at SIP headers.

pub mod cpim;
pub mod html;
pub mod imdn;
pub mod iscomposing;
pub mod multipart;
pub mod pidf;
pub mod sdp;
pub mod text;
pub mod time;
pub mod tuple_id;
pub mod xml;
