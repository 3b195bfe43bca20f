use std::borrow::Cow;
use std::time::Duration;

use stox_core::vocab::{Rich, Text};

use super::Refusal;
use crate::adapt::is_named;
use crate::adapt::presence::first_language;
use crate::body::coding::{self, CodingError};
use crate::body::cpim::{self, Cpim};
use crate::body::imdn::{self, Imdn, Wanted};
use crate::body::iscomposing::{self, Composing};
use crate::body::multipart::{self, Part};
use crate::body::styled::Styled;
use crate::body::{html, ms_imdn, msgr, rtf, text};
use crate::header::{HeaderValue, MediaType, Params};

/// Wrappers inside wrappers.
const MAX_DEPTH: u8 = 4;
/// What a part without `Content-Type` is (RFC 2045 §5.2).
const DEFAULT_TYPE: &str = "text/plain";

/// The content types that are taken, best first, and what becomes of them. `Accept` is made from this table.
const TREATMENTS: [(&str, Treatment); 11] = [
    ("text/plain", Treatment::Plain),
    (cpim::CONTENT_TYPE, Treatment::Cpim),
    ("multipart/alternative", Treatment::Alternative),
    ("multipart/mixed", Treatment::Mixed),
    ("multipart/related", Treatment::Mixed),
    ("text/html", Treatment::Html),
    ("text/rtf", Treatment::Rtf),
    ("application/rtf", Treatment::Rtf),
    (iscomposing::CONTENT_TYPE, Treatment::Composing),
    (imdn::CONTENT_TYPE, Treatment::Disposition),
    (ms_imdn::CONTENT_TYPE, Treatment::ConferenceReport),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Treatment {
    Plain,
    Cpim,
    Alternative,
    Mixed,
    Html,
    Rtf,
    Composing,
    Disposition,
    ConferenceReport,
}

impl Treatment {
    /// In words.
    fn words(self) -> &'static str {
        match self {
            Self::Plain => "text, with its looks where a `msgr` parameter tells them",
            Self::Cpim => {
                "what is in it, with the subject, time and wishes for receipts that it names"
            }
            Self::Alternative => {
                "the best part that can be read, with the looks of the HTML or RTF part"
            }
            Self::Mixed => "all texts in it, one below the other",
            Self::Html | Self::Rtf => "text and looks",
            Self::Composing => "typing",
            Self::Disposition | Self::ConferenceReport => "receipt",
        }
    }
}

/// The content types that are taken, best first, each with what becomes of it in words.
pub fn treatments() -> impl Iterator<Item = (&'static str, &'static str)> {
    TREATMENTS
        .into_iter()
        .map(|(name, treatment)| (name, treatment.words()))
}

/// The value of `Accept` for MESSAGE (RFC 3261 §8.2.3).
pub fn accept() -> String {
    TREATMENTS.map(|(name, _)| name).join(", ")
}

/// A body with the header fields that describe it.
pub(super) struct Content<'a> {
    pub(super) media_type: Option<&'a str>,
    pub(super) encoding: Option<&'a str>,
    pub(super) language: Option<&'a str>,
    pub(super) octets: &'a [u8],
    /// It was inside a compressed body. There it may not be compressed once more.
    pub(super) inflated: bool,
}

/// What a body holds.
pub(super) enum Found {
    Text(ReadableText),
    Composing(Composing),
    /// One receipt, or several that were sent together.
    Disposition(Vec<Imdn>),
}

/// Text for a person, with what the wrappers around it said.
pub(super) struct ReadableText {
    pub(super) body: String,
    pub(super) rich: Option<Rich>,
    pub(super) language: Option<String>,
    pub(super) subject: Option<Text>,
    pub(super) sent_at: Option<Duration>,
    pub(super) wanted: Option<Wanted>,
}

/// Why a body cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unusable {
    NoType,
    Type,
    Encoding,
    TooLarge,
    Malformed(&'static str),
}

impl Unusable {
    pub(super) fn refusal(self) -> Refusal {
        let (status, reason, headers) = match self {
            Self::NoType => (400, "Missing Content-Type", vec![]),
            Self::Type => (415, "Unsupported Media Type", vec![("Accept", accept())]),
            Self::Encoding => (
                415,
                "Unsupported Content-Encoding",
                vec![("Accept-Encoding", coding::ACCEPTED.to_owned())],
            ),
            Self::TooLarge => (413, "Request Entity Too Large", vec![]),
            Self::Malformed(reason) => (400, reason, vec![]),
        };
        Refusal {
            status,
            reason,
            headers,
        }
    }
}

/// Reads the body of a request.
pub(super) fn read(content: &Content<'_>) -> Result<Found, Unusable> {
    let media_type = content.media_type.ok_or(Unusable::NoType)?;
    read_typed(content, media_type, 0)
}

