//! Header fields: the list as it stands in a message, and the values that the gateway reads and writes.

mod date;
mod diagnostics;
mod fields;
mod name_addr;
mod params;
mod refer;
mod values;
mod via;

pub use date::SipDate;
pub use diagnostics::Diagnostic;
pub(crate) use fields::LineDefect;
pub use fields::{Field, Headers};
pub use name_addr::{Contact, NameAddr};
pub use params::Params;
pub use refer::{ReferSub, ReferTo};
pub use values::{
    CSeq, Event, MediaType, SubscriptionState, parse_max_forwards, parse_retry_after, parse_u32,
};
pub use via::{MAGIC_COOKIE, Via};

use crate::uri::UriError;

/// Why a header value could not be read. Its sender is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// There is no such header field.
    #[error("header field missing")]
    Missing,
    /// An empty or malformed parameter, or too many of them.
    #[error("malformed header parameter")]
    Param,
    /// Unbalanced quotes or brackets, or characters that must be quoted.
    #[error("malformed address")]
    NameAddr,
    /// The URI in an address.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// A `Via` value.
    #[error("malformed Via")]
    Via,
    /// A sequence number or its method.
    #[error("malformed CSeq")]
    CSeq,
    /// A media type.
    #[error("malformed media type")]
    MediaType,
    /// An event package.
    #[error("malformed event package")]
    Event,
    /// A subscription state.
    #[error("malformed subscription state")]
    SubscriptionState,
    /// A number that is none or out of range.
    #[error("malformed number")]
    Number,
    /// A date that is none, or not GMT.
    #[error("malformed date")]
    Date,
}

/// A value with a grammar of its own. `Display` writes what `parse` reads.
pub trait HeaderValue: Sized {
    /// Reads one value, as [`Headers::values`] or [`Headers::get`] return it.
    ///
    /// # Errors
    /// [`HeaderError`] where the value does not follow the grammar.
    fn parse(text: &str) -> Result<Self, HeaderError>;
}

/// The values that most code asks for.
impl Headers {
    fn one<T: HeaderValue>(&self, name: &str) -> Result<T, HeaderError> {
        T::parse(self.get(name).ok_or(HeaderError::Missing)?)
    }

    fn maybe<T: HeaderValue>(&self, name: &str) -> Result<Option<T>, HeaderError> {
        self.get(name).map(T::parse).transpose()
    }

    /// `From`.
    ///
    /// # Errors
    /// [`HeaderError::Missing`], or what is wrong with it.
    pub fn from(&self) -> Result<NameAddr, HeaderError> {
        self.one("From")
    }

    /// `To`.
    ///
    /// # Errors
    /// [`HeaderError::Missing`], or what is wrong with it.
    pub fn to(&self) -> Result<NameAddr, HeaderError> {
        self.one("To")
    }

    /// `CSeq`.
    ///
    /// # Errors
    /// [`HeaderError::Missing`], or what is wrong with it.
    pub fn cseq(&self) -> Result<CSeq, HeaderError> {
        self.one("CSeq")
    }

    /// `Call-ID`, as it stands.
    #[must_use]
    pub fn call_id(&self) -> Option<&str> {
        self.get("Call-ID")
    }

    /// The first `Via` value: whoever sent this message last.
    ///
    /// # Errors
    /// [`HeaderError::Missing`], or what is wrong with it.
    pub fn top_via(&self) -> Result<Via, HeaderError> {
        Via::parse(self.values("Via").next().ok_or(HeaderError::Missing)?)
    }

    /// Every `Contact` value.
    ///
    /// # Errors
    /// What is wrong with the first malformed one.
    pub fn contacts(&self) -> Result<Vec<Contact>, HeaderError> {
        self.values("Contact").map(Contact::parse).collect()
    }

    /// The first address in `Contact`.
    ///
    /// # Errors
    /// [`HeaderError::Missing`], or what is wrong with it.
    pub fn contact(&self) -> Result<NameAddr, HeaderError> {
        match Contact::parse(self.values("Contact").next().ok_or(HeaderError::Missing)?)? {
            Contact::Address(address) => Ok(address),
            Contact::Any => Err(HeaderError::NameAddr),
        }
    }

    /// Every address of `Route`, `Record-Route` or another list of addresses.
    ///
    /// # Errors
    /// What is wrong with the first malformed one.
    pub fn addresses(&self, name: &str) -> Result<Vec<NameAddr>, HeaderError> {
        self.values(name).map(NameAddr::parse).collect()
    }

    /// `Content-Type`, if there is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn content_type(&self) -> Result<Option<MediaType>, HeaderError> {
        self.maybe("Content-Type")
    }

    /// `Event`, if there is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn event(&self) -> Result<Option<Event>, HeaderError> {
        self.maybe("Event")
    }

    /// `Subscription-State`, if there is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn subscription_state(&self) -> Result<Option<SubscriptionState>, HeaderError> {
        self.maybe("Subscription-State")
    }

    /// `Date`, if there is one. RFC 4475 §3.1.2.12: a wrong one is no reason to refuse a message.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn date(&self) -> Result<Option<SipDate>, HeaderError> {
        self.maybe("Date")
    }

    /// `Expires`, in seconds.
    ///
    /// # Errors
    /// [`HeaderError::Number`].
    pub fn expires(&self) -> Result<Option<u32>, HeaderError> {
        self.get("Expires").map(parse_u32).transpose()
    }

    /// `Min-Expires`, in seconds.
    ///
    /// # Errors
    /// [`HeaderError::Number`].
    pub fn min_expires(&self) -> Result<Option<u32>, HeaderError> {
        self.get("Min-Expires").map(parse_u32).transpose()
    }

    /// `Retry-After`, in seconds.
    ///
    /// # Errors
    /// [`HeaderError::Number`].
    pub fn retry_after(&self) -> Result<Option<u32>, HeaderError> {
        self.get("Retry-After").map(parse_retry_after).transpose()
    }

    /// `Max-Forwards`, if there is one.
    ///
    /// # Errors
    /// [`HeaderError::Number`] for anything but 0 to 255.
    pub fn max_forwards(&self) -> Result<Option<u8>, HeaderError> {
        self.get("Max-Forwards").map(parse_max_forwards).transpose()
    }

    /// A list of tokens such as `Supported`, `Require` or `Allow` names this one, in any case.
    #[must_use]
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.values(name)
            .any(|value| value.eq_ignore_ascii_case(token))
    }
}
