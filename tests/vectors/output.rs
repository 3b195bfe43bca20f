//! What the gateway has sent, in the order in which it sent it.

use std::time::Duration;

use minidom::Element;

use crate::msrp_text::MsrpText;
use crate::sip_text::SipText;

/// One thing that the gateway sent.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// Virtual time.
    pub(crate) at: Duration,
    pub(crate) what: Sent,
}

/// A message of one of the protocols.
#[derive(Debug, Clone)]
pub(crate) enum Sent {
    Sip(SipText),
    Msrp(MsrpText),
    Stanza(Element),
}

impl Output {
    pub(crate) fn sip(&self) -> Option<&SipText> {
        match &self.what {
            Sent::Sip(sip) => Some(sip),
            Sent::Msrp(_) | Sent::Stanza(_) => None,
        }
    }

    pub(crate) fn request(&self) -> Option<&SipText> {
        self.sip().filter(|sip| !sip.is_response())
    }

    pub(crate) fn response(&self) -> Option<&SipText> {
        self.sip().filter(|sip| sip.is_response())
    }

    pub(crate) fn stanza(&self) -> Option<&Element> {
        match &self.what {
            Sent::Stanza(stanza) => Some(stanza),
            Sent::Sip(_) | Sent::Msrp(_) => None,
        }
    }

    pub(crate) fn msrp(&self) -> Option<&MsrpText> {
        match &self.what {
            Sent::Msrp(msrp) => Some(msrp),
            Sent::Sip(_) | Sent::Stanza(_) => None,
        }
    }

    pub(crate) fn msrp_request(&self) -> Option<&MsrpText> {
        self.msrp().filter(|msrp| msrp.method().is_some())
    }

    /// One line for a report.
    pub(crate) fn summary(&self) -> String {
        match &self.what {
            Sent::Sip(sip) => {
                let state = sip.header("Subscription-State").unwrap_or_default();
                let call_id = sip.call_id().unwrap_or_default();
                format!("{} [{call_id}] {state}", sip.start)
            }
            Sent::Msrp(msrp) => {
                let id = msrp.header("Message-ID").unwrap_or_default();
                format!("{} [{id}]", msrp.start)
            }
            Sent::Stanza(stanza) => {
                let mut text = String::from(stanza);
                if let Some((end, _)) = text.char_indices().nth(300) {
                    text.truncate(end);
                }
                text
            }
        }
    }
}
