use proptest::prelude::*;

use super::*;

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Splits a plain URI as far as these tests need it; the SIP crate has the real one.
fn split(uri: &str) -> SipAddress {
    let (scheme, rest) = uri.split_once(':').unwrap();
    let scheme = match scheme {
        "sip" => Scheme::Sip,
        "sips" => Scheme::Sips,
        "im" => Scheme::Im,
        "pres" => Scheme::Pres,
        other => panic!("scheme {other}"),
    };
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    let user = user.map(|user| user.split(':').next().unwrap().to_owned());
    let rest = rest.split('?').next().unwrap();
    let mut parts = rest.split(';');
    let host = parts.next().unwrap().to_owned();
    let gr = parts
        .find_map(|part| part.strip_prefix("gr="))
        .map(str::to_owned);
    SipAddress {
        scheme,
        user,
        host,
        gr,
    }
}

#[test]
fn jid_to_uri() {
    let rows = [
        ("alma@jabber.example", "sip:alma@jabber.example"),
        (
            "alma@jabber.example/laptop",
            "sip:alma@jabber.example;gr=laptop",
        ),
        (
            "alma@jabber.example/Phone",
            "sip:alma@jabber.example;gr=Phone",
        ),
        ("d\\27arcy@jabber.example", "sip:d'arcy@jabber.example"),
        ("r\\26d@jabber.example", "sip:r&d@jabber.example"),
        (
            "north\\2fsouth@jabber.example",
            "sip:north/south@jabber.example",
        ),
        (
            "north\\2Fsouth@jabber.example",
            "sip:north/south@jabber.example",
        ),
        ("sales#1@jabber.example", "sip:sales%231@jabber.example"),
        ("50%off@jabber.example", "sip:50%25off@jabber.example"),
        (
            "a[b]c^d`e{f|g}h@jabber.example",
            "sip:a%5Bb%5Dc%5Ed%60e%7Bf%7Cg%7Dh@jabber.example",
        ),
        (
            "mary\\20ann@jabber.example",
            "sip:mary%20ann@jabber.example",
        ),
        (
            "\\22x\\3c\\3e\\22@jabber.example",
            "sip:%22x%3C%3E%22@jabber.example",
        ),
        (
            "bob\\40corp@jabber.example",
            "sip:bob%40corp@jabber.example",
        ),
        ("a\\5c27@jabber.example", "sip:a%5C27@jabber.example"),
        ("a\\41@jabber.example", "sip:a%5C41@jabber.example"),
        ("zoë@jabber.example", "sip:zo%C3%AB@jabber.example"),
        (
            "花子@jabber.example",
            "sip:%E8%8A%B1%E5%AD%90@jabber.example",
        ),
        ("ALMA@Jabber.Example", "sip:alma@jabber.example"),
        (
            "alma@jabber.example/home @2",
            "sip:alma@jabber.example;gr=home%20%402",
        ),
        (
            "alma@jabber.example/a%20b",
            "sip:alma@jabber.example;gr=a%2520b",
        ),
        (
            "alma@jabber.example/a=b;c",
            "sip:alma@jabber.example;gr=a%3Db%3Bc",
        ),
        (
            "alma@jabber.example/x@y/z",
            "sip:alma@jabber.example;gr=x%40y/z",
        ),
        (
            "a=b+c$d,e;f?g!h*i(j)k~l-m_n.o@jabber.example",
            "sip:a=b+c$d,e;f?g!h*i(j)k~l-m_n.o@jabber.example",
        ),
        ("alma@[2001:db8::7]", "sip:alma@[2001:db8::7]"),
        ("alma@192.0.2.7", "sip:alma@192.0.2.7"),
        (
            "+15551230001@jabber.example",
            "sip:+15551230001@jabber.example",
        ),
        ("alma@bücher.example", "sip:alma@xn--bcher-kva.example"),
        ("jabber.example", "sip:jabber.example"),
        (
            "#lab%irc.example@host.example",
            "sip:%23lab%25irc.example@host.example",
        ),
    ];
    for (from, to) in rows {
        let uri = jid_to_sip(&jid(from), Scheme::Sip).unwrap();
        assert_eq!(uri.to_string(), to, "{from}");
    }
}

