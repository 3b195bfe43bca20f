//! SIP users who watch the rooms that they are in: the notifier of RFC 4575 §3 and RFC 6665 §4.2.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use stox_core::address::SipAddress;
use stox_core::vocab::Text;

use super::roster::{self, Present};
use super::{LegId, PACKAGE, Step, Timer, Timers, focus_contact};
use crate::adapt;
use crate::body::conference_info::{self, ConferenceInfo, Description, Extent, Users};
use crate::dialog::{self, Dialog, Order};
use crate::header::{Event, HeaderValue, MediaType};
use crate::method::Method;
use crate::transport::{FlowId, Source};
use crate::ua::effects::{Asked, Env, Fate, Outgoing, Purpose};
use crate::ua::notifier::{ENDS_DIALOG, granted, keep_near, leads_back, set_up};
use crate::ua::refusals::{self, Refusal};

/// Subscriptions of one user to one room at most.
pub(super) const MOST_FOR_ONE: usize = 4;

/// Participants that a watcher has not been told of one by one, at most; beyond that he is told everything.
const MOST_TOUCHED: usize = 1000;

/// A room as its watchers see it.
#[derive(Debug)]
pub(super) struct Room {
    /// Its address.
    pub(super) address: SipAddress,
    /// Who is there.
    pub(super) present: Present,
    /// What it is about.
    pub(super) subject: Option<Text>,
    /// The core has told who is there.
    pub(super) known: bool,
    /// The dialog of the INVITE by which its user is in it.
    pub(super) dialog: Dialog,
}

impl Room {
    fn entity(&self) -> String {
        adapt::address::to_uri(&self.address).to_string()
    }

    fn description(&self) -> Description {
        Description {
            subject: self.subject.as_ref().map(|subject| {
                let text = subject.text.chars();
                text.take(conference_info::MAX_TEXT).collect()
            }),
            ..Description::default()
        }
    }

    /// Everything that is known of it.
    fn full(&self, version: u32) -> ConferenceInfo {
        ConferenceInfo {
            entity: self.entity(),
            extent: Extent::Full,
            version: Some(version),
            description: Some(self.description()),
            user_count: u32::try_from(self.present.len()).ok(),
            users: Some(Users {
                extent: Extent::Full,
                list: self.present.all().map(roster::user).collect(),
            }),
        }
    }

    fn partial(&self, version: u32, news: &News) -> ConferenceInfo {
        let user = |address: &SipAddress| match self.present.get(address) {
            Some(participant) => roster::user(participant),
            None => roster::gone(address),
        };
        let touched = !news.touched.is_empty();
        ConferenceInfo {
            entity: self.entity(),
            extent: Extent::Partial,
            version: Some(version),
            description: news.subject.then(|| self.description()),
            user_count: touched
                .then(|| u32::try_from(self.present.len()).ok())
                .flatten(),
            users: touched.then(|| Users {
                extent: Extent::Partial,
                list: news.touched.iter().map(user).collect(),
            }),
        }
    }
}

/// What a watcher has not been told.
#[derive(Debug, Default)]
struct News {
    /// Everything.
    full: bool,
    /// What the room is about.
    subject: bool,
    /// These participants.
    touched: BTreeSet<SipAddress>,
}

impl News {
    fn add(&mut self, touched: &BTreeSet<SipAddress>, subject: bool) {
        self.subject |= subject;
        if !self.full {
            self.touched.extend(touched.iter().cloned());
        }
        if self.touched.len() > MOST_TOUCHED {
            self.full = true;
            self.touched.clear();
        }
    }

    fn is_none(&self) -> bool {
        !self.full && !self.subject && self.touched.is_empty()
    }
}

/// How a subscription ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// It ran out, or its user wants it no more.
    Timeout,
    /// He is not in the room any more.
    Left,
    /// The room is no more.
    Deleted,
}

impl Last {
    fn reason(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Left | Self::Deleted => "noresource",
        }
    }
}

#[derive(Debug)]
struct Watcher {
    leg: LegId,
    /// `None`: that of the INVITE.
    dialog: Option<Dialog>,
    event: Event,
    domain: String,
    over: Option<Source>,
    expires_at: Duration,
    /// Of the next document.
    version: u32,
    news: News,
    /// The rest of a document that was too large for one.
    pieces: VecDeque<ConferenceInfo>,
    in_flight: bool,
    /// A NOTIFY is owed at once, with a document or without.
    owed: bool,
    quiet_until: Duration,
    /// A last NOTIFY is owed.
    last: Option<Last>,
    /// It has been sent.
    told_last: bool,
}

/// All watchers of all rooms.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    by_id: BTreeMap<LegId, Watcher>,
    by_dialog: BTreeMap<(String, String), LegId>,
    by_leg: BTreeMap<LegId, Vec<LegId>>,
}

