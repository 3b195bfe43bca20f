//! A server-to-server stream as a peer reads and writes it: headers and elements, one by one.

use std::io::{ErrorKind, Read, Write};

/// The header of a stream.
pub(crate) fn header(from: &str, to: &str, id: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
         xmlns:stream='http://etherx.jabber.org/streams' from='{from}' to='{to}'{id} version='1.0'>"
    )
}

/// The value of an attribute of the first tag.
pub(crate) fn attribute<'a>(element: &'a str, name: &str) -> &'a str {
    let tag = element.split('>').next().unwrap();
    let quoted = tag.split_once(&format!(" {name}=")).map(|(_, rest)| rest);
    let quoted = quoted.unwrap_or_else(|| panic!("no {name} in {element}"));
    let quote = quoted.chars().next().unwrap();
    quoted.split(quote).nth(1).unwrap()
}

/// Headers and elements of a stream.
pub(crate) struct Pieces<S> {
    pub(crate) stream: S,
    read: String,
}

impl<S: Read + Write> Pieces<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            read: String::new(),
        }
    }

    /// Writes; a stream that ends early is found out by reading.
    pub(crate) fn say(&mut self, text: &str) {
        self.say_octets(text.as_bytes());
    }

    pub(crate) fn say_octets(&mut self, octets: &[u8]) {
        _ = self.stream.write_all(octets);
        _ = self.stream.flush();
    }

    pub(crate) fn wait_for(&mut self, start: &str) -> String {
        let mut others = Vec::new();
        for piece in self.by_ref() {
            if piece.starts_with(start) {
                return piece;
            }
            others.push(piece);
        }
        panic!("the stream ends without {start}: {others:?}");
    }

    /// The first piece, if it is whole.
    fn take(&mut self) -> Option<String> {
        let text = self.read.trim_start();
        let text = match text.strip_prefix("<?") {
            Some(rest) => rest.split_once("?>")?.1.trim_start(),
            None => text,
        };
        let mut depth = 0_u32;
        let mut end = 0;
        loop {
            let open = end + text.get(end..)?.find('<')?;
            let close = open + text.get(open..)?.find('>')?;
            let tag = text.get(open..=close)?;
            end = close + 1;
            if tag.starts_with("<stream:stream") || tag.starts_with("</stream:stream") {
                break;
            } else if tag.starts_with("</") {
                depth -= 1;
            } else if !tag.ends_with("/>") {
                depth += 1;
            }
            if depth == 0 {
                break;
            }
        }
        let piece = text.get(..end)?.to_owned();
        self.read = text.get(end..)?.to_owned();
        Some(piece)
    }
}

impl<S: Read + Write> Iterator for Pieces<S> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(piece) = self.take() {
                return Some(piece).filter(|piece| !piece.starts_with("</stream"));
            }
            match self.stream.read(&mut buffer) {
                Ok(count) if count > 0 => self
                    .read
                    .push_str(std::str::from_utf8(&buffer[..count]).expect("XMPP is UTF-8")),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("neither a word nor an end after `{}`", self.read)
                }
                _ => return None,
            }
        }
    }
}
