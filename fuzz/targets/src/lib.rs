//! What must hold for any bytes that a peer sends: one function for each parser, which panics where it does not hold.
//!
//! # Purpose
//!
//! `fuzz/fuzz_targets` gives them to libFuzzer (`make fuzz`, nightly Rust). `tests/corpus.rs` runs them on stable Rust, over
//! the committed corpus and mutations of it, as a part of `make test`.
//!
//! # Guarantees
//!
//! - **A panic is a fault of the parser.** A target takes any bytes. It refuses none and panics only if a parser panics, or if what it
//!   accepts breaks what its callers rely on.
//! - **No target without a corpus.** A test fails for an entry of [`TARGETS`] without a folder in `fuzz/corpus` or a file in
//!   `fuzz/fuzz_targets`, and for a folder or file without an entry.
//! - **The same mutations each time.** Their seed is the name of the target, so a failure of `make test` is found again.
//!
//! # Example
//!
//! ```
//! use fairway_fuzz_targets::TARGETS;
//!
//! for target in TARGETS {
//!     (target.run)(b"GET / HTTP/1.1\r\ncontent-length: +1\r\n\r\n");
//! }
//! ```
#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a property that does not hold is reported"
)]

pub mod config;
pub mod controller;
pub mod hbone;
pub mod identity;
pub mod runtime;
pub mod waypoint;
pub mod ztunnel;

/// A parser, by the name of its folder in `fuzz/corpus` and of its file in `fuzz/fuzz_targets`.
pub struct Target {
    /// The name of its folder and of its file. It begins with the crate of the parser.
    pub name: &'static str,
    /// Panics where something does not hold.
    pub run: fn(&[u8]),
}

/// Every target; a test fails for a folder or a file that has none.
pub const TARGETS: &[Target] = &[
    Target { name: "config_hello", run: config::hello },
    Target { name: "config_resource", run: config::resource },
    Target { name: "config_saved", run: config::saved },
    Target { name: "config_stream", run: config::stream },
    Target { name: "controller_token", run: controller::token },
    Target { name: "hbone_authority", run: hbone::authority },
    Target { name: "hbone_headers", run: hbone::headers },
    Target { name: "identity_message", run: identity::message },
    Target { name: "identity_peer", run: identity::peer },
    Target { name: "identity_request", run: identity::request },
    Target { name: "identity_spiffe_id", run: identity::spiffe_id },
    Target { name: "runtime_control_frames", run: runtime::control_frames },
    Target { name: "waypoint_client_hello", run: waypoint::client_hello },
    Target { name: "waypoint_first_bytes", run: waypoint::first_bytes },
    Target { name: "waypoint_forwarded_for", run: waypoint::forwarded_for },
    Target { name: "waypoint_framing", run: waypoint::framing },
    Target { name: "waypoint_head", run: waypoint::head },
    Target { name: "waypoint_proxy_header", run: waypoint::proxy_header },
    Target { name: "waypoint_response", run: waypoint::response },
    Target { name: "waypoint_rewrite", run: waypoint::rewritten },
    Target { name: "waypoint_websocket", run: waypoint::websocket },
    Target { name: "ztunnel_cni", run: ztunnel::cni },
    Target { name: "ztunnel_probe", run: ztunnel::probe },
    Target { name: "ztunnel_register", run: ztunnel::register },
];

/// The text at the front of the input: all of it, or as far as it is UTF-8.
fn text_of(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            bytes.get(..error.valid_up_to()).and_then(|it| std::str::from_utf8(it).ok()).unwrap_or_default()
        }
    }
}
