//! What holds for any octets; shared by the tests and the fuzz targets.

pub(crate) mod conference_info;
pub(crate) mod message;
pub(crate) mod presence;
pub(crate) mod sdp;
pub(crate) mod styled;
