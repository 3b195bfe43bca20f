use std::time::Duration;

use stox_core::vocab::{Document, State, Text, Tuple};

use super::{CONTACT_CARD, NAMESPACE, NOTE, SCHEMA_INSTANCE, STATE, language_of};
use crate::body::document::{self, DocumentError};
use crate::body::time;
use crate::body::xml::{self, Element};

/// What a document says; `None` where it does not speak of a thing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Categories {
    /// The presentity as written.
    pub entity: String,
    /// The state, with the peer's own words for it.
    pub state: Option<(State, Vec<Text>)>,
    /// The notes; empty when they were taken away.
    pub notes: Option<Vec<Text>>,
    /// The display name.
    pub name: Option<String>,
}

impl Categories {
    /// The full state, with what this document leaves out taken from the one before. A document that has never told a
    /// state says nothing about being open.
    #[must_use]
    pub fn complete(self, before: Option<&Document>) -> Document {
        let nothing = Tuple {
            id: document::WHOLE_USER.to_owned(),
            ..Tuple::default()
        };
        let known = before.and_then(|document| document.tuples.first());
        let mut tuple = match (self.state, known) {
            (Some((state, state_texts)), _) => Tuple {
                state_texts,
                ..document::stated(state)
            },
            (None, Some(known)) => known.clone(),
            (None, None) => nothing,
        };
        tuple.notes = self
            .notes
            .or_else(|| known.map(|known| known.notes.clone()))
            .unwrap_or_default();
        Document {
            name: self
                .name
                .or_else(|| before.and_then(|document| document.name.clone())),
            tuples: vec![tuple],
            ..Document::default()
        }
    }
}

/// Reads a document.
///
/// # Errors
/// [`DocumentError`].
pub fn parse(octets: &[u8], charset: Option<&str>) -> Result<Categories, DocumentError> {
    let root = xml::parse(octets, charset)?;
    if !root.is(NAMESPACE, "categories") {
        return Err(DocumentError::WrongRoot);
    }
    Ok(Categories {
        entity: document::entity(root.attribute("uri"))?,
        state: state(&root),
        notes: notes(&root),
        name: named(&root, "contactCard").find_map(display_name),
    })
}

fn named<'a>(root: &'a Element, name: &'static str) -> impl Iterator<Item = &'a Element> {
    root.children_named(NAMESPACE, "category")
        .filter(move |category| category.attribute("name") == Some(name))
}

// --------------------------------------------------------------------------------------------- state

/// Who has found a state out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The server, from all others.
    Aggregate,
    /// The user, by hand.
    User,
    /// A device.
    Machine,
    /// A telephone or the calendar.
    Occasion,
}

const ORIGINS: [(&str, Origin); 5] = [
    ("aggregateState", Origin::Aggregate),
    ("userState", Origin::User),
    ("machineState", Origin::Machine),
    ("phoneState", Origin::Occasion),
    ("calendarState", Origin::Occasion),
];

struct Instance {
    origin: Origin,
    published: Option<Duration>,
    /// `None` where no number is said.
    availability: Option<u32>,
    state: State,
    texts: Vec<Text>,
}

/// The state of the user: what the server has aggregated, else what follows from the rest. `None` where no category
/// is about state; a state that was taken away is unknown.
fn state(root: &Element) -> Option<(State, Vec<Text>)> {
    let mut categories = named(root, "state").peekable();
    categories.peek()?;
    let mut instances: Vec<Instance> = categories.filter_map(instance).collect();
    // The newest first.
    instances.sort_by_key(|instance| std::cmp::Reverse(instance.published));
    let chosen = aggregate(&instances);
    Some(chosen.map_or((State::Unknown, Vec::new()), |instance| {
        (instance.state, instance.texts.clone())
    }))
}

