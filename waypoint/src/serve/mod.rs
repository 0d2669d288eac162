//! The connections of HTTP clients: their bytes become requests for [`crate::pipeline`], or go on as bytes.

mod bytes;
mod connection;
mod date;
mod http2;
mod lingering;

use bytes::relay_tunnel;
pub use bytes::{BytesFrom, Reached, reach, relay};
pub use connection::{detect_http, serve_http};
