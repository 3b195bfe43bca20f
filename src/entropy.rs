//! Unguessable numbers from the operating system.

use stox_core::time::Entropy;

/// The operating system's generator, read in blocks.
#[derive(Debug, Default)]
pub struct OsEntropy {
    block: Vec<u64>,
}

impl Entropy for OsEntropy {
    fn next_u64(&mut self) -> u64 {
        if self.block.is_empty() {
            self.block = (0..64).map(|_| draw()).collect();
        }
        self.block.pop().unwrap_or_else(draw)
    }

    fn another(&mut self) -> Box<dyn Entropy> {
        Box::new(Self::default())
    }
}

/// One number; without a source of randomness nothing here is safe, so the process ends.
fn draw() -> u64 {
    match getrandom::u64() {
        Ok(number) => number,
        Err(error) => {
            tracing::error!(%error, "the system gives no random numbers; stopping");
            std::process::abort()
        }
    }
}
