//! A piece of a SIP message as a body, and of that its first line (RFC 3420): what became of a REFER (RFC 3515 §2.4.5).

use crate::grammar::one_line;

/// Content type of such a body, with the version that RFC 3515 asks for.
pub const CONTENT_TYPE: &str = "message/sipfrag;version=2.0";

/// Writes a status line.
#[must_use]
pub fn write(status: u16, reason: &str) -> String {
    format!("SIP/2.0 {status:03} {}\r\n", one_line(reason))
}

/// Reads the status of a status line. `None` where the piece begins with none.
#[must_use]
pub fn status(octets: &[u8]) -> Option<u16> {
    let line = octets
        .split(|octet| matches!(octet, b'\r' | b'\n'))
        .next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let version = words.next()?;
    let status = words.next()?;
    let digits = status.len() == 3 && status.bytes().all(|octet| octet.is_ascii_digit());
    let known = version.eq_ignore_ascii_case("SIP/2.0") && digits;
    status
        .parse()
        .ok()
        .filter(|status| known && (100..700).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines_come_back() {
        for (code, reason) in [(100, "Trying"), (200, "OK"), (603, "No\r\nway")] {
            let line = write(code, reason);
            assert_eq!(line.matches("\r\n").count(), 1);
            assert_eq!(status(line.as_bytes()), Some(code));
        }
    }

    #[test]
    fn other_pieces_have_no_status() {
        for piece in [
            "",
            "INVITE sip:a@b SIP/2.0",
            "SIP/2.0 20 OK",
            "SIP/2.0 999 X",
            "SIP/2.0",
        ] {
            assert_eq!(status(piece.as_bytes()), None, "{piece}");
        }
        assert_eq!(status(b"SIP/2.0 200 \xff"), None);
        assert_eq!(status(b"sip/2.0 486 Busy\nVia: x"), Some(486));
    }
}
