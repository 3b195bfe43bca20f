//! An XMPP server of one domain: it takes the gateway's streams, proves its domain by dialback, answers pings, and hands
//! on every other stanza. Without TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::harness::DEADLINE;

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
}

impl XmppServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, stanzas) = channel();
        let to_gateway = Arc::new(Mutex::new(None));
        let shared = to_gateway.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (sender, shared) = (sender.clone(), shared.clone());
                std::thread::spawn(move || take(stream, &sender, &shared));
            }
        });
        Self {
            address,
            stanzas,
            to_gateway,
        }
    }

    /// Opens its stream to the gateway, which asks back whether it is the domain's.
    pub(crate) fn dial(&self, gateway: SocketAddr) {
        let mut stream = TcpStream::connect(gateway).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut pieces = Pieces::new(stream.try_clone().unwrap());
        stream.write_all(header("").as_bytes()).unwrap();
        pieces.wait_for("<stream:features");
        let key = format!("<db:result from='{DOMAIN}' to='{PARTNER}'>key</db:result>");
        stream.write_all(key.as_bytes()).unwrap();
        let result = pieces.wait_for("<db:result");
        assert!(result.contains("valid"), "{result}");
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

fn say(stream: &Mutex<Option<TcpStream>>, stanza: &str) {
    let mut stream = stream.lock().unwrap();
    let stream = stream.as_mut().expect("a stream to the gateway");
    stream.write_all(stanza.as_bytes()).unwrap();
}

fn header(id: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
         xmlns:stream='http://etherx.jabber.org/streams' from='{DOMAIN}' to='{PARTNER}'{id} version='1.0'>"
    )
}

/// The value of an attribute of the first tag.
pub(crate) fn attribute<'a>(element: &'a str, name: &str) -> &'a str {
    let tag = element.split('>').next().unwrap();
    let quoted = tag.split_once(&format!(" {name}=")).map(|(_, rest)| rest);
    let quoted = quoted.unwrap_or_else(|| panic!("no {name} in {element}"));
    let quote = quoted.chars().next().unwrap();
    quoted.split(quote).nth(1).unwrap()
}

/// Serves one stream of the gateway's to its end.
fn take(mut stream: TcpStream, stanzas: &Sender<String>, out: &Mutex<Option<TcpStream>>) {
    let pieces = Pieces::new(stream.try_clone().unwrap());
    for piece in pieces {
        let answer = if piece.starts_with("<stream:stream") {
            header(" id='s1'") + FEATURES
        } else if piece.starts_with("<db:") {
            // Both what it claims and what it asks for is right.
            let name = piece.split([' ', '>']).next().unwrap();
            let id = match name {
                "<db:verify" => format!(" id='{}'", attribute(&piece, "id")),
                _ => String::new(),
            };
            format!("{name} from='{DOMAIN}' to='{PARTNER}'{id} type='valid'/>")
        } else if piece.starts_with("<iq") && piece.contains("urn:xmpp:ping") {
            let (from, to) = (attribute(&piece, "to"), attribute(&piece, "from"));
            let id = attribute(&piece, "id");
            say(
                out,
                &format!("<iq type='result' id='{id}' from='{from}' to='{to}'/>"),
            );
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

/// Headers and elements of a stream.
pub(crate) struct Pieces {
    stream: TcpStream,
    read: String,
}

impl Pieces {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            read: String::new(),
        }
    }

    fn wait_for(&mut self, start: &str) -> String {
        self.find(|piece| piece.starts_with(start))
            .unwrap_or_else(|| panic!("the stream ends without {start}"))
    }

    /// The first piece, if it is whole.
    fn take(&mut self) -> Option<String> {
        let text = self.read.trim_start();
        let text = match text.strip_prefix("<?") {
            Some(rest) => rest.split_once("?>")?.1.trim_start(),
            None => text,
        };
        let mut depth = 0_u32;
        let mut end = 0;
        loop {
            let open = end + text.get(end..)?.find('<')?;
            let close = open + text.get(open..)?.find('>')?;
            let tag = text.get(open..=close)?;
            end = close + 1;
            if tag.starts_with("<stream:stream") || tag.starts_with("</stream:stream") {
                break;
            } else if tag.starts_with("</") {
                depth -= 1;
            } else if !tag.ends_with("/>") {
                depth += 1;
            }
            if depth == 0 {
                break;
            }
        }
        let piece = text.get(..end)?.to_owned();
        self.read = text.get(end..)?.to_owned();
        Some(piece)
    }
}

impl Iterator for Pieces {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(piece) = self.take() {
                return Some(piece).filter(|piece| !piece.starts_with("</stream"));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self
                    .read
                    .push_str(std::str::from_utf8(&buffer[..count]).unwrap()),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error} after {}", self.read),
            }
        }
    }
}
