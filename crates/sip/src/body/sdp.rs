//! Session descriptions as far as instant messages need them (RFC 4566, RFC 3264, RFC 4975 §8): the media lines, what they
//! take, and how an MSRP connection comes about (RFC 4145, RFC 6135, RFC 8122).

use std::net::IpAddr;

/// Content type of a session description.
pub const CONTENT_TYPE: &str = "application/sdp";
/// Media lines that are looked at.
const MAX_MEDIA: usize = 16;
/// Fingerprints of one line that are looked at.
const MAX_FINGERPRINTS: usize = 8;
/// Octets that are looked at.
const MAX_LENGTH: usize = 16_384;
/// The protocol of sessions whose messages travel in the SIP dialog itself.
const IN_DIALOG: &str = "sip";
/// The media types of such sessions: of OCS and its heirs, and of LCS 2005.
const WORDS: [&str; 2] = ["message", "x-ms-message"];
/// The port of such sessions, which means nothing (but must not be 0, which refuses).
const PORT: u16 = 5060;
/// The protocols of MSRP, and whether they are secure (RFC 4975 §8.1).
const MSRP: [(&str, bool); 2] = [("TCP/MSRP", false), ("TCP/TLS/MSRP", true)];

/// What carries the messages of a media line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// The SIP dialog.
    Dialog,
    /// MSRP.
    Msrp {
        /// Over TLS.
        secure: bool,
    },
}

/// Who connects (RFC 4145 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// The one who says so.
    Active,
    /// The other one.
    Passive,
    /// Either: an answer chooses.
    ActPass,
    /// Nobody, for the time being.
    HoldConn,
}

/// Values of `a=setup`.
const SETUPS: [(&str, Setup); 4] = [
    ("active", Setup::Active),
    ("passive", Setup::Passive),
    ("actpass", Setup::ActPass),
    ("holdconn", Setup::HoldConn),
];

/// Which way messages go (RFC 3264 §6.1): attribute, and its answer.
const DIRECTIONS: [(&str, &str); 4] = [
    ("sendrecv", "sendrecv"),
    ("sendonly", "recvonly"),
    ("recvonly", "sendonly"),
    ("inactive", "inactive"),
];

/// One `m=` line and the attributes that belong to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Media {
    /// The media type.
    pub media: String,
    /// The port; 0 refuses the line.
    pub port: String,
    /// The transport protocol.
    pub protocol: String,
    /// The rest of the line.
    pub format: String,
    /// What the sender takes, as it is written.
    pub accept_types: Option<String>,
    /// What it takes inside wrappers, as it is written.
    pub accept_wrapped_types: Option<String>,
    /// `a=path`: MSRP URIs, as they are written.
    pub path: Option<String>,
    /// `a=max-size` in octets.
    pub max_size: Option<u64>,
    /// `a=setup`.
    pub setup: Option<Setup>,
    /// `a=fingerprint` values, as they are written.
    pub fingerprints: Vec<String>,
    /// `a=chatroom` (RFC 7701 §8): what the room can do.
    pub chatroom: Option<String>,
    /// Which way messages go, where that is said.
    pub direction: Option<&'static str>,
}

impl Media {
    /// What carries its messages; `None` for lines that are refused or carry no messages.
    #[must_use]
    pub fn carrier(&self) -> Option<Carrier> {
        if self.port == "0" || !WORDS.contains(&self.media.as_str()) {
            return None;
        }
        if self.protocol.eq_ignore_ascii_case(IN_DIALOG) {
            return Some(Carrier::Dialog);
        }
        let known = MSRP
            .iter()
            .find(|(name, _)| self.protocol.eq_ignore_ascii_case(name));
        known
            .filter(|_| self.media == "message" && self.path.is_some())
            .map(|(_, secure)| Carrier::Msrp { secure: *secure })
    }

    /// Instant messages inside the SIP dialog.
    #[must_use]
    pub fn is_in_dialog(&self) -> bool {
        self.carrier() == Some(Carrier::Dialog)
    }

    /// One attribute of the line.
    fn attribute(&mut self, name: &str, value: &str) {
        let value = value.trim();
        let text = || Some(value.to_owned());
        match name {
            "accept-types" => self.accept_types = text(),
            "accept-wrapped-types" => self.accept_wrapped_types = text(),
            "path" => self.path = text(),
            "max-size" => self.max_size = value.parse().ok(),
            "chatroom" => self.chatroom = text(),
            "fingerprint" if self.fingerprints.len() < MAX_FINGERPRINTS => {
                self.fingerprints.push(value.to_owned());
            }
            "setup" => {
                let row = SETUPS.iter().find(|(word, _)| *word == value);
                self.setup = row.map(|(_, setup)| *setup);
            }
            _ => {
                if let Some((word, _)) = DIRECTIONS.iter().find(|(word, _)| *word == name) {
                    self.direction = Some(word);
                }
            }
        }
    }
}

