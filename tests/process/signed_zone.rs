//! A name server with one signed zone, `test`.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hickory_resolver::proto::dnssec::crypto::Ed25519SigningKey;
use hickory_resolver::proto::dnssec::rdata::{DNSKEY, DNSSECRData, NSEC, RRSIG};
use hickory_resolver::proto::dnssec::{DnssecSigner, SigningKey};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, NS, SOA, SRV, TLSA};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordSet, RecordType};

const LIFETIME: u32 = 300;

/// How a record set is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signed {
    Rightly,
    /// With a signature of something else.
    Wrongly,
    Never,
}

/// The zone.
pub(crate) struct Zone {
    signer: DnssecSigner,
    key: DNSKEY,
    sets: Vec<(Name, RecordType, Vec<Record>)>,
    delegated: Vec<Name>,
    stripped: Vec<Name>,
    /// What is denied in the name of a zone that is not signed.
    borrowed: Vec<(Name, Name)>,
    lifetime: u32,
    failing: Arc<AtomicBool>,
}

pub(crate) fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).unwrap()
}

pub(crate) fn address(octets: [u8; 4]) -> RData {
    RData::A(A(Ipv4Addr::from(octets)))
}

pub(crate) fn service(port: u16, host: &str) -> RData {
    service_at(0, port, host)
}

pub(crate) fn service_at(priority: u16, port: u16, host: &str) -> RData {
    RData::SRV(SRV::new(priority, 0, port, name(host)))
}

pub(crate) fn tlsa(usage: u8, selector: u8, matching: u8, data: &[u8]) -> RData {
    let (usage, selector, matching) = (usage.into(), selector.into(), matching.into());
    RData::TLSA(TLSA::new(usage, selector, matching, data.to_vec()))
}

impl Zone {
    /// With a key of its own.
    pub(crate) fn new() -> Self {
        let pkcs8 = Ed25519SigningKey::generate_pkcs8().unwrap();
        let secret = Ed25519SigningKey::from_pkcs8(&pkcs8).unwrap();
        let key = DNSKEY::from_key(&secret.to_public_key().unwrap());
        let years = Duration::from_secs(20 * 365 * 24 * 3600);
        let signer = DnssecSigner::new(key.clone(), Box::new(secret), name("test"), years);
        let mut zone = Self {
            signer,
            key: key.clone(),
            sets: Vec::new(),
            delegated: Vec::new(),
            stripped: Vec::new(),
            borrowed: Vec::new(),
            lifetime: LIFETIME,
            failing: Arc::default(),
        };
        let own = RData::DNSSEC(DNSSECRData::DNSKEY(key));
        zone.add("test", own, Signed::Rightly);
        zone
    }

    /// The line of a trust anchor file.
    pub(crate) fn trust_anchor(&self) -> String {
        format!("test. {LIFETIME} IN DNSKEY {}\n", self.key)
    }

    /// Adds a record set of one record.
    pub(crate) fn add(&mut self, owner: &str, data: RData, signed: Signed) {
        let kind = data.record_type();
        let mut set = self.signed(name(owner), data.clone());
        match signed {
            Signed::Rightly => {}
            Signed::Wrongly => {
                let other = self.signed(name(&format!("other.{owner}")), data);
                let mut signature = other.into_iter().next_back().unwrap();
                signature.name = name(owner);
                set.truncate(1);
                set.push(signature);
            }
            Signed::Never => set.truncate(1),
        }
        self.sets.push((name(owner), kind, set));
    }

    /// Adds a record to a set that is not signed, or begins it.
    pub(crate) fn add_beside(&mut self, owner: &str, data: RData) {
        let kind = data.record_type();
        let known = self.sets.iter_mut();
        match known
            .into_iter()
            .find(|(of, has, _)| *of == name(owner) && *has == kind)
        {
            Some((owner, _, set)) => {
                set.push(Record::from_rdata(owner.clone(), self.lifetime, data))
            }
            None => self.add(owner, data, Signed::Never),
        }
    }

