//! Signing in (RFC 6120 §6): which mechanism, what it says, and why it fails.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use minidom::Element;
use thiserror::Error;
use zeroize::Zeroizing;

use super::scram::{Binding, KeyRequest, SaltedPassword, Scram, ScramHash};
use crate::stream::error::peer_text;
use crate::stream::{ns, sasl, write::Markup};

/// The offered kinds of channel binding (XEP-0440).
const CHANNEL_BINDINGS: &str = "urn:xmpp:sasl-cb:0";
/// The one that we have.
const EXPORTER: &str = "tls-exporter";

/// A password, wiped from memory when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    given: Zeroizing<String>,
    prepared: Zeroizing<String>,
}

/// A password that no server can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it is empty, or holds characters that no password may have (RFC 4013)")]
pub struct PasswordError;

impl Password {
    /// As a person typed it.
    ///
    /// # Errors
    /// SASLprep (RFC 4013) does not take it.
    pub fn new(password: &str) -> Result<Self, PasswordError> {
        let prepared = stringprep::saslprep(password).map_err(|_| PasswordError)?;
        if prepared.is_empty() {
            return Err(PasswordError);
        }
        Ok(Self {
            prepared: Zeroizing::new(prepared.into_owned()),
            given: Zeroizing::new(password.to_owned()),
        })
    }

    pub(super) fn prepared(&self) -> &str {
        &self.prepared
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Why a server and we do not come together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoginFault {
    /// The server refuses the name or the password, or has closed the account (its condition).
    #[error("the server refuses the login ({0})")]
    Refused(String),
    /// The server cannot say now, or something in between went wrong (its condition).
    #[error("the server cannot check the login now ({0})")]
    NotNow(String),
    /// Nothing that it offers will do.
    #[error("the server offers no way of signing in that is used (it offers: {offered})")]
    NoMechanism {
        /// What it offers.
        offered: String,
        /// PLAIN is among it, and was not allowed.
        plain: bool,
    },
    /// So many iterations are too few to be safe, or too many to be computed.
    #[error("the server asks for {0} SCRAM iterations; 4096 to 500000 are computed")]
    Iterations(u64),
    /// The server's last message does not show that it knows the password.
    #[error("the server does not prove that it knows the password")]
    ServerProof,
    /// It breaks the rules of the exchange.
    #[error("the exchange with the server is broken: {0}")]
    Exchange(&'static str),
    /// It gives us no address (RFC 6120 §7; its condition).
    #[error("the server gives the session no address ({0})")]
    Bind(String),
}

/// Conditions that another attempt does not mend (RFC 6120 §6.5).
const LASTING: [&str; 6] = [
    "account-disabled",
    "credentials-expired",
    "encryption-required",
    "invalid-authzid",
    "mechanism-too-weak",
    "not-authorized",
];

impl LoginFault {
    fn of_failure(element: &Element) -> Self {
        let words = sasl::failure_words(element);
        let lasting = element
            .children()
            .any(|child| LASTING.contains(&child.name()));
        if lasting {
            Self::Refused(words)
        } else {
            Self::NotNow(words)
        }
    }

    /// Whether a person has to do something.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        !matches!(self, Self::NotNow(_) | Self::Exchange(_) | Self::Bind(_))
    }
}

/// What an exchange does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Write this.
    Write(String),
    /// Have this computed, and come back with [`Login::derived`].
    Derive(KeyRequest),
    /// Signed in.
    Done,
}

enum Mechanism {
    Scram(Scram),
    Plain(Zeroizing<String>),
}

/// One attempt to sign in.
pub(super) struct Login {
    name: &'static str,
    mechanism: Mechanism,
}

/// Who signs in, and how he may.
#[derive(Debug, Clone, Copy)]
pub(super) struct Who<'a> {
    pub(super) user: &'a str,
    pub(super) password: &'a Password,
    pub(super) plain: bool,
}

