//! The task of one account: signs in, carries stanzas, resumes, and tells the links what became of their way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use minidom::Element;
use minidom::rxml::Namespace;
use stox_core::failure::{Failure, Local};
use stox_core::time::Entropy;
use stox_xmpp::account::{Account, AccountNote, Command};
use stox_xmpp::link::{Attempt, Loss};
use stox_xmpp::stream::{
    ClientEvent, ClientStream, CloseReason, KeyRequest, SendError, Session, StanzaNumber,
    StreamCommand,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::again::Taken;
use super::dial::{Trouble, connect};
use super::{AccountNews, AccountPlan};
use crate::admin::AccountStatus;
use crate::engine::LinkName;
use crate::entropy::OsEntropy;
use crate::streams::carried::{Word, delay};
use crate::streams::component::refusal;
use crate::streams::connection::{Connection, Lost, Start};
use crate::streams::outbound::sleep_until;
use crate::streams::{Handled, Shared, StreamArrival};

/// How long a cut is hidden from the links, which wait that long for a fence.
const RESUME_WITHIN: Duration = Duration::from_secs(10);
/// Longest delay while a link wants the session.
const RETRY_WANTED: Duration = Duration::from_secs(5);
/// A session that lasted so long was a good one.
const STABLE: Duration = Duration::from_secs(60);
/// Links that are remembered to be told that there is a way again.
const FORMER: usize = 1_000;
/// Stanzas written at one time.
const BATCH: usize = 64;

/// Keeps an account signed in until nobody holds its handle.
pub(super) async fn run(
    shared: Arc<Shared>,
    plan: AccountPlan,
    words: mpsc::Receiver<Word>,
    (number, status): (u64, AccountStatus),
) {
    let (confirm, confirmed) = mpsc::unbounded_channel();
    let mut task = Task {
        account: Account::new(plan.translation.clone()),
        shared: &shared,
        plan: &plan,
        number,
        status,
        words,
        links: BTreeMap::new(),
        former: BTreeSet::new(),
        session: None,
        resume_until: None,
        is_open: false,
        was_open: false,
        pending: BTreeMap::new(),
        taken: Taken::default(),
        confirm,
        confirmed,
        trouble: None,
        waits_for_person: false,
        leaving: false,
        ended: false,
    };
    let mut failures = 0_u32;
    while !task.ended {
        let begun = Instant::now();
        let trouble = task.sign_in(failures).await;
        if task.was_signed_in_since(begun) {
            failures = 0;
        }
        if !task.ended {
            task.wait(pause(failures, &trouble), &trouble).await;
            failures = failures.saturating_add(1);
        }
    }
    tracing::info!(account = %plan.config.jid, "XMPP account is signed out");
}

/// A lasting fault is never tried again before its time.
fn pause(failures: u32, trouble: &Trouble) -> Duration {
    let (first, latest) = trouble.delays();
    match trouble.lasting {
        Some(_) => first,
        None => delay(failures, first, latest),
    }
}

/// A connection and what is spoken on it.
struct Line {
    machine: ClientStream,
    connection: Connection,
}

impl Line {
    async fn write(&mut self, octets: &[u8]) -> Result<(), Lost> {
        if self.machine.is_signing_in() {
            self.connection.write_secret(octets).await
        } else {
            self.connection.write(octets).await
        }
    }
}

struct Task<'a> {
    shared: &'a Shared,
    plan: &'a AccountPlan,
    number: u64,
    status: AccountStatus,
    words: mpsc::Receiver<Word>,
    account: Account,
    /// Links that want to write, or do.
    links: BTreeMap<LinkName, Attempt>,
    /// Links without an attempt, which may wait for a way.
    former: BTreeSet<LinkName>,
    /// The session, between two connections.
    session: Option<Session>,
    /// Until then the links do not know that the connection is cut.
    resume_until: Option<Instant>,
    /// The roster is read: links may write.
    is_open: bool,
    /// That was so once.
    was_open: bool,
    /// Stanzas of the session that the engine works on, and in how many pieces.
    pending: BTreeMap<StanzaNumber, usize>,
    taken: Taken,
    confirm: mpsc::UnboundedSender<StanzaNumber>,
    confirmed: mpsc::UnboundedReceiver<StanzaNumber>,
    /// Why the connection ends.
    trouble: Option<Trouble>,
    waits_for_person: bool,
    /// Nothing is taken any more.
    leaving: bool,
    /// Nobody holds the handle any more.
    ended: bool,
}

