//! From one stanza per resource to one document per user: what an XMPP user shows to one SIP user.

use std::collections::BTreeMap;

use crate::vocab::{Document, ResourcePresence, Text, Tuple};

use super::{MAX_RESOURCES, activity_of, notes_kept};

/// The resources of one XMPP user, as far as she shows them to one SIP user.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resources {
    online: BTreeMap<String, ResourcePresence>,
    /// The tuple that stands for the user while she is offline: the resource that left last.
    offline: Option<Tuple>,
}

impl Resources {
    /// A resource is available, or has changed; no resource is the bare JID. The answer says whether the document is
    /// another one now. More than [`MAX_RESOURCES`] are not looked at.
    pub fn available(&mut self, resource: Option<&str>, mut presence: ResourcePresence) -> bool {
        presence.statuses = notes_kept(&presence.statuses);
        let resource = resource.unwrap_or_default();
        let known = self.online.get(resource);
        if known == Some(&presence) || (known.is_none() && self.online.len() >= MAX_RESOURCES) {
            return false;
        }
        self.online.insert(resource.to_owned(), presence);
        self.offline = None;
        true
    }

    /// A resource has left; the bare JID means all of them (RFC 6121 §4.3.2). The answer says whether the document is
    /// another one now.
    pub fn unavailable(&mut self, resource: Option<&str>, statuses: &[Text]) -> bool {
        let before = self.document();
        match resource {
            Some(resource) => {
                self.online.remove(resource);
            }
            None => self.online.clear(),
        }
        if self.online.is_empty() {
            let id = match (resource, &self.offline) {
                (Some(resource), _) => resource.to_owned(),
                (None, Some(offline)) => offline.id.clone(),
                (None, None) => last_id(before.as_ref()),
            };
            self.offline = Some(Tuple {
                id,
                open: Some(false),
                notes: notes_kept(statuses),
                ..Tuple::default()
            });
        }
        self.document() != before
    }

    /// Nothing is known any more.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Some resource is available.
    #[must_use]
    pub fn is_online(&self) -> bool {
        !self.online.is_empty()
    }

    /// The full state, a tuple for each available resource, or one closed tuple (PVAL-10 to PVAL-12); `None` while
    /// nothing is known.
    #[must_use]
    pub fn document(&self) -> Option<Document> {
        if self.online.is_empty() {
            return self.offline.clone().map(|tuple| Document {
                tuples: vec![tuple],
                ..Document::default()
            });
        }
        let leading = self
            .online
            .values()
            .max_by_key(|presence| presence.priority.unwrap_or_default())
            .and_then(|presence| presence.show)
            .and_then(activity_of);
        Some(Document {
            name: None,
            tuples: self.online.iter().map(open_tuple).collect(),
            activities: leading.map(str::to_owned).into_iter().collect(),
            notes: Vec::new(),
        })
    }

    /// The state with every tuple closed: what a watcher sees last (RFC 8048 §5.3.3).
    #[must_use]
    pub fn closed_document(&self) -> Document {
        let mut document = self.document().unwrap_or_default();
        if document.tuples.is_empty() {
            document.tuples.push(Tuple::default());
        }
        for tuple in &mut document.tuples {
            *tuple = Tuple {
                id: std::mem::take(&mut tuple.id),
                open: Some(false),
                ..Tuple::default()
            };
        }
        document.activities.clear();
        document
    }
}

fn last_id(before: Option<&Document>) -> String {
    before
        .and_then(|document| document.tuples.first())
        .map(|tuple| tuple.id.clone())
        .unwrap_or_default()
}

fn open_tuple((resource, presence): (&String, &ResourcePresence)) -> Tuple {
    let notes = presence
        .statuses
        .iter()
        .map(|status| Text {
            lang: status.lang.clone().or_else(|| presence.lang.clone()),
            text: status.text.clone(),
        })
        .collect();
    Tuple {
        id: resource.clone(),
        open: Some(true),
        show: presence.show,
        state: None,
        state_texts: Vec::new(),
        activities: presence
            .show
            .and_then(activity_of)
            .map(str::to_owned)
            .into_iter()
            .collect(),
        legacy_activities: Vec::new(),
        notes,
        // RFC 8048 Table 1 note 6: negative priorities are not mapped.
        priority: presence.priority.filter(|priority| *priority >= 0),
        since: presence.stamp,
        idle_since: presence.idle_since,
    }
}
