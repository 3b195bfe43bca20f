//! Starts the real binary on free ports in a folder of its own, and waits for its log lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The binary under test: the one built for it, or that of `STOX_TEST_BINARY`.
pub(crate) fn binary() -> Command {
    let other = std::env::var_os("STOX_TEST_BINARY");
    let mut command = Command::new(other.unwrap_or(env!("CARGO_BIN_EXE_stoxgate").into()));
    command.env_clear();
    command
}

/// A folder that goes away.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("stoxgate-{name}-{}", std::process::id()));
        _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file; what ends in `.key` for its owner alone.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        if path.extension().is_some_and(|ending| ending == "key") {
            let owner = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(&path, owner).unwrap();
        }
        path
    }

    /// A certificate for the names, of which some may be URIs; its own authority.
    pub(crate) fn certificate(&self, name: &str, names: &[&str]) {
        self.certificate_until(name, names, 4096);
    }

    /// The same until the beginning of that year.
    pub(crate) fn certificate_until(&self, name: &str, names: &[&str], year: i32) {
        let (uris, hosts): (Vec<&str>, Vec<&str>) =
            names.iter().partition(|name| name.contains(':'));
        let hosts: Vec<String> = hosts.into_iter().map(str::to_owned).collect();
        let mut params = rcgen::CertificateParams::new(hosts).unwrap();
        let uris = uris
            .into_iter()
            .map(|uri| rcgen::SanType::URI(uri.try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        self.write(&format!("{name}.crt"), &made.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Settings on free ports of loopback.
pub(crate) const SETTINGS: &str = r#"
[gateway]
host = "gw.ocs.test"
state_dir = "state"
stop_within = "3s"
[log]
level = "debug"
[dns]
servers = ["127.0.0.1:9"]
timeout = "200ms"
[tls]
certificate = "gw.crt"
key = "gw.key"
roots = ["gw.crt"]
[xmpp]
listen = ["127.0.0.1:0"]
[[xmpp.partner]]
domain = "*"
address = "127.0.0.1:9"
[sip]
udp = ["127.0.0.1:0"]
tcp = ["127.0.0.1:0"]
tls = ["127.0.0.1:0"]
[[sip.domain]]
domain = "ocs.test"
next_hop = "sip:127.0.0.1:9"
trusted_addresses = ["127.0.0.1"]
"#;

/// A running gateway.
pub(crate) struct Gateway {
    child: Child,
    lines: Receiver<String>,
    /// Everything logged so far.
    pub(crate) log: Vec<String>,
    pub(crate) settings: PathBuf,
    pub(crate) xmpp: SocketAddr,
    pub(crate) udp: SocketAddr,
    pub(crate) tcp: SocketAddr,
    pub(crate) tls: SocketAddr,
}

impl Gateway {
    /// Starts and waits until it is ready.
    pub(crate) fn start(folder: &Folder) -> Self {
        Self::start_with(folder, SETTINGS)
    }

    /// As [`Self::start`], with other settings.
    pub(crate) fn start_with(folder: &Folder, settings: &str) -> Self {
        let settings = folder.write("gateway.toml", settings);
        if !folder.0.join("gw.crt").exists() {
            folder.certificate("gw", &["gw.ocs.test", "ocs.test"]);
        }
        let mut child = serve(&settings);
        let lines = follow(child.stderr.take().unwrap());
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut gateway = Self {
            child,
            lines,
            log: Vec::new(),
            settings,
            xmpp: nowhere,
            udp: nowhere,
            tcp: nowhere,
            tls: nowhere,
        };
        gateway.wait_for("stoxgate is ready");
        gateway.xmpp = gateway.address("listening for XMPP");
        gateway.udp = gateway.address("listening for SIP over UDP");
        gateway.tcp = gateway.address("listening for SIP over TCP");
        gateway.tls = gateway.address("listening for SIP over TLS");
        gateway
    }

    /// Waits for a log line that contains `words`.
    pub(crate) fn wait_for(&mut self, words: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        while let Ok(line) = self
            .lines
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            self.log.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
        panic!(
            "no line with `{words}` in the log:\n{}",
            self.log.join("\n")
        );
    }

    /// Where it listens, by its log.
    pub(crate) fn address(&self, words: &str) -> SocketAddr {
        let line = self
            .log
            .iter()
            .find(|line| line.contains(words))
            .expect(words);
        let (_, address) = line.split_once("address=").expect("an address");
        address.trim().parse().unwrap()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGTERM, then waits for the end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        signal(self.child.id(), "TERM");
        self.wait()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        while let Ok(line) = self
            .lines
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            self.log.push(line);
        }
        // The log has ended, so the process has, too, or has no time left.
        assert!(Instant::now() < deadline, "it does not stop");
        self.child.wait().unwrap()
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn status(&self) -> Output {
        binary()
            .args(["status", "--json", "--config"])
            .arg(&self.settings)
            .output()
            .unwrap()
    }

    /// A UDP exchange.
    pub(crate) fn ask(&self, socket: &UdpSocket, request: &str) -> String {
        socket.send_to(request.as_bytes(), self.udp).unwrap();
        receive(socket)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args([format!("-{name}"), pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

pub(crate) fn serve(settings: &Path) -> Child {
    binary()
        .args(["serve", "--config"])
        .arg(settings)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The lines of a process, as they come.
pub(crate) fn follow(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// A socket of a SIP peer.
pub(crate) fn peer() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

pub(crate) fn receive(socket: &UdpSocket) -> String {
    let mut buffer = vec![0; 65_535];
    let count = socket.recv(&mut buffer).expect("an answer");
    String::from_utf8(buffer[..count].to_vec()).unwrap()
}

/// A request of bob@ocs.test with a branch of its own.
pub(crate) fn request(method: &str, to: &str, branch: &str, body: &str) -> String {
    let content = if body.is_empty() {
        ""
    } else {
        "Content-Type: text/plain\r\n"
    };
    format!(
        "{method} sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK{branch};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:bob@ocs.test>;tag=t1\r\nTo: <sip:{to}>\r\nCall-ID: {branch}@test\r\n\
         CSeq: 1 {method}\r\n{content}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Everything that a peer says after `octets`, until it closes.
pub(crate) fn say_and_read_to_end(address: SocketAddr, octets: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // A peer that closes early is as good as one that listens.
    _ = stream.write_all(octets);
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => said.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the connection stays open: {error}"),
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}
