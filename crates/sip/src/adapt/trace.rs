//! The marks of the gateways that a request has crossed, in a header field of our own: `Via` and `Max-Forwards` begin anew
//! behind a gateway, and proxies pass on what they do not know (RFC 3261 §16.6).

use stox_core::vocab::Trace;

use crate::header::Headers;

const NAME: &str = "Stoxgate-Trace";

/// What the request has crossed.
#[must_use]
pub fn read(headers: &Headers) -> Trace {
    let marks: Vec<&str> = headers.values(NAME).take(Trace::MOST + 1).collect();
    Trace::parse(&marks.join(","))
}

/// Writes it down, where there is something to write.
pub fn write(headers: &mut Headers, trace: &Trace) {
    if !trace.is_empty() {
        headers.push(NAME, trace.to_string());
    }
}
