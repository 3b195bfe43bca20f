//! Our own certificate while the gateway runs: its expiry is told in time, and SIGHUP reads it anew.

use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::Config;
use crate::net::expiry::{ExpiryWatch, Notice};
use crate::net::own_certificate;
use crate::net::tls::{CurrentTls, TlsError, TlsSettings};

/// The clock on the wall may be set at any time, so it is looked at often rather than slept towards.
const LOOK: Duration = Duration::from_secs(600);

/// Watches and reloads for as long as the process runs. What comes out of the channel says that a SIGHUP has come and that the
/// TLS files are as they will be: what is read after it meets them.
pub(super) fn spawn(tls: CurrentTls, config: Config) -> std::io::Result<mpsc::Receiver<()>> {
    let mut hang_up = signal(SignalKind::hangup())?;
    let (sender, reloaded) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut watch = ExpiryWatch::default();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick() => {}
                Some(()) = hang_up.recv() => {
                    reload(&tls, &config).await;
                    // One that has not been taken yet will do.
                    _ = sender.try_send(());
                }
            }
            tell_expiry(&mut watch, &tls, &config);
        }
    });
    Ok(reloaded)
}

async fn reload(tls: &CurrentTls, config: &Config) {
    let (files, sip) = (config.tls.clone(), config.sip.clone());
    let read = tokio::task::spawn_blocking(move || TlsSettings::load(&files, &sip));
    let settings = match read.await {
        Ok(Ok(settings)) => settings,
        Ok(Err(why)) => return keep(&why),
        // The process stops.
        Err(_) => return,
    };
    let until = settings.expires.map(day);
    tls.replace(settings);
    tracing::info!(
        until,
        "TLS files read anew; connections made from now on use them"
    );
    for finding in own_certificate::findings(config) {
        tracing::warn!("{finding}");
    }
}

fn keep(why: &TlsError) {
    tracing::error!("the TLS files are not read anew, and those read before stay in use: {why}");
}

fn tell_expiry(watch: &mut ExpiryWatch, tls: &CurrentTls, config: &Config) {
    let Some(expires) = tls.get().expires else {
        return;
    };
    let (file, on) = (config.tls.certificate.display(), day(expires));
    match watch.notice(expires, SystemTime::now()) {
        None => {}
        Some(Notice::Within(1)) => tracing::error!(
            "our certificate {file} expires within a day, on {on}: have it renewed, put it there and send SIGHUP"
        ),
        Some(Notice::Within(days)) => tracing::warn!(
            "our certificate {file} expires within {days} days, on {on}: have it renewed, put it there and send SIGHUP"
        ),
        Some(Notice::Expired) => tracing::error!(
            "our certificate {file} expired on {on}: partners refuse it; have it renewed, put it there and send SIGHUP"
        ),
    }
}

/// `2026-01-31 12:00:00 UTC`.
fn day(time: SystemTime) -> String {
    let stamp = humantime::format_rfc3339_seconds(time).to_string();
    stamp.replace('T', " ").replace('Z', " UTC")
}