#[test]
fn jid_to_im_and_pres_uri() {
    let rows = [
        (
            "d\\27arcy@jabber.example",
            Scheme::Im,
            "im:d'arcy@jabber.example",
        ),
        (
            "a,b(c);d@jabber.example",
            Scheme::Pres,
            "pres:a%2Cb%28c%29%3Bd@jabber.example",
        ),
        (
            "alma@jabber.example/x",
            Scheme::Im,
            "im:alma@jabber.example",
        ),
        ("a?b@jabber.example", Scheme::Im, "im:a%3Fb@jabber.example"),
    ];
    for (from, scheme, to) in rows {
        assert_eq!(jid_to_sip(&jid(from), scheme).unwrap().to_string(), to);
    }
}

#[test]
fn uri_to_jid() {
    let rows = [
        ("sip:bruno@ocs.example", "bruno@ocs.example"),
        ("sip:BRUNO@OCS.Example", "bruno@ocs.example"),
        ("sip:%62run%6F@ocs.example", "bruno@ocs.example"),
        ("im:bruno@ocs.example", "bruno@ocs.example"),
        ("sip:ocs.example", "ocs.example"),
        ("sip:o'neil@ocs.example", "o\\27neil@ocs.example"),
        ("sip:o%27neil@ocs.example", "o\\27neil@ocs.example"),
        ("sip:corp%5Calma@ocs.example", "corp\\alma@ocs.example"),
        ("sip:corp%5C27x@ocs.example", "corp\\5c27x@ocs.example"),
        ("sip:corp%5C2Fx@ocs.example", "corp\\5c2fx@ocs.example"),
        (
            "sip:bob%40partner.example@ocs.example",
            "bob\\40partner.example@ocs.example",
        ),
        ("sip:a%3Ab@ocs.example", "a\\3ab@ocs.example"),
        ("sip:zo%c3%ab@ocs.example", "zoë@ocs.example"),
        ("sip:zoe%CC%88@ocs.example", "zoë@ocs.example"),
        (
            "sip:bruno@ocs.example;gr=desk%20phone%20%E6%9D%B1",
            "bruno@ocs.example/desk phone 東",
        ),
        ("sip:bruno@xn--bcher-kva.example", "bruno@bücher.example"),
        ("sip:bruno@ocs.example.", "bruno@ocs.example"),
        ("sip:bruno@[2001:DB8:0::7]", "bruno@[2001:db8::7]"),
    ];
    for (from, to) in rows {
        assert_eq!(sip_to_jid(&split(from)).unwrap().to_string(), to, "{from}");
    }
}

#[test]
fn what_cannot_cross_is_refused() {
    let long = "u".repeat(1024);
    let rows = [
        ("sip:zo%FF%FEx@ocs.example", AddressError::NotUtf8, 400),
        ("sip:a%00b@ocs.example", AddressError::Forbidden, 400),
        ("sip:a%0D%0Ab@ocs.example", AddressError::Forbidden, 400),
        ("sip:a%E2%80%AEb@ocs.example", AddressError::Forbidden, 400),
        ("sip:bru%4@ocs.example", AddressError::BrokenTriplet, 400),
        ("sip:bru%@ocs.example", AddressError::BrokenTriplet, 400),
        ("sip:%20bruno@ocs.example", AddressError::SpaceAtEdge, 400),
        ("sip:bruno%20@ocs.example", AddressError::SpaceAtEdge, 400),
        ("sip:@ocs.example", AddressError::EmptyPart, 400),
        ("sip:bruno@", AddressError::BadHost, 400),
        ("sip:bruno@a b", AddressError::BadHost, 400),
        // An A-label that decodes to another one.
        (
            "sip:bruno@xn--xn--bchpi--xn--bchpiple",
            AddressError::BadHost,
            400,
        ),
        ("sip:bruno@[2001:db8::g]", AddressError::BadHost, 400),
        ("sip:%3E%CC%81@ocs.example", AddressError::Unstable, 400),
        (
            "sip:bruno@ocs.example;gr=a%07",
            AddressError::Forbidden,
            400,
        ),
        ("sips:bruno@ocs.example", AddressError::Untranslated, 416),
    ];
    for (uri, expected, code) in rows {
        let error = sip_to_jid(&split(uri)).unwrap_err();
        assert_eq!((error, error.sip_code()), (expected, code), "{uri}");
    }
    let long = sip_to_jid(&split(&format!("sip:{long}@ocs.example")));
    assert_eq!(long, Err(AddressError::TooLong));
}

