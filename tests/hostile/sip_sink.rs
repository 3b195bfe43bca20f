//! A SIP server over TCP that answers every request with 200, and hands on what it heard. What it does not understand ends
//! the test: the gateway never writes such a thing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

/// The running server.
pub(crate) struct SipSink {
    pub(crate) address: SocketAddr,
    pub(crate) heard: Receiver<String>,
}

impl SipSink {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, heard) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sender = sender.clone();
                std::thread::spawn(move || serve(stream, &sender));
            }
        });
        Self { address, heard }
    }
}

fn serve(mut stream: TcpStream, sender: &Sender<String>) {
    let mut messages = Messages::default();
    while let Some(message) = messages.read(&mut stream) {
        if !message.starts_with("SIP/2.0 ") && !message.starts_with("ACK ") {
            let answer = answer(&message);
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
        if sender.send(message).is_err() {
            return;
        }
    }
}

/// 200 to a request.
pub(crate) fn answer(request: &str) -> String {
    let mut lines = String::new();
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        let tag = if name == "To" && !field(request, "To").contains(";tag=") {
            ";tag=sink"
        } else {
            ""
        };
        lines += &format!("{name}: {}{tag}\r\n", field(request, name));
    }
    format!(
        "SIP/2.0 200 OK\r\n{lines}Contact: <sip:romeo@127.0.0.1:5060;transport=tcp>\r\nExpires: 3600\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// A header's value.
pub(crate) fn field<'a>(message: &'a str, name: &str) -> &'a str {
    let head = message.split("\r\n\r\n").next().unwrap();
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map_or("", |(_, value)| value.trim())
}

/// Cuts what the gateway writes on a stream into messages.
#[derive(Default)]
pub(crate) struct Messages {
    read: Vec<u8>,
    /// Nothing came within the deadline of the stream.
    pub(crate) silent: bool,
}

impl Messages {
    /// The next message, or `None` at the end.
    pub(crate) fn read(&mut self, stream: &mut impl Read) -> Option<String> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(message) = self.take() {
                return Some(message);
            }
            match stream.read(&mut buffer) {
                Ok(count) if count > 0 => self.read.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.silent = true;
                    return None;
                }
                _ => return None,
            }
        }
    }

    fn take(&mut self) -> Option<String> {
        while self.read.starts_with(b"\r\n") {
            self.read.drain(..2);
        }
        let head = self.read.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(&self.read[..head]).expect("a head is UTF-8");
        let length: usize = field(text, "Content-Length").parse().expect(text);
        if self.read.len() < head + length {
            return None;
        }
        let message: Vec<u8> = self.read.drain(..head + length).collect();
        Some(String::from_utf8(message).expect("a body is UTF-8"))
    }
}
