//! Pods: who they are, whether they are captured, and who may connect to them.

use super::evaluation::{Evaluation, Value};
use super::index::{IndexKey, gateway_of};
use super::reader::Reader;
use super::settings::{Capture, Settings};
use super::{authorization, proxy};
use crate::diagnostic::{Diagnostic, Reason};
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
    /// Whether it runs a Gateway or a waypoint of ours.
    pub is_proxy: bool,
}

/// Compiles a pod.
pub(super) fn evaluate(reader: &mut Reader<'_>, name: &ObjectName) -> Evaluation {
    let mut made = Evaluation::default();
    let settings = reader.settings();
    let Some(pod) = reader.pod(name).filter(|it| !it.ended) else { return made };
    let object = ObjectRef::of(Kind::Pod, name);
    let Some(identity) = settings.identity(&name.namespace, &pod.service_account) else {
        let message = format!(
            "`{}` cannot be part of a SPIFFE ID, so the pod has no identity and is not in the mesh",
            pod.service_account
        );
        let (field, remedy) = ("spec.serviceAccountName", "use lower-case letters, digits and dashes");
        made.report(&object, Diagnostic::error(Reason::ServiceAccountInvalid, field, message, remedy));
        return made;
    };
    let claim = proxy::claim(reader, &pod);
    let is_proxy = claim.as_ref().is_some_and(|it| it.holds);
    if let Some(it) = claim.filter(|it| !it.holds) {
        it.deny(&object, &pod.service_account, &mut made);
    }
    if let Some(what) = gateway_of(&pod.meta).and(pod.provenance.as_ref()).and_then(|it| it.foreign.as_ref())
    {
        let message =
            format!("the pod has {what}, which Fairway did not put there, so it gets no configuration");
        let remedy = "remove it, or exempt Fairway's proxies from the admission webhook that adds it";
        made.report(&object, Diagnostic::error(Reason::ProxyPodChanged, "spec", message, remedy));
    }
    let place = place(reader, &pod, is_proxy, &settings);
    let captured = place == Place::Captured;
    let (mesh, aside) = match place {
        Place::Captured => (Mesh::Captured(mutual_tls(reader, &pod, &mut made)), None),
        Place::Aside(why) => (Mesh::Outside, Some(why)),
        Place::Outside => (Mesh::Outside, None),
    };
    made.value = Value::Pod(Arc::new(PodIdentity { identity: identity.clone(), captured, is_proxy }));
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

fn place(reader: &mut Reader<'_>, pod: &Pod, is_proxy: bool, settings: &Settings) -> Place {
    if settings.capture == Capture::Off {
        return Place::Outside;
    }
    let namespace = reader.namespace(&pod.meta.namespace);
    if namespace.is_none_or(|it| it.meta.label(MESH_LABEL) != Some("enabled")) {
        return Place::Outside;
    }
    // Our own proxies speak HBONE themselves: capturing them would send their tunnels in circles.
    if is_proxy {
        return Place::Aside(Aside::Proxy);
    }
    match (pod.host_network, pod.meta.label(MESH_LABEL)) {
        (true, _) => Place::Aside(Aside::HostNetwork),
        (false, Some("disabled")) => Place::Aside(Aside::OptedOut),
        (false, _) => Place::Captured,
    }
}

/// The namespace's word is the least: its pods may be stricter, not laxer. Nobody's word is permissive, and one that is not
/// understood is taken as strict.
fn mutual_tls(reader: &mut Reader<'_>, pod: &Pod, made: &mut Evaluation) -> MutualTls {
    let object = ObjectRef::new(Kind::Pod, pod.meta.namespace.clone(), &*pod.meta.name);
    let own = said(&pod.meta, &object, made);
    let namespace = reader.namespace(&pod.meta.namespace);
    let least = namespace.and_then(|it| {
        let object = ObjectRef::new(Kind::Namespace, "", it.meta.name.clone());
        said(&it.meta, &object, made)
    });
    if let (Some(MutualTls::Permissive), Some(MutualTls::Strict)) = (own, least) {
        let message = "the namespace is strict, so the pod accepts mutual TLS only";
        let remedy = "remove this label, or the one of the namespace";
        let field = format!("metadata.labels[{MUTUAL_TLS_LABEL}]");
        made.report(&object, Diagnostic::warning(Reason::MutualTlsStricter, field, message, remedy));
    }
    match [own, least].contains(&Some(MutualTls::Strict)) {
        true => MutualTls::Strict,
        false => MutualTls::Permissive,
    }
}

/// What a label or an annotation of an object says.
fn said(meta: &Meta, object: &ObjectRef, made: &mut Evaluation) -> Option<MutualTls> {
    match meta.label(MUTUAL_TLS_LABEL).or(meta.annotation(MUTUAL_TLS_LABEL))? {
        "permissive" => Some(MutualTls::Permissive),
        "strict" => Some(MutualTls::Strict),
        word => {
            let field = format!("metadata.labels[{MUTUAL_TLS_LABEL}]");
            let message = format!("`{word}` is not a known value, so pods accept mutual TLS only");
            let remedy = "use `strict` or `permissive`";
            made.report(object, Diagnostic::error(Reason::MutualTlsUnknown, field, message, remedy));
            Some(MutualTls::Strict)
        }
    }
}
