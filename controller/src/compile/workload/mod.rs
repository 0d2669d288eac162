//! Pods: who they are, whether they are captured, and who may connect to them.

pub(in crate::compile) mod address;
pub(in crate::compile) mod proxy;

use crate::compile::names::access::Form;
use crate::compile::names::service::authorization_key;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::settings::{Capture, CompileSettings};
use crate::compile::stage;
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Kind, Meta, Namespace, ObjectRef, Pod};
use fairway_config::model::{
    CaptureExemption, MESH_LABEL, MUTUAL_TLS_LABEL, Mesh, MutualTls, ObjectName, Resource, SpiffeId,
    Workload, WorkloadKey,
};
use fairway_incremental::{Engine, OfInput, Query, Set};
use std::sync::Arc;

/// What is registered with the engine.
pub(in crate::compile) fn register(engine: Engine<Cluster>) -> Engine<Cluster> {
    engine
        .set::<address::At>()
        .set::<address::NodesAt>()
        .set::<address::PodRange>()
        .set::<address::PodRangeLengths>()
        .set::<address::Slices>()
        .set::<proxy::PodsOf>()
        .of_input::<Identify>()
}

/// Services that a pod is guarded for: they are reached through a waypoint only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct Guards(pub ObjectName);

impl Set<Cluster> for Guards {
    type Member = ObjectRef;
}

/// Policies that judge the connections to a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct PodPolicies {
    pub pod: ObjectName,
    /// The form that they have there.
    pub form: Form,
}

impl Set<Cluster> for PodPolicies {
    type Member = ObjectRef;
}

/// What others need to know of a pod.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct PodIdentity {
    pub identity: SpiffeId,
    pub captured: bool,
    /// Whether it runs a Gateway or a waypoint of ours.
    pub is_proxy: bool,
}

/// Finds out who a pod is and what its tunnel is told of it.
pub(in crate::compile) struct Identify;

impl Query<Cluster> for Identify {
    type Key = ObjectName;
    type Value = Option<Arc<PodIdentity>>;
    const STAGE: u8 = stage::CHECKED;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) -> Option<Arc<PodIdentity>> {
        let settings = reader.settings();
        let pod = reader.input::<Pod>(name).filter(|it| !it.ended)?;
        let object = ObjectRef::from_name(Kind::Pod, name);
        let Some(identity) = settings.identity(&name.namespace, &pod.service_account) else {
            let message = format!(
                "`{}` cannot be part of a SPIFFE ID, so the pod has no identity and is not in the mesh",
                pod.service_account
            );
            let (field, remedy) = ("spec.serviceAccountName", "use lower-case letters, digits and dashes");
            made.report(&object, Diagnostic::error(Reason::ServiceAccountInvalid, field, message, remedy));
            return None;
        };
        let claim = proxy::claim(reader, &pod);
        let is_proxy = claim.as_ref().is_some_and(proxy::Claim::holds);
        if let Some(it) = claim {
            it.report(&object, &pod.service_account, made);
        }
        let membership = membership(reader, &pod, is_proxy, &settings);
        let captured = membership == Membership::Captured;
        let (mesh, aside) = match membership {
            Membership::Captured => (Mesh::Captured(mutual_tls(reader, &pod, made)), None),
            Membership::CaptureExemption(why) => (Mesh::Outside, Some(why)),
            Membership::Outside => (Mesh::Outside, None),
        };
        let who = Some(Arc::new(PodIdentity { identity: identity.clone(), captured, is_proxy }));
        // Before it has an address its node's tunnel must know it: capture comes before its first program.
        if pod.addresses.is_empty() && pod.node.is_empty() {
            return who;
        }
        let guards = reader.members(&Guards(name.clone()));
        let mut policies = Vec::new();
        for form in [Form::Pod, Form::Closed] {
            let of_form = reader.members(&PodPolicies { pod: name.clone(), form });
            policies.extend(of_form.iter().map(|it| form.key(&it.object_name())));
        }
        made.resources.push(Resource::Workload(Arc::new(Workload {
            key: WorkloadKey::from(name.to_string()),
            uid: pod.meta.uid.clone(),
            node_uid: pod.node_uid.clone(),
            addresses: pod.addresses.clone(),
            identity,
            node: pod.node.clone(),
            mesh,
            aside,
            probes: pod.probes.clone(),
            authorizations: guards
                .iter()
                .map(|it| authorization_key(&it.object_name()))
                .chain(policies)
                .collect(),
        })));
        who
    }
}

impl OfInput<Cluster> for Identify {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::Pod).then(|| name.object_name())
    }
}

/// Whether a pod is in the mesh.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Membership {
    Outside,
    Captured,
    /// Not captured, though its namespace is in the mesh.
    CaptureExemption(CaptureExemption),
}

fn membership(reader: &mut Reader<'_>, pod: &Pod, is_proxy: bool, settings: &CompileSettings) -> Membership {
    if settings.capture == Capture::Off {
        return Membership::Outside;
    }
    let namespace = reader.input::<Namespace>(&pod.meta.namespace);
    if namespace.is_none_or(|it| it.meta.label(MESH_LABEL) != Some("enabled")) {
        return Membership::Outside;
    }
    // Our own proxies speak HBONE themselves: capturing them would send their tunnels in circles.
    if is_proxy {
        return Membership::CaptureExemption(CaptureExemption::Proxy);
    }
    match (pod.host_network, pod.meta.label(MESH_LABEL)) {
        (true, _) => Membership::CaptureExemption(CaptureExemption::HostNetwork),
        (false, Some("disabled")) => Membership::CaptureExemption(CaptureExemption::OptedOut),
        (false, _) => Membership::Captured,
    }
}

/// The namespace's word is the least: its pods may be stricter, not laxer. Nobody's word is permissive, and one that is not
/// understood is taken as strict.
fn mutual_tls(reader: &mut Reader<'_>, pod: &Pod, made: &mut Made) -> MutualTls {
    let object = ObjectRef::new(Kind::Pod, pod.meta.namespace.clone(), &*pod.meta.name);
    let own = said(&pod.meta, &object, made);
    let namespace = reader.input::<Namespace>(&pod.meta.namespace);
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
fn said(meta: &Meta, object: &ObjectRef, made: &mut Made) -> Option<MutualTls> {
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
