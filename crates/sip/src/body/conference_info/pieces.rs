use super::write::write_user;
use super::{ConferenceInfo, Extent, Users};
use crate::body::xml::MAX_OCTETS;

/// Octets of users in one piece. The rest of what a document may have is for all that is not users.
const PIECE: usize = MAX_OCTETS / 2;

/// Takes a document apart into documents that are small enough to be read, with versions that follow each other: the
/// first tells what the whole one told but for the later users, each other one tells more users. Users of one piece are
/// never zero, except where there are none.
#[must_use]
pub fn pieces(mut info: ConferenceInfo) -> Vec<ConferenceInfo> {
    let Some(users) = info.users.take() else {
        return vec![info];
    };
    let (entity, first) = (info.entity.clone(), info.version);
    let mut lists = split(users.list).into_iter();
    info.users = Some(Users {
        extent: users.extent,
        list: lists.next().unwrap_or_default(),
    });
    let later = lists.zip(1_u32..).map(|(list, number)| ConferenceInfo {
        entity: entity.clone(),
        extent: Extent::Partial,
        version: first.map(|first| first.wrapping_add(number)),
        users: Some(Users {
            extent: Extent::Partial,
            list,
        }),
        ..ConferenceInfo::default()
    });
    let later: Vec<ConferenceInfo> = later.collect();
    let mut all = vec![info];
    all.extend(later);
    all
}

fn split(users: Vec<super::User>) -> Vec<Vec<super::User>> {
    let mut lists: Vec<Vec<super::User>> = Vec::new();
    let mut room = 0;
    let mut written = String::new();
    for user in users {
        written.clear();
        write_user(&mut written, &user);
        match lists.last_mut().filter(|_| written.len() <= room) {
            Some(list) => list.push(user),
            None => {
                lists.push(vec![user]);
                room = PIECE;
            }
        }
        room = room.saturating_sub(written.len());
    }
    lists
}
