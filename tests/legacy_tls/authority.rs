//! A certificate authority as old as its partners, and what it signs.

use std::process::Command;

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name};

use crate::harness::Folder;

/// How a certificate is made.
#[derive(Clone, Copy)]
pub(crate) struct Make {
    pub(crate) bits: u32,
    pub(crate) digest: fn() -> MessageDigest,
    /// Whether it is also for clients. The web server template of an old Windows authority makes none such, and Edges show
    /// theirs as clients all the same.
    pub(crate) for_clients: bool,
}

/// What a server of 2008 has.
pub(crate) const OLD: Make = Make {
    bits: 1024,
    digest: MessageDigest::sha1,
    for_clients: false,
};
/// What everybody has today.
pub(crate) const NEW: Make = Make {
    bits: 2048,
    digest: MessageDigest::sha256,
    for_clients: true,
};

pub(crate) struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

impl Authority {
    /// Makes it, and writes `name.crt`.
    pub(crate) fn new(folder: &Folder, name: &str) -> Self {
        let key = rsa(NEW.bits);
        let mut builder = blank(name, &key);
        let subject = common_name(name);
        builder.set_issuer_name(&subject).unwrap();
        let constraints = BasicConstraints::new().critical().ca().build().unwrap();
        builder.append_extension(constraints).unwrap();
        builder.sign(&key, (OLD.digest)()).unwrap();
        let certificate = builder.build();
        write_certificate(folder, name, &certificate);
        Self { certificate, key }
    }

    /// Writes `name.crt` and `name.key` for host names and addresses; the first is the common name.
    pub(crate) fn issue(&self, folder: &Folder, name: &str, hosts: &[&str], make: Make) {
        let key = rsa(make.bits);
        let mut builder = blank(hosts.first().unwrap(), &key);
        builder
            .set_issuer_name(self.certificate.subject_name())
            .unwrap();
        let mut names = SubjectAlternativeName::new();
        for host in hosts {
            if host.parse::<std::net::IpAddr>().is_ok() {
                names.ip(host);
            } else {
                names.dns(host);
            }
        }
        let names = names
            .build(&builder.x509v3_context(Some(&self.certificate), None))
            .unwrap();
        builder.append_extension(names).unwrap();
        let mut usage = ExtendedKeyUsage::new();
        usage.server_auth();
        if make.for_clients {
            usage.client_auth();
        }
        builder.append_extension(usage.build().unwrap()).unwrap();
        builder.sign(&self.key, (make.digest)()).unwrap();
        write_certificate(folder, name, &builder.build());
        let key = key.private_key_to_pem_pkcs8().unwrap();
        folder.write(&format!("{name}.key"), std::str::from_utf8(&key).unwrap());
    }

    /// Writes `name.crl`, which revokes the certificate in `revoked.crt`.
    pub(crate) fn revoke(&self, folder: &Folder, name: &str, revoked: &str) {
        let key = self.key.private_key_to_pem_pkcs8().unwrap();
        folder.write("authority.key", std::str::from_utf8(&key).unwrap());
        let pem = self.certificate.to_pem().unwrap();
        folder.write("authority.crt", std::str::from_utf8(&pem).unwrap());
        folder.write("index.txt", "");
        // With a number it is of version 2, as rustls needs it.
        folder.write("number", "01\n");
        folder.write(
            "authority.cnf",
            "[ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\ncrlnumber = number\ncertificate = authority.crt\n\
             private_key = authority.key\ndefault_md = sha256\ndefault_crl_days = 2\n",
        );
        for what in [
            ["-revoke", &format!("{revoked}.crt")],
            ["-gencrl", "-batch"],
        ] {
            let mut command = Command::new("openssl");
            command.args(["ca", "-config", "authority.cnf", "-out"]);
            command.arg(format!("{name}.crl")).args(what);
            let said = command.current_dir(&folder.0).output().unwrap();
            let words = String::from_utf8_lossy(&said.stderr);
            assert!(said.status.success(), "{words}");
        }
    }
}

fn write_certificate(folder: &Folder, name: &str, certificate: &X509) {
    let pem = certificate.to_pem().unwrap();
    std::fs::write(folder.0.join(format!("{name}.crt")), pem).unwrap();
}

fn rsa(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
}

fn common_name(name: &str) -> X509Name {
    let mut subject = X509Name::builder().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    subject.build()
}

fn blank(name: &str, key: &PKey<Private>) -> X509Builder {
    let mut serial = BigNum::new().unwrap();
    serial.rand(64, MsbOption::MAYBE_ZERO, false).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder
        .set_serial_number(&serial.to_asn1_integer().unwrap())
        .unwrap();
    builder.set_subject_name(&common_name(name)).unwrap();
    builder.set_pubkey(key).unwrap();
    let day = |offset| Asn1Time::days_from_now(offset).unwrap();
    builder.set_not_before(&day(0)).unwrap();
    builder.set_not_after(&day(2)).unwrap();
    builder
}