impl Watchers {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The subscription of a dialog.
    pub(super) fn find(&self, call_id: &str, local_tag: &str) -> Option<LegId> {
        let key = (call_id.to_owned(), local_tag.to_owned());
        self.by_dialog.get(&key).copied()
    }

    /// Whether somebody watches the room of a leg.
    pub(super) fn has(&self, leg: LegId) -> bool {
        self.by_leg.contains_key(&leg)
    }

    /// The subscription in the dialog of a leg's INVITE.
    pub(super) fn inside(&self, leg: LegId) -> Option<LegId> {
        let mut all = self.by_leg.get(&leg)?.iter();
        let inside = |id: &&LegId| self.by_id.get(id).is_some_and(|one| one.dialog.is_none());
        all.find(inside).copied()
    }

    /// The leg whose room a subscription watches.
    pub(super) fn leg(&self, id: LegId) -> Option<LegId> {
        self.by_id.get(&id).map(|watcher| watcher.leg)
    }

    /// A SUBSCRIBE of a user who is in the room, or on his way into it: outside a dialog, or in that of his INVITE.
    pub(super) fn arrived(
        &mut self,
        (id, leg): (LegId, LegId),
        asked: &Asked,
        (room, domain): (&mut Room, &str),
        timers: &mut Timers,
        env: &mut Env<'_>,
    ) {
        let inside = refusals::to_tag(&asked.request).is_some();
        let watcher = match self.watcher(leg, asked, (domain, inside), env) {
            Ok(watcher) => watcher,
            Err(refusal) => return env.refuse(asked, &refusal),
        };
        let granted = watcher.expires_at.saturating_sub(env.now.mono);
        accept(&watcher, asked, room, granted, env);
        if let Some(dialog) = &watcher.dialog {
            let key = (dialog.call_id().to_owned(), dialog.local_tag().to_owned());
            self.by_dialog.insert(key, id);
        }
        self.by_leg.entry(leg).or_default().push(id);
        self.by_id.insert(id, watcher);
        if granted.is_zero() {
            self.end(id, Last::Timeout, room, timers, env);
        } else {
            timers.set((id, Timer::Expiry), env.now.mono + granted);
            self.flush(id, room, timers, env);
        }
    }

    fn watcher(
        &self,
        leg: LegId,
        asked: &Asked,
        (domain, inside): (&str, bool),
        env: &mut Env<'_>,
    ) -> Result<Watcher, Refusal> {
        if !takes_documents(asked) {
            return Err(Refusal::NoConferenceInfo);
        }
        if self
            .by_leg
            .get(&leg)
            .is_some_and(|all| all.len() >= MOST_FOR_ONE)
        {
            return Err(Refusal::Busy);
        }
        let granted = granted(&asked.request, env)?;
        let dialog = match inside {
            true => None,
            false => Some(set_up(asked, &env.entropy.token(), domain, env)?),
        };
        let event = asked.request.headers.event().ok().flatten();
        Ok(Watcher {
            leg,
            dialog,
            event: event.unwrap_or_else(|| Event::new(PACKAGE)),
            domain: domain.to_owned(),
            over: leads_back(asked).then(|| asked.source.clone()),
            expires_at: env.now.mono + granted,
            version: 0,
            news: News {
                full: true,
                ..News::default()
            },
            pieces: VecDeque::new(),
            in_flight: false,
            owed: true,
            quiet_until: Duration::ZERO,
            last: None,
            told_last: false,
        })
    }

    /// A SUBSCRIBE in the dialog: a refresh, which brings the whole state, or the end of it.
    pub(super) fn refreshed(
        &mut self,
        id: LegId,
        asked: &Asked,
        room: &mut Room,
        timers: &mut Timers,
        env: &mut Env<'_>,
    ) {
        let Some(watcher) = self.by_id.get_mut(&id) else {
            return env.refuse(asked, &Refusal::NoDialog);
        };
        let headers = &asked.request.headers;
        let theirs = headers.get("From").and_then(dialog::tag);
        let dialog = watcher.dialog.as_ref().unwrap_or(&room.dialog);
        let known = theirs.unwrap_or_default() == dialog.remote_tag();
        let same = matches!(headers.event(), Ok(Some(event)) if event.matches(&watcher.event));
        if !known || !same || watcher.last.is_some() {
            return env.refuse(asked, &Refusal::NoDialog);
        }
        let granted = match granted(&asked.request, env) {
            Ok(granted) => granted,
            Err(refusal) => return env.refuse(asked, &refusal),
        };
        // In the dialog of the INVITE the order has been looked at.
        let before = watcher.dialog.as_ref().map(Dialog::next_hop);
        let order = watcher.dialog.as_mut();
        match order.map(|dialog| dialog.receive(&asked.request)) {
            Some(Order::Stale) => return env.refuse(asked, &Refusal::StaleCseq),
            Some(Order::Repeated) => return accept(watcher, asked, room, granted, env),
            Some(Order::Next) | None => {}
        }
        if let Some(dialog) = &mut watcher.dialog
            && Some(dialog.next_hop()) != before
        {
            keep_near(dialog, &watcher.domain, asked, env);
        }
        watcher.over = leads_back(asked).then(|| asked.source.clone());
        watcher.expires_at = env.now.mono + granted;
        watcher.news.full = true;
        watcher.owed = true;
        accept(watcher, asked, room, granted, env);
        if granted.is_zero() {
            self.end(id, Last::Timeout, room, timers, env);
        } else {
            timers.set((id, Timer::Expiry), env.now.mono + granted);
            self.flush(id, room, timers, env);
        }
    }

