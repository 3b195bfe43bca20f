use super::*;

fn sip(code: u16, reason: &str) -> Failure {
    Failure::Sip(SipStatus {
        code,
        reason: reason.to_owned(),
        contact: None,
    })
}

fn xmpp(condition: Condition, from_full_jid: bool) -> Failure {
    Failure::Xmpp {
        error: StanzaError::new(condition),
        from_full_jid,
        new_address: None,
    }
}

fn contact(user: &str) -> SipAddress {
    SipAddress {
        scheme: Scheme::Sip,
        user: Some(user.to_owned()),
        host: "ocs2.example".to_owned(),
        gr: None,
    }
}

const LOCALS: [Local; 14] = [
    Local::BadAddress,
    Local::NoUser,
    Local::DomainNotFound,
    Local::SipDomain,
    Local::Unreachable,
    Local::TransportFailed,
    Local::Timeout,
    Local::NotAllowed,
    Local::TooLarge,
    Local::NotAcceptable,
    Local::NotImplemented,
    Local::Overloaded,
    Local::OutcomeUnknown,
    Local::ShuttingDown,
];

#[test]
fn the_tables_name_each_thing_once() {
    for row in CONDITIONS {
        let same =
            |other: &&ConditionRow| other.condition == row.condition || other.name == row.name;
        assert_eq!(CONDITIONS.iter().filter(same).count(), 1, "{row:?}");
        assert_eq!(Condition::from_name(row.name), row.condition);
        assert_eq!(row.condition.name(), row.name);
    }
    for row in STATUSES {
        assert_eq!(
            STATUSES
                .iter()
                .filter(|other| other.code == row.code)
                .count(),
            1
        );
    }
    assert_eq!(
        Condition::from_name("nonsense"),
        Condition::UndefinedCondition
    );
}

#[test]
fn status_codes_become_conditions() {
    let rows = [
        (300, Condition::Redirect, ErrorType::Modify),
        (380, Condition::NotAcceptable, ErrorType::Modify),
        (399, Condition::Redirect, ErrorType::Modify),
        (402, Condition::BadRequest, ErrorType::Modify),
        (403, Condition::Forbidden, ErrorType::Auth),
        (407, Condition::RegistrationRequired, ErrorType::Auth),
        (408, Condition::RemoteServerTimeout, ErrorType::Wait),
        (410, Condition::Gone, ErrorType::Cancel),
        (486, Condition::RecipientUnavailable, ErrorType::Wait),
        (491, Condition::UnexpectedRequest, ErrorType::Wait),
        (499, Condition::BadRequest, ErrorType::Modify),
        (503, Condition::InternalServerError, ErrorType::Cancel),
        (513, Condition::PolicyViolation, ErrorType::Modify),
        (599, Condition::InternalServerError, ErrorType::Cancel),
        (604, Condition::ItemNotFound, ErrorType::Cancel),
        (699, Condition::RecipientUnavailable, ErrorType::Wait),
        (0, Condition::UndefinedCondition, ErrorType::Cancel),
    ];
    for (code, condition, kind) in rows {
        let error = to_stanza(&sip(code, ""));
        assert_eq!(
            (error.condition, error.kind, error.text),
            (condition, kind, None),
            "{code}"
        );
    }
}

#[test]
fn moved_users_keep_their_address() {
    let moved = |code, user| {
        let status = SipStatus {
            contact: Some(contact(user)),
            ..SipStatus::new(code, "Moved")
        };
        to_stanza(&Failure::Sip(status))
    };
    let gone = moved(301, "bruno.new");
    assert_eq!(gone.condition, Condition::Gone);
    assert_eq!(
        gone.new_address.as_deref(),
        Some("xmpp:bruno.new@ocs2.example")
    );
    assert_eq!(
        moved(302, "b").new_address.as_deref(),
        Some("xmpp:b@ocs2.example")
    );
    assert_eq!(moved(410, "b").new_address, None);
    assert_eq!(moved(301, "%FF").new_address, None);

    let reported = |condition, new_address: Option<&str>| {
        to_sip(&Failure::Xmpp {
            error: StanzaError::new(condition),
            from_full_jid: false,
            new_address: new_address.map(|text| Jid::parse(text).unwrap()),
        })
    };
    let status = reported(Condition::Gone, Some("alma.new@jabber.example"));
    assert_eq!(status.code, 301);
    assert_eq!(
        status.contact.unwrap().to_string(),
        "sip:alma.new@jabber.example"
    );
    assert_eq!(reported(Condition::Gone, None).code, 410);
    assert_eq!(reported(Condition::Redirect, Some("a@b.example")).code, 302);
    assert_eq!(reported(Condition::Redirect, None).code, 480);
    assert_eq!(
        reported(Condition::Forbidden, Some("a@b.example")).contact,
        None
    );
}

