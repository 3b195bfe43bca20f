//! What a path of the assertion language names in an MSRP message.

use minidom::Element;
use serde_json::{Value, json};

use crate::msrp_text::MsrpText;

const COMPOSING: &str = "urn:ietf:params:xml:ns:im-iscomposing";

/// Headers that the assertions may name.
const HEADERS: [&str; 8] = [
    "To-Path",
    "From-Path",
    "Message-ID",
    "Byte-Range",
    "Content-Type",
    "Status",
    "Success-Report",
    "Failure-Report",
];

/// Whether only an MSRP message has such a path.
pub(crate) fn is_own(path: &str) -> bool {
    HEADERS.contains(&path)
        || matches!(
            path,
            "transaction" | "iscomposing.state" | "end_line_not_in_body"
        )
}

/// What the path names. An unknown path is an error, so that no assertion passes by being misspelt.
pub(crate) fn lookup(msrp: &MsrpText, path: &str) -> Result<Option<Value>, String> {
    if HEADERS.contains(&path) {
        return Ok(msrp.header(path).map(|value| json!(value)));
    }
    let body = msrp.body.as_deref();
    let text = body.map(String::from_utf8_lossy);
    let value = match path {
        "method" => msrp.method().map(|method| json!(method)),
        "status" => msrp.status().map(|status| json!(status)),
        "reason" => msrp.reason().map(|reason| json!(reason)),
        "transaction" => Some(json!(msrp.transaction)),
        "body" => text.map(|text| json!(text)),
        "end_line_not_in_body" => {
            let end_line = format!("-------{}", msrp.transaction);
            Some(json!(!text.unwrap_or_default().contains(&end_line)))
        }
        "iscomposing.state" => text.as_deref().and_then(state),
        _ => return Err(format!("unknown path of an MSRP message: {path}")),
    };
    Ok(value)
}

/// The state in a notice of typing.
fn state(text: &str) -> Option<Value> {
    let document: Element = text.parse().ok()?;
    let state = document.get_child("state", COMPOSING)?;
    document
        .is("isComposing", COMPOSING)
        .then(|| json!(state.text()))
}
