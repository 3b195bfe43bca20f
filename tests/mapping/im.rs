//! docs/im.md: what becomes of messages. What no table says is text here.

use std::fmt::Write as _;

use stox_core::failure::{Failure, Local, to_sip, to_stanza};
use stox_core::vocab::{Outcome, Receipt};
use stox_sip::adapt::failure::{MSRP_OTHERWISE, MSRP_STATUSES, from_msrp};
use stox_sip::adapt::im::{receipt, treatments, written_types};
use stox_sip::body::imdn::{DISPOSITIONS, Disposition};
use stox_sip::dialect::{Behaviour, PROFILES, Word};
use stox_xmpp::adapt::payloads::{PAYLOADS, Row, Treatment};

use super::table;

/// Statuses of MSRP (RFC 4975 §10, RFC 7701 §6.2).
const MSRP_CODES: [u16; 10] = [400, 403, 408, 413, 415, 423, 428, 481, 501, 506];

/// A column of the dialect table and its word for a profile.
type Column = (&'static str, fn(&Behaviour) -> &'static str);

/// The columns that say how messages go.
const COLUMNS: [Column; 11] = [
    ("im", |habit| habit.im.word()),
    ("im_fallback", |habit| habit.im_fallback.word()),
    ("forbids_pages", |habit| habit.forbids_pages.word()),
    ("session_by", |habit| habit.session_by.word()),
    ("msrp_tls", |habit| habit.msrp_tls.word()),
    ("session_types", |habit| habit.session_types.word()),
    ("first_message", |habit| habit.first_message.word()),
    ("long_messages", |habit| habit.long_messages.word()),
    ("typing", |habit| habit.typing.word()),
    ("page_typing", |habit| habit.page_typing.word()),
    ("page_wrapper", |habit| habit.page_wrapper.word()),
];

pub(super) fn document() -> String {
    let mut out = INTRODUCTION.to_owned();
    modes(&mut out);
    out.push_str(TO_SIP);
    payloads(&mut out);
    out.push_str(TO_XMPP);
    types(&mut out);
    out.push_str(RECEIPTS);
    dispositions(&mut out);
    out.push_str(TYPING);
    out.push_str(LENGTH);
    encrypted(&mut out);
    out.push_str(ROOMS);
    failures(&mut out);
    outcomes(&mut out);
    out
}

fn modes(out: &mut String) {
    let mut heads = vec!["Habit"];
    heads.extend(PROFILES.iter().map(|row| row.profile.word()));
    let column = |(name, word): &Column| {
        let mut row = vec![format!("`{name}`")];
        row.extend(PROFILES.iter().map(|row| word(&row.behaviour).to_owned()));
        row
    };
    table(out, &heads, COLUMNS.iter().map(column));
}

fn payloads(out: &mut String) {
    let told = PAYLOADS
        .iter()
        .filter_map(|row| Some((row, becomes(row.treatment)?)));
    table(
        out,
        &["Element", "What it is", "What becomes of it", "Source"],
        told.map(|(row, words)| {
            vec![
                format!("`{}`", row.element),
                row.meaning.to_owned(),
                words,
                row.source.to_owned(),
            ]
        }),
    );
    for (words, treatment) in [
        (
            "Cross as what they are (see the first table, and for invitations *Rooms*)",
            Treatment::Crosses,
        ),
        ("Ignored, so that only the body crosses", Treatment::Ignored),
    ] {
        let rows = PAYLOADS.iter().filter(|row| row.treatment == treatment);
        let names: Vec<String> = rows.map(named).collect();
        writeln!(out, "\n{words}:\n{}.", names.join(",\n")).unwrap();
    }
}

fn named(row: &Row) -> String {
    format!("`{}` ({}, {})", row.element, row.meaning, row.source)
}

