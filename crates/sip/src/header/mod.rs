//! Header fields: the list as it stands in a message, and the values that the gateway reads and writes.

mod fields;

pub(crate) use fields::LineDefect;
pub use fields::{Field, Headers};