#[test]
fn malformed_jids_are_refused() {
    let long = format!("{}@jabber.example", "u".repeat(1024));
    // Two octets that become four when they are folded.
    let growing = format!("{}@jabber.example", "\u{344}".repeat(256));
    let rows = [
        ("alma@jabber.example/", AddressError::EmptyPart),
        ("@jabber.example", AddressError::EmptyPart),
        ("alma@", AddressError::BadHost),
        ("", AddressError::BadHost),
        ("a@b@jabber.example", AddressError::BadHost),
        ("a b@jabber.example", AddressError::Forbidden),
        ("a\"b@jabber.example", AddressError::Forbidden),
        ("a\nb@jabber.example", AddressError::Forbidden),
        ("a\u{200b}b@jabber.example", AddressError::Forbidden),
        ("alma@jabber.example/a\r\nb", AddressError::Forbidden),
        (long.as_str(), AddressError::TooLong),
        (growing.as_str(), AddressError::TooLong),
    ];
    for (text, expected) in rows {
        assert_eq!(Jid::parse(text), Err(expected), "{text}");
    }
    let joining = jid("\\3e\u{338}@jabber.example");
    assert_eq!(
        jid_to_sip(&joining, Scheme::Sip),
        Err(AddressError::Unstable)
    );
    let edge = jid("\\20alma@jabber.example");
    assert_eq!(
        jid_to_sip(&edge, Scheme::Sip),
        Err(AddressError::SpaceAtEdge)
    );
}

#[test]
fn every_address_vector_holds() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/vectors/address"
    );
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let vector: serde_json::Value = serde_json::from_str(&text).unwrap();
        seen += usize::from(holds(&vector));
    }
    assert!(seen >= 50, "only {seen} vectors were looked at");
}

/// Checks a vector; `false` when it is about headers, which the SIP crate reads.
fn holds(vector: &serde_json::Value) -> bool {
    let (given, expect) = (&vector["given"], &vector["expect"]);
    let mapped = if let Some(text) = given["jid"].as_str() {
        let scheme = match given["config"]["uri_scheme"].as_str() {
            Some("im") => Scheme::Im,
            Some("pres") => Scheme::Pres,
            _ => Scheme::Sip,
        };
        Jid::parse(text)
            .and_then(|jid| jid_to_sip(&jid, scheme))
            .map(|uri| uri.to_string())
    } else if let Some(uri) = given["sip_uri"]
        .as_str()
        .filter(|uri| !uri.starts_with("tel:"))
    {
        sip_to_jid(&split(uri)).map(|jid| jid.to_string())
    } else {
        return false;
    };
    let one_of = |key: &str| expect[key].as_array().cloned().unwrap_or_default();
    match mapped {
        Ok(text) => {
            let mut allowed = one_of("jid_one_of");
            allowed.extend([expect["jid"].clone(), expect["sip_uri"].clone()]);
            assert!(
                allowed.contains(&text.clone().into()),
                "{} gave {text}",
                vector["id"]
            );
        }
        Err(error) => {
            assert_eq!(expect["outcome"], "reject", "{} gave {error}", vector["id"]);
            let allowed = one_of("sip_status_one_of");
            assert!(
                allowed.is_empty() || allowed.contains(&error.sip_code().into()),
                "{}",
                vector["id"]
            );
        }
    }
    true
}

#[test]
fn xmpp_uris() {
    let user = jid("d\\27arcy@jabber.example/a b");
    assert_eq!(user.to_uri(), "xmpp:d%5C27arcy@jabber.example/a%20b");
    assert_eq!(Jid::from_uri(&user.to_uri()), Ok(user));
    assert_eq!(
        Jid::from_uri(" XMPP:a@b?message#x ").unwrap().to_string(),
        "a@b"
    );
    assert_eq!(Jid::from_uri("http://a/b"), Err(AddressError::Untranslated));
}

