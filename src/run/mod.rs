//! The running gateway: opens everything, drives the engine, stops cleanly.

mod accounts;
mod certificates;
mod engine_task;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use stox_core::address::canonical_domain;
use stox_core::time::Entropy;
use stox_sip::transport::Transport;
use stox_sip::ua::trust::AddressBlock;
use stox_xmpp::dialback::DialbackSecret;
use stox_xmpp::stream::PasswordError;
use tokio::net::{TcpListener, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::admin::AdminSocket;
use crate::clock::Clock;
use crate::config::{self, Config, Network};
use crate::engine::{BoundPorts, Engine, Settings, block};
use crate::entropy::OsEntropy;
use crate::net::dns::{Dns, DnsError};
use crate::net::msrp_tls::MsrpTls;
use crate::net::own_certificate;
use crate::net::sip_tls::SipTls;
use crate::net::tls::{CurrentTls, TlsError, TlsSettings};
use crate::sockets::admission::Admission;
use crate::sockets::listen::{self, ListenError};
use crate::sockets::msrp::MsrpSockets;
use crate::sockets::sip::SipSockets;
use crate::store::{Kept, Retention, SqliteStore, Store, StoreError, StoreWriter};
use crate::streams::{self, Rules, StreamParts, Streams};

use engine_task::{EngineTask, Inputs};

/// Messages that wait for the engine from one kind of source. When it is full, the sources wait.
const ENGINE_QUEUE: usize = 1_024;
/// Store commands that wait for the disk.
const STORE_QUEUE: usize = 16_384;

/// Why the gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Our certificate, key or authorities.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// A listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The database.
    #[error("store: {0}; check gateway.state_dir")]
    Store(#[from] StoreError),
    /// The resolver.
    #[error("DNS: {0}; set dns.servers")]
    Dns(#[from] DnsError),
    /// The password of an account.
    #[error("the password of an [[xmpp.account]]: {0}")]
    Password(#[from] PasswordError),
    /// The admin socket.
    #[error("admin socket {path}: {error}; set gateway.admin_socket")]
    Admin {
        /// Where.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// Threads, signals.
    #[error("the system refused: {0}")]
    System(#[from] std::io::Error),
}

/// The listeners of one start, all bound before anything is served.
struct Listeners {
    xmpp: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    tls: Vec<TcpListener>,
    msrp_tcp: Vec<TcpListener>,
    msrp_tls: Vec<TcpListener>,
}

/// Reads the settings anew.
pub type Reread = Box<dyn Fn() -> Result<Config, config::Problems> + Send>;

/// Runs until SIGTERM or SIGINT. SIGHUP has the TLS files read anew, and the accounts of `reread`.
///
/// # Errors
/// What kept it from starting, and what to do.
pub async fn serve(config: Config, reread: Reread) -> Result<(), StartError> {
    let clock = Clock::start();
    let tls = TlsSettings::load(&config.tls, &config.sip)?;
    let findings = config::findings(&config).into_iter();
    for finding in findings.chain(own_certificate::findings(&config)) {
        tracing::warn!("{finding}");
    }
    let dns = Dns::new(&config.dns)?;
    let mut store = SqliteStore::open(&config.gateway.state_dir)?;
    let kept = store.load()?;
    let secret = Zeroizing::new(store.secret("dialback", &mut fresh_secret)?);
    let listeners = Listeners::bind(&config)?;
    let admin = open_admin(&config.gateway.admin_socket)?;

    let mut settings = Settings::new(&config, listeners.ports());
    if let Some(msrp) = &mut settings.sip.msrp {
        msrp.fingerprint = Some(tls.fingerprint.clone());
    }
    let software = settings.software.clone();
    let accounts = streams::account_plans(&config, &software)?;
    let rules = Rules::new(&config, DialbackSecret::new(secret.as_bytes()));
    let left = left_unnamed(&kept, &rules);
    let mut engine = Engine::new(settings, || Box::new(OsEntropy::default()));
    tracing::info!(
        authorisations = kept.authorisations.len(),
        unsettled = kept.unsettled.len(),
        "restoring what the last run left"
    );
    engine.number_from(kept.last_number);
    for domain in &left {
        engine.admit(domain);
    }
    // Contacts whom only an account reaches are restored, too.
    let ways = accounts.iter().map(|account| account.way.clone());
    engine.set_accounts(ways.collect(), clock.now());
    engine.restore(
        kept.authorisations,
        kept.unsettled,
        &kept.lessons,
        clock.now(),
    );

    let (stop, stopping) = mpsc::channel(2);
    let (sip_arrivals, sip) = mpsc::channel(ENGINE_QUEUE);
    let (msrp_arrivals, msrp) = mpsc::channel(ENGINE_QUEUE);
    let (stream_arrivals, xmpp) = mpsc::channel(ENGINE_QUEUE);
    let (store_answers, stored) = mpsc::channel(STORE_QUEUE);
    let (resolving, resolved) = mpsc::channel(ENGINE_QUEUE);
    let (asking, asked) = mpsc::channel(8);

    let admit = || {
        Admission::new(
            config.limits.connections,
            config.limits.connections_per_address,
        )
    };
    let transports = Arc::new(config.sip_transports());
    let tls = CurrentTls::new(tls);
    let msrp_tls = MsrpTls::new(tls.clone());
    let sip_tls = SipTls::new(tls.clone(), dns.clone(), transports.clone());
    let mut sockets = SipSockets::new(
        sip_tls,
        sip_arrivals,
        admit(),
        (sip_limits(&config), trusted(&config)),
    );
    let mut msrp_sockets = MsrpSockets::new(
        msrp_tls,
        dns.clone(),
        (inside(&config), relay_host(&config)),
        msrp_arrivals,
        admit(),
    );
    let components = streams::plans(&config, &rules);
    let mut streams = Streams::new(StreamParts {
        rules,
        tls: tls.clone(),
        dns: dns.clone(),
        clock,
        arrivals: stream_arrivals,
        admission: admit(),
    });
    for domain in &left {
        streams.restore(domain);
    }
    listeners.serve(&mut sockets, &mut msrp_sockets, &mut streams);
    for component in components {
        streams.attach(component);
    }
    // The engine reads these answers until it stops, and closes the way then: this waits only while it works.
    let answer = Box::new(move |answer| _ = store_answers.blocking_send(answer));
    let retention = Retention {
        keep: config.ledger.keep,
        max_entries: config.ledger.max_entries,
    };
    let writer = StoreWriter::start(Box::new(store), STORE_QUEUE, retention, answer)?;
    tokio::spawn(admin.serve(asking));
    spawn_signals(stop)?;
    let following = tls.follow();
    let reloaded = certificates::spawn(tls, config.clone())?;
    let changed = accounts::spawn(reread, software, reloaded);

    let inputs = Inputs {
        sip,
        msrp,
        xmpp,
        stored,
        resolved,
        asked,
        accounts: changed,
        stopping,
        tls: following,
    };
    tracing::info!(
        host = config.gateway.host,
        version = env!("CARGO_PKG_VERSION"),
        "stoxgate is ready"
    );
    let mut task = EngineTask::new(
        engine,
        clock,
        sockets,
        msrp_sockets,
        streams,
        writer,
        dns,
        resolving,
        (transports, unnamed_networks(&config)),
    );
    task.set_accounts(accounts);
    task.run(inputs, config.gateway.stop_within).await;
    tracing::info!("stoxgate has stopped");
    Ok(())
}

fn fresh_secret() -> String {
    let mut entropy = OsEntropy::default();
    (0..4).map(|_| entropy.token()).collect()
}

fn sip_limits(config: &Config) -> stox_sip::parse::Limits {
    stox_sip::parse::Limits {
        body: config.limits.sip_body,
        ..Default::default()
    }
}

/// Where MSRP may be dialled though it is not public.
fn inside(config: &Config) -> Vec<AddressBlock> {
    let networks = config.msrp.iter().flat_map(|msrp| &msrp.networks);
    let mut blocks = trusted(config);
    blocks.extend(networks.map(block));
    blocks
}

/// Addresses that speak for a SIP domain.
fn trusted(config: &Config) -> Vec<AddressBlock> {
    let domains = config.sip.domains.iter();
    let trusted = domains.flat_map(|domain| &domain.trusted_addresses);
    trusted.map(block).collect()
}

/// The SIP domains without a name that contacts of the last run are of.
fn left_unnamed(kept: &Kept, rules: &Rules) -> BTreeSet<String> {
    let sip = kept.authorisations.iter();
    let domains = sip.map(|(pair, _)| canonical_domain(&pair.sip.host));
    let unnamed: BTreeSet<String> = domains
        .filter(|domain| rules.inbound.is_unnamed(domain))
        .collect();
    unnamed.into_iter().take(rules.discovered).collect()
}

/// Where servers of SIP domains without a name may be though that is not public.
fn unnamed_networks(config: &Config) -> Arc<[Network]> {
    let unnamed = config.sip.unnamed.as_ref();
    unnamed.map_or_else(Default::default, |rule| rule.networks.clone().into())
}

fn relay_host(config: &Config) -> Option<String> {
    let relay = config.msrp.as_ref().and_then(|msrp| msrp.relay.as_ref());
    relay.map(|relay| relay.uri.host.clone())
}

fn open_admin(path: &Path) -> Result<AdminSocket, StartError> {
    AdminSocket::open(path).map_err(|error| StartError::Admin {
        path: path.display().to_string(),
        error,
    })
}

fn spawn_signals(stop: mpsc::Sender<()>) -> std::io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind)?;
        let stop = stop.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if stop.send(()).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(())
}

impl Listeners {
    fn bind(config: &Config) -> Result<Self, StartError> {
        let tcp = |addresses: &[SocketAddr]| {
            addresses
                .iter()
                .map(|at| listen::tcp(*at))
                .collect::<Result<_, _>>()
        };
        let msrp = config.msrp.as_ref();
        let listeners = Self {
            xmpp: tcp(&config.xmpp.listen)?,
            udp: config
                .sip
                .udp
                .iter()
                .map(|at| listen::udp(*at))
                .collect::<Result<_, _>>()?,
            tcp: tcp(&config.sip.tcp)?,
            tls: tcp(&config.sip.tls)?,
            msrp_tcp: tcp(msrp.map_or(&[], |msrp| &msrp.tcp))?,
            msrp_tls: tcp(msrp.map_or(&[], |msrp| &msrp.tls))?,
        };
        listeners.report();
        Ok(listeners)
    }

    fn report(&self) {
        let streams = [
            ("XMPP", &self.xmpp),
            ("SIP over TCP", &self.tcp),
            ("SIP over TLS", &self.tls),
            ("MSRP over TCP", &self.msrp_tcp),
            ("MSRP over TLS", &self.msrp_tls),
        ];
        for (protocol, listeners) in streams {
            for address in listeners
                .iter()
                .filter_map(|listener| listener.local_addr().ok())
            {
                tracing::info!(%address, "listening for {protocol}");
            }
        }
        for address in self
            .udp
            .iter()
            .filter_map(|socket| socket.local_addr().ok())
        {
            tracing::info!(%address, "listening for SIP over UDP");
        }
    }

    fn ports(&self) -> BoundPorts {
        let first = |listeners: &[TcpListener]| {
            listeners
                .first()
                .and_then(|l| l.local_addr().ok())
                .map(|a| a.port())
        };
        BoundPorts {
            udp: self
                .udp
                .first()
                .and_then(|socket| socket.local_addr().ok())
                .map(|a| a.port()),
            tcp: first(&self.tcp),
            tls: first(&self.tls),
            msrp_tcp: first(&self.msrp_tcp),
            msrp_tls: first(&self.msrp_tls),
        }
    }

    fn serve(self, sockets: &mut SipSockets, msrp: &mut MsrpSockets, streams: &mut Streams) {
        for listener in self.xmpp {
            streams.serve(listener);
        }
        for socket in self.udp {
            sockets.serve_udp(socket);
        }
        for listener in self.tcp {
            sockets.serve_stream(listener, Transport::Tcp);
        }
        for listener in self.tls {
            sockets.serve_stream(listener, Transport::Tls);
        }
        for listener in self.msrp_tcp {
            msrp.serve(listener, false);
        }
        for listener in self.msrp_tls {
            msrp.serve(listener, true);
        }
    }
}
