//! Branches that nobody can guess (RFC 3261 §8.1.1.7).

use sha2::{Digest, Sha256};
use stox_core::time::Entropy;

use crate::header::MAGIC_COOKIE;

/// The most of a hint that a branch takes over.
const HINT_LENGTH: usize = 64;

/// A sequence of words out of one secret.
pub(super) struct Branches {
    secret: [u8; 32],
    drawn: u64,
}

impl std::fmt::Debug for Branches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Branches").finish_non_exhaustive()
    }
}

impl Branches {
    pub(super) fn new(entropy: &mut dyn Entropy) -> Self {
        let mut secret = [0; 32];
        for chunk in secret.chunks_mut(8) {
            chunk.copy_from_slice(&entropy.next_u64().to_be_bytes());
        }
        Self { secret, drawn: 0 }
    }

    /// A new branch, with the legal characters of `hint` in it.
    pub(super) fn next(&mut self, hint: Option<&str>) -> String {
        self.drawn += 1;
        let word = self.word(&[&self.drawn.to_be_bytes()]);
        match hint.map(legal).filter(|h| !h.is_empty()) {
            Some(hint) => format!("{MAGIC_COOKIE}{hint}.{word}"),
            None => format!("{MAGIC_COOKIE}{word}"),
        }
    }

    /// The same tag for the same request, without memory (RFC 3261 §8.2.7).
    pub(super) fn stateless_tag(&self, call_id: &str, cseq: &str) -> String {
        self.word(&[b"tag", call_id.as_bytes(), b"\0", cseq.as_bytes()])
    }

    fn word(&self, parts: &[&[u8]]) -> String {
        let mut hash = Sha256::new();
        hash.update(self.secret);
        for part in parts {
            hash.update(part);
        }
        hash.finalize()
            .iter()
            .take(12)
            .map(|b| format!("{b:02x}"))
            .collect()
    }
}

/// The characters of a token (RFC 3261 §25.1); any other becomes `_`.
fn legal(hint: &str) -> String {
    hint.chars()
        .take(HINT_LENGTH)
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use stox_core::time::SeededEntropy;

    #[test]
    fn branches_differ_and_hints_are_made_legal() {
        let mut branches = Branches::new(&mut SeededEntropy(1));
        let plain = branches.next(None);
        assert_ne!(plain, branches.next(None));
        assert_eq!(plain.len(), MAGIC_COOKIE.len() + 24);
        assert_ne!(plain, Branches::new(&mut SeededEntropy(2)).next(None));
        let hinted = branches.next(Some("a b;c=\"\r\nü~"));
        assert!(hinted.starts_with("z9hG4bKa_b_c_____~."), "{hinted}");
        let long = branches.next(Some(&"x".repeat(1000)));
        assert_eq!(long.len(), MAGIC_COOKIE.len() + HINT_LENGTH + 25);
        assert!(branches.next(Some("")).len() == plain.len());
    }

    #[test]
    fn a_stateless_tag_depends_on_the_request_only() {
        let mut branches = Branches::new(&mut SeededEntropy(1));
        let tag = branches.stateless_tag("a@b", "1 MESSAGE");
        branches.next(None);
        assert_eq!(tag, branches.stateless_tag("a@b", "1 MESSAGE"));
        assert_ne!(tag, branches.stateless_tag("a@b", "2 MESSAGE"));
    }
}
