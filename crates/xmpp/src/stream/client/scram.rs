//! SCRAM, the client's side (RFC 5802, RFC 7677), with channel binding where the connection has it (RFC 9266).
//!
//! The costly step is apart: [`KeyRequest::derive`] takes as long as the server asks for, so its owner does it where
//! nobody waits, and the server may not ask for more than [`ITERATIONS`].

use std::fmt;
use std::ops::RangeInclusive;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::login::{LoginFault, Password};

/// The iterations that a server may ask for: RFC 5802 §5.1 wants at least the first, and the last is a matter of a second.
pub(super) const ITERATIONS: RangeInclusive<u32> = 4_096..=500_000;
/// Longest salt, in octets.
const LONGEST_SALT: usize = 1_024;

/// The hash function of a mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ScramHash {
    /// RFC 5802.
    Sha1,
    /// RFC 7677.
    Sha256,
}

impl ScramHash {
    fn hmac(self, key: &[u8], data: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(match self {
            Self::Sha1 => mac::<Hmac<Sha1>>(key, &[data]),
            Self::Sha256 => mac::<Hmac<Sha256>>(key, &[data]),
        })
    }

    fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(data).to_vec(),
            Self::Sha256 => Sha256::digest(data).to_vec(),
        }
    }
}

fn mac<M: Mac + KeyInit>(key: &[u8], data: &[&[u8]]) -> Vec<u8> {
    // HMAC takes keys of every length.
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else {
        return Vec::new();
    };
    for part in data {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

/// `Hi` of RFC 5802 §2.2: PBKDF2 with one block.
fn salted<M: Mac + KeyInit + Clone>(password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
    let Ok(keyed) = <M as KeyInit>::new_from_slice(password) else {
        return Vec::new();
    };
    let step = |data: &[&[u8]]| {
        let mut mac = keyed.clone();
        for part in data {
            mac.update(part);
        }
        mac.finalize().into_bytes()
    };
    let mut last = step(&[salt, &1_u32.to_be_bytes()]);
    let mut sum = last.to_vec();
    for _ in 1..iterations {
        last = step(&[&last]);
        for (octet, more) in sum.iter_mut().zip(&last) {
            *octet ^= more;
        }
    }
    sum
}

/// What has to be computed before the server can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRequest {
    hash: ScramHash,
    salt: Vec<u8>,
    iterations: u32,
}

impl KeyRequest {
    /// Computes it, which may take a second.
    #[must_use]
    pub fn derive(&self, password: &Password) -> SaltedPassword {
        let (password, salt) = (password.prepared(), &self.salt);
        SaltedPassword(Zeroizing::new(match self.hash {
            ScramHash::Sha1 => salted::<Hmac<Sha1>>(password.as_bytes(), salt, self.iterations),
            ScramHash::Sha256 => salted::<Hmac<Sha256>>(password.as_bytes(), salt, self.iterations),
        }))
    }
}

/// As good as the password on that server; wiped from memory when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SaltedPassword(Zeroizing<Vec<u8>>);

impl fmt::Debug for SaltedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SaltedPassword(..)")
    }
}

/// What the client knows of binding to the TLS connection (the GS2 flag of RFC 5802 §7).
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Binding {
    /// This connection has nothing to bind to.
    None,
    /// There is something, but the server offers no mechanism that uses it.
    ServerHasNone,
    /// `tls-exporter` (RFC 9266).
    Exporter(Zeroizing<Vec<u8>>),
}

impl Binding {
    fn header(&self) -> &'static str {
        match self {
            Self::None => "n,,",
            Self::ServerHasNone => "y,,",
            Self::Exporter(_) => "p=tls-exporter,,",
        }
    }

    fn data(&self) -> &[u8] {
        match self {
            Self::None | Self::ServerHasNone => &[],
            Self::Exporter(data) => data,
        }
    }
}

