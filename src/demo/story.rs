//! The story: romeo@jabber.test and alice@ocs.test become contacts, talk, survive two restarts, and part.

use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::certificates::{Authority, Trouble};
use super::gateway::{Addresses, Gateway, free_addresses};
use super::ladder::{Failure, Ladder};
use super::sip_peer::{ALICE, SipPeer};
use super::sip_text::SipMessage;
use super::xml_stream::Stanza;
use super::xmpp_peer::{DOMAIN, ROMEO, XmppPeer};

/// Alice as XMPP sees her.
const ALICE_JID: &str = "alice@ocs.test";
/// Romeo as SIP sees him.
const ROMEO_URI: &str = "sip:romeo@jabber.test";

/// All who take part.
pub(super) struct Stage {
    pub(super) ladder: Arc<Ladder>,
    pub(super) gateway: Gateway,
    pub(super) addresses: Addresses,
    romeo: Arc<XmppPeer>,
    alice: Arc<SipPeer>,
}

/// The story stops at the first expectation that is not met.
type Step = Result<(), Failure>;

impl Stage {
    /// Makes certificates and settings in the folder, and starts both peers.
    pub(super) async fn set(folder: &Path, ladder: Arc<Ladder>) -> Result<Self, Trouble> {
        let (gateway_xmpp, gateway_sip) = free_addresses()?;
        let xmpp_listener = TcpListener::bind("127.0.0.1:0").await?;
        let sip_listener = TcpListener::bind("127.0.0.1:0").await?;
        let addresses = Addresses {
            gateway_xmpp,
            gateway_sip,
            xmpp_peer: xmpp_listener.local_addr()?,
            sip_peer: sip_listener.local_addr()?,
        };
        let authority = Authority::new(folder)?;
        authority.gateway(folder, &["gw.ocs.test", "ocs.test", "localhost"])?;
        let jabber = authority.peer(folder, "jabber", &[DOMAIN, "localhost"])?;
        // The gateway dials it by number, and checks the certificate for that.
        let ocs = authority.peer(folder, "ocs", &["ocs.test", "localhost", "127.0.0.1"])?;
        let gateway = Gateway::new(folder, &addresses)?;
        let romeo = XmppPeer::start(xmpp_listener, gateway_xmpp, jabber, ladder.clone());
        let here = addresses.sip_peer;
        let alice = SipPeer::start(sip_listener, here, gateway_sip, ocs, ladder.clone());
        Ok(Self {
            ladder,
            gateway,
            addresses,
            romeo,
            alice,
        })
    }

    /// Tells it to the end, or to the first failure, which the ladder has.
    pub(super) async fn tell(&mut self) -> Step {
        self.start("The gateway starts").await?;
        self.romeo_adds_alice().await?;
        self.alice_adds_romeo().await?;
        self.presence_both_ways().await?;
        self.messages_both_ways().await?;
        self.message_to_nobody_on_sip().await?;
        self.message_to_nobody_on_xmpp().await?;
        self.clean_restart().await?;
        self.kill_and_start().await?;
        self.part().await
    }

    fn section(&self, title: &str) {
        self.romeo.inbox.clear();
        self.alice.inbox.clear();
        self.ladder.section(title);
    }

    /// Waits until romeo's side has received a stanza.
    async fn romeo_sees(&self, what: &str, fits: impl Fn(&Stanza) -> bool) -> Step {
        let seen = self.romeo.inbox.take(what, fits).await;
        self.ladder.check(what, seen).map(|_| ())
    }

    /// Waits until alice's side has received a message.
    async fn alice_sees(&self, what: &str, fits: impl Fn(&SipMessage) -> bool) -> Step {
        let seen = self.alice.inbox.take(what, fits).await;
        self.ladder.check(what, seen).map(|_| ())
    }

    fn answered(&self, what: &str, answer: Result<SipMessage, Failure>, status: u16) -> Step {
        let outcome = answer.and_then(|answer| match answer.status() {
            Some(seen) if seen == status => Ok(()),
            _ => Err(Failure::new(format!("status {status}"), answer)),
        });
        self.ladder.check(what, outcome)
    }

    async fn start(&mut self, title: &str) -> Step {
        self.section(title);
        let started = match self.gateway.start() {
            Ok(id) => {
                self.ladder.event(&format!("gateway: process {id} starts"));
                self.gateway.ready().await
            }
            Err(why) => Err(why),
        };
        let outcome =
            started.map_err(|why| Failure::new("a gateway that answers on its admin socket", why));
        self.ladder.check("the gateway is up", outcome)
    }

