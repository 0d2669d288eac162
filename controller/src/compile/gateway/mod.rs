//! Gateways and their ListenerSets, in three steps so that an edit does not wake more than it has to: [`check`] looks at
//! everything, [`publish`] and [`publish_set`] keep what routes and proxies see of that, [`status`] and [`set_status`]
//! add the count of attached routes.

mod address;
mod clients;
mod conditions;
mod distinct;
mod infrastructure;
mod listener;
mod machine;
mod namespaces;
mod protocol;
mod publish;
mod reference;
mod set;
mod set_conditions;
mod tls;
mod verdict;

pub(super) use conditions::status;
pub(super) use listener::ListenerPlan;
pub(super) use namespaces::NamespacePolicy;
pub(super) use protocol::Protocol;
pub(super) use publish::{publish, publish_set};
pub(super) use set::ListenerSetPlan;
pub(super) use set_conditions::set_status;

use super::evaluation::{Evaluation, Value};
use super::ignored::Ignored;
use super::output::{Proxy, ProxyClass};
use super::reader::Reader;
use super::settings::Mode;
use super::{class, parameters};
use crate::provision::Parameters;
use crate::resources::{Gateway, Kind, ObjectRef};
use crate::status::reason;
use distinct::{Contest, Group};
use fairway_config::model::ObjectName;
use fairway_gateway_api::gateways::GatewayDefaultScope;
use listener::{ListenerReport, Owner};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What routes and proxies see of a Gateway.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GatewayPlan {
    /// What it is for.
    pub class: ProxyClass,
    /// The addresses the user asked for.
    pub addresses: Vec<IpAddr>,
    /// Its own listeners, in the user's order; not those that ListenerSets add to it.
    pub listeners: Vec<ListenerPlan>,
    /// The Secret of the certificate that backends are shown.
    pub backend_certificate: Option<ObjectName>,
}

