//! What an administrator is told where a partner and its rule do not fit, and what to do.

use std::net::SocketAddr;

use stox_core::failure::Local;
use stox_xmpp::stream::{
    ClaimRefusal, CloseReason, PairError, StreamCondition, TlsInfo, VerifyError,
};

use crate::net::discovery::World;
use crate::net::dns::DnsError;

/// A claim on a stream to us was refused.
pub(super) fn claim_refused(domain: &str, why: ClaimRefusal, tls: Option<&TlsInfo>) -> String {
    let certificate = || match tls {
        Some(tls) => tls.why_not_valid_for(domain),
        None => "the stream is in clear".to_owned(),
    };
    match why {
        ClaimRefusal::NoRule => {
            "refused: no [[xmpp.partner]] rule is for this domain; add one if it may use the gateway".to_owned()
        }
        ClaimRefusal::InClear => {
            "refused: its stream is in clear; ask its administrator to turn TLS on, or set tls = \"optional\" for it"
                .to_owned()
        }
        ClaimRefusal::CertificateNotValid => format!(
            "refused: its certificate is not valid for it ({}); {CERTIFICATE}",
            certificate()
        ),
        ClaimRefusal::ExternalNotAllowed => {
            "refused its certificate as proof: external is \"off\" for it; dialback is left".to_owned()
        }
        ClaimRefusal::DialbackNotAllowed => {
            "refused: it tried dialback, which its rule does not take; set dialback = true and external = \"optional\" for it, or ask its administrator to turn SASL EXTERNAL on"
                .to_owned()
        }
        ClaimRefusal::Before1_0 => {
            "refused: its server is from before XMPP 1.0; set before_1_0 = true for it if it must be used".to_owned()
        }
    }
}

/// The partner does not accept a domain of ours.
pub(super) fn pair_refused(local: &str, why: &PairError) -> String {
    let to_do = match why {
        PairError::Invalid | PairError::Peer(_) | PairError::Timeout => {
            "check that the domain's SRV record points at this gateway from the partner's network"
        }
        PairError::CertificateNotValid(_) => CERTIFICATE,
        PairError::OwnCertificate => {
            "have our certificate (tls.certificate) name the domain, or set external = \"optional\" and dialback = true for the partner"
        }
        PairError::ExternalNotOffered | PairError::ExternalFailed(_) => {
            "ask its administrator whether our authority is trusted there, or set external = \"optional\" and dialback = true for it"
        }
        PairError::Closed => "it is tried again",
    };
    format!("does not accept our domain {local}: {why}; {to_do}")
}

/// Behind what is wrong with it, which says where `tls.roots` is what to change.
const CERTIFICATE: &str = "ask its administrator for one that is, or let dialback alone prove the domain (certificate = \"any\", external = \"optional\", dialback = true)";

/// An XMPP partner wants a domain that no rule names, and that is no SIP domain.
pub(super) const fn no_sip_domain(world: World) -> &'static str {
    match world {
        World::Xmpp => {
            "it is an XMPP domain, and nothing is relayed from XMPP to XMPP; its _xmpp-server._tcp should lead to its own servers alone"
        }
        World::Both => {
            "it has servers of both worlds, and what comes from XMPP stays there; to reach its SIP users, name it in [[sip.domain]]"
        }
        World::Neither => {
            "nothing says that it is a SIP domain; ask its administrator for _sipfederationtls._tcp or _sip._tcp, or name it in [[sip.domain]] with a next_hop"
        }
        World::Unknown => "DNS does not answer for it; check dns.servers, and its name servers",
        World::Sip => {
            "as many are served as limits.discovered takes, or who asks has had more of these places than are left; raise it if they are to be served"
        }
    }
}

