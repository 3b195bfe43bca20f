//! ocs.test: a small SIP endpoint with one user, alice (RFC 3261, RFC 3428, RFC 3856, RFC 6665), over mutual TLS.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certificates::{PeerTls, Trouble};
use super::inbox::{DEADLINE, Inbox};
use super::ladder::{Failure, Ladder, Way, Wire};
use super::sip_text::{Framer, SipMessage, response_lines, tag_of, uri_of, write};
use super::token;
use super::xml_stream::{Octets, escape};

/// The user.
pub(super) const ALICE: &str = "sip:alice@ocs.test";
/// The name under which the gateway is dialled.
const GATEWAY: &str = "gw.ocs.test";
/// What a subscription asks for and gets, in seconds.
const EXPIRES: u32 = 3600;

/// Where a message is to be written.
type Writer = mpsc::UnboundedSender<String>;

/// The endpoint and its user.
pub(super) struct SipPeer {
    /// All requests and responses received.
    pub(super) inbox: Inbox<SipMessage>,
    ladder: Arc<Ladder>,
    tls: PeerTls,
    gateway: SocketAddr,
    here: SocketAddr,
    state: Mutex<State>,
    dialled: tokio::sync::Mutex<Option<Writer>>,
}

#[derive(Default)]
struct State {
    /// Who watches alice, each in a dialog.
    watchers: Vec<Dialog>,
    /// Whom she has allowed to see her.
    allowed: BTreeSet<String>,
    /// The dialog in which she watches somebody.
    watching: Option<Dialog>,
    /// Her presence.
    presence: Presence,
}

/// How alice is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Presence {
    /// An activity of RFC 4480, such as `away`; empty for none.
    activity: String,
    note: String,
}

/// One end of a dialog.
#[derive(Debug, Clone)]
struct Dialog {
    call_id: String,
    local: String,
    remote: String,
    /// The other end's `Contact`.
    target: String,
    cseq: u32,
    /// The connection it lives on.
    writer: Writer,
}

