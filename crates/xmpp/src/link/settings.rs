//! How much a link holds and how long it waits.

use std::time::Duration;

/// Limits and times of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Most stanzas kept, written or not. Error reports and subscriptions may use a quarter more.
    pub queue: usize,
    /// Most octets kept, with the same reserve.
    pub queue_octets: usize,
    /// Most octets written and not passed by a fence; one stanza always may. Keeps a round trip short on a partner that
    /// limits its reading rate.
    pub window_octets: usize,
    /// Most octets of one stanza, as it is written. A partner may announce less (XEP-0478); the recipient's server may
    /// take less from or for its clients without saying so. RFC 6120 §13.12 lets everybody write 10 000.
    pub stanza_octets: usize,
    /// How long a stanza with a reference may take when it names no deadline and is no error.
    pub message_wait: Duration,
    /// The same for all others.
    pub presence_wait: Duration,
    /// How long an answer to a fence may take.
    pub fence_timeout: Duration,
    /// Unanswered fences in a row that mean a dead stream.
    pub missed_fences: u32,
    /// How long stanzas without reference wait for company before a fence is written for them.
    pub fence_delay: Duration,
    /// How long an answer to a fence may still take when the partner has logged in by SASL EXTERNAL, until another fence is
    /// written.
    pub login_settles: Duration,
    /// How often a stanza is written again after streams were lost under it.
    pub resend: u32,
    /// First delay before a stream is tried again; doubles each time.
    pub retry_min: Duration,
    /// Longest delay.
    pub retry_max: Duration,
    /// Longest delay while somebody waits for the fate of a stanza. Well inside [`Self::message_wait`], so that a message that
    /// comes when a partner has just come back is not given up untried.
    pub retry_wanted: Duration,
    /// How long a lasting failure is answered from memory.
    pub negative_cache: Duration,
    /// A fence is written on a stream that has been quiet for so long.
    pub keepalive: Duration,
    /// A stream without stanzas is closed after so long.
    pub idle: Duration,
    /// The stream ends at a server that carries the stanzas on (XEP-0114). When it cannot reach the partner it answers in
    /// the partner's name, and what it says of the fence tells nothing of what it had carried on before.
    pub routed: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queue: 1_000,
            queue_octets: 10 * 1024 * 1024,
            window_octets: 64 * 1024,
            stanza_octets: 64 * 1024,
            message_wait: Duration::from_secs(15),
            presence_wait: Duration::from_secs(600),
            fence_timeout: Duration::from_secs(10),
            missed_fences: 2,
            fence_delay: Duration::from_secs(1),
            login_settles: Duration::from_secs(2),
            resend: 3,
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(300),
            retry_wanted: Duration::from_secs(5),
            negative_cache: Duration::from_secs(30),
            keepalive: Duration::from_secs(120),
            idle: Duration::from_secs(600),
            routed: false,
        }
    }
}
