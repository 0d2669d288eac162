//! Waypoints: which namespaces need one, which proxy it is, and where it listens.

pub(in crate::compile) mod choice;

use crate::compile::gateway::{self, Proxies, certificate};
use crate::compile::names::service::namespace_of_requiring;
use crate::compile::names::waypoint::HBONE_PORT;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::settings::{CompileSettings, Mode};
use crate::compile::stage;
use crate::compile::waypoint::choice::Origin;
use crate::compile::workload::proxy;
use crate::diagnostic::{Diagnostic, Reason};
use crate::provision::{Proxy, ProxyClass, ProxyService, Transport, Want};
use crate::resources::{AccessPolicy, AuthenticationPolicy, Kind, Object, ObjectRef, RateLimitPolicy};
use fairway_config::model::{
    AddressSource, BackendKey, EndpointState, Listener, ListenerKey, ListenerProtocol, ObjectName, Resource,
    SpiffeId,
};
use fairway_incremental::{Engine, OfSet, Query, Set};
use std::sync::Arc;

/// What is registered with the engine.
pub(in crate::compile) fn register(engine: Engine<Cluster>) -> Engine<Cluster> {
    engine.set::<WaypointNeed>().set::<choice::GatewaysOfClass>().of_set::<Listeners>().of_set::<Resolve>()
}

/// What makes a namespace need a waypoint: accepted routes of Services, and Services that require one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct WaypointNeed(pub Arc<str>);

impl Set<Cluster> for WaypointNeed {
    type Member = ObjectRef;

    fn of_input(name: &ObjectRef, object: &Object) -> Vec<(Self, ObjectRef)> {
        match object {
            // Also of policies that are only observed: somebody has to see what they are about.
            Object::AccessPolicy(it) if names_service(it) => {
                vec![(Self(name.namespace.clone()), name.clone())]
            }
            Object::AuthenticationPolicy(it) if asks_at_service(it) => {
                vec![(Self(name.namespace.clone()), name.clone())]
            }
            Object::RateLimitPolicy(it) if limits_service(it) => {
                vec![(Self(name.namespace.clone()), name.clone())]
            }
            _ => namespace_of_requiring(object).map(|it| (Self(it), name.clone())).into_iter().collect(),
        }
    }
}

fn names_service(policy: &AccessPolicy) -> bool {
    policy.spec.targets.iter().any(|it| Kind::named(&it.group, &it.kind) == Some(Kind::Service))
}

fn asks_at_service(policy: &AuthenticationPolicy) -> bool {
    policy.spec.targets.iter().any(|it| Kind::named(&it.group, &it.kind) == Some(Kind::Service))
}

fn limits_service(policy: &RateLimitPolicy) -> bool {
    policy.spec.targets.iter().any(|it| Kind::named(&it.group, &it.kind) == Some(Kind::Service))
}

/// Waypoints that are needed and that nobody wrote a Gateway for (only in a cluster).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct Implied;

impl Set<Cluster> for Implied {
    type Member = ObjectRef;
}

/// The name of the listener of a waypoint that nobody wrote a Gateway for.
const IMPLIED_LISTENER: &str = "mesh";

/// The waypoint of a namespace that needs one.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct Waypoint {
    /// Its Gateway, or the name that one would have.
    pub gateway: ObjectName,
    /// Whether traffic has been moved to it.
    pub bound: bool,
    /// The key of its endpoints.
    pub key: BackendKey,
    /// Under which identity it acts.
    pub identity: Option<SpiffeId>,
}

/// The waypoint of a namespace, if something there needs one. Where nobody wrote a Gateway, one machine runs a proxy
/// without; in a cluster a Gateway is asked for, which is then like any other.
pub(in crate::compile) struct Resolve;

impl Query<Cluster> for Resolve {
    type Key = Arc<str>;
    type Value = Option<Arc<Waypoint>>;
    const STAGE: u8 = stage::CONSEQUENCES;

    fn run(namespace: &Arc<str>, reader: &mut Reader<'_>, made: &mut Made) -> Option<Arc<Waypoint>> {
        let needed_by = reader.members(&WaypointNeed(namespace.clone()));
        let settings = reader.settings();
        let first = needed_by.first().filter(|_| settings.has_mesh())?;
        let choice = reader.get::<choice::Choose>(namespace);
        let (gateway, bound) = (choice.gateway.clone(), choice.bound);
        let identity = proxy::identity(&gateway, ProxyClass::Waypoint, &settings);
        let key = BackendKey::of_waypoint(&gateway);
        let object = ObjectRef::from_name(Kind::Gateway, &gateway);
        match (settings.mode, choice.origin) {
            (_, Origin::Written) => {}
            (Mode::Kubernetes, Origin::Made | Origin::Nothing) => made.put(Implied, object),
            (Mode::Standalone, Origin::Made | Origin::Nothing) => {
                let endpoints = gateway::waypoint::endpoints(reader, &gateway, &[], &settings);
                warn_of_no_endpoint(&endpoints, first, &gateway, made);
                made.resources.push(endpoints);
                made.proxies.extend(implied_proxy(&gateway, &settings));
                made.put(Proxies(ProxyClass::Waypoint), object);
            }
        }
        Some(Arc::new(Waypoint { gateway, bound, key, identity }))
    }
}

