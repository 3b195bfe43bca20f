//! SIP users who watch XMPP users: the notifier of RFC 6665 §4.2 for the presence package (RFC 3856).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stox_core::address::SipAddress;
use stox_core::failure::Failure;
use stox_core::vocab::{Document, EndReason, Ref, SipIn, WatcherEvent, WatcherState};

use super::deadlines::Deadlines;
use super::effects::{Asked, Env, Fate, Outgoing, Purpose};
use super::refusals::{PACKAGE, Refusal};
use super::routing;
use super::settings::OwnUser;
use super::subscriber::reason_word;
use crate::adapt;
use crate::adapt::presence::Style;
use crate::dialog::{self, Dialog, Order};
use crate::header::Event;
use crate::message::Request;
use crate::method::Method;
use crate::transaction::ServerId;
use crate::transport::{FlowId, Source};

/// From here on a short wish may not be refused with 423 (RFC 6665 §4.2.1.1).
const HOUR: Duration = Duration::from_secs(3600);

/// Answers to a NOTIFY after which the watcher's dialog or usage is gone (RFC 5057 §5.1, RFC 6665 §4.2.2).
const ENDS_DIALOG: &[u16] = &[
    404, 405, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604,
];

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
}

#[derive(Debug)]
struct Watcher {
    dialog: Dialog,
    presentity: SipAddress,
    /// It looks at one tuple only.
    one_tuple: bool,
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
        let built = granted(&asked.request, env)
            .and_then(|granted| Ok((granted, set_up(&asked, &local_tag, &watcher.host, env)?)));
        let (granted, dialog) = match built {
            Ok(built) => built,
            Err(refusal) => return env.refuse(&asked, &refusal),
        };
        let over = leads_back(&asked).then(|| asked.source.clone());
        let event = asked.request.headers.event().ok().flatten();
        let event = event.unwrap_or_else(|| Event::new(PACKAGE));
        self.by_dialog
            .insert((dialog.call_id().to_owned(), local_tag), reference);
        self.by_server.insert(server, reference);
        if let Some(source) = &over {
            self.by_flow
                .entry(source.flow)
                .or_default()
                .insert(reference);
        }
        let poll = granted.is_zero();
        self.by_ref.insert(
            reference,
            Watcher {
                dialog,
                presentity: presentity.clone(),
                one_tuple: adapt::presence::reads_one_tuple(&asked.request.headers),
                domain: watcher.host.clone(),
                event,
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
            },
        );
        let event = WatcherEvent::Arrived {
            watcher,
            presentity,
            poll,
        };
        env.tell(SipIn::Watcher { reference, event });
    }

    /// The bridge takes the watcher: 200.
    pub(super) fn accept(&mut self, reference: Ref, env: &mut Env<'_>) {
        let Some(watcher) = self.by_ref.get_mut(&reference) else {
            return;
        };
        let Phase::Asking(server) = watcher.phase else {
            return;
        };
        self.by_server.remove(&server);
        watcher.phase = Phase::Running;
        watcher.expires_at = env.now.mono + watcher.granted;
        let limit = watcher
            .expires_at
            .max(env.now.mono + env.settings.transaction_time());
        self.timers.set((reference, Timer::Expiry), limit);
        let request = std::mem::replace(&mut watcher.request, Request::new(Method::SUBSCRIBE, ""));
        watcher.answer(
            &Asked {
                request,
                server: Some(server),
                source: watcher.source.clone(),
            },
            env,
        );
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
        let ends = matches!(state, WatcherState::Terminated { .. });
        let fits = match watcher.phase {
            Phase::Running => true,
            Phase::Ending => ends,
            Phase::Asking(_) | Phase::Ended => false,
        };
        if fits {
            watcher.waiting = Some(News { state, document });
            self.flush(reference, env);
        }
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
        let ends = |news: &News| matches!(news.state, WatcherState::Terminated { .. });
        if watcher.phase == Phase::Ended || (gone && watcher.waiting.as_ref().is_some_and(ends)) {
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
        if let Phase::Asking(server) = watcher.phase {
            self.by_server.remove(&server);
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
    /// 200 to a SUBSCRIBE, with what was granted (RFC 6665 §4.2.1.1).
    fn answer(&self, asked: &Asked, env: &mut Env<'_>) {
        let mut response = env.response(&asked.request, 200, "OK");
        let headers = &mut response.headers;
        headers.set("To", self.dialog.local());
        headers.copy_from(&asked.request.headers, "Record-Route");
        let transport = asked.source.transport;
        let own = OwnUser::new(&self.presentity, &env.behaviour(&self.domain));
        headers.push("Contact", env.settings.local.contact(&own, transport));
        headers.push("Expires", self.granted.as_secs().to_string());
        env.respond(asked, response);
    }

    /// A SUBSCRIBE for another package, or with another id, is another subscription (RFC 6665 §4.5.2).
    fn event_differs(&self, request: &Request) -> bool {
        !matches!(request.headers.event(), Ok(Some(event)) if event.matches(&self.event))
    }

    /// Sends a NOTIFY (RFC 6665 §4.2.2).
    fn send(&mut self, reference: Ref, news: &News, env: &mut Env<'_>) {
        let left = self.expires_at.saturating_sub(env.now.mono);
        let mut request = self.dialog.request(Method::NOTIFY);
        let headers = &mut request.headers;
        headers.push("Event", self.event.to_string());
        headers.push("Subscription-State", state_value(news.state, left));
        headers.push("User-Agent", &env.settings.product);
        if let Some(document) = &news.document {
            let style = Style {
                one_tuple: self.one_tuple,
                now: env.now.wall,
                ..Style::default()
            };
            let body = adapt::presence::write(document, &self.presentity, &style);
            headers.push("Content-Type", body.content_type);
            if let Some(language) = &body.content_language {
                headers.push("Content-Language", language);
            }
            request.body = body.bytes;
        }
        self.in_flight = true;
        self.owed = false;
        self.told = Some(news.state);
        self.quiet_until = env.now.mono + env.settings.notify_interval;
        if matches!(news.state, WatcherState::Terminated { .. }) {
            self.phase = Phase::Ended;
        }
        env.send(Outgoing {
            purpose: Purpose::Watcher(reference),
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
    let first = u32::try_from(env.now.wall.as_secs() & 0xffff).unwrap_or_default();
    let mut dialog =
        Dialog::from_request(&asked.request, format!("{to};tag={local_tag}"), first, None)
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

/// Whether the next hop of the dialog is the element at the other end of the connection: a proxy there has recorded
/// its route, or the user agent itself is there. User agents behind TLS often cannot be reached otherwise.
pub(super) fn leads_back(asked: &Asked) -> bool {
    let headers = &asked.request.headers;
    let direct = headers.values("Via").nth(1).is_none();
    asked.source.transport.row().reliable && (direct || headers.contains("Record-Route"))
}
