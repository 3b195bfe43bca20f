//! A client's stream to its server: octets in, commands out, on virtual time.

use base64::{Engine, prelude::BASE64_STANDARD};
use minidom::Element;

use super::*;

const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const CLEAR: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                     xmlns:stream='http://etherx.jabber.org/streams' to='jabber.test' version='1.0' xml:lang='en'>";
const OURS: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                    xmlns:stream='http://etherx.jabber.org/streams' from='user@jabber.test' to='jabber.test' \
                    version='1.0' xml:lang='en'>";
const THEIRS: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams' from='jabber.test' id='x' version='1.0'>";
const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
/// RFC 7677 §3.
const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const CHALLENGE: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const PROOF: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const END: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
const BIND: &str =
    "<iq type='set' id='stoxgate-bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
const BOUND: &str = "<iq type='result' id='stoxgate-bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
                     <jid>user@jabber.test/r1</jid></bind></iq>";
const ENABLE: &str = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>";
const ASK: &str = "<r xmlns='urn:xmpp:sm:3'/>";

struct Client {
    stream: ClientStream,
    now: Now,
}

fn features(inner: &str) -> String {
    format!("<stream:features>{inner}</stream:features>")
}

fn mechanisms(names: &str) -> String {
    let list: Vec<String> = names
        .split(' ')
        .map(|name| format!("<mechanism>{name}</mechanism>"))
        .collect();
    features(&format!(
        "<mechanisms xmlns='{SASL}'>{}</mechanisms>",
        list.concat()
    ))
}

fn sasl(name: &str, text: &str) -> String {
    format!(
        "<{name} xmlns='{SASL}'>{}</{name}>",
        BASE64_STANDARD.encode(text)
    )
}

fn valid() -> TlsInfo {
    TlsInfo {
        valid_names: vec!["jabber.test".to_owned()],
        distrust: None,
    }
}

fn settings() -> Arc<ClientSettings> {
    Arc::new(ClientSettings {
        user: "user".to_owned(),
        domain: "jabber.test".to_owned(),
        password: Password::new("pencil").unwrap(),
        plain: false,
        limits: Limits::default(),
        timing: Timing::default(),
    })
}

impl Client {
    fn new(session: Option<Session>) -> Self {
        Self {
            stream: ClientStream::new(settings(), session, NONCE.to_owned(), at(0)),
            now: at(0),
        }
    }

