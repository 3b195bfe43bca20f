//! The marks of the gateways that a stanza has crossed, in an element of our own: servers and clients pass over what they do
//! not know (RFC 6120 §8.4).

use minidom::Element;
use stox_core::vocab::Trace;

use super::xml;

const NS: &str = "stoxgate:trace:0";
const NAME: &str = "trace";

/// What the stanza has crossed.
pub(super) fn read(stanza: &Element) -> Trace {
    stanza
        .get_child(NAME, NS)
        .map(|trace| Trace::parse(&trace.text()))
        .unwrap_or_default()
}

/// Writes it down, where there is something to write.
pub(super) fn write(stanza: &mut Element, trace: &Trace) {
    if !trace.is_empty() {
        let mut element = Element::bare(NAME, NS);
        xml::add_text(&mut element, &trace.to_string());
        stanza.append_child(element);
    }
}
