//! Gateways and their ListenerSets, in three steps, so that an edit runs no more than it has to: [`Check`] looks at
//! everything, [`Publish`] and [`PublishSet`] keep what routes and proxies see of that, [`Status`] and [`SetStatus`] add the
//! count of attached routes.

mod address;
mod authentications;
mod authority;
pub(in crate::compile) mod certificate;
pub(in crate::compile) mod client_address;
pub(in crate::compile) mod client_policies;
pub(in crate::compile) mod client_treatment;
mod clients;
pub(in crate::compile) mod clients_served;
mod closed;
mod conditions;
mod distinct;
pub(in crate::compile) mod external_auth;
pub(in crate::compile) mod gateway_class;
mod infrastructure;
mod limits;
mod listener;
mod listener_filters;
mod machine;
mod namespaces;
mod opening;
pub(in crate::compile) mod overlap;
mod parameters;
mod protocol;
mod publish;
pub(in crate::compile) mod reference;
mod replicas;
mod set;
mod set_conditions;
mod tls;
mod unreadable;
mod verdict;
pub(in crate::compile) mod waypoint;

pub(super) use authentications::{AuthenticatedBy, authentications};
pub(super) use conditions::{Counted, Status};
pub(super) use limits::{CountedBy, counted_listeners, limits};
pub(super) use listener::ListenerPlan;
pub(super) use machine::EveryGateway;
pub(super) use namespaces::NamespacePolicy;
pub(super) use protocol::Protocol;
pub(super) use publish::{JudgedBy, Proxies, Publish, PublishSet, judges};
pub(super) use replicas::{are_replicas_known, replicas};
pub(super) use set::{ListenerSetPlan, SetsOf};
pub(super) use set_conditions::SetStatus;
pub(super) use unreadable::{HeldGateways, is_held, is_set_held};

use crate::compile::ignored::Ignored;
use crate::compile::names::class;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::settings::Mode;
use crate::compile::stage;
use crate::diagnostic::{Diagnostic, Reason};
use crate::provision::Parameters;
use crate::provision::{Proxy, ProxyClass};
use crate::resources::{Gateway, Kind, Object, ObjectRef};
use distinct::{Contest, Group};
use fairway_config::model::ObjectName;
use fairway_gateway_api::gateways::GatewayDefaultScope;
use fairway_incremental::{Engine, OfInput, Query, Set};
use listener::{ListenerReport, Owner};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What is registered with the engine.
pub(in crate::compile) fn register(engine: Engine<Cluster>) -> Engine<Cluster> {
    engine
        .set::<DefaultGateways>()
        .set::<EveryGateway>()
        .set::<SetsOf>()
        .of_input::<Check>()
        .of_input::<Publish>()
        .of_input::<PublishSet>()
        .of_input::<SetStatus>()
        .of_input::<Status>()
        .of_input::<gateway_class::Status>()
        .of_set::<certificate::Publish>()
}

/// Gateways that take the routes that ask for default Gateways (GEP-3793), and those that may, since they cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct DefaultGateways;

impl Set<Cluster> for DefaultGateways {
    type Member = ObjectRef;

    fn of_input(name: &ObjectRef, object: &Object) -> Vec<(Self, ObjectRef)> {
        match object {
            Object::Gateway(it) if is_default(it) || it.meta.unreadable.is_some() => {
                vec![(Self, name.clone())]
            }
            _ => Vec::new(),
        }
    }
}

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
    refusal: Option<Box<Diagnostic>>,
    addresses: address::Addresses,
    listeners: Vec<ListenerReport>,
    /// What is wrong with the certificate for backends.
    backend_error: Option<Box<Diagnostic>>,
    /// Why backends refuse that certificate although it is in use.
    backend_warning: Option<Box<Diagnostic>>,
    /// Whether clients without a valid certificate are served although one is asked for.
    is_insecure: bool,
    /// Whether routes that ask for default Gateways attach to it.
    is_default: bool,
    ignored: Ignored,
    /// The ListenerSets that name it, also those it does not take.
    sets: BTreeMap<ObjectName, set::SetReport>,
    /// How listeners treat their clients; empty where no policy says anything of that.
    settings: client_policies::SettingsByListener,
    proxy: Option<Proxy>,
}

/// Looks at everything a Gateway and its ListenerSets say.
pub(in crate::compile) struct Check;

