//! A name server on loopback with a few records.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

const A: u16 = 1;
const SRV: u16 = 33;
const NAPTR: u16 = 35;

/// One record: name, type, data.
pub(crate) type Record = (String, u16, Vec<u8>);

/// A name server for these records only; every other name does not exist.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, u16)>>>,
}

impl NameServer {
    pub(crate) fn start(zone: Vec<Record>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((count, client)) = socket.recv_from(&mut buffer) {
                let (name, kind, end) = question(&buffer[..count]);
                let answer = answer(&buffer[..end], &name, kind, &zone);
                seen.lock().unwrap().push((name, kind));
                _ = socket.send_to(&answer, client);
            }
        });
        Self { address, asked }
    }

    /// How often a name was asked for.
    pub(crate) fn count(&self, name: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(asked, _)| asked == name).count()
    }
}

/// The name and type of a question, and where it ends.
fn question(octets: &[u8]) -> (String, u16, usize) {
    let mut at = 12;
    let mut labels = Vec::new();
    while octets[at] != 0 {
        let end = at + 1 + usize::from(octets[at]);
        labels.push(String::from_utf8_lossy(&octets[at + 1..end]).to_lowercase());
        at = end;
    }
    let kind = u16::from_be_bytes([octets[at + 1], octets[at + 2]]);
    (labels.join("."), kind, at + 5)
}

fn answer(query: &[u8], name: &str, kind: u16, zone: &[Record]) -> Vec<u8> {
    let found = zone
        .iter()
        .filter(|(owner, of, _)| owner == name && *of == kind);
    let found: Vec<_> = found.collect();
    let exists = zone.iter().any(|(owner, ..)| owner == name);
    let mut out = query.to_vec();
    out[2] = 0x85;
    out[3] = if exists { 0x80 } else { 0x83 };
    out[4..12].copy_from_slice(&[0, 1, 0, u8::try_from(found.len()).unwrap(), 0, 0, 0, 0]);
    for (_, kind, data) in found {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1]);
        out.extend(300_u32.to_be_bytes());
        out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend(data);
    }
    out
}

fn encoded(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.extend(text(label));
    }
    out.push(0);
    out
}

fn text(words: &str) -> Vec<u8> {
    let mut out = vec![u8::try_from(words.len()).unwrap()];
    out.extend(words.as_bytes());
    out
}

pub(crate) fn srv(name: &str, port: u16, target: &str) -> Record {
    let mut data = vec![0, 0, 0, 0];
    data.extend(port.to_be_bytes());
    data.extend(encoded(target));
    (name.to_owned(), SRV, data)
}

pub(crate) fn naptr(name: &str, service: &str) -> Record {
    let mut data = vec![0, 1, 0, 1];
    data.extend([text("s"), text(service), text("")].concat());
    data.extend(encoded("_sips._tcp.sip.test"));
    (name.to_owned(), NAPTR, data)
}

pub(crate) fn at(name: &str, address: [u8; 4]) -> Record {
    (name.to_owned(), A, address.to_vec())
}