    async fn romeo_adds_alice(&self) -> Step {
        self.section("Romeo adds Alice to his contacts");
        self.romeo.set_presence("", "under the balcony").await?;
        self.alice.set_presence("", "at my desk");
        self.romeo.presence_of_type("subscribe", ALICE_JID).await?;
        self.alice_sees("Alice is asked: SUBSCRIBE for her presence", |message| {
            message.is_request("SUBSCRIBE") && message.uri() == ALICE
        })
        .await?;
        self.alice_sees("the gateway has taken her NOTIFY pending", |message| {
            message.status() == Some(200) && message.method() == "NOTIFY"
        })
        .await?;
        self.romeo.ping().await?;
        self.ladder.check(
            "nobody has said yes for her",
            self.romeo.inbox.none("subscribed", |stanza| {
                stanza.is("presence", Some("subscribed"), ALICE_JID)
            }),
        )?;
        self.alice.approve(ROMEO_URI);
        self.romeo_sees("her consent arrives: subscribed", |stanza| {
            stanza.is("presence", Some("subscribed"), ALICE_JID)
        })
        .await?;
        self.romeo_sees("and her presence, with its text", |stanza| {
            available(stanza, "", "at my desk")
        })
        .await
    }

    async fn alice_adds_romeo(&self) -> Step {
        self.section("Alice adds Romeo to hers");
        let answer = self.alice.subscribe(ROMEO_URI).await;
        self.answered("her SUBSCRIBE is accepted", answer, 200)?;
        self.alice_sees("NOTIFY pending: Romeo has not decided", |message| {
            notified(message, "pending")
        })
        .await?;
        self.romeo_sees("Romeo is asked: subscribe", |stanza| {
            stanza.is("presence", Some("subscribe"), ALICE_JID)
        })
        .await?;
        self.romeo.approve(ALICE_JID).await?;
        self.alice_sees("NOTIFY active with his presence as PIDF", |message| {
            notified(message, "active")
                && message.says("<basic>open</basic>")
                && message.says("under the balcony")
        })
        .await
    }

    async fn presence_both_ways(&self) -> Step {
        self.section("Presence changes cross, with their texts");
        self.romeo
            .set_presence("away", "fencing with Tybalt")
            .await?;
        self.alice_sees("Alice sees Romeo away, and why", |message| {
            notified(message, "active")
                && message.says("away")
                && message.says("fencing with Tybalt")
        })
        .await?;
        self.alice.set_presence("away", "gone for lunch");
        self.romeo_sees("Romeo sees Alice away, and why", |stanza| {
            available(stanza, "away", "gone for lunch")
        })
        .await?;
        self.romeo.set_presence("", "back").await?;
        self.alice_sees("Romeo is back", |message| {
            notified(message, "active") && message.says(">back<")
        })
        .await
    }

    async fn messages_both_ways(&self) -> Step {
        self.section("Messages both ways; no side is told more than is known");
        let words = "Neither, fair saint, if either thee dislike.";
        let id = self.romeo.message(ALICE_JID, words).await?;
        self.alice_sees("Alice reads Romeo's words", |message| {
            message.is_request("MESSAGE") && message.body == words
        })
        .await?;
        let words = "Wherefore art thou Romeo?";
        let answer = self.alice.message(ROMEO_URI, words).await;
        let seen = self.romeo.inbox.take("the message", |stanza| {
            stanza.element.name() == "message"
                && stanza.child_text("body").as_deref() == Some(words)
        });
        self.ladder.check("Romeo reads Alice's words", seen.await)?;
        let fence = self
            .romeo
            .inbox
            .take("a ping behind the message", |stanza| {
                stanza.element.name() == "iq" && stanza.text.contains("urn:xmpp:ping")
            });
        self.ladder.check(
            "a ping behind them proves that his server has handled them",
            fence.await,
        )?;
        self.answered("only then Alice's client gets its 200", answer, 200)?;
        self.ladder.check(
            "no error for Romeo's message",
            self.romeo.inbox.none("message error", |stanza| {
                stanza.is("message", Some("error"), ALICE_JID)
                    && stanza.element.attr("id") == Some(&id)
            }),
        )
    }

    async fn message_to_nobody_on_sip(&self) -> Step {
        self.section("Romeo writes to somebody who does not exist");
        let nobody = "nobody@ocs.test";
        let id = self.romeo.message(nobody, "Is anybody there?").await?;
        let failed = self
            .romeo
            .inbox
            .take("an error stanza with the same id", |stanza| {
                stanza.is("message", Some("error"), nobody)
                    && stanza.element.attr("id") == Some(&id)
            });
        let failed = self
            .ladder
            .check("Romeo gets an error for this very message", failed.await)?;
        let condition = failed.condition().unwrap_or_default();
        let outcome = match condition.as_str() {
            "item-not-found" => Ok(()),
            _ => Err(Failure::new("item-not-found", failed)),
        };
        self.ladder
            .check("it says item-not-found, as SIP's 404 means", outcome)
    }

