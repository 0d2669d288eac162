//! Resources as bytes, and back. Encoding cannot fail; decoding checks everything, so that what exists is valid.

mod address_source;
mod authentication;
mod authorization;
mod backend;
mod certificate;
mod client_treatment;
mod cors;
mod endpoints;
mod external_auth;
mod filter;
mod hash;
mod invalid;
mod key;
mod l4_route;
mod listener;
mod matching;
mod rate_limit;
mod resource;
mod route;
mod service;
mod share;
mod target;
#[cfg(test)]
mod tests;
mod trust;
mod value;
mod workload;

pub use hash::ContentHash;
pub use invalid::Invalid;
pub use key::{decode_key, encode_key};
pub use resource::{Encoded, decode, encode};
pub(crate) use value::object;
