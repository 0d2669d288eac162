//! Which namespaces a listener takes routes from, and a Gateway ListenerSets.

use super::listener::Asked;
use crate::compile::program::Made;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{InvalidSelector, ObjectRef, Requirement, Selector};
use fairway_gateway_api::gateways::{
    GatewayAllowedListeners, GatewayAllowedListenersNamespacesFrom as AdditionsFrom,
    GatewayListenersAllowedRoutesNamespacesFrom as RoutesFrom,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The namespaces a listener takes routes from.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) enum NamespacePolicy {
    All,
    /// That of the listener's object: the Gateway's, or the ListenerSet's.
    Same(Arc<str>),
    /// Those with these labels.
    Selector(Selector),
    Nobody,
}

/// A selector as written.
type Expressions<'a> = Vec<(&'a str, &'a str, &'a [String])>;

// === impl NamespacePolicy ===

impl NamespacePolicy {
    /// Where a listener takes routes from.
    pub(super) fn of_routes(asked: &Asked<'_>, made: &mut Made) -> Self {
        let object = &asked.owner.object;
        let same = Self::Same(object.namespace.clone());
        let Some(written) = asked.written.allowed_routes.as_ref().and_then(|it| it.namespaces.as_ref())
        else {
            return same;
        };
        match written.from {
            None | Some(RoutesFrom::Same) => same,
            Some(RoutesFrom::All) => Self::All,
            Some(RoutesFrom::Selector) => {
                let selector = written.selector.as_ref().map(|it| {
                    let expressions = it.match_expressions.iter().flatten();
                    let each = expressions
                        .map(|it| (&*it.key, &*it.operator, it.values.as_deref().unwrap_or_default()));
                    parse(it.match_labels.as_ref(), each.collect())
                });
                let field = format!("{}.allowedRoutes.namespaces.selector", asked.field());
                Self::selected(selector, object, field, made)
            }
        }
    }

    /// Where a Gateway takes ListenerSets from; from nowhere unless it says so (GEP-1713).
    pub(super) fn of_listener_sets(
        written: Option<&GatewayAllowedListeners>,
        object: &ObjectRef,
        made: &mut Made,
    ) -> Self {
        let Some(written) = written.and_then(|it| it.namespaces.as_ref()) else { return Self::Nobody };
        match written.from {
            None | Some(AdditionsFrom::None) => Self::Nobody,
            Some(AdditionsFrom::Same) => Self::Same(object.namespace.clone()),
            Some(AdditionsFrom::All) => Self::All,
            Some(AdditionsFrom::Selector) => {
                let selector = written.selector.as_ref().map(|it| {
                    let expressions = it.match_expressions.iter().flatten();
                    let each = expressions
                        .map(|it| (&*it.key, &*it.operator, it.values.as_deref().unwrap_or_default()));
                    parse(it.match_labels.as_ref(), each.collect())
                });
                let field = "spec.allowedListeners.namespaces.selector".to_owned();
                Self::selected(selector, object, field, made)
            }
        }
    }

    /// Whether a namespace with these labels is one of them.
    pub(in crate::compile) fn admits(&self, namespace: &str, labels: &BTreeMap<Arc<str>, Arc<str>>) -> bool {
        match self {
            Self::All => true,
            Self::Same(own) => **own == *namespace,
            Self::Selector(selector) => selector.matches(labels),
            Self::Nobody => false,
        }
    }

    fn selected(
        parsed: Option<Result<Selector, InvalidSelector>>,
        object: &ObjectRef,
        field: String,
        made: &mut Made,
    ) -> Self {
        let message = match parsed {
            Some(Ok(selector)) => return Self::Selector(selector),
            Some(Err(error)) => error.to_string(),
            None => "`from: Selector` needs a selector".to_owned(),
        };
        let message = format!("{message}; no namespace is allowed");
        let remedy = "write matchLabels or matchExpressions";
        made.report(object, Diagnostic::error(Reason::NamespaceSelectorInvalid, field, message, remedy));
        Self::Nobody
    }
}

fn parse(
    labels: Option<&BTreeMap<String, String>>,
    expressions: Expressions<'_>,
) -> Result<Selector, InvalidSelector> {
    let labels = labels.into_iter().flatten();
    let mut selector = Selector::of_labels(labels.map(|(key, value)| (key.as_str(), value.as_str())));
    for (key, operator, values) in expressions {
        selector.requirements.push(Requirement::parse(key, operator, values)?);
    }
    Ok(selector)
}
