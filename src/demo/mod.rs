//! `stoxgate demo`: the real gateway between two small peers on this machine, and what crosses its wires.
//!
//! The peers are written for the demo and share no protocol code with the gateway. Nothing but loopback is used.

mod certificates;
mod gateway;
mod inbox;
mod ladder;
mod sip_peer;
mod sip_text;
mod story;
mod xml_stream;
mod xmpp_peer;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use stox_core::time::Entropy as _;

use certificates::Trouble;
use ladder::Ladder;
use story::Stage;

/// How much of the gateway's log a failure shows.
const LOG_LINES: usize = 10;

/// Tells the story and says whether every expectation was met.
///
/// `full` prints each message whole; `hold` leaves gateway and peers running until Ctrl-C and says how to reach them.
#[must_use]
pub fn run(hold: bool, full: bool) -> ExitCode {
    let ladder = Arc::new(Ladder::new(full));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let good = match runtime {
        Ok(runtime) => runtime.block_on(perform(hold, &ladder)),
        Err(error) => {
            ladder.fail(format!("the demo cannot start: {error}"));
            ladder.verdict(0.0)
        }
    };
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A name that nobody else has.
fn token() -> String {
    crate::entropy::OsEntropy::default().token()
}

/// In a folder of its own, which goes unless it is of use to somebody.
async fn perform(hold: bool, ladder: &Arc<Ladder>) -> bool {
    let begun = Instant::now();
    let folder = match gateway::make_folder() {
        Ok(folder) => folder,
        Err(error) => {
            ladder.fail(format!("no temporary folder: {error}"));
            return ladder.verdict(0.0);
        }
    };
    let good = match Stage::set(&folder, ladder.clone()).await {
        Ok(mut stage) => {
            let good = watched(&mut stage, begun).await;
            if hold {
                explain(&stage, &folder);
                _ = tokio::signal::ctrl_c().await;
            }
            ladder.mute();
            if let Err(why) = stage.gateway.stop().await {
                ladder.say(&format!("At the end: {why}"));
            }
            good
        }
        Err(why) => {
            ladder.fail(format!("the stage cannot be set: {why}"));
            ladder.verdict(begun.elapsed().as_secs_f64())
        }
    };
    if !good {
        show_log(&folder, ladder);
    }
    leave(&folder, good && !hold, ladder);
    good
}

/// Tells the story, unless Ctrl-C ends it.
async fn watched(stage: &mut Stage, begun: Instant) -> bool {
    let ladder = stage.ladder.clone();
    let told = tokio::select! {
        told = stage.tell() => told,
        _ = tokio::signal::ctrl_c() => {
            ladder.fail("interrupted".to_owned());
            return ladder.verdict(begun.elapsed().as_secs_f64());
        }
    };
    if let Err(failure) = told
        && !ladder.has_failed()
    {
        ladder.fail(failure.to_string());
    }
    ladder.verdict(begun.elapsed().as_secs_f64())
}

/// How to reach what is left running.
fn explain(stage: &Stage, folder: &Path) {
    let at = &stage.addresses;
    let (romeo, alice) = story::NAMES;
    let settings = stage.gateway.settings_file();
    let text = format!(
        "\nEverything runs until Ctrl-C.\n\
         \n  gateway, XMPP      {}  (server-to-server, for domain ocs.test)\
         \n  gateway, SIP       {}  (mutual TLS, as gw.ocs.test)\
         \n  jabber.test        {}  ({romeo})\
         \n  ocs.test           {}  ({alice})\
         \n  certificates       {}\
         \n  settings           {}\
         \n  log                {}\
         \n\n  stoxgate status --config {}\n",
        at.gateway_xmpp,
        at.gateway_sip,
        at.xmpp_peer,
        at.sip_peer,
        folder.display(),
        settings.display(),
        stage.gateway.log_file().display(),
        settings.display(),
    );
    stage.ladder.say(&text);
}

/// The last words of the gateway.
fn show_log(folder: &Path, ladder: &Ladder) {
    let log = std::fs::read_to_string(folder.join("gateway.log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let first = lines.len().saturating_sub(LOG_LINES);
    ladder.say("\nThe gateway's last words:");
    for line in lines.iter().skip(first) {
        ladder.say(&format!("  {line}"));
    }
}

/// Removes the folder, or says where it is.
fn leave(folder: &Path, remove: bool, ladder: &Ladder) {
    if !remove {
        ladder.say(&format!(
            "Settings, certificates, database and gateway.log are in {}",
            folder.display()
        ));
        return;
    }
    let removed: Result<(), Trouble> = std::fs::remove_dir_all(folder).map_err(Into::into);
    if let Err(why) = removed {
        ladder.say(&format!("{} cannot be removed: {why}", folder.display()));
    }
}
