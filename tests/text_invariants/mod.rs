//! What holds for any text that an administrator may write: as a settings file, or as an address of `stoxgate map`. The first
//! octet chooses which.

use std::path::Path;

use stox_core::address::{Jid, sip_to_jid};
use stoxgate::config;
use stoxgate::engine::{BoundPorts, Settings};

pub(crate) fn check(octets: &[u8]) {
    let Some((kind, octets)) = octets.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(octets);
    if kind % 2 == 0 {
        settings(&text);
    } else {
        map(&text);
    }
}

/// A file is refused with every problem named, each with words; or it is what machines can be made of.
fn settings(text: &str) {
    match config::parse(text, Path::new("gateway.toml"), []) {
        Ok(config) => {
            let findings = config::findings(&config);
            assert!(findings.iter().all(|finding| !finding.is_empty()));
            let settings = Settings::new(&config, BoundPorts::default());
            assert!(!settings.software.name.is_empty());
        }
        Err(problems) => {
            assert!(!problems.list.is_empty());
            assert!(
                problems
                    .list
                    .iter()
                    .all(|problem| !problem.message.is_empty())
            );
            assert!(problems.to_string().contains("gateway.toml"));
        }
    }
}

/// What an address is described as does cross.
fn map(text: &str) {
    if let Ok(lines) = stoxgate::map::describe(text) {
        let there = lines.lines().find_map(|line| line.strip_prefix("XMPP  "));
        let sip = lines.lines().find_map(|line| line.strip_prefix("SIP   "));
        let (Some(there), Some(sip)) = (there, sip) else {
            panic!("{lines:?}");
        };
        let jid = there.parse::<Jid>().expect("a JID").bare().canonical();
        let address = stox_sip::adapt::address::from_text(sip).expect("a URI");
        assert_eq!(
            sip_to_jid(&address).map(|jid| jid.bare()),
            Ok(jid),
            "{lines:?}"
        );
    }
}
