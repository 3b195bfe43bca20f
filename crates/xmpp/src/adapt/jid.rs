//! Addresses of domains. What a JID is, [`Jid::parse`] decides.

use stox_core::address::Jid;

/// The JID of a domain.
#[must_use]
pub fn of_domain(domain: &str) -> Jid {
    Jid {
        local: None,
        domain: domain.to_owned(),
        resource: None,
    }
}

/// The domain of a text that is no JID, when its domain at least is one: whoever speaks for it can answer.
#[must_use]
pub fn domain_of(text: &str) -> Option<Jid> {
    let bare = text.split_once('/').map_or(text, |(bare, _)| bare);
    let domain = bare.rsplit_once('@').map_or(bare, |(_, domain)| domain);
    Jid::parse(domain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_domain_of_a_broken_jid() {
        let rows = [
            ("a@b@c.example/", Some("c.example")),
            ("@c.example", Some("c.example")),
            ("a b@c.example/x", Some("c.example")),
            ("a@b c/x", None),
            ("a@", None),
            ("", None),
        ];
        for (text, domain) in rows {
            assert_eq!(domain_of(text), domain.map(of_domain), "{text:?}");
        }
    }
}
