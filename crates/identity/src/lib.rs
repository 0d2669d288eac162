//! SPIFFE identities, SVIDs, their rotation, and the rustls configurations built once per rotation.
//!
//! [`Identities`] obtains and renews certificates from an [`Issuer`]; an [`IdentityHandle`] gives each connection the
//! [`TlsIdentity`] of now. Who the peer is is read from its certificate after the handshake ([`peer_identity`]).
#![forbid(unsafe_code)]

mod backoff;
mod bearer;
mod clock;
mod grpc;
mod handshake;
mod identities;
mod issuer;
mod peer;
mod request;
mod spiffe_id;
mod svid;
mod tls_identity;
mod verify;
pub mod wire;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use bearer::{BearerToken, CallingChannel, ControllerChannel};
pub use clock::{Clock, SharedClock, SystemClock, TokioClock};
pub use grpc::GrpcIssuer;
pub use handshake::{HandshakeError, accept, connect};
pub use identities::{Identities, IdentityHandle, IdentityState, Settings};
pub use issuer::{Answer, IssueError, Issued, Issuer};
pub use peer::{PeerIdentityError, peer_identity};
pub use request::{InvalidRequest, RequestedKey, read_request};
pub use spiffe_id::{InvalidSpiffeId, SpiffeId, TrustDomain};
pub use svid::{Svid, SvidError, TrustBundle};
pub use tls_identity::{ALPN, TlsIdentity, TlsIdentityError};
