//! An XMPP server of jabber.test at which bob@ocs.test has an account. It does what the test says, step by step.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest, Sha256};

use crate::harness::{DEADLINE, Folder};
use crate::xml_pieces::{Pieces, attribute};

pub(crate) const PASSWORD: &str = "open-sesame-8";
const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams' from='jabber.test' id='x' version='1.0'>";
const SALT: &[u8] = b"salt of jabber.test";
const ITERATIONS: u32 = 4_096;

/// The server's port for clients.
pub(crate) struct ClientServer {
    listener: TcpListener,
    tls: Arc<ServerConfig>,
}

/// One connection of the gateway's, inside TLS.
pub(crate) struct Line {
    pieces: Pieces<StreamOwned<ServerConnection, TcpStream>>,
    /// Stanzas of the gateway's since stream management was enabled.
    pub(crate) heard: u32,
    managed: bool,
    /// Answers what the gateway asks of its stanzas.
    pub(crate) answers: bool,
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// PBKDF2 of the password.
fn salted() -> Vec<u8> {
    let mut last = hmac(PASSWORD.as_bytes(), &[SALT, &[0, 0, 0, 1]].concat());
    let mut sum = last.clone();
    for _ in 1..ITERATIONS {
        last = hmac(PASSWORD.as_bytes(), &last);
        sum.iter_mut()
            .zip(&last)
            .for_each(|(sum, octet)| *sum ^= octet);
    }
    sum
}

fn encode(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

/// What an element without children says.
pub(crate) fn text(element: &str) -> &str {
    let behind = element.split('>').nth(1).unwrap();
    behind.split('<').next().unwrap()
}

fn decode(element: &str) -> String {
    String::from_utf8(BASE64_STANDARD.decode(text(element)).unwrap()).unwrap()
}

/// The nonce of a request to sign in.
pub(crate) fn nonce(auth: &str) -> String {
    let first = decode(auth);
    first.split_once(",r=").unwrap().1.to_owned()
}

impl ClientServer {
    /// With the certificate of that name.
    pub(crate) fn start(folder: &Folder, name: &str) -> Self {
        let chain = CertificateDer::from_pem_file(folder.0.join(format!("{name}.crt"))).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.0.join(format!("{name}.key"))).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .unwrap();
        Self {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            tls: Arc::new(tls),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Takes the next connection, in clear, up to the header.
    pub(crate) fn clear(&self) -> Pieces<TcpStream> {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut pieces = Pieces::new(stream);
        let header = pieces.next().unwrap();
        assert_eq!(attribute(&header, "to"), "jabber.test");
        assert!(
            !header.contains("bob"),
            "nobody is named in clear: {header}"
        );
        pieces.say(HEADER);
        pieces
    }

    /// Takes the next connection into TLS, up to the header inside it. `None`: the gateway does not like the certificate.
    pub(crate) fn encrypted(&self) -> Option<Line> {
        let mut clear = self.clear();
        clear.say(&format!(
            "<stream:features><starttls xmlns='{TLS}'><required/></starttls></stream:features>"
        ));
        assert_eq!(clear.next().unwrap(), format!("<starttls xmlns='{TLS}'/>"));
        clear.say(&format!("<proceed xmlns='{TLS}'/>"));
        let tls = ServerConnection::new(self.tls.clone()).unwrap();
        let mut line = Line {
            pieces: Pieces::new(StreamOwned::new(tls, clear.stream)),
            heard: 0,
            managed: false,
            answers: true,
        };
        let header = line.pieces.next()?;
        assert_eq!(attribute(&header, "from"), "bob.ocs@jabber.test");
        line.say(HEADER);
        Some(line)
    }

    /// Takes the next connection and its login.
    pub(crate) fn meet(&self) -> Line {
        let mut line = self.encrypted().expect("a header inside TLS");
        line.offer("PLAIN SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-256-PLUS");
        let auth = line.next();
        assert_eq!(attribute(&auth, "mechanism"), "SCRAM-SHA-256");
        let first = decode(&auth);
        let bare = first.strip_prefix("n,,").unwrap();
        let nonce = bare.strip_prefix("n=bob.ocs,r=").unwrap();
        let salt = BASE64_STANDARD.encode(SALT);
        let challenge = format!("r={nonce}-and-ours,s={salt},i={ITERATIONS}");
        line.sasl("challenge", &challenge);
        let last = decode(&line.next());
        let (without_proof, proof) = last.rsplit_once(",p=").unwrap();
        let message = format!("{bare},{challenge},{without_proof}");
        let key = salted();
        let client_key = hmac(&key, b"Client Key");
        let signature = hmac(&Sha256::digest(&client_key), message.as_bytes());
        let expected: Vec<u8> = client_key
            .iter()
            .zip(&signature)
            .map(|(a, b)| a ^ b)
            .collect();
        assert_eq!(
            proof,
            BASE64_STANDARD.encode(expected),
            "the proof of the password"
        );
        let signature = hmac(&hmac(&key, b"Server Key"), message.as_bytes());
        line.sasl(
            "success",
            &format!("v={}", BASE64_STANDARD.encode(signature)),
        );
        line.hear("<stream:stream");
        line.say(HEADER);
        line.say("<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><sm xmlns='urn:xmpp:sm:3'/></stream:features>");
        line
    }

    /// Takes the next connection with a session of its own, whose roster has romeo.
    pub(crate) fn accept(&self) -> Line {
        let mut line = self.meet();
        line.begin();
        line
    }

    /// Takes the next connection, which wants the session of the last one; the server has `heard` of its stanzas. What
    /// comes back beside it is how many of the server's it has.
    pub(crate) fn accept_again(&self, heard: u32) -> (Line, u32) {
        let mut line = self.meet();
        let resume = line.hear("<resume ");
        assert_eq!(attribute(&resume, "previd"), "s1");
        line.say(&format!(
            "<resumed xmlns='urn:xmpp:sm:3' previd='s1' h='{heard}'/>"
        ));
        line.managed = true;
        line.heard = heard;
        (line, attribute(&resume, "h").parse().unwrap())
    }
}

impl Line {
    pub(crate) fn offer(&mut self, mechanisms: &str) {
        let list: Vec<String> = mechanisms
            .split(' ')
            .map(|name| format!("<mechanism>{name}</mechanism>"))
            .collect();
        let list = list.concat();
        self.say(&format!(
            "<stream:features><mechanisms xmlns='{SASL}'>{list}</mechanisms></stream:features>"
        ));
    }

    pub(crate) fn sasl(&mut self, name: &str, text: &str) {
        self.say(&format!("<{name} xmlns='{SASL}'>{}</{name}>", encode(text)));
    }

    /// Gives an address, stream management and a roster.
    pub(crate) fn begin(&mut self) {
        self.hear("urn:ietf:params:xml:ns:xmpp-bind");
        self.say(
            "<iq type='result' id='stoxgate-bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <jid>bob.ocs@jabber.test/r1</jid></bind></iq>",
        );
        self.hear("<enable ");
        self.say("<enabled xmlns='urn:xmpp:sm:3' id='s1' resume='true'/>");
        self.managed = true;
        let question = self.hear("jabber:iq:roster");
        let id = attribute(&question, "id");
        self.say(&format!(
            "<iq type='result' id='{id}'><query xmlns='jabber:iq:roster'>\
             <item jid='romeo@jabber.test' subscription='none'/></query></iq>"
        ));
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.pieces.say(text);
    }

    /// What the gateway says next, which is no question for an acknowledgement.
    pub(crate) fn next(&mut self) -> String {
        self.try_next().expect("the stream goes on")
    }

    pub(crate) fn try_next(&mut self) -> Option<String> {
        loop {
            let piece = self.pieces.next()?;
            if piece.starts_with("<r ") {
                if self.answers {
                    let heard = self.heard;
                    self.say(&format!("<a xmlns='urn:xmpp:sm:3' h='{heard}'/>"));
                }
                continue;
            }
            let is_stanza = ["<message", "<presence", "<iq"]
                .iter()
                .any(|name| piece.starts_with(name));
            self.heard += u32::from(is_stanza && self.managed);
            return Some(piece);
        }
    }

    /// The next piece with these words. Presence of the account passes.
    pub(crate) fn hear(&mut self, words: &str) -> String {
        loop {
            let piece = self.next();
            if piece.contains(words) {
                return piece;
            }
            assert!(piece.starts_with("<presence"), "`{words}` before {piece}");
        }
    }

    /// Answers the next stanza, a fence.
    pub(crate) fn pass_fence(&mut self) {
        let ping = self.hear("urn:xmpp:ping");
        let id = attribute(&ping, "id");
        let to = attribute(&ping, "to");
        self.say(&format!(
            "<iq type='result' id='{id}' from='{to}' to='bob.ocs@jabber.test/r1'/>"
        ));
    }

    /// How many stanzas of the server's the gateway has taken over.
    pub(crate) fn ask(&mut self) -> u32 {
        self.say("<r xmlns='urn:xmpp:sm:3'/>");
        let answer = loop {
            let piece = self.next();
            if piece.starts_with("<a ") {
                break piece;
            }
        };
        attribute(&answer, "h").parse().unwrap()
    }

    /// The gateway ends the connection. Whether its words arrive depends on what it has not read.
    pub(crate) fn ends(mut self) {
        while let Some(piece) = self.try_next() {
            let is_expected = ["<stream:error", "<presence", "<iq"]
                .iter()
                .any(|name| piece.starts_with(name));
            assert!(is_expected, "{piece}");
        }
    }

    /// The connection breaks without a word of TLS.
    pub(crate) fn cut(self) {
        let mut stream = self.pieces.stream.sock;
        _ = stream.flush();
        drop(stream);
    }
}
