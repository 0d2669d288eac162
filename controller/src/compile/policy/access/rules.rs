//! From the rules of a policy to conditions.
//!
//! What cannot be carried out becomes a condition that is not understood: it matches nothing in an Allow and everything in a Deny.

use super::room::{MOST_VALUES, values_of};
use crate::compile::names::access::Form;
use crate::compile::settings::CompileSettings;
use crate::resources::access_policy::{
    AccessAction, AccessGrpcMethod, AccessOperation, AccessPath, AccessPathType, AccessPolicySpec,
    AccessRule, AccessSource, ServiceAccountName,
};
use fairway_config::model::{
    GrpcMethodMatch, HeaderMatch, HostnamePattern, PathMatch, SpiffeId, ValueMatch, check_header,
    normalised_path,
};
use fairway_policy::{Cidr, CidrSet, Condition, Rule};
use http::{HeaderName, Method};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

/// Where rules are to hold.
pub(super) struct Reach<'a> {
    /// The namespace of the policy.
    pub namespace: &'a Arc<str>,
    pub settings: &'a CompileSettings,
    pub form: Form,
    /// Who speaks for the clients of a namespace that the rules name.
    pub speakers: &'a BTreeMap<Arc<str>, Vec<SpiffeId>>,
    /// Who speaks for all clients of the policy's own namespace, where that has to be told from the clients.
    pub own: &'a [SpiffeId],
}

/// The rules of a policy at targets of one sort.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    pub rules: Vec<Rule>,
    /// The values that are not valid.
    pub invalid: Vec<Invalid>,
    /// The first field that looks at requests, where only connections are seen.
    pub of_request: Option<String>,
    /// The first field with addresses, where those are not known.
    pub of_address: Option<String>,
    /// The first field with identities.
    pub of_identity: Option<String>,
}

/// A value that is not valid.
#[derive(Debug, PartialEq)]
pub(in crate::compile::policy) struct Invalid {
    pub field: String,
    pub reason: String,
}

// === impl Compiled ===

impl Compiled {
    /// Whether everything of the policy can be carried out.
    pub(super) fn is_whole(&self) -> bool {
        self.invalid.is_empty() && self.of_request.is_none() && self.of_address.is_none()
    }
}

/// The namespaces whose clients the rules name.
pub(super) fn namespaces(own: &Arc<str>, spec: &AccessPolicySpec) -> BTreeSet<Arc<str>> {
    let sources = spec.rules.iter().flatten().flat_map(|it| it.from.iter().flatten());
    sources.flat_map(|it| namespaces_of(own, it)).collect()
}

/// The namespaces whose clients an entry names.
fn namespaces_of(own: &Arc<str>, source: &AccessSource) -> BTreeSet<Arc<str>> {
    let accounts = source.service_accounts.iter().flatten();
    let ids = source.spiffe_ids.iter().flatten().filter_map(|it| it.parse::<SpiffeId>().ok());
    let mut found: BTreeSet<Arc<str>> =
        accounts.map(|it| it.namespace.as_deref().map_or(own.clone(), Into::into)).collect();
    found.extend(ids.map(|it| it.namespace().into()));
    found.extend(source.namespaces.iter().flatten().map(|it| it.as_str().into()));
    found
}

/// Compiles the rules of a policy.
pub(super) fn compile(spec: &AccessPolicySpec, reach: &Reach<'_>) -> Compiled {
    let values = values_of(spec);
    if values > MOST_VALUES {
        let field = "spec.rules".to_owned();
        let reason = format!(
            "the rules compare {values} values, and {MOST_VALUES} are the most; use several policies"
        );
        let rules = vec![Rule::when(vec![understood(&field, None)])];
        return Compiled { rules, invalid: vec![Invalid { field, reason }], ..Compiled::default() };
    }
    let mut draft =
        Draft { reach, is_deny: spec.action == AccessAction::Deny, compiled: Compiled::default() };
    for (index, rule) in spec.rules.iter().flatten().enumerate() {
        let rule = draft.rule(&format!("spec.rules[{index}]"), rule);
        draft.compiled.rules.push(rule);
    }
    draft.compiled
}

