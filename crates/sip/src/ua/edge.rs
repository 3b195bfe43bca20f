//! What is particular between neighbours such as an Edge and us: requests about the hop itself, and diagnostics.

use super::effects::{Asked, Env};
use super::settings::Settings;
use super::trust::SipDomain;
use crate::adapt::diagnostics;
use crate::dialect::Negotiate;
use crate::message::{Request, Response};
use crate::transport::Source;
use crate::uri::Uri;

/// The offer of compression that comes first on a connection (MS-SIPCOMP). It is about the connection, so that neither
/// its Request-URI, which is an address, nor its `Max-Forwards`, which is 0, counts.
const NEGOTIATE: &str = "NEGOTIATE";

/// The domain that the other end of a connection speaks for.
pub(super) fn neighbour<'a>(source: &'a Source, settings: &'a Settings) -> Option<&'a SipDomain> {
    settings.spoken_for_by(source).next()
}

/// The answer to an offer of compression by a partner's server. `None` for any other request, and for strangers.
pub(super) fn decline_compression(asked: &Asked, env: &mut Env<'_>) -> Option<Response> {
    let fits = asked.request.method.as_str() == NEGOTIATE && asked.source.transport.row().reliable;
    let domain = fits
        .then(|| neighbour(&asked.source, env.settings))
        .flatten()?;
    Some(match env.behaviour(&domain.name).negotiate {
        Negotiate::Refuse => env.response(&asked.request, 488, "Not Acceptable Here"),
        Negotiate::None => {
            let mut response = env.response(&asked.request, 200, "OK");
            response.headers.push("Compression", "None");
            response
        }
    })
}

/// Whether a partner's server asks us by whatever name or address it knows us, and no user.
pub(super) fn asks_neighbour(asked: &Asked, settings: &Settings) -> bool {
    let is_server = |uri: Uri| uri.user.is_none() && settings.sip_domain(&uri.host).is_none();
    Uri::parse(&asked.request.uri).is_ok_and(is_server)
        && neighbour(&asked.source, settings).is_some()
}

/// Adds why a request is refused, for a sender whose servers read it.
pub(super) fn explain(
    response: &mut Response,
    request: &Request,
    why: Option<(u32, &str)>,
    env: &Env<'_>,
) {
    let sender = request.headers.from().ok();
    let domain = sender.as_ref().and_then(|from| from.sip_uri());
    if let Some(why) = why
        && domain.is_some_and(|uri| env.behaviour(&uri.host).diagnostics)
    {
        diagnostics::write(&mut response.headers, why, &env.settings.local.host);
    }
}
