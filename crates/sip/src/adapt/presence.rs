//! The body of a NOTIFY and the presence document of the core.

mod read;
mod write;

use crate::body::{categories, msrtc_pidf, pidf, xpidf};
use crate::header::{HeaderValue, Headers, MediaType};

pub use read::{BodyRefused, read, read_after};
pub use write::{PresenceBody, Style, write};

pub(super) use read::first_language;

/// A family of presence documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// `application/pidf+xml` (RFC 3863, RFC 4480).
    Pidf,
    /// `application/msrtc-event-categories+xml`.
    Categories,
    /// `text/xml+msrtc.pidf`.
    MsrtcPidf,
    /// `application/xpidf+xml`.
    Xpidf,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pidf, Self::Categories, Self::MsrtcPidf, Self::Xpidf];

    /// Its media type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Pidf => pidf::CONTENT_TYPE,
            Self::Categories => categories::CONTENT_TYPE,
            Self::MsrtcPidf => msrtc_pidf::CONTENT_TYPE,
            Self::Xpidf => xpidf::CONTENT_TYPE,
        }
    }

    /// The family of a media type.
    fn of(media_type: &MediaType) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|format| super::is_named(media_type, format.content_type()))
    }
}

/// The value of an `Accept` field that asks for these, the best first.
#[must_use]
pub fn accept(formats: &[Format]) -> String {
    let names: Vec<&str> = formats.iter().map(|format| format.content_type()).collect();
    names.join(", ")
}

/// The first of `preference` that the `Accept` fields of a SUBSCRIBE allow, else PIDF if they allow that. No `Accept`
/// at all allows PIDF, the default of the package (RFC 3856 §6.5), an empty one nothing.
///
/// A range such as `application/*` stands for PIDF only: who reads Microsoft's formats names them.
#[must_use]
pub fn choose(headers: &Headers, preference: &[Format]) -> Option<Format> {
    if !headers.contains("Accept") {
        return Some(Format::Pidf);
    }
    let ranges: Vec<MediaType> = headers
        .values("Accept")
        .filter_map(|value| MediaType::parse(value).ok())
        .filter(|range| !is_refused(range))
        .collect();
    let allows = |format: &Format| {
        ranges.iter().any(|range| match format {
            Format::Pidf => range.covers("application", "pidf+xml"),
            _ => Format::of(range) == Some(*format),
        })
    };
    preference
        .iter()
        .chain(&[Format::Pidf])
        .find(|format| allows(format))
        .copied()
}

/// `q=0` (RFC 3261 §20.1).
fn is_refused(range: &MediaType) -> bool {
    let quality = range.params.text("q");
    quality.is_some_and(|q| q.trim().parse::<f32>().is_ok_and(|q| q <= 0.0))
}

/// Whether a SUBSCRIBE comes from a reader of the old form of activities, inside the status of the first tuple
/// (COMPAT(ocs2007r2, lcs2005)): such readers accept Microsoft's own types, whatever is sent to them.
#[must_use]
pub fn reads_old_form(headers: &Headers) -> bool {
    let own = [Format::Categories, Format::MsrtcPidf];
    headers
        .values("Accept")
        .filter_map(|value| MediaType::parse(value).ok())
        .any(|range| Format::of(&range).is_some_and(|format| own.contains(&format)))
}