#[test]
fn conditions_become_status_codes() {
    let rows = [
        (Condition::BadRequest, 400, 400),
        (Condition::FeatureNotImplemented, 405, 501),
        (Condition::Forbidden, 403, 603),
        (Condition::ItemNotFound, 404, 604),
        (Condition::NotAcceptable, 406, 606),
        (Condition::RecipientUnavailable, 480, 600),
        (Condition::NotAuthorized, 403, 403),
        (Condition::RegistrationRequired, 403, 403),
        (Condition::RemoteServerNotFound, 404, 404),
        (Condition::ServiceUnavailable, 403, 403),
        (Condition::UnexpectedRequest, 491, 491),
    ];
    for (condition, full, bare) in rows {
        assert_eq!(to_sip(&xmpp(condition, true)).code, full, "{condition:?}");
        assert_eq!(to_sip(&xmpp(condition, false)).code, bare, "{condition:?}");
    }
}

#[test]
fn no_users_error_becomes_a_challenge_or_503() {
    for row in CONDITIONS {
        for full in [true, false] {
            let code = to_sip(&xmpp(row.condition, full)).code;
            assert!(
                (300..700).contains(&code) && ![401, 407, 503].contains(&code),
                "{row:?}"
            );
        }
    }
    assert_eq!(to_sip(&sip(401, "")).code, 403);
    assert_eq!(to_sip(&sip(200, "")).code, 500);
    assert_eq!(to_sip(&sip(486, "Busy")).code, 486);
}

#[test]
fn every_finding_of_ours_has_a_name_on_both_sides() {
    for local in LOCALS {
        let failure = Failure::Local(local);
        let (status, error) = (to_sip(&failure), to_stanza(&failure));
        assert!((400..700).contains(&status.code) && ![401, 407, 408].contains(&status.code));
        assert!(!status.reason.is_empty() && error.text.as_deref() == Some(&status.reason));
    }
    assert_eq!(
        to_stanza(&Failure::Local(Local::DomainNotFound)).condition,
        Condition::RemoteServerNotFound
    );
    assert_eq!(
        to_stanza(&Failure::Local(Local::BadAddress)).condition,
        Condition::JidMalformed
    );
}

#[test]
fn words_stay_on_one_line() {
    let error = StanzaError {
        text: Some("Blocked\r\nX: y\u{0}\tby  policy\u{7f}".to_owned()),
        ..StanzaError::new(Condition::Forbidden)
    };
    let failure = Failure::Xmpp {
        error,
        from_full_jid: true,
        new_address: None,
    };
    assert_eq!(to_sip(&failure).reason, "Blocked X: y by policy");
    assert_eq!(
        to_sip(&xmpp(Condition::Forbidden, true)).reason,
        "Forbidden"
    );
    assert_eq!(SipStatus::new(404, " \r\n ").reason, "Not Found");
    assert_eq!(
        SipStatus::new(404, &"ä".repeat(500)).reason.chars().count(),
        MAX_REASON
    );

    let text = |reason| to_stanza(&sip(480, reason)).text;
    assert_eq!(
        text("Beschäftigt — später").as_deref(),
        Some("Beschäftigt — später")
    );
    assert_eq!(text("No <b> & \"c\"").as_deref(), Some("No <b> & \"c\""));
    assert_eq!(text("a\u{1}b\u{fffe}").as_deref(), Some("ab"));
    assert_eq!(text(" "), None);
}
