//! What was learnt of each domain whose rule is `auto`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use stox_core::address::canonical_domain;
use stox_core::vocab::Lesson;

use super::{Behaviour, Evidence, ImMode, Profile, Rule, Weight, Word};

/// A lesson holds this long against another one of the same weight: the users of one domain have clients of several
/// ages, but a server that was replaced shall be noticed.
const HOLDS: Duration = Duration::from_secs(24 * 3600);

/// What is known of one domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learned {
    /// The domain, canonical.
    pub domain: String,
    /// The profile that it was found to be.
    pub profile: Profile,
    /// The way of messages, where its answers taught another one than the profile's.
    pub im: Option<ImMode>,
    /// What taught it, for people.
    pub evidence: String,
    /// What that is worth.
    pub weight: Weight,
}

impl From<&Learned> for Lesson {
    fn from(learned: &Learned) -> Self {
        Self {
            domain: learned.domain.clone(),
            dialect: learned.profile.word().to_owned(),
            im: learned.im.map(|im| im.word().to_owned()),
            evidence: learned.evidence.clone(),
            weight: learned.weight.word().to_owned(),
        }
    }
}

impl Learned {
    /// What a lesson of an earlier run says; `None` when it is in words of another release.
    #[must_use]
    pub fn of(lesson: &Lesson) -> Option<Self> {
        Some(Self {
            domain: lesson.domain.clone(),
            profile: Profile::from_word(&lesson.dialect)?,
            im: lesson.im.as_deref().and_then(ImMode::from_word),
            evidence: lesson.evidence.clone(),
            weight: Weight::from_word(&lesson.weight)?,
        })
    }
}

/// All domains of which something is known.
#[derive(Debug, Default)]
pub struct Dialects {
    known: BTreeMap<String, Known>,
    /// Lessons that nobody has been told yet.
    news: VecDeque<Learned>,
}

#[derive(Debug)]
struct Known {
    learned: Learned,
    /// When it was last seen to be so.
    confirmed: Duration,
}

impl Dialects {
    /// Takes up what an earlier run has learnt.
    pub fn restore(&mut self, learned: Learned, now: Duration) {
        let known = Known {
            confirmed: now,
            learned,
        };
        self.known.insert(known.learned.domain.clone(), known);
    }

    /// How the peer of this domain behaves, under its rule.
    #[must_use]
    pub fn behaviour(&self, domain: &str, rule: &Rule) -> Behaviour {
        let learned = self.learned(domain).filter(|_| rule.profile.is_none());
        let mut behaviour = self.profile(domain, rule).row().behaviour.clone();
        // Who has to find out tries both.
        behaviour.im_fallback |= rule.profile.is_none();
        if let Some(im) = learned.and_then(|learned| learned.im) {
            behaviour.im = im;
        }
        rule.overrides.apply(behaviour)
    }

    /// The kind of server: the rule's, or the one that was found.
    #[must_use]
    pub fn profile(&self, domain: &str, rule: &Rule) -> Profile {
        rule.profile
            .or_else(|| self.learned(domain).map(|learned| learned.profile))
            .unwrap_or(Profile::Simple)
    }

    /// What was learnt of a domain.
    #[must_use]
    pub fn learned(&self, domain: &str) -> Option<&Learned> {
        self.known
            .get(&canonical_domain(domain))
            .map(|known| &known.learned)
    }

    /// All that was learnt.
    pub fn all(&self) -> impl Iterator<Item = &Learned> {
        self.known.values().map(|known| &known.learned)
    }

    /// Nothing is known of a domain any more.
    pub fn forget(&mut self, domain: &str) {
        self.known.remove(&canonical_domain(domain));
    }

    /// A message of the domain showed this.
    pub fn observe(&mut self, domain: &str, evidence: Evidence, now: Duration) {
        let domain = canonical_domain(domain);
        let mut im = None;
        if let Some(known) = self.known.get_mut(&domain) {
            let old = known.confirmed.saturating_add(HOLDS) <= now;
            let had = known.learned.weight;
            if known.learned.profile == evidence.profile {
                known.confirmed = now;
                im = known.learned.im;
                if evidence.weight <= had {
                    return;
                }
            } else if evidence.weight < had || (evidence.weight == had && !old) {
                return;
            }
        }
        let learned = Learned {
            domain,
            profile: evidence.profile,
            im,
            evidence: format!("{} in {}", evidence.sign, evidence.seen_in),
            weight: evidence.weight,
        };
        self.keep(learned, now);
    }

    /// The domain took messages this way after it had refused the other way with `status`.
    pub fn answered(&mut self, domain: &str, took: ImMode, status: u16, now: Duration) {
        let refused = match took {
            ImMode::Page => ImMode::Session,
            ImMode::Session => ImMode::Page,
        };
        let text = format!(
            "took {} messages, refused {} with {status}",
            took.word(),
            refused.word()
        );
        let profile = self.learned(domain).map(|learned| learned.profile);
        let profile = profile.unwrap_or(match took {
            ImMode::Page => Profile::Simple,
            ImMode::Session => Profile::Ocs2007R2,
        });
        let weight = self
            .learned(domain)
            .map_or(Weight::Answer, |learned| learned.weight);
        let learned = Learned {
            domain: canonical_domain(domain),
            profile,
            im: Some(took),
            evidence: text,
            weight,
        };
        self.keep(learned, now);
    }

    /// The next lesson, once.
    pub fn poll_news(&mut self) -> Option<Learned> {
        self.news.pop_front()
    }

    fn keep(&mut self, learned: Learned, now: Duration) {
        let before = self.known.get(&learned.domain);
        if before.is_none_or(|known| known.learned != learned) {
            self.news.push_back(learned.clone());
        }
        let confirmed = now;
        self.known
            .insert(learned.domain.clone(), Known { learned, confirmed });
    }
}
