use super::*;
use crate::net::test_settings::settings;
use crate::net::tls::TlsSettings;
use stox_xmpp::dialback::DialbackSecret;

/// Streams without listeners, whose partners nobody reaches.
fn streams() -> (Streams, mpsc::Receiver<StreamArrival>) {
    let (config, tls) = settings(
        "[[xmpp.partner]]\ndomain = \"jabber.test\"\naddress = \"127.0.0.1:9\"\nbidirectional = true\n",
    );
    let (arrivals, arrived) = mpsc::channel(16);
    let parts = StreamParts {
        rules: Rules::new(&config, DialbackSecret::new(b"secret")),
        tls: CurrentTls::new(tls),
        dns: Dns::new(&config.dns).unwrap(),
        clock: Clock::start(),
        arrivals,
        admission: Admission::new(16, 16),
    };
    (Streams::new(parts), arrived)
}

fn is_on_partners_stream(streams: &Streams, name: &LinkName) -> bool {
    streams
        .outbound
        .get(name)
        .is_some_and(|route| route.accepted.is_some())
}

#[tokio::test]
async fn a_partners_stream_that_is_dead_is_not_taken_again() {
    for (why, is_taken_again) in [
        (link::CloseReason::Idle, true),
        (link::CloseReason::Dead, false),
    ] {
        let (mut streams, _arrived) = streams();
        let name = LinkName::new("sip.test", "jabber.test");
        let (writer, _queue) = mpsc::channel(1);
        streams.note(&StreamArrival::Bidirectional {
            stream: 7,
            name: name.clone(),
            writer,
        });
        streams.connect(name.clone(), Attempt(1));
        assert!(is_on_partners_stream(&streams, &name));
        streams.close(&name, Attempt(1), why);
        streams.connect(name.clone(), Attempt(2));
        assert_eq!(
            is_on_partners_stream(&streams, &name),
            is_taken_again,
            "{why:?}"
        );
    }
}

#[tokio::test]
async fn external_is_tried_for_the_domains_of_the_certificate_in_force() {
    let (streams, _arrived) = streams();
    let shared = &streams.shared;
    let partner = shared.rules.partner("jabber.test").unwrap();
    let tries = |local: &str| {
        let pair = stox_xmpp::stream::DomainPair {
            local: local.to_owned(),
            remote: "jabber.test".to_owned(),
        };
        let own_names = &shared.tls.get().own_names;
        shared.rules.outbound(pair, partner, own_names).external
    };
    assert!(tries("sip.test"));
    assert!(!tries("other.test"));
    let mut renewed = TlsSettings::clone(&shared.tls.get());
    renewed.own_names = vec!["other.test".to_owned()];
    shared.tls.replace(renewed);
    assert!(tries("other.test"));
    assert!(!tries("sip.test"));
}
