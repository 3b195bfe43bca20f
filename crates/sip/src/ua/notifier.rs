//! SIP users who watch XMPP users: the notifier of RFC 6665 §4.2 for the presence package (RFC 3856).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use stox_core::address::SipAddress;
use stox_core::failure::{Failure, Local};
use stox_core::vocab::{Document, EndReason, Ref, SipIn, WatcherEvent, WatcherState};

use super::deadlines::Deadlines;
use super::effects::{Asked, Env, Fate, Outgoing, Purpose};
use super::refusals::{PACKAGE, Refusal};
use super::routing;
use super::settings::OwnUser;
use super::subscriber::reason_word;
use crate::adapt;
use crate::adapt::presence::{Format, Style};
use crate::dialect::PendingShows;
use crate::dialog::{self, Dialog, Order};
use crate::header::{Event, Headers};
use crate::message::{Request, Response};
use crate::method::Method;
use crate::transaction::ServerId;
use crate::transport::{FlowId, Source};

/// From here on a short wish may not be refused with 423 (RFC 6665 §4.2.1.1).
const HOUR: Duration = Duration::from_secs(3600);

/// Answers to a NOTIFY after which the watcher's dialog or usage is gone (RFC 5057 §5.1, RFC 6665 §4.2.2).
const ENDS_DIALOG: &[u16] = &[
    404, 405, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604,
];

/// Option tags of subscribers (COMPAT(ocs)): the first document in the 200, and NOTIFYs without answer.
pub(super) const PIGGYBACK: &str = "ms-piggyback-first-notify";
const BENOTIFY: &str = "ms-benotify";

/// A watcher's timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The subscription runs out, or the last NOTIFY that the bridge owes is overdue.
    Expiry,
    /// The next NOTIFY may go out.
    Pace,
}

/// How far a watcher's dialog has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its SUBSCRIBE waits for the bridge.
    Asking(ServerId),
    /// Accepted; the 200 waits for the first document, which it carries.
    Opening(ServerId),
    /// Accepted.
    Running,
    /// It left or ran out: one terminated NOTIFY is owed.
    Ending,
    /// The terminated NOTIFY is on its way.
    Ended,
}

/// One NOTIFY's worth of news.
#[derive(Debug)]
struct News {
    state: WatcherState,
    document: Option<Document>,
    /// A newer subscription is the reason.
    replaced: bool,
}

impl News {
    fn ends(&self) -> bool {
        matches!(self.state, WatcherState::Terminated { .. })
    }
}

/// One device of a watcher and whom it watches: From and Request-URI, canonical, and the endpoint.
type Device = (SipAddress, SipAddress, String);

#[derive(Debug)]
struct Watcher {
    dialog: Dialog,
    presentity: SipAddress,
    /// What its documents are written in.
    format: Format,
    /// It reads activities in their old form.
    reads_old_form: bool,
    /// It takes the first document in the 200.
    takes_piggyback: bool,
    /// It takes NOTIFYs that are not answered.
    takes_benotify: bool,
    /// By which a newer subscription replaces it.
    device: Option<Device>,
    /// SIP domain of the watcher.
    domain: String,
    /// As the watcher wrote it, its id included.
    event: Event,
    /// The SUBSCRIBE to answer, while [`Phase::Asking`].
    request: Request,
    source: Source,
    phase: Phase,
    granted: Duration,
    expires_at: Duration,
    /// The connection that its SUBSCRIBE came over, while that leads to its next hop.
    over: Option<Source>,
    in_flight: bool,
    waiting: Option<News>,
    /// The state that it was told last.
    told: Option<WatcherState>,
    /// When the next unforced NOTIFY may go out.
    quiet_until: Duration,
    /// A NOTIFY is owed at once (RFC 6665 §4.2.1.2).
    owed: bool,
}

/// All watchers.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    by_ref: BTreeMap<Ref, Watcher>,
    by_dialog: BTreeMap<(String, String), Ref>,
    by_server: BTreeMap<ServerId, Ref>,
    by_flow: BTreeMap<FlowId, BTreeSet<Ref>>,
    by_device: BTreeMap<Device, Ref>,
    timers: Deadlines<(Ref, Timer)>,
}

/// A SUBSCRIBE outside a dialog that has passed the checks of the user agent.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) reference: Ref,
    pub(super) asked: Asked,
    pub(super) watcher: SipAddress,
    pub(super) presentity: SipAddress,
}

