//! SIP users who watch XMPP users: the notifier of RFC 6665 §4.2 for the presence package (RFC 3856).

mod watcher;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stox_core::address::SipAddress;
use stox_core::failure::{Failure, Local};
use stox_core::vocab::{Document, EndReason, Ref, SipIn, WatcherEvent, WatcherState};

use self::watcher::{Device, News, Phase, Watcher};
use super::effects::{Asked, Env, Fate};
use super::refusals::Refusal;
use crate::adapt;
use crate::deadlines::Deadlines;
use crate::dialog::{self, Order};
use crate::message::Request;
use crate::method::Method;
use crate::transaction::ServerId;
use crate::transport::{FlowId, Source};

pub(super) use self::watcher::{granted, keep_near, leads_back, set_up};

/// Answers to a NOTIFY after which the watcher's dialog or usage is gone (RFC 5057 §5.1, RFC 6665 §4.2.2).
pub(super) const ENDS_DIALOG: &[u16] = &[
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
        let entry = match Watcher::new(&asked, server, &local_tag, (&watcher, &presentity), env) {
            Ok(entry) => entry,
            Err(refusal) => return env.refuse(&asked, &refusal),
        };
        let poll = entry.granted.is_zero();
        let trace = adapt::trace::read(&asked.request.headers);
        let before = self.insert(reference, server, entry);
        let event = WatcherEvent::Arrived {
            watcher,
            presentity,
            poll,
            trace,
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
        let before = watcher.dialog.next_hop();
        match watcher.dialog.receive(&asked.request) {
            Order::Stale => return env.refuse(asked, &Refusal::StaleCseq),
            Order::Repeated => return watcher.answer(asked, env),
            Order::Next => {}
        }
        if watcher.dialog.next_hop() != before {
            watcher::keep_near(&mut watcher.dialog, &watcher.domain, asked, env);
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
