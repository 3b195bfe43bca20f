//! Session descriptions as far as instant messages need them (RFC 4566, RFC 3264): the media lines, and what they take.

use std::net::IpAddr;

/// Content type of a session description.
pub const CONTENT_TYPE: &str = "application/sdp";
/// Media lines that are looked at.
const MAX_MEDIA: usize = 16;
/// Octets that are looked at.
const MAX_LENGTH: usize = 16_384;
/// The protocol of sessions whose messages travel in the SIP dialog itself.
const IN_DIALOG: &str = "sip";
/// The media types of such sessions: of OCS and its heirs, and of LCS 2005.
const WORDS: [&str; 2] = ["message", "x-ms-message"];
/// The port of such sessions, which means nothing (but must not be 0, which refuses).
const PORT: u16 = 5060;

/// One `m=` line and its `a=accept-types`.
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

impl Media {
    /// Instant messages inside the SIP dialog.
    #[must_use]
    pub fn is_in_dialog(&self) -> bool {
        self.port != "0"
            && self.protocol.eq_ignore_ascii_case(IN_DIALOG)
            && WORDS.iter().any(|word| self.media == *word)
    }
}

/// Reads the media lines; none where there is no text, or too much of it.
#[must_use]
pub fn media(octets: &[u8]) -> Vec<Media> {
    let mut found: Vec<Media> = Vec::new();
    let text = Some(octets).filter(|octets| octets.len() <= MAX_LENGTH);
    let text = text.and_then(|octets| std::str::from_utf8(octets).ok());
    for line in text.unwrap_or_default().lines() {
        if let Some(value) = line.strip_prefix("m=") {
            if found.len() == MAX_MEDIA {
                break;
            }
            found.extend(media_line(value));
        } else if let Some(types) = line.strip_prefix("a=accept-types:")
            && let Some(last) = found.last_mut()
        {
            last.accept_types = Some(types.trim().to_owned());
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
        accept_types: None,
    })
}

/// An offer of a session whose messages travel in the dialog.
#[must_use]
pub fn offer(host: &str, word: &str, accept_types: &str) -> String {
    format!(
        "{}m={word} {PORT} {IN_DIALOG} null\r\na=accept-types:{accept_types}\r\n",
        head(host)
    )
}

/// The answer to an offer: its first line of that kind is taken, by `uri`, every other one refused (RFC 3264 §6).
/// `None` when there is nothing to take.
#[must_use]
pub fn answer(offered: &[Media], host: &str, uri: &str, accept_types: &str) -> Option<String> {
    let taken = offered.iter().position(Media::is_in_dialog)?;
    let mut out = head(host);
    for (index, media) in offered.iter().enumerate() {
        let Media {
            media,
            protocol,
            format,
            ..
        } = media;
        if index == taken {
            out.push_str(&format!("m={media} {PORT} {protocol} {uri}\r\n"));
            out.push_str(&format!("a=accept-types:{accept_types}\r\n"));
        } else {
            out.push_str(&format!("m={media} 0 {protocol} {format}\r\n"));
        }
    }
    Some(out)
}

/// Everything before the first media line. The origin never changes, so that the same description is the same version.
fn head(host: &str) -> String {
    let family = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(_)) => "IP6",
        _ => "IP4",
    };
    format!("v=0\r\no=- 0 0 IN {family} {host}\r\ns=session\r\nc=IN {family} {host}\r\nt=0 0\r\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offered(lines: &str) -> Vec<Media> {
        media(format!("v=0\r\ns=-\r\n{lines}").as_bytes())
    }

    #[test]
    fn sessions_in_the_dialog_are_told_from_others() {
        let rows = [
            ("m=message 5060 sip null", true),
            ("m=x-ms-message 5060 sip null", true),
            ("m=message 5060 SIP sip:a@b", true),
            ("m=message 0 sip null", false),
            ("m=message 7313 TCP/MSRP *", false),
            ("m=audio 30000 RTP/AVP 0", false),
            ("m=message", false),
        ];
        for (line, usable) in rows {
            assert_eq!(
                offered(line).iter().any(Media::is_in_dialog),
                usable,
                "{line}"
            );
        }
    }

    #[test]
    fn an_answer_mirrors_the_word_and_refuses_other_lines() {
        let lines = offered(
            "m=audio 30000 RTP/AVP 0\r\nm=x-ms-message 5060 sip null\r\na=accept-types:text/plain text/rtf\r\n",
        );
        assert_eq!(
            lines[1].accept_types.as_deref(),
            Some("text/plain text/rtf")
        );
        let answer = answer(&lines, "gw.example", "sip:a@jabber.example", "text/plain").unwrap();
        assert!(answer.contains("\r\nc=IN IP4 gw.example\r\n"));
        assert!(answer.ends_with(
            "m=audio 0 RTP/AVP 0\r\nm=x-ms-message 5060 sip sip:a@jabber.example\r\na=accept-types:text/plain\r\n"
        ));
        assert_eq!(
            super::answer(&[], "gw.example", "sip:a@b", "text/plain"),
            None
        );
        assert!(media(super::offer("::1", "message", "text/plain").as_bytes())[0].is_in_dialog());
    }

    proptest! {
        #[test]
        fn any_octets_are_read_and_answers_keep_the_number_of_lines(octets in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(media(&octets).len() <= MAX_MEDIA);
        }

        #[test]
        fn answers_have_the_lines_of_their_offer(lines in prop::collection::vec("m=[a-z-]{1,12} [0-9]{1,5} (sip|RTP/AVP|TCP/MSRP) [a-z0-9*]{1,8}\r\n", 0..20)) {
            let offered = media(lines.concat().as_bytes());
            if let Some(answer) = answer(&offered, "h", "sip:u@h", "text/plain") {
                prop_assert_eq!(media(answer.as_bytes()).len(), offered.len());
            }
        }
    }
}
