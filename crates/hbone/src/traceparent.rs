//! The `traceparent` header (W3C Trace Context): carried on, never made up.

use std::fmt;
use std::str::FromStr;

/// A valid `traceparent` of version 00.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Traceparent {
    text: [u8; LENGTH],
}

const LENGTH: usize = 55;

/// A text that is no `traceparent` of version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not of the form 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, or all zero")]
pub struct InvalidTraceparent;

impl Traceparent {
    /// The value as it came, to be sent on unchanged.
    pub fn as_str(&self) -> &str {
        // Only ASCII gets in.
        std::str::from_utf8(&self.text).unwrap_or_default()
    }
}

impl FromStr for Traceparent {
    type Err = InvalidTraceparent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut fields = text.split('-');
        let mut field = |length: usize| fields.next().filter(|it| it.len() == length && is_hex(it));
        let (version, trace, parent, _flags) =
            (field(2), field(32).filter(|it| !is_zero(it)), field(16).filter(|it| !is_zero(it)), field(2));
        let complete = version == Some("00") && trace.is_some() && parent.is_some() && _flags.is_some();
        match <[u8; LENGTH]>::try_from(text.as_bytes()) {
            Ok(text) if complete && fields.next().is_none() => Ok(Self { text }),
            _ => Err(InvalidTraceparent),
        }
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_zero(text: &str) -> bool {
    text.bytes().all(|b| b == b'0')
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_valid_one_is_kept_as_it_is() {
        assert_eq!(GOOD.parse::<Traceparent>().unwrap().as_str(), GOOD);
    }

    #[test]
    fn anything_else_is_refused() {
        let zeros = format!("00-{}", "0".repeat(52));
        for text in [
            "",
            "00",
            zeros.as_str(),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert!(text.parse::<Traceparent>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}|00-[0-9a-f]{30,34}-[0-9a-f]{14,18}-[0-9a-f]{0,3}") {
            if let Ok(parsed) = text.parse::<Traceparent>() {
                prop_assert_eq!(parsed.as_str(), text);
            }
        }
    }
}
