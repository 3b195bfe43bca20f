//! The local admin socket: `stoxgate status` asks, the running gateway answers one JSON document.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(3);
/// The only request so far.
const REQUEST: &[u8] = b"status\n";

/// How the gateway is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Release.
    pub version: String,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Whole days until our own certificate expires; negative when it has.
    #[serde(default)]
    pub certificate_days_left: Option<i64>,
    /// XMPP streams that partners opened to us.
    pub xmpp_inbound: Vec<InboundStatus>,
    /// SIP domains that are components of XMPP servers.
    #[serde(default)]
    pub xmpp_components: Vec<ComponentStatus>,
    /// Accounts of SIP users at other XMPP servers.
    #[serde(default)]
    pub xmpp_accounts: Vec<AccountStatus>,
    /// XMPP partners that we send to.
    pub xmpp_links: Vec<LinkStatus>,
    /// Domains that no rule names, and in which world DNS says that each lives.
    #[serde(default)]
    pub discovered: Vec<DiscoveredStatus>,
    /// SIP.
    pub sip: SipStatus,
    /// The kind of server that each SIP domain is.
    pub sip_domains: Vec<SipDomainStatus>,
    /// Lines at SIP providers.
    #[serde(default)]
    pub sip_registrations: Vec<RegistrationStatus>,
    /// Contacts and messages.
    pub bridge: BridgeStatus,
}

impl Status {
    /// Whether it can do its work: with a certificate that has expired no partner talks to it.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.certificate_days_left.is_none_or(|days| days >= 0)
    }
}

/// One federated SIP domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SipDomainStatus {
    /// Its name.
    pub domain: String,
    /// The dialect that it is spoken to in.
    pub dialect: String,
    /// Where that comes from: the settings, or what the peer has shown.
    pub because: String,
}

/// One line at a SIP provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationStatus {
    /// Its address.
    pub address: String,
    /// State in words.
    pub state: String,
}

/// A domain that no rule names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveredStatus {
    /// Its name.
    pub domain: String,
    /// The world that it lives in: `XMPP`, `SIP`, `both`, `neither` or `unknown`.
    pub world: String,
    /// Whether what SIP users send to it is refused.
    pub refused: bool,
    /// Whether XMPP users reach its SIP users.
    #[serde(default)]
    pub served: bool,
    /// What says so, such as the names of its records.
    pub because: String,
    /// Seconds since it was found out.
    pub age_seconds: u64,
    /// Seconds for which that counts.
    #[serde(default)]
    pub left_seconds: Option<u64>,
}

/// One stream that a partner opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundStatus {
    /// Peer address.
    pub peer: String,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Proved pairs, `partner -> local`.
    pub proved: Vec<String>,
}

/// A SIP domain that an XMPP server federates for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentStatus {
    /// Its name.
    pub domain: String,
    /// The server's component port.
    pub server: String,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
    /// State in words.
    pub state: String,
}

/// A SIP user's account at another XMPP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountStatus {
    /// The SIP user, as a bare JID.
    pub user: String,
    /// The account.
    pub jid: String,
    /// State in words.
    pub state: String,
    /// Seconds since the Epoch from which on it is in this state.
    pub since: u64,
    /// The session goes on behind a cut, or would.
    pub resumable: bool,
    /// Contacts in its roster.
    pub contacts: usize,
}

/// The way to one partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Our domain.
    pub local: String,
    /// The partner's.
    pub partner: String,
    /// State in a word.
    pub state: String,
    /// Stanzas that wait.
    pub queued: usize,
    /// Stanzas written and not yet proved to be handled.
    pub unproved: usize,
    /// Why the last attempt failed.
    pub last_failure: Option<String>,
}

/// SIP in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SipStatus {
    /// Open connections.
    pub connections: usize,
    /// Live transactions.
    pub transactions: usize,
    /// Requests that wait for the pace of their partner's server.
    pub paced: usize,
    /// Subscriptions that we hold at SIP users.
    pub subscriptions: usize,
    /// Watchers among SIP users.
    pub watchers: usize,
}