impl SipPeer {
    /// Serves the listener for as long as the runtime lives.
    pub(super) fn start(
        listener: TcpListener,
        here: SocketAddr,
        gateway: SocketAddr,
        tls: PeerTls,
        ladder: Arc<Ladder>,
    ) -> Arc<Self> {
        let peer = Arc::new(Self {
            inbox: Inbox::default(),
            ladder,
            tls,
            gateway,
            here,
            state: Mutex::default(),
            dialled: tokio::sync::Mutex::default(),
        });
        let serving = peer.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let peer = serving.clone();
                tokio::spawn(async move {
                    if let Err(why) = peer.accept(connection).await {
                        peer.ladder
                            .event(&format!("ocs.test: a connection ended: {why}"));
                    }
                });
            }
        });
        peer
    }

    // ------------------------------------------------------------------------------------------ alice

    /// Lets a watcher see alice: NOTIFY active to whoever waits for it.
    pub(super) fn approve(&self, watcher: &str) {
        self.state.lock().allowed.insert(watcher.to_owned());
        self.notify_all(watcher);
    }

    /// Sets her presence and tells those who may see it.
    pub(super) fn set_presence(&self, activity: &str, note: &str) {
        let allowed = {
            let mut state = self.state.lock();
            state.presence = Presence {
                activity: activity.to_owned(),
                note: note.to_owned(),
            };
            state.allowed.clone()
        };
        for watcher in allowed {
            self.notify_all(&watcher);
        }
    }

    /// Sends a MESSAGE and waits for its final answer.
    pub(super) async fn message(
        self: &Arc<Self>,
        to: &str,
        body: &str,
    ) -> Result<SipMessage, Failure> {
        let writer = self.gateway().await?;
        let call_id = format!("{}@{}", token(), self.here);
        let mut lines = self.request("MESSAGE", to);
        lines.extend([
            format!("From: \"Alice\" <{ALICE}>;tag={}", token()),
            format!("To: <{to}>"),
            format!("Call-ID: {call_id}"),
            "CSeq: 1 MESSAGE".to_owned(),
            "Content-Type: text/plain;charset=UTF-8".to_owned(),
        ]);
        self.send(&writer, &lines, body);
        self.final_answer(&call_id, 1).await
    }

    /// Sends a SUBSCRIBE for somebody's presence and waits for its final answer. The dialog takes the place of the last.
    pub(super) async fn subscribe(self: &Arc<Self>, to: &str) -> Result<SipMessage, Failure> {
        let writer = self.gateway().await?;
        let mut dialog = Dialog {
            call_id: format!("{}@{}", token(), self.here),
            local: format!("<{ALICE}>;tag={}", token()),
            remote: format!("<{to}>"),
            target: to.to_owned(),
            cseq: 0,
            writer,
        };
        let answer = self.subscribe_in(&mut dialog, EXPIRES).await?;
        if answer.status() == Some(200) {
            answer.get("to").clone_into(&mut dialog.remote);
            uri_of(answer.get("contact")).clone_into(&mut dialog.target);
            self.state.lock().watching = Some(dialog);
        }
        Ok(answer)
    }

    /// Sends a SUBSCRIBE in the dialog; `expires` zero ends it.
    pub(super) async fn refresh(self: &Arc<Self>, expires: u32) -> Result<SipMessage, Failure> {
        let dialog = self.state.lock().watching.take();
        let Some(mut dialog) = dialog else {
            return Err(Failure::new("a subscription to refresh", "none"));
        };
        dialog.writer = self.gateway().await?;
        let answer = self.subscribe_in(&mut dialog, expires).await?;
        if expires > 0 && answer.status() == Some(200) {
            self.state.lock().watching = Some(dialog);
        }
        Ok(answer)
    }

    async fn subscribe_in(&self, dialog: &mut Dialog, expires: u32) -> Result<SipMessage, Failure> {
        let mut lines = self.in_dialog("SUBSCRIBE", dialog);
        lines.extend([
            "Event: presence".to_owned(),
            "Accept: application/pidf+xml".to_owned(),
            format!("Expires: {expires}"),
        ]);
        self.send(&dialog.writer, &lines, "");
        self.final_answer(&dialog.call_id, dialog.cseq).await
    }

    async fn final_answer(&self, call_id: &str, cseq: u32) -> Result<SipMessage, Failure> {
        let answers = |message: &SipMessage| {
            message.status().is_some_and(|status| status >= 200)
                && message.get("call-id") == call_id
                && message.cseq() == cseq
        };
        self.inbox.take("a final answer", answers).await
    }

    // ------------------------------------------------------------------------------------ alice watched

    /// NOTIFY to each dialog of a watcher, as she is allowed.
    fn notify_all(&self, watcher: &str) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let word = if state.allowed.contains(watcher) {
            format!("active;expires={EXPIRES}")
        } else {
            format!("pending;expires={EXPIRES}")
        };
        for dialog in &mut state.watchers {
            if uri_of(&dialog.remote) == watcher {
                self.notify(dialog, &word, &state.presence);
            }
        }
    }

    fn notify(&self, dialog: &mut Dialog, state: &str, presence: &Presence) {
        let mut lines = self.in_dialog("NOTIFY", dialog);
        lines.push("Event: presence".to_owned());
        lines.push(format!("Subscription-State: {state}"));
        let body = if state.starts_with("active") {
            lines.push("Content-Type: application/pidf+xml".to_owned());
            pidf(presence)
        } else {
            String::new()
        };
        self.send(&dialog.writer, &lines, &body);
    }

    /// A SUBSCRIBE has come: 200 and a NOTIFY of what is so (RFC 6665 §4.2.1).
    fn subscribed(&self, request: &SipMessage, writer: &Writer) {
        let tag = token();
        let expires = request
            .get("expires")
            .parse()
            .unwrap_or(EXPIRES)
            .min(EXPIRES);
        let mut lines = response_lines(request, "200 OK", &tag);
        lines.push(format!("Contact: <{}>", self.contact()));
        lines.push(format!("Expires: {expires}"));
        let found = {
            let mut state = self.state.lock();
            let call_id = request.get("call-id");
            let place = state.watchers.iter().position(|had| had.call_id == call_id);
            place.map(|place| state.watchers.remove(place))
        };
        let is_refresh = !tag_of(request.get("to")).is_empty();
        let mut dialog = match found {
            Some(dialog) => dialog,
            None if is_refresh => {
                return self.answer(request, "481 Subscription Does Not Exist", writer);
            }
            None => Dialog {
                call_id: request.get("call-id").to_owned(),
                local: format!("{};tag={tag}", request.get("to")),
                remote: request.get("from").to_owned(),
                target: uri_of(request.get("contact")).to_owned(),
                cseq: 0,
                writer: writer.clone(),
            },
        };
        dialog.writer = writer.clone();
        self.send(writer, &lines, "");
        if expires == 0 {
            return self.notify(
                &mut dialog,
                "terminated;reason=timeout",
                &Presence::default(),
            );
        }
        let watcher = uri_of(&dialog.remote).to_owned();
        {
            let mut state = self.state.lock();
            // A new dialog of the same watcher takes the place of what a restart has left.
            state.watchers.retain(|had| uri_of(&had.remote) != watcher);
            state.watchers.push(dialog);
        }
        self.notify_all(&watcher);
    }

    // ------------------------------------------------------------------------------------------- wire

    fn contact(&self) -> String {
        format!("sip:alice@{};transport=tls", self.here)
    }

    /// The first lines of a request.
    fn request(&self, method: &str, uri: &str) -> Vec<String> {
        vec![
            format!("{method} {uri} SIP/2.0"),
            format!("Via: SIP/2.0/TLS {};branch=z9hG4bK{}", self.here, token()),
            "Max-Forwards: 70".to_owned(),
        ]
    }

    /// The first lines of the next request in a dialog.
    fn in_dialog(&self, method: &str, dialog: &mut Dialog) -> Vec<String> {
        dialog.cseq += 1;
        let mut lines = self.request(method, &dialog.target);
        lines.extend([
            format!("From: {}", dialog.local),
            format!("To: {}", dialog.remote),
            format!("Call-ID: {}", dialog.call_id),
            format!("CSeq: {} {method}", dialog.cseq),
            format!("Contact: <{}>", self.contact()),
        ]);
        lines
    }

    fn answer(&self, request: &SipMessage, status: &str, writer: &Writer) {
        self.send(writer, &response_lines(request, status, &token()), "");
    }

    fn send(&self, writer: &Writer, lines: &[String], body: &str) {
        let text = write(lines, body);
        let mut framer = Framer::default();
        framer.buffer().extend(text.bytes());
        if let Ok(Some(message)) = framer.next() {
            self.show(Way::ToGateway, &message);
        }
        // When the connection is gone the answer stays out, and the wait for it says so.
        _ = writer.send(text);
    }

    fn show(&self, way: Way, message: &SipMessage) {
        self.ladder
            .crossed(Wire::Sip, way, &message.to_string(), &message.text);
    }

    /// Forgets the connection to the gateway: it is known to be gone.
    pub(super) async fn disconnect(&self) {
        *self.dialled.lock().await = None;
    }

    /// The connection to the gateway, dialled if need be.
    async fn gateway(self: &Arc<Self>) -> Result<Writer, Failure> {
        let mut dialled = self.dialled.lock().await;
        if let Some(writer) = dialled.as_ref().filter(|writer| !writer.is_closed()) {
            return Ok(writer.clone());
        }
        let failed =
            |why: &dyn std::fmt::Display| Failure::new("a TLS connection to the gateway", why);
        let opened = timeout(DEADLINE, self.dial()).await;
        let writer = opened
            .map_err(|_| failed(&"no answer in time"))?
            .map_err(|why| failed(&why))?;
        Ok(dialled.insert(writer).clone())
    }

    async fn dial(self: &Arc<Self>) -> Result<Writer, Trouble> {
        self.ladder
            .crossed(Wire::Sip, Way::ToGateway, "connection, mutual TLS", "");
        let connection = TcpStream::connect(self.gateway).await?;
        connection.set_nodelay(true)?;
        let stream = TlsConnector::from(self.tls.client.clone())
            .connect(ServerName::try_from(GATEWAY)?, connection)
            .await?;
        let (writer, queue) = mpsc::unbounded_channel();
        let (peer, replies) = (self.clone(), writer.clone());
        tokio::spawn(async move {
            if let Err(why) = converse(&peer, stream, queue, replies).await {
                peer.ladder
                    .event(&format!("ocs.test: its connection ended: {why}"));
            }
        });
        Ok(writer)
    }

    async fn accept(self: &Arc<Self>, connection: TcpStream) -> Result<(), Trouble> {
        self.ladder
            .crossed(Wire::Sip, Way::FromGateway, "connection, mutual TLS", "");
        connection.set_nodelay(true)?;
        let handshake = TlsAcceptor::from(self.tls.server.clone()).accept(connection);
        let stream = timeout(DEADLINE, handshake).await??;
        let (writer, queue) = mpsc::unbounded_channel();
        converse(self, stream, queue, writer).await
    }

    /// What the endpoint does by itself; everything is also left for the story.
    fn receive(&self, message: SipMessage, writer: &Writer) {
        self.show(Way::FromGateway, &message);
        if message.status().is_none() {
            match message.method() {
                "ACK" => {}
                "NOTIFY" => self.answer(&message, "200 OK", writer),
                _ if uri_of(message.get("to")) != ALICE => {
                    self.answer(&message, "404 Not Found", writer);
                }
                "MESSAGE" => self.answer(&message, "200 OK", writer),
                "SUBSCRIBE" => self.subscribed(&message, writer),
                _ => self.answer(&message, "405 Method Not Allowed", writer),
            }
        }
        self.inbox.put(message);
    }
}

