//! jabber.test: a small XMPP server with one user, romeo, and his client (RFC 6120, RFC 6121, XEP-0220, XEP-0199).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::certificates::{PeerTls, Trouble};
use super::inbox::{DEADLINE, Inbox};
use super::ladder::{Failure, Ladder, Way, Wire};
use super::token;
use super::xml_stream::{Octets, Stanza, XmlStream, accept, bare, dial, escape};

/// The server's domain.
pub(super) const DOMAIN: &str = "jabber.test";
/// Its user.
pub(super) const ROMEO: &str = "romeo@jabber.test";
/// His client.
const RESOURCE: &str = "romeo@jabber.test/orchard";
/// The domain on the other side of the gateway.
const PARTNER: &str = "ocs.test";

/// The server and its user.
pub(super) struct XmppPeer {
    /// All stanzas received, of whatever kind.
    pub(super) inbox: Inbox<Stanza>,
    ladder: Arc<Ladder>,
    tls: PeerTls,
    gateway: SocketAddr,
    state: Mutex<State>,
    outgoing: tokio::sync::Mutex<Option<Outgoing>>,
}

#[derive(Default)]
struct State {
    /// Dialback keys that we have given out, by stream.
    keys: BTreeMap<String, String>,
    /// Who may see romeo.
    watchers: BTreeSet<String>,
    /// Whose requests wait for him.
    asked: BTreeSet<String>,
    /// His presence: show and status.
    presence: Option<(String, String)>,
}

/// The proved stream to the gateway.
struct Outgoing {
    writer: Arc<tokio::sync::Mutex<WriteHalf<Box<dyn Octets>>>>,
    ended: Arc<AtomicBool>,
}