/// Contacts and messages in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeStatus {
    /// Authorisations by state, such as `xmpp-watches-sip active`.
    pub authorisations: Vec<(String, usize)>,
    /// Messages without an outcome yet.
    pub pending_messages: usize,
    /// XMPP users in SIP conferences.
    #[serde(default)]
    pub in_conferences: usize,
    /// SIP users in XMPP rooms.
    #[serde(default)]
    pub in_rooms: usize,
    /// Messages since the start, by how they ended as it was first known.
    #[serde(default)]
    pub outcomes: BTreeMap<String, u64>,
    /// What became known of them later, by receipts and late answers.
    #[serde(default)]
    pub later: BTreeMap<String, u64>,
    /// Error stanzas that were about no message, or came after its sender had his answer.
    #[serde(default)]
    pub late_errors: u64,
    /// Errors that senders of XMPP messages were never told.
    #[serde(default)]
    pub lost_reports: u64,
    /// Receipts that nobody had asked for, or too long ago.
    #[serde(default)]
    pub unmatched_receipts: u64,
    /// Entries that the ledger had no room for since the start.
    #[serde(default)]
    pub left_out: u64,
}

/// A question to the engine.
pub type StatusRequest = oneshot::Sender<Status>;

/// The socket of a running gateway; its file goes when it is dropped.
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Opens the socket, for its owner only. A file that a dead process left is replaced.
    ///
    /// # Errors
    /// The folder cannot be used, or another gateway answers there.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        if BlockingStream::connect(path).is_ok() {
            let message = format!("another gateway answers on {}", path.display());
            return Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, message));
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// Answers until the engine is gone.
    pub async fn serve(self, engine: mpsc::Sender<StatusRequest>) {
        while let Ok((stream, _)) = self.listener.accept().await {
            let engine = engine.clone();
            tokio::spawn(tokio::time::timeout(PATIENCE, answer(stream, engine)));
        }
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(mut stream: UnixStream, engine: mpsc::Sender<StatusRequest>) {
    let mut request = [0; REQUEST.len()];
    if stream.read_exact(&mut request).await.is_err() || request != REQUEST {
        return;
    }
    let (reply, status) = oneshot::channel();
    if engine.send(reply).await.is_err() {
        return;
    }
    if let Ok(status) = status.await
        && let Ok(text) = serde_json::to_vec(&status)
    {
        _ = stream.write_all(&text).await;
    }
}

/// Asks a running gateway.
///
/// # Errors
/// Nobody answers at the socket.
pub fn ask(path: &Path) -> std::io::Result<Status> {
    let mut stream = BlockingStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(REQUEST)?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    serde_json::from_slice(&text).map_err(std::io::Error::other)
}

/// The status as a person reads it.
#[must_use]
pub fn describe(status: &Status) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    _ = writeln!(
        out,
        "stoxgate {}, up {}",
        status.version,
        span(status.uptime_seconds)
    );
    if let Some(days) = status.certificate_days_left {
        _ = writeln!(out, "{}", describe_certificate(days));
    }
    _ = writeln!(
        out,
        "\nXMPP streams from partners: {}",
        status.xmpp_inbound.len()
    );
    for stream in &status.xmpp_inbound {
        let safety = if stream.encrypted {
            "encrypted"
        } else {
            "NOT encrypted"
        };
        let proved = if stream.proved.is_empty() {
            "nothing proved yet".to_owned()
        } else {
            stream.proved.join(", ")
        };
        _ = writeln!(out, "  {} {safety}: {proved}", stream.peer);
    }
    for component in &status.xmpp_components {
        let ComponentStatus { domain, server, .. } = component;
        let safety = if component.encrypted {
            "encrypted"
        } else {
            "NOT encrypted"
        };
        let state = &component.state;
        _ = writeln!(out, "XMPP component {domain} at {server} {safety}: {state}");
    }
    for account in &status.xmpp_accounts {
        _ = writeln!(out, "{}", describe_account(account));
    }
    _ = writeln!(out, "XMPP links to partners: {}", status.xmpp_links.len());
    for link in &status.xmpp_links {
        _ = write!(
            out,
            "  {} -> {}: {}, {} queued, {} unproved",
            link.local, link.partner, link.state, link.queued, link.unproved
        );
        if let Some(failure) = &link.last_failure {
            _ = write!(out, ", last failure: {failure}");
        }
        out.push('\n');
    }
    if !status.discovered.is_empty() {
        _ = writeln!(
            out,
            "Domains that no rule names: {}",
            status.discovered.len()
        );
    }
    for domain in &status.discovered {
        _ = writeln!(out, "  {}", describe_discovered(domain));
    }
    let sip = &status.sip;
    _ = writeln!(
        out,
        "SIP: {} connections, {} transactions, {} subscriptions, {} watchers",
        sip.connections, sip.transactions, sip.subscriptions, sip.watchers
    );
    if sip.paced > 0 {
        _ = writeln!(
            out,
            "  {} requests wait for servers that take only so many a second",
            sip.paced
        );
    }
    for domain in &status.sip_domains {
        _ = writeln!(
            out,
            "  {}: dialect {} ({})",
            domain.domain, domain.dialect, domain.because
        );
    }
    for line in &status.sip_registrations {
        _ = writeln!(out, "  line {}: {}", line.address, line.state);
    }
    _ = writeln!(
        out,
        "Messages without an outcome yet: {}",
        status.bridge.pending_messages
    );
    out.push_str(&describe_outcomes(&status.bridge));
    let (errors, receipts) = (status.bridge.late_errors, status.bridge.unmatched_receipts);
    if errors + receipts > 0 {
        _ = writeln!(
            out,
            "  {errors} XMPP errors came too late or were about no message; {receipts} receipts had nobody who waited"
        );
    }
    if status.bridge.lost_reports > 0 {
        _ = writeln!(
            out,
            "  {} XMPP users were never told that a message of theirs failed: their servers could not be reached for a day, or too many errors waited for them",
            status.bridge.lost_reports
        );
    }
    let (conferences, rooms) = (status.bridge.in_conferences, status.bridge.in_rooms);
    if conferences + rooms > 0 {
        _ = writeln!(
            out,
            "Group chat: {conferences} XMPP users in SIP conferences, {rooms} SIP users in XMPP rooms"
        );
    }
    _ = writeln!(out, "Contacts:");
    for (state, count) in &status.bridge.authorisations {
        _ = writeln!(out, "  {count} {state}");
    }
    out
}

