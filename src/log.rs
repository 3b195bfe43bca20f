//! Log lines: where they go and in which form.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Our own crates; a bare level is theirs, and libraries stay at `warn`.
const OWN: [&str; 4] = ["stoxgate", "stox_core", "stox_sip", "stox_xmpp"];

/// Starts logging to standard error. A second start in one process is ignored.
pub fn start(settings: &Log) {
    let filter =
        EnvFilter::try_new(filter(&settings.filter)).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    _ = match settings.format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
}

fn filter(setting: &str) -> String {
    if setting.contains(['=', ',']) {
        return setting.to_owned();
    }
    let own: Vec<String> = OWN.iter().map(|name| format!("{name}={setting}")).collect();
    format!("warn,{}", own.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_level_is_for_our_own_crates() {
        assert_eq!(
            filter("debug"),
            "warn,stoxgate=debug,stox_core=debug,stox_sip=debug,stox_xmpp=debug"
        );
        assert_eq!(
            filter("info,stoxgate::streams=trace"),
            "info,stoxgate::streams=trace"
        );
    }
}
