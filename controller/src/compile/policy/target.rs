//! What a policy names, and at which level it acts there.

use crate::resources::{Kind, ObjectRef};
use std::sync::Arc;

/// The part of the configuration on which a policy acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compile) enum Level {
    /// A Gateway with all its listeners.
    Gateway,
    /// A ListenerSet with all its listeners.
    ListenerSet,
    /// A listener of a Gateway or of a ListenerSet.
    Listener,
    /// A route with all its rules.
    Route,
    /// A rule of a route.
    Rule,
    /// A Service with all its ports.
    Service,
    /// A port of a Service.
    Port,
    /// A pod, whichever Services have it.
    Pod,
}

/// What a policy names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compile) struct Target {
    pub object: ObjectRef,
    /// The listener, rule or port.
    pub section: Option<Arc<str>>,
    pub level: Level,
}

/// A `targetRef`, of whatever kind of policy.
#[derive(Clone, Copy, Debug)]
pub(in crate::compile) struct TargetRef<'a> {
    pub group: &'a str,
    pub kind: &'a str,
    pub name: &'a str,
    pub section: Option<&'a str>,
}

/// Finds out what a policy of a namespace names; none when it is of a kind that no policy acts on. Policies name objects of
/// their own namespace (GEP-2648).
pub(in crate::compile) fn resolve(namespace: &Arc<str>, written: TargetRef<'_>) -> Option<Target> {
    // The API server may keep an empty name of a section, and means none by it.
    let section: Option<Arc<str>> = written.section.filter(|it| !it.is_empty()).map(Into::into);
    let kind = Kind::named(written.group, written.kind)?;
    let level = match (kind, section.is_some()) {
        (Kind::Gateway | Kind::ListenerSet, true) => Level::Listener,
        (Kind::Gateway, false) => Level::Gateway,
        (Kind::ListenerSet, false) => Level::ListenerSet,
        (Kind::Service, true) => Level::Port,
        (Kind::Service, false) => Level::Service,
        (Kind::Pod, false) => Level::Pod,
        (it, true) if it.as_route().is_some() => Level::Rule,
        (it, false) if it.as_route().is_some() => Level::Route,
        _ => return None,
    };
    Some(Target { object: ObjectRef::new(kind, namespace.clone(), written.name), section, level })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_the_level_of_its_kind_and_section() {
        let gateway_api = fairway_gateway_api::GROUP;
        for (group, kind, section, expected) in [
            (gateway_api, "Gateway", None, Some(Level::Gateway)),
            (gateway_api, "Gateway", Some("https"), Some(Level::Listener)),
            (gateway_api, "ListenerSet", Some("https"), Some(Level::Listener)),
            (gateway_api, "ListenerSet", None, Some(Level::ListenerSet)),
            (gateway_api, "HTTPRoute", None, Some(Level::Route)),
            (gateway_api, "GRPCRoute", Some("rule"), Some(Level::Rule)),
            ("", "Service", None, Some(Level::Service)),
            ("", "Service", Some(""), Some(Level::Service)),
            ("", "Service", Some("http"), Some(Level::Port)),
            ("", "Pod", None, Some(Level::Pod)),
            ("", "Pod", Some("x"), None),
            ("", "Secret", None, None),
            ("", "Gateway", None, None),
            ("example.com", "Service", None, None),
        ] {
            let written = TargetRef { group, kind, name: "x", section };
            let level = resolve(&"shop".into(), written).map(|it| it.level);
            assert_eq!(level, expected, "{group}/{kind} {section:?}");
        }
    }
}