fn localparts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9.\\\\2567cCeEfF\u{0301}\u{0338}ßİΣé花%#@ ]{1,12}",
        any::<String>(),
        prop::collection::vec(any::<char>(), 1..6).prop_map(String::from_iter),
    ]
}

/// 4096 cases, or as many as `PROPTEST_CASES` says, if these are more.
fn config() -> ProptestConfig {
    ProptestConfig::with_cases(ProptestConfig::default().cases.max(4096))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_canonical_jid_survives_the_round_trip(local in localparts(), resource in any::<String>()) {
        let jid = Jid {
            local: Some(local),
            domain: "Jabber.example".to_owned(),
            resource: (!resource.is_empty()).then_some(resource),
        };
        if let Ok(uri) = jid_to_sip(&jid, Scheme::Sip) {
            let canonical = jid.canonical();
            prop_assert_eq!(canonical.canonical(), canonical.clone());
            prop_assert_eq!(jid_to_sip(&canonical, Scheme::Sip), Ok(uri.clone()));
            prop_assert_eq!(sip_to_jid(&uri), Ok(canonical));
            prop_assert_eq!(uri.canonical(), uri.clone());
            let plain = |c: char| c.is_ascii_graphic() && !"<>\"@\\^`{|}#".contains(c);
            prop_assert!(uri.user.unwrap_or_default().chars().all(plain));
        }
    }

    #[test]
    fn a_uri_comes_back_as_its_canonical_self(user in localparts(), encode_all in any::<bool>()) {
        let plain: &[u8] = if encode_all { b"" } else { classes::SIP_USER };
        let uri = SipAddress {
            scheme: Scheme::Sip,
            user: Some(percent::encode(&user, plain)),
            host: "OCS.example".to_owned(),
            gr: None,
        };
        if let Ok(jid) = sip_to_jid(&uri) {
            prop_assert!(jid.check().is_ok(), "{}", jid);
            prop_assert_eq!(jid.canonical(), jid.clone());
            prop_assert_eq!(Jid::parse(&jid.to_string()), Ok(jid.clone()));
            prop_assert_eq!(jid_to_sip(&jid, Scheme::Sip), Ok(uri.canonical()));
        }
    }

    #[test]
    fn domains_survive_the_round_trip(domain in "[a-zA-Z0-9ß-ÿİςΣ花子.。xn-]{1,16}") {
        let jid = Jid { local: None, domain, resource: None };
        if let Ok(uri) = jid_to_sip(&jid, Scheme::Sip) {
            prop_assert!(uri.host.is_ascii());
            prop_assert_eq!(sip_to_jid(&uri), Ok(jid.canonical()));
            prop_assert_eq!(jid.canonical().canonical(), jid.canonical());
            prop_assert_eq!(uri.canonical(), uri);
        }
    }

    #[test]
    fn im_and_pres_uris_come_back_too(local in localparts()) {
        let jid = Jid { local: Some(local), domain: "jabber.example".to_owned(), resource: None };
        if let Ok(uri) = jid_to_sip(&jid, Scheme::Pres) {
            prop_assert_eq!(sip_to_jid(&uri), Ok(jid.canonical()));
        }
    }

    #[test]
    fn no_text_breaks_the_parser(text in any::<String>()) {
        if let Ok(jid) = Jid::parse(&text) {
            prop_assert_eq!(jid.to_string(), text);
            let _ = jid.canonical();
        }
    }
}

/// Whatever a server that knows Nodeprep makes of a localpart, it is found again.
#[test]
fn prepared_localparts_have_the_same_key() {
    let key = |local: &str| {
        let jid = Jid {
            local: Some(local.to_owned()),
            domain: "a.example".to_owned(),
            resource: None,
        };
        jid.match_key().local
    };
    let mut compared = 0;
    for c in char::from_u32(0xa1)
        .into_iter()
        .flat_map(|first| first..=char::MAX)
    {
        let local = format!("a{c}");
        if let Ok(prepared) = stringprep::nodeprep(&local)
            && crate::address::localpart::check(&local).is_ok()
        {
            assert_eq!(key(&local), key(&prepared), "U+{:04X}", u32::from(c));
            compared += 1;
        }
    }
    assert!(compared > 50_000, "{compared}");
}