/// A question about a dialback key got no answer.
pub(super) fn not_verified(why: &VerifyError) -> String {
    let to_do = match why {
        VerifyError::CertificateNotValid(_) => CERTIFICATE,
        VerifyError::Peer(_) | VerifyError::Timeout | VerifyError::Closed => {
            "ask its administrator whether its server answers dialback at the address that DNS names"
        }
    };
    format!("its domain could not be verified by dialback: {why}; {to_do}")
}

/// DNS does not say where the partner's server is.
pub(super) fn no_address(why: Local) -> &'static str {
    match why {
        Local::DomainNotFound => {
            "has no usable DNS records; ask its administrator for _xmpp-server._tcp or an address record"
        }
        _ => "DNS does not answer for it; check dns.servers, and the partner's name servers",
    }
}

/// DNS said some time ago where the partner's server is.
pub(super) const RECALLED: &str = "DNS does not answer for it, and its last answer of the past hour is used: the server must show a valid certificate; check dns.servers, and the partner's name servers";

/// DNS leads to a host inside.
pub(super) fn not_public(address: SocketAddr) -> String {
    format!(
        "its DNS records lead to {address}, which is not public, and no rule names the domain; if it is right, give it an [[xmpp.partner]] of its own, or list its network in networks of the rule for \"*\""
    )
}

/// DNS does not say whether a server has TLSA records.
pub(super) fn no_tlsa(host: &str, port: u16, why: &DnsError) -> String {
    format!(
        "its server is not dialled: DNS does not say whether there are TLSA records at _{port}._tcp.{host} ({why}); check its name servers, and that dns.servers pass DNSSEC records on, or set dns.dane = false"
    )
}

/// A stream of ours, or to us, ended otherwise than in order.
pub(super) fn stream_ended(reason: &CloseReason) -> String {
    match what_to_do(reason) {
        Some(to_do) => format!("{reason}; {to_do}"),
        None => reason.to_string(),
    }
}

fn what_to_do(reason: &CloseReason) -> Option<&'static str> {
    match reason {
        CloseReason::TlsNotOffered | CloseReason::TlsRefused => {
            Some("ask its administrator to turn TLS on, or set tls = \"optional\" for it")
        }
        CloseReason::TlsFailed(_) => {
            Some("check that both sides have a TLS version and a cipher suite in common")
        }
        CloseReason::CertificateNotValid { .. } => Some(CERTIFICATE),
        CloseReason::PeerError(error) if error.condition == StreamCondition::HostUnknown => Some(
            "its server does not serve the domain: check its DNS records, or the address in its rule",
        ),
        CloseReason::Refused(error) if error.condition == StreamCondition::UnsupportedVersion => {
            Some(
                "its server is from before XMPP 1.0; set before_1_0 = true for it if it must be used",
            )
        }
        CloseReason::PeerClosed
        | CloseReason::ConnectionLost
        | CloseReason::PeerError(_)
        | CloseReason::Refused(_)
        | CloseReason::Timeout(_)
        | CloseReason::Idle
        | CloseReason::Requested
        | CloseReason::OctetsBehindStartTls => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_certificate_cures_what_is_wrong_with_it() {
        let why = "it was revoked by its authority; its administrator has to have a new one issued";
        let shown = TlsInfo {
            valid_names: Vec::new(),
            distrust: Some(why.to_owned()),
        };
        let domain = "jabber.test".to_owned();
        let lines = [
            claim_refused(&domain, ClaimRefusal::CertificateNotValid, Some(&shown)),
            pair_refused("ocs.test", &PairError::CertificateNotValid(why.to_owned())),
            not_verified(&VerifyError::CertificateNotValid(why.to_owned())),
            stream_ended(&CloseReason::CertificateNotValid {
                domain,
                why: why.to_owned(),
            }),
        ];
        for line in lines {
            for words in [why, "ask its administrator", "dialback = true"] {
                assert!(line.contains(words), "{words} in {line}");
            }
            assert!(
                !line.contains("tls.roots"),
                "another authority changes nothing: {line}"
            );
        }
    }
}
