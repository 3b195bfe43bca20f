//! One line at a provider.

use std::time::Duration;

use stox_core::failure::{Failure, Local};
use stox_core::time::Entropy;

use super::{LineState, Registration, RegistrationNews};
use crate::dialog::MAX_FORWARDS;
use crate::header::Contact;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::transport::{FlowId, Source};
use crate::ua::effects::{Env, Fate, Outgoing, Purpose};
use crate::ua::settings::{Local as Us, OwnUser};
use crate::ua::trust::{domain_identities, names_host};

/// The wait after a first failure; it doubles with each further one (RFC 5626 §4.5).
const FIRST_WAIT: Duration = Duration::from_secs(30);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(1800);
/// A refresh has this long until the time is over: a transaction, and another one.
const MARGIN: Duration = Duration::from_secs(64);
/// The longest time that a registrar may have us register for (423), or wait.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// A registrar that keeps closing its connection is asked again no sooner than this after it was.
const LEAST_PAUSE: Duration = Duration::from_secs(30);

/// A REGISTER under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asking {
    Bind,
    Remove,
}

/// A line.
#[derive(Debug)]
pub(super) struct Line {
    settings: Registration,
    call_id: String,
    tag: String,
    cseq: u32,
    /// What we ask for: as the settings have it, or as long as the registrar wants.
    expires: Duration,
    asking: Option<Asking>,
    ask_at: Option<Duration>,
    /// When the last REGISTER was answered with 2xx.
    bound_at: Duration,
    /// Until when we are registered.
    until: Option<Duration>,
    /// Where the registrar's last 2xx came from.
    registrar: Option<Source>,
    failures: u32,
    leaving: bool,
    /// Why the last attempt failed.
    why: Option<String>,
    news: Option<RegistrationNews>,
    told: Option<Result<(), String>>,
}

impl Line {
    pub(super) fn new(settings: Registration, entropy: &mut dyn Entropy) -> Self {
        Self {
            call_id: entropy.token(),
            tag: entropy.token(),
            cseq: 0,
            expires: settings.expires,
            settings,
            asking: None,
            ask_at: Some(Duration::ZERO),
            bound_at: Duration::ZERO,
            until: None,
            registrar: None,
            failures: 0,
            leaving: false,
            why: None,
            news: None,
            told: None,
        }
    }

