use super::{
    ConferenceInfo, Description, Endpoint, Extent, MAX_ENDPOINTS, MAX_ROSTER, MAX_USERS, User,
    Users,
};

/// What became of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is taken in.
    News,
    /// It is older than what is known, and changes nothing.
    Stale,
    /// Documents before it are missing: nothing is changed, and the whole state has to be asked for anew.
    Gap,
    /// The conference is over. What was known is forgotten.
    Ended,
}

/// What is known of one conference, by the documents of one subscription (RFC 4575 §4.6, §5.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    version: Option<u32>,
    known: bool,
    description: Option<Description>,
    user_count: Option<u32>,
    users: Vec<User>,
}

impl Roster {
    /// Takes a document in. Documents have to come in the order in which they were sent; a full one is always believed,
    /// whatever its number.
    pub fn apply(&mut self, info: ConferenceInfo) -> Applied {
        match info.extent {
            Extent::Deleted => {
                *self = Self::default();
                return Applied::Ended;
            }
            Extent::Full => *self = Self::default(),
            Extent::Partial => match self.follows(info.version) {
                Applied::News => {}
                other => return other,
            },
        }
        self.known = true;
        self.version = info.version;
        self.description = info.description.or_else(|| self.description.take());
        self.user_count = info.user_count.or(self.user_count);
        if let Some(users) = info.users {
            self.apply_users(users);
        }
        Applied::News
    }

    /// Whether a partial document is the next one. Behind one without a number any number may follow.
    fn follows(&self, version: Option<u32>) -> Applied {
        match (self.version, version) {
            _ if !self.known => Applied::Gap,
            (Some(last), Some(next)) if next == last.wrapping_add(1) => Applied::News,
            (Some(last), Some(next)) if next <= last => Applied::Stale,
            (None, Some(_)) => Applied::News,
            _ => Applied::Gap,
        }
    }

    fn apply_users(&mut self, users: Users) {
        if users.extent != Extent::Partial {
            self.users.clear();
        }
        if users.extent == Extent::Deleted {
            return;
        }
        for user in users.list {
            self.apply_user(user);
        }
        let mut octets = 0;
        let mut fits = |user: &User| {
            octets += weight(user);
            octets <= MAX_ROSTER
        };
        let kept = self.users.iter().map_while(|user| fits(user).then_some(()));
        let kept = kept.count();
        self.users.truncate(kept);
    }

    fn apply_user(&mut self, mut user: User) {
        let at = self.users.iter().position(|had| had.entity == user.entity);
        match (at, user.extent) {
            (Some(at), Extent::Deleted) => _ = self.users.remove(at),
            (None, Extent::Deleted) => {}
            (Some(at), Extent::Partial) => {
                if let Some(known) = self.users.get_mut(at) {
                    change_user(known, user);
                }
            }
            (at, _) => {
                user.extent = Extent::Full;
                let endpoints = std::mem::take(&mut user.endpoints);
                for endpoint in endpoints {
                    change_endpoint(&mut user.endpoints, endpoint);
                }
                put(&mut self.users, at, user, MAX_USERS);
            }
        }
    }

    /// Nothing was told yet, or the conference is over.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        !self.known
    }

    /// The number of the last document.
    #[must_use]
    pub fn version(&self) -> Option<u32> {
        self.version
    }

    /// What the conference is.
    #[must_use]
    pub fn description(&self) -> Option<&Description> {
        self.description.as_ref()
    }

    /// How many users there are, those included that are not listed, where that was told.
    #[must_use]
    pub fn user_count(&self) -> Option<u32> {
        self.user_count
    }

    /// All users, whether they are present or not, in the order in which they came.
    #[must_use]
    pub fn users(&self) -> &[User] {
        &self.users
    }
}

/// Puts an element in the place of the one before, or behind the others while there is room.
fn put<T>(list: &mut Vec<T>, at: Option<usize>, item: T, most: usize) {
    match at {
        Some(at) => {
            if let Some(known) = list.get_mut(at) {
                *known = item;
            }
        }
        None if list.len() < most => list.push(item),
        None => {}
    }
}

/// About how many octets a user costs.
fn weight(user: &User) -> usize {
    let name = user.display_text.as_ref().map_or(0, String::len);
    let roles: usize = user.roles.iter().map(String::len).sum();
    let endpoint = |endpoint: &Endpoint| {
        endpoint.entity.len() + endpoint.display_text.as_ref().map_or(0, String::len)
    };
    let endpoints: usize = user.endpoints.iter().map(endpoint).sum();
    user.entity.len() + name + roles + endpoints
}

fn change_user(known: &mut User, news: User) {
    known.display_text = news.display_text.or_else(|| known.display_text.take());
    if !news.roles.is_empty() {
        known.roles = news.roles;
    }
    for endpoint in news.endpoints {
        change_endpoint(&mut known.endpoints, endpoint);
    }
}

fn change_endpoint(endpoints: &mut Vec<Endpoint>, mut news: Endpoint) {
    let at = endpoints.iter().position(|had| had.entity == news.entity);
    match (at, news.extent) {
        (Some(at), Extent::Deleted) => _ = endpoints.remove(at),
        (None, Extent::Deleted) => {}
        (Some(at), Extent::Partial) => {
            if let Some(known) = endpoints.get_mut(at) {
                known.display_text = news.display_text.or_else(|| known.display_text.take());
                known.status = news.status.or(known.status);
            }
        }
        (at, _) => {
            news.extent = Extent::Full;
            put(endpoints, at, news, MAX_ENDPOINTS);
        }
    }
}
