//! Digest authentication (RFC 3261 §22, RFC 8760). The hashing is rsip's; its header types are not used, because they
//! refuse `qop` lists and spell the SHA-256 algorithm in a way that no peer knows.

use rsip::headers::auth::{Algorithm as Hash, AuthQop};
use rsip::services::DigestGenerator;

use super::{HeaderError, HeaderValue};
use crate::grammar::{quote, split_outside, trim, unquote};
use crate::method::Method;

/// The algorithms that are answered, with their names on the wire.
const ALGORITHMS: &[(&str, Hash)] = &[("MD5", Hash::Md5), ("SHA-256", Hash::Sha256)];

/// One challenge of `WWW-Authenticate` or `Proxy-Authenticate` that can be answered. Each header field holds one: take
/// them with [`super::Headers::get_all`], the first that can be read is the one that the peer prefers (RFC 8760 §2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Whose credentials are asked for.
    pub realm: String,
    /// To be used once.
    pub nonce: String,
    /// To be sent back as it is.
    pub opaque: Option<String>,
    /// The nonce was too old; the credentials were right.
    pub stale: bool,
    algorithm: Option<&'static (&'static str, Hash)>,
    qop: bool,
}

/// A name and a password for one realm.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name in that realm.
    pub username: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl HeaderValue for Challenge {
    /// Other schemes, other algorithms and `qop` lists without `auth` are errors.
    fn parse(text: &str) -> Result<Self, HeaderError> {
        read(text).ok_or(HeaderError::Authentication)
    }
}

fn read(text: &str) -> Option<Challenge> {
    let (scheme, params) = trim(text).split_once([' ', '\t'])?;
    let param = |name: &str| {
        split_outside(params, b',')
            .filter_map(|param| param.split_once('='))
            .find(|(found, _)| trim(found).eq_ignore_ascii_case(name))
            .map(|(_, value)| unquote(trim(value)).into_owned())
    };
    let algorithm = match param("algorithm") {
        None => None,
        Some(name) => Some(
            ALGORITHMS
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(&name))?,
        ),
    };
    let qop = param("qop");
    let auth = |list: &String| {
        list.split(',')
            .any(|qop| trim(qop).eq_ignore_ascii_case("auth"))
    };
    if !scheme.eq_ignore_ascii_case("Digest") || !qop.as_ref().is_none_or(auth) {
        return None;
    }
    Some(Challenge {
        realm: param("realm")?,
        nonce: param("nonce")?,
        opaque: param("opaque"),
        stale: param("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        algorithm,
        qop: qop.is_some(),
    })
}

impl Challenge {
    /// The value of `Authorization` or `Proxy-Authorization` that answers it. `cnonce` is fresh for each answer.
    ///
    /// # Errors
    /// [`HeaderError::Authentication`] where the method or the URI is one that rsip cannot hash to the octet.
    pub fn answer(
        &self,
        credentials: &Credentials,
        method: &Method,
        uri: &str,
        cnonce: &str,
    ) -> Result<String, HeaderError> {
        let hashed_uri = rsip::Uri::try_from(uri).map_err(|_| HeaderError::Authentication)?;
        let hashed_method: rsip::Method = method
            .as_str()
            .parse()
            .map_err(|_| HeaderError::Authentication)?;
        if hashed_uri.to_string() != uri || hashed_method.to_string() != method.as_str() {
            return Err(HeaderError::Authentication);
        }
        let qop = self.qop.then(|| AuthQop::Auth {
            cnonce: cnonce.to_owned(),
            nc: 1,
        });
        let response = DigestGenerator {
            username: &credentials.username,
            password: &credentials.password,
            nonce: &self.nonce,
            uri: &hashed_uri,
            realm: &self.realm,
            method: &hashed_method,
            qop: qop.as_ref(),
            algorithm: self.algorithm.map_or(Hash::Md5, |(_, hash)| *hash),
        }
        .compute();
        Ok(self.write(credentials, uri, cnonce, &response))
    }

    fn write(&self, credentials: &Credentials, uri: &str, cnonce: &str, response: &str) -> String {
        let mut value = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response={}",
            quote(&credentials.username),
            quote(&self.realm),
            quote(&self.nonce),
            quote(uri),
            quote(response)
        );
        if let Some((name, _)) = self.algorithm {
            value.push_str(&format!(", algorithm={name}"));
        }
        if let Some(opaque) = &self.opaque {
            value.push_str(&format!(", opaque={}", quote(opaque)));
        }
        if self.qop {
            value.push_str(&format!(
                ", qop=auth, nc=00000001, cnonce={}",
                quote(cnonce)
            ));
        }
        value
    }
}
