//! The Gateway API v1.7.0 as Rust types, generated from its CRDs (experimental channel) by `generate.sh`.
//!
//! Nothing here is edited by hand but this file. What the types mean is the Gateway API's own documentation:
//! <https://gateway-api.sigs.k8s.io/reference/spec/>.
//!
//! # Guarantees
//!
//! - A field of the CRDs is a field here, with the same optionality. What the CRDs check by CEL or patterns is not checked.
//! - Fields that the CRDs do not have are dropped when an object is read. To tell a user of them, compare with the raw object.
//!
//! # Example
//!
//! ```
//! use fairway_gateway_api::gateways::Gateway;
//!
//! let gateway: Gateway = serde_json::from_str(
//!     r#"{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "web"},
//!         "spec": {"gatewayClassName": "fairway", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]}}"#,
//! )?;
//! assert_eq!(gateway.spec.gateway_class_name, "fairway");
//! # Ok::<(), serde_json::Error>(())
//! ```
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
