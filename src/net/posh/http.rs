//! One GET over HTTP/1.1 (RFC 9112), with the head read by httparse.

use httparse::{EMPTY_HEADER, Response, Status, parse_chunk_size};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use url::Url;

use super::PoshError;

/// Longest document.
pub(super) const MAX_BODY: usize = 64 * 1024;
/// Longest head, or frame around a body.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// Asks for a document.
pub(super) async fn get(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    url: &Url,
) -> Result<Vec<u8>, PoshError> {
    let host = match (url.host_str().unwrap_or_default(), url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    };
    let query = url
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    let request = format!(
        "GET {}{query} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: stoxgate\r\nAccept: application/json\r\n\
         Connection: close\r\n\r\n",
        url.path()
    );
    let written = async {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await
    };
    written.await.map_err(|_| PoshError::Http)?;
    let mut heard = Vec::new();
    let mut buffer = vec![0; 8 * 1024];
    loop {
        let count = stream.read(&mut buffer).await;
        let count = count.map_err(|_| PoshError::Http)?;
        heard.extend(buffer.iter().take(count));
        if let Some(body) = body(&heard, count == 0)? {
            return Ok(body);
        }
        if count == 0 {
            return Err(PoshError::Http);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Octets(usize),
    Chunked,
    /// To the end of the connection.
    Open,
}

/// The body of a response of which this has come, when it is complete: 64 KiB at most. `ended` where nothing more comes.
///
/// # Errors
/// It is no HTTP response, not one with status 200, or too long.
pub fn body(heard: &[u8], ended: bool) -> Result<Option<Vec<u8>>, PoshError> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut response = Response::new(&mut headers);
    let head = match response.parse(heard) {
        Ok(Status::Complete(head)) => head,
        Ok(Status::Partial) if heard.len() <= MAX_HEAD => return Ok(None),
        _ => return Err(PoshError::Http),
    };
    match response.code {
        Some(200) => {}
        Some(status) => return Err(PoshError::Status(status)),
        None => return Err(PoshError::Http),
    }
    let body = heard.get(head..).unwrap_or_default();
    match length(response.headers)? {
        Length::Octets(count) => Ok(body.get(..count).map(<[u8]>::to_vec)),
        Length::Open if body.len() > MAX_BODY => Err(PoshError::TooLong),
        Length::Open => Ok(ended.then(|| body.to_vec())),
        Length::Chunked if body.len() > MAX_BODY + MAX_HEAD => Err(PoshError::TooLong),
        // Whoever ends with a trailer has to close the connection.
        Length::Chunked if ended || body.ends_with(b"0\r\n\r\n") => match unchunked(body)? {
            None if ended => Err(PoshError::Http),
            whole => Ok(whole),
        },
        Length::Chunked => Ok(None),
    }
}

/// Two lengths, or a length and chunks, are one too many (RFC 9112 §6.3).
fn length(headers: &[httparse::Header<'_>]) -> Result<Length, PoshError> {
    let mut found = None;
    for header in headers {
        let length = if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).map_err(|_| PoshError::Http)?;
            let count: usize = text.trim().parse().map_err(|_| PoshError::Http)?;
            if count > MAX_BODY {
                return Err(PoshError::TooLong);
            }
            Length::Octets(count)
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !header.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err(PoshError::Http);
            }
            Length::Chunked
        } else {
            continue;
        };
        if found.replace(length).is_some() {
            return Err(PoshError::Http);
        }
    }
    Ok(found.unwrap_or(Length::Open))
}

/// The octets in the chunks, when the last has come.
fn unchunked(mut rest: &[u8]) -> Result<Option<Vec<u8>>, PoshError> {
    let mut whole = Vec::new();
    loop {
        let (start, size) = match parse_chunk_size(rest) {
            Ok(Status::Complete(found)) => found,
            Ok(Status::Partial) => return Ok(None),
            Err(_) => return Err(PoshError::Http),
        };
        if size == 0 {
            return Ok(Some(whole));
        }
        let size = usize::try_from(size).map_err(|_| PoshError::TooLong)?;
        if size > MAX_BODY || whole.len() + size > MAX_BODY {
            return Err(PoshError::TooLong);
        }
        let Some(chunk) = rest.get(start..start + size) else {
            return Ok(None);
        };
        whole.extend_from_slice(chunk);
        rest = match rest.get(start + size..) {
            Some([b'\r', b'\n', rest @ ..]) => rest,
            Some([] | [b'\r']) => return Ok(None),
            _ => return Err(PoshError::Http),
        };
    }
}