/// In words, where it is more than crossing or nothing.
fn becomes(treatment: Treatment) -> Option<String> {
    Some(match treatment {
        Treatment::Crosses | Treatment::Ignored => return None,
        Treatment::Prefix(words) => format!("the body begins with `{}`", words.trim_end()),
        Treatment::Says(words) => format!("`{words}`, where there is no body"),
        Treatment::Reaction => "`[reacted: 👍]`, where there is no body".to_owned(),
        Treatment::Link => "its URLs, each on a line of the body".to_owned(),
        Treatment::Encrypted => "the message goes back with an error".to_owned(),
    })
}

fn types(out: &mut String) {
    let row = |(name, words): (&str, &str)| vec![format!("`{name}`"), words.to_owned()];
    table(
        out,
        &["Content type", "What is taken from it"],
        treatments().map(row),
    );
    let forms: Vec<String> = written_types().map(|name| format!("`{name}`")).collect();
    writeln!(
        out,
        "\nTowards SIP text is written as {}: the first of these that the peer takes.",
        forms.join(" or ")
    )
    .unwrap();
}

fn dispositions(out: &mut String) {
    let row = |(around, status, disposition): &(&str, &str, Disposition)| {
        let told = match receipt(*disposition) {
            Some(Ok(Receipt::Delivered)) => "`received` (XEP-0184)".to_owned(),
            Some(Ok(Receipt::Displayed)) => "`displayed` (XEP-0333)".to_owned(),
            Some(Err(failure)) => format!("error `{}`", to_stanza(&failure).condition.name()),
            None => "nothing".to_owned(),
        };
        vec![format!("`{status}` in `{around}`"), told]
    };
    table(
        out,
        &["IMDN (RFC 5438)", "XMPP"],
        DISPOSITIONS.iter().map(row),
    );
}

fn encrypted(out: &mut String) {
    let found = to_stanza(&Failure::Local(Local::Encrypted));
    writeln!(
        out,
        "\n## Encrypted messages\n\nNobody behind SIP could read OMEMO, OpenPGP or OTR, and the text that stands beside them only \
         says that one cannot. So the\nmessage goes back with `{}`:\n*{}*.\nIn a room it is not sent back, since a room takes an error \
         for leaving: the others read that an encrypted message was sent.\nOMEMO that only looks after keys is passed over.",
        found.condition.name(),
        found.text.unwrap_or_default()
    )
    .unwrap();
}

fn failures(out: &mut String) {
    out.push_str(
        "\n## Failures over MSRP\n\nErrors between XMPP and SIP are in [mapping.md](mapping.md). MSRP has statuses of its own, \
         and each goes through SIP's. In a \
         room 404 says that the recipient is not there.\n\n",
    );
    let known = MSRP_STATUSES.iter().map(|(codes, msrp)| {
        let codes: Vec<String> = codes.iter().map(u16::to_string).collect();
        vec![codes.join(", "), msrp.to_string()]
    });
    let other = vec!["every other".to_owned(), MSRP_OTHERWISE.to_string()];
    table(
        out,
        &["What SIP would say", "To a sender over MSRP"],
        known.chain([other]),
    );
    out.push('\n');
    let row = |code: &u16| {
        let failure = from_msrp(*code, "");
        let condition = to_stanza(&failure).condition.name();
        let sip = to_sip(&failure).code;
        vec![code.to_string(), sip.to_string(), format!("`{condition}`")]
    };
    table(
        out,
        &["MSRP says", "As SIP", "To an XMPP sender"],
        MSRP_CODES.iter().map(row),
    );
}

fn outcomes(out: &mut String) {
    let names: Vec<String> = Outcome::ALL
        .iter()
        .map(|outcome| format!("`{}`", outcome.name()))
        .collect();
    writeln!(
        out,
        "\n## What became of one message\n\n`stoxgate messages --address bob@ocs.example --since 2h` shows it:\n{}. A receipt that \
         was asked for moves a message on to `delivered` or `displayed`.\nOf rooms what the users themselves send is \
         entered; what others say there, invitations, typing and receipts are not. [More](ledger.md)",
        names.join(", ")
    )
    .unwrap();
}

const INTRODUCTION: &str = "\
# What becomes of a message

