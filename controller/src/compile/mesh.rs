//! XMesh: what the mesh says of itself (GEP-3949).

use super::evaluation::Evaluation;
use super::features;
use super::reader::Reader;
use crate::resources::{Kind, ObjectRef};
use crate::status::{ClassStatus, Condition, ObjectStatus, reason};

/// The status of an XMesh that names us. A mesh is one object: others that name us are told so.
pub(super) fn evaluate(reader: &mut Reader<'_>, name: &str) -> Evaluation {
    let mut made = Evaluation::default();
    let settings = reader.settings();
    let Some(mesh) = reader.mesh(name) else { return made };
    let object = ObjectRef::new(Kind::Mesh, "", name);
    if mesh.spec.controller_name != *settings.controller_name {
        if name == &*settings.mesh_name {
            let message = format!("it is that of {}", mesh.spec.controller_name);
            made.warn(
                &object,
                "spec.controllerName",
                message,
                "give Fairway's another name (mesh.name of the chart)",
            );
        }
        return made;
    }
    let generation = mesh.meta.generation;
    let refusal = if name != &*settings.mesh_name {
        Some((
            reason::CONFLICTED,
            "metadata.name",
            format!("this mesh is XMesh {}", settings.mesh_name),
            "remove this one",
        ))
    } else if let Some(it) = &mesh.spec.parameters_ref {
        let message =
            format!("{} {} says nothing to Fairway, which takes no settings here", it.kind, it.name);
        Some((reason::INVALID_PARAMETERS, "spec.parametersRef", message, "remove it"))
    } else if !settings.has_mesh() {
        let message = "the tunnels are not installed, so there are Gateways and no mesh".to_owned();
        Some((reason::NOT_INSTALLED, "", message, "install them (ztunnel.enabled of the chart)"))
    } else {
        None
    };
    let (accepted, supported_features) = match refusal {
        Some((reason, field, message, remedy)) => {
            made.error(&object, field, message.clone(), remedy);
            let message = match field {
                "" => format!("{message}; {remedy}"),
                field => format!("{field}: {message}; {remedy}"),
            };
            (Condition::fails(reason::ACCEPTED, reason, message, generation), &[][..])
        }
        None => {
            let message = format!(
                "the mesh is Fairway {}, trust domain {}",
                env!("CARGO_PKG_VERSION"),
                settings.trust_domain
            );
            (Condition::holds(reason::ACCEPTED, reason::ACCEPTED, message, generation), features::MESH)
        }
    };
    let status = ClassStatus { conditions: vec![accepted], supported_features };
    made.statuses.push((object, ObjectStatus::Mesh(status)));
    made
}
