//! Our subscription to the state of a conference (RFC 4575 §3, RFC 6665 §4.1).
//!
//! It lives as long as its participant. Where the conference has no such package nothing is asked any more; where it fails
//! for another reason it is tried again, ever more seldom.

use std::time::Duration;

use stox_core::address::SipAddress;

use super::{LegId, PACKAGE, Step, Timer, Timers};
use crate::adapt;
use crate::body::conference_info::{self, Applied, Roster};
use crate::dialog::{self, Dialog, MAX_FORWARDS, Order};
use crate::header::{HeaderValue, MediaType, SubscriptionState};
use crate::message::{Request, Response};
use crate::method::Method;
use crate::ua::effects::{Asked, Env, Fate, Outgoing, Purpose};
use crate::ua::refusals::Refusal;
use crate::ua::settings::OwnUser;

/// Answers to a SUBSCRIBE that say that there is no such package.
const NO_PACKAGE: &[u16] = &[403, 405, 489, 501, 603];
/// The first wait after a failure; each one is twice as long as the one before.
const FIRST_REST: Duration = Duration::from_secs(2);
/// The longest of them.
const LONGEST_REST: Duration = Duration::from_secs(3600);
/// The least time between two requests for the whole state.
const BETWEEN_REPAIRS: Duration = Duration::from_secs(5);
/// The longest time that a conference may grant or ask for.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What a subscription has learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing that anybody waits for.
    Nothing,
    /// Who is there, or what the conference is about.
    News,
    /// For the time being nobody tells.
    Silence,
    /// The conference is over.
    Over,
}

/// The SUBSCRIBE that has no final answer yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InFlight {
    First,
    Refresh,
    Close,
}

#[derive(Debug)]
pub(super) struct Subscription {
    id: LegId,
    /// The conference.
    target: String,
    domain: String,
    /// `From` with our tag.
    from: String,
    own: OwnUser,
    call_id: String,
    local_tag: String,
    cseq: u32,
    /// Set up by a NOTIFY.
    dialog: Option<Dialog>,
    /// What the 2xx told, in use only until then.
    answered: Option<Dialog>,
    in_flight: Option<InFlight>,
    /// The whole state is asked for once the request under way is answered.
    repair: bool,
    repaired_at: Option<Duration>,
    /// Nobody wants it any more.
    closing: bool,
    wish: Duration,
    rest: Duration,
    roster: Roster,
}

impl Subscription {
    /// Subscribes for `user`, who is in the conference.
    pub(super) fn start(
        id: LegId,
        user: &SipAddress,
        conference: &SipAddress,
        env: &mut Env<'_>,
    ) -> Self {
        let local_tag = env.entropy.token();
        let uri = adapt::address::to_uri(user);
        let mut subscription = Self {
            id,
            target: adapt::address::to_uri(conference).to_string(),
            domain: conference.host.clone(),
            from: format!("<{uri}>;tag={local_tag}"),
            own: OwnUser::new(user, &env.behaviour(&conference.host)),
            call_id: format!("{}@{}", env.entropy.token(), env.settings.local.host),
            local_tag,
            cseq: 0,
            dialog: None,
            answered: None,
            in_flight: None,
            repair: false,
            repaired_at: None,
            closing: false,
            wish: env.settings.subscribe_expires,
            rest: FIRST_REST,
            roster: Roster::default(),
        };
        subscription.send_first(env);
        subscription
    }

    /// By which NOTIFYs find it: Call-ID and our tag.
    pub(super) fn key(&self) -> (String, String) {
        (self.call_id.clone(), self.local_tag.clone())
    }

