//! From keys to settings: defaults, and checks across keys.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stox_core::policy::DomainPattern;

use super::Environment;
use super::account;
use super::component;
use super::dialect;
use super::keys::Table;
use super::msrp;
use super::partner;
use super::presence;
use super::registration;
use super::rooms;
use super::trust;
use super::types::*;
use super::unnamed;

/// What every XMPP server has to take (RFC 6120 §13.12).
const MIN_STANZA_LIMIT: usize = 10_000;

pub(super) fn config(root: &mut Table, folder: &Path, environment: &Environment) -> Option<Config> {
    let gateway = root.section("gateway", |table| gateway(table, folder));
    let log = root.section("log", log);
    let dns = root.section("dns", |table| dns(table, folder));
    let tls = root.section("tls", |table| tls(table, folder));
    let xmpp = root.section("xmpp", |table| xmpp(table, folder, environment));
    let sip = root.section("sip", |table| sip(table, folder));
    let msrp = root.section("msrp", |table| msrp::msrp(table, folder));
    let presence = root.section("presence", presence::rules);
    let subscriptions = root.section("subscriptions", subscriptions);
    let ledger = root.section("ledger", ledger);
    let rooms = root.section("rooms", rooms::rooms);
    let limits = root.section("limits", limits);
    let tls = tls?;
    let mut private_files = vec![tls.key.clone()];
    private_files.extend_from_slice(root.private_files());
    let config = Config {
        gateway: gateway?,
        log,
        dns,
        tls,
        xmpp,
        sip,
        msrp,
        presence,
        subscriptions,
        ledger,
        rooms,
        limits,
        private_files,
    };
    check_no_overlap(root, &config);
    component::check_components(root, &config.xmpp.components, &config.sip.domains);
    account::check_accounts(root, &config.xmpp.accounts, &config.sip.domains);
    rooms::check_conferences(root, &config.rooms.conferences, &config.sip.domains);
    Some(config)
}

fn seconds(count: u64) -> Span {
    Span(Duration::from_secs(count))
}

fn gateway(table: &mut Table, folder: &Path) -> Option<Gateway> {
    let host: Option<String> = table.required(
        "host",
        "the name under which peers reach this gateway, such as gw.example.org",
    );
    let state_dir: Option<PathBuf> = table.required(
        "state_dir",
        "a folder for the database, such as /var/lib/stoxgate",
    );
    let admin_socket: Option<PathBuf> = table.optional("admin_socket");
    let stop_within = table.or("stop_within", seconds(10)).0;
    let host = match domain_name(&host?) {
        Ok(host) => host,
        Err(message) => {
            table.problem("host", message);
            return None;
        }
    };
    let state_dir = folder.join(state_dir?);
    let admin_socket =
        admin_socket.map_or_else(|| state_dir.join("admin.sock"), |path| folder.join(path));
    Some(Gateway {
        host,
        state_dir,
        admin_socket,
        stop_within,
    })
}

fn log(table: &mut Table) -> Log {
    let filter: String = table.or("level", "info".to_owned());
    if filter
        .parse::<tracing_subscriber::filter::Targets>()
        .is_err()
    {
        table.problem("level", "is not a level; write error, warn, info, debug, trace, or a filter such as info,stoxgate::engine=debug");
    }
    Log {
        filter,
        format: table.or("format", LogFormat::Text),
    }
}

fn dns(table: &mut Table, folder: &Path) -> Dns {
    let dns = Dns {
        servers: table.or("servers", List(Vec::new())).0,
        timeout: table.or("timeout", seconds(5)).0,
        dane: table.or("dane", false),
        trust_anchor: table
            .optional::<PathBuf>("trust_anchor")
            .map(|path| folder.join(path)),
    };
    if dns.trust_anchor.is_some() && !dns.dane {
        table.problem("trust_anchor", "is of use only where dane is true");
    }
    dns
}

fn tls(table: &mut Table, folder: &Path) -> Option<Tls> {
    let certificate: Option<PathBuf> =
        table.required("certificate", "a PEM file with our certificate chain");
    let key: Option<PathBuf> =
        table.required("key", "the PEM file with the certificate's private key");
    let lax_key_permissions = table.or("lax_key_permissions", false);
    let roots = table.or("roots", List::<PathBuf>(Vec::new())).0;
    let crls = table.or("crls", List::<PathBuf>(Vec::new())).0;
    let posh = posh(table);
    Some(Tls {
        certificate: folder.join(certificate?),
        key: folder.join(key?),
        lax_key_permissions,
        roots: roots.into_iter().map(|path| folder.join(path)).collect(),
        crls: crls.into_iter().map(|path| folder.join(path)).collect(),
        posh,
    })
}

fn posh(table: &mut Table) -> Option<Posh> {
    let is_on = table.or("posh", false);
    let networks: Vec<Network> = table.or("posh_networks", List(Vec::new())).0;
    if !is_on && !networks.is_empty() {
        table.problem("posh_networks", "is of use only where posh is true");
    }
    is_on.then_some(Posh {
        networks,
        port: 443,
    })
}

