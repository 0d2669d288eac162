//! One record of what a proxy or a tunnel carries: a request at a Gateway or waypoint, a connection at a tunnel or at a
//! listener for TCP, TLS and UDP. Metrics and the access log are made from it, with the same names.
//!
//! # What is guaranteed
//!
//! - **No waiting.** Recording takes no lock that another thread may hold. Each worker counts on its own, with a load and a
//!   store; a scrape adds up. Only the first record of a series may wait for the allocation that another worker's first one
//!   makes.
//! - **Nothing is looked up.** What is committed (a rule's backend, say) holds its [`Series`]; a record that was matched to
//!   it counts there. A record that is not logged allocates nothing.
//! - **Bounded.** At most so many series ([`DEFAULT_SERIES`]) are kept apart, in the order of their first use. What is beyond
//!   that counts into one more series, whose labels are all [`OTHER`]; `fairway_series_over_budget` says how many those
//!   are. A series is in use from its first record until what holds it is dropped, and its counters go with it.
//! - **Nothing is lost.** As long as no series goes, the sum over all series is the number of records that have ended. A
//!   record that outlives its series counts as [`OTHER`].
//! - **One unit for a quantity.** Seconds and bytes, in metrics and logs. `received` is what came from the client, `sent`
//!   what went to it, whichever side of it a proxy or tunnel is on.
//!
//! # Example
//!
//! ```
//! use fairway_runtime::workers::WorkerId;
//! use fairway_telemetry::{AccessLog, DEFAULT_SERIES, Record, RequestLabels, RuleName, Telemetry};
//! use http::{Request, StatusCode};
//! use std::num::NonZeroUsize;
//! use tokio::time::Instant;
//!
//! let telemetry = Telemetry::new(NonZeroUsize::MIN, DEFAULT_SERIES);
//!
//! // At a commit: the labels of a rule and its backend are resolved, and kept with the compiled rule.
//! let series = telemetry.requests().series(RequestLabels {
//!     rule: Some(("HTTPRoute/shop/cart".into(), RuleName::Number(0))),
//!     backend: Some("shop/cart:80".into()),
//! });
//!
//! // On a worker's thread: a request comes, is matched, and answered.
//! let recorder = telemetry.recorder(WorkerId(0), AccessLog::Off, None).expect("each worker takes its own once");
//! let (parts, ()) = Request::new(()).into_parts();
//! let mut record = Record::request(&recorder, &parts);
//! record.matched(&series);
//! record.responded(StatusCode::OK, Instant::now());
//! record.add_sent(512);
//! drop(record);
//!
//! // A scrape.
//! let mut registry = prometheus_client::registry::Registry::with_prefix("fairway");
//! registry.register_collector(Box::new(telemetry));
//! let mut text = String::new();
//! prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
//! let line = r#"fairway_requests_total{route="HTTPRoute/shop/cart",rule="0",backend="shop/cart",backend_port="80",class="2xx"} 1"#;
//! assert!(text.lines().any(|it| it == line), "{text}");
//! ```
#![forbid(unsafe_code)]

mod access_log;
mod count;
mod histogram;
mod id;
mod labels;
mod line_budget;
mod outcome;
mod policy;
mod record;
mod series;
mod telemetry;
#[cfg(any(test, feature = "testing"))]
#[allow(clippy::panic, clippy::unwrap_used, reason = "for tests")]
pub mod testing;

pub use access_log::{AccessLog, ClientAddress, Details, RequestLine};
pub use count::{Count, Padded, PerWorker};
pub use id::{ConnectionId, Ids, REQUEST_ID, Trust};
pub use labels::{
    ConnectionLabels, Direction, Family, LimitLabels, OTHER, PlaintextLabels, PolicyLabels, RequestLabels,
    RuleName,
};
pub use outcome::{LimitDecision, Outcome, Plaintext, PolicyDecision, ResponseClass};
pub use policy::{PolicySeries, describe_denial};
pub use record::{Record, Recorder};
pub use series::{MAX_RESULTS, Series, SeriesTable};
pub use telemetry::{DEFAULT_SERIES, Telemetry};
