//! One end of an MSRP connection.

use std::io::{ErrorKind, Read, Write};

/// A message that came.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) transaction: String,
    /// The method, or status and comment.
    pub(crate) what: String,
    /// Header lines.
    head: String,
    pub(crate) body: String,
    pub(crate) flag: char,
}

impl Heard {
    /// A header's value; empty where there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        let start = format!("{name}: ");
        let line = self.head.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_default()
    }
}

/// A connection, and the paths at its ends.
pub(crate) struct Line<S> {
    pub(crate) stream: S,
    read: Vec<u8>,
    ours: String,
    theirs: String,
    sent: u32,
}

impl<S: Read + Write> Line<S> {
    pub(crate) fn new(stream: S, ours: &str, theirs: &str) -> Self {
        Self {
            stream,
            read: Vec::new(),
            ours: ours.to_owned(),
            theirs: theirs.to_owned(),
            sent: 0,
        }
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
        self.stream.flush().unwrap();
    }

    /// Sends a request with these header lines, and a body if there is one; its transaction.
    pub(crate) fn request(
        &mut self,
        method: &str,
        more: &str,
        body: Option<&str>,
        flag: char,
    ) -> String {
        let (transaction, text) = self.written(method, more, body, flag);
        self.say(&text);
        transaction
    }

    /// A whole message of plain text, to be sent somehow else.
    pub(crate) fn text(&mut self, id: &str, range: &str, body: &str) -> String {
        self.chunk(id, range, body, '$')
    }

    /// A chunk of one.
    pub(crate) fn chunk(&mut self, id: &str, range: &str, body: &str, flag: char) -> String {
        let more =
            format!("Message-ID: {id}\r\nByte-Range: {range}\r\nContent-Type: text/plain\r\n");
        self.written("SEND", &more, Some(body), flag).1
    }

    /// The path of the other end.
    pub(crate) fn path(&self) -> &str {
        &self.theirs
    }

    fn written(
        &mut self,
        method: &str,
        more: &str,
        body: Option<&str>,
        flag: char,
    ) -> (String, String) {
        self.sent += 1;
        let transaction = format!("peer{:04}", self.sent);
        let body = body
            .map(|body| format!("\r\n{body}\r\n"))
            .unwrap_or_default();
        let (to, from) = (&self.theirs, &self.ours);
        let text = format!(
            "MSRP {transaction} {method}\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\n{more}{body}\
             -------{transaction}{flag}\r\n"
        );
        (transaction, text)
    }

    /// Sends a chunk of a text and waits for the answer to it: its status and comment.
    pub(crate) fn send(
        &mut self,
        id: &str,
        range: &str,
        more: &str,
        body: &str,
        flag: char,
    ) -> String {
        let more = format!(
            "Message-ID: {id}\r\nByte-Range: {range}\r\n{more}Content-Type: text/plain\r\n"
        );
        let transaction = self.request("SEND", &more, Some(body), flag);
        self.hear_answer(&transaction)
    }

    /// The SEND without content that binds the connection to the session.
    pub(crate) fn bind(&mut self) {
        let transaction = self.request(
            "SEND",
            "Message-ID: bind\r\nByte-Range: 1-0/0\r\n",
            None,
            '$',
        );
        let answer = self.hear_answer(&transaction);
        assert!(answer.starts_with("200"), "{answer}");
    }

    /// Status and comment of the answer to a request of ours.
    pub(crate) fn hear_answer(&mut self, transaction: &str) -> String {
        let heard = self.hear();
        assert_eq!(heard.transaction, transaction, "{heard:?}");
        heard.what
    }

    pub(crate) fn answer(&mut self, heard: &Heard, status: &str) {
        let transaction = &heard.transaction;
        let text = format!(
            "MSRP {transaction} {status}\r\nTo-Path: {}\r\nFrom-Path: {}\r\n-------{transaction}$\r\n",
            heard.field("From-Path"),
            heard.field("To-Path"),
        );
        self.say(&text);
    }

    /// The next SEND with content; SENDs without are answered on the way.
    pub(crate) fn hear_text(&mut self) -> Heard {
        loop {
            let heard = self.hear();
            assert_eq!(heard.what, "SEND", "{heard:?}");
            if !heard.body.is_empty() {
                return heard;
            }
            self.answer(&heard, "200 OK");
        }
    }

    /// The next message with content, its chunks answered and put together.
    pub(crate) fn hear_whole(&mut self) -> String {
        let mut whole = String::new();
        loop {
            let heard = self.hear_text();
            let range = heard.field("Byte-Range");
            let start = format!("{}-", whole.len() + 1);
            assert!(
                range.starts_with(&start),
                "{range} after {} octets",
                whole.len()
            );
            whole.push_str(&heard.body);
            self.answer(&heard, "200 OK");
            if heard.flag == '$' {
                assert!(range.ends_with(&format!("/{}", whole.len())), "{range}");
                return whole;
            }
        }
    }

    /// The next message.
    pub(crate) fn hear(&mut self) -> Heard {
        let mut buffer = [0; 4096];
        loop {
            if let Some(heard) = self.take() {
                return heard;
            }
            let count = self
                .stream
                .read(&mut buffer)
                .expect("the gateway says something");
            assert!(count > 0, "the gateway closed the connection");
            self.read.extend_from_slice(&buffer[..count]);
        }
    }

    /// Waits until the gateway closes the connection; what it said before.
    pub(crate) fn hear_end(&mut self) -> String {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => self.read.extend_from_slice(&buffer[..count]),
                Err(error) => {
                    let still_open = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
                    assert!(
                        !still_open.contains(&error.kind()),
                        "the connection stays open"
                    );
                    break;
                }
            }
        }
        String::from_utf8_lossy(&self.read).into_owned()
    }

    /// The first message, if it is whole.
    fn take(&mut self) -> Option<Heard> {
        let text = String::from_utf8_lossy(&self.read).into_owned();
        let (start, _) = text.split_once("\r\n")?;
        let mut words = start.splitn(3, ' ');
        assert_eq!(words.next(), Some("MSRP"), "{start}");
        let transaction = words.next()?.to_owned();
        let what = words.next()?.to_owned();
        let end_line = format!("\r\n-------{transaction}");
        let (message, rest) = text.split_once(&end_line)?;
        let flag = rest.chars().next().filter(|_| rest.len() >= 3)?;
        let (head, body) = message.split_once("\r\n\r\n").unwrap_or((message, ""));
        let heard = Heard {
            transaction,
            what,
            head: head.to_owned(),
            body: body.to_owned(),
            flag,
        };
        self.read.drain(..message.len() + end_line.len() + 3);
        Some(heard)
    }
}
