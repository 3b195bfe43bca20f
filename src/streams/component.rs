//! Components (XEP-0114): one task for each domain that an XMPP server federates for. It stays connected, and carries the
//! stanzas of all links of the domain.

mod dial;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use minidom::Element;
use stox_core::address::{Jid, canonical_domain};
use stox_core::failure::{Failure, Local, to_stanza};
use stox_xmpp::adapt;
use stox_xmpp::link::{Attempt, Loss};
use stox_xmpp::stream::{
    CloseReason, ComponentEvent, ComponentSecret, ComponentSettings, ComponentStream,
    StreamCommand, domain::normal_domain,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use self::dial::{Trouble, dial};
use super::carried::{Carried, Word, delay};
use super::connection::{Connection, Lost};
use super::{Handled, Rules, Shared, StreamArrival};
use crate::admin::ComponentStatus;
use crate::config::{Component, ComponentTls, Config};
use crate::engine::LinkName;

/// What waits for one component's task. Each link keeps far less in flight.
const QUEUE: usize = 16_384;
/// From the first address to the answered handshake.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);
/// First delay before the server is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Longest delay while a link wants the connection.
const RETRY_WANTED: Duration = Duration::from_secs(5);
/// A connection that lasted so long was a good one.
const STABLE: Duration = Duration::from_secs(60);
/// Links that are remembered to be told that there is a way again.
const FORMER: usize = 5_000;
/// Stanzas written at one time.
const BATCH: usize = 64;
/// Stanzas that are refused at one time after the end, and connections that may be made for it.
const LATE: (usize, usize) = (1_024, 3);
/// How long such a connection may take.
const LATE_TIMEOUT: Duration = Duration::from_secs(5);

/// What one component's task needs.
pub struct Plan {
    /// The domain as links name it.
    pub(super) local: String,
    pub(super) settings: Arc<ComponentSettings>,
    pub(super) component: Component,
}

/// The components of the settings.
#[must_use]
pub fn plans(config: &Config, rules: &Rules) -> Vec<Plan> {
    let normal = |domain: &str| normal_domain(domain).unwrap_or_else(|| canonical_domain(domain));
    let own_domains: BTreeSet<String> = config
        .sip
        .domains
        .iter()
        .map(|domain| normal(&domain.domain))
        .collect();
    let plan = |component: &Component| Plan {
        local: canonical_domain(&component.domain),
        settings: Arc::new(ComponentSettings {
            domain: normal(&component.domain),
            own_domains: own_domains.clone(),
            secret: ComponentSecret::new(component.secret.reveal()),
            limits: rules.inbound.limits.clone(),
            timing: rules.inbound.timing.clone(),
        }),
        component: component.clone(),
    };
    config.xmpp.components.iter().map(plan).collect()
}

/// The components as the engine's side sees them.
#[derive(Default)]
pub(super) struct Components {
    handles: BTreeMap<String, Handle>,
}

struct Handle {
    carried: Carried,
    status: ComponentStatus,
}

impl Components {
    /// Enters a component and returns its task.
    pub(super) fn enter(
        &mut self,
        plan: Plan,
        shared: Arc<Shared>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (carried, words) = Carried::new(QUEUE);
        let handle = Handle {
            carried,
            status: status(&plan, "connecting".to_owned()),
        };
        self.handles.insert(plan.local.clone(), handle);
        run(shared, plan, words)
    }

    /// Whether the link goes through a component.
    pub(super) fn has(&self, name: &LinkName) -> bool {
        self.handles.contains_key(&name.local)
    }

    /// `false`: the task takes no more, and the link has to be told.
    pub(super) fn join(&mut self, name: LinkName, attempt: Attempt) -> bool {
        let Some(handle) = self.handles.get_mut(&name.local) else {
            return false;
        };
        handle.carried.join(name, attempt)
    }

    /// Writes for a link. What comes back is the attempt that is lost, since the task takes no more.
    pub(super) fn write(&mut self, name: &LinkName, element: Arc<Element>) -> Option<Attempt> {
        let handle = self.handles.get_mut(&name.local)?;
        handle.carried.write(name, element)
    }

    /// The link has let go, or has lost that attempt.
    pub(super) fn leave(&mut self, name: &LinkName, attempt: Attempt) {
        if let Some(handle) = self.handles.get_mut(&name.local) {
            handle.carried.leave(name, attempt);
        }
    }

    /// Keeps what a task says of itself.
    pub(super) fn note(&mut self, status: &ComponentStatus) {
        if let Some(handle) = self.handles.get_mut(&canonical_domain(&status.domain)) {
            handle.status = status.clone();
        }
    }

    /// Takes nothing more. Each task confirms that with [`StreamArrival::Left`], behind the last that it has taken.
    pub(super) fn leave_all(&mut self) {
        for handle in self.handles.values_mut() {
            handle.carried.close();
        }
    }

    /// A task has left.
    pub(super) fn note_left(&mut self, local: &str) {
        if let Some(handle) = self.handles.get_mut(local) {
            handle.carried.note_left();
        }
    }

    /// Whether all tasks have.
    pub(super) fn have_left(&self) -> bool {
        self.handles
            .values()
            .all(|handle| handle.carried.has_left())
    }

    pub(super) fn status(&self) -> Vec<ComponentStatus> {
        let handles = self.handles.values();
        handles.map(|handle| handle.status.clone()).collect()
    }

    /// Lets all connections end in order.
    pub(super) fn end(&mut self) {
        self.handles.clear();
    }
}

fn status(plan: &Plan, state: String) -> ComponentStatus {
    ComponentStatus {
        domain: plan.component.domain.clone(),
        server: plan.component.server.to_string(),
        encrypted: plan.component.tls == ComponentTls::Required,
        state,
    }
}

/// Keeps a component connected until nobody holds its handle.
async fn run(shared: Arc<Shared>, plan: Plan, words: mpsc::Receiver<Word>) {
    let mut task = Task {
        shared: &shared,
        plan: &plan,
        words,
        links: BTreeMap::new(),
        former: BTreeSet::new(),
        was_connected: false,
        leaving: false,
        ended: false,
        late: Vec::new(),
    };
    let mut failures = 0_u32;
    while !task.ended {
        let trouble = match task.dial().await {
            Some(Ok(line)) => {
                let since = Instant::now();
                task.serve(line).await;
                if since.elapsed() >= STABLE {
                    failures = 0;
                }
                Trouble::broken()
            }
            Some(Err(trouble)) => trouble,
            None => return,
        };
        task.lose(trouble.local).await;
        if !task.ended {
            task.wait(delay(failures, RETRY, trouble.latest()), trouble.local)
                .await;
            failures = failures.saturating_add(1);
        }
    }
    task.refuse_late().await;
}

/// A connection on which stanzas flow.
struct Line {
    machine: ComponentStream,
    connection: Connection,
}

struct Task<'a> {
    shared: &'a Shared,
    plan: &'a Plan,
    words: mpsc::Receiver<Word>,
    /// Links that want to write, or do.
    links: BTreeMap<LinkName, Attempt>,
    /// Links without an attempt, which may wait for a way.
    former: BTreeSet<LinkName>,
    was_connected: bool,
    /// Nothing is taken any more.
    leaving: bool,
    /// Nobody holds the handle any more.
    ended: bool,
    /// The answers to what came behind our end of the stream.
    late: Vec<Element>,
}