impl Login {
    /// The best of what the features offer. `exporter`: what the connection can be bound to.
    pub(super) fn choose(
        features: &Element,
        who: Who<'_>,
        exporter: Option<Zeroizing<Vec<u8>>>,
        nonce: String,
    ) -> Result<Self, LoginFault> {
        let offered: Vec<String> = features
            .get_child("mechanisms", ns::SASL)
            .into_iter()
            .flat_map(Element::children)
            .filter(|child| child.is("mechanism", ns::SASL))
            .map(|child| child.text().trim().to_owned())
            .collect();
        let offers = |name: &str| offered.iter().any(|known| known == name);
        let bound = exporter.filter(|_| binds_to_exporter(features));
        let has_plus = offered.iter().any(|name| name.ends_with("-PLUS"));
        // Said only where the server seems to have no such mechanism at all: one that has takes it for an attack.
        let unbound = if has_plus {
            Binding::None
        } else {
            Binding::ServerHasNone
        };
        let user = stringprep::saslprep(who.user).unwrap_or(who.user.into());
        let scram =
            |hash, binding| Mechanism::Scram(Scram::new(hash, binding, &user, nonce.clone()));
        let table = [
            ("SCRAM-SHA-256-PLUS", ScramHash::Sha256, true),
            ("SCRAM-SHA-1-PLUS", ScramHash::Sha1, true),
            ("SCRAM-SHA-256", ScramHash::Sha256, false),
            ("SCRAM-SHA-1", ScramHash::Sha1, false),
        ];
        for (name, hash, plus) in table {
            let binding = match (plus, &bound) {
                (true, Some(data)) => Binding::Exporter(data.clone()),
                (true, None) => continue,
                (false, _) => unbound.clone(),
            };
            if offers(name) {
                let mechanism = scram(hash, binding);
                return Ok(Self { name, mechanism });
            }
        }
        if offers("PLAIN") && who.plain {
            let text = format!("\0{user}\0{}", &*who.password.given);
            let mechanism = Mechanism::Plain(Zeroizing::new(text));
            let name = "PLAIN";
            return Ok(Self { name, mechanism });
        }
        Err(LoginFault::NoMechanism {
            plain: offers("PLAIN"),
            offered: peer_text(&offered.join(" ")),
        })
    }

    /// `<auth/>`.
    pub(super) fn begin(&self) -> String {
        let first = match &self.mechanism {
            Mechanism::Scram(scram) => BASE64_STANDARD.encode(scram.first()),
            Mechanism::Plain(text) => BASE64_STANDARD.encode(text.as_bytes()),
        };
        let mut out = Markup::new();
        out.open("auth")
            .attribute("xmlns", ns::SASL)
            .attribute("mechanism", self.name)
            .text(&first)
            .close();
        out.finish()
    }

    /// An element of the server's.
    pub(super) fn receive(&mut self, element: &Element) -> Result<Move, LoginFault> {
        if element.name() == "failure" {
            return Err(LoginFault::of_failure(element));
        }
        let data = BASE64_STANDARD.decode(element.text().trim()).ok();
        let text = data.and_then(|data| String::from_utf8(data).ok());
        match (element.name(), &mut self.mechanism) {
            ("success", Mechanism::Plain(_)) => Ok(Move::Done),
            ("success", Mechanism::Scram(scram)) => {
                if !scram.is_proved() {
                    scram.verify(text.as_deref().unwrap_or_default())?;
                }
                Ok(Move::Done)
            }
            ("challenge", Mechanism::Scram(scram)) => {
                let text = text.ok_or(LoginFault::Exchange("an unreadable challenge"))?;
                if text.starts_with("v=") || text.starts_with("e=") {
                    scram.verify(&text)?;
                    return Ok(Move::Write(response("")));
                }
                scram.challenged(&text).map(Move::Derive)
            }
            _ => Err(LoginFault::Exchange("something that was not asked for")),
        }
    }

    /// The answer to [`Move::Derive`].
    pub(super) fn derived(&mut self, key: &SaltedPassword) -> Result<String, LoginFault> {
        match &mut self.mechanism {
            Mechanism::Scram(scram) => scram.last(key).map(|text| response(&text)),
            Mechanism::Plain(_) => Err(LoginFault::Exchange("nothing was to be computed")),
        }
    }
}

fn binds_to_exporter(features: &Element) -> bool {
    let offered = features.get_child("sasl-channel-binding", CHANNEL_BINDINGS);
    offered.is_some_and(|offered| {
        let mut kinds = offered.children();
        kinds.any(|kind| kind.name() == "channel-binding" && kind.attr("type") == Some(EXPORTER))
    })
}

