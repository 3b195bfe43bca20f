//! A password or shared secret among the settings.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer};
use zeroize::Zeroizing;

/// Text that is never printed, and is wiped from memory when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// What it says. Whoever copies it wipes the copy.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The library's own words would show the value.
        let text = String::deserialize(deserializer);
        text.map(Self::from)
            .map_err(|_| de::Error::custom("must be text in quotes"))
    }
}