/// Compiles what a limit counts, which is matched as in a Deny: in doubt it is counted.
pub(in crate::compile::policy) fn counted(
    field: &str,
    written: &[AccessOperation],
    settings: &CompileSettings,
) -> (Vec<Vec<Condition>>, Vec<Invalid>) {
    let (namespace, speakers) = (Arc::from(""), BTreeMap::new());
    let reach = Reach { namespace: &namespace, settings, form: Form::Gateway, speakers: &speakers, own: &[] };
    let mut draft = Draft { reach: &reach, is_deny: true, compiled: Compiled::default() };
    let each = written.iter().enumerate();
    let lists = each.map(|(index, it)| draft.operation(&format!("{field}[{index}]"), it)).collect();
    (lists, draft.compiled.invalid)
}

struct Draft<'a> {
    reach: &'a Reach<'a>,
    is_deny: bool,
    compiled: Compiled,
}

// === impl Draft ===

impl Draft<'_> {
    fn rule(&mut self, field: &str, rule: &AccessRule) -> Rule {
        let mut conditions = Vec::new();
        if let Some(from) = &rule.from {
            let each = from.iter().enumerate();
            let lists = each.map(|(index, it)| self.source(&format!("{field}.from[{index}]"), it)).collect();
            conditions.extend(any_of(lists));
        }
        if let Some(to) = &rule.to {
            let each = to.iter().enumerate();
            let lists = each.map(|(index, it)| self.operation(&format!("{field}.to[{index}]"), it)).collect();
            conditions.extend(any_of(lists));
        }
        Rule { name: rule.name.as_deref().map(Into::into), conditions }
    }

    fn source(&mut self, field: &str, source: &AccessSource) -> Vec<Condition> {
        let (reach, mut conditions) = (self.reach, Vec::new());
        let AccessSource { service_accounts, namespaces, spiffe_ids, cidrs, except_cidrs } = source;
        if let Some(written) = service_accounts {
            let field = format!("{field}.serviceAccounts");
            self.compiled.of_identity.get_or_insert_with(|| field.clone());
            let ids = self.values(&field, written, |it| reach.identity(it));
            conditions.push(self.peer_is(&field, ids));
        }
        if let Some(written) = namespaces {
            let field = format!("{field}.namespaces");
            self.compiled.of_identity.get_or_insert_with(|| field.clone());
            let names = self.values(&field, written, |it| {
                reach
                    .settings
                    .identity(it, "default")
                    .map(|_| Arc::<str>::from(it.as_str()))
                    .ok_or_else(|| format!("`{it}` is not the name of a namespace"))
            });
            let trust_domain = self.reach.settings.trust_domain.clone();
            let peer = names.map(|namespaces| Condition::PeerNamespaceIs { trust_domain, namespaces });
            conditions.push(self.or_waypoint(understood(&field, peer), self.reach.own, written.is_empty()));
        }
        if let Some(written) = spiffe_ids {
            let field = format!("{field}.spiffeIDs");
            self.compiled.of_identity.get_or_insert_with(|| field.clone());
            let ids = self.values(&field, written, |it| it.parse::<SpiffeId>().map_err(in_words));
            conditions.push(self.peer_is(&field, ids));
        }
        // Who may come in place of a client that the entry names, from another address.
        let named = namespaces_of(self.reach.namespace, source);
        let speaking = named.iter().filter_map(|it| self.reach.speakers.get(it)).flatten();
        let waypoints: Vec<SpiffeId> = self.reach.own.iter().chain(speaking).cloned().collect();
        if let Some(written) = cidrs {
            let field = format!("{field}.cidrs");
            let client = self.ranges(&field, written).map(Condition::ClientIn);
            conditions.push(self.or_waypoint(understood(&field, client), &waypoints, written.is_empty()));
        }
        if let Some(written) = except_cidrs {
            let field = format!("{field}.exceptCIDRs");
            let client = self.ranges(&field, written).map(Condition::ClientNotIn);
            conditions.push(self.or_waypoint(understood(&field, client), &waypoints, false));
        }
        let names_nobody = service_accounts.is_none() && spiffe_ids.is_none();
        let conditions = self.filled(field, conditions);
        self.without_own_waypoint(conditions, names_nobody)
    }

    /// The peer is one of these; in a Deny also a waypoint that speaks for them.
    fn peer_is(&self, field: &str, ids: Option<Vec<SpiffeId>>) -> Condition {
        let peer = ids.map(|mut ids| {
            if self.is_deny && !ids.is_empty() && self.reach.form != Form::Gateway {
                let own = self.reach.settings.trust_domain.as_str();
                let named: BTreeSet<Arc<str>> = ids
                    .iter()
                    .filter(|it| it.trust_domain() == own)
                    .map(|it| it.namespace().into())
                    .collect();
                ids.extend(named.iter().filter_map(|it| self.reach.speakers.get(it)).flatten().cloned());
                ids.extend(self.reach.own.iter().cloned());
            }
            Condition::PeerIs(ids)
        });
        understood(field, peer)
    }

    /// A condition on clients that a waypoint may hide: a Deny at a pod refuses the waypoint as well. One that matches nobody
    /// is about nobody.
    fn or_waypoint(&self, condition: Condition, waypoints: &[SpiffeId], matches_nobody: bool) -> Condition {
        if !self.is_deny || self.reach.form != Form::Pod || waypoints.is_empty() || matches_nobody {
            return condition;
        }
        Condition::AnyOf(vec![vec![condition], vec![Condition::PeerIs(waypoints.to_vec())]])
    }

    /// An Allow at a pod by namespace or address. The waypoint is in the namespace and has such an address, and speaks for all
    /// clients: it is let in only by its name.
    fn without_own_waypoint(&self, mut conditions: Vec<Condition>, names_nobody: bool) -> Vec<Condition> {
        if names_nobody && !self.is_deny && !self.reach.own.is_empty() {
            conditions.push(Condition::PeerIsNot(self.reach.own.to_vec()));
        }
        conditions
    }

    fn ranges(&mut self, field: &str, written: &[String]) -> Option<CidrSet> {
        if self.reach.form == Form::Service {
            self.compiled.of_address.get_or_insert_with(|| field.to_owned());
            return None;
        }
        let cidrs = self.values(field, written, |it| Cidr::from_str(it).map_err(in_words))?;
        Some(cidrs.into_iter().collect())
    }

    fn operation(&mut self, field: &str, operation: &AccessOperation) -> Vec<Condition> {
        let mut conditions = Vec::new();
        let AccessOperation { ports, hosts, methods, paths, grpc, headers } = operation;
        if let Some(written) = ports {
            let field = format!("{field}.ports");
            let ports = self.values(&field, written, |it| match it {
                0 => Err("0 is not a port".to_owned()),
                port => Ok(*port),
            });
            conditions.push(understood(&field, ports.map(Condition::PortIs)));
        }
        if let Some(written) = hosts {
            let field = format!("{field}.hosts");
            let hosts = self.values(&field, written, |it| {
                it.strip_suffix('.').unwrap_or(it).parse::<HostnamePattern>().map_err(in_words)
            });
            conditions.push(self.of_request(&field, hosts.map(Condition::HostIs)));
        }
        if let Some(written) = methods {
            let field = format!("{field}.methods");
            let methods = self.values(&field, written, |it| {
                it.parse::<Method>().map_err(|_| format!("`{it}` is not a method"))
            });
            conditions.push(self.of_request(&field, methods.map(Condition::MethodIs)));
        }
        if let Some(written) = paths {
            let field = format!("{field}.paths");
            let paths = self.values(&field, written, path);
            let paths = paths.map(|it| Condition::PathIs(it.into_iter().map(Into::into).collect()));
            conditions.push(self.of_request(&field, paths));
        }
        if let Some(written) = grpc {
            let field = format!("{field}.grpc");
            let methods = self.values(&field, written, grpc_method);
            let methods = methods.map(|it| Condition::PathIs(it.into_iter().map(Into::into).collect()));
            conditions.push(self.of_request(&field, methods));
        }
        if let Some(written) = headers {
            let field = format!("{field}.headers");
            let headers = self.values(&field, written, |it| header(&it.name, &it.value));
            match headers {
                // An empty list of values matches nothing, and so does an empty list of headers.
                Some(headers) if headers.is_empty() => {
                    let condition = self.of_request(&field, Some(Condition::AnyOf(vec![])));
                    conditions.push(condition);
                }
                Some(headers) => {
                    for it in headers {
                        let condition = self.of_request(&field, Some(Condition::HeaderIs(it)));
                        conditions.push(condition);
                    }
                }
                None => {
                    let condition = self.of_request(&field, None);
                    conditions.push(condition);
                }
            }
        }
        self.filled(field, conditions)
    }

    /// A condition on a request. A tunnel does not see requests.
    fn of_request(&mut self, field: &str, condition: Option<Condition>) -> Condition {
        if self.reach.form == Form::Pod {
            self.compiled.of_request.get_or_insert_with(|| field.to_owned());
            return understood(field, None);
        }
        understood(field, condition)
    }

    /// An entry that says nothing would match everything, and is a slip of the pen.
    fn filled(&mut self, field: &str, conditions: Vec<Condition>) -> Vec<Condition> {
        if conditions.is_empty() {
            let reason = "the entry has no field; leave out the list to match everything".to_owned();
            self.compiled.invalid.push(Invalid { field: field.to_owned(), reason });
            return vec![understood(field, None)];
        }
        conditions
    }

    /// The values of a field; none if one of them is not valid.
    fn values<T, V>(
        &mut self,
        field: &str,
        written: &[T],
        read: impl Fn(&T) -> Result<V, String>,
    ) -> Option<Vec<V>> {
        let (mut values, mut invalid) = (Vec::with_capacity(written.len()), Vec::new());
        for (index, it) in written.iter().enumerate() {
            match read(it) {
                Ok(value) => values.push(value),
                Err(reason) => invalid.push(Invalid { field: format!("{field}[{index}]"), reason }),
            }
        }
        let is_valid = invalid.is_empty();
        self.compiled.invalid.append(&mut invalid);
        is_valid.then_some(values)
    }
}

