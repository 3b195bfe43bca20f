//! A vector's `config` as the administrator's settings.

use serde_json::{Map, Value};

/// The text of a settings file.
///
/// # Errors
/// A key that this runner does not know, or that asks for what the gateway does not offer.
pub(crate) fn file(config: &Map<String, Value>) -> Result<String, String> {
    let mut allowed = vec!["jabber.example".to_owned()];
    let mut sip = String::new();
    let mut msrp = String::new();
    let mut subscriptions = String::new();
    let mut credentials = String::new();
    let mut behaviour = String::new();
    for (key, value) in config {
        match key.as_str() {
            "allowed_xmpp_domains" => {
                let names = value.as_array().into_iter().flatten();
                allowed = names.filter_map(Value::as_str).map(str::to_owned).collect();
            }
            "chat_uses_sessions" => {
                let im = if value == &Value::Bool(true) {
                    "session"
                } else {
                    "page"
                };
                behaviour.push_str(&format!("im = \"{im}\"\n"));
            }
            "session_upgrade" => {
                let word = if value == &Value::Bool(true) {
                    "session"
                } else {
                    "refuse"
                };
                behaviour.push_str(&format!("long_messages = \"{word}\"\n"));
            }
            "page_mode_composing" => {
                let word = if value == &Value::Bool(true) {
                    "always"
                } else {
                    "off"
                };
                behaviour.push_str(&format!("page_typing = \"{word}\"\n"));
            }
            "session_idle_s" => behaviour.push_str(&format!("session_idle = {value}\n")),
            "max_msrp_message" => msrp = format!("max_message = {value}\n"),
            "page_mode_limit" => sip = format!("page_limit = {value}\n"),
            // The gateway never asks for less than it takes.
            "min_expires" => {
                let asked = value.as_u64().unwrap_or_default().max(3600);
                subscriptions = format!("min_expires = {value}\nexpires = {asked}\n");
            }
            "sip_credentials" => {
                let part = |name: &str| value.get(name).cloned().unwrap_or_default();
                credentials = format!(
                    "[[sip.credentials]]\ndomain = \"ocs.example\"\nrealm = {}\nuser = {}\npassword = {}\n",
                    part("realm"),
                    part("user"),
                    part("password"),
                );
            }
            // The gateway never takes the word of an unproved sender.
            "require_sip_auth" if value == &Value::Bool(true) => {}
            _ => return Err(format!("the gateway has no setting for {key} = {value}")),
        }
    }
    let partners: String = allowed
        .iter()
        .map(|domain| format!("[[xmpp.partner]]\ndomain = \"{domain}\"\n"))
        .collect();
    Ok(format!(
        "[gateway]\nhost = \"gw.jabber.example\"\nstate_dir = \"state\"\n\
         [tls]\ncertificate = \"gw.crt\"\nkey = \"gw.key\"\n\
         {partners}\
         [sip]\ntls = [\"127.0.0.1:5061\"]\n{sip}\
         [[sip.domain]]\ndomain = \"ocs.example\"\ntrusted_addresses = [\"127.0.0.1\"]\ndialect = \"simple\"\n\
         [sip.domain.behaviour]\n{behaviour}\
         {credentials}\
         [msrp]\ntcp = [\"127.0.0.1:8763\"]\nhost = \"127.0.0.1\"\nnetworks = [\"127.0.0.1\"]\n{msrp}\
         [subscriptions]\n{subscriptions}"
    ))
}