impl Query<Cluster> for Check {
    type Key = ObjectName;
    type Value = Option<Arc<GatewayReport>>;
    const STAGE: u8 = stage::CHECKED;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) -> Option<Arc<GatewayReport>> {
        let settings = reader.settings();
        let gateway = reader.input::<Gateway>(name)?;
        let its_class = class::named(reader, &gateway.spec.gateway_class_name)?;
        let class = its_class.class;
        let object = ObjectRef::from_name(Kind::Gateway, name);
        if let Some(why) = &gateway.meta.unreadable {
            return Some(Arc::new(GatewayReport::of_unreadable(name, &gateway, class, why, &settings)));
        }

        let addresses = address::read(reader, name, class, &gateway, made);
        let parameters = parameters::of_gateway(reader, name, &gateway, its_class.object.as_deref());
        infrastructure::warn_of_annotations(&gateway, &object, &settings, made);
        let refusal = orphaned(&its_class, &gateway, &object, made)
            .or_else(|| refusal(&parameters, &addresses, &object, made));
        let clients = clients::Clients::read(reader, &object, &gateway, made);
        let backend = tls::for_backends(reader, &object, &gateway, made);
        let candidates = set::candidates(reader, &object, class, &gateway, made);
        let own = Group { object: &object, listeners: &gateway.spec.listeners };
        let taken = candidates.iter().filter(|it| it.refusal.is_none()).map(set::Candidate::group);
        let contest = Contest::among(std::iter::once(own).chain(taken).collect());

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
        let (plans, mut listeners) = judge.all(reader, &owner, &own, &contest, made);
        // Without class or parameters that can be read it is served as before, and so are its ListenerSets.
        let is_judged = refusal.as_deref().is_none_or(|it| goes_on && unreadable::is_about_others(it));
        let is_accepted = is_judged && listeners.iter().any(|it| it.is_accepted);
        let mut sets: BTreeMap<_, _> = candidates
            .iter()
            .map(|it| (it.name.clone(), set::check(reader, it, name, is_accepted, &judge, &contest, made)))
            .collect();
        closed::note(&plans, &mut listeners, &mut sets);

        let plan = GatewayPlan {
            class,
            addresses: addresses.written.clone(),
            listeners: plans,
            backend_certificate: backend.usable,
        };
        let mut ignored = Ignored::default();
        if class == ProxyClass::Waypoint {
            ignored_by_waypoint(&gateway, &object, &mut ignored, made);
        }
        let mut report = GatewayReport {
            plan: Arc::new(plan),
            generation: gateway.meta.generation,
            refusal,
            addresses,
            listeners,
            backend_error: backend.error,
            backend_warning: backend.warning,
            is_insecure: clients.is_insecure(),
            is_default: class == ProxyClass::Gateway && is_default(&gateway),
            ignored,
            sets,
            settings: BTreeMap::new(),
            proxy: None,
        };
        let in_order: Vec<ObjectName> = candidates.iter().map(|it| it.name.clone()).collect();
        report.settings = client_policies::decide(reader, name, &report, &in_order);
        client_policies::close(&mut report, name, made);
        report.proxy =
            infrastructure::proxy(name, &gateway, &report, parameters.unwrap_or_default(), &settings);
        Some(Arc::new(report))
    }
}

impl OfInput<Cluster> for Check {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::Gateway).then(|| name.object_name())
    }
}

/// Whether a Gateway takes routes that ask for default Gateways (GEP-3793).
pub(super) fn is_default(gateway: &Gateway) -> bool {
    gateway.spec.default_scope == Some(GatewayDefaultScope::All)
}

/// What means nothing to a waypoint: tunnels arrive there, and its routes are bound to Services.
fn ignored_by_waypoint(gateway: &Gateway, object: &ObjectRef, ignored: &mut Ignored, made: &mut Made) {
    if is_default(gateway) {
        let message = "routes are attached to Services and not to a waypoint, so this field has no effect";
        let warning =
            Diagnostic::warning(Reason::WaypointDefaultScope, "spec.defaultScope", message, "remove it");
        ignored.note(made, object, warning);
    }
    if gateway.spec.tls.as_ref().is_some_and(|it| it.frontend.is_some()) {
        let message = "clients of a waypoint have certificates of the mesh, so this field has no effect";
        let warning =
            Diagnostic::warning(Reason::WaypointFrontendTls, "spec.tls.frontend", message, "remove it");
        ignored.note(made, object, warning);
    }
    if gateway.spec.allowed_listeners.is_some() {
        let message = "a waypoint does not accept ListenerSets, so this field has no effect";
        let field = "spec.allowedListeners";
        let warning = Diagnostic::warning(Reason::WaypointAllowedListeners, field, message, "remove it");
        ignored.note(made, object, warning);
    }
}

/// Without its class a Gateway is not judged; what runs for it stays.
fn orphaned(
    its_class: &class::Named,
    gateway: &Gateway,
    object: &ObjectRef,
    made: &mut Made,
) -> Option<Box<Diagnostic>> {
    if its_class.object.is_some() {
        return None;
    }
    let (field, class) = ("spec.gatewayClassName", &gateway.spec.gateway_class_name);
    let error = match &its_class.unreadable {
        Some(why) => {
            let message = format!(
                "GatewayClass {class} cannot be read; proxies that run already stay as they are: {why}"
            );
            let remedy =
                "correct the GatewayClass, or upgrade Fairway if it is from a newer version of the API";
            Diagnostic::error(Reason::GatewayClassUnreadable, field, message, remedy)
        }
        None => {
            let message =
                format!("GatewayClass {class} does not exist; proxies that run already stay as they are");
            let remedy = "create it (the chart `fairway` does), or delete the Gateway";
            Diagnostic::error(Reason::GatewayClassNotFound, field, message, remedy)
        }
    };
    made.report(object, error.clone());
    Some(Box::new(error))
}

/// What makes a whole Gateway unusable.
fn refusal(
    parameters: &Result<Arc<Parameters>, Diagnostic>,
    addresses: &address::Addresses,
    object: &ObjectRef,
    made: &mut Made,
) -> Option<Box<Diagnostic>> {
    if let Err(error) = parameters {
        made.report(object, error.clone());
        return Some(Box::new(error.clone()));
    }
    addresses.unsupported.clone()
}

// === impl GatewayReport ===

impl GatewayReport {
    /// Whether something of it is served.
    fn is_accepted(&self) -> bool {
        self.refusal.is_none() && self.listeners.iter().any(|it| it.is_accepted)
    }

    /// How a listener treats its clients.
    fn client_settings(&self, object: &ObjectRef, listener: &Arc<str>) -> client_policies::ClientSettings {
        self.settings.get(&(object.clone(), listener.clone())).cloned().unwrap_or_default()
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
