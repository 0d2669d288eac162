//! Origins that a CORS filter allows.

/// An origin as it was written: `scheme://host`, a port where it is not the scheme's own, and `*` for any run of characters of
/// the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Any,
    Exact(String),
    /// One with `*`, as the regular expression that it is compared with.
    Expression(String),
}

impl Origin {
    /// Reads one; none if it is no origin.
    pub fn read(written: &str) -> Option<Self> {
        if written == "*" {
            return Some(Self::Any);
        }
        let lower = written.to_ascii_lowercase();
        // A browser leaves the scheme's own port out.
        let plain = match lower.split_once("://")? {
            ("http", rest) => format!("http://{}", rest.strip_suffix(":80").unwrap_or(rest)),
            ("https", rest) => format!("https://{}", rest.strip_suffix(":443").unwrap_or(rest)),
            _ => return None,
        };
        if !plain.contains('*') {
            return Some(Self::Exact(plain));
        }
        let pieces: Vec<String> = plain.split('*').map(regex::escape).collect();
        Some(Self::Expression(pieces.join("[a-z0-9.-]+")))
    }

    /// The regular expression that it stands for, if it is one.
    pub fn expression(written: &str) -> Option<String> {
        match Self::read(written)? {
            Self::Expression(it) => Some(it),
            Self::Any | Self::Exact(_) => None,
        }
    }
}