    /// Inside TLS, before the features.
    fn in_tls(session: Option<Session>) -> Self {
        let mut client = Self::new(session);
        assert_eq!(client.seen(), [wrote(CLEAR)]);
        let offer =
            features("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>");
        assert_eq!(client.take(&format!("{THEIRS}{offer}")), [wrote(STARTTLS)]);
        assert_eq!(
            client.take("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
            [Seen::StartTls]
        );
        client.stream.tls_done(&valid(), None, client.now);
        assert_eq!(client.seen(), [wrote(OURS)]);
        client
    }

    /// Behind the login, before the features.
    fn signed_in(session: Option<Session>) -> Self {
        let mut client = Self::answering(session);
        assert_eq!(client.take(&sasl("success", END)), [wrote(OURS)]);
        client
    }

    /// Before the server's last word of the login.
    fn answering(session: Option<Session>) -> Self {
        let mut client = Self::in_tls(session);
        let offer = mechanisms("PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS");
        let begin = format!(
            "<auth xmlns='{SASL}' mechanism='SCRAM-SHA-256'>{}</auth>",
            BASE64_STANDARD.encode(format!("n,,n=user,r={NONCE}"))
        );
        assert_eq!(client.take(&format!("{THEIRS}{offer}")), [wrote(begin)]);
        let said = client.take(&sasl("challenge", CHALLENGE));
        let [Seen::Said(ClientEvent::Derive(request))] = said.as_slice() else {
            panic!("{said:?}");
        };
        let key = request.derive(&Password::new("pencil").unwrap());
        client.stream.derived(&key, client.now);
        assert_eq!(client.seen(), [wrote(sasl("response", PROOF))]);
        client
    }

    /// With a session that can be resumed.
    fn ready() -> Self {
        let mut client = Self::signed_in(None);
        let offer =
            features("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><sm xmlns='urn:xmpp:sm:3'/>");
        assert_eq!(client.take(&format!("{THEIRS}{offer}")), [wrote(BIND)]);
        assert_eq!(client.take(BOUND), [wrote(ENABLE)]);
        assert_eq!(
            client.take("<enabled xmlns='urn:xmpp:sm:3' id='s1' resume='true'/>"),
            [bound(true)]
        );
        client
    }

    /// On another connection, asking for the session of this one.
    fn again(self, handled: u64) -> Self {
        let mut client = Self::signed_in(self.stream.into_session());
        let resume = format!("<resume xmlns='urn:xmpp:sm:3' h='{handled}' previd='s1'/>");
        let offer = features("<sm xmlns='urn:xmpp:sm:3'/>");
        assert_eq!(client.take(&format!("{THEIRS}{offer}")), [wrote(resume)]);
        client
    }

    fn take(&mut self, text: &str) -> Vec<Seen<ClientEvent>> {
        self.stream.receive(text.as_bytes(), self.now);
        self.seen()
    }

    fn seen(&mut self) -> Vec<Seen<ClientEvent>> {
        seen(|| self.stream.poll_command())
    }

    fn send(&mut self, body: &str) -> Result<(), SendError> {
        self.stream.send(&message(body), self.now)
    }

    fn number(&mut self, body: &str) -> StanzaNumber {
        let said = self.take(&format!("<message><body>{body}</body></message>"));
        match said.as_slice() {
            [Seen::Said(ClientEvent::Stanza { number, element })] => {
                assert_eq!(element, &message(body));
                *number
            }
            _ => panic!("{said:?}"),
        }
    }

    fn time_out_at(&mut self, seconds: u64) -> Vec<Seen<ClientEvent>> {
        assert_eq!(self.stream.poll_timeout(), Some(at(seconds).mono));
        self.now = at(seconds);
        self.stream.handle_timeout(self.now);
        self.seen()
    }
}

fn message(body: &str) -> Element {
    format!("<message xmlns='jabber:client'><body>{body}</body></message>")
        .parse()
        .unwrap()
}

fn bound(resumable: bool) -> Seen<ClientEvent> {
    Seen::Said(ClientEvent::Bound {
        address: "user@jabber.test/r1".to_owned(),
        resumable,
    })
}

fn acknowledged(count: u64) -> Seen<ClientEvent> {
    wrote(format!("<a xmlns='urn:xmpp:sm:3' h='{count}'/>"))
}

fn refused(fault: LoginFault) -> Vec<Seen<ClientEvent>> {
    vec![
        Seen::Said(ClientEvent::Refused(fault)),
        wrote("</stream:stream>"),
        Seen::Said(ClientEvent::Closed(CloseReason::Requested)),
        Seen::Close,
    ]
}

#[test]
fn signs_in_and_carries_stanzas_both_ways() {
    let mut client = Client::ready();
    client.send("1").unwrap();
    client.stream.request_acknowledgement(client.now);
    client.send("2").unwrap();
    client.stream.request_acknowledgement(client.now);
    assert_eq!(
        client.seen(),
        [wrote(format!(
            "<message><body>1</body></message>{ASK}<message><body>2</body></message>"
        ))],
        "one question at a time"
    );
    assert!(client.take("<a xmlns='urn:xmpp:sm:3' h='1'/>").is_empty());
    client.stream.request_acknowledgement(client.now);
    assert_eq!(client.seen(), [wrote(ASK)]);
}

#[test]
fn acknowledges_only_what_is_handled() {
    let mut client = Client::ready();
    let (one, two) = (client.number("1"), client.number("2"));
    assert_eq!(client.take(ASK), [acknowledged(0)]);
    client.stream.handled(two, client.now);
    assert!(client.seen().is_empty());
    client.stream.handled(one, client.now);
    assert_eq!(client.seen(), [acknowledged(2)], "the server was owed it");
}

#[test]
fn a_cut_loses_nothing_and_doubles_nothing() {
    let mut client = Client::ready();
    for body in ["a", "b"] {
        client.send(body).unwrap();
    }
    client.seen();
    let (one, two) = (client.number("1"), client.number("2"));
    client.stream.handled(one, client.now);
    client.seen();
    client.stream.connection_lost();
    let mut client = client.again(1);
    let said = client.take("<resumed xmlns='urn:xmpp:sm:3' h='1' previd='s1'/>");
    let again = format!("<message><body>b</body></message>{ASK}");
    assert_eq!(
        said,
        [Seen::Said(ClientEvent::Resumed(1)), wrote(again)],
        "what the server has is not written again"
    );
    assert!(
        client.take("<message><body>2</body></message>").is_empty(),
        "it is being worked on"
    );
    let three = client.number("3");
    client.stream.handled(two, client.now);
    client.stream.handled(three, client.now);
    assert_eq!(client.take(ASK), [acknowledged(3)]);
}

#[test]
fn a_question_from_before_a_cut_is_not_answered_in_clear() {
    let mut client = Client::ready();
    let number = client.number("one");
    assert_eq!(client.take(ASK), [acknowledged(0)]);
    client.stream.connection_lost();
    let mut next = Client::new(client.stream.into_session());
    assert_eq!(next.seen(), [wrote(CLEAR)]);
    next.stream.handled(number, next.now);
    assert_eq!(next.seen(), []);
}

#[test]
fn a_server_that_has_forgotten_begins_anew() {
    let mut client = Client::ready();
    client.send("a").unwrap();
    client.stream.connection_lost();
    let mut client = client.again(0);
    let failed = "<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>";
    assert_eq!(
        client.take(failed),
        [Seen::Said(ClientEvent::SessionLost), wrote(BIND)]
    );
    assert_eq!(client.take(BOUND), [wrote(ENABLE)]);
    assert_eq!(
        client.take("<failed xmlns='urn:xmpp:sm:3'/>"),
        [bound(false)]
    );
    client.send("b").unwrap();
    client.stream.request_acknowledgement(client.now);
    assert_eq!(client.seen(), [wrote("<message><body>b</body></message>")]);
    assert!(client.stream.into_session().is_none());
}

#[test]
fn says_nothing_to_a_server_without_tls() {
    let mut client = Client::new(None);
    client.seen();
    let said = client.take(&format!("{THEIRS}{}", mechanisms("PLAIN SCRAM-SHA-1")));
    assert_eq!(said, [wrote("</stream:stream>")]);
    assert_eq!(
        client.take("</stream:stream>"),
        [
            Seen::Said(ClientEvent::Closed(CloseReason::TlsNotOffered)),
            Seen::Close
        ]
    );
}

#[test]
fn says_nothing_to_a_server_with_another_certificate() {
    let mut client = Client {
        stream: ClientStream::in_tls(settings(), None, NONCE.to_owned(), at(0)),
        now: at(0),
    };
    assert_eq!(client.seen(), [Seen::StartTls]);
    let other = TlsInfo {
        valid_names: vec!["other.test".to_owned()],
        distrust: None,
    };
    client.stream.tls_done(&other, None, client.now);
    let said = client.seen();
    assert!(
        matches!(
            said.as_slice(),
            [
                Seen::Said(ClientEvent::Closed(CloseReason::CertificateNotValid { .. })),
                Seen::Close
            ]
        ),
        "{said:?}"
    );
}

#[test]
fn refuses_what_is_not_a_login() {
    let fault = LoginFault::NoMechanism {
        offered: "PLAIN".to_owned(),
        plain: true,
    };
    let mut client = Client::in_tls(None);
    assert_eq!(
        client.take(&format!("{THEIRS}{}", mechanisms("PLAIN"))),
        refused(fault)
    );

    let begun = || {
        let mut client = Client::in_tls(None);
        client.take(&format!("{THEIRS}{}", mechanisms("SCRAM-SHA-256")));
        client
    };
    let cases = [
        (
            sasl("challenge", &CHALLENGE.replace("4096", "2000000000")),
            LoginFault::Iterations(2_000_000_000),
        ),
        (
            sasl("success", ""),
            LoginFault::Exchange("an end before our proof"),
        ),
        (
            format!("<failure xmlns='{SASL}'><not-authorized/></failure>"),
            LoginFault::Refused("not-authorized".to_owned()),
        ),
    ];
    for (said, fault) in cases {
        assert_eq!(begun().take(&said), refused(fault), "{said}");
    }
}

#[test]
fn a_server_that_does_not_know_the_password_is_found_out() {
    let mut client = Client::in_tls(None);
    client.take(&format!(
        "{THEIRS}{}",
        mechanisms("SCRAM-SHA-256 SCRAM-SHA-256-PLUS")
    ));
    let said = client.take(&sasl("challenge", CHALLENGE));
    let [Seen::Said(ClientEvent::Derive(request))] = said.as_slice() else {
        panic!("{said:?}");
    };
    let key = request.derive(&Password::new("pencil").unwrap());
    client.stream.derived(&key, client.now);
    client.seen();
    for end in ["v=AAAA", ""] {
        assert_eq!(
            client.take(&sasl("success", end)),
            if end.is_empty() {
                vec![]
            } else {
                refused(LoginFault::ServerProof)
            }
        );
    }
}

#[test]
fn nesting_without_end_is_refused_in_the_features() {
    let mut client = Client::in_tls(None);
    let deep = format!("{THEIRS}<stream:features>{}", "<a>".repeat(100));
    let said = client.take(&deep);
    let [
        Seen::Wrote(_),
        Seen::Said(ClientEvent::Closed(CloseReason::Refused(error))),
        Seen::Close,
    ] = said.as_slice()
    else {
        panic!("{said:?}");
    };
    assert_eq!(error.condition, StreamCondition::PolicyViolation);
}

#[test]
fn a_silent_server_is_asked_and_then_left() {
    let mut client = Client::ready();
    let ping =
        "<iq type='get' id='stoxgate-echo' to='jabber.test'><ping xmlns='urn:xmpp:ping'/></iq>";
    assert_eq!(client.time_out_at(60), [wrote(format!(" {ping}"))]);
    client.now = at(61);
    let pong = "<iq type='result' id='stoxgate-echo' from='jabber.test'/>";
    assert!(client.take(pong).is_empty());
    client.stream.request_acknowledgement(client.now);
    assert_eq!(client.seen(), [wrote(ASK)], "a ping counts as a stanza");
    assert_eq!(
        client.take(ASK),
        [acknowledged(1)],
        "and so does its answer"
    );
    let seen = client.time_out_at(121);
    assert!(
        matches!(seen.as_slice(), [Seen::Wrote(text)] if text.contains(ping)),
        "{seen:?}"
    );
    let seen = client.time_out_at(151);
    assert!(
        seen.contains(&Seen::Said(ClientEvent::Closed(CloseReason::Timeout(
            Step::Life
        )))),
        "{seen:?}"
    );
}

#[test]
fn old_servers_get_the_session_that_they_ask_for() {
    let mut client = Client::signed_in(None);
    let offer = features("<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>");
    assert_eq!(client.take(&format!("{THEIRS}{offer}")), [wrote(BIND)]);
    assert_eq!(
        client.take(BOUND),
        [wrote(
            "<iq type='set' id='stoxgate-session'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>"
        )]
    );
    assert_eq!(
        client.take("<iq type='result' id='stoxgate-session'/>"),
        [bound(false)]
    );
}

#[test]
fn a_stream_that_closes_does_not_begin_anew() {
    let mut client = Client::answering(None);
    client.stream.close(client.now);
    assert_eq!(client.seen(), [wrote(CLOSING)]);
    assert_eq!(client.take(&sasl("success", END)), []);
    assert_eq!(
        client.take(CLOSING),
        [
            Seen::Said(ClientEvent::Closed(CloseReason::Requested)),
            Seen::Close
        ]
    );
}
