//! Answers to a request that is open, by others than the one who was asked.

use std::io::Write;
use std::net::{TcpStream, UdpSocket};

use crate::harness::{Folder, peer, request};
use crate::sip::World;
use crate::sip_sink::{Messages, field};
use crate::tls;

/// `sip.example` over UDP, and a stranger who knows all that it is asked. At its own address, where servers may answer from
/// any port, only who has seen the branch can say anything.
struct Stage {
    world: World,
    partner: UdpSocket,
    stranger: UdpSocket,
    _folder: Folder,
}

impl Stage {
    fn start() -> Self {
        let partner = peer();
        let next_hop = format!("sip:{};transport=udp", partner.local_addr().unwrap());
        let folder = Folder::new("spoofed");
        Self {
            world: World::start_by(&folder, &next_hop),
            partner,
            // Trusted as much as the partner is.
            stranger: UdpSocket::bind("127.79.0.1:0").unwrap(),
            _folder: folder,
        }
    }

    /// The stranger answers, over UDP, and from the partner's address over a connection; the gateway has read it all.
    fn stranger_answers(&self, asked: &str, status: &str) {
        let answer = answer(asked, status);
        self.stranger
            .send_to(answer.as_bytes(), self.world.gateway.udp)
            .unwrap();
        let mut stream = tls::patient(TcpStream::connect(self.world.gateway.tcp).unwrap());
        let after = request("OPTIONS", "gw.ocs.test", "after-the-answer", "");
        let after = after.replace("SIP/2.0/UDP", "SIP/2.0/TCP");
        stream.write_all((answer + &after).as_bytes()).unwrap();
        let heard = Messages::default().read(&mut stream).expect("an answer");
        assert!(heard.starts_with("SIP/2.0 200"), "{heard}");
        // What came to the socket of UDP before this has been read before it.
        let probe = request("OPTIONS", "gw.ocs.test", field(asked, "Call-ID"), "");
        self.world.gateway.ask(&peer(), &probe);
    }

    /// The partner's own answer, and one to another request.
    fn partner_answers(&self, asked: &str, status: &str) {
        let other = asked.replace("branch=z9hG4bK", "branch=z9hG4bKx");
        for answer in [answer(&other, "500 Spoofed"), answer(asked, status)] {
            self.partner
                .send_to(answer.as_bytes(), self.world.gateway.udp)
                .unwrap();
        }
    }
}

fn answer(asked: &str, status: &str) -> String {
    let line = |name: &str| format!("{name}: {}\r\n", field(asked, name));
    format!(
        "SIP/2.0 {status}\r\n{}{}To: {};tag=1\r\n{}{}Content-Length: 0\r\n\r\n",
        line("Via"),
        line("From"),
        field(asked, "To"),
        line("Call-ID"),
        line("CSeq")
    )
}

#[test]
fn only_the_one_who_was_asked_says_whether_it_arrived() {
    let stage = Stage::start();
    let lost = stage.world.writes(&stage.partner, "is-lost");
    stage.stranger_answers(&lost, "200 OK");
    stage.partner_answers(&lost, "404 Not Found");
    let heard = stage.world.xmpp.hear("id='is-lost'");
    let told = heard.last().unwrap();
    assert!(
        told.contains("type='error'") && told.contains("<item-not-found"),
        "{told}"
    );

    let arrives = stage.world.writes(&stage.partner, "arrives");
    stage.stranger_answers(&arrives, "404 Not Found");
    stage.partner_answers(&arrives, "200 OK");
    let last = stage.world.writes(&stage.partner, "is-lost-too");
    stage.partner_answers(&last, "404 Not Found");
    let heard = stage.world.xmpp.hear("id='is-lost-too'");
    assert!(
        !heard.iter().any(|told| told.contains("'arrives'")),
        "{heard:#?}"
    );
}
