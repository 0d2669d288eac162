//! What regular expressions may cost: one, those of a route, those of a namespace.
//!
//! An expression of twenty characters can stand for a program of hundreds of kilobytes, and a route has room for thousands.
//! So the cost is estimated from what was parsed, before anything is built; what is over a budget is refused.

use super::origin::Origin;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::{inputs, stage};
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{GrpcRoute, HttpRoute, Kind, Object, ObjectRef};
use fairway_config::model::Pattern;
use fairway_gateway_api::grpcroutes::{
    GrpcRouteRulesMatchesHeadersType, GrpcRouteRulesMatchesMethodType, GrpcRouteSpec,
};
use fairway_gateway_api::httproutes::{
    HttpRouteRulesMatchesHeadersType, HttpRouteRulesMatchesPathType, HttpRouteRulesMatchesQueryParamsType,
    HttpRouteSpec,
};
use fairway_incremental::{Query, Set};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// Routes of a namespace with regular expressions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct PatternUsers(pub Arc<str>);

impl Set<Cluster> for PatternUsers {
    type Member = ObjectRef;

    fn of_input(name: &ObjectRef, object: &Object) -> Vec<(Self, ObjectRef)> {
        match has_expressions(object) {
            true => vec![(Self(name.namespace.clone()), name.clone())],
            false => Vec::new(),
        }
    }
}

/// What the expressions of one route may cost together. Equal ones count once.
pub(crate) const OF_ROUTE: u64 = 4 * 1024 * 1024;
/// What those of the routes of one namespace may cost together.
pub(crate) const OF_NAMESPACE: u64 = 16 * 1024 * 1024;

/// What the expressions of a route took so far.
#[derive(Debug, Default)]
pub(super) struct Spent {
    cost: u64,
    seen: HashSet<Box<str>>,
    /// The namespace, if it has no room for this route.
    no_room_in: Option<Arc<str>>,
}

/// Routes of a namespace whose expressions it has no room for.
pub(in crate::compile) type WithoutRoom = BTreeSet<ObjectRef>;

// === impl Spent ===

impl Spent {
    /// For a route: nothing yet.
    pub(super) fn for_route(reader: &mut Reader<'_>, route: &ObjectRef, has_expressions: bool) -> Self {
        let has_room = !has_expressions || !reader.get::<Exceeded>(&route.namespace).contains(route);
        let no_room_in = (!has_room).then(|| route.namespace.clone());
        Self { no_room_in, ..Self::default() }
    }

    /// Takes in an expression. An error has no field yet.
    pub(super) fn pattern(&mut self, text: &str) -> Result<Pattern, Diagnostic> {
        if let Some(namespace) = &self.no_room_in {
            let message = format!(
                "the regular expressions of the routes in namespace {namespace} need more than {} MiB of memory together, \
                 and those of older routes come first",
                OF_NAMESPACE >> 20
            );
            let remedy = "use fewer or shorter expressions";
            return Err(Diagnostic::error(Reason::NamespaceExpressionsTooLarge, "", message, remedy));
        }
        let is_new = !self.seen.contains(text);
        // What is refused is not even parsed: that costs, too.
        if is_new && self.cost > OF_ROUTE {
            return Err(self.too_many());
        }
        let (pattern, cost) = match Pattern::new(text) {
            Ok(it) => {
                let cost = it.cost();
                (Ok(it), cost)
            }
            Err(error) => (Err(error.to_string()), error.cost),
        };
        if is_new {
            self.seen.insert(text.into());
            self.cost = self.cost.saturating_add(cost);
        }
        let remedy = "write an expression in RE2 syntax, without look-around";
        let pattern =
            pattern.map_err(|message| Diagnostic::error(Reason::ExpressionInvalid, "", message, remedy))?;
        if is_new && self.cost > OF_ROUTE { Err(self.too_many()) } else { Ok(pattern) }
    }

    fn too_many(&self) -> Diagnostic {
        let message = format!(
            "the regular expressions of the route need more than {} MiB of memory together",
            OF_ROUTE >> 20
        );
        let remedy = "use fewer or shorter expressions, or several routes";
        Diagnostic::error(Reason::RouteExpressionsTooLarge, "", message, remedy)
    }
}

/// What the expressions of a route cost.
pub(in crate::compile) struct Cost;

impl Query<Cluster> for Cost {
    type Key = ObjectRef;
    type Value = u64;
    const STAGE: u8 = stage::OBJECTS;

