//! Reads a client's first message without answering it, to tell who cannot be served with modern TLS.

use std::io::Cursor;

use rustls::crypto::CryptoProvider;
use rustls::server::{Acceptor, ClientHello};
use rustls::{CipherSuite, Error, SignatureScheme, SupportedCipherSuite};
use tokio::io::{AsyncReadExt, join};
use tokio::net::TcpStream;

use crate::net::sip_tls::Octets;

/// Octets of a first message at most.
const MAX_HELLO: usize = 64 * 1024;
/// Where the version stands: behind the headers of record and handshake message (RFC 5246 §7.4.1.2).
const VERSION_AT: usize = 5 + 4;
const TLS_1_2: [u8; 2] = [3, 3];

/// What a client said first.
pub(in crate::net) struct Hello {
    octets: Vec<u8>,
    is_old: bool,
}

impl Hello {
    /// Reads up to the end of the client's hello, or to the point where it is seen that it is none.
    ///
    /// # Errors
    /// The connection's.
    pub(in crate::net) async fn read(
        stream: &mut TcpStream,
        provider: &CryptoProvider,
    ) -> std::io::Result<Self> {
        let mut judge = Judge::default();
        let mut octets = Vec::new();
        let mut verdict = None;
        while verdict.is_none() && octets.len() < MAX_HELLO {
            let known = octets.len();
            if stream.read_buf(&mut octets).await? == 0 {
                break;
            }
            verdict = judge.hear(&octets, known, provider)?;
        }
        Ok(Self {
            octets,
            is_old: verdict == Some(Age::Old),
        })
    }

    /// Whether modern TLS cannot serve this client.
    pub(in crate::net) fn is_old(&self) -> bool {
        self.is_old
    }

    /// The connection as it was before anything was read.
    pub(in crate::net) fn put_back(self, stream: TcpStream) -> impl Octets + 'static {
        let (reader, writer) = stream.into_split();
        join(Cursor::new(self.octets).chain(reader), writer)
    }
}

/// Whom modern TLS can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Old,
    /// Or no TLS at all.
    Modern,
}

impl Age {
    fn old_if(is_old: bool) -> Option<Self> {
        Some(if is_old { Self::Old } else { Self::Modern })
    }
}

#[derive(Default)]
struct Judge(Acceptor);

impl Judge {
    /// Takes what has come, `known` octets of which it has seen. `None` while that does not suffice.
    fn hear(
        &mut self,
        octets: &[u8],
        known: usize,
        provider: &CryptoProvider,
    ) -> std::io::Result<Option<Age>> {
        if octets.first().is_some_and(|first| first & 0x80 != 0) {
            return Ok(is_version_2_hello(octets));
        }
        let mut new = octets.get(known..).unwrap_or_default();
        while !new.is_empty() {
            self.0.read_tls(&mut new)?;
            let age = match self.0.accept() {
                Ok(None) => continue,
                Ok(Some(accepted)) => Age::old_if(
                    names_old_version(octets)
                        || !has_modern_suite(&accepted.client_hello(), provider),
                ),
                Err((error, _)) => Age::old_if(matches!(error, Error::PeerIncompatible(_))),
            };
            return Ok(age);
        }
        Ok(None)
    }
}

/// TLS 1.3 clients also write 1.2 here.
fn names_old_version(octets: &[u8]) -> bool {
    octets
        .get(VERSION_AT..VERSION_AT + 2)
        .is_some_and(|version| version < TLS_1_2.as_slice())
}

/// An SSL 2.0 envelope around an offer of TLS 1.0 (RFC 5246 appendix E.2), as Windows Server 2003 can send it.
fn is_version_2_hello(octets: &[u8]) -> Option<Age> {
    match octets {
        [_, _, kind, major, ..] => Age::old_if(*kind == 1 && *major == 3),
        _ => None,
    }
}

fn has_modern_suite(hello: &ClientHello<'_>, provider: &CryptoProvider) -> bool {
    let usable = |offered: &CipherSuite| {
        provider
            .cipher_suites
            .iter()
            .any(|suite| suite.suite() == *offered && signs_with_rsa(suite))
    };
    hello.cipher_suites().iter().any(usable)
}

/// Where old TLS is configured our key is RSA; suites with ECDSA do not help.
fn signs_with_rsa(suite: &SupportedCipherSuite) -> bool {
    match suite {
        SupportedCipherSuite::Tls13(_) => true,
        SupportedCipherSuite::Tls12(suite) => {
            suite.sign.contains(&SignatureScheme::RSA_PKCS1_SHA256)
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// A hello with these suites in one record, with signature algorithms from TLS 1.2 on.
    fn hello(version: [u8; 2], suites: &[u16]) -> Vec<u8> {
        let mut body = version.to_vec();
        body.extend([7; 32]);
        body.push(0);
        body.extend(u16::try_from(suites.len() * 2).unwrap().to_be_bytes());
        body.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
        body.extend([1, 0]);
        if version == TLS_1_2 {
            body.extend([0, 8, 0, 13, 0, 4, 0, 2, 4, 1]);
        }
        let mut message = vec![1];
        message.extend(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
        message.extend(body);
        let mut record = vec![22, 3, 1];
        record.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
        record.extend(message);
        record
    }

    /// Sends in pieces and closes.
    async fn read(octets: &[u8], piece: usize) -> (Hello, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        client.set_nodelay(true).unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let pieces: Vec<Vec<u8>> = octets.chunks(piece).map(<[u8]>::to_vec).collect();
        let sending = tokio::spawn(async move {
            for piece in pieces {
                client.write_all(&piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let provider = rustls::crypto::ring::default_provider();
        let hello = Hello::read(&mut server, &provider).await.unwrap();
        sending.await.unwrap();
        (hello, server)
    }

    #[tokio::test]
    async fn old_is_what_rustls_cannot_serve_with_an_rsa_key() {
        const RSA_AES_CBC: u16 = 0x002f;
        const ECDHE_RSA_GCM: u16 = 0xc02f;
        const ECDHE_ECDSA_GCM: u16 = 0xc02b;
        const TLS13_AES: u16 = 0x1301;
        let version_2 = [0x80, 0x2e, 1, 3, 1, 0, 3, 0, 0, 0, 16, 0, 0, 0x2f];
        let cases: [(&str, Vec<u8>, bool); 9] = [
            ("TLS 1.0", hello([3, 1], &[RSA_AES_CBC]), true),
            ("TLS 1.1", hello([3, 2], &[ECDHE_RSA_GCM]), true),
            ("1.2, RSA and CBC", hello([3, 3], &[RSA_AES_CBC]), true),
            (
                "1.2, modern only with ECDSA",
                hello([3, 3], &[ECDHE_ECDSA_GCM, RSA_AES_CBC]),
                true,
            ),
            (
                "1.2, modern and old",
                hello([3, 3], &[RSA_AES_CBC, ECDHE_RSA_GCM]),
                false,
            ),
            ("1.3", hello([3, 3], &[TLS13_AES]), false),
            ("an SSL 2.0 envelope", version_2.to_vec(), true),
            ("no TLS", b"this is no TLS at all\r\n\r\n".to_vec(), false),
            ("nothing", Vec::new(), false),
        ];
        for (what, octets, expected) in cases {
            for piece in [1, 1000] {
                let (found, stream) = read(&octets, piece).await;
                assert_eq!(found.is_old(), expected, "{what} in pieces of {piece}");
                let mut again = Vec::new();
                found
                    .put_back(stream)
                    .read_to_end(&mut again)
                    .await
                    .unwrap();
                assert_eq!(again, octets, "{what}");
            }
        }
    }
}
