//! What the API server would refuse by a CRD's validation rules: what a schema alone cannot say.

mod filter;
mod gateway;
mod policy;
mod route;

use crate::diagnostic::Diagnostic;
use crate::resources::Kind;
use serde_json::Value;

/// Checks the rules of a kind. The manifest has passed its schema and has its defaults.
pub(super) fn check(kind: Kind, manifest: &Value, out: &mut Vec<Diagnostic>) {
    let spec = &manifest["spec"];
    match kind {
        Kind::Gateway => gateway::check(spec, out),
        Kind::ListenerSet => gateway::listeners(spec, out),
        Kind::HttpRoute => route::http(spec, out),
        Kind::GrpcRoute => route::grpc(spec, out),
        Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute => route::l4(spec, out),
        Kind::BackendTlsPolicy => policy::backend_tls(spec, out),
        _ => {}
    }
}

/// The items of a list with their paths; none where there is no list.
fn items<'a>(owner: &'a Value, path: &str, name: &str) -> Vec<(String, &'a Value)> {
    let items = owner[name].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().enumerate().map(|(index, it)| (format!("{path}.{name}[{index}]"), it)).collect()
}

/// A text; empty where there is none.
fn text<'a>(owner: &'a Value, name: &str) -> &'a str {
    owner[name].as_str().unwrap_or_default()
}

/// Whether a field is there.
fn has(owner: &Value, name: &str) -> bool {
    !owner[name].is_null()
}
