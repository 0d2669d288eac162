//! How a listener treats its clients, where that is not as proxies do by themselves.
//!
//! Each field that is absent is as [`ClientTimeouts::BUILT_IN`] and the process-wide limits of proxies have it.

use super::Capability;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How a listener treats its clients, where a policy says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTreatment {
    /// How long it waits for them.
    pub timeouts: ClientTimeouts,
    /// What it lets them have.
    pub limits: ClientLimits,
    /// Whether endpoints are told of their certificates.
    pub certificate_header: CertificateHeader,
    /// Whose ids of requests hold.
    pub request_ids: RequestIds,
    /// What becomes of headers with `_` in their names.
    pub underscores: Underscores,
    /// When the kernel asks a silent client whether it is still there.
    pub keepalive: ClientKeepalive,
}

/// Whether endpoints are told of a client's certificate in `X-Forwarded-Client-Cert`. What clients say there is dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertificateHeader {
    /// They are told nothing.
    #[default]
    Drop,
    /// They are, where certificates are validated.
    Set,
}

/// Whose ids of requests hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestIds {
    /// Each request gets a random one (UUID of version 4), unless an identity of the mesh was proved.
    #[default]
    BuiltIn,
    /// That of the client; who says none gets one that sorts by its time (UUID of version 7).
    Keep,
    /// That of a proxy that is believed; everybody else gets one that sorts by its time.
    Generate,
}

/// What becomes of headers with `_` in their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Underscores {
    /// They go on, but for those that some servers take for another header that matters.
    #[default]
    Keep,
    /// They are taken out.
    Drop,
    /// The request is refused.
    Refuse,
}

/// When the kernel asks a silent client whether it is still there; what is absent is as in [`Self::BUILT_IN`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientKeepalive {
    /// Silence before it is asked first.
    pub idle: Option<Duration>,
    /// Time between two questions.
    pub interval: Option<Duration>,
    /// Questions without an answer, after which it is gone.
    pub probes: Option<u32>,
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
    /// The field [`ClientTimeouts::handshake`] of it.
    Handshake,
    /// The field [`ClientTimeouts::request_headers`] of it.
    RequestHeaders,
    /// The field [`ClientTimeouts::request_body`] of it.
    RequestBody,
    /// The field [`ClientTimeouts::idle`] of it.
    Idle,
    /// The field [`ClientTimeouts::stream_idle`] of it.
    StreamIdle,
}

/// What a listener lets its clients have. What is absent is as the process-wide limits have it, and nothing widens these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientLimits {
    /// Connections that a proxy has open at the listener, on all its threads.
    pub connections: Option<u64>,
    /// Requests that one connection may bring.
    pub requests_per_connection: Option<u64>,
    /// Bytes of a request's head (HTTP/1: all lines; HTTP/2: the decoded header list).
    pub header_bytes: Option<u64>,
    /// Header fields of a request.
    pub headers: Option<u64>,
    /// HTTP/2 streams that a connection may have open.
    pub streams: Option<u64>,
    /// Bytes of a request's body.
    pub body_bytes: Option<u64>,
}

/// A field of [`ClientLimits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientLimit {
    /// The field [`ClientLimits::connections`] of it.
    Connections,
    /// The field [`ClientLimits::requests_per_connection`] of it.
    RequestsPerConnection,
    /// The field [`ClientLimits::header_bytes`] of it.
    HeaderBytes,
    /// The field [`ClientLimits::headers`] of it.
    Headers,
    /// The field [`ClientLimits::streams`] of it.
    Streams,
    /// The field [`ClientLimits::body_bytes`] of it.
    BodyBytes,
}

// === impl ClientTreatment ===

impl ClientTreatment {
    /// What it asks of a proxy.
    pub(super) fn requires(&self) -> impl Iterator<Item = Capability> {
        let timeouts = (self.timeouts != ClientTimeouts::default()).then_some(Capability::ClientTimeouts);
        let limits = (self.limits != ClientLimits::default()).then_some(Capability::ClientLimits);
        let of_certificates = self.certificate_header != CertificateHeader::default();
        let rest = [
            (of_certificates, Capability::ClientCertificateHeader),
            (self.request_ids != RequestIds::default(), Capability::RequestIds),
            (self.underscores != Underscores::default(), Capability::Underscores),
            (self.keepalive != ClientKeepalive::default(), Capability::ClientKeepalive),
        ];
        let rest = rest.into_iter().filter_map(|(is_said, it)| is_said.then_some(it));
        timeouts.into_iter().chain(limits).chain(rest)
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

// === impl ClientTimeout ===

impl ClientTimeout {
    /// Every field, in their order.
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

// === impl ClientLimit ===

impl ClientLimit {
    /// Every field, in their order.
    pub const ALL: [Self; 6] = [
        Self::Connections,
        Self::RequestsPerConnection,
        Self::HeaderBytes,
        Self::Headers,
        Self::Streams,
        Self::BodyBytes,
    ];

    /// The values that it may have.
    pub const fn range(self) -> RangeInclusive<u64> {
        match self {
            Self::Connections | Self::RequestsPerConnection => 1..=1_000_000,
            Self::HeaderBytes => 1024..=64 * 1024,
            Self::Headers | Self::Streams => 1..=100,
            Self::BodyBytes => 1..=1 << 40,
        }
    }
}

// === impl ClientLimits ===

impl ClientLimits {
    /// The value of one field.
    pub fn get(&self, limit: ClientLimit) -> Option<u64> {
        match limit {
            ClientLimit::Connections => self.connections,
            ClientLimit::RequestsPerConnection => self.requests_per_connection,
            ClientLimit::HeaderBytes => self.header_bytes,
            ClientLimit::Headers => self.headers,
            ClientLimit::Streams => self.streams,
            ClientLimit::BodyBytes => self.body_bytes,
        }
    }

    /// The same to be set.
    pub fn get_mut(&mut self, limit: ClientLimit) -> &mut Option<u64> {
        match limit {
            ClientLimit::Connections => &mut self.connections,
            ClientLimit::RequestsPerConnection => &mut self.requests_per_connection,
            ClientLimit::HeaderBytes => &mut self.header_bytes,
            ClientLimit::Headers => &mut self.headers,
            ClientLimit::Streams => &mut self.streams,
            ClientLimit::BodyBytes => &mut self.body_bytes,
        }
    }
}

// === impl ClientKeepalive ===

impl ClientKeepalive {
    /// What holds where nothing is said.
    pub const BUILT_IN: Self = Self {
        idle: Some(Duration::from_secs(30)),
        interval: Some(Duration::from_secs(10)),
        probes: Some(3),
    };

    /// Whether a listener may say so: within its bounds a client that is gone is noticed in less than two hours.
    pub fn is_allowed(&self) -> bool {
        let within = |it: Option<Duration>, range: RangeInclusive<u64>| {
            it.is_none_or(|it| it.subsec_nanos() == 0 && range.contains(&it.as_secs()))
        };
        within(self.idle, Self::IDLE)
            && within(self.interval, Self::INTERVAL)
            && self.probes.is_none_or(|it| Self::PROBES.contains(&it))
    }

    /// The seconds that [`Self::idle`] may have.
    pub const IDLE: RangeInclusive<u64> = 5..=3600;
    /// The seconds that [`Self::interval`] may have.
    pub const INTERVAL: RangeInclusive<u64> = 1..=300;
    /// What [`Self::probes`] may be.
    pub const PROBES: RangeInclusive<u32> = 1..=10;
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

    /// The value of one field.
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
