//! XMesh: what the mesh says of itself (GEP-3949).

use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::{features, stage};
use crate::diagnostic::{Diagnostic, Reason};
use crate::resources::{Kind, Mesh, ObjectRef};
use crate::status::{ClassStatus, Condition, ObjectStatus, reason};
use fairway_incremental::{Engine, OfInput, Query};
use std::sync::Arc;

/// What is registered with the engine.
pub(in crate::compile) fn register(engine: Engine<Cluster>) -> Engine<Cluster> {
    engine.of_input::<Status>()
}

/// The status of an XMesh that names us. A mesh is one object: others that name us are told so.
pub(super) struct Status;

impl Query<Cluster> for Status {
    type Key = Arc<str>;
    type Value = ();
    const STAGE: u8 = stage::OBJECTS;

    fn run(name: &Arc<str>, reader: &mut Reader<'_>, made: &mut Made) {
        let name: &str = name;
        let settings = reader.settings();
        let Some(mesh) = reader.input::<Mesh>(name) else { return };
        let object = ObjectRef::new(Kind::Mesh, "", name);
        if mesh.spec.controller_name != *settings.controller_name {
            if name == &*settings.mesh_name {
                let message = format!(
                    "the mesh belongs to {}, so Fairway does not report on its own mesh under this name",
                    mesh.spec.controller_name
                );
                let remedy = "give Fairway's mesh another name (value mesh.name of the chart)";
                made.report(
                    &object,
                    Diagnostic::warning(
                        Reason::MeshOfAnotherController,
                        "spec.controllerName",
                        message,
                        remedy,
                    ),
                );
            }
            return;
        }
        let generation = mesh.meta.generation;
        let refusal = if name != &*settings.mesh_name {
            let message = format!("there is one mesh, and it is reported on XMesh {}", settings.mesh_name);
            Some(Diagnostic::error(Reason::MeshDuplicate, "metadata.name", message, "delete it"))
        } else if let Some(it) = &mesh.spec.parameters_ref {
            let message =
                format!("Fairway reads no parameters for a mesh, so {} {} has no effect", it.kind, it.name);
            Some(Diagnostic::error(Reason::MeshParameters, "spec.parametersRef", message, "remove the field"))
        } else if !settings.has_mesh() {
            let message = "ztunnel is not installed, so there is no mesh; Gateways work without it";
            let remedy = "install it (value ztunnel.enabled of the chart)";
            Some(Diagnostic::error(Reason::MeshNotInstalled, "", message, remedy))
        } else {
            None
        };
        let (accepted, supported_features) = match refusal {
            Some(error) => {
                let (reason, message) = (error.reason.condition(), error.text());
                made.report(&object, error);
                (Condition::fails(reason::ACCEPTED, reason, message, generation), Vec::new())
            }
            None => {
                let message = format!(
                    "the mesh is Fairway {}, trust domain {}",
                    env!("CARGO_PKG_VERSION"),
                    settings.trust_domain
                );
                (
                    Condition::holds(reason::ACCEPTED, reason::ACCEPTED, message, generation),
                    features::MESH.to_vec(),
                )
            }
        };
        let status = ClassStatus { conditions: vec![accepted], supported_features };
        made.statuses.push((object, ObjectStatus::Mesh(status)));
    }
}

impl OfInput<Cluster> for Status {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::Mesh).then(|| name.name.clone())
    }
}