    /// A room has news for all who watch it by way of a leg.
    pub(super) fn tell(
        &mut self,
        leg: LegId,
        (touched, subject): (&BTreeSet<SipAddress>, bool),
        room: &mut Room,
        timers: &mut Timers,
        env: &mut Env<'_>,
    ) {
        for id in self.of_leg(leg) {
            if let Some(watcher) = self.by_id.get_mut(&id) {
                watcher.news.add(touched, subject);
            }
            self.flush(id, room, timers, env);
        }
    }

    /// The room is known from now on: whoever watches it is told everything at once.
    pub(super) fn tell_all(
        &mut self,
        leg: LegId,
        room: &mut Room,
        timers: &mut Timers,
        env: &mut Env<'_>,
    ) {
        for id in self.of_leg(leg) {
            if let Some(watcher) = self.by_id.get_mut(&id) {
                watcher.news.full = true;
                watcher.owed = true;
            }
            self.flush(id, room, timers, env);
        }
    }

    /// Ends all subscriptions of a leg.
    pub(super) fn end_all(
        &mut self,
        leg: LegId,
        last: Last,
        room: &mut Room,
        timers: &mut Timers,
        env: &mut Env<'_>,
    ) {
        for id in self.of_leg(leg) {
            self.end(id, last, room, timers, env);
        }
    }

    fn of_leg(&self, leg: LegId) -> Vec<LegId> {
        self.by_leg.get(&leg).cloned().unwrap_or_default()
    }

    fn end(
        &mut self,
        id: LegId,
        last: Last,
        room: &mut Room,
        timers: &mut Timers,
        env: &mut Env<'_>,
    ) {
        let Some(watcher) = self.by_id.get_mut(&id) else {
            return;
        };
        watcher.last = watcher.last.or(Some(last));
        watcher.owed = true;
        timers.clear((id, Timer::Pace));
        let limit = env.now.mono + env.settings.transaction_time();
        timers.set((id, Timer::Expiry), limit);
        self.flush(id, room, timers, env);
    }

    /// Sends what is owed, if it may go out now.
    fn flush(&mut self, id: LegId, room: &mut Room, timers: &mut Timers, env: &mut Env<'_>) {
        let Some(watcher) = self.by_id.get_mut(&id) else {
            return;
        };
        if watcher.in_flight || watcher.told_last {
            return;
        }
        let waits = !watcher.news.is_none() && room.known;
        if !watcher.owed && !waits && watcher.pieces.is_empty() {
            return;
        }
        let urgent = watcher.owed || !watcher.pieces.is_empty();
        if !urgent && env.now.mono < watcher.quiet_until {
            return timers.set((id, Timer::Pace), watcher.quiet_until);
        }
        timers.clear((id, Timer::Pace));
        watcher.send(id, room, env);
    }

    /// The fate of a NOTIFY. The room is that of the leg, where there is one yet.
    pub(super) fn settled(
        &mut self,
        id: LegId,
        fate: &Fate,
        room: Option<&mut Room>,
        timers: &mut Timers,
        env: &mut Env<'_>,
    ) {
        let Some(watcher) = self.by_id.get_mut(&id) else {
            return;
        };
        watcher.in_flight = false;
        let gone = match fate {
            Ok(response) => ENDS_DIALOG.contains(&response.status),
            Err(_) => true,
        };
        match room {
            Some(room) if !gone && !watcher.told_last => self.flush(id, room, timers, env),
            _ => self.remove(id, timers),
        }
    }

    /// A timer is due.
    pub(super) fn timed_out(
        &mut self,
        (id, timer): (LegId, Timer),
        room: Option<&mut Room>,
        timers: &mut Timers,
        env: &mut Env<'_>,
    ) {
        let ends = self.by_id.get(&id).is_none_or(|one| one.last.is_some());
        match room {
            Some(room) if timer == Timer::Pace => self.flush(id, room, timers, env),
            Some(room) if !ends => self.end(id, Last::Timeout, room, timers, env),
            _ => self.remove(id, timers),
        }
    }