/// Reads and writes one connection to its end.
async fn converse(
    peer: &SipPeer,
    stream: impl Octets,
    mut queue: mpsc::UnboundedReceiver<String>,
    writer: Writer,
) -> Result<(), Trouble> {
    let (mut reader, mut out) = tokio::io::split(stream);
    let mut framer = Framer::default();
    loop {
        tokio::select! {
            Some(text) = queue.recv() => {
                out.write_all(text.as_bytes()).await?;
                out.flush().await?;
            }
            read = reader.read_buf(framer.buffer()) => match read {
                // A killed gateway does not say goodbye.
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => while let Some(message) = framer.next()? {
                    peer.receive(message, &writer);
                },
            }
        }
    }
}

/// Alice's presence as a document (RFC 3863, RFC 4480).
fn pidf(presence: &Presence) -> String {
    let note = match presence.note.as_str() {
        "" => String::new(),
        note => format!("<note>{}</note>", escape(note)),
    };
    let person = match presence.activity.as_str() {
        "" => String::new(),
        activity => format!(
            "<dm:person id=\"alice\"><rpid:activities><rpid:{activity}/></rpid:activities></dm:person>"
        ),
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
         <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" \
         xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" entity=\"{ALICE}\">\
         <tuple id=\"desk\"><status><basic>open</basic></status>{note}</tuple>{person}</presence>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn her_presence_is_well_formed() {
        for (activity, note) in [("", ""), ("away", "<out> & about")] {
            let text = pidf(&Presence {
                activity: activity.to_owned(),
                note: note.to_owned(),
            });
            let document: minidom::Element = text
                .split_once("\r\n")
                .map_or(text.as_str(), |(_, document)| document)
                .parse()
                .unwrap();
            let tuple = document.children().next().unwrap();
            let said = tuple.children().find(|child| child.name() == "note");
            assert_eq!(said.map(minidom::Element::text).unwrap_or_default(), note);
            assert_eq!(
                document.children().count(),
                if activity.is_empty() { 1 } else { 2 }
            );
        }
    }
}