    async fn message_to_nobody_on_xmpp(&self) -> Step {
        self.section("Alice writes to somebody who does not exist");
        let answer = self.alice.message("sip:nobody@jabber.test", "Hello?").await;
        let outcome = answer.and_then(|answer| match answer.status() {
            // 503 would take the whole gateway out of service, 408 may not answer a MESSAGE.
            Some(400..=499 | 600..=699) if answer.status() != Some(408) => Ok(answer),
            _ => Err(Failure::new("a lasting failure, 4xx or 6xx", answer)),
        });
        let told = match &outcome {
            Ok(answer) => format!("her MESSAGE is not accepted: {answer}"),
            Err(_) => "her MESSAGE is not accepted".to_owned(),
        };
        self.ladder.check(&told, outcome).map(|_| ())
    }

    async fn clean_restart(&mut self) -> Step {
        self.section("The gateway is stopped (SIGTERM): nobody looks online for ever");
        let stopped = self.gateway.stop().await;
        self.ladder.event("gateway: stopped");
        let outcome = stopped.map_err(|why| Failure::new("a clean end", why));
        self.ladder.check("the gateway ends cleanly", outcome)?;
        self.romeo_sees("Romeo sees Alice leave", |stanza| {
            stanza.is("presence", Some("unavailable"), ALICE_JID)
        })
        .await?;
        self.alice_sees(
            "Alice's client is told to come back: NOTIFY terminated",
            |message| notified(message, "terminated"),
        )
        .await?;
        self.hang_up().await;

        self.start("It starts again: everything is as it was")
            .await?;
        self.back_without_questions(false).await
    }

    async fn kill_and_start(&mut self) -> Step {
        self.section("The gateway is killed (SIGKILL) in the middle of it all");
        let killed = self.gateway.kill().await;
        self.ladder.event("gateway: killed");
        let outcome = killed.map_err(|why| Failure::new("a process that can be killed", why));
        self.ladder.check("it is gone without a word", outcome)?;
        self.hang_up().await;

        self.start("It starts once more, from its database").await?;
        self.back_without_questions(true).await
    }

    /// The connections to a gateway that has ended are gone.
    async fn hang_up(&self) {
        self.romeo.disconnect().await;
        self.alice.disconnect().await;
    }

    /// After a restart both see each other again, and nobody was asked anything.
    async fn back_without_questions(&self, stale_dialog: bool) -> Step {
        self.romeo_sees("Romeo sees Alice again", |stanza| {
            available(stanza, "away", "gone for lunch")
        })
        .await?;
        if stale_dialog {
            let answer = self.alice.refresh(3600).await;
            self.answered(
                "Alice's refresh is told that its dialog is gone",
                answer,
                481,
            )?;
        }
        let answer = self.alice.subscribe(ROMEO_URI).await;
        self.answered("her client subscribes anew", answer, 200)?;
        self.alice_sees("and sees Romeo again", |message| {
            notified(message, "active") && message.says(">back<")
        })
        .await?;
        let asked = self.romeo.inbox.none("question to Romeo", |stanza| {
            stanza.is("presence", Some("subscribe"), ALICE_JID)
        });
        self.ladder.check("Romeo was not asked again", asked)?;
        let pending = self
            .alice
            .inbox
            .none("NOTIFY pending", |message| notified(message, "pending"));
        self.ladder
            .check("and Alice never saw him undecided", pending)
    }

    async fn part(&self) -> Step {
        self.section("They part");
        self.romeo
            .presence_of_type("unsubscribe", ALICE_JID)
            .await?;
        self.alice_sees(
            "his subscription ends: SUBSCRIBE with Expires 0",
            |message| message.is_request("SUBSCRIBE") && message.get("expires") == "0",
        )
        .await?;
        self.romeo_sees("confirmed to Romeo: unsubscribed", |stanza| {
            stanza.is("presence", Some("unsubscribed"), ALICE_JID)
        })
        .await?;
        let answer = self.alice.refresh(0).await;
        self.answered("Alice ends hers", answer, 200)?;
        self.alice_sees("NOTIFY terminated is the last word", |message| {
            notified(message, "terminated")
        })
        .await?;
        self.romeo
            .presence_of_type("unsubscribed", ALICE_JID)
            .await?;
        let status = self
            .gateway
            .status()
            .await
            .map_err(|why| Failure::new("a status", why))
            .and_then(|status| match status.bridge.pending_messages {
                0 => Ok(()),
                count => Err(Failure::new("no message without outcome", count)),
            });
        self.ladder
            .check("`stoxgate status`: every message has its outcome", status)
    }
}

/// Alice's presence on XMPP.
fn available(stanza: &Stanza, show: &str, status: &str) -> bool {
    stanza.is("presence", None, ALICE_JID)
        && stanza.child_text("show").unwrap_or_default() == show
        && stanza.child_text("status").as_deref() == Some(status)
}

/// A NOTIFY in this state, from romeo.
fn notified(message: &SipMessage, state: &str) -> bool {
    message.is_request("NOTIFY") && message.subscription_state() == state
}

/// Romeo's and alice's names, for those who look on.
pub(super) const NAMES: (&str, &str) = (ROMEO, ALICE_JID);
