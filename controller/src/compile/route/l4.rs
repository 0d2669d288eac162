//! The one rule of a TLSRoute, TCPRoute or UDPRoute.

use super::backend;
use super::draft::{Draft, Forward};
use super::http::weight;
use super::written::{WrittenRef, reference};
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{TcpRoute, TlsRoute, UdpRoute};
use fairway_config::model::WeightedTarget;

/// A reference to a backend and its share.
type Share<'a> = (WrittenRef<'a>, Option<i32>);

macro_rules! forward {
    ($(#[$doc:meta])* $name:ident: $route:ident) => {
        $(#[$doc])*
        pub(super) fn $name(draft: &mut Draft<'_, '_>, route: &$route) {
            // The API takes one rule; of an older bundle's several only the first can be meant.
            let Some(rule) = route.spec.rules.first() else { return };
            if route.spec.rules.len() > 1 {
                let message = "this kind of route has one rule: the first applies, and the others have no effect";
                draft.note(Diagnostic::warning(Reason::RulesBeyondTheFirst, "spec.rules", message, "keep one rule"));
            }
            let backends: Vec<Share<'_>> =
                rule.backend_refs.iter().map(|it| (reference!(it), it.weight)).collect();
            let to = to(draft, rule.name.as_deref(), &backends);
            draft.forward(to);
        }
    };
}

forward! {
    /// Compiles the rule of a TLSRoute.
    tls: TlsRoute
}
forward! {
    /// Compiles the rule of a TCPRoute.
    tcp: TcpRoute
}
forward! {
    /// Compiles the rule of a UDPRoute.
    udp: UdpRoute
}

fn to(draft: &mut Draft<'_, '_>, name: Option<&str>, written: &[Share<'_>]) -> Result<Forward, Diagnostic> {
    let mut backends = Vec::with_capacity(written.len());
    for (index, (reference, share)) in written.iter().enumerate() {
        let field = format!("spec.rules[0].backendRefs[{index}]");
        let target = backend::resolve(draft, &field, *reference);
        backends.push(WeightedTarget { weight: weight(&field, *share)?, target });
    }
    Ok(Forward { name: name.map(Into::into), backends })
}
