//! The demo's own few lines of XMPP streams (RFC 6120 §4): enough for one honest server, and nothing of the gateway's.

use std::fmt;
use std::io::ErrorKind;

use minidom::Element;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certificates::{PeerTls, Trouble};

const STREAMS: &str = "http://etherx.jabber.org/streams";
const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// The most octets that wait for the rest of their element.
const LIMIT: usize = 1_000_000;

/// A connection with or without TLS.
pub(super) trait Octets: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Octets for T {}

/// One element at the top of a stream.
#[derive(Debug, Clone)]
pub(super) struct Stanza {
    /// What it is.
    pub(super) element: Element,
    /// As it was on the wire.
    pub(super) text: String,
}

impl fmt::Display for Stanza {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&summary(&self.element))
    }
}

impl Stanza {
    /// Reads one element as it stands in a stream.
    pub(super) fn parse(text: &str) -> Result<Self, Trouble> {
        let whole = format!(
            "<stream:stream xmlns='jabber:server' xmlns:stream='{STREAMS}' \
             xmlns:db='jabber:server:dialback'>{text}</stream:stream>"
        );
        let stream: Element = whole.parse()?;
        let element = stream.children().next().ok_or("no element")?.clone();
        Ok(Self {
            element,
            text: text.to_owned(),
        })
    }

    /// Whether it is of this kind (`message`, `presence`, `iq`, `result`, …) and type, from this bare address.
    pub(super) fn is(&self, name: &str, kind: Option<&str>, from: &str) -> bool {
        self.element.name() == name
            && self.element.attr("type") == kind
            && self.element.attr("from").map(bare) == Some(from)
    }

    /// The text of a child.
    pub(super) fn child_text(&self, name: &str) -> Option<String> {
        self.element
            .children()
            .find(|child| child.name() == name)
            .map(Element::text)
    }

    /// The defined condition of an error stanza.
    pub(super) fn condition(&self) -> Option<String> {
        self.element
            .children()
            .find(|child| child.name() == "error")
            .and_then(|error| error.children().find(|child| child.name() != "text"))
            .map(|condition| condition.name().to_owned())
    }
}

/// An address without its resource.
pub(super) fn bare(jid: &str) -> &str {
    jid.split('/').next().unwrap_or(jid)
}

/// What an address is called on the ladder.
fn short(jid: &str) -> &str {
    bare(jid).split('@').next().unwrap_or(jid)
}

/// One line for a person.
fn summary(element: &Element) -> String {
    let mut line = match element.ns().as_str() {
        "jabber:server:dialback" => format!("<db:{}", element.name()),
        _ => format!("<{}", element.name()),
    };
    for name in ["type", "from", "to"] {
        // Most messages are of this type, and say more by their text.
        let value = element.attr(name).filter(|value| *value != "chat");
        if let Some(value) = value {
            let value = if name == "type" { value } else { short(value) };
            line.push_str(&format!(" {name}={value}"));
        }
    }
    line.push('>');
    for child in element.children() {
        match child.name() {
            "body" | "status" => line.push_str(&format!(" \"{}\"", child.text())),
            "show" => line.push_str(&format!(" {}", child.text())),
            "ping" => line.push_str(" ping"),
            "error" => {
                let condition = child.children().find(|child| child.name() != "text");
                line.push_str(&format!(" {}", condition.map_or("", Element::name)));
            }
            _ => {}
        }
    }
    line
}

/// Text as it may stand in XML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&apos;")
        .replace('"', "&quot;")
}

/// Where the tag that begins at `from` ends.
fn tag_end(text: &str, from: usize) -> Option<usize> {
    let mut quote = None;
    for (offset, character) in text.get(from..)?.char_indices() {
        match (quote, character) {
            (None, '>') => return Some(from + offset + 1),
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
    }
    None
}

/// Where the element at the begin of the text ends.
fn element_end(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0_usize);
    loop {
        let start = at + text.get(at..)?.find('<')?;
        let end = tag_end(text, start)?;
        let tag = text.get(start..end)?;
        if tag.starts_with("</") {
            depth = depth.checked_sub(1)?;
        } else if !tag.ends_with("/>") {
            depth += 1;
        }
        if depth == 0 {
            return Some(end);
        }
        at = end;
    }
}