// === impl Reach ===

impl Reach<'_> {
    fn identity(&self, account: &ServiceAccountName) -> Result<SpiffeId, String> {
        let namespace = account.namespace.as_deref().unwrap_or(self.namespace);
        let identity = self.settings.identity(namespace, &account.name);
        identity.ok_or_else(|| format!("`{namespace}/{}` is not a service account", account.name))
    }
}

/// One of the lists has to hold. A single list needs no alternatives around it.
fn any_of(lists: Vec<Vec<Condition>>) -> Vec<Condition> {
    match <[_; 1]>::try_from(lists) {
        Ok([list]) => list,
        Err(lists) => vec![Condition::AnyOf(lists)],
    }
}

fn understood(field: &str, condition: Option<Condition>) -> Condition {
    condition.unwrap_or_else(|| Condition::NotUnderstood(field.into()))
}

fn path(written: &AccessPath) -> Result<PathMatch, String> {
    let text = written.value.as_str();
    if !text.starts_with('/') || text.contains(['?', '#']) {
        return Err(format!("`{text}` is not an absolute path"));
    }
    if text.contains("//") {
        return Err(format!("`{text}` has an empty segment; a Deny of the path without it covers it"));
    }
    let Some(path) = normalised_path(text) else {
        return Err(format!("`{text}` has a `.` or `..` segment, a backslash or a broken percent-encoding"));
    };
    Ok(match written.kind.unwrap_or_default() {
        AccessPathType::Exact => PathMatch::Exact(path.into()),
        AccessPathType::PathPrefix => PathMatch::Prefix(path.trim_end_matches('/').into()),
    })
}

fn grpc_method(written: &AccessGrpcMethod) -> Result<PathMatch, String> {
    let part = |text: &Option<String>| match text.as_deref() {
        Some(it) if it.is_empty() || it.contains('/') => Err(format!("`{it}` is not a name of gRPC")),
        it => Ok(it.map(|it| ValueMatch::Exact(it.into()))),
    };
    if written.service.is_none() && written.method.is_none() {
        return Err("the entry names neither a service nor a method".to_owned());
    }
    Ok(PathMatch::Grpc(GrpcMethodMatch { service: part(&written.service)?, method: part(&written.method)? }))
}

fn header(name: &str, value: &str) -> Result<HeaderMatch, String> {
    let parsed: HeaderName = name.parse().map_err(|_| format!("`{name}` is not the name of a header"))?;
    if parsed == http::header::HOST {
        return Err("the host is compared by the field hosts".to_owned());
    }
    if check_header(&parsed).is_err() || parsed == http::header::EXPECT {
        return Err(format!("`{name}` is about the connection to the client, and is not passed on"));
    }
    Ok(HeaderMatch { name: parsed, value: ValueMatch::Exact(value.into()) })
}

fn in_words(error: impl Display) -> String {
    error.to_string()
}