/// COMPAT(linphone): its receipts come deflated.
fn read_typed(content: &Content<'_>, media_type: &str, depth: u8) -> Result<Found, Unusable> {
    if coding::is_plain(content.encoding) {
        return read_plain(content, media_type, depth);
    }
    if content.inflated {
        return Err(Unusable::Encoding);
    }
    let coding = content.encoding.unwrap_or_default();
    let octets: Cow<'_, [u8]> = coding::decode(content.octets, coding)?;
    let content = Content {
        encoding: None,
        octets: &octets,
        inflated: true,
        ..*content
    };
    read_plain(&content, media_type, depth)
}

fn read_plain(content: &Content<'_>, media_type: &str, depth: u8) -> Result<Found, Unusable> {
    if depth > MAX_DEPTH {
        return Err(Unusable::Malformed("Body Nested Too Deep"));
    }
    let media_type =
        MediaType::parse(media_type).map_err(|_| Unusable::Malformed("Malformed Content-Type"))?;
    let charset = media_type.params.text("charset");
    let charset = charset.as_deref();
    match treatment(&media_type).ok_or(Unusable::Type)? {
        Treatment::Plain => {
            let body = decode(content.octets, charset)?;
            Ok(content.text(plain(body, &media_type)))
        }
        Treatment::Html => {
            let source = decode(content.octets, charset)?;
            content.readable(html::read(&source).ok())
        }
        Treatment::Rtf => content.readable(rtf::read(content.octets).ok()),
        Treatment::Cpim => read_cpim(content, depth),
        Treatment::Alternative => read_alternative(content, &media_type, depth),
        Treatment::Mixed => read_mixed(content, &media_type, depth),
        Treatment::Composing => iscomposing::parse(content.octets, charset)
            .map(Found::Composing)
            .map_err(|_| Unusable::Malformed("Malformed isComposing Document")),
        Treatment::Disposition => imdn::parse(content.octets, charset)
            .map(|imdn| Found::Disposition(vec![imdn]))
            .map_err(|_| Unusable::Malformed("Malformed IMDN Document")),
        Treatment::ConferenceReport => ms_imdn::parse(content.octets, charset)
            .map(|imdn| Found::Disposition(vec![imdn]))
            .map_err(|_| Unusable::Malformed("Malformed IMDN Document")),
    }
}

impl From<CodingError> for Unusable {
    fn from(error: CodingError) -> Self {
        match error {
            CodingError::Unknown | CodingError::Damaged => Self::Encoding,
            CodingError::TooLarge => Self::TooLarge,
        }
    }
}

fn decode(octets: &[u8], charset: Option<&str>) -> Result<String, Unusable> {
    text::decode(octets, charset).map_err(|_| Unusable::Type)
}

/// COMPAT(OC, Lync, pidgin-sipe): the looks of a plain text are in a parameter.
fn plain(body: String, media_type: &MediaType) -> Styled {
    let style = media_type.params.text("msgr");
    let style = style.and_then(|parameter| msgr::read(&parameter));
    Styled::whole(body, style.unwrap_or_default())
}

fn treatment(media_type: &MediaType) -> Option<Treatment> {
    TREATMENTS
        .iter()
        .find(|(name, _)| is_named(media_type, name))
        .map(|&(_, treatment)| treatment)
}

/// Place in [`TREATMENTS`]; smaller is better.
fn rank(part: &Part<'_>) -> usize {
    let media_type = MediaType::parse(part.header("Content-Type").unwrap_or(DEFAULT_TYPE)).ok();
    let row = media_type.and_then(|found| {
        TREATMENTS
            .iter()
            .position(|(name, _)| is_named(&found, name))
    });
    row.unwrap_or(TREATMENTS.len())
}

impl Content<'_> {
    /// Reduced text. With nothing to read in it, the document is not said to be understood.
    fn readable(&self, styled: Option<Styled>) -> Result<Found, Unusable> {
        let styled = styled.filter(|styled| !styled.text.is_empty());
        styled.map(|found| self.text(found)).ok_or(Unusable::Type)
    }

    fn text(&self, styled: Styled) -> Found {
        Found::Text(ReadableText {
            body: styled.text,
            rich: styled.rich,
            language: self.language.map(str::to_owned),
            subject: None,
            sent_at: None,
            wanted: None,
        })
    }
}

fn read_part(part: &Part<'_>, outer: &Content<'_>, depth: u8) -> Result<Found, Unusable> {
    let octets = part.content().ok_or(Unusable::Encoding)?;
    let content = Content {
        media_type: part.header("Content-Type"),
        encoding: part.header("Content-Encoding"),
        language: part
            .header("Content-Language")
            .and_then(first_language)
            .or(outer.language),
        octets: &octets,
        inflated: outer.inflated,
    };
    read_typed(
        &content,
        content.media_type.unwrap_or(DEFAULT_TYPE),
        depth + 1,
    )
}