Written from the tables that the gateway runs on by `STOXGATE_WRITE_DOCS=1 cargo test --test mapping`. Do not edit.

A message travels on the SIP side in one of four ways:

* **page mode**: a MESSAGE by itself (RFC 3428);
* a **session in the dialog**: INVITE, and MESSAGEs inside its dialog, as Microsoft's servers want it;
* a **session over MSRP** (RFC 4975), where `[msrp]` is set up;
* a **room** (RFC 7702), which always runs over MSRP.

A message goes into the session that the two users have open, whoever opened it; otherwise the way that the dialect of the SIP
domain says. With `im_fallback` the other way is tried when the peer refuses the first; a message whose session over MSRP is refused always
goes alone. Each habit can be changed for a domain in `[sip.domain.behaviour]`:

";

const TO_SIP: &str = "
## XMPP to SIP

| Of the stanza | Page mode | Session in the dialog | Session over MSRP | Room |
|---|---|---|---|---|
| body | text | text | text, in a wrapper (`message/cpim`) where it is to say more | text in a wrapper |
| several bodies | the one in the language in which the SIP user wrote last, else the first | the first | the first | the first |
| language | Content-Language | Content-Language | only in a wrapper | in the wrapper |
| subject beside a body | Subject | Subject | Subject of a wrapper, where the peer takes one | Subject of the wrapper |
| subject alone | nothing | nothing | nothing | of a room: subject of the conference; of an XMPP user in a conference: refused |
| thread | Call-ID | names the session: another thread opens another one | the same | nothing |
| stanza id | part of the branch | part of the branch | part of transaction ids | part of transaction ids |
| time of sending (delay) | Date | Date | nothing | DateTime of the wrapper |
| XHTML | nothing: the body crosses | nothing | nothing | nothing |
| receipt request | where `page_wrapper` allows: `positive-delivery` | nothing | Success-Report | nothing |
| marker request | where `page_wrapper` allows: `display` | nothing | `display` in a wrapper, where the peer takes one | nothing |
| receipt, marker | IMDN, if he asked | nothing | success report or IMDN, if he asked | nothing |
| typing | where `page_typing` allows | INFO or MESSAGE, by `typing` | isComposing, where the peer takes it | nothing |

What else a stanza holds:

";

const TO_XMPP: &str = "
So is every payload that is not named here.

## SIP to XMPP

| Of the message | Page mode | Session in the dialog | Session over MSRP | Room |
|---|---|---|---|---|
| stanza type | normal | chat | chat | groupchat; chat where it is for one alone |
| text | body | body | body | body |
| looks (HTML, RTF, `msgr`) | XHTML-IM | XHTML-IM | XHTML-IM | XHTML-IM |
| Content-Language | `xml:lang` | `xml:lang` | `xml:lang`, of a wrapped part | `xml:lang`, of a wrapped part |
| Subject | subject | subject | subject, of a wrapper | subject, of a wrapper |
| Call-ID, or the session's | thread | thread | thread | nothing |
| id | branch of the top Via | branch of the top Via | made here | of a conference: Message-ID; to a room: made here |
| Date, DateTime | delay, where it is more than a minute off | the same | the same, of a wrapper | of a conference: the same, of a wrapper; to a room: nothing |
| Expires | a message that comes too late goes no further: 200, and `failed` in the ledger | the same | — | — |
| wish for receipts | request, markable | nothing | request, markable | nothing |
| receipt | receipt or marker, if she asked | the same, about messages in page mode | the same, about messages of the session | nothing |
| typing | chat state | chat state | chat state | nothing |

A message without text is answered and goes no further. One of a type that is not taken is refused with 415 and the list of those that
are. The types, best first:

";

const RECEIPTS: &str = "
## Receipts

A 2xx or a 200 of MSRP is never a receipt: it says that the server has the message. A receipt is passed on only when the sender has asked
for it, once of each kind, and never before the message itself has been answered. A message that asks is remembered for a day, over MSRP no
longer than its session.

