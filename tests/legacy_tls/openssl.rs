//! The `openssl` command as an old SIP peer: what is written to it is said inside TLS, and what it hears it prints.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use crate::harness::{DEADLINE, Folder};

/// What a peer can do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ability {
    /// Options of `s_server` and `s_client`.
    pub(crate) options: &'static [&'static str],
    /// How the gateway's log names what comes of it.
    pub(crate) negotiated: &'static str,
}

/// Windows Server 2003 and 2008.
pub(crate) const TLS_1_0: Ability = Ability {
    options: &["-tls1", "-cipher", "AES128-SHA:@SECLEVEL=0"],
    negotiated: "version=\"TLSv1\" cipher=\"AES128-SHA\"",
};
/// Windows Server 2008 R2 with an RSA certificate.
pub(crate) const TLS_1_2_RSA_CBC: Ability = Ability {
    options: &["-tls1_2", "-cipher", "AES128-SHA256:AES256-SHA:@SECLEVEL=0"],
    negotiated: "version=\"TLSv1.2\" cipher=\"AES128-SHA256\"",
};
/// Anything of today.
pub(crate) const MODERN: Ability = Ability {
    options: &[],
    negotiated: "",
};

pub(crate) struct Peer {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Peer {
    /// `s_server` with mutual authentication on a free port of `ip`, and its address.
    pub(crate) fn server(
        folder: &Folder,
        ability: Ability,
        certificate: &str,
        ip: &str,
    ) -> (Self, SocketAddr) {
        let mut command = command(folder, "s_server", ability);
        show(&mut command, certificate);
        command.args(["-accept", &format!("{ip}:0"), "-Verify", "2"]);
        let mut peer = Self::start(command);
        let line = peer.wait_for("ACCEPT ");
        let address = line.trim_start_matches("ACCEPT ").parse().unwrap();
        (peer, address)
    }

    /// `s_client`, which shows the certificate if there is one.
    pub(crate) fn client(
        folder: &Folder,
        ability: Ability,
        certificate: Option<&str>,
        to: SocketAddr,
    ) -> Self {
        let mut command = command(folder, "s_client", ability);
        if let Some(certificate) = certificate {
            show(&mut command, certificate);
        }
        command.args(["-quiet", "-connect", &to.to_string()]);
        Self::start(command)
    }

    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the openssl command (apt-get install openssl)");
        let (sender, lines) = channel();
        follow(child.stdout.take().unwrap(), sender.clone());
        follow(child.stderr.take().unwrap(), sender);
        Self {
            input: child.stdin.take().unwrap(),
            child,
            lines,
            heard: Vec::new(),
        }
    }

    fn line(&mut self, wanted: &str) -> String {
        let line = self
            .lines
            .recv_timeout(DEADLINE)
            .unwrap_or_else(|_| panic!("no `{wanted}` in:\n{}", self.heard.join("\n")));
        self.heard.push(line.clone());
        line
    }

    /// The next line that starts so.
    pub(crate) fn wait_for(&mut self, start: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            let line = self.line(start);
            if line.starts_with(start) {
                return line;
            }
        }
        panic!("no `{start}` in time");
    }

    /// The head of the next SIP message whose first line starts so.
    pub(crate) fn head(&mut self, start: &str) -> Vec<String> {
        let mut head = vec![self.wait_for(start)];
        loop {
            let line = self.line("the end of a head");
            if line.is_empty() {
                return head;
            }
            head.push(line);
        }
    }

    /// Says octets inside TLS.
    pub(crate) fn say(&mut self, text: &str) {
        self.input.write_all(text.as_bytes()).unwrap();
        self.input.flush().unwrap();
    }

    /// Says a request and waits for the final status line.
    pub(crate) fn ask(&mut self, request: &str) -> String {
        self.say(&request.replace("SIP/2.0/UDP", "SIP/2.0/TLS"));
        loop {
            let status = self.wait_for("SIP/2.0 ");
            if !status.starts_with("SIP/2.0 1") {
                return status;
            }
        }
    }

    /// Waits for a request, and answers it 200.
    pub(crate) fn answer(&mut self, start: &str) {
        let head = self.head(start);
        let echoed = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
        let lines = head.iter().filter(|line| {
            echoed.iter().any(|name| {
                line.get(..name.len())
                    .is_some_and(|l| l.eq_ignore_ascii_case(name))
            })
        });
        let mut answer = "SIP/2.0 200 OK\r\n".to_owned();
        for line in lines {
            answer.push_str(line);
            answer.push_str("\r\n");
        }
        answer.push_str("Content-Length: 0\r\n\r\n");
        self.say(&answer);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn command(folder: &Folder, what: &str, ability: Ability) -> Command {
    let mut command = Command::new("openssl");
    command
        .arg(what)
        .args(ability.options)
        .args(["-CAfile", "ca.crt", "-verify_return_error"])
        .current_dir(&folder.0);
    command
}

fn show(command: &mut Command, certificate: &str) {
    command
        .args(["-cert", &format!("{certificate}.crt")])
        .args(["-key", &format!("{certificate}.key")]);
}

fn follow(stream: impl Read + Send + 'static, lines: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
}
