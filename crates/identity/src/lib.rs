//! SPIFFE identities, SVIDs, their rotation, and the rustls configurations built once per rotation.
//!
//! [`Identities`] obtains and renews certificates from an [`Issuer`]; an [`IdentityHandle`] gives each connection the
//! [`TlsIdentity`] of now. The peer's identity is read from its certificate after the handshake ([`peer_identity`]).
//!
//! # Guarantees
//!
//! - A [`SpiffeId`] always has the form `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`: other URIs are refused
//!   when they are parsed.
//! - A peer is accepted only with a certificate of a root of the trust domain that is valid now, in both directions.
//! - A certificate is renewed at about half of its lifetime, spread at random. While the issuer does not answer, the old one
//!   is used until it ends.
//! - A private key never leaves the process that made it: issuers sign requests.
//!
//! # Example
//!
//! ```
//! use fairway_identity::SpiffeId;
//!
//! let reader: SpiffeId = "spiffe://cluster.local/ns/bookshop/sa/reader".parse()?;
//! assert_eq!((reader.namespace(), reader.service_account()), ("bookshop", "reader"));
//! assert!("spiffe://cluster.local/reader".parse::<SpiffeId>().is_err(), "no service account");
//! # Ok::<(), fairway_identity::InvalidSpiffeId>(())
//! ```
#![forbid(unsafe_code)]

mod backoff;
mod bearer;
mod certificate_names;
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
pub use certificate_names::CertificateNames;
pub use clock::{Clock, SharedClock, SystemClock, TokioClock, reached};
pub use grpc::GrpcIssuer;
pub use handshake::{HandshakeError, accept, connect};
pub use identities::{Identities, IdentityHandle, IdentityState, Settings};
pub use issuer::{BoxFuture, IssueError, Issued, Issuer};
pub use peer::{PeerIdentityError, peer_expires, peer_identity};
pub use request::{InvalidRequest, RequestedKey, read_request};
pub use spiffe_id::{InvalidSpiffeId, SpiffeId, TrustDomain};
pub use svid::{Svid, SvidError, TrustBundle};
pub use tls_identity::{ALPN, TlsIdentity, TlsIdentityError};
