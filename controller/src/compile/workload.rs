//! Pods: who they are, whether they are captured, and who may connect to them.

use super::evaluation::{Evaluation, Value};
use super::index::{IndexKey, gateway_of};
use super::reader::Reader;
use super::settings::{Capture, Settings};
use super::{authorization, class};
use crate::resources::{Kind, Meta, ObjectRef, Pod};
use fairway_config::model::{
    Aside, MESH_LABEL, MUTUAL_TLS_LABEL, Mesh, MutualTls, ObjectName, Resource, SpiffeId, Workload,
    WorkloadKey,
};
use std::sync::Arc;

/// The name of a waypoint that nobody wrote a Gateway for.
pub(super) const IMPLIED_WAYPOINT: &str = "waypoint";
/// Its name where a Gateway of another class is called that already.
pub(super) const OTHER_IMPLIED_WAYPOINT: &str = "fairway-waypoint";

/// What others need to know of a pod.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PodIdentity {
    pub identity: SpiffeId,
    pub captured: bool,
}

/// Compiles a pod.
pub(super) fn evaluate(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    let settings = reader.settings();
    let Some(pod) = reader.pod(name).filter(|it| !it.ended) else { return made };
    let object = ObjectRef::of(Kind::Pod, name);
    let Some(identity) = settings.identity(&name.namespace, &pod.service_account) else {
        let message = format!("`{}` cannot stand in an identity", pod.service_account);
        made.error(&object, "spec.serviceAccountName", message, "use lower-case letters, digits and dashes");
        return made;
    };
    if let Some(what) = gateway_of(&pod.meta).and(pod.provenance.as_ref()).and_then(|it| it.foreign.as_ref())
    {
        let message =
            format!("it has {what}, which Fairway's proxies do not have, so it gets no configuration");
        made.error(&object, "spec", message, "take it out, or exempt the proxies from what puts it in");
    }
    let place = place(reader, &pod, &settings);
    let captured = place == Place::Captured;
    let (mesh, aside) = match place {
        Place::Captured => (Mesh::Captured(mutual_tls(reader, &pod, &mut made)), None),
        Place::Aside(why) => (Mesh::Outside, Some(why)),
        Place::Outside => (Mesh::Outside, None),
    };
    made.value = Value::Pod(Arc::new(PodIdentity { identity: identity.clone(), captured }));
    // Before it has an address its node's tunnel must know it: capture comes before its first program.
    if pod.addresses.is_empty() && pod.node.is_empty() {
        return made;
    }
    let guards = reader.members(IndexKey::Guards(name.clone()));
    made.resources.push(Resource::Workload(Arc::new(Workload {
        key: WorkloadKey::from(name.to_string()),
        uid: pod.meta.uid.clone(),
        addresses: pod.addresses.clone(),
        identity,
        node: pod.node.clone(),
        mesh,
        aside,
        probes: pod.probes.clone(),
        authorizations: guards.iter().map(|it| authorization::key(&it.object_name())).collect(),
    })));
    made
}

/// A pod's place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    Captured,
    /// Not captured, though its namespace is in the mesh.
    Aside(Aside),
}

fn place(reader: &mut Reader<'_>, pod: &Pod, settings: &Settings) -> Place {
    if settings.capture == Capture::Off {
        return Place::Outside;
    }
    let namespace = reader.namespace(&pod.meta.namespace);
    if namespace.is_none_or(|it| it.meta.label(MESH_LABEL) != Some("enabled")) {
        return Place::Outside;
    }
    // Our own proxies speak HBONE themselves: capturing them would send their tunnels in circles.
    if runs_our_proxy(reader, pod) {
        return Place::Aside(Aside::Proxy);
    }
    match (pod.host_network, pod.meta.label(MESH_LABEL)) {
        (true, _) => Place::Aside(Aside::HostNetwork),
        (false, Some("disabled")) => Place::Aside(Aside::OptedOut),
        (false, _) => Place::Captured,
    }
}

/// Whether a pod runs a Gateway or a waypoint of ours. The label alone does not say so: other controllers use it too.
fn runs_our_proxy(reader: &mut Reader<'_>, pod: &Pod) -> bool {
    let Some(name) = gateway_of(&pod.meta) else { return false };
    match reader.gateway(&ObjectName::new(pod.meta.namespace.clone(), name.clone())) {
        Some(gateway) => class::named(reader, &gateway.spec.gateway_class_name).is_some(),
        None => [IMPLIED_WAYPOINT, OTHER_IMPLIED_WAYPOINT].contains(&&**name),
    }
}

/// The pod's own word, else its namespace's, else permissive. A word that is not understood is taken as strict.
fn mutual_tls(reader: &mut Reader<'_>, pod: &Pod, made: &mut Evaluation) -> MutualTls {
    let word =
        |meta: &Meta| meta.label(MUTUAL_TLS_LABEL).or(meta.annotation(MUTUAL_TLS_LABEL)).map(str::to_owned);
    let own = word(&pod.meta)
        .map(|it| (it, ObjectRef::new(Kind::Pod, pod.meta.namespace.clone(), &*pod.meta.name)));
    let said = own.or_else(|| {
        let namespace = reader.namespace(&pod.meta.namespace)?;
        Some((word(&namespace.meta)?, ObjectRef::new(Kind::Namespace, "", namespace.meta.name.clone())))
    });
    match said {
        None => MutualTls::Permissive,
        Some((word, _)) if word == "permissive" => MutualTls::Permissive,
        Some((word, _)) if word == "strict" => MutualTls::Strict,
        Some((word, object)) => {
            let field = format!("metadata.labels[{MUTUAL_TLS_LABEL}]");
            let message = format!("`{word}` is not understood, so only mTLS is let in");
            made.error(&object, field, message, "use `strict` or `permissive`");
            MutualTls::Strict
        }
    }
}
