//! The real binary, and an error that an XMPP server does not handle: its sender is told after the next start, and then
//! no more.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "process/harness.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod harness;
#[path = "process/xml_pieces.rs"]
mod xml_pieces;
#[path = "process/xmpp_server.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod xmpp_server;

use harness::{Folder, Gateway, SETTINGS};
use xml_pieces::attribute;
use xmpp_server::XmppServer;

/// Writes to a SIP user whose server is not there.
fn write(server: &XmppServer, id: &str) {
    server.say(&format!(
        "<message from='romeo@jabber.test/a' to='juliet@ocs.test' id='{id}'><body>x</body></message>"
    ));
}

#[test]
fn an_error_that_was_not_handled_is_told_after_the_next_start_and_once() {
    let folder = Folder::new("owed-errors");
    let server = XmppServer::start();
    let settings = SETTINGS
        .replace(
            "address = \"127.0.0.1:9\"",
            &format!("address = \"{}\"\ntls = \"off\"", server.address),
        )
        .replace("sip:127.0.0.1:9", "sip:127.0.0.1:9;transport=tcp");
    let mut gateway = Gateway::start_with(&folder, &settings);
    server.dial(gateway.xmpp);
    server.answers_pings(false);
    write(&server, "m1");
    let error = server.hear("type='error'");
    assert_eq!(attribute(&error, "id"), "m1");
    assert!(gateway.stop().success());

    let mut gateway = Gateway::start_with(&folder, &settings);
    let error = server.hear("type='error'");
    assert_eq!(attribute(&error, "id"), "m1");
    assert!(error.contains("internal-server-error"), "{error}");
    server.answers_pings(true);
    server.dial(gateway.xmpp);
    write(&server, "m2");
    // The answer to this ping, at last, is behind both.
    server.hear("id='m2'");
    assert!(gateway.stop().success());
    // They may have been written twice, as the first ping had no answer.
    server.forget();

    let mut gateway = Gateway::start_with(&folder, &settings);
    server.dial(gateway.xmpp);
    write(&server, "m3");
    assert_eq!(server.next_error(), "m3");
    assert!(gateway.stop().success());
}
