//! An XMPP server of one domain: it takes the gateway's streams, proves its domain by dialback, answers pings, and hands
//! on every other stanza, and pings while it has no stream to the gateway. Without TLS. It says of every key that it is right, unless that says itself that it is wrong.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::harness::DEADLINE;
use crate::xml_pieces::{Pieces, attribute, header};

/// Whose server it is.
const DOMAIN: &str = "jabber.test";
/// Whom it speaks with.
const PARTNER: &str = "ocs.test";
const FEATURES: &str =
    "<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>";

/// The running server.
pub(crate) struct XmppServer {
    pub(crate) address: SocketAddr,
    stanzas: Receiver<String>,
    /// Its stream to the gateway.
    to_gateway: Arc<Mutex<Option<TcpStream>>>,
    deaf: Arc<AtomicBool>,
}

impl XmppServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, stanzas) = channel();
        let to_gateway = Arc::new(Mutex::new(None));
        let shared = to_gateway.clone();
        let deaf = Arc::new(AtomicBool::new(false));
        let is_deaf = deaf.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (sender, shared) = (sender.clone(), shared.clone());
                let is_deaf = is_deaf.clone();
                std::thread::spawn(move || take(stream, &sender, (&shared, &is_deaf)));
            }
        });
        Self {
            address,
            stanzas,
            to_gateway,
            deaf,
        }
    }

    /// Opens its stream to the gateway, which asks back whether it is the domain's.
    pub(crate) fn dial(&self, gateway: SocketAddr) {
        self.dial_for(gateway, PARTNER);
    }

    /// As [`Self::dial`], for another domain of the gateway's.
    pub(crate) fn dial_for(&self, gateway: SocketAddr, partner: &str) {
        let mut pieces = open(gateway, partner);
        let result = claim(&mut pieces, partner, "key");
        assert!(result.contains("'valid'"), "{result}");
        let stream = pieces.stream.try_clone().unwrap();
        stream.set_read_timeout(None).unwrap();
        *self.to_gateway.lock().unwrap() = Some(stream);
        let shared = self.to_gateway.clone();
        std::thread::spawn(move || {
            pieces.for_each(drop);
            if let Some(mut stream) = shared.lock().unwrap().take() {
                _ = stream.write_all(b"</stream:stream>");
            }
        });
    }

    /// Whether it answers pings from now on. Until then it does.
    pub(crate) fn answers_pings(&self, answers: bool) {
        self.deaf.store(!answers, Ordering::SeqCst);
    }

    /// Whatever has come is not heard any more.
    pub(crate) fn forget(&self) {
        self.stanzas.try_iter().for_each(drop);
    }

    /// The id of the next error.
    pub(crate) fn next_error(&self) -> String {
        attribute(&self.hear("type='error'"), "id").to_owned()
    }

    /// Sends a stanza.
    pub(crate) fn say(&self, stanza: &str) {
        say(&self.to_gateway, stanza);
    }

    /// The next stanza that contains these words; others before it are skipped.
    pub(crate) fn hear(&self, words: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        let mut skipped = Vec::new();
        while let Ok(stanza) = self
            .stanzas
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            if stanza.contains(words) {
                return stanza;
            }
            skipped.push(stanza);
        }
        panic!("no stanza with `{words}` among:\n{}", skipped.join("\n"));
    }
}

/// A stream to the gateway for a domain, on which nothing is proved yet.
pub(crate) fn open(gateway: SocketAddr, partner: &str) -> Pieces<TcpStream> {
    let stream = TcpStream::connect(gateway).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut pieces = Pieces::new(stream);
    pieces.say(&header(DOMAIN, partner, ""));
    pieces.wait_for("<stream:features");
    pieces
}

/// What the gateway says to the server's key for a domain.
pub(crate) fn claim(pieces: &mut Pieces<TcpStream>, partner: &str, key: &str) -> String {
    pieces.say(&format!(
        "<db:result from='{DOMAIN}' to='{partner}'>{key}</db:result>"
    ));
    pieces.wait_for("<db:result")
}

/// The answer to a ping.
pub(crate) fn pong(ping: &str) -> String {
    let (from, to) = (attribute(ping, "to"), attribute(ping, "from"));
    let id = attribute(ping, "id");
    format!("<iq type='result' id='{id}' from='{from}' to='{to}'/>")
}

fn say(stream: &Mutex<Option<TcpStream>>, stanza: &str) {
    let mut stream = stream.lock().unwrap();
    let stream = stream.as_mut().expect("a stream to the gateway");
    stream.write_all(stanza.as_bytes()).unwrap();
}

/// Serves one stream of the gateway's to its end.
fn take(
    mut stream: TcpStream,
    stanzas: &Sender<String>,
    (out, deaf): (&Mutex<Option<TcpStream>>, &AtomicBool),
) {
    let pieces = Pieces::new(stream.try_clone().unwrap());
    for piece in pieces {
        let answer = if piece.starts_with("<stream:stream") {
            header(DOMAIN, attribute(&piece, "from"), " id='s1'") + FEATURES
        } else if piece.starts_with("<db:") {
            let (to, right) = (attribute(&piece, "from"), !piece.contains(">wrong<"));
            let name = piece.split([' ', '>']).next().unwrap();
            let id = match name {
                "<db:verify" => format!(" id='{}'", attribute(&piece, "id")),
                _ => String::new(),
            };
            let verdict = if right { "valid" } else { "invalid" };
            format!("{name} from='{DOMAIN}' to='{to}'{id} type='{verdict}'/>")
        } else if piece.contains("urn:xmpp:ping") && deaf.load(Ordering::SeqCst) {
            continue;
        } else if piece.contains("urn:xmpp:ping") && out.lock().unwrap().is_some() {
            say(out, &pong(&piece));
            continue;
        } else {
            if stanzas.send(piece).is_err() {
                return;
            }
            continue;
        };
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
    _ = stream.write_all(b"</stream:stream>");
}
