//! The documents of RFC 7711 §3.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use sha2::{Digest, Sha256, Sha512};

use super::PoshError;

/// The digests of one certificate; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    sha256: Option<Vec<u8>>,
    sha512: Option<Vec<u8>>,
}

impl Descriptor {
    /// Whether every digest is this certificate's.
    #[must_use]
    pub fn is_of(&self, certificate: &CertificateDer<'_>) -> bool {
        let is_256 = |digest: &Vec<u8>| *digest == Sha256::digest(certificate).as_slice();
        let is_512 = |digest: &Vec<u8>| *digest == Sha512::digest(certificate).as_slice();
        self.sha256.as_ref().is_none_or(is_256) && self.sha512.as_ref().is_none_or(is_512)
    }
}

/// What a web server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// Certificates that it vouches for.
    Fingerprints {
        /// At least one.
        of: Vec<Descriptor>,
        /// How long that counts; above zero.
        lifetime: Duration,
    },
    /// Another document counts.
    Reference {
        /// Where it is, as it was written.
        url: String,
        /// How long that counts; above zero.
        lifetime: Duration,
    },
}

/// As it is written; unknown members are passed over.
#[derive(Deserialize)]
struct Wire {
    fingerprints: Option<Vec<WireDescriptor>>,
    url: Option<String>,
    expires: Option<u64>,
}

#[derive(Deserialize)]
struct WireDescriptor {
    #[serde(rename = "sha-256")]
    sha256: Option<String>,
    #[serde(rename = "sha-512")]
    sha512: Option<String>,
}

impl Document {
    /// Reads the JSON.
    ///
    /// # Errors
    /// [`PoshError::Document`]: what is wrong with it.
    pub fn read(octets: &[u8]) -> Result<Self, PoshError> {
        let wire: Wire = serde_json::from_slice(octets).map_err(|_| {
            PoshError::Document("it is not JSON, or a member of it is of the wrong type")
        })?;
        let lifetime = match wire.expires {
            Some(seconds) if seconds > 0 => Duration::from_secs(seconds),
            _ => return Err(PoshError::Document("expires is missing or not above zero")),
        };
        match (wire.fingerprints, wire.url) {
            (Some(wire), None) => {
                let of = wire.into_iter().filter_map(descriptor).collect::<Vec<_>>();
                if of.is_empty() {
                    return Err(PoshError::Document(
                        "fingerprints holds no sha-256 or sha-512 digest",
                    ));
                }
                Ok(Self::Fingerprints { of, lifetime })
            }
            (None, Some(url)) => Ok(Self::Reference { url, lifetime }),
            _ => Err(PoshError::Document(
                "it has to have either fingerprints or url",
            )),
        }
    }
}

/// `None` where there is no digest that we know, or one is malformed.
fn descriptor(wire: WireDescriptor) -> Option<Descriptor> {
    let digest = |text: Option<String>, length: usize| match text {
        None => Some(None),
        Some(text) => {
            let octets = STANDARD.decode(text).ok()?;
            (octets.len() == length).then_some(Some(octets))
        }
    };
    let (sha256, sha512) = (digest(wire.sha256, 32)?, digest(wire.sha512, 64)?);
    let known = sha256.is_some() || sha512.is_some();
    known.then_some(Descriptor { sha256, sha512 })
}