fn xmpp(table: &mut Table, folder: &Path, environment: &Environment) -> Xmpp {
    let listen = table.or("listen", List(default_listeners(5269))).0;
    let partners = table.each("partner", partner::partner);
    let components = table.each("component", |table| component::component(table, folder));
    let accounts = table.each("account", |table| {
        account::account(table, folder, environment)
    });
    if partners.is_empty() && accounts.is_empty() {
        table.problem("partner", "is missing: name at least one XMPP domain that may use the gateway, or \"*\" for every one, in [[xmpp.partner]]");
    }
    for (number, partner) in partners.iter().enumerate() {
        let name = pattern_text(&partner.domain);
        let mut earlier = partners.iter().take(number);
        match earlier.find(|earlier| earlier.domain.covers(&partner.domain)) {
            Some(earlier) if earlier.domain == partner.domain => {
                table.problem("partner", format!("names {name} twice"));
            }
            Some(earlier) => {
                let wider = pattern_text(&earlier.domain);
                table.problem("partner", format!("for {name} stands behind {wider}, which takes its domains, since the first that fits counts; put it before that one"));
            }
            None => {}
        }
    }
    let stanza_limit = table.or("stanza_limit", 65_536);
    if stanza_limit < MIN_STANZA_LIMIT {
        table.problem("stanza_limit", format!("must be at least {MIN_STANZA_LIMIT}: every server takes that much (RFC 6120 §13.12)"));
    }
    Xmpp {
        listen,
        partners,
        components,
        accounts,
        default_port: table.or("default_port", 5269),
        idle_close: table.or("idle_close", seconds(600)).0,
        keepalive: table.or("keepalive", seconds(120)).0,
        fence_timeout: table.or("fence_timeout", seconds(10)).0,
        stanza_limit,
    }
}

/// A pattern as it is written.
fn pattern_text(pattern: &DomainPattern) -> String {
    match pattern {
        DomainPattern::Any => "*".to_owned(),
        DomainPattern::Exact(name) => name.clone(),
        DomainPattern::Below(parent) => format!("*.{parent}"),
    }
}

fn default_listeners(port: u16) -> Vec<SocketAddr> {
    vec![SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 0], port))]
}

fn sip(table: &mut Table, folder: &Path) -> Sip {
    let client_certificate = table.or("client_certificate", ClientCertificate::Optional);
    let mut unnamed = Vec::new();
    let domains = table.each("domain", |table| match unnamed::is_meant(table) {
        true => {
            unnamed.push(unnamed::rule(table, client_certificate));
            None
        }
        false => sip_domain(table, client_certificate),
    });
    let sip = Sip {
        udp: table.or("udp", List(Vec::new())).0,
        tcp: table.or("tcp", List(Vec::new())).0,
        tls: table.or("tls", List(Vec::new())).0,
        client_certificate,
        domains,
        unnamed: unnamed::only(table, unnamed),
        credentials: table.each("credentials", |table| credentials(table, folder)),
        registrations: table.each("registration", registration::registration),
        page_limit: table.or("page_limit", 1300),
    };
    if sip.udp.is_empty() && sip.tcp.is_empty() && sip.tls.is_empty() {
        table.problem("tls", "there is no SIP listener: set tls (Edge servers), tcp or udp to addresses such as [\"0.0.0.0:5061\"]");
    }
    check_legacy_apart(table, &sip.domains);
    trust::check(table, &sip);
    unnamed::check(table, &sip);
    registration::check(table, &sip);
    if sip.domains.is_empty() && sip.unnamed.is_none() {
        table.problem(
            "domain",
            "is missing: name at least one SIP domain whose users appear on XMPP in [[sip.domain]], or \"*\" for those that DNS finds",
        );
    }
    sip
}

fn sip_domain(table: &mut Table, of_all: ClientCertificate) -> Option<SipDomain> {
    let domain: Option<String> = table.required("domain", "the SIP domain, such as example.org");
    let next_hop: Option<String> = table.optional("next_hop");
    if let Some(uri) = &next_hop
        && let Err(message) = check_next_hop(uri)
    {
        table.problem("next_hop", message);
    }
    let trusted_addresses = table.or("trusted_addresses", List(Vec::new())).0;
    let certificate_names = table.or("certificate_names", List::<String>(Vec::new())).0;
    let client_certificate = table.or("client_certificate", of_all);
    let trust_asserted_identity = table.or("trust_asserted_identity", false);
    let dialect = dialect::rule(table);
    let tls = domain_tls(table, next_hop.as_deref());
    let domain = match domain_name(&domain?) {
        Ok(domain) => domain,
        Err(message) => {
            table.problem("domain", message);
            return None;
        }
    };
    Some(SipDomain {
        dialect,
        domain,
        next_hop,
        trusted_addresses,
        certificate_names: certificate_names
            .into_iter()
            .map(|name| name.to_lowercase())
            .collect(),
        client_certificate,
        trust_asserted_identity,
        tls,
    })
}