/// Where the stream header ends.
fn header_end(text: &str) -> Option<(usize, usize)> {
    let start = text.find("<stream:stream")?;
    Some((start, tag_end(text, start)?))
}

/// The attributes of a stream header that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Who opened it.
    pub(super) from: String,
    /// The name of the stream, given by the accepting side.
    pub(super) id: String,
}

/// A stream of elements.
pub(super) struct XmlStream {
    io: Box<dyn Octets>,
    buffer: Vec<u8>,
}

impl XmlStream {
    pub(super) fn new(io: impl Octets + 'static) -> Self {
        Self {
            io: Box::new(io),
            buffer: Vec::new(),
        }
    }

    /// The connection below, for TLS or for splitting; nothing may be left unread.
    pub(super) fn into_io(self) -> Result<Box<dyn Octets>, Trouble> {
        if self.buffer.is_empty() {
            Ok(self.io)
        } else {
            Err("there were octets behind the last expected element".into())
        }
    }

    pub(super) async fn write(&mut self, text: &str) -> Result<(), Trouble> {
        self.io.write_all(text.as_bytes()).await?;
        self.io.flush().await?;
        Ok(())
    }

    /// The peer's stream header.
    pub(super) async fn header(&mut self) -> Result<Header, Trouble> {
        loop {
            if let Some((start, end)) = header_end(self.text()) {
                let open = self.text().get(start..end - 1).unwrap_or_default();
                let element: Element = format!("{open}/>").parse()?;
                let attribute = |name: &str| element.attr(name).unwrap_or_default().to_owned();
                let header = Header {
                    from: attribute("from"),
                    id: attribute("id"),
                };
                self.buffer.drain(..end);
                return Ok(header);
            }
            if !self.fill().await? {
                return Err("the stream ended before its header".into());
            }
        }
    }