impl Watchers {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_ref.len()
    }

    /// Whether an in-dialog request is for one of them.
    pub(super) fn find(&self, call_id: &str, local_tag: &str) -> Option<Ref> {
        self.by_dialog
            .get(&(call_id.to_owned(), local_tag.to_owned()))
            .copied()
    }

    /// Takes a SUBSCRIBE to the bridge, or refuses it.
    pub(super) fn arrived(&mut self, arrival: Arrival, env: &mut Env<'_>) {
        let Arrival {
            reference,
            asked,
            watcher,
            presentity,
        } = arrival;
        let Some(server) = asked.server else {
            return;
        };
        let local_tag = env.entropy.token();
        let behaviour = env.behaviour(&watcher.host);
        let headers = &asked.request.headers;
        let Some(format) = adapt::presence::choose(headers, &behaviour.presence_tell) else {
            return env.refuse(&asked, &Refusal::NotAcceptable);
        };
        let offers = |token: &str| headers.values("Supported").any(|one| is_token(one, token));
        let built = granted(&asked.request, env)
            .and_then(|granted| Ok((granted, set_up(&asked, &local_tag, &watcher.host, env)?)));
        let (granted, dialog) = match built {
            Ok(built) => built,
            Err(refusal) => return env.refuse(&asked, &refusal),
        };
        let poll = granted.is_zero();
        let over = leads_back(&asked).then(|| asked.source.clone());
        let device = endpoint(&asked.request)
            .filter(|_| behaviour.one_dialog && !poll)
            .map(|endpoint| (watcher.canonical(), presentity.canonical(), endpoint));
        let entry = Watcher {
            dialog,
            presentity: presentity.clone(),
            format,
            reads_old_form: adapt::presence::reads_old_form(headers),
            takes_piggyback: behaviour.piggyback && !poll && offers(PIGGYBACK),
            takes_benotify: behaviour.benotify && offers(BENOTIFY),
            device,
            domain: watcher.host.clone(),
            event: headers
                .event()
                .ok()
                .flatten()
                .unwrap_or_else(|| Event::new(PACKAGE)),
            request: asked.request,
            source: asked.source,
            phase: Phase::Asking(server),
            granted,
            expires_at: Duration::ZERO,
            over,
            in_flight: false,
            waiting: None,
            told: None,
            quiet_until: Duration::ZERO,
            owed: false,
        };
        let before = self.insert(reference, server, entry);
        let event = WatcherEvent::Arrived {
            watcher,
            presentity,
            poll,
        };
        env.tell(SipIn::Watcher { reference, event });
        if let Some(before) = before {
            self.replace(before, env);
        }
    }

    /// Files a watcher, and says which subscription of the same device it replaces.
    fn insert(&mut self, reference: Ref, server: ServerId, watcher: Watcher) -> Option<Ref> {
        let dialog = (
            watcher.dialog.call_id().to_owned(),
            watcher.dialog.local_tag().to_owned(),
        );
        self.by_dialog.insert(dialog, reference);
        self.by_server.insert(server, reference);
        if let Some(source) = &watcher.over {
            let flow = self.by_flow.entry(source.flow);
            flow.or_default().insert(reference);
        }
        let device = watcher.device.clone();
        self.by_ref.insert(reference, watcher);
        self.by_device.insert(device?, reference)
    }

    /// COMPAT(ocs2007r2, lcs2005): a device subscribes anew without a word about its dialog before; that one is ended,
    /// or the two of them would be kept and told for an hour.
    fn replace(&mut self, reference: Ref, env: &mut Env<'_>) {
        let Some(watcher) = self.by_ref.get_mut(&reference) else {
            return;
        };
        if watcher.phase != Phase::Running {
            return;
        }
        let state = WatcherState::Terminated {
            reason: EndReason::Unknown,
            retry_after: None,
        };
        watcher.waiting = Some(News {
            state,
            document: None,
            replaced: true,
        });
        let limit = env.now.mono + env.settings.transaction_time();
        watcher.phase = Phase::Ending;
        self.timers.set((reference, Timer::Expiry), limit);
        self.flush(reference, env);
        let event = WatcherEvent::Broken;
        env.tell(SipIn::Watcher { reference, event });
    }

    /// The bridge takes the watcher: 200, at once or with the first document.
    pub(super) fn accept(&mut self, reference: Ref, env: &mut Env<'_>) {
        let Some(watcher) = self.by_ref.get_mut(&reference) else {
            return;
        };
        let Phase::Asking(server) = watcher.phase else {
            return;
        };
        watcher.expires_at = env.now.mono + watcher.granted;
        let limit = watcher
            .expires_at
            .max(env.now.mono + env.settings.transaction_time());
        self.timers.set((reference, Timer::Expiry), limit);
        if watcher.takes_piggyback {
            watcher.phase = Phase::Opening(server);
        } else {
            self.open(reference, server, None, env);
        }
    }

    /// Sends the 200 to the first SUBSCRIBE, with news in it or without.
    fn open(&mut self, reference: Ref, server: ServerId, news: Option<&News>, env: &mut Env<'_>) {
        self.by_server.remove(&server);
        let Some(watcher) = self.by_ref.get_mut(&reference) else {
            return;
        };
        watcher.phase = Phase::Running;
        let request = std::mem::replace(&mut watcher.request, Request::new(Method::SUBSCRIBE, ""));
        let asked = Asked {
            request,
            server: Some(server),
            source: watcher.source.clone(),
        };
        let mut response = watcher.granting(&asked, env);
        if let Some(news) = news {
            watcher.piggyback(&mut response, news, env);
        }
        env.respond(&asked, response);
    }

    /// The bridge refuses the watcher.
    pub(super) fn reject(&mut self, reference: Ref, failure: &Failure, env: &mut Env<'_>) {
        let Some(watcher) = self.by_ref.get(&reference) else {
            return;
        };
        if let Phase::Asking(server) = watcher.phase {
            let response = env.failure(&watcher.request, failure);
            env.effects.answers.push_back((server, response));
            self.remove(reference);
        }
    }

    /// The bridge has news.
    pub(super) fn notify(
        &mut self,
        reference: Ref,
        state: WatcherState,
        document: Option<Document>,
        env: &mut Env<'_>,
    ) {
        let Some(watcher) = self.by_ref.get_mut(&reference) else {
            return;
        };
        let news = watcher.news(state, document, env);
        let fits = match watcher.phase {
            Phase::Running | Phase::Opening(_) => true,
            // What a newer subscription has ended is not told twice.
            Phase::Ending => news.ends() && watcher.waiting.is_none(),
            Phase::Asking(_) | Phase::Ended => false,
        };
        if !fits {
            return;
        }
        if let Phase::Opening(server) = watcher.phase {
            let rides = !news.ends() && news.document.is_some();
            self.open(reference, server, Some(&news).filter(|_| rides), env);
            if rides {
                return;
            }
        }
        if let Some(watcher) = self.by_ref.get_mut(&reference) {
            watcher.waiting = Some(news);
        }
        self.flush(reference, env);
    }

    /// Sends what waits, if it may go out now.
    fn flush(&mut self, reference: Ref, env: &mut Env<'_>) {
        let Some(watcher) = self.by_ref.get_mut(&reference) else {
            return;
        };
        let Some(news) = watcher.waiting.as_ref() else {
            return;
        };
        if watcher.in_flight {
            return;
        }
        let urgent = watcher.owed || watcher.told != Some(news.state);
        if !urgent && env.now.mono < watcher.quiet_until {
            self.timers
                .set((reference, Timer::Pace), watcher.quiet_until);
            return;
        }
        self.timers.clear((reference, Timer::Pace));
        if let Some(news) = watcher.waiting.take() {
            watcher.send(reference, &news, env);
            if watcher.phase == Phase::Ended && !watcher.in_flight {
                self.remove(reference);
            }
        }
    }

    /// The fate of a BENOTIFY. That nobody has answered is its good end.
    pub(super) fn noticed(&mut self, reference: Ref, fate: &Fate, env: &mut Env<'_>) {
        let gone = match fate {
            Ok(response) => ENDS_DIALOG.contains(&response.status),
            Err(failure) => *failure != Failure::Local(Local::Timeout),
        };
        let Some(watcher) = self.by_ref.get(&reference).filter(|_| gone) else {
            return;
        };
        let owes_nothing = watcher.waiting.as_ref().is_some_and(News::ends);
        self.remove(reference);
        if !owes_nothing {
            let event = WatcherEvent::Broken;
            env.tell(SipIn::Watcher { reference, event });
        }
    }

    /// The fate of a NOTIFY.
    pub(super) fn settled(&mut self, reference: Ref, fate: &Fate, env: &mut Env<'_>) {
        let Some(watcher) = self.by_ref.get_mut(&reference) else {
            return;
        };
        watcher.in_flight = false;
        let gone = match fate {
            Ok(response) => ENDS_DIALOG.contains(&response.status),
            Err(_) => true,
        };
        let last = watcher.waiting.as_ref().is_some_and(News::ends);
        if watcher.phase == Phase::Ended || (gone && last) {
            self.remove(reference);
        } else if gone {
            self.remove(reference);
            let event = WatcherEvent::Broken;
            env.tell(SipIn::Watcher { reference, event });
        } else {
            self.flush(reference, env);
        }
    }

    /// A SUBSCRIBE in the dialog: a refresh, or the end of it.
    pub(super) fn refreshed(&mut self, reference: Ref, asked: &Asked, env: &mut Env<'_>) {
        let Some(watcher) = self.by_ref.get_mut(&reference) else {
            return;
        };
        let theirs = asked.request.headers.get("From").and_then(dialog::tag);
        let known = theirs.unwrap_or_default() == watcher.dialog.remote_tag();
        if watcher.phase != Phase::Running || !known || watcher.event_differs(&asked.request) {
            return env.refuse(asked, &Refusal::NoDialog);
        }
        let granted = match granted(&asked.request, env) {
            Ok(granted) => granted,
            Err(refusal) => return env.refuse(asked, &refusal),
        };
        match watcher.dialog.receive(&asked.request) {
            Order::Stale => return env.refuse(asked, &Refusal::StaleCseq),
            Order::Repeated => return watcher.answer(asked, env),
            Order::Next => {}
        }
        watcher.granted = granted;
        watcher.owed = true;
        let tell = env.behaviour(&watcher.domain).presence_tell;
        let headers = &asked.request.headers;
        if let Some(format) = adapt::presence::choose(headers, &tell) {
            watcher.format = format;
        }
        watcher.answer(asked, env);
        self.bind(reference, leads_back(asked).then_some(&asked.source));
        let left = granted.is_zero();
        self.set_expiry(reference, granted, left, env);
        let event = if left {
            WatcherEvent::Left
        } else {
            WatcherEvent::Refreshed
        };
        env.tell(SipIn::Watcher { reference, event });
    }

    /// Starts the clock for a granted time; or for the last NOTIFY, when nothing is granted.
    fn set_expiry(&mut self, reference: Ref, granted: Duration, ends: bool, env: &Env<'_>) {
        let Some(watcher) = self.by_ref.get_mut(&reference) else {
            return;
        };
        let now = env.now.mono;
        watcher.expires_at = now + granted;
        let wake = if ends {
            watcher.phase = Phase::Ending;
            watcher.waiting = None;
            self.timers.clear((reference, Timer::Pace));
            now + env.settings.transaction_time()
        } else {
            watcher.expires_at
        };
        self.timers.set((reference, Timer::Expiry), wake);
    }

    /// Sends this watcher's NOTIFYs over another connection from now on, or over none in particular.
    fn bind(&mut self, reference: Ref, over: Option<&Source>) {
        let Some(watcher) = self.by_ref.get_mut(&reference) else {
            return;
        };
        if let Some(old) = watcher.over.take() {
            unlink(&mut self.by_flow, old.flow, reference);
        }
        watcher.over = over.cloned();
        if let Some(new) = over {
            self.by_flow.entry(new.flow).or_default().insert(reference);
        }
    }

    /// A connection is gone.
    pub(super) fn connection_closed(&mut self, flow: FlowId) {
        for reference in self.by_flow.remove(&flow).unwrap_or_default() {
            if let Some(watcher) = self.by_ref.get_mut(&reference) {
                watcher.over = None;
            }
        }
    }

    /// The SUBSCRIBE of a watcher cannot be answered any more.
    pub(super) fn server_gone(&mut self, server: ServerId, env: &mut Env<'_>) -> bool {
        let Some(reference) = self.by_server.remove(&server) else {
            return false;
        };
        self.remove(reference);
        let event = WatcherEvent::Broken;
        env.tell(SipIn::Watcher { reference, event });
        true
    }

    /// The next timer.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Runs the timers that are due.
    pub(super) fn handle_timeout(&mut self, env: &mut Env<'_>) {
        while let Some((reference, timer)) = self.timers.pop_due(env.now.mono) {
            match timer {
                Timer::Pace => self.flush(reference, env),
                Timer::Expiry => self.expired(reference, env),
            }
        }
    }

    fn expired(&mut self, reference: Ref, env: &mut Env<'_>) {
        let Some(watcher) = self.by_ref.get_mut(&reference) else {
            return;
        };
        // What was granted nothing is a poll; it only waits for its one NOTIFY.
        if watcher.phase == Phase::Running && !watcher.granted.is_zero() {
            self.set_expiry(reference, Duration::ZERO, true, env);
            let event = WatcherEvent::Expired;
            env.tell(SipIn::Watcher { reference, event });
        } else if watcher.phase != Phase::Ended {
            self.remove(reference);
        }
    }

    /// Takes the next CSeq for a NOTIFY that is sent again with credentials.
    pub(super) fn next_cseq(&mut self, reference: Ref) -> Option<u32> {
        let watcher = self.by_ref.get_mut(&reference)?;
        Some(watcher.dialog.next_cseq())
    }

    fn remove(&mut self, reference: Ref) {
        let Some(watcher) = self.by_ref.remove(&reference) else {
            return;
        };
        let (call_id, tag) = (watcher.dialog.call_id(), watcher.dialog.local_tag());
        self.by_dialog.remove(&(call_id.to_owned(), tag.to_owned()));
        if let Phase::Asking(server) | Phase::Opening(server) = watcher.phase {
            self.by_server.remove(&server);
        }
        if let Some(device) = &watcher.device
            && self.by_device.get(device) == Some(&reference)
        {
            self.by_device.remove(device);
        }
        if let Some(source) = &watcher.over {
            unlink(&mut self.by_flow, source.flow, reference);
        }
        for timer in [Timer::Expiry, Timer::Pace] {
            self.timers.clear((reference, timer));
        }
    }
}

