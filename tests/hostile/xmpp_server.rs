//! An XMPP server of one domain, with or without TLS: it takes the gateway's streams, is the authority that dialback asks,
//! and hands on every stanza.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustls::ServerConfig;

use crate::harness::DEADLINE;
use crate::tls;

/// The running server.
pub(crate) struct XmppServer {
    pub(crate) address: SocketAddr,
    pub(crate) stanzas: Receiver<String>,
    shared: Shared,
}

#[derive(Clone)]
struct Shared {
    /// Whose server it is, and whom it speaks with.
    domain: &'static str,
    partner: &'static str,
    /// Its stream to the gateway, for answers to pings.
    out: Arc<Mutex<Option<Box<dyn Write + Send>>>>,
    sender: Sender<String>,
}

impl XmppServer {
    pub(crate) fn start(domain: &'static str, partner: &'static str) -> Self {
        Self::start_with(domain, partner, None)
    }

    pub(crate) fn start_with(
        domain: &'static str,
        partner: &'static str,
        secure: Option<Arc<ServerConfig>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, stanzas) = channel();
        let shared = Shared {
            domain,
            partner,
            out: Arc::default(),
            sender,
        };
        let each = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, secure) = (each.clone(), secure.clone());
                std::thread::spawn(move || match secure {
                    Some(config) => shared.take(tls::accept(&config, stream)),
                    None => shared.take(stream),
                });
            }
        });
        Self {
            address,
            stanzas,
            shared,
        }
    }

    /// Opens its stream to the gateway and proves its domain by dialback.
    pub(crate) fn dial(&self, gateway: SocketAddr) {
        let stream = tls::patient(TcpStream::connect(gateway).unwrap());
        let mut pieces = Pieces::new(stream.try_clone().unwrap());
        prove(&mut pieces, self.shared.domain, self.shared.partner);
        stream.set_read_timeout(None).unwrap();
        self.answer_on(stream);
        std::thread::spawn(move || pieces.for_each(drop));
    }

    /// Takes a proved stream to the gateway for its answers.
    pub(crate) fn answer_on(&self, stream: impl Write + Send + 'static) {
        *self.shared.out.lock().unwrap() = Some(Box::new(stream));
    }

    /// Sends a stanza.
    pub(crate) fn say(&self, stanza: &str) {
        self.shared.say(stanza);
    }

    /// Everything up to and with the next stanza that contains these words.
    pub(crate) fn hear(&self, words: &str) -> Vec<String> {
        let deadline = Instant::now() + DEADLINE;
        let mut heard = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.stanzas.recv_timeout(left) {
                Ok(stanza) => heard.push(stanza),
                Err(_) => panic!("no stanza with `{words}` among:\n{}", heard.join("\n")),
            }
            if heard.last().is_some_and(|stanza| stanza.contains(words)) {
                return heard;
            }
        }
    }
}

/// Sends header and dialback key, and waits for the proof.
pub(crate) fn prove<S: Read + Write>(pieces: &mut Pieces<S>, domain: &str, partner: &str) {
    pieces.say(&header(domain, partner, ""));
    pieces.wait_for("<stream:features");
    pieces.say(&format!(
        "<db:result from='{domain}' to='{partner}'>key</db:result>"
    ));
    let result = pieces.wait_for("<db:result");
    assert!(result.contains("'valid'"), "{result}");
}

pub(crate) fn header(from: &str, to: &str, id: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
         xmlns:stream='http://etherx.jabber.org/streams' from='{from}' to='{to}'{id} version='1.0'>"
    )
}

impl Shared {
    fn say(&self, stanza: &str) {
        let mut stream = self.out.lock().unwrap();
        let stream = stream.as_mut().expect("a stream to the gateway");
        stream.write_all(stanza.as_bytes()).unwrap();
        stream.flush().unwrap();
    }

    /// Serves one stream of the gateway's to its end.
    fn take<S: Read + Write>(&self, stream: S) {
        let mut pieces = Pieces::new(stream);
        let (domain, partner) = (self.domain, self.partner);
        while let Some(piece) = pieces.next() {
            if piece.starts_with("<stream:stream") {
                let features = "<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>";
                pieces.say(&(header(domain, partner, " id='s1'") + features));
            } else if piece.starts_with("<db:") {
                pieces.say(&self.dialback(&piece));
            } else if piece.starts_with("<iq") && piece.contains("urn:xmpp:ping") {
                let (from, to) = (attribute(&piece, "to"), attribute(&piece, "from"));
                let id = attribute(&piece, "id");
                self.say(&format!(
                    "<iq type='result' id='{id}' from='{from}' to='{to}'/>"
                ));
            } else if self.sender.send(piece).is_err() {
                return;
            }
        }
        pieces.say("</stream:stream>");
    }

    /// Only the key of this domain's own streams is right; what the gateway claims is.
    fn dialback(&self, piece: &str) -> String {
        let (domain, partner) = (self.domain, self.partner);
        if piece.starts_with("<db:result") {
            return format!("<db:result from='{domain}' to='{partner}' type='valid'/>");
        }
        let (asked, id) = (attribute(piece, "to"), attribute(piece, "id"));
        let right = asked == domain && piece.contains(">key<");
        let kind = if right { "valid" } else { "invalid" };
        format!("<db:verify from='{asked}' to='{partner}' id='{id}' type='{kind}'/>")
    }
}

/// The value of an attribute of the first tag.
pub(crate) fn attribute<'a>(element: &'a str, name: &str) -> &'a str {
    let tag = element.split('>').next().unwrap();
    let quoted = tag.split_once(&format!(" {name}=")).map(|(_, rest)| rest);
    let quoted = quoted.unwrap_or_else(|| panic!("no {name} in {element}"));
    let quote = quoted.chars().next().unwrap();
    quoted.split(quote).nth(1).unwrap()
}

/// Headers and elements of a stream.
pub(crate) struct Pieces<S> {
    pub(crate) stream: S,
    read: String,
}

impl<S: Read + Write> Pieces<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            read: String::new(),
        }
    }

    /// Writes; a stream that ends early is found out by reading.
    pub(crate) fn say(&mut self, text: &str) {
        self.say_octets(text.as_bytes());
    }

    pub(crate) fn say_octets(&mut self, octets: &[u8]) {
        _ = self.stream.write_all(octets);
        _ = self.stream.flush();
    }

    pub(crate) fn wait_for(&mut self, start: &str) -> String {
        let mut others = Vec::new();
        for piece in self.by_ref() {
            if piece.starts_with(start) {
                return piece;
            }
            others.push(piece);
        }
        panic!("the stream ends without {start}: {others:?}");
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

impl<S: Read + Write> Iterator for Pieces<S> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(piece) = self.take() {
                return Some(piece).filter(|piece| !piece.starts_with("</stream"));
            }
            match self.stream.read(&mut buffer) {
                Ok(count) if count > 0 => self
                    .read
                    .push_str(std::str::from_utf8(&buffer[..count]).expect("XMPP is UTF-8")),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("neither a word nor an end after `{}`", self.read)
                }
                _ => return None,
            }
        }
    }
}
