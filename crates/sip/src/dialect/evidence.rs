//! What a message tells of the kind of server that sent it.

use super::{Profile, Word};
use crate::header::{HeaderValue, Headers, MediaType};
use crate::message::{Request, Response};

/// How much a sign is worth. A heavier one displaces what a lighter one has taught.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// What it took after it had refused something else.
    Answer,
    /// What it is able to do.
    Ability,
    /// What it calls itself.
    Product,
}

impl Word for Weight {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("answer", Self::Answer),
        ("ability", Self::Ability),
        ("product", Self::Product),
    ];
}

/// One sign of a dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// The profile that it speaks for.
    pub profile: Profile,
    /// What it is worth.
    pub weight: Weight,
    /// Where it was seen, for people.
    pub seen_in: &'static str,
    /// What was seen, for people.
    pub sign: &'static str,
}

/// Product names in `User-Agent` and `Server`, the more telling first (sources: captures of Skype for Business,
/// documents of OCS 2007; the server versions are remembered).
const PRODUCTS: &[(&str, Profile)] = &[
    ("Skype for Business", Profile::Skype),
    ("UCCAPI/16", Profile::Skype),
    ("OC/16", Profile::Skype),
    ("Microsoft Lync", Profile::Lync),
    ("UCCAPI/15", Profile::Lync),
    ("UCCAPI/4", Profile::Lync),
    ("OC/15", Profile::Lync),
    ("OC/4", Profile::Lync),
    ("Communicator 2007", Profile::Ocs2007R2),
    ("UCCAPI/3", Profile::Ocs2007R2),
    ("UCCAPI/2", Profile::Ocs2007R2),
    ("UCCP/2", Profile::Ocs2007R2),
    ("OC/3", Profile::Ocs2007R2),
    ("OC/2", Profile::Ocs2007R2),
    ("Communicator 2005", Profile::Lcs2005),
    ("LCC/1", Profile::Lcs2005),
    ("RTC/7", Profile::Skype),
    ("RTC/6", Profile::Skype),
    ("RTC/5", Profile::Lync),
    ("RTC/4", Profile::Lync),
    ("RTC/3", Profile::Ocs2007R2),
    ("RTC/2", Profile::Lcs2005),
];

/// Words in a header field that only some servers write. The first row that fits counts.
const ABILITIES: &[(&str, &str, Profile)] = &[
    (
        "Accept",
        "application/msrtc-event-categories+xml",
        Profile::Ocs2007R2,
    ),
    ("Accept", "text/xml+msrtc.pidf", Profile::Lcs2005),
    (
        "Content-Type",
        "application/msrtc-event-categories+xml",
        Profile::Ocs2007R2,
    ),
    ("Content-Type", "text/xml+msrtc.pidf", Profile::Lcs2005),
    ("Supported", "ms-sender", Profile::Ocs2007R2),
    ("Supported", "ms-benotify", Profile::Ocs2007R2),
    ("Supported", "ms-piggyback-first-notify", Profile::Ocs2007R2),
    ("Proxy-Require", "ms-benotify", Profile::Ocs2007R2),
];

/// Header fields that only Microsoft's servers and clients write.
const FIELDS: &[&str] = &[
    "ms-diagnostics-public",
    "ms-diagnostics",
    "ms-edge-proxy-message-trust",
    "ms-asserted-verification-level",
    "Ms-Conversation-ID",
    "ms-text-format",
];

/// Media types in a session description, and who writes them.
const MEDIA: &[(&str, Profile)] = &[
    ("m=x-ms-message ", Profile::Lcs2005),
    ("m=message ", Profile::Ocs2007R2),
];

/// The heaviest sign in a request.
#[must_use]
pub fn of_request(request: &Request) -> Option<Evidence> {
    product(&request.headers)
        .or_else(|| media(&request.headers, &request.body))
        .or_else(|| ability(&request.headers))
}

/// The heaviest sign in a response.
#[must_use]
pub fn of_response(response: &Response) -> Option<Evidence> {
    product(&response.headers)
        .or_else(|| media(&response.headers, &response.body))
        .or_else(|| ability(&response.headers))
}

fn product(headers: &Headers) -> Option<Evidence> {
    ["User-Agent", "Server"].into_iter().find_map(|field| {
        let text = headers.get(field)?;
        let (sign, profile) = PRODUCTS.iter().find(|(name, _)| text.contains(name))?;
        Some(Evidence {
            profile: *profile,
            weight: Weight::Product,
            seen_in: field,
            sign,
        })
    })
}

fn ability(headers: &Headers) -> Option<Evidence> {
    let row = ABILITIES
        .iter()
        .find(|(field, word, _)| headers.values(field).any(|value| names(value, word)));
    let Some((field, sign, profile)) = row else {
        let sign = FIELDS.iter().find(|field| headers.contains(field))?;
        return Some(Evidence {
            profile: Profile::Ocs2007R2,
            weight: Weight::Ability,
            seen_in: "header fields",
            sign,
        });
    };
    Some(Evidence {
        profile: *profile,
        weight: Weight::Ability,
        seen_in: field,
        sign,
    })
}

/// Parameters behind a word do not count.
fn names(value: &str, word: &str) -> bool {
    let bare = value.split(';').next().unwrap_or_default();
    bare.trim().eq_ignore_ascii_case(word)
}

/// A session over SIP itself (`m=message … sip null`).
fn media(headers: &Headers, body: &[u8]) -> Option<Evidence> {
    let described = headers
        .get("Content-Type")
        .and_then(|value| MediaType::parse(value).ok())
        .is_some_and(|found| found.is("application", "sdp"));
    let text = std::str::from_utf8(body).ok().filter(|_| described)?;
    let (sign, profile) = MEDIA.iter().find(|(start, _)| {
        text.lines().any(|line| {
            line.starts_with(start)
                && line
                    .split(' ')
                    .nth(2)
                    .is_some_and(|protocol| protocol.eq_ignore_ascii_case("sip"))
        })
    })?;
    Some(Evidence {
        profile: *profile,
        weight: Weight::Ability,
        seen_in: "session description",
        sign: sign.trim_end(),
    })
}
