//! Vectors of the address map alone.

use serde_json::{Map, Value};
use stox_core::address::{Jid, Scheme, jid_to_sip, sip_to_jid};
use stox_core::failure::{Failure, to_stanza};
use stox_sip::adapt::address;
use stox_sip::header::{HeaderValue, NameAddr};

/// Whether the vector maps an address and no messages.
pub(crate) fn is_one(given: &Map<String, Value>) -> bool {
    ["jid", "sip_uri", "header"]
        .iter()
        .any(|key| given.contains_key(*key))
}

/// What an address came to: one on the other side, or the code or condition of a refusal.
enum Mapped {
    Jid(String),
    Uri {
        uri: String,
        aor: String,
        gr: Option<String>,
    },
    Status(u16),
    Condition(&'static str),
}

/// Maps and compares.
///
/// # Errors
/// What does not hold.
pub(crate) fn judge(given: &Map<String, Value>, expect: &Map<String, Value>) -> Result<(), String> {
    let mut given = given.clone();
    let mut text = |key: &str| {
        given
            .remove(key)
            .and_then(|value| value.as_str().map(str::to_owned))
    };
    let (jid, uri, header) = (text("jid"), text("sip_uri"), text("header"));
    // Which URI of a message it is makes no difference here.
    text("role");
    let config = given.remove("config").unwrap_or_default();
    if let Some(key) = given.keys().next() {
        return Err(format!("unknown key in given: {key}"));
    }
    let mapped = match (jid, uri, header) {
        (Some(jid), None, None) => from_jid(&jid, &config)?,
        (None, Some(uri), None) => from_uri(&uri),
        (None, None, Some(header)) => from_header(&header),
        _ => return Err("one address is needed".to_owned()),
    };
    expect
        .iter()
        .try_for_each(|(key, wanted)| holds(key, wanted, &mapped))
}

fn from_jid(text: &str, config: &Value) -> Result<Mapped, String> {
    let mut scheme = Scheme::Sip;
    let mut canonical = false;
    for (key, value) in config.as_object().into_iter().flatten() {
        match (key.as_str(), value.as_str()) {
            ("canonicalize", _) => canonical = value == &Value::Bool(true),
            ("uri_scheme", Some("im")) => scheme = Scheme::Im,
            ("uri_scheme", Some("pres")) => scheme = Scheme::Pres,
            ("uri_scheme", Some("sip")) => {}
            _ => return Err(format!("the gateway has no setting for {key} = {value}")),
        }
    }
    let mapped = Jid::parse(text).and_then(|jid| {
        let jid = if canonical { jid.canonical() } else { jid };
        jid_to_sip(&jid, scheme)
    });
    Ok(match mapped {
        Ok(sip) => {
            let aor = address::to_uri(&sip.bare()).to_string();
            Mapped::Uri {
                uri: address::to_uri(&sip).to_string(),
                aor,
                gr: sip.gr,
            }
        }
        Err(error) => Mapped::Condition(to_stanza(&Failure::from(error)).condition.name()),
    })
}

fn from_uri(text: &str) -> Mapped {
    match address::from_text(text) {
        Ok(sip) => match sip_to_jid(&sip) {
            Ok(jid) => Mapped::Jid(jid.to_string()),
            Err(error) => Mapped::Status(error.sip_code()),
        },
        Err(refused) => Mapped::Status(refused.status()),
    }
}

fn from_header(line: &str) -> Mapped {
    let value = line.split_once(':').map_or("", |(_, value)| value.trim());
    let sip = NameAddr::parse(value)
        .ok()
        .and_then(|value| address::from_name_addr(&value).ok());
    match sip.map(|sip| sip_to_jid(&sip)) {
        Some(Ok(jid)) => Mapped::Jid(jid.to_string()),
        Some(Err(error)) => Mapped::Status(error.sip_code()),
        None => Mapped::Status(400),
    }
}

fn holds(key: &str, wanted: &Value, mapped: &Mapped) -> Result<(), String> {
    let words = wanted.as_str();
    let listed = |found: &Value| wanted.as_array().is_some_and(|list| list.contains(found));
    let (holds, found) = match (key, mapped) {
        ("outcome", Mapped::Jid(found)) => (words == Some("mapped"), found.clone()),
        ("outcome", Mapped::Uri { uri, .. }) => (words == Some("mapped"), uri.clone()),
        ("outcome", Mapped::Status(code)) => (words == Some("reject"), code.to_string()),
        ("outcome", Mapped::Condition(name)) => (words == Some("reject"), (*name).to_owned()),
        ("jid", Mapped::Jid(found)) => (words == Some(found), found.clone()),
        ("jid_one_of", Mapped::Jid(found)) => (listed(&Value::from(found.as_str())), found.clone()),
        ("sip_uri", Mapped::Uri { uri, .. }) => (words == Some(uri), uri.clone()),
        ("sip_uri_one_of", Mapped::Uri { uri, .. }) => {
            (listed(&Value::from(uri.as_str())), uri.clone())
        }
        ("aor", Mapped::Uri { aor, .. }) => (words == Some(aor), aor.clone()),
        ("gr_value_on_wire", Mapped::Uri { gr, .. }) => (words == gr.as_deref(), format!("{gr:?}")),
        ("sip_status", Mapped::Status(code)) => (wanted == &Value::from(*code), code.to_string()),
        ("sip_status_one_of", Mapped::Status(code)) => {
            (listed(&Value::from(*code)), code.to_string())
        }
        ("xmpp_condition", Mapped::Condition(name)) => (words == Some(name), (*name).to_owned()),
        ("xmpp_condition_one_of", Mapped::Condition(name)) => {
            (listed(&Value::from(*name)), (*name).to_owned())
        }
        ("note" | "notes", _) => (true, String::new()),
        _ => {
            return Err(format!(
                "unknown expectation, or one for another outcome: {key}"
            ));
        }
    };
    if holds {
        Ok(())
    } else {
        Err(format!("{key}: wanted {wanted}, found {found}"))
    }
}
