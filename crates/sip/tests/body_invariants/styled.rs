//! What holds for any octets that come as a styled text, a first message or a typing notification. The first octet
//! chooses which.

use stox_core::vocab::{Im, Link, Rich};
use stox_sip::adapt::im::{self, Inbound};
use stox_sip::body::styled::Styled;
use stox_sip::body::text::is_xml_char;
use stox_sip::body::{html, keyboard, ms_imdn, msgr, rtf};
use stox_sip::header::Headers;
use stox_sip::message::Request;
use stox_sip::method::Method;

pub(crate) fn check(octets: &[u8]) {
    let Some((kind, octets)) = octets.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(octets);
    match kind % 8 {
        0 => html::read(&text)
            .iter()
            .for_each(|found| sound(found, text.len())),
        1 => rtf::read(octets)
            .iter()
            .for_each(|found| sound(found, octets.len())),
        2 => drop(msgr::read(&text)),
        3 => first_message(&text),
        4 => drop(keyboard::parse(octets, None)),
        5 => drop(ms_imdn::parse(octets, None)),
        6 => message("multipart/alternative;boundary=b", octets),
        _ => message(&format!("text/plain;msgr={text}"), octets),
    }
}

/// Clean text of bounded length; runs that together say the same.
fn sound(found: &Styled, length: usize) {
    assert!(found.text.len() <= length * 3);
    assert!(found.text.chars().all(|c| is_xml_char(c) && c != '\r'));
    if let Some(rich) = &found.rich {
        bounded(rich);
        let is_linked = rich.runs().iter().any(|run| run.style.link.is_some());
        assert!(is_linked || rich.says(&found.text));
    }
}

fn bounded(rich: &Rich) {
    assert!((1..=Rich::MAX_RUNS).contains(&rich.runs().len()));
    let octets: usize = rich.runs().iter().map(|run| run.text.len()).sum();
    assert!(octets <= Rich::MAX_OCTETS);
    for run in rich.runs() {
        assert!(!run.text.is_empty() && run.text.chars().all(|c| is_xml_char(c) && c != '\r'));
        let link = run.style.link.as_ref().map(Link::as_str);
        assert!(link.is_none_or(|link| Link::parse(link).is_some()));
    }
}

fn content(im: &Im) {
    let clean = |text: &str| text.chars().all(|c| is_xml_char(c) && c != '\r');
    assert!(im.bodies.iter().all(|body| clean(&body.text)));
    im.rich.iter().for_each(bounded);
}

fn first_message(value: &str) {
    let mut headers = Headers::default();
    headers.push("ms-text-format", value);
    im::embedded(&headers).iter().for_each(content);
}

fn message(content_type: &str, octets: &[u8]) {
    let mut request = Request::new(Method::MESSAGE, "sip:alma@jabber.example");
    request.headers.push("Content-Type", content_type);
    request.body = octets.to_vec().into();
    match im::read(&request, Default::default()) {
        Ok(Inbound::Message(im, _)) => content(&im),
        Ok(_) => {}
        Err(refusal) => assert!([400, 415].contains(&refusal.status)),
    }
}
