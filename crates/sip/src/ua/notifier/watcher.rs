//! One watcher: what it asked for, and what its answers and NOTIFYs say.

use std::time::Duration;

use bytes::Bytes;
use stox_core::address::SipAddress;
use stox_core::vocab::{Document, EndReason, Ref, WatcherState};

use super::{BENOTIFY, PIGGYBACK};
use crate::adapt;
use crate::adapt::diagnostics;
use crate::adapt::presence::{Format, Style};
use crate::dialect::PendingShows;
use crate::dialog::Dialog;
use crate::header::{Event, Headers};
use crate::message::{Request, Response};
use crate::method::Method;
use crate::transaction::ServerId;
use crate::transport::Source;
use crate::ua::effects::{Asked, Env, Outgoing, Purpose};
use crate::ua::refusals::{PACKAGE, Refusal};
use crate::ua::routing;
use crate::ua::settings::OwnUser;
use crate::ua::subscriber::reason_word;

/// From here on a short wish may not be refused with 423 (RFC 6665 §4.2.1.1).
const HOUR: Duration = Duration::from_secs(3600);

/// Why a subscription ends that a newer one replaces.
const REPLACED: (u32, &str) = (2139, "Replaced by a newer subscription");

/// How far a watcher's dialog has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its SUBSCRIBE waits for the bridge.
    Asking(ServerId),
    /// Accepted; the 200 waits for the first document, which it carries.
    Opening(ServerId),
    /// Accepted.
    Running,
    /// It left, ran out or was replaced: one terminated NOTIFY is owed.
    Ending,
    /// The terminated NOTIFY is on its way.
    Ended,
}

/// One NOTIFY's worth of news.
#[derive(Debug)]
pub(super) struct News {
    pub(super) state: WatcherState,
    pub(super) document: Option<Document>,
    /// A newer subscription is the reason.
    pub(super) replaced: bool,
}

impl News {
    pub(super) fn ends(&self) -> bool {
        matches!(self.state, WatcherState::Terminated { .. })
    }
}

/// One device of a watcher and whom it watches: From and Request-URI, canonical, and the endpoint.
pub(super) type Device = (SipAddress, SipAddress, String);

#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) dialog: Dialog,
    pub(super) presentity: SipAddress,
    /// What its documents are written in.
    pub(super) format: Format,
    /// It reads activities in their old form.
    pub(super) reads_old_form: bool,
    /// It takes the first document in the 200.
    pub(super) takes_piggyback: bool,
    /// It takes NOTIFYs that are not answered.
    pub(super) takes_benotify: bool,
    /// By which a newer subscription replaces it.
    pub(super) device: Option<Device>,
    /// SIP domain of the watcher.
    pub(super) domain: String,
    /// As the watcher wrote it, its id included.
    pub(super) event: Event,
    /// The SUBSCRIBE to answer, while [`Phase::Asking`].
    pub(super) request: Request,
    pub(super) source: Source,
    pub(super) phase: Phase,
    pub(super) granted: Duration,
    pub(super) expires_at: Duration,
    /// The connection that its SUBSCRIBE came over, while that leads to its next hop.
    pub(super) over: Option<Source>,
    pub(super) in_flight: bool,
    pub(super) waiting: Option<News>,
    /// The state that it was told last.
    pub(super) told: Option<WatcherState>,
    /// When the next unforced NOTIFY may go out.
    pub(super) quiet_until: Duration,
    /// A NOTIFY is owed at once (RFC 6665 §4.2.1.2).
    pub(super) owed: bool,
}

impl Watcher {
    /// What a SUBSCRIBE outside a dialog asks for, between a watcher and a presentity.
    pub(super) fn new(
        asked: &Asked,
        server: ServerId,
        local_tag: &str,
        (watcher, presentity): (&SipAddress, &SipAddress),
        env: &Env<'_>,
    ) -> Result<Self, Refusal> {
        let behaviour = env.behaviour(&watcher.host);
        let headers = &asked.request.headers;
        let format = adapt::presence::choose(headers, &behaviour.presence_tell)
            .ok_or(Refusal::NotAcceptable)?;
        let granted = granted(&asked.request, env)?;
        let lasts = !granted.is_zero();
        let offers = |token: &str| headers.values("Supported").any(|one| is_token(one, token));
        let event = headers.event().ok().flatten();
        Ok(Self {
            dialog: set_up(asked, local_tag, &watcher.host, env)?,
            presentity: presentity.clone(),
            format,
            reads_old_form: adapt::presence::reads_old_form(headers),
            takes_piggyback: behaviour.piggyback && lasts && offers(PIGGYBACK),
            takes_benotify: behaviour.benotify && offers(BENOTIFY),
            device: endpoint(&asked.request)
                .filter(|_| behaviour.one_dialog && lasts)
                .map(|endpoint| (watcher.canonical(), presentity.canonical(), endpoint)),
            domain: watcher.host.clone(),
            event: event.unwrap_or_else(|| Event::new(PACKAGE)),
            request: asked.request.clone(),
            source: asked.source.clone(),
            phase: Phase::Asking(server),
            granted,
            expires_at: Duration::ZERO,
            over: leads_back(asked).then(|| asked.source.clone()),
            in_flight: false,
            waiting: None,
            told: None,
            quiet_until: Duration::ZERO,
            owed: false,
        })
    }

