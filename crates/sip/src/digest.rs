//! Answers to digest challenges (RFC 3261 §22, RFC 7616, RFC 8760).
//!
//! A password answers a challenge only when the realm is its own and the request went to its own domain. Every nonce is
//! used once, so that no count of uses has to be kept.

use std::fmt;

use sha2::{Digest as _, Sha256, Sha512_256};
use stox_core::time::Entropy;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use crate::grammar::{quote, split_outside, trim, unquote};
use crate::header::Headers;
use crate::message::{Request, Response};

/// A user name and password, and where they may be used. The password is wiped from memory when this is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The SIP domain whose challenges are answered, in any case. No other domain sees an answer.
    pub domain: String,
    /// The realm, compared to the octet.
    pub realm: String,
    /// The user name there.
    pub username: String,
    /// The password.
    pub password: String,
    /// An answer may also go without TLS to servers that the domain's addresses do not list.
    pub over_plain: bool,
}

impl Drop for Credential {
    fn drop(&mut self) {
        self.password.zeroize();
    }
}

impl fmt::Debug for Credential {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("domain", &self.domain)
            .field("realm", &self.realm)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Why a challenge is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum DigestError {
    /// The response is no challenge, or none that can be read. The peer is at fault.
    #[error("no readable digest challenge")]
    NoChallenge,
    /// Only algorithms or protections that we do not offer. We have MD5, SHA-256 and SHA-512-256, and `auth`.
    #[error("no digest algorithm in common")]
    Unsupported,
    /// We have no password for the realm at this domain.
    #[error("no credential for the realm at this domain")]
    NoCredential,
    /// The peer has seen our answer for the realm and challenges again: the password is wrong.
    #[error("the credential was rejected")]
    Rejected,
}

/// Adds to `request` the answers to the challenges of a 401 or 407 to it, in place of earlier ones for these realms; those
/// for others stay, since each proxy on the way may ask (RFC 3261 §22.3). `domain` is the SIP domain that the request went
/// to. The caller raises `CSeq` and sends it as a new transaction (RFC 3261 §22.2).
///
/// # Errors
/// Why a challenge is not answered. The request is then unchanged.
pub fn authorize(
    request: &mut Request,
    response: &Response,
    domain: &str,
    credentials: &[Credential],
    entropy: &mut dyn Entropy,
) -> Result<(), DigestError> {
    let side = SIDES
        .iter()
        .find(|side| side.status == response.status)
        .ok_or(DigestError::NoChallenge)?;
    let challenges = side.chosen(&response.headers)?;
    let answers = challenges
        .iter()
        .map(|challenge| {
            let credential = credentials
                .iter()
                .find(|c| c.realm == challenge.realm && c.domain.eq_ignore_ascii_case(domain))
                .ok_or(DigestError::NoCredential)?;
            if side.was_rejected(request, challenge) {
                return Err(DigestError::Rejected);
            }
            Ok(challenge.answer(
                credential,
                request.method.as_str(),
                &request.uri,
                &entropy.token(),
            ))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let others = side.answers_to_others(request, &challenges);
    request.headers.remove(side.answer);
    for answer in others.into_iter().chain(answers) {
        request.headers.push(side.answer, answer);
    }
    Ok(())
}

/// The answer to the first of these challenges that we can answer and that is for the credential's realm, which may be
/// empty: then whoever was asked names it. For requests that are not SIP's (RFC 4976 §5.1).
///
/// # Errors
/// Why there is none.
pub(crate) fn answer<'a>(
    challenges: impl Iterator<Item = &'a str>,
    credential: &Credential,
    method: &str,
    uri: &str,
    entropy: &mut dyn Entropy,
) -> Result<String, DigestError> {
    let mut error = DigestError::NoChallenge;
    for value in challenges.take(MAX_CHALLENGES) {
        match Challenge::parse(value) {
            Ok(challenge) if credential.realm.is_empty() || challenge.realm == credential.realm => {
                return Ok(challenge.answer(credential, method, uri, &entropy.token()));
            }
            Ok(_) => error = DigestError::NoCredential,
            Err(other) => error = other,
        }
    }
    Err(error)
}

/// The header fields that answers go into.
pub(crate) const ANSWERS: [&str; 2] = ["Authorization", "Proxy-Authorization"];

/// Who challenges, and the names of the header fields.
struct Side {
    status: u16,
    challenge: &'static str,
    answer: &'static str,
}

const SIDES: [Side; 2] = [
    Side {
        status: 401,
        challenge: "WWW-Authenticate",
        answer: ANSWERS[0],
    },
    Side {
        status: 407,
        challenge: "Proxy-Authenticate",
        answer: ANSWERS[1],
    },
];

/// The most challenges of one response that are looked at.
const MAX_CHALLENGES: usize = 8;

impl Side {
    /// For each realm the first challenge that we can answer: the peer lists them by preference (RFC 8760 §2.4).
    fn chosen(&self, headers: &Headers) -> Result<Vec<Challenge>, DigestError> {
        let mut error = DigestError::NoChallenge;
        let mut chosen: Vec<Challenge> = Vec::new();
        for value in headers.get_all(self.challenge).take(MAX_CHALLENGES) {
            match Challenge::parse(value) {
                Ok(new) if chosen.iter().all(|old| old.realm != new.realm) => chosen.push(new),
                Ok(_) => {}
                Err(DigestError::Unsupported) => error = DigestError::Unsupported,
                Err(_) => {}
            }
        }
        if chosen.is_empty() {
            Err(error)
        } else {
            Ok(chosen)
        }
    }

    /// The answers in the request for realms that none of these challenges is of.
    fn answers_to_others(&self, request: &Request, challenges: &[Challenge]) -> Vec<String> {
        let is_other = |answer: &&str| {
            let answer = parameters(answer).unwrap_or_default();
            let realm = find(&answer, "realm");
            challenges.iter().all(|one| realm != Some(&one.realm))
        };
        let answers = request.headers.get_all(self.answer).filter(is_other);
        answers.map(str::to_owned).collect()
    }

    /// The request carried an answer for the realm, and the challenge does not say that its nonce was merely too old.
    fn was_rejected(&self, request: &Request, challenge: &Challenge) -> bool {
        request
            .headers
            .get_all(self.answer)
            .filter_map(parameters)
            .filter(|answer| find(answer, "realm") == Some(&challenge.realm))
            .any(|answer| !challenge.stale || find(&answer, "nonce") == Some(&challenge.nonce))
    }
}

/// A hash function and how its password hash is made.
#[derive(Debug, Clone, Copy)]
struct Algorithm {
    name: &'static str,
    hash: fn(&str) -> String,
    /// The `-sess` variant (RFC 7616 §3.4.2).
    session: bool,
}

const ALGORITHMS: [Algorithm; 6] = [
    Algorithm {
        name: "MD5",
        hash: md5,
        session: false,
    },
    Algorithm {
        name: "MD5-sess",
        hash: md5,
        session: true,
    },
    Algorithm {
        name: "SHA-256",
        hash: sha256,
        session: false,
    },
    Algorithm {
        name: "SHA-256-sess",
        hash: sha256,
        session: true,
    },
    Algorithm {
        name: "SHA-512-256",
        hash: sha512_256,
        session: false,
    },
    Algorithm {
        name: "SHA-512-256-sess",
        hash: sha512_256,
        session: true,
    },
];

fn md5(text: &str) -> String {
    use md5::Digest as _;
    hex(&md5::Md5::digest(text.as_bytes()))
}

fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

fn sha512_256(text: &str) -> String {
    hex(&Sha512_256::digest(text.as_bytes()))
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// One challenge that we can answer.
#[derive(Debug)]
struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    /// The algorithm was written, so it is repeated.
    names_algorithm: bool,
    /// `qop=auth`; without, as in RFC 2069.
    protected: bool,
    stale: bool,
}

type Parameters = Vec<(String, String)>;

/// The parameters of a `Digest` value, quotes resolved. `None` for another scheme.
fn parameters(value: &str) -> Option<Parameters> {
    let (scheme, rest) = trim(value).split_once([' ', '\t'])?;
    scheme.eq_ignore_ascii_case("Digest").then(|| {
        split_outside(rest, b',')
            .filter_map(|item| item.split_once('='))
            .map(|(name, text)| (trim(name).to_owned(), unquote(trim(text)).into_owned()))
            .collect()
    })
}

fn find<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a String> {
    parameters
        .iter()
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

impl Challenge {
    fn parse(value: &str) -> Result<Self, DigestError> {
        let parameters = parameters(value).ok_or(DigestError::NoChallenge)?;
        let required = |name| {
            find(&parameters, name)
                .cloned()
                .ok_or(DigestError::NoChallenge)
        };
        let named = find(&parameters, "algorithm");
        let algorithm = ALGORITHMS
            .into_iter()
            .find(|a| a.name.eq_ignore_ascii_case(named.map_or("MD5", |n| n)))
            .ok_or(DigestError::Unsupported)?;
        let qop = find(&parameters, "qop");
        let protected = qop.is_some_and(|list| {
            list.split(',')
                .any(|option| trim(option).eq_ignore_ascii_case("auth"))
        });
        if qop.is_some() && !protected {
            return Err(DigestError::Unsupported);
        }
        Ok(Self {
            realm: required("realm")?,
            nonce: required("nonce")?,
            opaque: find(&parameters, "opaque").cloned(),
            algorithm,
            names_algorithm: named.is_some(),
            protected,
            stale: find(&parameters, "stale").is_some_and(|s| s.eq_ignore_ascii_case("true")),
        })
    }

    /// The value of the answering header field.
    fn answer(&self, credential: &Credential, method: &str, uri: &str, cnonce: &str) -> String {
        let response = self.response(credential, method, uri, cnonce);
        let mut value = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{response}\"",
            quote(&credential.username),
            quote(&self.realm),
            quote(&self.nonce),
            quote(uri),
        );
        if self.names_algorithm {
            value.push_str(", algorithm=");
            value.push_str(self.algorithm.name);
        }
        if self.protected {
            value.push_str(&format!(", qop=auth, nc={COUNT}"));
        }
        if self.protected || self.algorithm.session {
            value.push_str(&format!(", cnonce=\"{cnonce}\""));
        }
        if let Some(opaque) = &self.opaque {
            value.push_str(&format!(", opaque={}", quote(opaque)));
        }
        value
    }

    /// `request-digest` of RFC 7616 §3.4.1.
    fn response(&self, credential: &Credential, method: &str, uri: &str, cnonce: &str) -> String {
        let Credential {
            username, password, ..
        } = credential;
        let (hash, nonce) = (self.algorithm.hash, &self.nonce);
        let words = Zeroizing::new(format!("{username}:{}:{password}", self.realm));
        let mut secret = Zeroizing::new(hash(&words));
        if self.algorithm.session {
            let words = Zeroizing::new(format!("{}:{nonce}:{cnonce}", *secret));
            secret = Zeroizing::new(hash(&words));
        }
        let action = hash(&format!("{method}:{uri}"));
        if self.protected {
            let nonces = format!("{nonce}:{COUNT}:{cnonce}:auth");
            hash(&Zeroizing::new(format!("{}:{nonces}:{action}", *secret)))
        } else {
            hash(&Zeroizing::new(format!("{}:{nonce}:{action}", *secret)))
        }
    }
}

/// The count of uses of a nonce, which is always its first.
const COUNT: &str = "00000001";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::Method;
    use stox_core::time::SeededEntropy;

    fn credential(realm: &str, username: &str, password: &str) -> Credential {
        Credential {
            domain: "peer.test".into(),
            realm: realm.into(),
            username: username.into(),
            password: password.into(),
            over_plain: false,
        }
    }

    fn challenged(status: u16, challenges: &[&str]) -> Response {
        let mut response = Response::for_request(&request(), status, "Unauthorized");
        let name = if status == 401 {
            "WWW-Authenticate"
        } else {
            "Proxy-Authenticate"
        };
        for challenge in challenges {
            response.headers.push(name, challenge);
        }
        response
    }

    fn request() -> Request {
        Request::new(
            Method::MESSAGE,
            "sip:romeo@peer.test;opaque=user:epid:x;gruu",
        )
    }

    fn attempt(
        domain: &str,
        response: &Response,
        request: &mut Request,
    ) -> Result<(), DigestError> {
        let credentials = [
            credential("r", "juliet", "secret"),
            credential("s", "j2", "other"),
        ];
        authorize(
            request,
            response,
            domain,
            &credentials,
            &mut SeededEntropy(1),
        )
    }

    #[test]
    fn the_vectors_of_the_standards() {
        let old = (
            "testrealm@host.com",
            "dcd98b7102dd2f0e8b11d0f600bfb0c093",
            "Circle Of Life",
            "0a4f113b",
        );
        let new = (
            "http-auth@example.org",
            "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            "Circle of Life",
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        );
        for (algorithm, (realm, nonce, password, cnonce), expected) in [
            ("MD5", old, "6629fae49393a05397450978507c4ef1"),
            ("MD5", new, "8ca523f5e9506fed4657c9700eebdbec"),
            (
                "SHA-256",
                new,
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ] {
            let text = format!(
                "Digest realm=\"{realm}\", nonce=\"{nonce}\", qop=\"auth, auth-int\", algorithm={algorithm}"
            );
            let challenge = Challenge::parse(&text).unwrap();
            let credential = credential(realm, "Mufasa", password);
            let response = challenge.response(&credential, "GET", "/dir/index.html", cnonce);
            assert_eq!(response, expected);
        }
    }

    /// Made with Python's hashlib, by the formula of RFC 7616 §3.4.1 to §3.4.3.
    #[test]
    fn sha_512_256_agrees_with_another_implementation() {
        for (algorithm, expected) in [
            (
                "SHA-512-256",
                "fc0e0408d06c4229aced6d50d0e499effe73f0013abf51949621ed7957a42761",
            ),
            (
                "SHA-512-256-sess",
                "610f1630763c8fe612bdb5e6b9c1e585f33e1334d5360d4a0fc8b4e0c6397a93",
            ),
        ] {
            let text =
                format!("Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm={algorithm}");
            let challenge = Challenge::parse(&text).unwrap();
            let credential = credential("r", "juliet", "secret");
            let uri = "sip:romeo@peer.test";
            let response = challenge.response(&credential, "MESSAGE", uri, "c");
            assert_eq!(response, expected, "{algorithm}");
        }
    }

    #[test]
    fn an_answer_has_what_the_challenge_asks_for() {
        for (challenge, expected) in [
            (
                r#"Digest realm="r", nonce="n\"1", qop="auth-int,auth", opaque="o", algorithm=md5"#,
                r#"Digest username="juliet", realm="r", nonce="n\"1", uri="URI", response="…", algorithm=MD5, qop=auth, nc=00000001, cnonce="…", opaque="o""#,
            ),
            (
                "digest\tNonce=n , REALM=\"r\"",
                r#"Digest username="juliet", realm="r", nonce="n", uri="URI", response="…""#,
            ),
            (
                r#"Digest realm="r",nonce="n",algorithm=SHA-256-sess"#,
                r#"Digest username="juliet", realm="r", nonce="n", uri="URI", response="…", algorithm=SHA-256-sess, cnonce="…""#,
            ),
        ] {
            let mut request = request();
            attempt("Peer.Test", &challenged(401, &[challenge]), &mut request).unwrap();
            let written = request.headers.get("Authorization").unwrap();
            let mut shown = written.replace(&request.uri, "URI");
            for name in ["response", "cnonce"] {
                let parameters = parameters(written).unwrap();
                if let Some(value) = find(&parameters, name) {
                    shown = shown.replace(value, "…");
                }
            }
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn another_implementation_agrees() {
        use rsip::headers::auth::{Algorithm, AuthQop};
        for (name, algorithm) in [("MD5", Algorithm::Md5), ("SHA-256", Algorithm::Sha256)] {
            let text = format!(r#"Digest realm="r", nonce="abc", qop="auth", algorithm={name}"#);
            let mut request = Request::new(Method::MESSAGE, "sip:romeo@peer.test");
            attempt("peer.test", &challenged(401, &[&text]), &mut request).unwrap();
            let written = parameters(request.headers.get("Authorization").unwrap()).unwrap();
            let oracle = rsip::services::DigestGenerator {
                username: "juliet",
                password: "secret",
                nonce: "abc",
                uri: &rsip::Uri::try_from("sip:romeo@peer.test").unwrap(),
                realm: "r",
                method: &rsip::Method::Message,
                qop: Some(&AuthQop::Auth {
                    cnonce: find(&written, "cnonce").unwrap().clone(),
                    nc: 1,
                }),
                algorithm,
            };
            assert!(oracle.verify(find(&written, "response").unwrap()), "{name}");
        }
    }

    #[test]
    fn each_realm_gets_its_own_answer_and_the_first_algorithm_that_we_have() {
        let challenges = [
            r#"Digest realm="r", nonce="1", algorithm=SHA-1024, qop="auth""#,
            r#"Digest realm="r", nonce="2", algorithm=SHA-256, qop="auth""#,
            r#"Digest realm="r", nonce="3", algorithm=MD5, qop="auth""#,
            r#"Digest realm="s", nonce="4", qop="auth""#,
        ];
        let mut request = request();
        attempt("peer.test", &challenged(407, &challenges), &mut request).unwrap();
        let answers: Vec<String> = request
            .headers
            .get_all("Proxy-Authorization")
            .map(|value| find(&parameters(value).unwrap(), "nonce").unwrap().clone())
            .collect();
        assert_eq!(answers, ["2", "4"]);
        assert_eq!(request.headers.get("Authorization"), None);
        let best = r#"Digest realm="r", nonce="5", algorithm=SHA-512-256, qop="auth""#;
        let response = challenged(401, &[best, challenges[1]]);
        attempt("peer.test", &response, &mut request).unwrap();
        let answer = request.headers.get("Authorization").unwrap();
        assert!(answer.contains("algorithm=SHA-512-256"), "{answer}");
    }

    #[test]
    fn no_password_leaves_its_realm_and_domain() {
        let good = r#"Digest realm="r", nonce="1", qop="auth""#;
        for (domain, status, challenges, expected) in [
            ("evil.test", 401, &[good][..], DigestError::NoCredential),
            ("", 401, &[good], DigestError::NoCredential),
            (
                "peer.test",
                401,
                &[r#"Digest realm="R", nonce="1""#],
                DigestError::NoCredential,
            ),
            (
                "peer.test",
                401,
                &[good, r#"Digest realm="evil", nonce="1""#],
                DigestError::NoCredential,
            ),
            ("peer.test", 403, &[good], DigestError::NoChallenge),
            ("peer.test", 401, &[], DigestError::NoChallenge),
            (
                "peer.test",
                401,
                &["Basic realm=\"r\""],
                DigestError::NoChallenge,
            ),
            ("peer.test", 401, &["Digest"], DigestError::NoChallenge),
            (
                "peer.test",
                401,
                &["Digest realm=\"r\""],
                DigestError::NoChallenge,
            ),
            (
                "peer.test",
                401,
                &["Digest ,,=,realm=\"r\",\"\""],
                DigestError::NoChallenge,
            ),
            (
                "peer.test",
                401,
                &[r#"Digest realm="r", nonce="1", qop="auth-int""#],
                DigestError::Unsupported,
            ),
            (
                "peer.test",
                401,
                &[r#"Digest realm="r", nonce="1", algorithm=AKAv1-MD5"#],
                DigestError::Unsupported,
            ),
        ] {
            let mut request = request();
            let result = attempt(domain, &challenged(status, challenges), &mut request);
            assert_eq!(result, Err(expected), "{challenges:?}");
            assert!(request.headers.is_empty());
        }
    }

    #[test]
    fn a_second_challenge_is_a_rejection_unless_the_nonce_is_stale() {
        let mut request = request();
        let first = challenged(401, &[r#"Digest realm="r", nonce="1""#]);
        attempt("peer.test", &first, &mut request).unwrap();
        let again = challenged(401, &[r#"Digest realm="r", nonce="2""#]);
        let result = attempt("peer.test", &again, &mut request);
        assert_eq!(result, Err(DigestError::Rejected));
        let same = challenged(401, &[r#"Digest realm="r", nonce="1", stale=true"#]);
        let result = attempt("peer.test", &same, &mut request);
        assert_eq!(result, Err(DigestError::Rejected));
        let stale = challenged(401, &[r#"Digest realm="r", nonce="2", stale=TRUE"#]);
        attempt("peer.test", &stale, &mut request).unwrap();
        assert_eq!(request.headers.get_all("Authorization").count(), 1);
    }

    #[test]
    fn each_proxy_on_the_way_gets_its_own_answer() {
        let mut request = request();
        let first = challenged(407, &[r#"Digest realm="r", nonce="1""#]);
        attempt("peer.test", &first, &mut request).unwrap();
        let second = challenged(407, &[r#"Digest realm="s", nonce="2""#]);
        attempt("peer.test", &second, &mut request).unwrap();
        let late = challenged(407, &[r#"Digest realm="r", nonce="3", stale=true"#]);
        attempt("peer.test", &late, &mut request).unwrap();
        let answers = request.headers.get_all("Proxy-Authorization");
        let kept: Vec<(String, String)> = answers
            .filter_map(parameters)
            .filter_map(|a| Some((find(&a, "realm")?.clone(), find(&a, "nonce")?.clone())))
            .collect();
        let pair = |realm: &str, nonce: &str| (realm.to_owned(), nonce.to_owned());
        assert_eq!(kept, [pair("s", "2"), pair("r", "3")]);
        let result = attempt("peer.test", &second, &mut request);
        assert_eq!(result, Err(DigestError::Rejected));
    }

    #[test]
    fn a_password_is_never_shown() {
        let shown = format!("{:?}", credential("r", "juliet", "secret"));
        assert!(shown.contains("juliet") && !shown.contains("secret"));
    }
}