fn read_cpim(content: &Content<'_>, depth: u8) -> Result<Found, Unusable> {
    let cpim =
        Cpim::parse(content.octets).map_err(|_| Unusable::Malformed("Malformed CPIM Message"))?;
    let mut found = read_part(&cpim.content, content, depth)?;
    if let Found::Text(text) = &mut found {
        let subject = cpim.subject().map(|(lang, subject)| Text {
            lang: lang
                .and_then(text::language_tag)
                .map(str::to_owned)
                .or_else(|| text.language.clone()),
            text: text::one_line(&subject),
        });
        text.subject = subject.or(text.subject.take());
        text.sent_at = cpim.sent_at().or(text.sent_at);
        text.wanted = cpim.wanted().or(text.wanted.take());
    }
    Ok(found)
}

fn parts<'a>(content: &Content<'a>, media_type: &MediaType) -> Result<Vec<Part<'a>>, Unusable> {
    let boundary = media_type.params.text("boundary").unwrap_or_default();
    multipart::parse(content.octets, &boundary)
        .map_err(|_| Unusable::Malformed("Malformed Multipart"))
}

/// The best part that can be used and is not blank; of equal ones the last, as the sender prefers it (RFC 2046
/// §5.1.4). Its looks are those of the richest part that has the same words.
fn read_alternative(
    content: &Content<'_>,
    media_type: &MediaType,
    depth: u8,
) -> Result<Found, Unusable> {
    let mut parts = parts(content, media_type)?;
    parts.reverse();
    parts.sort_by_key(rank);
    let mut blank = None;
    for part in &parts {
        match read_part(part, content, depth) {
            Ok(Found::Text(text)) if text.body.trim().is_empty() => blank = Some(Found::Text(text)),
            Ok(Found::Text(mut text)) => {
                text.rich = richest(&parts, &text.body, (content, depth)).or(text.rich);
                return Ok(Found::Text(text));
            }
            Ok(state) => return Ok(state),
            Err(_) => {}
        }
    }
    blank.ok_or(Unusable::Type)
}

/// The styled form of that text in the last HTML part, or else in the last RTF part. A part that says something else
/// is left aside: nobody reads what others do not see.
fn richest(parts: &[Part<'_>], body: &str, (outer, depth): (&Content<'_>, u8)) -> Option<Rich> {
    let styled = |wanted| {
        let part = parts
            .iter()
            .find(|part| kind(part).is_some_and(|found| found == wanted))?;
        match read_part(part, outer, depth) {
            Ok(Found::Text(text)) => text.rich.filter(|rich| rich.says(body)),
            _ => None,
        }
    };
    styled(Treatment::Html).or_else(|| styled(Treatment::Rtf))
}

fn kind(part: &Part<'_>) -> Option<Treatment> {
    treatment(&MediaType::parse(part.header("Content-Type")?).ok()?)
}

/// All texts, one after the other. Parts that cannot be shown are passed over, unless the sender says outright that
/// they have to be understood (RFC 3261 §20.11).
fn read_mixed(content: &Content<'_>, media_type: &MediaType, depth: u8) -> Result<Found, Unusable> {
    let mut texts: Option<ReadableText> = None;
    let mut state = None;
    let mut receipts = Vec::new();
    for part in parts(content, media_type)? {
        match read_part(&part, content, depth) {
            Ok(Found::Text(text)) => match &mut texts {
                None => texts = Some(text),
                Some(first) => first.append(&text),
            },
            // COMPAT(linphone): receipts that came together.
            Ok(Found::Disposition(more)) => receipts.extend(more),
            Ok(other) => state = state.or(Some(other)),
            Err(unusable) if is_required(&part) => return Err(unusable),
            Err(_) => {}
        }
    }
    let receipts = (!receipts.is_empty()).then_some(Found::Disposition(receipts));
    texts
        .map(Found::Text)
        .or(state)
        .or(receipts)
        .ok_or(Unusable::Type)
}

impl ReadableText {
    fn append(&mut self, next: &Self) {
        // Looks of one piece are not the looks of the whole.
        self.rich = None;
        self.body.push('\n');
        self.body.push_str(&next.body);
        if self.language != next.language {
            self.language = None;
        }
    }
}

fn is_required(part: &Part<'_>) -> bool {
    let disposition = part.header("Content-Disposition").unwrap_or_default();
    let (_, params) = disposition.split_once(';').unwrap_or_default();
    let handling = Params::parse(params).ok();
    let handling = handling.as_ref().and_then(|params| params.text("handling"));
    handling.is_some_and(|value| value.eq_ignore_ascii_case("required"))
}
