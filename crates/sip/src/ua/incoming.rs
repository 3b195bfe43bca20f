//! Requests that the transaction layer cannot take.

use crate::message::{Request, Response};
use crate::transport::{Destination, Source, Transmit};

/// What a response repeats of its request (RFC 3261 §8.2.6.2).
const REPEATED: [&str; 5] = ["Via", "From", "To", "Call-ID", "CSeq"];

/// Whether `Via` and `CSeq` can be read, on which transactions are built (RFC 3261 §17.2.3).
pub(super) fn has_transaction(request: &Request) -> bool {
    request.headers.top_via().is_ok() && request.headers.cseq().is_ok()
}

/// Whether all that an answer repeats is there, right or wrong.
pub(super) fn is_answerable(request: &Request) -> bool {
    let has = |name| {
        request
            .headers
            .get(name)
            .is_some_and(|value| !value.is_empty())
    };
    REPEATED.into_iter().all(has)
}

/// A response to where its request came from, and to nowhere that the request names.
pub(super) fn straight_back(source: &Source, response: &Response) -> Transmit {
    let destination = if source.transport.row().reliable {
        Destination::Connection(source.flow)
    } else {
        Destination::Datagram {
            socket: Some(source.flow),
            remote: source.remote,
        }
    };
    Transmit {
        destination,
        bytes: response.to_bytes(),
    }
}