    /// Answers a refresh.
    pub(super) fn answer(&self, asked: &Asked, env: &mut Env<'_>) {
        let response = self.granting(asked, env);
        env.respond(asked, response);
    }

    /// 200 to a SUBSCRIBE, with what was granted (RFC 6665 §4.2.1.1).
    pub(super) fn granting(&self, asked: &Asked, env: &mut Env<'_>) -> Response {
        let mut response = env.response(&asked.request, 200, "OK");
        let headers = &mut response.headers;
        headers.set("To", self.dialog.local());
        headers.copy_from(&asked.request.headers, "Record-Route");
        let transport = asked.source.transport;
        let own = OwnUser::new(&self.presentity, &env.behaviour(&self.domain));
        headers.push("Contact", env.settings.local.contact(&own, transport));
        headers.push("Expires", self.granted.as_secs().to_string());
        response
    }

    /// COMPAT(ocs2007r2, lcs2005): the first NOTIFY inside the 200, with the CSeq that it would have had.
    pub(super) fn piggyback(&mut self, response: &mut Response, news: &News, env: &Env<'_>) {
        let cseq = self.dialog.next_cseq();
        let left = self.expires_at.saturating_sub(env.now.mono);
        let headers = &mut response.headers;
        headers.push("Event", self.event.to_string());
        headers.push("Subscription-State", state_value(news.state, left));
        headers.push("ms-piggyback-cseq", cseq.to_string());
        if let Some(document) = &news.document {
            response.body = self.write(document, headers, env);
        }
        self.told = Some(news.state);
        self.quiet_until = env.now.mono + env.settings.notify_interval;
    }

    /// Writes a document, with the fields that describe it.
    fn write(&self, document: &Document, headers: &mut Headers, env: &Env<'_>) -> Bytes {
        let behaviour = env.behaviour(&self.domain);
        let style = Style {
            format: self.format,
            one_tuple: behaviour.one_tuple,
            old_form: self.reads_old_form,
            told: behaviour.told(),
            now: env.now.wall,
        };
        let body = adapt::presence::write(document, &self.presentity, &style);
        headers.push("Content-Type", body.content_type);
        if let Some(language) = &body.content_language {
            headers.push("Content-Language", language);
        }
        body.bytes
    }

    /// What the bridge says, for this watcher. A pending one may have to see a user who is offline, where its client
    /// knows no other way to show it.
    pub(super) fn news(
        &self,
        state: WatcherState,
        document: Option<Document>,
        env: &Env<'_>,
    ) -> News {
        let pending = state == WatcherState::Pending
            && env.behaviour(&self.domain).pending_shows == PendingShows::Offline;
        News {
            state,
            document: document.or_else(|| pending.then(Document::default)),
            replaced: false,
        }
    }

    /// A SUBSCRIBE for another package, or with another id, is another subscription (RFC 6665 §4.5.2).
    pub(super) fn event_differs(&self, request: &Request) -> bool {
        !matches!(request.headers.event(), Ok(Some(event)) if event.matches(&self.event))
    }