impl OfSet<Cluster> for Resolve {
    type Set = WaypointNeed;

    fn of_set(WaypointNeed(namespace): &WaypointNeed) -> Option<Self::Key> {
        Some(namespace.clone())
    }
}

fn implied_proxy(gateway: &ObjectName, settings: &CompileSettings) -> Option<Proxy> {
    let service_account = proxy::service_account(gateway, ProxyClass::Waypoint, settings);
    let identity = settings.identity(&gateway.namespace, &service_account)?;
    Some(Proxy {
        name: gateway.clone(),
        class: ProxyClass::Waypoint,
        gateway_class: settings.waypoint_class.clone(),
        want: Want::Run,
        owner: None,
        implied: true,
        services: vec![ProxyService::usual(&service_account)],
        service_account,
        identity,
        listeners: vec![(IMPLIED_LISTENER.into(), HBONE_PORT)],
        ports: vec![(HBONE_PORT, Transport::Tcp)],
        parameters: Arc::default(),
        labels: Vec::new(),
        annotations: Vec::new(),
    })
}

/// A bound waypoint that is not there is never gone around; so somebody should hear of it.
fn warn_of_no_endpoint(endpoints: &Resource, needed_by: &ObjectRef, gateway: &ObjectName, made: &mut Made) {
    let Resource::Endpoints(it) = endpoints else { return };
    if !it.endpoints.iter().any(|it| it.state == EndpointState::Ready) {
        let message = format!(
            "waypoint {gateway} is not ready, so connections that have to pass through it are refused"
        );
        let remedy = "wait until its pods are ready, or see in their status why they are not";
        made.report(needed_by, Diagnostic::warning(Reason::WaypointNotReady, "", message, remedy));
    }
}

/// Makes the HBONE listener of every waypoint.
pub(in crate::compile) struct Listeners;

impl Query<Cluster> for Listeners {
    type Key = ();
    type Value = ();
    const STAGE: u8 = stage::LAST;

    fn run((): &(), reader: &mut Reader<'_>, made: &mut Made) {
        let settings = reader.settings();
        let waypoints = reader.members(&Proxies(ProxyClass::Waypoint));
        for it in waypoints.iter() {
            let gateway = it.object_name();
            let has_pods =
                !reader.get::<proxy::Running>(&(gateway.clone(), ProxyClass::Waypoint)).pods.is_empty();
            let plan = reader.get::<gateway::Publish>(&gateway);
            let written = plan.as_ref().map(|it| it.addresses.clone()).unwrap_or_default();
            let addresses = match settings.mode {
                Mode::Standalone if !has_pods => {
                    gateway::waypoint::standalone_addresses(&gateway, &written, &settings)
                }
                _ => Vec::new(),
            };
            let shown = plan.as_ref().and_then(|it| it.backend_certificate.as_ref()).map(certificate::key);
            let sections: Vec<Arc<str>> = match &plan {
                Some(plan) => {
                    plan.listeners.iter().filter(|it| it.programmed).map(|it| it.name.clone()).collect()
                }
                None => vec![IMPLIED_LISTENER.into()],
            };
            let object = ObjectRef::from_name(Kind::Gateway, &gateway);
            for section in sections {
                let authorizations = gateway::judges(reader, &gateway, &object, &section);
                let limits = gateway::limits(reader, &gateway, &object, &section, true);
                let authentications = gateway::authentications(reader, &gateway, &object, &section);
                made.resources.push(Resource::Listener(Arc::new(Listener {
                    key: ListenerKey::from(format!("{gateway}/{section}")),
                    gateway: gateway.clone(),
                    section,
                    addresses: addresses.clone(),
                    port: HBONE_PORT,
                    hostname: None,
                    protocol: ListenerProtocol::Hbone,
                    backend_certificate: shown.clone(),
                    authorizations,
                    closed: None,
                    address_source: AddressSource::Connection,
                    filters: vec![],
                    limits,
                    treatment: None,
                    authentications,
                })));
            }
        }
    }
}

impl OfSet<Cluster> for Listeners {
    type Set = Proxies;

    fn of_set(Proxies(class): &Proxies) -> Option<Self::Key> {
        (*class == ProxyClass::Waypoint).then_some(())
    }
}