    fn run(route: &ObjectRef, reader: &mut Reader<'_>, _: &mut Made) -> u64 {
        let mut spent = Spent::default();
        let mut each = |text: &str| drop(spent.pattern(text));
        match route.kind {
            Kind::HttpRoute => {
                if let Some(it) = reader.input::<HttpRoute>(&route.object_name()) {
                    of_http(&it.spec).for_each(|it| each(&it));
                }
            }
            Kind::GrpcRoute => {
                if let Some(it) = reader.input::<GrpcRoute>(&route.object_name()) {
                    of_grpc(&it.spec).for_each(each);
                }
            }
            _ => {}
        }
        spent.cost.min(OF_ROUTE)
    }
}

/// The routes of a namespace that it has no room for: the oldest come first.
pub(in crate::compile) struct Exceeded;

impl Query<Cluster> for Exceeded {
    type Key = Arc<str>;
    type Value = Arc<WithoutRoom>;
    const STAGE: u8 = stage::CHECKED;

    fn run(namespace: &Arc<str>, reader: &mut Reader<'_>, _: &mut Made) -> Arc<WithoutRoom> {
        let users = reader.members(&PatternUsers(namespace.clone()));
        let mut ordered: Vec<(i64, &ObjectRef, u64)> = users
            .iter()
            .filter_map(|route| {
                Some((inputs::meta(reader, route)?.created, route, reader.get::<Cost>(route)))
            })
            .collect();
        ordered.sort();
        let (mut sum, mut without) = (0_u64, WithoutRoom::new());
        for (_, route, cost) in ordered {
            match sum + cost <= OF_NAMESPACE {
                true => sum += cost,
                false => drop(without.insert(route.clone())),
            }
        }
        Arc::new(without)
    }
}

/// Whether an object has regular expressions.
pub(in crate::compile) fn has_expressions(object: &Object) -> bool {
    match object {
        Object::HttpRoute(it) => of_http(&it.spec).next().is_some(),
        Object::GrpcRoute(it) => of_grpc(&it.spec).next().is_some(),
        _ => false,
    }
}

/// The regular expressions of an HTTPRoute: those of its matches, and what `*` stands for in its origins of CORS.
pub(super) fn of_http(spec: &HttpRouteSpec) -> impl Iterator<Item = Cow<'_, str>> {
    let rules = spec.rules.as_deref().unwrap_or_default();
    let matches = rules.iter().flat_map(|it| it.matches.iter().flatten());
    let of_matches = matches.flat_map(|it| {
        let path = it.path.iter().filter_map(|it| {
            let is = it.r#type == Some(HttpRouteRulesMatchesPathType::RegularExpression);
            it.value.as_deref().filter(|_| is)
        });
        let headers = it.headers.iter().flatten().filter_map(|it| {
            let is = it.r#type == Some(HttpRouteRulesMatchesHeadersType::RegularExpression);
            is.then_some(it.value.as_str())
        });
        let query = it.query_params.iter().flatten().filter_map(|it| {
            let is = it.r#type == Some(HttpRouteRulesMatchesQueryParamsType::RegularExpression);
            is.then_some(it.value.as_str())
        });
        path.chain(headers).chain(query)
    });
    let of_rules = rules.iter().flat_map(|it| it.filters.iter().flatten()).filter_map(|it| it.cors.as_ref());
    let of_rules = of_rules.filter_map(|it| it.allow_origins.as_ref());
    let backends = rules.iter().flat_map(|it| it.backend_refs.iter().flatten());
    let of_backends = backends.flat_map(|it| it.filters.iter().flatten()).filter_map(|it| it.cors.as_ref());
    let of_backends = of_backends.filter_map(|it| it.allow_origins.as_ref());
    let origins = of_rules.chain(of_backends).flatten().filter_map(|it| Origin::expression(it));
    of_matches.map(Cow::Borrowed).chain(origins.map(Cow::Owned))
}

/// The regular expressions of a GRPCRoute.
pub(super) fn of_grpc(spec: &GrpcRouteSpec) -> impl Iterator<Item = &str> {
    let matches = spec.rules.iter().flatten().flat_map(|it| it.matches.iter().flatten());
    matches.flat_map(|it| {
        let method = it.method.iter().flat_map(|it| {
            let is = it.r#type == Some(GrpcRouteRulesMatchesMethodType::RegularExpression);
            let parts = [it.service.as_deref(), it.method.as_deref()];
            parts.into_iter().flatten().filter(move |_| is)
        });
        let headers = it.headers.iter().flatten().filter_map(|it| {
            let is = it.r#type == Some(GrpcRouteRulesMatchesHeadersType::RegularExpression);
            is.then_some(it.value.as_str())
        });
        method.chain(headers)
    })
}
