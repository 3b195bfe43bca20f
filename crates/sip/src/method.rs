//! Request methods (RFC 3261 §7.1 and its extensions).

use std::fmt;

use crate::grammar::is_token;

/// A method name. Case-sensitive; any token is a method.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Method(Name);

macro_rules! methods {
    ($($name:ident $variant:ident $source:literal),+ $(,)?) => {
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        enum Name { $($variant,)+ Other(Box<str>) }

        impl Method {
            $(#[doc = concat!("`", stringify!($name), "` (", $source, ")")]
            pub const $name: Self = Self(Name::$variant);)+

            /// Every method that this gateway knows by name, whether it serves it or not.
            pub const KNOWN: &[Self] = &[$(Self::$name),+];

            /// The name as it stands in a start line.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match &self.0 {
                    $(Name::$variant => stringify!($name),)+
                    Name::Other(name) => name,
                }
            }

            /// Reads a method name. `None` when it is not a token.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($name) => Some(Self::$name),)+
                    _ if is_token(name) => Some(Self(Name::Other(name.into()))),
                    _ => None,
                }
            }
        }
    };
}

methods! {
    INVITE Invite "RFC 3261",
    ACK Ack "RFC 3261",
    BYE Bye "RFC 3261",
    CANCEL Cancel "RFC 3261",
    OPTIONS Options "RFC 3261",
    REGISTER Register "RFC 3261",
    MESSAGE Message "RFC 3428",
    SUBSCRIBE Subscribe "RFC 6665",
    NOTIFY Notify "RFC 6665",
    PUBLISH Publish "RFC 3903",
    INFO Info "RFC 6086",
    UPDATE Update "RFC 3311",
    REFER Refer "RFC 3515",
    PRACK Prack "RFC 3262",
    BENOTIFY Benotify "best-effort NOTIFY of Communications Server, never answered",
    SERVICE Service "contact and policy services of Communications Server",
}

impl Method {
    /// A method that this gateway knows by name, so that refusing it says 405 and not 501 (RFC 3261 §8.2.1).
    #[must_use]
    pub fn is_known(&self) -> bool {
        !matches!(self.0, Name::Other(_))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_case_matters() {
        for method in Method::KNOWN {
            assert_eq!(Method::parse(method.as_str()).as_ref(), Some(method));
            assert!(method.is_known());
        }
        let lower = Method::parse("message").unwrap();
        assert_ne!(lower, Method::MESSAGE);
        assert!(!lower.is_known());
        assert_eq!(lower.as_str(), "message");
        assert_eq!(Method::parse("A B"), None);
        assert_eq!(Method::parse(""), None);
    }
}