impl Task<'_> {
    fn was_signed_in_since(&self, begun: Instant) -> bool {
        self.was_open && begun.elapsed() >= STABLE
    }

    // --------------------------------------------------------------------------------------------- words

    /// Takes a word, and those right behind it.
    async fn obey(&mut self, mut line: Option<&mut Line>, word: Option<Word>) {
        let mut next = word;
        let mut left = BATCH;
        if next.is_none() {
            self.end(line.as_deref_mut());
        }
        while let Some(word) = next {
            match word {
                Word::Join(name, attempt) => self.join(name, attempt).await,
                Word::Part(name, attempt) => self.part(name, attempt),
                Word::Leave => self.leave().await,
                Word::Write(name, attempt, stanza) => {
                    if self.links.get(&name) == Some(&attempt) {
                        self.account.write(&name.partner, &stanza);
                        self.drain(line.as_deref_mut(), None).await;
                    }
                }
            }
            left -= 1;
            next = if left > 0 {
                self.words.try_recv().ok()
            } else {
                None
            };
        }
        if let Some(line) = line {
            line.machine
                .request_acknowledgement(self.shared.clock.now());
        }
    }

    fn end(&mut self, line: Option<&mut Line>) {
        self.ended = true;
        if let Some(line) = line {
            line.machine.close(self.shared.clock.now());
        }
    }

    async fn leave(&mut self) {
        self.leaving = true;
        let name = self.plan.way.name.to_string();
        self.tell(StreamArrival::Left(name)).await;
    }

    async fn join(&mut self, name: LinkName, attempt: Attempt) {
        self.former.remove(&name);
        self.links.insert(name.clone(), attempt);
        if self.is_open {
            self.tell_ready(name, attempt).await;
        }
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

    async fn tell_ready(&self, name: LinkName, attempt: Attempt) {
        let ready = StreamArrival::Ready {
            name,
            attempt,
            max_octets: None,
        };
        self.tell(ready).await;
    }

    /// Nobody listens any more when the gateway has stopped.
    async fn tell(&self, arrival: StreamArrival) {
        _ = self.shared.arrivals.send(arrival).await;
    }

    async fn tell_state(&mut self, state: &str) {
        self.waits_for_person = false;
        self.note_state(state).await;
    }

    async fn note_state(&mut self, state: &str) {
        self.status.state = state.to_owned();
        self.status.since = self.shared.clock.now().wall.as_secs();
        self.tell_status().await;
    }

    async fn tell_status(&self) {
        let news = AccountNews {
            name: self.plan.way.name.clone(),
            number: self.number,
            status: self.status.clone(),
            waits_for_person: self.waits_for_person,
        };
        self.tell(StreamArrival::Account(news)).await;
    }

    /// Every link has lost its way, and what the server has not acknowledged is theirs again.
    async fn lose(&mut self, loss: &Loss) {
        self.is_open = false;
        self.resume_until = None;
        if let Some(session) = &mut self.session {
            session.forget();
        }
        for (name, attempt) in std::mem::take(&mut self.links) {
            self.remember(name.clone());
            self.tell(StreamArrival::Lost(name, attempt, loss.clone()))
                .await;
        }
    }

    // ------------------------------------------------------------------------------------------ signing in

    /// Connects, signs in, and carries stanzas until the connection ends. Says why it did.
    async fn sign_in(&mut self, attempt: u32) -> Trouble {
        let (shared, plan) = (self.shared, self.plan);
        if !self.is_open {
            self.tell_state("signing in").await;
        }
        let connecting = connect(shared, plan, attempt);
        tokio::pin!(connecting);
        let connected = loop {
            let resume_until = self.resume_until;
            tokio::select! {
                connected = &mut connecting => break connected,
                () = sleep_until(resume_until) => self.give_up_resuming(None).await,
                word = self.words.recv() => self.obey(None, word).await,
            }
            if self.ended {
                return Trouble::passing("");
            }
        };
        let trouble = match connected {
            Ok((connection, direct_tls)) => self.carry(connection, direct_tls).await,
            Err(trouble) => trouble,
        };
        if !self.ended {
            self.complain(&trouble).await;
        }
        trouble
    }

    async fn complain(&mut self, trouble: &Trouble) {
        let account = &self.plan.config.jid;
        let words = &trouble.words;
        match trouble.lasting {
            Some(name) => {
                tracing::error!(%account, "XMPP account is not signed in: {words}");
                self.waits_for_person = true;
                self.note_state(&format!("{name} ({words}), waiting")).await;
            }
            None => {
                let domain = &self.plan.client.domain;
                let words = format!("account {account} is not signed in: {words}");
                self.shared.complaints.warn(domain, &words);
                self.tell_state(&format!("waiting ({})", trouble.words))
                    .await;
            }
        }
        if self.session.is_none() || trouble.lasting.is_some() {
            self.session = None;
            self.lose(&trouble.loss()).await;
        }
    }

    /// Waits before the next attempt, shorter when a link wants the session and nobody has to do anything before.
    async fn wait(&mut self, delay: Duration, trouble: &Trouble) {
        let begun = Instant::now();
        let mut until = begun + delay;
        while !self.ended {
            let resume_until = self.resume_until;
            tokio::select! {
                () = sleep_until(Some(until)) => return,
                () = sleep_until(resume_until) => self.give_up_resuming(None).await,
                word = self.words.recv() => self.obey(None, word).await,
            }
            if !self.is_open && !self.links.is_empty() {
                if trouble.lasting.is_none() {
                    until = until.min(begun + RETRY_WANTED);
                }
                self.lose(&trouble.loss()).await;
            }
        }
    }

    /// The cut cannot be hidden any longer.
    async fn give_up_resuming(&mut self, line: Option<&mut Line>) {
        if let Some(line) = line {
            line.machine.forget();
        }
        self.lose(&Loss::Passing(Failure::Local(Local::TransportFailed)))
            .await;
    }

    // ------------------------------------------------------------------------------------------- connected

    async fn carry(&mut self, connection: Connection, direct_tls: bool) -> Trouble {
        let (clock, settings) = (self.shared.clock, self.plan.client.clone());
        let mut entropy = OsEntropy::default();
        let nonce: String = (0..3).map(|_| entropy.token()).collect();
        let begin = if direct_tls {
            ClientStream::in_tls
        } else {
            ClientStream::new
        };
        let machine = begin(settings, self.session.take(), nonce, clock.now());
        let mut line = Line {
            machine,
            connection,
        };
        let start = if direct_tls {
            Start::Direct
        } else {
            Start::Negotiated
        };
        self.trouble = None;
        while self.carry_out(&mut line, start).await.is_ok() {
            let wake = line.machine.poll_timeout().map(|at| clock.instant(at));
            let resume_until = self.resume_until;
            tokio::select! {
                read = line.connection.read() => match read {
                    Ok(octets) => line.machine.receive(&octets, clock.now()),
                    Err(Lost) => line.machine.connection_lost(),
                },
                word = self.words.recv(), if !self.ended => self.obey(Some(&mut line), word).await,
                Some(number) = self.confirmed.recv() => self.confirmed(&mut line, number),
                () = sleep_until(resume_until) => self.give_up_resuming(Some(&mut line)).await,
                () = sleep_until(wake) => line.machine.handle_timeout(clock.now()),
            }
        }
        line.connection.shutdown().await;
        self.session = line.machine.into_session().filter(|_| !self.ended);
        if self.session.is_some() && self.is_open {
            self.resume_until
                .get_or_insert(Instant::now() + RESUME_WITHIN);
        }
        self.trouble
            .take()
            .unwrap_or_else(|| Trouble::passing("the connection ended"))
    }

    /// Does what the machine asks for. `Err`: the stream is over.
    async fn carry_out(&mut self, line: &mut Line, start: Start) -> Result<(), Lost> {
        let mut octets = BytesMut::new();
        loop {
            let command = line.machine.poll_command();
            if let Some(StreamCommand::Write(more)) = command {
                octets.extend_from_slice(&more);
                continue;
            }
            let writes = !octets.is_empty();
            if writes && line.write(&octets.split()).await.is_err() {
                line.machine.connection_lost();
            }
            match command {
                None if !writes => return Ok(()),
                None => {}
                Some(StreamCommand::StartTls) => self.start_tls(line, start).await,
                Some(StreamCommand::Event(event)) => self.event(line, event).await,
                Some(StreamCommand::Close) => return Err(Lost),
                Some(StreamCommand::Write(_)) => {}
            }
        }
    }

    async fn start_tls(&mut self, line: &mut Line, start: Start) {
        let tls = self.shared.tls.get();
        let client = &self.plan.client;
        let shaking = line
            .connection
            .start_client_tls(&client.domain, start, &tls);
        match timeout(client.timing.tls, shaking).await {
            Ok(Ok((info, exporter))) => {
                line.machine
                    .tls_done(&info, exporter, self.shared.clock.now());
            }
            Ok(Err(why)) => line.machine.tls_failed(why),
            Err(_) => line.machine.tls_failed("it does not end"),
        }
    }

    async fn event(&mut self, line: &mut Line, event: ClientEvent) {
        match event {
            ClientEvent::Derive(request) => self.derive(line, request).await,
            ClientEvent::Refused(fault) => self.trouble = Some(Trouble::of_login(&fault)),
            ClientEvent::SessionLost => {
                self.account.lost();
                let loss = Loss::Passing(Failure::Local(Local::TransportFailed));
                self.lose(&loss).await;
            }
            ClientEvent::Bound { address, resumable } => {
                self.bound(line, &address, resumable).await
            }
            ClientEvent::Resumed(again) => self.resumed(line, again).await,
            ClientEvent::Stanza { number, element } => self.stanza(line, number, element).await,
            ClientEvent::TooLarge { number, element } => {
                tracing::debug!(account = %self.plan.config.jid, "a stanza larger than limits.stanza is refused");
                self.refuse(line, &element, Local::TooLarge);
                line.machine.handled(number, self.shared.clock.now());
            }
            ClientEvent::Closed(reason) => {
                if self.trouble.is_none() && reason != CloseReason::Requested {
                    self.trouble = Some(Trouble::of_stream(&reason));
                }
            }
        }
    }

    /// Away from this thread, which others wait for.
    async fn derive(&mut self, line: &mut Line, request: KeyRequest) {
        let password = self.plan.client.password.clone();
        let derived = tokio::task::spawn_blocking(move || request.derive(&password)).await;
        // The process stops where there is none.
        if let Ok(key) = derived {
            line.machine.derived(&key, self.shared.clock.now());
        }
    }

    async fn bound(&mut self, line: &mut Line, address: &str, resumable: bool) {
        self.account.lost();
        self.pending.clear();
        self.taken.begin_session();
        (self.confirm, self.confirmed) = mpsc::unbounded_channel();
        self.status.resumable = resumable;
        if let Err(why) = self.account.bound(address) {
            self.fail(line, Trouble::lasting("another account", why.to_string()));
            return;
        }
        self.drain(Some(line), None).await;
    }

    async fn resumed(&mut self, line: &mut Line, again: usize) {
        let account = &self.plan.config.jid;
        tracing::info!(%account, again, "XMPP account has its session again behind a cut");
        self.resume_until = None;
        self.account.resumed();
        self.drain(Some(line), None).await;
        // What was handled while there was no connection.
        self.open().await;
        while let Ok(number) = self.confirmed.try_recv() {
            self.confirmed(line, number);
        }
    }

    /// Links may write.
    async fn open(&mut self) {
        let was_open = std::mem::replace(&mut self.is_open, true);
        self.tell_state("signed in").await;
        if !was_open {
            for (name, attempt) in self.links.clone() {
                self.tell_ready(name, attempt).await;
            }
            for name in std::mem::take(&mut self.former) {
                self.tell(StreamArrival::Seen(name)).await;
            }
        }
    }

    fn fail(&mut self, line: &mut Line, trouble: Trouble) {
        self.trouble = Some(trouble);
        line.machine.close(self.shared.clock.now());
    }

    fn confirmed(&mut self, line: &mut Line, number: StanzaNumber) {
        let Some(left) = self.pending.get_mut(&number) else {
            return;
        };
        *left -= 1;
        if *left == 0 {
            self.pending.remove(&number);
            line.machine.handled(number, self.shared.clock.now());
        }
    }

    async fn stanza(&mut self, line: &mut Line, number: StanzaNumber, element: Element) {
        if self.leaving || self.ended {
            // What is not acknowledged, a server that manages streams keeps for the next session, or refuses itself.
            if !self.status.resumable {
                self.refuse(line, &element, Local::ShuttingDown);
            }
            return;
        }
        if !self.taken.note(&element) {
            tracing::debug!(account = %self.plan.config.jid, "a message that was taken in an earlier session comes again");
            line.machine.handled(number, self.shared.clock.now());
            return;
        }
        self.account.receive(element);
        self.drain(Some(line), Some(number)).await;
    }

    fn refuse(&mut self, line: &mut Line, element: &Element, why: Local) {
        let Some(mut refusal) = refusal(element, &Failure::Local(why)) else {
            return;
        };
        refusal.attrs_mut().remove(&Namespace::NONE, "from");
        self.put(Some(line), &refusal);
    }

    /// Does what the account asks for. `number`: the stanza that it was told of.
    async fn drain(&mut self, mut line: Option<&mut Line>, number: Option<StanzaNumber>) {
        let mut pieces = 0;
        while let Some(command) = self.account.poll_command() {
            match command {
                Command::Write(stanza) => self.put(line.as_deref_mut(), &stanza),
                Command::Deliver { partner, element } => {
                    pieces += 1;
                    let name = LinkName::of_account(&self.plan.way, &partner);
                    self.deliver(name, element, number).await;
                }
                Command::Note(note) => self.note(line.as_deref_mut(), note).await,
            }
        }
        let (Some(number), Some(line)) = (number, line) else {
            return;
        };
        if pieces == 0 {
            line.machine.handled(number, self.shared.clock.now());
        } else {
            self.pending.insert(number, pieces);
        }
    }

    async fn deliver(&mut self, name: LinkName, element: Element, number: Option<StanzaNumber>) {
        // An error may be the server's own, in the name of a domain that it cannot reach.
        if element.attr("type") != Some("error") && self.former.remove(&name) {
            self.tell(StreamArrival::Seen(name.clone())).await;
        }
        let handled = match number {
            Some(number) => Handled::by(number, self.confirm.clone()),
            None => Handled::unasked(),
        };
        self.tell(StreamArrival::Stanza {
            name,
            element,
            handled,
        })
        .await;
    }

    /// Writes a stanza, or keeps it for the session that may go on.
    fn put(&mut self, line: Option<&mut Line>, stanza: &Element) {
        let put = match (line, &mut self.session) {
            (Some(line), _) => {
                let put = line.machine.send(stanza, self.shared.clock.now());
                if put == Err(SendError::Full) {
                    self.trouble = Some(Trouble::passing("the server acknowledges nothing"));
                    line.machine.connection_lost();
                }
                put
            }
            (None, Some(session)) => session.push(stanza),
            (None, None) => Err(SendError::NoSession),
        };
        match put {
            Ok(()) => {}
            // The links are told sooner: what they wrote is theirs.
            Err(SendError::Full) => self.resume_until = Some(Instant::now()),
            Err(SendError::NoSession) => {
                tracing::debug!(account = %self.plan.config.jid, "a stanza comes too late for its session");
            }
        }
    }

    async fn note(&mut self, line: Option<&mut Line>, note: AccountNote) {
        let account = &self.plan.config.jid;
        match note {
            AccountNote::Ready { contacts } => {
                self.status.contacts = contacts;
                if self.is_open {
                    self.tell_status().await;
                    return;
                }
                let resumable = self.status.resumable;
                tracing::info!(%account, contacts, resumable, "XMPP account is signed in");
                self.open().await;
                if std::mem::replace(&mut self.was_open, true) {
                    let name = self.plan.way.name.clone();
                    self.tell(StreamArrival::SignedInAgain(name)).await;
                }
            }
            AccountNote::NoRoster(_) => {
                let trouble = Trouble::lasting("no roster", note.to_string());
                if let Some(line) = line {
                    self.fail(line, trouble);
                }
            }
            AccountNote::Dropped(_) => tracing::debug!(%account, "{note}"),
        }
    }
}