impl XmppPeer {
    /// Serves the listener for as long as the runtime lives.
    pub(super) fn start(
        listener: TcpListener,
        gateway: SocketAddr,
        tls: PeerTls,
        ladder: Arc<Ladder>,
    ) -> Arc<Self> {
        let peer = Arc::new(Self {
            inbox: Inbox::default(),
            ladder,
            tls,
            gateway,
            state: Mutex::default(),
            outgoing: tokio::sync::Mutex::default(),
        });
        let serving = peer.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let peer = serving.clone();
                tokio::spawn(async move {
                    if let Err(why) = peer.serve(connection).await {
                        peer.ladder
                            .event(&format!("{DOMAIN}: a stream ended: {why}"));
                    }
                });
            }
        });
        peer
    }

    // ------------------------------------------------------------------------------------------ romeo

    /// Sends a presence stanza of this type.
    pub(super) async fn presence_of_type(&self, kind: &str, to: &str) -> Result<(), Failure> {
        match kind {
            "subscribed" => {
                let mut state = self.state.lock();
                state.asked.remove(to);
                state.watchers.insert(to.to_owned());
            }
            "unsubscribed" => {
                self.state.lock().watchers.remove(to);
            }
            _ => {}
        }
        let to_text = escape(to);
        let stanza = format!("<presence type='{kind}' from='{ROMEO}' to='{to_text}'/>");
        self.send(&stanza).await
    }

    /// Lets somebody see romeo, as his client and server do: `subscribed`, then his presence.
    pub(super) async fn approve(&self, watcher: &str) -> Result<(), Failure> {
        self.presence_of_type("subscribed", watcher).await?;
        self.tell_presence(watcher).await
    }

    /// Sets romeo's presence and tells those who may see it.
    pub(super) async fn set_presence(&self, show: &str, status: &str) -> Result<(), Failure> {
        let watchers = {
            let mut state = self.state.lock();
            state.presence = Some((show.to_owned(), status.to_owned()));
            state.watchers.clone()
        };
        for watcher in watchers {
            self.tell_presence(&watcher).await?;
        }
        Ok(())
    }

    async fn tell_presence(&self, watcher: &str) -> Result<(), Failure> {
        let presence = self.state.lock().presence.clone();
        let to = escape(watcher);
        let stanza = match presence {
            None => format!("<presence type='unavailable' from='{RESOURCE}' to='{to}'/>"),
            Some((show, status)) => {
                let element = |name: &str, text: &str| match text {
                    "" => String::new(),
                    text => format!("<{name}>{}</{name}>", escape(text)),
                };
                let (show, status) = (element("show", &show), element("status", &status));
                format!("<presence from='{RESOURCE}' to='{to}'>{show}{status}</presence>")
            }
        };
        self.send(&stanza).await
    }

    /// Sends a message and gives its id.
    pub(super) async fn message(&self, to: &str, body: &str) -> Result<String, Failure> {
        let id = token();
        let (to, body) = (escape(to), escape(body));
        let stanza = format!(
            "<message type='chat' id='{id}' from='{RESOURCE}' to='{to}'><body>{body}</body></message>"
        );
        self.send(&stanza).await.map(|()| id)
    }

    /// Pings the domain behind the gateway, and waits for the answer: by then everything that the gateway had sent
    /// before has arrived.
    pub(super) async fn ping(&self) -> Result<(), Failure> {
        let id = token();
        let ping = format!(
            "<iq type='get' id='{id}' from='{DOMAIN}' to='{PARTNER}'><ping xmlns='urn:xmpp:ping'/></iq>"
        );
        self.send(&ping).await?;
        let is_answer = |stanza: &Stanza| {
            stanza.is("iq", Some("result"), PARTNER) && stanza.element.attr("id") == Some(&id)
        };
        self.inbox.take("an answer to the ping", is_answer).await?;
        Ok(())
    }

    // ---------------------------------------------------------------------------------------- outgoing

    /// Forgets the stream to the gateway: it is known to be gone.
    pub(super) async fn disconnect(&self) {
        *self.outgoing.lock().await = None;
    }

    /// Sends a stanza, on a new stream if need be.
    async fn send(&self, text: &str) -> Result<(), Failure> {
        let failed = |why: &dyn std::fmt::Display| {
            Failure::new("a stream to the gateway that takes stanzas", why)
        };
        let stanza = Stanza::parse(text).map_err(|why| failed(&why))?;
        let mut outgoing = self.outgoing.lock().await;
        let usable = outgoing
            .as_ref()
            .is_some_and(|stream| !stream.ended.load(Ordering::Relaxed));
        if !usable {
            *outgoing = None;
        }
        let stream = match outgoing.as_mut() {
            Some(stream) => stream,
            None => {
                let opened = timeout(DEADLINE, self.open()).await;
                let opened = opened
                    .map_err(|_| failed(&"no answer in time"))?
                    .map_err(|why| failed(&why))?;
                outgoing.insert(opened)
            }
        };
        self.out(&stanza);
        let written = async {
            let mut writer = stream.writer.lock().await;
            writer.write_all(text.as_bytes()).await?;
            writer.flush().await
        };
        match timeout(DEADLINE, written).await {
            Ok(written) => written.map_err(|why| failed(&why)),
            Err(_) => Err(failed(&"the gateway does not read")),
        }
    }

    /// The originating server's part of dialback.
    async fn open(&self) -> Result<Outgoing, Trouble> {
        let (mut stream, id) = self.dial().await?;
        let key = token();
        self.state.lock().keys.insert(id, key.clone());
        let claim = format!("<db:result from='{DOMAIN}' to='{PARTNER}'>{key}</db:result>");
        self.out(&Stanza::parse(&claim)?);
        stream.write(&claim).await?;
        let answer = stream.expect("result").await?;
        self.came(&answer);
        if answer.element.attr("type") != Some("valid") {
            return Err(format!("the gateway refuses our domain: {}", answer.text).into());
        }
        let (reader, writer) = tokio::io::split(stream.into_io()?);
        let writer = Arc::new(tokio::sync::Mutex::new(writer));
        let ended = Arc::new(AtomicBool::new(false));
        tokio::spawn(await_end(reader, writer.clone(), ended.clone()));
        Ok(Outgoing { writer, ended })
    }

    async fn dial(&self) -> Result<(XmlStream, String), Trouble> {
        self.note(Way::ToGateway, "stream, STARTTLS");
        let connection = TcpStream::connect(self.gateway).await?;
        connection.set_nodelay(true)?;
        dial(connection, &self.tls, DOMAIN, PARTNER).await
    }

    // ---------------------------------------------------------------------------------------- incoming

    async fn serve(&self, connection: TcpStream) -> Result<(), Trouble> {
        self.note(Way::FromGateway, "stream, STARTTLS");
        let id = token();
        connection.set_nodelay(true)?;
        let opened = timeout(DEADLINE, accept(connection, &self.tls, DOMAIN, &id)).await;
        let (mut stream, from) = opened.map_err(|_| "no stream in time")??;
        let mut proved = false;
        while let Some(stanza) = stream.element().await? {
            self.came(&stanza);
            match stanza.element.name() {
                "result" => proved |= self.prove(&mut stream, &id, &from, &stanza).await?,
                "verify" => self.vouch(&mut stream, &stanza).await?,
                _ if proved => self.receive(stanza).await?,
                _ => return Err(format!("{stanza} on a stream without proof").into()),
            }
        }
        // Of a gateway that was killed nobody takes it any more.
        _ = stream.write("</stream:stream>").await;
        Ok(())
    }

    /// The receiving server's part of dialback: asks the domain itself.
    async fn prove(
        &self,
        stream: &mut XmlStream,
        id: &str,
        from: &str,
        claim: &Stanza,
    ) -> Result<bool, Trouble> {
        let key = claim.element.text();
        let question = format!(
            "<db:verify from='{DOMAIN}' to='{PARTNER}' id='{id}'>{}</db:verify>",
            escape(key.trim())
        );
        let asked = async {
            let (mut authority, _) = self.dial().await?;
            self.out(&Stanza::parse(&question)?);
            authority.write(&question).await?;
            let answer = authority.expect("verify").await?;
            self.came(&answer);
            _ = authority.write("</stream:stream>").await;
            Ok::<bool, Trouble>(answer.element.attr("type") == Some("valid"))
        };
        let valid = from == PARTNER && timeout(DEADLINE, asked).await??;
        let verdict = if valid { "valid" } else { "invalid" };
        let answer = format!("<db:result from='{DOMAIN}' to='{PARTNER}' type='{verdict}'/>");
        self.out(&Stanza::parse(&answer)?);
        stream.write(&answer).await?;
        Ok(valid)
    }

    /// The authoritative server's part of dialback: says whether the key is ours.
    async fn vouch(&self, stream: &mut XmlStream, question: &Stanza) -> Result<(), Trouble> {
        let id = question.element.attr("id").unwrap_or_default().to_owned();
        let key = question.element.text();
        let ours = self.state.lock().keys.get(&id).cloned();
        let valid = ours.is_some_and(|ours| ours == key.trim());
        let verdict = if valid { "valid" } else { "invalid" };
        let id = escape(&id);
        let answer =
            format!("<db:verify from='{DOMAIN}' to='{PARTNER}' id='{id}' type='{verdict}'/>");
        self.out(&Stanza::parse(&answer)?);
        stream.write(&answer).await
    }

    /// What a server does by itself, and what is left for romeo.
    async fn receive(&self, stanza: Stanza) -> Result<(), Trouble> {
        let attribute = |name: &str| stanza.element.attr(name).unwrap_or_default().to_owned();
        let (from, to, kind, id) = (
            attribute("from"),
            attribute("to"),
            attribute("type"),
            attribute("id"),
        );
        let answer = match stanza.element.name() {
            "iq" if kind == "get" || kind == "set" => Some(iq_answer(&stanza, &from, &to, &id)),
            "message" if bare(&to) != ROMEO && kind != "error" => {
                Some(no_such_user("message", &from, &to, &id))
            }
            "presence" => {
                return self
                    .receive_presence(stanza, bare(&from), bare(&to), &kind)
                    .await;
            }
            _ => None,
        };
        self.inbox.put(stanza);
        if let Some(answer) = answer {
            self.send(&answer).await?;
        }
        Ok(())
    }

    /// RFC 6121 §3.1.3, §3.3.3, §4.3.2.
    async fn receive_presence(
        &self,
        stanza: Stanza,
        from: &str,
        to: &str,
        kind: &str,
    ) -> Result<(), Trouble> {
        let may_see = self.state.lock().watchers.contains(from);
        self.inbox.put(stanza.clone());
        if to != ROMEO {
            if kind == "subscribe" || kind == "probe" {
                let (from, to) = (escape(from), escape(to));
                let answer = format!("<presence type='unsubscribed' from='{to}' to='{from}'/>");
                self.send(&answer).await?;
            }
            return Ok(());
        }
        match kind {
            "subscribe" if may_see => self.presence_of_type("subscribed", from).await?,
            "subscribe" => {
                self.state.lock().asked.insert(from.to_owned());
            }
            "probe" if may_see => self.tell_presence(from).await?,
            // Whose question is open gets no refusal yet.
            "probe" if !self.state.lock().asked.contains(from) => {
                self.presence_of_type("unsubscribed", from).await?;
            }
            "unsubscribe" => {
                self.state.lock().watchers.remove(from);
            }
            _ => {}
        }
        Ok(())
    }

    // ------------------------------------------------------------------------------------------ ladder

    fn out(&self, stanza: &Stanza) {
        self.ladder.crossed(
            Wire::Xmpp,
            Way::ToGateway,
            &stanza.to_string(),
            &stanza.text,
        );
    }

    fn came(&self, stanza: &Stanza) {
        self.ladder.crossed(
            Wire::Xmpp,
            Way::FromGateway,
            &stanza.to_string(),
            &stanza.text,
        );
    }

    fn note(&self, way: Way, what: &str) {
        self.ladder.crossed(Wire::Xmpp, way, what, "");
    }
}