    pub(super) fn settings(&self) -> &Registration {
        &self.settings
    }

    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.ask_at
    }

    pub(super) fn handle_timeout(&mut self, index: usize, env: &mut Env<'_>) {
        if self.ask_at.is_some_and(|at| at <= env.now.mono) {
            self.ask(Asking::Bind, index, env);
        }
    }

    pub(super) fn next_cseq(&mut self) -> u32 {
        self.cseq += 1;
        self.cseq
    }

    fn ask(&mut self, asking: Asking, index: usize, env: &mut Env<'_>) {
        self.ask_at = None;
        self.asking = Some(asking);
        let domain = format!("sip:{}", self.settings.domain);
        let expires = match asking {
            Asking::Bind => self.expires.as_secs(),
            Asking::Remove => 0,
        };
        let address = self.settings.address();
        let mut request = Request::new(Method::REGISTER, domain.clone());
        let cseq = self.next_cseq();
        let headers = &mut request.headers;
        headers.push("Max-Forwards", MAX_FORWARDS);
        headers.push("From", format!("<{address}>;tag={}", self.tag));
        headers.push("To", format!("<{address}>"));
        headers.push("Call-ID", &self.call_id);
        headers.push("CSeq", format!("{cseq} {}", Method::REGISTER));
        headers.push("Expires", expires.to_string());
        headers.push("User-Agent", &env.settings.product);
        env.send(Outgoing {
            purpose: Purpose::Registration(index),
            request,
            next_hop: self.settings.registrar.clone().unwrap_or(domain),
            over: None,
            domain: self.settings.domain.clone(),
            contact: Some(OwnUser {
                user: Some(self.settings.user.clone()),
                ..OwnUser::default()
            }),
            branch_hint: None,
        });
    }

    pub(super) fn answer_came(&mut self, status: u16, source: &Source) {
        if (200..300).contains(&status) && self.asking == Some(Asking::Bind) {
            self.registrar = Some(source.clone());
        }
    }

    pub(super) fn settled(&mut self, index: usize, fate: &Fate, env: &mut Env<'_>) {
        let Some(asking) = self.asking.take() else {
            return;
        };
        if asking == Asking::Remove {
            self.until = None;
            return;
        }
        match fate {
            Ok(answer) if (200..300).contains(&answer.status) => self.bound(answer, env),
            Ok(answer) => self.refused(answer, env),
            Err(failure) => self.failed(words(failure).to_owned(), None, env),
        }
        if self.leaving {
            self.shut_down(index, env);
        }
    }

    fn bound(&mut self, answer: &Response, env: &Env<'_>) {
        let now = env.now.mono;
        let granted = granted(answer, &self.settings.user, &env.settings.local);
        let granted = granted.unwrap_or(self.expires).min(LONGEST);
        if granted.is_zero() {
            let why = "the registrar took it and granted no time".to_owned();
            return self.failed(why, None, env);
        }
        self.bound_at = now;
        self.until = Some(now + granted);
        let refresh = granted.saturating_sub(MARGIN).max(granted / 2);
        self.ask_at = Some(now + refresh.max(LEAST_PAUSE));
        self.failures = 0;
        self.why = None;
        self.tell(Ok(granted));
    }

    fn refused(&mut self, answer: &Response, env: &mut Env<'_>) {
        let seconds = |value| Duration::from_secs(u64::from(value));
        let least = answer.headers.min_expires().ok().flatten().map(seconds);
        if answer.status == 423
            && let Some(least) = least.filter(|least| *least > self.expires && *least <= LONGEST)
        {
            self.expires = least;
            self.ask_at = Some(env.now.mono);
            return;
        }
        let pause = answer.headers.retry_after().ok().flatten().map(seconds);
        let what_to_do = match answer.status {
            401 | 407 => {
                "; check [[sip.credentials]] of the domain, and that the way is TLS, or in trusted_addresses, or over_plain is set"
            }
            403 | 404 => "; check the address with the provider",
            _ => "",
        };
        let why = format!("the registrar answers {}{what_to_do}", answer.status);
        self.failed(why, pause, env);
    }

    fn failed(&mut self, why: String, pause: Option<Duration>, env: &Env<'_>) {
        let doubled = FIRST_WAIT.saturating_mul(1 << self.failures.min(10));
        let wait = doubled.min(LONGEST_WAIT).max(pause.unwrap_or_default());
        self.failures = self.failures.saturating_add(1);
        self.ask_at = Some(env.now.mono + wait.min(LONGEST));
        self.why = Some(why.clone());
        self.tell(Err(why));
    }

    fn tell(&mut self, outcome: Result<Duration, String>) {
        let kind = outcome.clone().map(drop);
        if self.told.as_ref() != Some(&kind) {
            self.told = Some(kind);
            self.news = Some(RegistrationNews {
                address: self.settings.address(),
                outcome,
            });
        }
    }

    pub(super) fn poll(&mut self) -> Option<RegistrationNews> {
        self.news.take()
    }

    pub(super) fn connection_closed(&mut self, flow: FlowId, now: Duration) {
        let was_the_way = |source: &Source| source.flow == flow && source.transport.row().reliable;
        if let Some(at) = self.ask_at.as_mut()
            && self.registrar.as_ref().is_some_and(was_the_way)
        {
            *at = (*at).min(now.max(self.bound_at + LEAST_PAUSE));
        }
    }

    pub(super) fn shut_down(&mut self, index: usize, env: &mut Env<'_>) {
        self.leaving = true;
        self.ask_at = None;
        if self.asking.is_none() && self.is_bound(env.now.mono) {
            self.ask(Asking::Remove, index, env);
        }
    }

    fn is_bound(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| until > now)
    }

    /// Whether it is the registrar that a source is: on its connection, or where that is secure with a certificate for
    /// the same names, or else at its address.
    pub(super) fn vouches(&self, source: &Source, now: Duration) -> bool {
        let address = |source: &Source| source.remote.ip().to_canonical();
        let alike = |known: &Source| {
            if known.transport.row().secure {
                let names = domain_identities(&known.certificate_names);
                let shown = |name: &&str| names_host(&source.certificate_names, name);
                !names.is_empty() && names.iter().all(shown)
            } else {
                address(known) == address(source)
            }
        };
        let is_it = |known: &Source| {
            known.flow == source.flow && known.transport.row().reliable
                || known.transport == source.transport && alike(known)
        };
        self.is_bound(now) && self.registrar.as_ref().is_some_and(is_it)
    }

    pub(super) fn state(&self, now: Duration) -> LineState {
        match (&self.why, self.until) {
            (_, Some(until)) if until > now => LineState::Registered(until.saturating_sub(now)),
            (Some(why), _) => LineState::Failed(why.clone()),
            (None, _) if self.leaving => LineState::Removed,
            (None, _) => LineState::Asking,
        }
    }
}

/// The time that an answer grants: by our own `Contact`, or by `Expires` (RFC 3261 §10.3).
fn granted(answer: &Response, user: &str, us: &Us) -> Option<Duration> {
    let headers = &answer.headers;
    let contacts = headers.contacts().unwrap_or_default();
    let ours = contacts.iter().find_map(|contact| match contact {
        Contact::Address(address) => {
            let uri = address.sip_uri()?;
            let is_ours = us.is_us(&uri.host) && uri.user.as_deref() == Some(user);
            is_ours.then(|| address.params.get("expires")?.parse().ok())?
        }
        Contact::Any => None,
    });
    let seconds: Option<u32> = ours.or_else(|| headers.expires().ok().flatten());
    seconds.map(|seconds| Duration::from_secs(u64::from(seconds)))
}

fn words(failure: &Failure) -> &'static str {
    match failure {
        Failure::Local(Local::DomainNotFound | Local::BadAddress) => {
            "the registrar is not found: check the domain's next_hop, or registrar"
        }
        Failure::Local(Local::Timeout) => "the registrar does not answer",
        _ => {
            "the registrar cannot be reached: check the domain's next_hop, or registrar, and that the way there is open"
        }
    }
}