    /// Says that this name is the top of another zone, which is not signed.
    pub(crate) fn delegate(&mut self, owner: &str) {
        let server = NS(name(&format!("ns.{owner}")));
        self.add(owner, RData::NS(server), Signed::Never);
        self.delegated.push(name(owner));
    }

    /// Somebody in between answers that there is nothing here, and cannot prove it.
    pub(crate) fn strip(&mut self, owner: &str) {
        self.stripped.push(name(owner));
    }

    /// Somebody in between answers that there is nothing here, with the word of another zone, which is not signed.
    pub(crate) fn strip_by(&mut self, owner: &str, zone: &str) {
        self.borrowed.push((name(owner), name(zone)));
    }

    /// Nobody may keep what is added from here on.
    pub(crate) fn forgettable(&mut self) {
        self.lifetime = 0;
    }

    /// Makes the name server fail from then on when it is set.
    pub(crate) fn failure(&self) -> Arc<AtomicBool> {
        self.failing.clone()
    }

    /// The record and its signature.
    fn signed(&self, owner: Name, data: RData) -> Vec<Record> {
        let record = Record::from_rdata(owner.clone(), self.lifetime, data);
        let mut set = RecordSet::new(owner.clone(), record.record_type(), 0);
        set.insert(record.clone(), 0);
        let since = rcgen::date_time_ymd(2025, 1, 1);
        let signature = RRSIG::from_rrset(&set, DNSClass::IN, since, &self.signer).unwrap();
        let signature = RData::DNSSEC(DNSSECRData::RRSIG(signature));
        vec![record, Record::from_rdata(owner, self.lifetime, signature)]
    }

    /// Answers on loopback for as long as the test runs.
    pub(crate) fn serve(self) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((count, client)) = socket.recv_from(&mut buffer) {
                let question = Message::from_vec(&buffer[..count]).unwrap();
                let answer = self.answer(&question).to_vec().unwrap();
                _ = socket.send_to(&answer, client);
            }
        });
        address
    }

    fn answer(&self, question: &Message) -> Message {
        let query = question.queries[0].clone();
        let (owner, kind) = (query.name().clone(), query.query_type());
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        answer.metadata.authoritative = true;
        answer.add_query(query);
        if self.failing.load(Ordering::Relaxed) {
            answer.metadata.response_code = ResponseCode::ServFail;
            return answer;
        }
        let cut = self.delegated.iter().find(|cut| cut.zone_of(&owner));
        let found = self
            .sets
            .iter()
            .find(|(name, of, _)| *name == owner && *of == kind);
        if self.stripped.contains(&owner) {
            answer.add_authority(soa(&name("test")));
        } else if let Some((_, zone)) = self.borrowed.iter().find(|(of, _)| *of == owner) {
            answer.add_authority(soa(zone));
        } else if let Some((_, _, records)) = found {
            answer.add_answers(records.iter().cloned());
        } else if let Some(cut) = cut.filter(|cut| **cut != owner || kind != RecordType::DS) {
            answer.add_authority(soa(cut));
        } else {
            answer.add_authorities(self.signed(name("test"), soa(&name("test")).data));
            answer.add_authorities(self.denial(owner, cut.is_some()));
        }
        answer
    }

    /// That the name has nothing of what was asked for (RFC 4470).
    fn denial(&self, owner: Name, is_cut: bool) -> Vec<Record> {
        let kinds = is_cut.then_some(RecordType::NS);
        let next = owner.prepend_label("0").unwrap();
        let denial = NSEC::new_cover_self(next, kinds);
        self.signed(owner, RData::DNSSEC(DNSSECRData::NSEC(denial)))
    }
}

fn soa(owner: &Name) -> Record {
    let data = SOA::new(owner.clone(), owner.clone(), 1, 60, 60, 60, 60);
    Record::from_rdata(owner.clone(), LIFETIME, RData::SOA(data))
}
