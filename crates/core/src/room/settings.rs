//! What an operator may set of rooms, and what must never grow without bound.

use std::time::Duration;

/// The settings of rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Rooms are offered at all.
    pub enabled: bool,
    /// Most messages of a room's past that a SIP user is told when he enters.
    pub history: u32,
    /// How long entering may take. Well below Timer C of the proxies before us (RFC 3261 §16.6 step 11).
    pub enter_within: Duration,
    /// A room that has been silent for so long is asked whether the SIP user is still in it (XEP-0410).
    pub check_after: Duration,
    /// Users in rooms at one time, for either direction; more are refused for now.
    pub max_legs: usize,
    /// Rooms that one user may be in at one time.
    pub max_legs_per_user: usize,
    /// Occupants of one room that are told; more are not seen.
    pub max_occupants: usize,
    /// Occupants of all rooms and legs, for either direction; more are not seen.
    pub max_occupants_overall: usize,
    /// Messages of one user in one room without an outcome, each way; more are refused for now.
    pub max_pending: usize,
    /// Invitations under way at one time; more are refused for now.
    pub max_invitations: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            history: 20,
            enter_within: Duration::from_secs(30),
            check_after: Duration::from_secs(900),
            max_legs: 2000,
            max_legs_per_user: 20,
            max_occupants: 500,
            max_occupants_overall: 200_000,
            max_pending: 100,
            max_invitations: 200,
        }
    }
}
