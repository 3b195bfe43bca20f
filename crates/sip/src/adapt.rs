//! Where SIP's words meet the gateway's own: pure, total functions with typed errors.

pub mod address;
pub mod diagnostics;
pub mod failure;
pub mod im;
pub mod presence;
pub mod trace;

use crate::header::MediaType;

/// Whether a media type is the one written `type/subtype`.
pub(crate) fn is_named(media_type: &MediaType, name: &str) -> bool {
    name.split_once('/')
        .is_some_and(|(type_, subtype)| media_type.is(type_, subtype))
}