fn describe_discovered(domain: &DiscoveredStatus) -> String {
    let effect = match (domain.served, domain.refused) {
        (true, _) => "its SIP users are reached from XMPP",
        (false, true) => "what SIP users send is refused, since nothing is relayed from SIP to SIP",
        (false, false) => "reached over XMPP",
    };
    let left = domain.left_seconds.map(|left| match left {
        0 => ", asked again when it is needed".to_owned(),
        left => format!(", counts for {} more", span(left)),
    });
    let (name, world, because) = (&domain.domain, &domain.world, &domain.because);
    let (age, left) = (span(domain.age_seconds), left.unwrap_or_default());
    format!("{name} (world: {world}): {effect}; {because} (found {age} ago{left})")
}

fn describe_outcomes(bridge: &BridgeStatus) -> String {
    let list = |counts: &BTreeMap<String, u64>| {
        let words: Vec<String> = counts
            .iter()
            .map(|(outcome, count)| format!("{count} {outcome}"))
            .collect();
        words.join(", ")
    };
    let mut out = "Messages since the start: ".to_owned();
    out.push_str(&match bridge.outcomes.is_empty() {
        true => "none".to_owned(),
        false => list(&bridge.outcomes),
    });
    if !bridge.later.is_empty() {
        out.push_str(&format!("; later {}", list(&bridge.later)));
    }
    if bridge.left_out > 0 {
        out.push_str(&format!(
            "; {} are missing in the ledger, since the disk was too slow",
            bridge.left_out
        ));
    }
    out.push('\n');
    out
}

fn describe_account(account: &AccountStatus) -> String {
    let AccountStatus {
        user, jid, state, ..
    } = account;
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(account.since);
    let since = humantime::format_rfc3339_seconds(since);
    let resumable = if account.resumable { "" } else { "not " };
    let contacts = account.contacts;
    format!(
        "XMPP account {jid} of {user}: {state} since {since}, {resumable}resumable, {contacts} contacts"
    )
}

fn describe_certificate(days: i64) -> String {
    const RENEW: &str = "have it renewed, put it there and send SIGHUP";
    match days {
        ..0 => format!("Our certificate HAS EXPIRED: {RENEW}"),
        0 => format!("Our certificate EXPIRES WITHIN A DAY: {RENEW}"),
        1..14 => format!("Our certificate EXPIRES IN {days} DAYS: {RENEW}"),
        _ => format!("Our certificate is valid for {days} more days"),
    }
}

fn span(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}