/// Reads until the gateway closes the stream, and closes it too. It answers on its own stream, so nothing else comes.
async fn await_end(
    mut reader: ReadHalf<Box<dyn Octets>>,
    writer: Arc<tokio::sync::Mutex<WriteHalf<Box<dyn Octets>>>>,
    ended: Arc<AtomicBool>,
) {
    let mut last_words = Vec::new();
    let end = b"</stream:stream>";
    while !last_words.windows(end.len()).any(|words| words == end)
        && matches!(reader.read_buf(&mut last_words).await, Ok(count) if count > 0)
    {}
    ended.store(true, Ordering::Relaxed);
    let mut writer = writer.lock().await;
    // Of a gateway that was killed nobody takes it any more.
    _ = writer.write_all(end).await;
    _ = writer.shutdown().await;
}

/// Pings are answered, everything else is not served.
fn iq_answer(question: &Stanza, from: &str, to: &str, id: &str) -> String {
    if question
        .element
        .children()
        .any(|child| child.name() == "ping")
    {
        let (from, to, id) = (escape(from), escape(to), escape(id));
        format!("<iq type='result' from='{to}' to='{from}' id='{id}'/>")
    } else {
        no_such_user("iq", from, to, id)
    }
}

/// What Prosody and ejabberd say of a user that they do not have (RFC 6121 §8.5.1).
fn no_such_user(name: &str, from: &str, to: &str, id: &str) -> String {
    let (from, to, id) = (escape(from), escape(to), escape(id));
    format!(
        "<{name} type='error' from='{to}' to='{from}' id='{id}'><error type='cancel'>\
         <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></{name}>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_are_answered_and_nothing_else_is_served() {
        let rows = [
            ("<ping xmlns='urn:xmpp:ping'/>", "result", None),
            ("<query xmlns='x:y'/>", "error", Some("service-unavailable")),
        ];
        for (payload, kind, condition) in rows {
            let text =
                format!("<iq type='get' from='ocs.test' to='jabber.test' id='1'>{payload}</iq>");
            let question = Stanza::parse(&text).unwrap();
            let answer = iq_answer(&question, "ocs.test", "jabber.test", "1");
            let answer = Stanza::parse(&answer).unwrap();
            assert!(answer.is("iq", Some(kind), "jabber.test"), "{answer}");
            assert_eq!(answer.condition().as_deref(), condition);
            assert_eq!(answer.element.attr("to"), Some("ocs.test"));
        }
    }
}