fn response(text: &str) -> String {
    let mut out = Markup::new();
    out.open("response").attribute("xmlns", ns::SASL);
    if !text.is_empty() {
        out.text(&BASE64_STANDARD.encode(text));
    }
    out.close();
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(mechanisms: &str, binding: &str) -> Element {
        let list: String = mechanisms
            .split_whitespace()
            .map(|name| format!("<mechanism>{name}</mechanism>"))
            .collect();
        let binding = if binding.is_empty() {
            String::new()
        } else {
            format!(
                "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='{binding}'/></sasl-channel-binding>"
            )
        };
        format!(
            "<features xmlns='http://etherx.jabber.org/streams'><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{list}\
             </mechanisms>{binding}</features>"
        )
        .parse()
        .unwrap()
    }

    fn begin(
        features: &Element,
        plain: bool,
        exporter: bool,
    ) -> Result<(String, String), LoginFault> {
        let password = Password::new("secret").unwrap();
        let who = Who {
            user: "romeo",
            password: &password,
            plain,
        };
        let exporter = exporter.then(|| Zeroizing::new(vec![7; 32]));
        let login = Login::choose(features, who, exporter, "abc".to_owned())?;
        let element: Element = login.begin().parse().unwrap();
        let first = String::from_utf8(BASE64_STANDARD.decode(element.text()).unwrap()).unwrap();
        Ok((element.attr("mechanism").unwrap().to_owned(), first))
    }

    #[test]
    fn takes_the_best_mechanism() {
        const ALL: &str =
            "PLAIN SCRAM-SHA-1 SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-256-PLUS EXTERNAL";
        let cases = [
            (
                ALL,
                "tls-exporter",
                true,
                "SCRAM-SHA-256-PLUS",
                "p=tls-exporter,,n=romeo,r=abc",
            ),
            (
                ALL,
                "tls-exporter",
                false,
                "SCRAM-SHA-256",
                "n,,n=romeo,r=abc",
            ),
            (ALL, "tls-unique", true, "SCRAM-SHA-256", "n,,n=romeo,r=abc"),
            (ALL, "", true, "SCRAM-SHA-256", "n,,n=romeo,r=abc"),
            (
                "SCRAM-SHA-1-PLUS SCRAM-SHA-256",
                "tls-exporter",
                true,
                "SCRAM-SHA-1-PLUS",
                "p=tls-exporter,,n=romeo,r=abc",
            ),
            (
                "PLAIN SCRAM-SHA-1",
                "",
                true,
                "SCRAM-SHA-1",
                "y,,n=romeo,r=abc",
            ),
        ];
        for (offered, binding, exporter, mechanism, first) in cases {
            let chosen = begin(&features(offered, binding), true, exporter).unwrap();
            assert_eq!(
                chosen,
                (mechanism.to_owned(), first.to_owned()),
                "{offered} {binding}"
            );
        }
    }

    #[test]
    fn shows_the_password_only_where_that_is_allowed() {
        let offer = features("PLAIN DIGEST-MD5", "");
        assert_eq!(
            begin(&offer, true, true).unwrap(),
            ("PLAIN".to_owned(), "\0romeo\0secret".to_owned())
        );
        let fault = begin(&offer, false, true).unwrap_err();
        assert_eq!(
            fault,
            LoginFault::NoMechanism {
                offered: "PLAIN DIGEST-MD5".to_owned(),
                plain: true
            }
        );
        assert!(fault.is_lasting());
        assert!(begin(&features("", ""), true, true).is_err());
    }

    #[test]
    fn tells_what_lasts() {
        let cases = [
            ("<not-authorized/>", true),
            ("<account-disabled/><text>ask us</text>", true),
            ("<temporary-auth-failure/>", false),
            ("", false),
        ];
        for (condition, lasting) in cases {
            let failure =
                format!("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{condition}</failure>");
            let fault = LoginFault::of_failure(&failure.parse().unwrap());
            assert_eq!(fault.is_lasting(), lasting, "{condition}");
        }
    }

    #[test]
    fn a_password_is_prepared_and_never_shown() {
        assert_eq!(Password::new("\u{aa}I\u{ad}X").unwrap().prepared(), "aIX");
        assert!(Password::new("").is_err());
        assert!(Password::new("a\u{7}").is_err());
        assert_eq!(
            format!("{:?}", Password::new("secret").unwrap()),
            "Password(..)"
        );
    }
}
