//! The end of a connection on which the other side may still write.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// What a peer may go on saying behind our last word.
const OCTETS: usize = 1 << 20;
/// For how long.
const MOMENT: Duration = Duration::from_secs(1);

/// Reads on without looking until the other side ends, or for a moment. A connection that is closed with octets unread is
/// reset, and a reset takes our last word away from a peer that has not read it yet.
pub(crate) async fn linger(reader: &mut (impl AsyncRead + Unpin)) {
    let mut sink = vec![0; 4096];
    let drain = async {
        let mut left = OCTETS;
        while left > 0 {
            match reader.read(&mut sink).await {
                Ok(count) if count > 0 => left = left.saturating_sub(count),
                _ => return,
            }
        }
    };
    _ = timeout(MOMENT, drain).await;
}
