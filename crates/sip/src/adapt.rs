//! Where SIP's words meet the gateway's own: pure, total functions with typed errors.

pub mod im;
pub mod presence;
