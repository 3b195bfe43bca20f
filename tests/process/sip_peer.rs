//! A SIP server of one domain over TCP, with a listener and a connection to the gateway.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use crate::harness::DEADLINE;

/// One SIP message, and the connection that it came over.
pub(crate) struct Heard {
    pub(crate) text: String,
    stream: TcpStream,
}

/// The running server.
pub(crate) struct SipPeer {
    pub(crate) address: SocketAddr,
    messages: Receiver<Heard>,
    sender: Sender<Heard>,
    to_gateway: Option<TcpStream>,
    /// What came and was not asked for yet.
    kept: Vec<Heard>,
}

impl SipPeer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, messages) = channel();
        let each = sender.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let each = each.clone();
                std::thread::spawn(move || read(stream, &each));
            }
        });
        Self {
            address,
            messages,
            sender,
            to_gateway: None,
            kept: Vec::new(),
        }
    }

    /// Connects to the gateway.
    pub(crate) fn dial(&mut self, gateway: SocketAddr) {
        let stream = TcpStream::connect(gateway).unwrap();
        let (reader, sender) = (stream.try_clone().unwrap(), self.sender.clone());
        std::thread::spawn(move || read(reader, &sender));
        self.to_gateway = Some(stream);
    }

    /// Sends a request of bob's to romeo, with the head lines that it needs beside the usual ones.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        call: &str,
        cseq: u32,
        to: &str,
        more: &str,
        body: &str,
    ) {
        let at = self.address;
        let text = format!(
            "{method} sip:romeo@jabber.test SIP/2.0\r\n\
             Via: SIP/2.0/TCP {at};branch=z9hG4bK-{call}-{cseq}-{method}\r\nMax-Forwards: 70\r\n\
             From: <sip:bob@ocs.test>;tag=t1\r\nTo: {to}\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:bob@{at};transport=tcp>\r\n{more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let stream = self.to_gateway.as_mut().expect("a connection");
        stream.write_all(text.as_bytes()).unwrap();
    }

    /// The first message that starts so. Others wait: those of different connections come in any order.
    pub(crate) fn hear(&mut self, start: &str) -> Heard {
        let deadline = Instant::now() + DEADLINE;
        let is_wanted = |heard: &Heard| heard.text.starts_with(start);
        if let Some(at) = self.kept.iter().position(is_wanted) {
            return self.kept.remove(at);
        }
        while let Ok(heard) = self
            .messages
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            if is_wanted(&heard) {
                return heard;
            }
            self.kept.push(heard);
        }
        let others: Vec<&str> = self.kept.iter().map(|heard| heard.text.as_str()).collect();
        panic!("no `{start}` among:\n{}", others.join("\n"));
    }

    /// Nothing has come.
    pub(crate) fn has_heard_nothing(&self) -> bool {
        self.kept.is_empty() && self.messages.try_recv().is_err()
    }

    /// The final answer to an INVITE.
    pub(crate) fn hear_final(&mut self) -> Heard {
        loop {
            let heard = self.hear("SIP/2.0 ");
            if !heard.text.starts_with("SIP/2.0 1") {
                return heard;
            }
        }
    }
}

impl Heard {
    /// A header's value.
    pub(crate) fn field(&self, name: &str) -> &str {
        let start = format!("{name}: ");
        let line = self.text.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.text))
    }

    /// An attribute of its session description.
    pub(crate) fn attribute(&self, name: &str) -> &str {
        let start = format!("a={name}:");
        let line = self.text.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.text))
    }

    /// Answers this request, with a session description if it is not empty.
    pub(crate) fn answer(&mut self, status: &str, contact: SocketAddr, body: &str) {
        let echoed: Vec<String> = ["Via", "From", "Call-ID", "CSeq"]
            .iter()
            .map(|name| format!("{name}: {}\r\n", self.field(name)))
            .collect();
        let content = match body {
            "" => "",
            _ => "Content-Type: application/sdp\r\n",
        };
        let to = self.field("To");
        let tag = if to.contains(";tag=") { "" } else { ";tag=b1" };
        let text = format!(
            "SIP/2.0 {status}\r\n{}To: {to}{tag}\r\nContact: <sip:bob@{contact};transport=tcp>\r\n{content}\
             Content-Length: {}\r\n\r\n{body}",
            echoed.concat(),
            body.len()
        );
        self.stream.write_all(text.as_bytes()).unwrap();
    }
}

/// Reads one connection to its end.
fn read(mut stream: TcpStream, messages: &Sender<Heard>) {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count) = stream.read(&mut buffer) {
        if count == 0 {
            return;
        }
        read.extend_from_slice(&buffer[..count]);
        while let Some(text) = take(&mut read) {
            let stream = stream.try_clone().unwrap();
            if messages.send(Heard { text, stream }).is_err() {
                return;
            }
        }
    }
}

/// The first message, if it is whole.
fn take(read: &mut Vec<u8>) -> Option<String> {
    while read.starts_with(b"\r\n") {
        read.drain(..2);
    }
    let end = read.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8(read[..end].to_vec()).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(0, |length| length.trim().parse().unwrap());
    let whole = end + 4 + length;
    if read.len() < whole {
        return None;
    }
    let message: Vec<u8> = read.drain(..whole).collect();
    Some(String::from_utf8(message).unwrap())
}
