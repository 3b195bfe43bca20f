//! Namespaces that streams speak.

/// Stream elements (RFC 6120 §11.2).
pub const STREAMS: &str = "http://etherx.jabber.org/streams";
/// Content of a stream between servers.
pub const SERVER: &str = "jabber:server";
/// Content of a stream between client and server; the name under which stanzas travel inside the gateway.
pub const CLIENT: &str = "jabber:client";
/// Content of a stream between a server and a component of it (XEP-0114).
pub const COMPONENT: &str = "jabber:component:accept";
/// Dialback elements (XEP-0220).
pub const DIALBACK: &str = "jabber:server:dialback";
/// The dialback stream feature (XEP-0220 §2.4).
pub const DIALBACK_FEATURE: &str = "urn:xmpp:features:dialback";
/// STARTTLS (RFC 6120 §5).
pub const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// SASL (RFC 6120 §6).
pub const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// Stream error conditions (RFC 6120 §4.9.3).
pub const STREAM_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
/// Stanza error conditions (RFC 6120 §8.3.3).
pub const STANZA_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
/// Stream limits advertisement (XEP-0478).
pub const LIMITS: &str = "urn:xmpp:stream-limits:0";
/// Pings (XEP-0199).
pub const PING: &str = "urn:xmpp:ping";
/// Stream management (XEP-0198).
pub const SM: &str = "urn:xmpp:sm:3";
/// Bidirectional streams between servers (XEP-0288).
pub const BIDI: &str = "urn:xmpp:bidi";
/// The stream feature for them.
pub const BIDI_FEATURE: &str = "urn:xmpp:features:bidi";
/// Stream compression (XEP-0138): refused, never offered.
pub const COMPRESS: &str = "http://jabber.org/protocol/compress";
/// The `xml:` prefix.
pub const XML: &str = "http://www.w3.org/XML/1998/namespace";