/// Reads the media lines; none where there is no text, or too much of it. What is said before the first line holds for
/// those that say nothing of their own.
#[must_use]
pub fn media(octets: &[u8]) -> Vec<Media> {
    let mut common = Media::default();
    let mut found: Vec<Media> = Vec::new();
    let text = Some(octets).filter(|octets| octets.len() <= MAX_LENGTH);
    let text = text.and_then(|octets| std::str::from_utf8(octets).ok());
    for line in text.unwrap_or_default().lines() {
        if let Some(value) = line.strip_prefix("m=") {
            if found.len() == MAX_MEDIA {
                break;
            }
            found.extend(media_line(value));
        } else if let Some(attribute) = line.strip_prefix("a=") {
            let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
            found
                .last_mut()
                .unwrap_or(&mut common)
                .attribute(name.trim(), value);
        }
    }
    for media in &mut found {
        media.setup = media.setup.or(common.setup);
        media.direction = media.direction.or(common.direction);
        if media.fingerprints.is_empty() {
            media.fingerprints.clone_from(&common.fingerprints);
        }
    }
    found
}

fn media_line(value: &str) -> Option<Media> {
    let mut words = value.trim().splitn(4, ' ');
    Some(Media {
        media: words.next()?.to_owned(),
        port: words.next()?.to_owned(),
        protocol: words.next()?.to_owned(),
        format: words.next().unwrap_or_default().to_owned(),
        ..Media::default()
    })
}

/// Our side of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Own {
    /// Messages in the dialog.
    Dialog {
        /// The media type of an offer; answers repeat that of the offer.
        word: &'static str,
        /// `null` in offers, our URI in answers.
        format: String,
        /// What we take.
        accept_types: String,
    },
    /// Messages over MSRP.
    Msrp(OwnMsrp),
}

/// Our side of an MSRP session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnMsrp {
    /// Over TLS.
    pub secure: bool,
    /// The port that we listen on; where we only connect, the discard port (RFC 4145 §4.1).
    pub port: u16,
    /// Our path, as it is written.
    pub path: String,
    /// What we take.
    pub accept_types: String,
    /// What we take inside wrappers.
    pub accept_wrapped_types: Option<String>,
    /// The longest message that we take, in octets.
    pub max_size: u64,
    /// Who connects.
    pub setup: Setup,
    /// Our certificate.
    pub fingerprint: Option<String>,
    /// What the room can do, where it is one.
    pub chatroom: Option<String>,
}

/// An offer. `version` rises when the description changes.
#[must_use]
pub fn offer(host: &str, version: u64, own: &Own) -> String {
    let (media, protocol) = match own {
        Own::Dialog { word, .. } => (*word, IN_DIALOG),
        Own::Msrp(msrp) => ("message", msrp.protocol()),
    };
    head(host, version) + &own.lines(media, protocol)
}

/// The answer to an offer: the line with that number is taken, every other one refused (RFC 3264 §6).
#[must_use]
pub fn answer(host: &str, version: u64, offered: &[Media], taken: usize, own: &Own) -> String {
    let mut out = head(host, version);
    for (index, media) in offered.iter().enumerate() {
        let Media {
            media: word,
            protocol,
            format,
            direction,
            ..
        } = media;
        if index == taken {
            out.push_str(&own.lines(word, protocol));
            let row = DIRECTIONS
                .iter()
                .find(|(said, _)| Some(*said) == *direction);
            if let Some((_, answer)) = row {
                out.push_str(&format!("a={answer}\r\n"));
            }
        } else {
            out.push_str(&format!("m={word} 0 {protocol} {format}\r\n"));
        }
    }
    out
}

impl Own {
    /// The media line and its attributes.
    fn lines(&self, media: &str, protocol: &str) -> String {
        match self {
            Self::Dialog {
                format,
                accept_types,
                ..
            } => {
                format!("m={media} {PORT} {protocol} {format}\r\na=accept-types:{accept_types}\r\n")
            }
            Self::Msrp(msrp) => msrp.lines(media, protocol),
        }
    }
}

impl OwnMsrp {
    fn protocol(&self) -> &'static str {
        let [(plain, _), (tls, _)] = MSRP;
        if self.secure { tls } else { plain }
    }

    fn lines(&self, media: &str, protocol: &str) -> String {
        let word = SETUPS.iter().find(|(_, setup)| *setup == self.setup);
        let word = word.map_or("active", |(word, _)| word);
        let mut out = format!("m={media} {} {protocol} *\r\n", self.port);
        let mut attribute =
            |name: &str, value: &str| out.push_str(&format!("a={name}:{value}\r\n"));
        attribute("accept-types", &self.accept_types);
        if let Some(types) = &self.accept_wrapped_types {
            attribute("accept-wrapped-types", types);
        }
        attribute("path", &self.path);
        attribute("max-size", &self.max_size.to_string());
        attribute("setup", word);
        attribute("connection", "new");
        if let Some(fingerprint) = &self.fingerprint {
            attribute("fingerprint", fingerprint);
        }
        if let Some(abilities) = &self.chatroom {
            attribute("chatroom", abilities);
        }
        out
    }
}

/// Everything before the first media line.
fn head(host: &str, version: u64) -> String {
    let family = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(_)) => "IP6",
        _ => "IP4",
    };
    format!(
        "v=0\r\no=- 0 {version} IN {family} {host}\r\ns=session\r\nc=IN {family} {host}\r\nt=0 0\r\n"
    )
}

#[cfg(test)]
mod tests;