fn domain_tls(table: &mut Table, next_hop: Option<&str>) -> DomainTls {
    let tls = table.or("tls", DomainTls::Modern);
    if tls == DomainTls::Modern {
        return tls;
    }
    if !DomainTls::IS_BUILT {
        let why = format!("cannot be \"legacy-dangerous\": {}", DomainTls::NOT_BUILT);
        table.problem("tls", why);
    }
    if next_hop
        .and_then(named_transport)
        .is_some_and(|transport| !transport.row().secure)
    {
        table.problem("tls", "cannot be \"legacy-dangerous\" where next_hop names a transport without TLS; write ;transport=tls there");
    }
    tls
}

/// A host that may use old TLS speaks for no domain that may not.
fn check_legacy_apart(table: &mut Table, domains: &[SipDomain]) {
    let (legacy, modern): (Vec<_>, Vec<_>) = domains
        .iter()
        .partition(|domain| domain.tls == DomainTls::LegacyDangerous);
    for old in legacy {
        for new in &modern {
            if let Some(shared) = shared_host(old, new) {
                let (old, new) = (&old.domain, &new.domain);
                table.problem("domain", format!("{shared} belongs both to {old}, which has tls = \"legacy-dangerous\", and to {new}, which has not; give both the same tls"));
            }
        }
    }
}

/// A certificate name, a next hop or an address that two domains have in common.
fn shared_host(one: &SipDomain, other: &SipDomain) -> Option<String> {
    let name = one
        .speakers()
        .iter()
        .find(|name| other.speakers().contains(name));
    let hop = next_hop_host(one).filter(|host| next_hop_host(other).as_ref() == Some(host));
    let network = one.trusted_addresses.iter().find(|network| {
        let overlaps = |theirs: &Network| network.overlaps(theirs);
        other.trusted_addresses.iter().any(overlaps)
    });
    name.cloned()
        .or(hop)
        .or_else(|| network.map(|network| network.address.to_string()))
}

fn next_hop_host(domain: &SipDomain) -> Option<String> {
    let uri = stox_sip::uri::Uri::parse(domain.next_hop.as_deref()?).ok()?;
    Some(uri.host.to_lowercase())
}

pub(super) fn check_next_hop(uri: &str) -> Result<(), String> {
    match stox_sip::uri::Uri::parse(uri) {
        Ok(uri) if uri.user.is_none() => Ok(()),
        Ok(_) => Err(
            "must name a host, not a user: write sip:edge.example.org:5061;transport=tls"
                .to_owned(),
        ),
        Err(error) => Err(format!(
            "is not a SIP URI ({error}); write sip:edge.example.org:5061;transport=tls"
        )),
    }
}

fn credentials(table: &mut Table, folder: &Path) -> Option<Credentials> {
    let realm = table.required("realm", "the realm that the challenge names");
    let domain: Option<String> = table.required(
        "domain",
        "the SIP domain whose servers may ask for the password",
    );
    let user = table.required("user", "the user name for the realm");
    let password = table.secret(("password", "password_file"), folder);
    let over_plain = table.or("over_plain", false);
    Some(Credentials {
        over_plain,
        realm: realm?,
        domain: domain?.to_lowercase(),
        user: user?,
        password: password?,
    })
}

fn subscriptions(table: &mut Table) -> Subscriptions {
    let subscriptions = Subscriptions {
        expires: table.or("expires", seconds(3600)).0,
        min_expires: table.or("min_expires", seconds(60)).0,
        notify_interval: table.or("notify_interval", seconds(5)).0,
        restart_spread: table.or("restart_spread", seconds(30)).0,
    };
    if subscriptions.expires < subscriptions.min_expires {
        table.problem("expires", "must not be shorter than min_expires");
    }
    subscriptions
}

fn ledger(table: &mut Table) -> Ledger {
    Ledger {
        keep: table.or("keep", seconds(90 * 24 * 3600)).0,
        max_entries: table.or("max_entries", 5_000_000),
    }
}

fn limits(table: &mut Table) -> Limits {
    let limits = Limits {
        connections: table.or("connections", 4000),
        connections_per_address: table.or("connections_per_address", 200),
        queue: table.or("queue", 1000),
        stanza: table.or("stanza", 262_144),
        sip_body: table.or("sip_body", 65_536),
        message_wait: table.or("message_wait", seconds(15)).0,
        transactions: table.or("transactions", 20_000),
        messages_per_second: table.or("messages_per_second", 50),
        discovered: table.or("discovered", 1000),
    };
    if limits.stanza < 10_000 {
        table.problem("stanza", "must be at least 10000 (RFC 6120 §13.12)");
    }
    if limits.message_wait >= Duration::from_secs(30) {
        table.problem(
            "message_wait",
            "must be below 30s: a SIP sender gives up after 32 seconds",
        );
    }
    limits
}

/// A domain lives in one world only.
fn check_no_overlap(root: &mut Table, config: &Config) {
    for sip in &config.sip.domains {
        let same = |partner: &&Partner| partner.domain == DomainPattern::Exact(sip.domain.clone());
        if config.xmpp.partners.iter().any(|partner| same(&partner)) {
            root.problem(
                "sip",
                format!(
                    "{} is both a SIP domain and an XMPP partner; it can live in one world only",
                    sip.domain
                ),
            );
        }
    }
}
