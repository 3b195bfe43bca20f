//! MSRP towards the shell: connections to open, octets to send and received, and what they come to.

use bytes::Bytes;
use stox_core::rates::Rate;
use stox_core::time::Now;

use super::effects::Env;
use super::{UserAgent, with};
use crate::msrp::endpoint::{Channel, Dial, DialId, Event, Fingerprint, Status};
use crate::transport::FlowId;

impl UserAgent {
    /// The next MSRP connection to open.
    pub fn poll_msrp_dial(&mut self) -> Option<Dial> {
        self.msrp.poll_dial()
    }

    /// An MSRP connection is open, or could not be opened.
    pub fn msrp_dialled(&mut self, id: DialId, flow: Option<FlowId>, now: Now) {
        self.msrp.dialled(id, flow.ok_or(()), now);
        self.settle(now);
    }

    /// Our certificate is another one, for offers to come: sessions that are set up keep to what was said.
    pub fn msrp_certificate(&mut self, fingerprint: Fingerprint) {
        if let Some(msrp) = &mut self.settings.msrp {
            msrp.fingerprint = Some(fingerprint);
        }
    }

    /// A peer has opened an MSRP connection, and showed this certificate.
    pub fn msrp_accepted(
        &mut self,
        flow: FlowId,
        secure: bool,
        certificate: Option<Vec<Fingerprint>>,
        now: Now,
    ) {
        self.msrp.accepted(flow, secure, certificate, now);
        self.settle(now);
    }

    /// Octets came on an MSRP connection.
    pub fn msrp_received(&mut self, flow: FlowId, octets: &[u8], now: Now) {
        self.msrp.receive(flow, octets, now);
        self.settle(now);
    }

    /// So many octets of an MSRP connection have been written.
    pub fn msrp_written(&mut self, flow: FlowId, octets: usize, now: Now) {
        self.msrp.written(flow, octets, now);
        self.settle(now);
    }

    /// An MSRP connection is gone.
    pub fn msrp_closed(&mut self, flow: FlowId, now: Now) {
        self.msrp.closed(flow, now);
        self.settle(now);
    }

    /// The next octets for an MSRP connection.
    pub fn poll_msrp_transmit(&mut self) -> Option<(FlowId, Bytes)> {
        self.msrp.poll_transmit()
    }

    /// The next MSRP connection to close, once everything before is written.
    pub fn poll_msrp_close(&mut self) -> Option<FlowId> {
        self.msrp.poll_close()
    }

    /// Something happened in an MSRP session.
    pub(super) fn msrp_happened(&mut self, event: Event, now: Now) {
        if let Event::Relay { id, outcome } = event {
            let outcome = outcome.map(drop);
            return self.relay.happened(id, outcome, &self.settings, now);
        }
        if let Event::Impostor { channel } = event {
            let domain = self.msrp_domain(channel);
            let domain = domain.unwrap_or_default();
            return self.impostors.note_msrp(domain, now.mono);
        }
        if let Event::Received {
            channel, delivery, ..
        } = &event
            && let Some(domain) = self.msrp_domain(*channel)
            && !self.message_rates.allow(
                &domain,
                None,
                Rate::per_second(self.settings.limits.messages_per_second),
                now.mono,
            )
        {
            let busy = Status::said(408, "Too Many Messages");
            return self.msrp.answer(*delivery, busy, now);
        }
        let reference = self.next_ref();
        if let Some(event) = with!(self.sessions.happened(event, reference), now) {
            self.conference_happened(event, now);
        }
    }

    /// The SIP domain at the other end of an MSRP session.
    fn msrp_domain(&self, channel: Channel) -> Option<String> {
        let domain = self.sessions.domain_of(channel);
        let domain = domain.or_else(|| self.participants.domain_of(channel));
        let domain = domain.or_else(|| self.foci.domain_of(channel));
        domain.map(str::to_owned)
    }
}