    /// What is known of the conference.
    pub(super) fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Nothing is under way that has to be waited for.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_none()
    }

    fn send_first(&mut self, env: &mut Env<'_>) {
        self.cseq += 1;
        self.dialog = None;
        self.answered = None;
        let mut request = Request::new(Method::SUBSCRIBE, self.target.clone());
        let headers = &mut request.headers;
        headers.push("Max-Forwards", MAX_FORWARDS);
        headers.push("From", &self.from);
        headers.push("To", format!("<{}>", self.target));
        headers.push("Call-ID", &self.call_id);
        headers.push("CSeq", format!("{} {}", self.cseq, Method::SUBSCRIBE));
        let next_hop = self.target.clone();
        self.send(InFlight::First, request, next_hop, env);
    }

    fn send_in_dialog(&mut self, in_flight: InFlight, env: &mut Env<'_>) {
        if let Some(dialog) = self.dialog.as_mut().or(self.answered.as_mut()) {
            let request = dialog.request(Method::SUBSCRIBE);
            let next_hop = dialog.next_hop();
            self.send(in_flight, request, next_hop, env);
        }
    }

    fn send(
        &mut self,
        in_flight: InFlight,
        mut request: Request,
        next_hop: String,
        env: &mut Env<'_>,
    ) {
        let wish = match in_flight {
            InFlight::Close => Duration::ZERO,
            InFlight::First | InFlight::Refresh => self.wish,
        };
        let headers = &mut request.headers;
        headers.push("Event", PACKAGE);
        headers.push("Accept", conference_info::CONTENT_TYPE);
        headers.push("Expires", wish.as_secs().to_string());
        headers.push("User-Agent", &env.settings.product);
        self.in_flight = Some(in_flight);
        env.send(Outgoing {
            purpose: Purpose::Participant(self.id, Step::Subscribe),
            request,
            next_hop,
            over: None,
            domain: self.domain.clone(),
            contact: Some(self.own.clone()),
            branch_hint: None,
        });
    }

    /// The next CSeq, for a SUBSCRIBE that is sent again with credentials.
    pub(super) fn next_cseq(&mut self) -> Option<u32> {
        if self.in_flight == Some(InFlight::First) {
            self.cseq += 1;
            return Some(self.cseq);
        }
        let dialog = self.dialog.as_mut().or(self.answered.as_mut());
        dialog.map(Dialog::next_cseq)
    }

    /// Nobody wants it any more: Expires 0 where there is a dialog.
    pub(super) fn close(&mut self, timers: &mut Timers, env: &mut Env<'_>) {
        if std::mem::replace(&mut self.closing, true) {
            return;
        }
        self.still(timers);
        if self.in_flight.is_none() {
            self.send_in_dialog(InFlight::Close, env);
        }
    }

    /// Forgets its timers.
    pub(super) fn still(&self, timers: &mut Timers) {
        for timer in [Timer::FirstNotify, Timer::Refresh, Timer::Expiry] {
            timers.clear((self.id, timer));
        }
    }

    /// The fate of a SUBSCRIBE.
    pub(super) fn settled(&mut self, fate: Fate, timers: &mut Timers, env: &mut Env<'_>) -> Heard {
        let Some(in_flight) = self.in_flight.take() else {
            return Heard::Nothing;
        };
        match fate {
            _ if in_flight == InFlight::Close => Heard::Nothing,
            Ok(response) if (200..300).contains(&response.status) => {
                self.accepted(in_flight, &response, timers, env);
                Heard::Nothing
            }
            _ if self.closing => {
                self.send_in_dialog(InFlight::Close, env);
                Heard::Nothing
            }
            Ok(response) if response.status == 423 && self.ask_longer(&response) => {
                match in_flight {
                    InFlight::First => self.send_first(env),
                    other => self.send_in_dialog(other, env),
                }
                Heard::Nothing
            }
            Ok(response) if NO_PACKAGE.contains(&response.status) => {
                self.forget(timers);
                Heard::Silence
            }
            _ => self.lost(timers, env),
        }
    }

    fn accepted(
        &mut self,
        in_flight: InFlight,
        response: &Response,
        timers: &mut Timers,
        env: &mut Env<'_>,
    ) {
        match self.dialog.as_mut() {
            Some(dialog) => dialog.refresh_target(&response.headers),
            None => {
                let (from, call_id) = (&self.from, &self.call_id);
                self.answered = Dialog::from_response(from, call_id, self.cseq, response).ok();
            }
        }
        if self.closing {
            return self.send_in_dialog(InFlight::Close, env);
        }
        if self.dialog.is_none() {
            let limit = env.now.mono + env.settings.transaction_time();
            timers.set((self.id, Timer::FirstNotify), limit);
        }
        // A NOTIFY that came before this answer has the last word on the time (RFC 6665 §4.1.3).
        if in_flight == InFlight::Refresh || self.dialog.is_none() {
            let granted = response.headers.expires().ok().flatten().map(from_seconds);
            self.schedule(granted.unwrap_or(self.wish), timers, env);
        }
        if std::mem::take(&mut self.repair) {
            self.repair(timers, env);
        }
    }

    fn ask_longer(&mut self, response: &Response) -> bool {
        let least = response.headers.min_expires().ok().flatten();
        let least = least.map(from_seconds).unwrap_or_default();
        let obey = least > self.wish && least <= LONGEST;
        if obey {
            self.wish = least;
        }
        obey
    }

    fn schedule(&self, left: Duration, timers: &mut Timers, env: &Env<'_>) {
        let (now, left) = (env.now.mono, left.min(LONGEST));
        timers.set((self.id, Timer::Expiry), now + left);
        let margin = (left / 10).clamp(Duration::from_secs(10), Duration::from_secs(60));
        let refresh = left.saturating_sub(margin).max(left / 2);
        timers.set((self.id, Timer::Refresh), now + refresh);
    }

    /// The dialog is gone, or never came about: another one is tried after a rest.
    fn lost(&mut self, timers: &mut Timers, env: &Env<'_>) -> Heard {
        self.forget(timers);
        timers.set((self.id, Timer::Refresh), env.now.mono + self.rest);
        self.rest = (self.rest * 2).min(LONGEST_REST);
        Heard::Silence
    }

    fn forget(&mut self, timers: &mut Timers) {
        self.still(timers);
        self.dialog = None;
        self.answered = None;
        self.repair = false;
    }

    /// A timer is due.
    pub(super) fn timed_out(
        &mut self,
        timer: Timer,
        timers: &mut Timers,
        env: &mut Env<'_>,
    ) -> Heard {
        if self.closing {
            return Heard::Nothing;
        }
        match timer {
            Timer::Refresh if self.in_flight.is_some() => Heard::Nothing,
            Timer::Refresh if self.dialog.is_none() && self.answered.is_none() => {
                self.send_first(env);
                Heard::Nothing
            }
            Timer::Refresh => {
                self.send_in_dialog(InFlight::Refresh, env);
                Heard::Nothing
            }
            _ => self.lost(timers, env),
        }
    }

    /// A NOTIFY that [`Subscription::key`] has found. It is answered at once.
    pub(super) fn notified(
        &mut self,
        asked: &Asked,
        timers: &mut Timers,
        env: &mut Env<'_>,
    ) -> Heard {
        let state = match self.take_in(&asked.request) {
            Ok(Some(state)) => state,
            Ok(None) => {
                env.accept(asked);
                return Heard::Nothing;
            }
            Err(refusal) => {
                env.refuse(asked, &refusal);
                return Heard::Nothing;
            }
        };
        env.accept(asked);
        if self.closing {
            return Heard::Nothing;
        }
        timers.clear((self.id, Timer::FirstNotify));
        let over = state.state == "terminated";
        if let Some(left) = state.expires().filter(|_| !over) {
            self.schedule(from_seconds(left), timers, env);
        }
        match self.read(&asked.request, timers, env) {
            Heard::Over => Heard::Over,
            heard if over => self.terminated(&state, heard, timers, env),
            Heard::News => {
                self.rest = FIRST_REST;
                Heard::News
            }
            heard => heard,
        }
    }

    /// The order of a NOTIFY, and what it says of the subscription; nothing where it is one that was seen.
    fn take_in(&mut self, request: &Request) -> Result<Option<SubscriptionState>, Refusal> {
        let headers = &request.headers;
        if !matches!(headers.event(), Ok(Some(event)) if event.package == PACKAGE) {
            return Err(Refusal::BadEvent);
        }
        let missing = || Refusal::Malformed("Missing Subscription-State Header Field".to_owned());
        let state = headers.subscription_state().ok().flatten();
        let state = state.ok_or_else(missing)?;
        let Some(dialog) = self.dialog.as_mut() else {
            if self.in_flight.is_none() && self.answered.is_none() {
                return Err(Refusal::NoDialog);
            }
            let target = self.answered.as_ref().map(Dialog::target);
            let dialog = Dialog::from_request(request, self.from.clone(), self.cseq, target);
            let malformed = |error: dialog::DialogError| Refusal::Malformed(error.to_string());
            self.dialog = Some(dialog.map_err(malformed)?);
            return Ok(Some(state));
        };
        let theirs = headers.get("From").and_then(dialog::tag);
        if theirs.unwrap_or_default() != dialog.remote_tag() {
            return Err(Refusal::NoDialog);
        }
        match dialog.receive(request) {
            Order::Next => Ok(Some(state)),
            Order::Repeated => Ok(None),
            Order::Stale => Err(Refusal::StaleCseq),
        }
    }

    /// The document in a NOTIFY; one that cannot be read changes nothing.
    fn read(&mut self, request: &Request, timers: &mut Timers, env: &mut Env<'_>) -> Heard {
        let media_type = request.headers.get("Content-Type").map(MediaType::parse);
        let Some(Ok(media_type)) = media_type else {
            return Heard::Nothing;
        };
        if !adapt::is_named(&media_type, conference_info::CONTENT_TYPE) {
            return Heard::Nothing;
        }
        let charset = media_type.params.text("charset");
        let Ok(info) = conference_info::parse(&request.body, charset.as_deref()) else {
            return Heard::Nothing;
        };
        match self.roster.apply(info) {
            Applied::News => Heard::News,
            Applied::Stale => Heard::Nothing,
            Applied::Ended => Heard::Over,
            Applied::Gap => {
                self.repair(timers, env);
                Heard::Nothing
            }
        }
    }

    /// Asks for the whole state (RFC 4575 §4.6): every refresh brings it.
    fn repair(&mut self, timers: &mut Timers, env: &mut Env<'_>) {
        if self.in_flight.is_some() {
            self.repair = true;
            return;
        }
        let now = env.now.mono;
        let next = self.repaired_at.map_or(now, |last| last + BETWEEN_REPAIRS);
        if next > now {
            timers.set((self.id, Timer::Refresh), next);
        } else {
            self.repaired_at = Some(now);
            self.send_in_dialog(InFlight::Refresh, env);
        }
    }

    /// RFC 6665 §4.1.3: some reasons want another subscription, at once or later.
    fn terminated(
        &mut self,
        state: &SubscriptionState,
        heard: Heard,
        timers: &mut Timers,
        env: &Env<'_>,
    ) -> Heard {
        let reason = state.reason().unwrap_or_default().to_ascii_lowercase();
        let later = state.retry_after().map(from_seconds);
        if matches!(reason.as_str(), "rejected" | "noresource" | "invariant") {
            self.forget(timers);
        } else {
            let rest = later
                .unwrap_or_default()
                .clamp(Duration::ZERO, LONGEST_REST);
            self.rest = self.rest.max(rest);
            self.lost(timers, env);
        }
        match heard {
            Heard::News => Heard::News,
            _ => Heard::Silence,
        }
    }
}

fn from_seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}
