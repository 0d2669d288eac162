//! How a request ends at a proxy.

use crate::pipeline::decide::Stop;
use crate::reason::Reason;

/// How a request ends.
#[derive(Clone, Debug, Default)]
pub(super) struct End {
    pub words: String,
    pub status: Option<u16>,
    pub reason: Option<&'static str>,
}

// === impl End ===

impl End {
    pub(super) fn of(stop: Stop) -> Self {
        match stop {
            Stop::Refused(reason) => Self::refused(reason),
            Stop::Responded(response) => Self {
                words: format!("a stage answers {}", response.status),
                status: Some(response.status.as_u16()),
                reason: None,
            },
            Stop::Closed => {
                Self { reason: Some("closed"), ..Self::of_words("a stage closes the connection") }
            }
        }
    }

    pub(super) fn refused(reason: Reason) -> Self {
        let (status, label) = (reason.status(), reason.label());
        Self {
            words: format!("refused with {status}: {} ({label})", reason.sentence().trim_end()),
            status: Some(status.as_u16()),
            reason: Some(label),
        }
    }

    pub(super) fn of_words(words: impl Into<String>) -> Self {
        Self { words: words.into(), ..Self::default() }
    }
}
