//! The Gateway API v1.7.0 as Rust types, generated from its CRDs (experimental channel) by `generate.sh`.
//!
//! Nothing here is edited by hand but this file. What the types mean is the Gateway API's own documentation:
//! <https://gateway-api.sigs.k8s.io/reference/spec/>.
#![forbid(unsafe_code)]
#![allow(clippy::all, clippy::pedantic, missing_docs, rustdoc::all)]

pub mod backendtlspolicies;
pub mod gatewayclasses;
pub mod gateways;
pub mod grpcroutes;
pub mod httproutes;
pub mod listenersets;
pub mod referencegrants;
pub mod tcproutes;
pub mod tlsroutes;
pub mod udproutes;

/// The bundle version the types were generated from.
pub const BUNDLE_VERSION: &str = "v1.7.0";
/// The API group of every kind here.
pub const GROUP: &str = "gateway.networking.k8s.io";