    /// The next element; none at the end of the stream.
    pub(super) async fn element(&mut self) -> Result<Option<Stanza>, Trouble> {
        loop {
            if self.text().trim_start().starts_with("</stream:stream") {
                return Ok(None);
            }
            if let Some(end) = element_end(self.text()) {
                let text = self.text().get(..end).unwrap_or_default().trim().to_owned();
                self.buffer.drain(..end);
                return Stanza::parse(&text).map(Some);
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// The next element, which must have this name.
    pub(super) async fn expect(&mut self, name: &str) -> Result<Stanza, Trouble> {
        match self.element().await? {
            Some(stanza) if stanza.element.name() == name => Ok(stanza),
            Some(stanza) => Err(format!("expected <{name}>, saw {}", stanza.text).into()),
            None => Err(format!("expected <{name}>, saw the end of the stream").into()),
        }
    }

    /// What has been read, as far as its last character is complete.
    fn text(&self) -> &str {
        match std::str::from_utf8(&self.buffer) {
            Ok(text) => text,
            Err(error) => self
                .buffer
                .get(..error.valid_up_to())
                .and_then(|good| std::str::from_utf8(good).ok())
                .unwrap_or_default(),
        }
    }

    async fn fill(&mut self) -> Result<bool, Trouble> {
        if self.buffer.len() > LIMIT {
            return Err("an element is too long".into());
        }
        match self.io.read_buf(&mut self.buffer).await {
            Ok(count) => Ok(count > 0),
            // A killed gateway does not say goodbye.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn header(from: &str, to: &str, id: &str) -> String {
    let id = if id.is_empty() {
        String::new()
    } else {
        format!(" id='{id}'")
    };
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='{STREAMS}' \
         xmlns:db='jabber:server:dialback' from='{from}' to='{to}'{id} version='1.0'>"
    )
}

/// Opens a stream and starts TLS; the certificate must be good for `to`. Gives the stream and its id.
pub(super) async fn dial(
    connection: TcpStream,
    tls: &PeerTls,
    from: &str,
    to: &str,
) -> Result<(XmlStream, String), Trouble> {
    let mut stream = XmlStream::new(connection);
    stream.write(&header(from, to, "")).await?;
    stream.header().await?;
    stream.expect("features").await?;
    stream.write(&format!("<starttls xmlns='{TLS}'/>")).await?;
    stream.expect("proceed").await?;
    let name = ServerName::try_from(to.to_owned())?;
    let secured = TlsConnector::from(tls.client.clone())
        .connect(name, stream.into_io()?)
        .await?;
    let mut stream = XmlStream::new(secured);
    stream.write(&header(from, to, "")).await?;
    let opened = stream.header().await?;
    stream.expect("features").await?;
    Ok((stream, opened.id))
}

/// Takes a stream and starts TLS; the other side must show a certificate. Gives the stream and the domain in its header.
pub(super) async fn accept(
    connection: TcpStream,
    tls: &PeerTls,
    local: &str,
    id: &str,
) -> Result<(XmlStream, String), Trouble> {
    let mut stream = XmlStream::new(connection);
    let opened = stream.header().await?;
    stream
        .write(&header(local, &opened.from, &format!("{id}-clear")))
        .await?;
    let offer = format!(
        "<stream:features><starttls xmlns='{TLS}'><required/></starttls></stream:features>"
    );
    stream.write(&offer).await?;
    stream.expect("starttls").await?;
    stream.write(&format!("<proceed xmlns='{TLS}'/>")).await?;
    let secured = TlsAcceptor::from(tls.server.clone())
        .accept(stream.into_io()?)
        .await?;
    let mut stream = XmlStream::new(secured);
    let opened = stream.header().await?;
    stream.write(&header(local, &opened.from, id)).await?;
    stream
        .write(
            "<stream:features><dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback></stream:features>",
        )
        .await?;
    Ok((stream, opened.from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_end_where_they_end() {
        let rows = [
            ("<a/>", Some(4)),
            ("<a></a><b/>", Some(7)),
            ("<a b='>'><c d=\"/>\"/></a>", Some(24)),
            ("<a><b></b>", None),
            ("<a b='", None),
            ("", None),
        ];
        for (text, end) in rows {
            assert_eq!(element_end(text), end, "{text}");
        }
    }

    #[test]
    fn summaries_say_who_what_and_how() {
        let rows = [
            (
                "<message from='romeo@jabber.test/x' to='alice@ocs.test' type='chat'><body>Hi &amp; ho</body></message>",
                "<message from=romeo to=alice> \"Hi & ho\"",
            ),
            (
                "<presence from='a@b' to='c@d'><show>away</show><status>out</status></presence>",
                "<presence from=a to=c> away \"out\"",
            ),
            (
                "<db:result from='a.test' to='b.test' type='valid'/>",
                "<db:result type=valid from=a.test to=b.test>",
            ),
            (
                "<iq type='get' from='a.test' to='b.test' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
                "<iq type=get from=a.test to=b.test> ping",
            ),
            (
                "<message type='error' from='a@b' to='c@d'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>",
                "<message type=error from=a to=c> item-not-found",
            ),
        ];
        for (text, expected) in rows {
            assert_eq!(Stanza::parse(text).unwrap().to_string(), expected);
        }
    }

    #[tokio::test]
    async fn a_stream_is_read_in_any_pieces() {
        let (ours, mut theirs) = tokio::io::duplex(3);
        let mut stream = XmlStream::new(ours);
        let written = tokio::spawn(async move {
            let text = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
                xmlns:stream='http://etherx.jabber.org/streams' from='a.test' id='7'>\
                <message><body>ü</body></message> <iq type='get'/></stream:stream>";
            theirs.write_all(text.as_bytes()).await.unwrap();
        });
        let header = stream.header().await.unwrap();
        assert_eq!((header.from.as_str(), header.id.as_str()), ("a.test", "7"));
        let message = stream.expect("message").await.unwrap();
        assert_eq!(message.child_text("body").as_deref(), Some("ü"));
        assert!(stream.expect("iq").await.is_ok());
        assert!(stream.element().await.unwrap().is_none());
        written.await.unwrap();
    }
}