fn instance(category: &Element) -> Option<Instance> {
    let element = category.child(STATE, "state")?;
    let origin = element
        .attribute_ns(SCHEMA_INSTANCE, "type")
        .and_then(|written| {
            let local = written.trim().rsplit(':').next()?;
            ORIGINS.iter().find(|(name, _)| *name == local)
        })
        // One that says nothing comes from somebody who has only this one.
        .map_or(Origin::Aggregate, |(_, origin)| *origin);
    let activity = element.child(STATE, "activity");
    let token = activity
        .and_then(|activity| activity.attribute("token"))
        .map(str::trim)
        .filter(|token| !token.is_empty());
    let availability = element
        .child(STATE, "availability")
        .and_then(Element::simple_text)
        .and_then(|number| number.parse::<u32>().ok());
    let state = match availability {
        Some(number) => State::of_availability(number, token),
        None => token.and_then(State::of_token).unwrap_or(State::Unknown),
    };
    Some(Instance {
        origin,
        published: category
            .attribute("publishTime")
            .and_then(time::parse_zoneless),
        availability,
        state,
        texts: activity.map(custom_texts).unwrap_or_default(),
    })
}

/// The user's own words for the activity, by language.
fn custom_texts(activity: &Element) -> Vec<Text> {
    let text = |custom: &Element| {
        let mut text = document::plain_text(custom.simple_text()?)?;
        let identifier = custom.attribute("LCID").unwrap_or_default();
        text.lang = language_of(identifier).map(str::to_owned);
        Some(text)
    };
    activity
        .children_named(STATE, "custom")
        .filter_map(text)
        .collect()
}

/// From several instances the one that speaks for the user: the server's aggregate; else what the user has set by
/// hand, unless every device is off; else the most available device, or a call or appointment that keeps the user of
/// that device busy.
fn aggregate(newest_first: &[Instance]) -> Option<&Instance> {
    let of = |origin| {
        newest_first
            .iter()
            .filter(move |instance| instance.origin == origin)
    };
    if let Some(aggregate) = of(Origin::Aggregate).next() {
        return Some(aggregate);
    }
    let number = |instance: &&Instance| instance.availability.unwrap_or(u32::MAX);
    let device = of(Origin::Machine)
        .filter(|machine| machine.state != State::Unknown)
        .min_by_key(number);
    let off = device.filter(|machine| !machine.state.is_open());
    let by_hand = of(Origin::User).find(|user| user.state != State::Unknown);
    if let Some(spoken) = off.or(by_hand) {
        return Some(spoken);
    }
    let occasion = of(Origin::Occasion)
        .filter(|occasion| (6000..12_000).contains(&number(occasion)))
        .max_by_key(number);
    match (device, occasion) {
        (Some(device), Some(occasion)) if number(&device) < number(&occasion) => Some(occasion),
        (Some(device), _) => Some(device),
        (None, occasion) => occasion,
    }
}

// ---------------------------------------------------------------------------------------------- rest

/// The note published last; of two of one time the out-of-office note. `None` where no category is about notes.
fn notes(root: &Element) -> Option<Vec<Text>> {
    let mut categories = named(root, "note").peekable();
    categories.peek()?;
    let bodies = categories.filter_map(|category| {
        let body = category.child(NOTE, "note")?.child(NOTE, "body")?;
        let text = document::plain_text(body.simple_text()?)?;
        let published = category
            .attribute("publishTime")
            .and_then(time::parse_zoneless);
        let absent = body.attribute("type") == Some("OOF");
        Some(((published, absent), text))
    });
    let newest = bodies.max_by_key(|(rank, _)| *rank);
    Some(newest.map(|(_, text)| text).into_iter().collect())
}

fn display_name(category: &Element) -> Option<String> {
    let identity = category
        .child(CONTACT_CARD, "contactCard")?
        .child(CONTACT_CARD, "identity")?;
    let name = identity
        .child(CONTACT_CARD, "name")?
        .child(CONTACT_CARD, "displayName")?;
    document::name(name.simple_text()?)
}
