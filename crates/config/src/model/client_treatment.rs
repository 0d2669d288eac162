//! How a listener treats its clients, where that is not as proxies do by themselves.
//!
//! Each field that is absent is as [`ClientTimeouts::BUILT_IN`] and the process-wide limits of proxies have it.

use super::Capability;
use std::time::Duration;

/// How a listener treats its clients, where a policy says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTreatment {
    /// How long it waits for them.
    pub timeouts: ClientTimeouts,
}

/// How long a listener waits for its clients; what is absent is as in [`Self::BUILT_IN`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// For a TLS handshake, and for the first message of TLS that passes through.
    pub handshake: Option<Duration>,
    /// For the head of a request once it has begun.
    pub request_headers: Option<Duration>,
    /// For a part of a request's body that brings too few bytes while the proxy waits for it.
    pub request_body: Option<Duration>,
    /// For the next request.
    pub idle: Option<Duration>,
    /// For a byte either way where a response has begun and its request has not ended.
    pub stream_idle: Option<Duration>,
}

/// A field of [`ClientTimeouts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientTimeout {
    /// [`ClientTimeouts::handshake`]
    Handshake,
    /// [`ClientTimeouts::request_headers`]
    RequestHeaders,
    /// [`ClientTimeouts::request_body`]
    RequestBody,
    /// [`ClientTimeouts::idle`]
    Idle,
    /// [`ClientTimeouts::stream_idle`]
    StreamIdle,
}

// === impl ClientTreatment ===

impl ClientTreatment {
    /// What it asks of a proxy.
    pub(super) fn requires(&self) -> impl Iterator<Item = Capability> {
        let timeouts = (self.timeouts != ClientTimeouts::default()).then_some(Capability::ClientTimeouts);
        timeouts.into_iter()
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

// === impl ClientTimeout ===

impl ClientTimeout {
    /// Every field.
    pub const ALL: [Self; 5] =
        [Self::Handshake, Self::RequestHeaders, Self::RequestBody, Self::Idle, Self::StreamIdle];

    /// The longest that a listener may wait: nobody keeps a connection for ever.
    pub const fn longest(self) -> Duration {
        Duration::from_secs(match self {
            Self::Handshake | Self::RequestHeaders => 60,
            Self::RequestBody => 600,
            Self::Idle | Self::StreamIdle => 3600,
        })
    }

    /// Whether a listener may wait so long: whole seconds, since proxies look once a second.
    pub fn allows(self, timeout: Duration) -> bool {
        timeout.subsec_nanos() == 0 && timeout >= Duration::from_secs(1) && timeout <= self.longest()
    }
}

// === impl ClientTimeouts ===

impl ClientTimeouts {
    /// What holds where nothing is said.
    pub const BUILT_IN: Self = Self {
        handshake: Some(Duration::from_secs(10)),
        request_headers: Some(Duration::from_secs(10)),
        request_body: Some(Duration::from_secs(60)),
        idle: Some(Duration::from_secs(300)),
        stream_idle: Some(Duration::from_secs(300)),
    };

    /// One of them.
    pub fn get(&self, timeout: ClientTimeout) -> Option<Duration> {
        match timeout {
            ClientTimeout::Handshake => self.handshake,
            ClientTimeout::RequestHeaders => self.request_headers,
            ClientTimeout::RequestBody => self.request_body,
            ClientTimeout::Idle => self.idle,
            ClientTimeout::StreamIdle => self.stream_idle,
        }
    }

    /// The same to be set.
    pub fn get_mut(&mut self, timeout: ClientTimeout) -> &mut Option<Duration> {
        match timeout {
            ClientTimeout::Handshake => &mut self.handshake,
            ClientTimeout::RequestHeaders => &mut self.request_headers,
            ClientTimeout::RequestBody => &mut self.request_body,
            ClientTimeout::Idle => &mut self.idle,
            ClientTimeout::StreamIdle => &mut self.stream_idle,
        }
    }
}
