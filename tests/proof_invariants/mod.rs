//! What holds for anything that is shown to prove who a peer is. The first octet chooses which: a certificate, a TLSA record
//! and a certificate, or what a web server answers that is asked by POSH.

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256, Sha512};
use stoxgate::net::dane::{self, Tlsa, Verdict};
use stoxgate::net::peer_certificate::{is_for, xmpp_names};
use stoxgate::net::posh::{self, Document};
use stoxgate::net::sip_identity::Identity;

const KINDS: [fn(&[u8]) -> bool; 3] = [certificate, record, web_answer];
/// Longest document of POSH.
const MAX_DOCUMENT: usize = 64 * 1024;

/// Whether it proves anything.
pub(crate) fn check(octets: &[u8]) -> bool {
    let Some((kind, octets)) = octets.split_first() else {
        return false;
    };
    KINDS[usize::from(*kind) % KINDS.len()](octets)
}

/// Whom a certificate is for, in either world: those whom it names and nobody else.
fn certificate(octets: &[u8]) -> bool {
    let der = CertificateDer::from(octets);
    let names = xmpp_names(&der);
    for name in &names {
        assert_eq!(*name, name.to_lowercase());
        match name.strip_prefix("*.") {
            None if name.is_ascii() => assert!(is_for(&names, name), "{name:?}"),
            // A wildcard is for neither its own parent nor two labels.
            Some(parent) if parent.is_ascii() && names.len() == 1 => {
                assert!(!is_for(&names, parent), "{name:?}");
                assert!(!is_for(&names, &format!("a.b.{parent}")), "{name:?}");
            }
            _ => {}
        }
    }
    let never = "nobody-has-this-name.of-this-parent.test";
    let mentions = octets.windows(14).any(|part| part == b"of-this-parent");
    assert!(mentions || !is_for(&names, never));

    let identity = Identity::read(&der);
    assert!(!identity.to_string().is_empty());
    assert!(mentions || identity.check([never].into_iter()).is_err());
    for domain in identity.domains() {
        assert!(!domain.contains('*'), "{domain:?}");
    }
    !names.is_empty()
}

/// Usage, selector, matching type and length of a TLSA record, its data, and the certificate that a server shows: only the
/// certificate itself is pinned, and an authority proves only those whom its certificate names.
fn record(octets: &[u8]) -> bool {
    let [usage, selector, matching, length, rest @ ..] = octets else {
        return false;
    };
    let (data, shown) = rest.split_at(rest.len().min(usize::from(*length) * 8));
    let record = Tlsa {
        usage: *usage,
        selector: *selector,
        matching: *matching,
        data: data.to_vec(),
    };
    let chain = [CertificateDer::from(shown)];
    let verdict = dane::judge(std::slice::from_ref(&record), &chain, &["xmpp.example"]);
    match (usage, &verdict) {
        (2, Verdict::Proved) => assert!(is_for(&xmpp_names(&chain[0]), "xmpp.example")),
        (3, Verdict::Proved) if *selector == 0 => assert!(is_digest(&record, shown)),
        (3, Verdict::Proved) => assert_eq!(*selector, 1),
        (2 | 3, Verdict::Silent | Verdict::Refused(_)) => {}
        (_, verdict) => assert_eq!(*verdict, Verdict::Silent),
    }
    // The certificate itself, whatever it is.
    for (matching, data) in [
        (0, shown.to_vec()),
        (1, Sha256::digest(shown).to_vec()),
        (2, Sha512::digest(shown).to_vec()),
    ] {
        let pinned = Tlsa {
            usage: 3,
            selector: 0,
            matching,
            data,
        };
        let verdict = dane::judge(&[pinned], &chain, &[]);
        assert!(shown.is_empty() || verdict == Verdict::Proved);
    }
    verdict == Verdict::Proved
}

fn is_digest(record: &Tlsa, shown: &[u8]) -> bool {
    let data = record.data.as_slice();
    match record.matching {
        0 => data == shown,
        1 => data == Sha256::digest(shown).as_slice(),
        _ => data == Sha512::digest(shown).as_slice(),
    }
}

/// An answer cut anywhere is the same document or none yet, and a document says something.
fn web_answer(octets: &[u8]) -> bool {
    let whole = posh::body(octets, true);
    for eighth in 0..8 {
        let heard = &octets[..octets.len() * eighth / 8];
        if let (Ok(Some(early)), Ok(Some(late))) = (posh::body(heard, false), &whole) {
            assert_eq!(early, *late);
        }
    }
    let Ok(Some(body)) = whole else {
        return false;
    };
    assert!(body.len() <= MAX_DOCUMENT);
    match Document::read(&body) {
        Ok(Document::Fingerprints { of, lifetime }) => {
            assert!(!of.is_empty() && !lifetime.is_zero());
            let other = CertificateDer::from(octets);
            assert!(
                !of.iter().any(|one| one.is_of(&other)),
                "a digest of itself"
            );
            true
        }
        Ok(Document::Reference { lifetime, .. }) => !lifetime.is_zero(),
        Err(_) => false,
    }
}
