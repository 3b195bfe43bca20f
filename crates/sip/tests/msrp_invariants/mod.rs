//! What holds for any octets on an MSRP connection. Shared with the fuzz target.

use bytes::Bytes;
use stox_core::time::{Now, SeededEntropy};
use stox_sip::msrp::endpoint::{Endpoint, Event, Plan, Role, Security, Settings};
use stox_sip::msrp::frame::{Defect, Flag, Frame, Head, Status};
use stox_sip::msrp::framer::{FrameError, Framer, Item, Limits};
use stox_sip::msrp::uri::MsrpUri;
use stox_sip::transport::FlowId;

/// One frame put together.
pub(crate) type Whole = (Frame, Option<Defect>);

/// One frame whose end is not there.
type Open = (Head, Option<Vec<u8>>, Option<Defect>);

/// The frames of a stream that arrives in pieces of these sizes, over and over, and the error that ended it.
pub(crate) fn frames(octets: &[u8], sizes: &[u8]) -> (Vec<Whole>, Option<FrameError>) {
    let mut framer = Framer::new(Limits::default());
    let mut whole: Vec<Whole> = vec![];
    let mut open: Option<Open> = None;
    let mut rest = octets;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let size = sizes
            .next()
            .map_or(rest.len(), |size| usize::from(*size) + 1);
        let (piece, later) = rest.split_at(size.min(rest.len()));
        rest = later;
        framer.push(piece);
        loop {
            match framer.poll() {
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(framer.poll(), Ok(None));
                    return (whole, Some(error));
                }
                Ok(Some(Item::Head {
                    head,
                    has_body,
                    defect,
                })) => {
                    assert!(
                        open.is_none() && !head.to_path.is_empty() && !head.from_path.is_empty()
                    );
                    open = Some((head, has_body.then(Vec::new), defect));
                }
                Ok(Some(Item::Body(piece))) => {
                    assert!(!piece.is_empty());
                    let body = open.as_mut().and_then(|(_, body, _)| body.as_mut());
                    body.expect("a frame with a body").extend_from_slice(&piece);
                }
                Ok(Some(Item::End(flag))) => {
                    let (head, body, defect) = open.take().expect("a frame");
                    let body = body.map(Bytes::from);
                    whole.push((Frame { head, body, flag }, defect));
                }
            }
        }
    }
    (whole, None)
}

/// However a stream is cut, its frames are the same; what was read and is written again reads the same.
pub(crate) fn stream(octets: &[u8], sizes: &[u8]) {
    let (whole, error) = frames(octets, &[]);
    assert_eq!(frames(octets, sizes), (whole.clone(), error));
    for (frame, defect) in whole {
        if defect.is_none() {
            // Header fields of the content are written last.
            let written = frame.to_bytes();
            let (again, error) = frames(&written, sizes);
            let [(again, None)] = again.as_slice() else {
                panic!("{again:?}");
            };
            assert_eq!((again.to_bytes(), error), (written, None));
            assert_eq!((&again.body, again.flag), (&frame.body, frame.flag));
        }
    }
    endpoint(octets, sizes);
}

/// The session that the corpus speaks to.
pub(crate) fn plan() -> Plan {
    let uri = |text| MsrpUri::parse(text).expect("a URI");
    Plan {
        local: uri("msrp://us.example:2855/ours1234;tcp"),
        relays: vec![],
        remote: vec![uri("msrp://peer.example:7654/theirs56;tcp")],
        role: Role::Waits,
        security: Security::Plain,
        max_size: None,
    }
}

/// An endpoint takes any octets, stays within its bounds, and leaves nothing behind.
pub(crate) fn endpoint(octets: &[u8], sizes: &[u8]) {
    let settings = Settings {
        max_message: 1000,
        assemblies: 2,
        deliveries: 2,
        ..Settings::default()
    };
    let mut endpoint = Endpoint::new(settings, Box::new(SeededEntropy(7)));
    let mut now = Now::default();
    let (channel, flow) = (endpoint.open(plan(), now), FlowId(1));
    endpoint.accepted(flow, false, None, now);
    let mut rest = octets;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let size = sizes
            .next()
            .map_or(rest.len(), |size| usize::from(*size) + 1);
        let (piece, later) = rest.split_at(size.min(rest.len()));
        rest = later;
        endpoint.receive(flow, piece, now);
        while let Some(event) = endpoint.poll_event() {
            if let Event::Received {
                delivery, message, ..
            } = event
            {
                assert!(message.body.len() as u64 <= settings.max_message);
                if size.is_multiple_of(2) {
                    endpoint.answer(delivery, Status::new(200), now);
                }
            }
        }
        let counts = endpoint.status();
        assert!(counts.assemblies <= 2 && counts.deliveries <= 2);
        while let Some((flow, out)) = endpoint.poll_transmit() {
            let (written, error) = frames(&out, &[]);
            assert!(error.is_none() && written.len() == 1, "{out:?}");
            assert!(
                written
                    .iter()
                    .all(|(frame, defect)| defect.is_none() && frame.flag == Flag::Complete)
            );
            endpoint.written(flow, out.len(), now);
        }
    }
    endpoint.close(channel, now);
    endpoint.closed(flow, now);
    for _ in 0..100 {
        let Some(at) = endpoint.poll_timeout() else {
            break;
        };
        now = now.after(at.saturating_sub(now.mono));
        endpoint.handle_timeout(now);
    }
    while endpoint.poll_event().is_some()
        || endpoint.poll_transmit().is_some()
        || endpoint.poll_close().is_some()
    {}
    assert!(endpoint.is_empty(), "{endpoint:?}");
}