/// Everything that is known of a Gateway but the routes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GatewayReport {
    plan: Arc<GatewayPlan>,
    generation: i64,
    /// Why nothing of it is served; none when something is.
    refusal: Option<(&'static str, String)>,
    addresses: address::Addresses,
    listeners: Vec<ListenerReport>,
    /// What is wrong with the certificate for backends: the API's word, and what to do.
    backend_defect: Option<(&'static str, String)>,
    /// What backends will say against that certificate.
    backend_objection: Option<String>,
    /// Whether clients without a valid certificate are served although one is asked for.
    is_insecure: bool,
    /// Whether routes that ask for default Gateways attach to it.
    is_default: bool,
    ignored: Ignored,
    /// The ListenerSets that name it, also those it does not take.
    sets: BTreeMap<ObjectName, set::SetReport>,
    proxy: Option<Proxy>,
}

/// Looks at everything a Gateway and its ListenerSets say.
pub(super) fn check(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    let settings = reader.settings();
    let Some(gateway) = reader.gateway(name) else { return made };
    let Some(its_class) = class::named(reader, &gateway.spec.gateway_class_name) else { return made };
    let class = its_class.class;
    let object = ObjectRef::of(Kind::Gateway, name);

    let addresses = address::of(reader, name, class, &gateway, &mut made);
    let parameters = parameters::of_gateway(reader, name, &gateway, its_class.object.as_deref());
    infrastructure::warn_of_annotations(&gateway, &object, &settings, &mut made);
    let refusal = orphaned(&its_class, &gateway, &object, &mut made)
        .or_else(|| refusal(&parameters, &addresses, &object, &mut made));
    let clients = clients::Clients::of(reader, &object, &gateway, &mut made);
    let backend = tls::for_backends(reader, &object, &gateway, &mut made);
    let candidates = set::candidates(reader, &object, class, &gateway, &mut made);
    let own = Group { object: &object, listeners: &gateway.spec.listeners };
    let taken = candidates.iter().filter(|it| it.refusal.is_none()).map(set::Candidate::group);
    let contest = Contest::of(std::iter::once(own).chain(taken).collect());

    let owner = Owner {
        object: object.clone(),
        generation: gateway.meta.generation,
        gateway: name.clone(),
        refusal: refusal.as_ref().map(|_| "the Gateway is not accepted".to_owned()),
    };
    let goes_on = refusal.is_some() && settings.mode == Mode::Kubernetes;
    let unserved = addresses.nowhere.as_deref();
    let held = machine::held(reader, name, &gateway, &addresses);
    let judge = listener::Judge { class, clients: &clients, goes_on, unserved, held: &held };
    let (plans, listeners) = judge.all(reader, &owner, &own, &contest, &mut made);
    let is_accepted = refusal.is_none() && listeners.iter().any(|it| it.is_accepted);
    let sets = candidates
        .iter()
        .map(|it| (it.name.clone(), set::check(reader, it, name, is_accepted, &judge, &contest, &mut made)))
        .collect();

    let plan = GatewayPlan {
        class,
        addresses: addresses.written.clone(),
        listeners: plans,
        backend_certificate: backend.usable,
    };
    let mut ignored = Ignored::default();
    if class == ProxyClass::Waypoint {
        ignored_by_waypoint(&gateway, &object, &mut ignored, &mut made);
    }
    let mut report = GatewayReport {
        plan: Arc::new(plan),
        generation: gateway.meta.generation,
        refusal,
        addresses,
        listeners,
        backend_defect: backend.defect,
        backend_objection: backend.objection,
        is_insecure: clients.is_insecure(),
        is_default: class == ProxyClass::Gateway && is_default(&gateway),
        ignored,
        sets,
        proxy: None,
    };
    report.proxy = infrastructure::proxy(name, &gateway, &report, parameters.unwrap_or_default(), &settings);
    made.value = Value::GatewayReport(Arc::new(report));
    made
}

/// Whether a Gateway takes routes that ask for default Gateways (GEP-3793).
pub(super) fn is_default(gateway: &Gateway) -> bool {
    gateway.spec.default_scope == Some(GatewayDefaultScope::All)
}

/// What means nothing to a waypoint: tunnels arrive there, and its routes are bound to Services.
fn ignored_by_waypoint(gateway: &Gateway, object: &ObjectRef, ignored: &mut Ignored, made: &mut Evaluation) {
    if is_default(gateway) {
        let message = "routes are bound to Services, and not to a waypoint";
        ignored.note(made, object, "spec.defaultScope", message, "remove it");
    }
    if gateway.spec.tls.as_ref().is_some_and(|it| it.frontend.is_some()) {
        let message = "tunnels bring certificates of the mesh, and clients of a waypoint have no others";
        ignored.note(made, object, "spec.tls.frontend", message, "remove it");
    }
    if gateway.spec.allowed_listeners.is_some() {
        let message = "a waypoint takes no ListenerSets";
        ignored.note(made, object, "spec.allowedListeners", message, "remove it");
    }
}

/// Without its class a Gateway is not judged; what runs for it stays.
fn orphaned(
    its_class: &class::Named,
    gateway: &Gateway,
    object: &ObjectRef,
    made: &mut Evaluation,
) -> Option<(&'static str, String)> {
    if its_class.object.is_some() {
        return None;
    }
    let field = "spec.gatewayClassName";
    let message =
        format!("GatewayClass {} does not exist; what runs stays as it is", gateway.spec.gateway_class_name);
    let remedy = "create it (the chart fairway does), or delete the Gateway";
    made.error(object, field, message.clone(), remedy);
    Some((reason::PENDING, format!("{field}: {message}; {remedy}")))
}

/// What makes a whole Gateway unusable.
fn refusal(
    parameters: &Result<Arc<Parameters>, parameters::Defect>,
    addresses: &address::Addresses,
    object: &ObjectRef,
    made: &mut Evaluation,
) -> Option<(&'static str, String)> {
    if let Err(parameters::Defect { field, message, remedy }) = parameters {
        made.error(object, *field, message.clone(), remedy.clone());
        return Some((reason::INVALID_PARAMETERS, format!("{field}: {message}; {remedy}")));
    }
    addresses.unsupported.clone().map(|it| (reason::UNSUPPORTED_ADDRESS, it))
}

// === impl GatewayReport ===

impl GatewayReport {
    /// Whether something of it is served.
    fn is_accepted(&self) -> bool {
        self.refusal.is_none() && self.listeners.iter().any(|it| it.is_accepted)
    }

    /// All listeners that are served, with what they are called within the Gateway.
    fn served(&self) -> impl Iterator<Item = (Arc<str>, &ListenerPlan)> {
        let own = self.plan.listeners.iter().map(|it| (it.name.clone(), it));
        let added = self.sets.iter().flat_map(|(set, it)| {
            it.plan.listeners.iter().map(move |it| (format!("{set}/{}", it.name).into(), it))
        });
        own.chain(added).filter(|(_, it)| it.programmed)
    }
}