    /// A connection is gone.
    pub(super) fn connection_closed(&mut self, flow: FlowId) {
        for watcher in self.by_id.values_mut() {
            if watcher.over.as_ref().is_some_and(|over| over.flow == flow) {
                watcher.over = None;
            }
        }
    }

    /// The next CSeq, for a NOTIFY that is sent again with credentials.
    pub(super) fn next_cseq(&mut self, id: LegId) -> Option<u32> {
        let dialog = self.by_id.get_mut(&id)?.dialog.as_mut();
        dialog.map(Dialog::next_cseq)
    }

    fn remove(&mut self, id: LegId, timers: &mut Timers) {
        for timer in [Timer::Pace, Timer::Expiry] {
            timers.clear((id, timer));
        }
        let Some(watcher) = self.by_id.remove(&id) else {
            return;
        };
        if let Some(dialog) = &watcher.dialog {
            let key = (dialog.call_id().to_owned(), dialog.local_tag().to_owned());
            self.by_dialog.remove(&key);
        }
        if let Some(all) = self.by_leg.get_mut(&watcher.leg) {
            all.retain(|one| *one != id);
            if all.is_empty() {
                self.by_leg.remove(&watcher.leg);
            }
        }
    }
}

impl Watcher {
    /// The next NOTIFY (RFC 4575 §3.6).
    fn send(&mut self, id: LegId, room: &mut Room, env: &mut Env<'_>) {
        let document = self.document(room);
        let left = self.expires_at.saturating_sub(env.now.mono).as_secs();
        let state = match self.last {
            Some(last) => format!("terminated;reason={}", last.reason()),
            None => format!("active;expires={left}"),
        };
        let dialog = self.dialog.as_mut().unwrap_or(&mut room.dialog);
        let mut request = dialog.request(Method::NOTIFY);
        let next_hop = dialog.next_hop();
        let headers = &mut request.headers;
        headers.push("Event", self.event.to_string());
        headers.push("Subscription-State", state);
        headers.push("User-Agent", &env.settings.product);
        if let Some(document) = document {
            headers.push("Content-Type", conference_info::CONTENT_TYPE);
            request.body = Bytes::from(conference_info::write(&document));
        }
        self.in_flight = true;
        self.owed = false;
        self.told_last = self.last.is_some();
        self.quiet_until = env.now.mono + env.settings.notify_interval;
        env.send(Outgoing {
            purpose: Purpose::Focus(id, Step::Notify),
            next_hop,
            request,
            over: self.over.clone(),
            domain: self.domain.clone(),
            contact: Some(focus_contact(&room.address, &self.domain, env)),
            branch_hint: None,
        });
    }

    /// What it says; nothing while the room itself has said nothing.
    fn document(&mut self, room: &Room) -> Option<ConferenceInfo> {
        if let Some(Last::Deleted) = self.last {
            return Some(ConferenceInfo {
                entity: room.entity(),
                extent: Extent::Deleted,
                version: Some(self.version),
                ..ConferenceInfo::default()
            });
        }
        if !room.known {
            return None;
        }
        if let Some(piece) = self.pieces.pop_front().filter(|_| !self.news.full) {
            return Some(piece);
        }
        let news = std::mem::take(&mut self.news);
        if news.is_none() {
            return None;
        }
        let whole = match news.full {
            true => room.full(self.version),
            false => room.partial(self.version, &news),
        };
        self.pieces = conference_info::pieces(whole).into();
        let count = u32::try_from(self.pieces.len()).unwrap_or(u32::MAX);
        self.version = self.version.wrapping_add(count);
        self.pieces.pop_front()
    }
}

/// 200 to a SUBSCRIBE (RFC 6665 §4.2.1.1).
fn accept(watcher: &Watcher, asked: &Asked, room: &Room, granted: Duration, env: &mut Env<'_>) {
    let mut response = env.response(&asked.request, 200, "OK");
    let own = focus_contact(&room.address, &watcher.domain, env);
    let dialog = watcher.dialog.as_ref().unwrap_or(&room.dialog);
    let headers = &mut response.headers;
    headers.set("To", dialog.local());
    headers.copy_from(&asked.request.headers, "Record-Route");
    let transport = asked.source.transport;
    headers.push("Contact", env.settings.local.contact(&own, transport));
    headers.push("Expires", granted.as_secs().to_string());
    env.respond(asked, response);
}

/// Whether conference documents are among what a SUBSCRIBE takes: they are where it does not say.
fn takes_documents(asked: &Asked) -> bool {
    let headers = &asked.request.headers;
    let covers = |value: &str| {
        MediaType::parse(value)
            .is_ok_and(|range| range.covers("application", "conference-info+xml"))
    };
    !headers.contains("Accept") || headers.values("Accept").any(covers)
}
