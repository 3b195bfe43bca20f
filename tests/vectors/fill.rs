//! `{{name}}` in a vector's texts: values from what the gateway has sent.

use crate::output::Output;
use crate::sip_path;
use crate::sip_text::{self, SipText};
use crate::world::World;

/// What stands for a value that the gateway has not given.
const NONE: &str = "none";
const GATEWAY: &str = "sip:gw.jabber.example:5061;transport=tls";

fn header_line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (have, value) = line.split_once(':')?;
        have.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// The request of the gateway that the text is about: the one that it answers, else the one that began the dialog.
fn request<'a>(world: &'a World, text: &str) -> Option<&'a SipText> {
    let requests = || world.outputs.iter().rev().filter_map(Output::request);
    let cseq = header_line(text, "CSeq").and_then(|cseq| cseq.split_whitespace().nth(1));
    if text.starts_with("SIP/2.0") {
        let answered = |sip: &&SipText| Some(sip.method()) == cseq;
        return requests().find(answered).or_else(|| requests().next());
    }
    if let Some(named) = world.dialog.and_then(|index| world.outputs.get(index)) {
        return named.request();
    }
    let begins = |sip: &&SipText| matches!(sip.method(), "SUBSCRIBE" | "INVITE");
    requests().find(begins).or_else(|| requests().next())
}

/// What the gateway sent in the dialog of the text, the newest first, then everything else.
fn in_dialog<'a>(world: &'a World, call_id: &str) -> impl Iterator<Item = &'a SipText> {
    let sent = || world.outputs.iter().rev().filter_map(Output::sip);
    let call_id = call_id.to_owned();
    sent()
        .filter(move |sip| sip.call_id() == Some(&call_id))
        .chain(sent())
}

/// A text with its placeholders filled in.
pub(crate) fn sip(world: &World, text: &str) -> String {
    let request = request(world, text);
    let of = |value: Option<String>| value.unwrap_or_else(|| NONE.to_owned());
    let branch = of(request.and_then(SipText::branch));
    let call_id = of(request.and_then(SipText::call_id).map(str::to_owned));
    let text = text
        .replace("z9hG4bK-{{branch}}", &branch)
        .replace("{{branch}}", &branch)
        .replace("{{callid}}", &call_id)
        .replace("{{fromtag}}", &of(request.and_then(|sip| sip.tag("From"))))
        .replace(
            "{{cseq}}",
            &of(request.and_then(SipText::cseq_number).map(str::to_owned)).replace(NONE, "1"),
        );
    let call_id = header_line(&text, "Call-ID").unwrap_or_default().to_owned();
    let contact = in_dialog(world, &call_id)
        .find_map(|sip| sip.lines("Contact").next().and_then(sip_text::uri_of))
        .unwrap_or(GATEWAY);
    let own_tag = in_dialog(world, &call_id).find_map(|sip| {
        let side = if sip.is_response() { "To" } else { "From" };
        sip.tag(side)
    });
    text.replace("{{gateway_contact}}", contact)
        .replace("{{totag}}", &of(own_tag))
}

/// The gateway's path in an MSRP session, as the vectors write it.
const MSRP_PATH: &str = "msrp://127.0.0.1:8763/gw1;tcp";

/// An MSRP request with the path that the gateway has announced, and the id of its last message.
pub(crate) fn msrp(world: &World, text: &str) -> String {
    let sent = || world.outputs.iter().rev().filter_map(Output::msrp_request);
    let id = sent()
        .filter(|msrp| msrp.method() == Some("SEND") && !msrp.is_empty_send())
        .find_map(|msrp| msrp.header("Message-ID"))
        .unwrap_or(NONE);
    text.replace("{{message_id_of_send}}", id)
        .replace(MSRP_PATH, msrp_path(world).as_deref().unwrap_or(NONE))
}

/// The path in the gateway's last session description.
pub(crate) fn msrp_path(world: &World) -> Option<String> {
    let mut sent = world.outputs.iter().rev().filter_map(Output::sip);
    let path = sent.find_map(|sip| sip_path::lookup(sip, "sdp.path").ok().flatten())?;
    path.as_str().map(str::to_owned)
}

/// A stanza with the id of the gateway's last one of the same kind.
pub(crate) fn stanza(world: &World, text: &str) -> String {
    let name = text
        .trim_start_matches('<')
        .split([' ', '/', '>'])
        .next()
        .unwrap_or_default();
    let stanzas = world.outputs.iter().rev().filter_map(Output::stanza);
    let id = stanzas
        .filter(|stanza| stanza.name() == name)
        .find_map(|stanza| stanza.attr("id"))
        .unwrap_or(NONE);
    text.replace("{{id}}", id)
        .replace("{{id_of_forwarded}}", id)
}
