use std::path::{Path, PathBuf};
use std::sync::Arc;

use stox_core::failure::{Failure, Local};
use stox_core::vocab::StoreIn;
use stox_xmpp::dialback::{DialbackSecret, Trouble};
use stox_xmpp::link::Loss;
use tokio::sync::mpsc;

use super::*;
use crate::clock::Clock;
use crate::config::Network;
use crate::engine::{BoundPorts, Effect, Engine, LinkName, Settings, StanzaToken};
use crate::entropy::OsEntropy;
use crate::net::discovery::Finding;
use crate::net::dns::Dns;
use crate::net::msrp_tls::MsrpTls;
use crate::net::sip_tls::SipTls;
use crate::net::test_settings::settings;
use crate::net::tls::CurrentTls;
use crate::sockets::admission::Admission;
use crate::sockets::msrp::MsrpSockets;
use crate::sockets::sip::SipSockets;
use crate::store::{Retention, SqliteStore, StoreWriter};
use crate::streams::{Rules, StreamArrival, StreamParts, Streams};

const RULES: &str = "[[sip.domain]]\ndomain = \"*\"\n[[xmpp.partner]]\ndomain = \"jabber.test\"\n\
                     address = \"127.0.0.1:9\"\n[limits]\ndiscovered = 2\n";

/// Everything but sockets that listen; DNS never answers.
fn task(folder: &Path) -> (EngineTask, mpsc::Receiver<StreamArrival>) {
    let (config, tls) = settings(RULES);
    let clock = Clock::start();
    let dns = Dns::new(&config.dns).unwrap();
    let tls = CurrentTls::new(tls);
    let admit = || Admission::new(16, 16);
    let transports = Arc::new(config.sip_transports());
    let (arrivals, arrived) = mpsc::channel(64);
    let streams = Streams::new(StreamParts {
        rules: Rules::new(&config, DialbackSecret::new(b"secret")),
        tls: tls.clone(),
        dns: dns.clone(),
        clock,
        arrivals,
        admission: admit(),
    });
    let sip_tls = SipTls::new(tls.clone(), dns.clone(), transports.clone());
    let sockets = SipSockets::new(sip_tls, mpsc::channel(1).0, admit(), Default::default());
    let msrp_tls = MsrpTls::new(tls);
    let msrp = MsrpSockets::new(
        msrp_tls,
        dns.clone(),
        (Vec::new(), None),
        mpsc::channel(1).0,
        admit(),
    );
    let retention = Retention {
        keep: Duration::ZERO,
        max_entries: 1,
    };
    let store = Box::new(SqliteStore::open(folder).unwrap());
    let writer = StoreWriter::start(store, 16, retention, Box::new(|_: StoreIn| {})).unwrap();
    let engine = Engine::new(Settings::new(&config, BoundPorts::default()), || {
        Box::new(OsEntropy::default())
    });
    let networks: Arc<[Network]> = Arc::new([]);
    let task = EngineTask::new(
        engine,
        clock,
        sockets,
        msrp,
        streams,
        writer,
        dns,
        mpsc::channel(1).0,
        (transports, networks),
    );
    (task, arrived)
}

/// Romeo's server asks for a domain, and DNS says this of it.
fn ask(task: &mut EngineTask, domain: &str, world: World) -> Result<Duration, Trouble> {
    let (answer, mut told) = oneshot::channel();
    let wanted = Wanted {
        domain: domain.to_owned(),
        askers: vec![Asker::Domain("jabber.test".to_owned())],
        answer,
    };
    task.xmpp(StreamArrival::Wanted(wanted));
    let finding = Finding {
        world,
        because: "a record".to_owned(),
        lifetime: Duration::from_secs(60),
    };
    let domain = domain.to_owned();
    task.xmpp(StreamArrival::Discovered { domain, finding });
    told.try_recv().expect("an answer")
}

fn served(task: &EngineTask) -> Vec<String> {
    let shown = task.streams.discovered_status().into_iter();
    let served = shown.filter(|shown| shown.served);
    let served: Vec<String> = served.map(|shown| shown.domain).collect();
    let mut spoken: Vec<&str> = task.engine.dialects().map(|(domain, ..)| domain).collect();
    spoken.retain(|domain| *domain != "sip.test");
    assert_eq!(served, spoken, "streams and engine agree");
    served
}

