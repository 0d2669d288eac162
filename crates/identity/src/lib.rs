//! SPIFFE identities, SVIDs, their rotation, and the rustls configurations built once per rotation.
#![forbid(unsafe_code)]

mod spiffe_id;

pub use spiffe_id::{InvalidSpiffeId, SpiffeId, TrustDomain};