fn unlink(by_flow: &mut BTreeMap<FlowId, BTreeSet<Ref>>, flow: FlowId, reference: Ref) {
    if let Some(watchers) = by_flow.get_mut(&flow) {
        watchers.remove(&reference);
        if watchers.is_empty() {
            by_flow.remove(&flow);
        }
    }
}

impl Watcher {
    /// Answers a refresh.
    fn answer(&self, asked: &Asked, env: &mut Env<'_>) {
        let response = self.granting(asked, env);
        env.respond(asked, response);
    }

    /// 200 to a SUBSCRIBE, with what was granted (RFC 6665 §4.2.1.1).
    fn granting(&self, asked: &Asked, env: &mut Env<'_>) -> Response {
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
    fn piggyback(&mut self, response: &mut Response, news: &News, env: &Env<'_>) {
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
    fn news(&self, state: WatcherState, document: Option<Document>, env: &Env<'_>) -> News {
        let pending = state == WatcherState::Pending
            && env.behaviour(&self.domain).pending_shows == PendingShows::Offline;
        News {
            state,
            document: document.or_else(|| pending.then(Document::default)),
            replaced: false,
        }
    }

    /// A SUBSCRIBE for another package, or with another id, is another subscription (RFC 6665 §4.5.2).
    fn event_differs(&self, request: &Request) -> bool {
        !matches!(request.headers.event(), Ok(Some(event)) if event.matches(&self.event))
    }

    /// Sends a NOTIFY (RFC 6665 §4.2.2), or over the watcher's own connection a BENOTIFY if it takes such.
    fn send(&mut self, reference: Ref, news: &News, env: &mut Env<'_>) {
        let left = self.expires_at.saturating_sub(env.now.mono);
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
        if news.replaced {
            let source = &env.settings.local.host;
            let reason = "Replaced by a newer subscription";
            let value = format!("2139;reason=\"{reason}\";source=\"{source}\"");
            headers.push("ms-diagnostics-public", value);
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
            contact: Some(OwnUser::new(&self.presentity, &env.behaviour(&self.domain))),
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
fn granted(request: &Request, env: &Env<'_>) -> Result<Duration, Refusal> {
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
pub(super) fn set_up(
    asked: &Asked,
    local_tag: &str,
    domain: &str,
    env: &Env<'_>,
) -> Result<Dialog, Refusal> {
    let to = asked.request.headers.get("To").unwrap_or_default();
    // COMPAT(ocs): a document in the 200 counts as NOTIFY number 1.
    let mut dialog = Dialog::from_request(&asked.request, format!("{to};tag={local_tag}"), 0, None)
        .map_err(|error| Refusal::Malformed(error.to_string()))?;
    let known = dialog.is_routed()
        || leads_back(asked)
        || routing::is_near(dialog.target(), domain, &asked.source, env.settings);
    if !known {
        // A Contact elsewhere could be anybody's: the domain's own servers shall decide (reflection).
        dialog.route_through(&format!("sip:{domain}"));
    }
    Ok(dialog)
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
pub(super) fn leads_back(asked: &Asked) -> bool {
    let headers = &asked.request.headers;
    let direct = headers.values("Via").nth(1).is_none();
    asked.source.transport.row().reliable && (direct || headers.contains("Record-Route"))
}
