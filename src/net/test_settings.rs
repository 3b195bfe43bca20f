//! Settings with a certificate of our own, for tests that need what they are made into.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use super::tls::TlsSettings;
use crate::config::{self, Config};

/// Settings with these lines besides the least that there must be, and what their files are read into. The certificate
/// names `sip.test`.
pub(crate) fn settings(lines: &str) -> (Config, TlsSettings) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("stoxgate-settings-{}-{number}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let made_of = settings_in(&folder, lines);
    std::fs::remove_dir_all(&folder).unwrap();
    made_of
}

/// The same, whose files stay in that folder.
pub(crate) fn settings_in(folder: &Path, lines: &str) -> (Config, TlsSettings) {
    let made = rcgen::generate_simple_self_signed(["sip.test".to_owned()]).unwrap();
    std::fs::write(folder.join("gw.crt"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("gw.key"), made.signing_key.serialize_pem()).unwrap();
    let least = "[gateway]\nhost = \"gw.test\"\nstate_dir = \"state\"\n\
                 [tls]\ncertificate = \"gw.crt\"\nkey = \"gw.key\"\nlax_key_permissions = true\nroots = [\"gw.crt\"]\n\
                 [dns]\nservers = [\"127.0.0.1:9\"]\n\
                 [sip]\ntcp = [\"127.0.0.1:0\"]\n[[sip.domain]]\ndomain = \"sip.test\"\n";
    let text = format!("{least}{lines}");
    let config = config::parse(&text, &folder.join("gateway.toml"), []).unwrap();
    let tls = TlsSettings::load(&config.tls, &config.sip).unwrap();
    (config, tls)
}