fn stanza(task: &mut EngineTask, text: &str) {
    let name = LinkName::new("voice.test", "jabber.test");
    let token = StanzaToken(1);
    let now = task.clock.now();
    task.engine
        .stanza(&name, &text.parse().unwrap(), token, now);
}

#[tokio::test]
async fn a_domain_is_served_while_its_records_count_or_somebody_needs_it() {
    let folder = folder();
    let (mut task, _arrived) = task(&folder);
    assert!(ask(&mut task, "voice.test", World::Sip).is_ok());
    assert!(ask(&mut task, "quiet.test", World::Sip).is_ok());
    // There is room for two, and for nothing that is no SIP domain.
    let rows = [
        ("more.test", World::Sip, Trouble::Overloaded),
        ("both.test", World::Both, Trouble::NotServed),
        ("late.test", World::Unknown, Trouble::Timeout),
    ];
    for (domain, world, why) in rows {
        assert_eq!(ask(&mut task, domain, world), Err(why), "{domain}");
    }
    assert_eq!(served(&task), ["quiet.test", "voice.test"]);
    stanza(
        &mut task,
        "<presence xmlns='jabber:client' type='subscribe' from='romeo@jabber.test' to='juliet@voice.test'/>",
    );

    task.clock = task.clock.ahead(Duration::from_secs(69));
    task.sweep();
    assert_eq!(served(&task).len(), 2, "what was sent in time still comes");
    task.clock = task.clock.ahead(Duration::from_secs(2));
    task.sweep();
    assert_eq!(served(&task), ["voice.test"]);
    // Another look comes later, and again finds that it is needed, whatever DNS says.
    assert!(task.next_sweep() > Some(task.clock.now().mono));
    let finding = Finding::not_asked();
    let domain = "voice.test".to_owned();
    task.xmpp(StreamArrival::Discovered { domain, finding });
    task.clock = task.clock.ahead(Duration::from_secs(100));
    task.sweep();
    assert_eq!(served(&task), ["voice.test"]);
    stanza(
        &mut task,
        "<presence xmlns='jabber:client' type='unsubscribe' from='romeo@jabber.test' to='juliet@voice.test'/>",
    );
    let failed = Err(stox_sip::target::TargetError::NotFound);
    while let Some(effect) = task.engine.poll_effect() {
        let now = task.clock.now();
        match effect {
            Effect::Resolve(resolve) => task.engine.sip_resolved(resolve.id, failed.clone(), now),
            Effect::Connect(name, attempt) => {
                let loss = Loss::Lasting(Failure::Local(Local::DomainNotFound));
                task.engine.stream_lost(&name, attempt, loss, now);
            }
            _ => {}
        }
    }
    assert!(task.engine.sip_domains().is_empty());
    task.clock = task.clock.ahead(Duration::from_secs(100));
    task.sweep();
    assert!(served(&task).is_empty());
    assert_eq!(task.next_sweep(), None);
    std::fs::remove_dir_all(&folder).unwrap();
}

fn folder() -> PathBuf {
    let path = std::env::temp_dir().join(format!("stoxgate-sweep-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn one_host_takes_no_more_than_its_share_of_those_that_wait() {
    let source = |remote: &str, flow: u64| Source {
        flow: FlowId(flow),
        transport: stox_sip::transport::Transport::Tls,
        remote: remote.parse().unwrap(),
        certificate_names: Vec::new(),
    };
    let request = Request {
        method: stox_sip::method::Method::MESSAGE,
        uri: "sip:alma@jabber.test".to_owned(),
        headers: Default::default(),
        body: Default::default(),
    };
    let mut strangers = Strangers::default();
    let mut fill = |remote: &str, most: usize| {
        let mut taken = 0;
        while taken < most && strangers.has_room(&source(remote, 1)) {
            let domain = format!("d{}.test", taken % 3);
            strangers.wait(domain, source(remote, 1), request.clone());
            taken += 1;
        }
        taken
    };
    assert_eq!(fill("192.0.2.1:5061", 300), MAX_WAITING_OF_HOST);
    assert_eq!(
        fill("192.0.2.1:5062", 300),
        0,
        "another port is no other host"
    );
    for host in 2..9 {
        assert_eq!(
            fill(&format!("192.0.2.{host}:5061"), 300),
            MAX_WAITING_OF_HOST
        );
    }
    assert_eq!(fill("192.0.2.99:5061", 300), 0, "nobody has room");
    strangers.left(FlowId(1));
    assert!(strangers.has_room(&source("192.0.2.1:5061", 2)));
}
