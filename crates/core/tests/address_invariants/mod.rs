//! What holds for any text that is tried as an address of either world.

use stox_core::address::{Jid, Scheme, SipAddress, jid_to_sip, sip_to_jid};

/// The first octet chooses which world; the rest is the address.
pub(crate) fn check(octets: &[u8]) {
    let Some((kind, octets)) = octets.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(octets);
    match kind % 3 {
        0 => jid(&text),
        1 => sip(&text),
        _ => uri(&text),
    }
}

/// A JID is printed as it was read; what crosses comes back as its canonical self, and nothing in the URI ends a line or
/// begins another part.
fn jid(text: &str) {
    let Ok(jid) = Jid::parse(text) else {
        return;
    };
    assert_eq!(jid.to_string(), text);
    assert!(!text.contains(char::is_control));
    let canonical = jid.canonical();
    assert_eq!(canonical.canonical(), canonical);
    assert_eq!(Jid::from_uri(&jid.to_uri()).as_ref(), Ok(&jid));
    for scheme in [Scheme::Sip, Scheme::Im, Scheme::Pres] {
        let Ok(there) = jid_to_sip(&jid, scheme) else {
            continue;
        };
        assert!(
            there.to_string().bytes().all(|b| b.is_ascii_graphic()),
            "{there}"
        );
        let user = there.user.as_deref().unwrap_or_default();
        assert!(!user.contains(['<', '>', '"', '@', ':']), "{there}");
        let expected = if scheme == Scheme::Sip {
            canonical.clone()
        } else {
            canonical.bare()
        };
        assert_eq!(sip_to_jid(&there), Ok(expected), "{there}");
        assert_eq!(jid_to_sip(&canonical, scheme), Ok(there));
    }
}

/// The parts of a SIP address, with a slash between them: user, host, `gr`.
fn sip(text: &str) {
    let mut parts = text.split('/');
    let mut part = || {
        parts
            .next()
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
    };
    let address = SipAddress {
        scheme: Scheme::Sip,
        user: part(),
        host: part().unwrap_or_else(|| "ocs.example".to_owned()),
        gr: part(),
    };
    let canonical = address.canonical();
    assert_eq!(canonical.canonical(), canonical);
    let Ok(jid) = sip_to_jid(&address) else {
        return;
    };
    assert_eq!(jid.check(), Ok(()), "{jid}");
    assert_eq!(jid.canonical(), jid);
    assert_eq!(Jid::parse(&jid.to_string()).as_ref(), Ok(&jid));
    assert_eq!(jid_to_sip(&jid, Scheme::Sip), Ok(canonical), "{jid}");
}

/// An `xmpp:` URI.
fn uri(text: &str) {
    if let Ok(jid) = Jid::from_uri(text) {
        assert_eq!(Jid::from_uri(&jid.to_uri()), Ok(jid));
    }
}