    /// Sends a NOTIFY (RFC 6665 §4.2.2), or over the watcher's own connection a BENOTIFY if it takes such.
    pub(super) fn send(&mut self, reference: Ref, news: &News, env: &mut Env<'_>) {
        let left = self.expires_at.saturating_sub(env.now.mono);
        let behaviour = env.behaviour(&self.domain);
        let unanswered = self.takes_benotify && self.over.is_some();
        let (method, purpose) = if unanswered {
            (Method::BENOTIFY, Purpose::Notice(reference))
        } else {
            (Method::NOTIFY, Purpose::Watcher(reference))
        };
        let mut request = self.dialog.request(method);
        let headers = &mut request.headers;
        headers.push("Event", self.event.to_string());
        headers.push("Subscription-State", state_value(news.state, left));
        headers.push("User-Agent", &env.settings.product);
        if news.replaced && behaviour.diagnostics {
            diagnostics::write(headers, REPLACED, &env.settings.local.host);
        }
        if let Some(document) = &news.document {
            request.body = self.write(document, headers, env);
        }
        self.in_flight = !unanswered;
        self.owed = false;
        self.told = Some(news.state);
        self.quiet_until = env.now.mono + env.settings.notify_interval;
        if news.ends() {
            self.phase = Phase::Ended;
        }
        env.send(Outgoing {
            purpose,
            next_hop: self.dialog.next_hop(),
            request,
            over: self.over.clone(),
            domain: self.domain.clone(),
            contact: Some(OwnUser::new(&self.presentity, &behaviour)),
            branch_hint: None,
        });
    }
}

/// `Subscription-State` (RFC 6665 §8.2.3). `expires` belongs to living subscriptions only.
fn state_value(state: WatcherState, left: Duration) -> String {
    let left = left.as_secs();
    match state {
        WatcherState::Pending => format!("pending;expires={left}"),
        WatcherState::Active => format!("active;expires={left}"),
        WatcherState::Terminated {
            reason,
            retry_after,
        } => {
            let mut value = "terminated".to_owned();
            if let Some(word) = reason_word(reason) {
                value.push_str(";reason=");
                value.push_str(word);
            }
            let may_retry = !matches!(reason, EndReason::NoResource | EndReason::Rejected);
            if let Some(after) = retry_after.filter(|_| may_retry) {
                value.push_str(&format!(";retry-after={}", after.as_secs()));
            }
            value
        }
    }
}

/// The time to grant: what is asked for, an hour by default, and never more (RFC 3856 §6.4).
pub(in crate::ua) fn granted(request: &Request, env: &Env<'_>) -> Result<Duration, Refusal> {
    let settings = env.settings;
    let wish = match request.headers.expires() {
        Ok(Some(seconds)) => Duration::from_secs(u64::from(seconds)),
        _ => HOUR,
    };
    let brief = !wish.is_zero() && wish < HOUR && wish < settings.min_expires;
    if brief {
        return Err(Refusal::TooBrief(settings.min_expires));
    }
    Ok(wish.min(settings.watcher_expires))
}

/// The dialog of a watcher.
pub(in crate::ua) fn set_up(
    asked: &Asked,
    local_tag: &str,
    domain: &str,
    env: &Env<'_>,
) -> Result<Dialog, Refusal> {
    let to = asked.request.headers.get("To").unwrap_or_default();
    // COMPAT(ocs): a document in the 200 counts as NOTIFY number 1.
    let mut dialog = Dialog::from_request(&asked.request, format!("{to};tag={local_tag}"), 0, None)
        .map_err(|error| Refusal::Malformed(error.to_string()))?;
    keep_near(&mut dialog, domain, asked, env);
    Ok(dialog)
}

/// A Contact or Record-Route elsewhere could be anybody's, and who has sent it may not be who it says (UDP): the domain's own
/// servers shall decide (reflection).
pub(in crate::ua) fn keep_near(dialog: &mut Dialog, domain: &str, asked: &Asked, env: &Env<'_>) {
    let is_near = |to: &str| routing::is_near(to, domain, asked, env.settings);
    if !leads_back(asked) && !is_near(&dialog.next_hop()) {
        dialog.route_through(&format!("sip:{domain}"));
    }
}

/// The endpoint of the sender (COMPAT(ocs): `epid` in From).
fn endpoint(request: &Request) -> Option<String> {
    let from = request.headers.from().ok()?;
    let epid = from.params.text("epid")?.into_owned();
    (!epid.is_empty()).then_some(epid)
}

fn is_token(value: &str, token: &str) -> bool {
    value.trim().eq_ignore_ascii_case(token)
}

/// Whether the next hop of the dialog is the element at the other end of the connection: a proxy there has recorded
/// its route, or the user agent itself is there. User agents behind TLS often cannot be reached otherwise.
pub(in crate::ua) fn leads_back(asked: &Asked) -> bool {
    let headers = &asked.request.headers;
    let direct = headers.values("Via").nth(1).is_none();
    asked.source.transport.row().reliable && (direct || headers.contains("Record-Route"))
}
