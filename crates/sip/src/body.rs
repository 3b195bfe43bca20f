//! The bodies that SIP carries for us, as plain values: presence documents, plain and styled texts, multiparts, CPIM,
//! typing and delivery notifications. Nothing here looks at SIP headers.

pub mod categories;
pub mod coding;
pub mod conference_info;
pub mod cpim;
pub mod document;
pub mod html;
pub mod imdn;
pub mod iscomposing;
pub mod keyboard;
pub mod ms_imdn;
pub mod msgr;
pub mod msrtc_pidf;
pub mod multipart;
pub mod pidf;
pub mod rtf;
pub mod sdp;
pub mod sipfrag;
pub mod styled;
pub mod text;
pub mod time;
pub mod tuple_id;
pub mod xml;
pub mod xpidf;
