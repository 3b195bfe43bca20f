//! What becomes of each payload of a message on its way to SIP: one table, which the reader follows.
//!
//! A payload that is not in it is ignored; the body beside it crosses as it is (IM-10).

use minidom::Element;
use stox_core::failure::Local;
use stox_core::vocab::{Im, Text};

use super::xml;

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Name of the element.
    pub element: &'static str,
    /// Its namespace.
    pub namespace: &'static str,
    /// What it is, in words.
    pub meaning: &'static str,
    /// What becomes of it.
    pub treatment: Treatment,
    /// Who defines it.
    pub source: &'static str,
}

/// What becomes of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// It crosses as what it is.
    Crosses,
    /// The body gets these words before it.
    Prefix(&'static str),
    /// These words are the body, where there is none.
    Says(&'static str),
    /// Its emoji are the body in words, where there is none. Taking them back says nothing.
    Reaction,
    /// Its URLs become lines of the body, unless the body has them already.
    Link,
    /// The message goes back to its sender with an error: nobody behind SIP could read it.
    Encrypted,
    /// Nothing; the body beside it crosses.
    Ignored,
}

const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
const RECEIPTS: &str = "urn:xmpp:receipts";
const MARKERS: &str = "urn:xmpp:chat-markers:0";
const REACTIONS: &str = "urn:xmpp:reactions:0";
const OOB: &str = "jabber:x:oob";
const FILES: &str = "urn:xmpp:sfs:0";
const REFERENCE: &str = "urn:xmpp:reference:0";
const DIRECT: &str = "jabber:x:conference";
const MUC_USER: &str = "http://jabber.org/protocol/muc#user";
const WITHDREW: Treatment = Treatment::Says("[withdrew a message]");
/// Longest URL that is put into a body.
const MAX_URL: usize = 4096;
/// Emoji of a reaction that are told.
const MAX_REACTIONS: usize = 8;

const fn row(
    element: &'static str,
    namespace: &'static str,
    meaning: &'static str,
    treatment: Treatment,
    source: &'static str,
) -> Row {
    Row {
        element,
        namespace,
        meaning,
        treatment,
        source,
    }
}

/// The table.
#[rustfmt::skip]
pub const PAYLOADS: [Row; 45] = [
    row("active", CHAT_STATES, "attends to the chat", Treatment::Crosses, "XEP-0085"),
    row("composing", CHAT_STATES, "is typing", Treatment::Crosses, "XEP-0085"),
    row("paused", CHAT_STATES, "has stopped typing", Treatment::Crosses, "XEP-0085"),
    row("inactive", CHAT_STATES, "looks elsewhere", Treatment::Crosses, "XEP-0085"),
    row("gone", CHAT_STATES, "has left the chat", Treatment::Crosses, "XEP-0085"),
    row("request", RECEIPTS, "asks for a delivery receipt", Treatment::Crosses, "XEP-0184"),
    row("received", RECEIPTS, "delivery receipt", Treatment::Crosses, "XEP-0184"),
    row("markable", MARKERS, "asks for chat markers", Treatment::Crosses, "XEP-0333"),
    row("received", MARKERS, "delivery marker", Treatment::Crosses, "XEP-0333"),
    row("displayed", MARKERS, "was shown", Treatment::Crosses, "XEP-0333"),
    row("acknowledged", MARKERS, "was acknowledged: counts as shown", Treatment::Crosses, "XEP-0333"),
    row("delay", "urn:xmpp:delay", "when it was sent", Treatment::Crosses, "XEP-0203"),
    row("replace", "urn:xmpp:message-correct:0", "corrects an earlier message", Treatment::Prefix("[corrected] "), "XEP-0308"),
    row("retract", "urn:xmpp:message-retract:1", "withdraws an earlier message", WITHDREW, "XEP-0424"),
    row("apply-to", "urn:xmpp:fasten:0", "withdraws an earlier message (older form)", WITHDREW, "XEP-0422"),
    row("reactions", REACTIONS, "reacts with emoji", Treatment::Reaction, "XEP-0444"),
    row("attention", "urn:xmpp:attention:0", "asks for attention", Treatment::Says("[asks for attention]"), "XEP-0224"),
    row("x", DIRECT, "invites into a room", Treatment::Crosses, "XEP-0249"),
    row("x", MUC_USER, "invites into a room, through the room", Treatment::Crosses, "XEP-0045 §7.8.2"),
    row("x", OOB, "link to a file", Treatment::Link, "XEP-0066"),
    row("file-sharing", FILES, "shared file", Treatment::Link, "XEP-0447"),
    row("reference", REFERENCE, "shared file; a mention is ignored", Treatment::Link, "XEP-0372, XEP-0385"),
    row("encrypted", "eu.siacs.conversations.axolotl", "OMEMO", Treatment::Encrypted, "XEP-0384 0.3"),
    row("encrypted", "urn:xmpp:omemo:1", "OMEMO", Treatment::Encrypted, "XEP-0384 0.7"),
    row("encrypted", "urn:xmpp:omemo:2", "OMEMO", Treatment::Encrypted, "XEP-0384"),
    row("x", "jabber:x:encrypted", "OpenPGP, older form", Treatment::Encrypted, "XEP-0027"),
    row("openpgp", "urn:xmpp:openpgp:0", "OpenPGP", Treatment::Encrypted, "XEP-0373"),
    row("encryption", "urn:xmpp:eme:0", "says that it is encrypted", Treatment::Encrypted, "XEP-0380"),
    row("x", "jabber:x:signed", "OpenPGP signature", Treatment::Ignored, "XEP-0027"),
    row("html", "http://jabber.org/protocol/xhtml-im", "styled form of the body", Treatment::Ignored, "XEP-0071"),
    row("unstyled", "urn:xmpp:styling:0", "the body holds no styling marks", Treatment::Ignored, "XEP-0393"),
    row("reply", "urn:xmpp:reply:0", "answers a message: its quotation stays in the body", Treatment::Ignored, "XEP-0461"),
    row("fallback", "urn:xmpp:fallback:0", "the body is for those who cannot do more: it stays", Treatment::Ignored, "XEP-0428"),
    row("store", "urn:xmpp:hints", "hint for archives", Treatment::Ignored, "XEP-0334"),
    row("no-store", "urn:xmpp:hints", "hint for archives", Treatment::Ignored, "XEP-0334"),
    row("no-copy", "urn:xmpp:hints", "hint for servers", Treatment::Ignored, "XEP-0334"),
    row("no-permanent-store", "urn:xmpp:hints", "hint for archives", Treatment::Ignored, "XEP-0334"),
    row("private", "urn:xmpp:carbons:2", "hint for servers", Treatment::Ignored, "XEP-0280"),
    row("received", "urn:xmpp:carbons:2", "copy of a message: only a claim", Treatment::Ignored, "XEP-0280"),
    row("sent", "urn:xmpp:carbons:2", "copy of a message: only a claim", Treatment::Ignored, "XEP-0280"),
    row("forwarded", "urn:xmpp:forward:0", "wrapped message: only a claim", Treatment::Ignored, "XEP-0297"),
    row("result", "urn:xmpp:mam:2", "message from an archive: only a claim", Treatment::Ignored, "XEP-0313"),
    row("stanza-id", "urn:xmpp:sid:0", "id for archives", Treatment::Ignored, "XEP-0359"),
    row("origin-id", "urn:xmpp:sid:0", "id for archives", Treatment::Ignored, "XEP-0359"),
    row("event", "http://jabber.org/protocol/pubsub#event", "news of a node", Treatment::Ignored, "XEP-0060"),
];

/// Puts into the content what its payloads come to.
///
/// # Errors
/// [`Local::Encrypted`]: the message is no text that a SIP user could read.
pub(super) fn apply(stanza: &Element, im: &mut Im) -> Result<(), Local> {
    if is_encrypted(stanza, im) {
        return Err(Local::Encrypted);
    }
    for (payload, treatment) in known(stanza) {
        match treatment {
            Treatment::Prefix(words) => {
                for body in im.bodies.iter_mut().filter(|body| !body.text.is_empty()) {
                    body.text.insert_str(0, words);
                }
            }
            // What else is fastened to a message says nothing.
            Treatment::Says(_) if payload.name() == "apply-to" && !withdraws(payload) => {}
            Treatment::Says(words) => say(im, || Some(words.to_owned())),
            Treatment::Reaction => say(im, || reaction(payload)),
            Treatment::Link => link(im, payload),
            Treatment::Crosses | Treatment::Encrypted | Treatment::Ignored => {}
        }
    }
    Ok(())
}

/// What stands in a room for a message that is encrypted.
pub(super) fn unreadable() -> Text {
    Text {
        lang: None,
        text: "[sent an encrypted message, which cannot be read here]".to_owned(),
    }
}

fn known(stanza: &Element) -> impl Iterator<Item = (&Element, Treatment)> {
    stanza.children().filter_map(|child| {
        let row = PAYLOADS
            .iter()
            .find(|row| child.is(row.element, row.namespace))?;
        Some((child, row.treatment))
    })
}

/// Whether there is ciphertext. OMEMO without payload only looks after keys (XEP-0384 §4.6): nobody misses it.
fn is_encrypted(stanza: &Element, im: &Im) -> bool {
    let has_body = im.bodies.iter().any(|body| !body.text.is_empty());
    let holds = |payload: &Element| match payload.name() {
        "encrypted" => payload.children().any(|child| child.name() == "payload"),
        "encryption" => false,
        _ => !payload.text().trim().is_empty(),
    };
    let marked = known(stanza).any(|(payload, treatment)| {
        treatment == Treatment::Encrypted && (has_body || holds(payload))
    });
    // OTR has no element: its text says what it is.
    marked
        || im
            .bodies
            .iter()
            .any(|body| body.text.trim_start().starts_with("?OTR"))
}

fn withdraws(fastened: &Element) -> bool {
    fastened.has_child("retract", "urn:xmpp:message-retract:0")
}

/// Makes words the body of a message without one.
fn say(im: &mut Im, words: impl FnOnce() -> Option<String>) {
    if im.bodies.iter().all(|body| body.text.is_empty())
        && let Some(text) = words()
    {
        im.bodies = vec![Text { lang: None, text }];
    }
}

fn reaction(payload: &Element) -> Option<String> {
    let emoji: Vec<String> = payload
        .children()
        .filter(|child| child.is("reaction", REACTIONS))
        .map(|child| one_line(&child.text()))
        .filter(|emoji| !emoji.is_empty())
        .take(MAX_REACTIONS)
        .collect();
    (!emoji.is_empty()).then(|| format!("[reacted: {}]", emoji.join(" ")))
}

/// Adds the URLs of a payload to each body that has not got them.
fn link(im: &mut Im, payload: &Element) {
    let (urls, description) = links(payload);
    for url in urls {
        if im.bodies.iter().all(|body| body.text.is_empty()) {
            let text = match &description {
                Some(words) => format!("{words}\n{url}"),
                None => url,
            };
            im.bodies = vec![Text { lang: None, text }];
            continue;
        }
        for body in im.bodies.iter_mut().filter(|body| !body.text.is_empty()) {
            if !body.text.contains(&url) {
                body.text = format!("{}\n{url}", body.text);
            }
        }
    }
}

fn links(payload: &Element) -> (Vec<String>, Option<String>) {
    let mut urls = Vec::new();
    let mut words = None;
    let (names, attribute): (&[&str], &str) = match payload.ns().as_str() {
        OOB => (&["url"], ""),
        FILES => (&["url-data"], "target"),
        _ => (&["reference"], "uri"),
    };
    for child in payload.children().flat_map(nested) {
        if names.contains(&child.name()) {
            let url = match attribute {
                "" => child.text(),
                name => child.attr(name).unwrap_or_default().to_owned(),
            };
            urls.extend(usable(&url));
        } else if child.name() == "desc" && words.is_none() {
            words = Some(one_line(&child.text())).filter(|words| !words.is_empty());
        }
    }
    (urls, words)
}

/// An element and what is below it, three levels deep: as far as the formats of shared files go.
fn nested(element: &Element) -> Vec<&Element> {
    let mut all = vec![element];
    for child in element.children() {
        all.push(child);
        all.extend(child.children());
    }
    all
}

fn usable(url: &str) -> Option<String> {
    let url = url.trim();
    let plain = !url.chars().any(|c| c.is_whitespace() || c.is_control());
    let web = ["http://", "https://"].iter().any(|scheme| {
        url.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    (plain && web && url.len() <= MAX_URL).then(|| url.to_owned())
}

/// Words of a peer's on one line among ours. Marks that turn the direction of writing would turn ours, too, and go.
fn one_line(text: &str) -> String {
    let turns = |c: &char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let text: String = xml::clean(text).chars().filter(|c| !turns(c)).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