impl Task<'_> {
    // ---------------------------------------------------------------------------------------- between

    /// Tries to connect, and notes what links want meanwhile. `None`: nobody wants it any more.
    async fn dial(&mut self) -> Option<Result<Line, Trouble>> {
        self.tell_state("connecting".to_owned()).await;
        let (shared, plan) = (self.shared, self.plan);
        let dialling = timeout(DIAL_TIMEOUT, dial(shared, plan));
        tokio::pin!(dialling);
        let outcome = loop {
            tokio::select! {
                outcome = &mut dialling => break outcome,
                word = self.words.recv() => self.hear(word?).await,
            }
        };
        let why = match outcome {
            Ok(Ok(line)) => return Some(Ok(line)),
            Ok(Err(why)) => why,
            Err(_) => Trouble::passing("the server does not finish the handshake"),
        };
        let (domain, server) = (&plan.component.domain, &plan.component.server);
        let words = &why.words;
        if why.lasting {
            tracing::error!(component = domain, %server, "XMPP component is not connected: {words}");
        } else {
            tracing::warn!(component = domain, %server, "XMPP component is not connected: {words}");
        }
        self.tell_state(format!("not connected: {words}")).await;
        Some(Err(why))
    }

    /// Waits before the next attempt, shorter when a link wants the connection. A link that comes now learns at once
    /// that there is none.
    async fn wait(&mut self, delay: Duration, failure: Local) {
        let begun = Instant::now();
        let mut until = begun + delay;
        loop {
            tokio::select! {
                () = sleep_until(until) => return,
                word = self.words.recv() => match word {
                    Some(Word::Join(name, attempt)) => {
                        until = until.min(begun + RETRY_WANTED);
                        self.tell_lost(name, attempt, failure).await;
                    }
                    Some(word) => self.hear(word).await,
                    None => {
                        self.ended = true;
                        return;
                    }
                },
            }
        }
    }

    /// A word while there is no connection to write to.
    async fn hear(&mut self, word: Word) {
        match word {
            Word::Join(name, attempt) => self.enter(name, attempt),
            Word::Part(name, attempt) => self.part(name, attempt),
            Word::Write(..) => {}
            Word::Leave => self.leave().await,
        }
    }

    async fn leave(&mut self) {
        self.leaving = true;
        self.tell(StreamArrival::Left(self.plan.local.clone()))
            .await;
    }

    fn enter(&mut self, name: LinkName, attempt: Attempt) {
        self.former.remove(&name);
        self.links.insert(name, attempt);
    }

    fn part(&mut self, name: LinkName, attempt: Attempt) {
        if self.links.get(&name) == Some(&attempt) {
            self.links.remove(&name);
            self.remember(name);
        }
    }

    fn remember(&mut self, name: LinkName) {
        if self.former.len() < FORMER {
            self.former.insert(name);
        }
    }

    /// Every link has lost its way.
    async fn lose(&mut self, failure: Local) {
        for (name, attempt) in std::mem::take(&mut self.links) {
            self.tell_lost(name, attempt, failure).await;
        }
    }

    async fn tell_lost(&mut self, name: LinkName, attempt: Attempt, failure: Local) {
        self.remember(name.clone());
        let loss = Loss::Passing(Failure::Local(failure));
        self.tell(StreamArrival::Lost(name, attempt, loss)).await;
    }

    async fn tell_state(&self, state: String) {
        let status = status(self.plan, state);
        self.tell(StreamArrival::Component(status)).await;
    }

    /// Nobody listens any more when the gateway has stopped.
    async fn tell(&self, arrival: StreamArrival) {
        _ = self.shared.arrivals.send(arrival).await;
    }

    // ------------------------------------------------------------------------------------- connected

    /// Carries stanzas both ways until the connection ends, or nobody wants it any more.
    async fn serve(&mut self, line: Line) {
        let Plan { component, .. } = self.plan;
        let (domain, server) = (&component.domain, &component.server);
        tracing::info!(component = domain, %server, "XMPP component is connected");
        self.tell_state("connected".to_owned()).await;
        for (name, attempt) in self.links.clone() {
            self.tell_ready(name, attempt).await;
        }
        for name in std::mem::take(&mut self.former) {
            self.tell(StreamArrival::Seen(name)).await;
        }
        if std::mem::replace(&mut self.was_connected, true) {
            let local = self.plan.local.clone();
            self.tell(StreamArrival::Rejoined(local)).await;
        }
        self.carry(line).await;
    }

    async fn carry(&mut self, mut line: Line) {
        let clock = self.shared.clock;
        while self.carry_out(&mut line).await.is_ok() {
            let wake = line.machine.poll_timeout().map(|at| clock.instant(at));
            tokio::select! {
                read = line.connection.read() => match read {
                    Ok(octets) => line.machine.receive(&octets, clock.now()),
                    Err(Lost) => line.machine.connection_lost(),
                },
                word = self.words.recv(), if !self.ended => self.obey(&mut line, word).await,
                () = super::outbound::sleep_until(wake) => line.machine.handle_timeout(clock.now()),
            }
        }
        line.connection.shutdown().await;
    }

    async fn tell_ready(&self, name: LinkName, attempt: Attempt) {
        let ready = StreamArrival::Ready {
            name,
            attempt,
            max_octets: None,
        };
        self.tell(ready).await;
    }

    /// Takes a word, and those right behind it.
    async fn obey(&mut self, line: &mut Line, word: Option<Word>) {
        let mut next = word;
        let mut left = BATCH;
        let now = self.shared.clock.now();
        if next.is_none() {
            self.ended = true;
            line.machine.close(now);
        }
        while let Some(word) = next {
            match word {
                Word::Join(name, attempt) => {
                    self.enter(name.clone(), attempt);
                    self.tell_ready(name, attempt).await;
                }
                Word::Part(name, attempt) => self.part(name, attempt),
                Word::Leave => self.leave().await,
                Word::Write(name, attempt, stanza) if self.links.get(&name) == Some(&attempt) => {
                    if let Err(why) = line.machine.send(&stanza, now) {
                        // The link keeps the stanza until a fence passes it, and gives it up at its deadline.
                        tracing::warn!(partner = name.partner, %why, "a stanza could not be written to the component's server");
                    }
                }
                Word::Write(..) => {}
            }
            left -= 1;
            next = if left > 0 {
                self.words.try_recv().ok()
            } else {
                None
            };
        }
    }

    /// Does what the machine asks for. `Err`: the stream is over.
    async fn carry_out(&mut self, line: &mut Line) -> Result<(), Lost> {
        let mut octets = BytesMut::new();
        loop {
            let command = line.machine.poll_command();
            if let Some(StreamCommand::Write(more)) = command {
                octets.extend_from_slice(&more);
                continue;
            }
            let writes = !octets.is_empty();
            if writes && line.connection.write(&octets.split()).await.is_err() {
                line.machine.connection_lost();
            }
            match command {
                None if !writes => return Ok(()),
                None => {}
                Some(StreamCommand::Event(event)) => self.event(line, event).await,
                Some(StreamCommand::Close) => return Err(Lost),
                Some(StreamCommand::Write(_) | StreamCommand::StartTls) => {}
            }
        }
    }

    async fn event(&mut self, line: &mut Line, event: ComponentEvent) {
        let domain = &self.plan.component.domain;
        match event {
            ComponentEvent::Ready => {}
            ComponentEvent::Stanza { remote, element } => self.stanza(line, remote, element).await,
            ComponentEvent::TooLarge(element) => {
                tracing::debug!(
                    component = domain,
                    "a stanza larger than limits.stanza is refused"
                );
                self.refuse(line, &element, Failure::Local(Local::TooLarge));
            }
            ComponentEvent::Dropped(why) => {
                tracing::warn!(component = domain, %why, "a stanza from the component's server is dropped");
            }
            ComponentEvent::Closed(CloseReason::Requested) => {
                tracing::info!(component = domain, "XMPP component is disconnected");
            }
            ComponentEvent::Closed(reason) => {
                tracing::warn!(component = domain, %reason, "XMPP component has lost its server");
                let state = format!("not connected: {reason}");
                self.tell_state(state).await;
            }
        }
    }

    async fn stanza(&mut self, line: &mut Line, remote: String, element: Element) {
        let name = LinkName::new(&self.plan.local, &remote);
        if self.leaving || self.ended {
            self.refuse(line, &element, Failure::Local(Local::ShuttingDown));
            return;
        }
        if self.shared.rules.partner(&name.partner).is_none() {
            tracing::debug!(
                partner = name.partner,
                "a stanza of a domain that no [[xmpp.partner]] names is refused"
            );
            self.refuse(line, &element, Failure::Local(Local::NotAllowed));
            return;
        }
        // An error may be the server's own, in the name of a domain that it cannot reach.
        if element.attr("type") != Some("error") && self.former.remove(&name) {
            self.tell(StreamArrival::Seen(name.clone())).await;
        }
        self.tell(StreamArrival::Stanza {
            name,
            element,
            handled: Handled::unasked(),
        })
        .await;
    }

    fn refuse(&mut self, line: &mut Line, element: &Element, why: Failure) {
        let Some(refusal) = refusal(element, &why) else {
            return;
        };
        if line
            .machine
            .send(&refusal, self.shared.clock.now())
            .is_err()
            && self.late.len() < LATE.0
        {
            self.late.push(refusal);
        }
    }

    /// What came behind our end of the stream is refused on another one: the server believes that it was taken.
    async fn refuse_late(&mut self) {
        for _ in 0..LATE.1 {
            if self.late.is_empty() {
                return;
            }
            let dialled = timeout(LATE_TIMEOUT, dial(self.shared, self.plan)).await;
            let Ok(Ok(mut line)) = dialled else {
                return;
            };
            let now = self.shared.clock.now();
            for refusal in std::mem::take(&mut self.late) {
                // A new stream takes it, or breaks and then nothing can be said.
                _ = line.machine.send(&refusal, now);
            }
            line.machine.close(now);
            self.carry(line).await;
        }
    }
}

/// The answer to what is not taken; none to what must not be answered (RFC 6120 §8.3.1), nor to presence that asks for
/// nothing.
pub(super) fn refusal(element: &Element, why: &Failure) -> Option<Element> {
    match (element.name(), element.attr("type")) {
        (_, Some("error" | "result")) => return None,
        ("presence", kind) if kind != Some("subscribe") => return None,
        _ => {}
    }
    let address = |name: &str| Jid::parse(element.attr(name)?).ok();
    let (from, to) = (address("from")?, address("to")?);
    let (name, id) = (element.name(), element.attr("id"));
    Some(adapt::error::stanza(name, &to, &from, id, &to_stanza(why)))
}
