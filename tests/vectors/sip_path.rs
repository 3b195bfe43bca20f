//! What a path of the assertion language names in a SIP message.

use serde_json::{Value, json};

use crate::pidf;
use crate::sip_text::{self, SipText, UriText};

/// What the path names. An unknown path is an error, so that no assertion passes by being misspelt.
pub(crate) fn lookup(sip: &SipText, path: &str) -> Result<Option<Value>, String> {
    if let Some(rest) = path.strip_prefix("header.") {
        return header(sip, rest);
    }
    if let Some(rest) = path.strip_prefix("pidf.") {
        return pidf::lookup(sip, rest);
    }
    if path == "sdp" || path.starts_with("sdp.") {
        return sdp(sip, path.strip_prefix("sdp.").unwrap_or_default());
    }
    let value = match path {
        "method" => Some(sip.method())
            .filter(|m| !m.is_empty())
            .map(|m| json!(m)),
        "status" => sip.status().map(|status| json!(status)),
        "reason" => sip.reason().map(|reason| json!(reason)),
        "request_uri" => sip.request_uri().map(|uri| json!(uri)),
        "body" => Some(json!(String::from_utf8_lossy(&sip.body))),
        "body.length" => Some(json!(sip.body.len())),
        "content_length_counts_octets" => {
            let said = sip.header("Content-Length");
            Some(json!(
                said.and_then(|said| said.parse::<usize>().ok()) == Some(sip.body.len())
            ))
        }
        _ => return Err(format!("unknown path of a SIP message: {path}")),
    };
    Ok(value)
}

/// `NAME`, `NAME.uri`, `NAME.uri.aor`, `NAME.uri.PARAM`, `NAME.number`, `NAME.method`, `NAME.value` or `NAME.PARAM`.
fn header(sip: &SipText, path: &str) -> Result<Option<Value>, String> {
    let (name, part) = path
        .split_once('.')
        .map_or((path, None), |(name, part)| (name, Some(part)));
    let Some(part) = part else {
        return Ok(sip.header(name).map(Value::String));
    };
    let Some(line) = sip.lines(name).next() else {
        return Ok(None);
    };
    if part == "uri" {
        return Ok(sip_text::uri_of(line).map(|uri| json!(uri)));
    }
    if let Some(part) = part.strip_prefix("uri.") {
        let uri = sip_text::uri_of(line).and_then(UriText::parse);
        return Ok(uri.and_then(|uri| uri_part(&uri, part)));
    }
    if name.eq_ignore_ascii_case("CSeq") {
        return match part {
            "number" => Ok(sip.cseq_number().map(|number| json!(number))),
            "method" => Ok(sip.cseq_method().map(|method| json!(method))),
            _ => Err(format!("unknown part of CSeq: {part}")),
        };
    }
    if part == "value" {
        let value = line.split(';').next().unwrap_or_default().trim();
        return Ok(Some(json!(value.to_ascii_lowercase())));
    }
    let params = if line.contains('<') {
        sip_text::params(sip_text::after_uri(line))
    } else {
        sip_text::params(line)
    };
    Ok(sip_text::param(&params, part).map(|value| json!(value.unwrap_or_default())))
}

fn uri_part(uri: &UriText, part: &str) -> Option<Value> {
    match part {
        "aor" => Some(json!(uri.aor)),
        "user" => uri.user.as_ref().map(|user| json!(user)),
        "host" => Some(json!(uri.host)),
        "port" => uri.port.as_ref().map(|port| json!(port)),
        _ => sip_text::param(&uri.params, part).map(|value| json!(value.unwrap_or_default())),
    }
}

/// `sdp`, `sdp.m[N]` or the value of the attribute `sdp.NAME`.
fn sdp(sip: &SipText, path: &str) -> Result<Option<Value>, String> {
    let typed = sip
        .header("Content-Type")
        .is_some_and(|value| value.to_ascii_lowercase().starts_with("application/sdp"));
    let text = String::from_utf8_lossy(&sip.body).into_owned();
    let text = typed.then_some(text);
    if path.is_empty() {
        return Ok(text.map(Value::String));
    }
    let lines = |prefix: &str| -> Vec<String> {
        let lines = text.as_deref().unwrap_or_default().lines();
        lines
            .filter_map(|line| line.strip_prefix(prefix))
            .map(str::to_owned)
            .collect()
    };
    if let Some(index) = path.strip_prefix("m[").and_then(|p| p.strip_suffix(']')) {
        let index: usize = index
            .parse()
            .map_err(|_| format!("unknown path: sdp.{path}"))?;
        return Ok(lines("m=").into_iter().nth(index).map(Value::String));
    }
    if path.contains(['.', '[', '@']) {
        return Err(format!("unknown path: sdp.{path}"));
    }
    let values = lines(&format!("a={path}:"));
    Ok(values.into_iter().next().map(Value::String))
}
