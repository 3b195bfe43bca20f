//! Content codings: bodies that were compressed on their way (RFC 3261 §20.12, RFC 9110 §8.4.1).

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};

/// What we undo, for `Accept-Encoding`.
pub const ACCEPTED: &str = "identity, deflate, gzip";
/// Octets of one body after its coding is undone.
pub const MAX_OCTETS: usize = 131_072;
/// How many octets may come of one; small bodies may grow to [`SMALL`] in any case.
pub const MAX_RATIO: usize = 100;
/// What a body may always grow to.
pub const SMALL: usize = 4096;

/// Why a body stays closed. The sender is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    /// A coding that is not undone here.
    #[error("the content coding is not known")]
    Unknown,
    /// It grows beyond the limits.
    #[error("the coded body is larger than the limits allow")]
    TooLarge,
    /// It is not in its coding, or cut off.
    #[error("the coded body is damaged")]
    Damaged,
}

/// Undoes the coding that `Content-Encoding` names. One at most: a list of several is refused as unknown.
///
/// # Errors
/// [`CodingError`].
pub fn decode<'a>(octets: &'a [u8], coding: &str) -> Result<Cow<'a, [u8]>, CodingError> {
    match coding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(Cow::Borrowed(octets)),
        "gzip" | "x-gzip" => inflate(octets.len(), GzDecoder::new(octets)),
        // RFC 9110 §8.4.1.2: some leave the zlib format around the deflated octets out.
        "deflate" => match inflate(octets.len(), ZlibDecoder::new(octets)) {
            Err(CodingError::Damaged) => inflate(octets.len(), DeflateDecoder::new(octets)),
            done => done,
        },
        _ => Err(CodingError::Unknown),
    }
}

/// Whether `Content-Encoding` says that the body is as it is.
#[must_use]
pub fn is_plain(coding: Option<&str>) -> bool {
    let coding = coding.unwrap_or_default().trim();
    coding.is_empty() || coding.eq_ignore_ascii_case("identity")
}

fn inflate<'a>(length: usize, decoder: impl Read) -> Result<Cow<'a, [u8]>, CodingError> {
    let limit = length.saturating_mul(MAX_RATIO).clamp(SMALL, MAX_OCTETS);
    let mut plain = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder
        .take(most)
        .read_to_end(&mut plain)
        .map_err(|_| CodingError::Damaged)?;
    if plain.len() > limit {
        return Err(CodingError::TooLarge);
    }
    Ok(Cow::Owned(plain))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    fn zlib(octets: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(octets).unwrap_or_default();
        encoder.finish().unwrap_or_default()
    }

    fn raw(octets: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(octets).unwrap_or_default();
        encoder.finish().unwrap_or_default()
    }

    fn gzip(octets: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(octets).unwrap_or_default();
        encoder.finish().unwrap_or_default()
    }

    #[test]
    fn what_grows_too_much_is_refused() {
        let long = vec![b'a'; MAX_OCTETS + 1];
        for (coding, coded) in [
            ("deflate", zlib(&long)),
            ("deflate", raw(&long)),
            ("gzip", gzip(&long)),
            ("deflate", zlib(&vec![b'a'; 40_000])),
        ] {
            assert_eq!(decode(&coded, coding), Err(CodingError::TooLarge));
        }
        let small = vec![b'a'; SMALL];
        assert_eq!(decode(&zlib(&small), "deflate").as_deref(), Ok(&small[..]));
    }

    #[test]
    fn what_is_no_coding_of_ours_is_refused() {
        for (octets, coding, error) in [
            (&b"x"[..], "br", CodingError::Unknown),
            (b"x", "deflate, gzip", CodingError::Unknown),
            (b"x", "gzip", CodingError::Damaged),
            (b"x\x9c", "deflate", CodingError::Damaged),
            (b"", "deflate", CodingError::Damaged),
        ] {
            assert_eq!(decode(octets, coding), Err(error), "{coding}");
        }
        assert_eq!(decode(b"x", " Identity ").as_deref(), Ok(&b"x"[..]));
    }

    proptest! {
        #[test]
        fn each_coding_is_undone(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
            for (coding, coded) in [("deflate", zlib(&octets)), ("DEFLATE", raw(&octets)), ("x-gzip", gzip(&octets))] {
                let plain = decode(&coded, coding);
                prop_assert_eq!(plain.as_deref(), Ok(&octets[..]));
            }
        }

        #[test]
        fn any_octets_are_taken(octets in proptest::collection::vec(any::<u8>(), 0..200), gzip in any::<bool>()) {
            let coding = if gzip { "gzip" } else { "deflate" };
            if let Ok(plain) = decode(&octets, coding) {
                prop_assert!(plain.len() <= MAX_OCTETS);
            }
        }
    }
}