* **XMPP user asks** (XEP-0184 `request`, XEP-0333 `markable`; the stanza needs an id). Over MSRP delivery is a success report, and display
  a wish in a wrapper. In page mode both are wishes in a `message/cpim` wrapper, if `page_wrapper` allows: with `known` the user must
  have shown that he takes wrappers, by his own messages or in an Accept. A peer that refuses the wrapper with 415 gets the message
  without it, and no more wrappers for a day. In a session in the dialog nothing is asked.
* **SIP user asks**: `imdn` wishes in a `message/cpim` wrapper, or Success-Report over MSRP. When the XMPP client answers he is sent a
  notification, or the report. `displayed` stands for all his answered messages before it. In a session in the dialog his wishes are not
  passed on.

What a notification says:

";

const TYPING: &str = "
A failure that comes after `delivered` is not passed on: one device has the message.
One that is reported after the answer, over MSRP or by IMDN, goes to the sender as an error for ten minutes even if she asked for nothing.

## Typing

| XMPP client says | In a session | Outside, where `page_typing` allows |
|---|---|---|
| `composing` | `type` (INFO, every 8 s) or `active` (isComposing, every 90 s) | `active`, every 60 s |
| `active`, `paused`, `inactive` | `idle`, if she was typing | `idle`, if he was told that she types |
| `gone` | the session ends, if nothing is under way in it | as `paused` |

Typing that goes on for two minutes without a word counts as ended. A notice opens no session and overtakes no message; a message ends
the typing by itself.

| SIP client says | XMPP |
|---|---|
| `active` (isComposing), `type` (KeyboardActivity) | `composing`, once |
| `idle`, or nothing more for as long as the notice holds (five minutes at most) | `active`, once |
| a message | ends the typing by itself |
| the session ends | `gone`, for clients that have shown chat states |

A message that comes in a session has the chat state `active`, so that the client sends its own; so has a message outside of one where
the sender can be told. In rooms nothing is told of typing, in either direction.

";

const LENGTH: &str = "\
## Length

| | Longest | What becomes of a longer one |
|---|---|---|
| page mode, to SIP | `sip.page_limit`, 1300 octets | by `long_messages`: refused with `policy-violation`, sent in a session, or split |
| session in the dialog, to SIP | none of our own | the peer's answer |
| MSRP and rooms, to SIP | the peer's `a=max-size` | `policy-violation` |
| page mode and dialog, to XMPP | `limits.sip_body`, 64 KiB | 413 |
| MSRP and rooms, to XMPP | `msrp.max_message`, 64 KiB | 413 |
| a stanza with all that is in it, to XMPP | `xmpp.stanza_limit`, 64 KiB, or less where the partner says so (XEP-0478) | 513 |

Split messages have 64 parts at most, never cut within a character, and end at white space where they can. All parts go in order, the next
one when the one before was taken; the sender has one outcome: if some were taken and one was not, the error says how many.
A message that opens a session for its length takes along what waits behind it, so that the order stays.
";

const ROOMS: &str = "
## Rooms

Each user has a leg of his own: an XMPP user in a SIP conference, a SIP user in an XMPP room. What crosses: who is there and under what
nickname, changes of nickname, roles, the subject, messages to all and to one, invitations, and why somebody is out.

What does not:

* receipts, markers, typing, threads;
* setting a subject: neither side lets a participant behind the gateway do it;
* administration: kicking, banning, voice, configuration, creating and destroying a room;
* a SIP user's call to a room that does not exist: he gets 404, and no room is made;
* rooms with a password, for SIP users;
* a history of a conference that the conference does not send itself. A SIP user in a room gets the last `rooms.history` messages;
* occupants beyond `rooms.occupants`;
* that a message to all has not reached a SIP user: a room takes an error for leaving, so nobody is told.

An invitation reaches a SIP user who is in no room as a message with the room's address; calling that address enters it. An invitation of
an XMPP user by a conference is a mediated one (XEP-0045 §7.8.2). A message of a SIP user is answered when the room has repeated it; one
of an XMPP user is repeated to her when the conference has taken it. A SIP user who leaves 100 messages unread is out.
";
