//! The real gateway as a child process, in a folder of its own.

use std::fs::{DirBuilder, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::certificates::Trouble;
use super::inbox::DEADLINE;
use crate::admin::{self, Status};

/// How often a starting gateway is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// The addresses of one run, all on loopback.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    /// Where the gateway takes XMPP streams.
    pub(super) gateway_xmpp: SocketAddr,
    /// Where the gateway takes SIP over TLS.
    pub(super) gateway_sip: SocketAddr,
    /// jabber.test.
    pub(super) xmpp_peer: SocketAddr,
    /// ocs.test.
    pub(super) sip_peer: SocketAddr,
}

/// A folder that only we can read.
pub(super) fn make_folder() -> std::io::Result<PathBuf> {
    let mut last = None;
    for attempt in 0..100 {
        let name = format!("stoxgate-demo-{}-{attempt}", std::process::id());
        let path = std::env::temp_dir().join(name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::ErrorKind::AlreadyExists.into()))
}

/// Two ports that nobody uses at the moment. The gateway keeps them over its restarts.
pub(super) fn free_addresses() -> std::io::Result<(SocketAddr, SocketAddr)> {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let (first, second) = (TcpListener::bind(loopback)?, TcpListener::bind(loopback)?);
    Ok((first.local_addr()?, second.local_addr()?))
}

/// The gateway's settings.
fn settings(at: &Addresses) -> String {
    let (listen_xmpp, listen_sip) = (at.gateway_xmpp, at.gateway_sip);
    let (jabber, ocs) = (at.xmpp_peer, at.sip_peer);
    format!(
        r#"# The gateway between jabber.test and ocs.test, as `stoxgate demo` runs it.

[gateway]
host = "gw.ocs.test"
state_dir = "state"
stop_within = "4s"

[log]
level = "info,stoxgate=debug"

[dns]
# Nothing listens there: both partners have fixed addresses below.
servers = ["127.0.0.1:9"]
timeout = "1s"

[tls]
certificate = "gateway.crt"
key = "gateway.key"
roots = ["ca.crt"]

[xmpp]
listen = ["{listen_xmpp}"]

[[xmpp.partner]]
domain = "jabber.test"
address = "{jabber}"
certificate = "verify"

[sip]
tls = ["{listen_sip}"]
client_certificate = "required"

[[sip.domain]]
domain = "ocs.test"
next_hop = "sip:{ocs};transport=tls"

[subscriptions]
# So that nobody has to wait: at once instead of over half a minute, and as often as there is news.
notify_interval = "0s"
restart_spread = "0s"
"#
    )
}

/// The gateway, running or not.
pub(super) struct Gateway {
    folder: PathBuf,
    child: Option<Child>,
}

impl Gateway {
    /// Writes the settings; nothing runs yet.
    pub(super) fn new(folder: &Path, at: &Addresses) -> std::io::Result<Self> {
        std::fs::write(folder.join("gateway.toml"), settings(at))?;
        Ok(Self {
            folder: folder.to_owned(),
            child: None,
        })
    }

    /// The settings file.
    pub(super) fn settings_file(&self) -> PathBuf {
        self.folder.join("gateway.toml")
    }

    /// The log of all its runs.
    pub(super) fn log_file(&self) -> PathBuf {
        self.folder.join("gateway.log")
    }

    /// Starts it and gives its process id.
    pub(super) fn start(&mut self) -> Result<u32, Trouble> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("serve")
            .arg("--config")
            .arg(self.settings_file())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        for (name, _) in std::env::vars_os() {
            // The demo's own settings count, not those of the machine.
            if name.to_string_lossy().starts_with("STOXGATE_") {
                command.env_remove(name);
            }
        }
        let child = self.child.insert(command.spawn()?);
        Ok(child.id().unwrap_or_default())
    }

    /// Waits until its admin socket answers.
    pub(super) async fn ready(&mut self) -> Result<(), Trouble> {
        let deadline = Instant::now() + DEADLINE;
        let mut ticks = interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.status().await.is_ok() {
                return Ok(());
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                return Err(format!("the gateway ended at once: {status}").into());
            }
            if Instant::now() >= deadline {
                return Err("the gateway was not ready in time".into());
            }
        }
    }

    /// Asks it how it is.
    pub(super) async fn status(&self) -> std::io::Result<Status> {
        let socket = self.folder.join("state").join("admin.sock");
        tokio::task::spawn_blocking(move || admin::ask(&socket))
            .await
            .map_err(std::io::Error::other)?
    }

    /// SIGTERM, and waits for the end.
    pub(super) async fn stop(&mut self) -> Result<(), Trouble> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let id = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id {
            rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        }
        match timeout(DEADLINE, child.wait()).await {
            Ok(status) => {
                let status = status?;
                if status.success() {
                    Ok(())
                } else {
                    Err(format!("the gateway ended with {status}").into())
                }
            }
            Err(_) => {
                child.kill().await?;
                Err("the gateway did not stop in time".into())
            }
        }
    }

    /// SIGKILL, and waits for the end.
    pub(super) async fn kill(&mut self) -> std::io::Result<()> {
        match self.child.take() {
            Some(mut child) => child.kill().await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_good() {
        let (gateway_xmpp, gateway_sip) = free_addresses().unwrap();
        let (xmpp_peer, sip_peer) = free_addresses().unwrap();
        let text = settings(&Addresses {
            gateway_xmpp,
            gateway_sip,
            xmpp_peer,
            sip_peer,
        });
        let file = Path::new("/nowhere/gateway.toml");
        let config = crate::config::parse(&text, file, []).unwrap();
        assert_eq!(config.gateway.host, "gw.ocs.test");
        assert_eq!(config.sip.tls, [gateway_sip]);
    }
}