/// One exchange.
pub(super) struct Scram {
    hash: ScramHash,
    binding: Binding,
    nonce: String,
    first_bare: String,
    /// The server's first message and nonce, when they have come.
    challenge: Option<(String, String)>,
    server_signature: Option<Zeroizing<Vec<u8>>>,
    proved: bool,
}

impl Scram {
    /// `user` is prepared (SASLprep); `nonce` is fresh and printable without a comma.
    pub(super) fn new(hash: ScramHash, binding: Binding, user: &str, nonce: String) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self {
            hash,
            binding,
            first_bare: format!("n={user},r={nonce}"),
            nonce,
            challenge: None,
            server_signature: None,
            proved: false,
        }
    }

    /// The client's first message.
    pub(super) fn first(&self) -> String {
        format!("{}{}", self.binding.header(), self.first_bare)
    }

    /// The server's first message: what is to be computed for it.
    pub(super) fn challenged(&mut self, message: &str) -> Result<KeyRequest, LoginFault> {
        if self.challenge.is_some() {
            return Err(LoginFault::Exchange("a second challenge"));
        }
        // A mandatory extension comes first, and we know none (RFC 5802 §5.1, `m`).
        let mut parts = message.split(',');
        let mut part = |name: &str| parts.next().and_then(|part| part.strip_prefix(name));
        let nonce = part("r=").ok_or(LoginFault::Exchange("no nonce in the challenge"))?;
        let salt = part("s=").and_then(|salt| BASE64_STANDARD.decode(salt).ok());
        let iterations = part("i=").and_then(|count| count.parse::<u64>().ok());
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(LoginFault::Exchange("the nonce is not made from ours"));
        }
        let salt = salt
            .filter(|salt| !salt.is_empty() && salt.len() <= LONGEST_SALT)
            .ok_or(LoginFault::Exchange("no usable salt in the challenge"))?;
        let count =
            iterations.ok_or(LoginFault::Exchange("no iteration count in the challenge"))?;
        let iterations = u32::try_from(count)
            .ok()
            .filter(|count| ITERATIONS.contains(count))
            .ok_or(LoginFault::Iterations(count))?;
        self.challenge = Some((message.to_owned(), nonce.to_owned()));
        Ok(KeyRequest {
            hash: self.hash,
            salt,
            iterations,
        })
    }

    /// The client's final message.
    pub(super) fn last(&mut self, key: &SaltedPassword) -> Result<String, LoginFault> {
        let Some((challenge, nonce)) = &self.challenge else {
            return Err(LoginFault::Exchange("no challenge"));
        };
        let mut bound = self.binding.header().as_bytes().to_vec();
        bound.extend_from_slice(self.binding.data());
        let bare = format!("c={},r={nonce}", BASE64_STANDARD.encode(bound));
        let message = format!("{},{challenge},{bare}", self.first_bare);
        let hash = self.hash;
        let client_key = hash.hmac(&key.0, b"Client Key");
        let signature = hash.hmac(&hash.digest(&client_key), message.as_bytes());
        let pairs = client_key.iter().zip(signature.iter());
        let proof: Vec<u8> = pairs.map(|(key, signature)| key ^ signature).collect();
        let server_key = hash.hmac(&key.0, b"Server Key");
        self.server_signature = Some(hash.hmac(&server_key, message.as_bytes()));
        Ok(format!("{bare},p={}", BASE64_STANDARD.encode(proof)))
    }

    /// The server's final message: it, too, knows the password.
    pub(super) fn verify(&mut self, message: &str) -> Result<(), LoginFault> {
        let Some(expected) = &self.server_signature else {
            return Err(LoginFault::Exchange("an end before our proof"));
        };
        let shown = message
            .split(',')
            .next()
            .and_then(|part| part.strip_prefix("v="))
            .and_then(|value| BASE64_STANDARD.decode(value).ok());
        if shown.as_deref() != Some(expected.as_slice()) {
            return Err(LoginFault::ServerProof);
        }
        self.proved = true;
        Ok(())
    }

    /// The server has shown that it knows the password.
    pub(super) fn is_proved(&self) -> bool {
        self.proved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5802 §5 and RFC 7677 §3.
    #[test]
    fn speaks_as_the_rfcs_do() {
        let cases = [
            (
                ScramHash::Sha1,
                "fyko+d2lbbFgONRv9qkxdawL",
                "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ),
            (
                ScramHash::Sha256,
                "rOprNGfwEbeRWgbNEkqO",
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ),
        ];
        for (hash, nonce, challenge, last, end) in cases {
            let mut scram = Scram::new(hash, Binding::None, "user", nonce.to_owned());
            assert_eq!(scram.first(), format!("n,,n=user,r={nonce}"));
            let request = scram.challenged(challenge).unwrap();
            let key = request.derive(&Password::new("pencil").unwrap());
            assert_eq!(scram.last(&key).unwrap(), last);
            assert!(!scram.is_proved());
            scram.verify(end).unwrap();
            assert!(scram.is_proved());
        }
    }

    #[test]
    fn escapes_names_and_binds_to_the_connection() {
        let binding = Binding::Exporter(Zeroizing::new(vec![0xab; 32]));
        let mut scram = Scram::new(ScramHash::Sha256, binding, "a=b,c", "n".to_owned());
        assert_eq!(scram.first(), "p=tls-exporter,,n=a=3Db=2Cc,r=n");
        scram.challenged("r=nm,s=AAAA,i=4096").unwrap();
        let key = SaltedPassword(Zeroizing::new(vec![1; 32]));
        let last = scram.last(&key).unwrap();
        let bound = last.split(',').next().unwrap().strip_prefix("c=").unwrap();
        let mut expected = b"p=tls-exporter,,".to_vec();
        expected.extend([0xab; 32]);
        assert_eq!(BASE64_STANDARD.decode(bound).unwrap(), expected);
    }

    #[test]
    fn refuses_servers_that_cheat() {
        let cases = [
            (
                "r=other,s=AAAA,i=4096",
                LoginFault::Exchange("the nonce is not made from ours"),
            ),
            (
                "r=n,s=AAAA,i=4096",
                LoginFault::Exchange("the nonce is not made from ours"),
            ),
            ("r=nm,s=AAAA,i=4095", LoginFault::Iterations(4_095)),
            ("r=nm,s=AAAA,i=500001", LoginFault::Iterations(500_001)),
            (
                "r=nm,s=AAAA,i=4294967296",
                LoginFault::Iterations(4_294_967_296),
            ),
            (
                "r=nm,s=AAAA,i=-1",
                LoginFault::Exchange("no iteration count in the challenge"),
            ),
            (
                "r=nm,s=,i=4096",
                LoginFault::Exchange("no usable salt in the challenge"),
            ),
            (
                "r=nm,s=?,i=4096",
                LoginFault::Exchange("no usable salt in the challenge"),
            ),
            (
                "m=ext,r=nm,s=AAAA,i=4096",
                LoginFault::Exchange("no nonce in the challenge"),
            ),
            ("", LoginFault::Exchange("no nonce in the challenge")),
        ];
        for (challenge, fault) in cases {
            let mut scram = Scram::new(ScramHash::Sha1, Binding::None, "u", "n".to_owned());
            assert_eq!(scram.challenged(challenge), Err(fault), "{challenge}");
        }
        let mut scram = Scram::new(ScramHash::Sha1, Binding::None, "u", "n".to_owned());
        assert!(scram.verify("v=AAAA").is_err(), "before our proof");
        let request = scram.challenged("r=nm,s=AAAA,i=4096").unwrap();
        scram
            .last(&request.derive(&Password::new("p").unwrap()))
            .unwrap();
        for end in ["v=AAAA", "e=invalid-proof", "", "v="] {
            assert_eq!(scram.verify(end), Err(LoginFault::ServerProof), "{end}");
        }
        assert!(!scram.is_proved());
    }
}
