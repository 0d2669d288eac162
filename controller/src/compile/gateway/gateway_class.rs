//! What a GatewayClass of ours is told.

use crate::compile::gateway::parameters;
use crate::compile::names::class;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::{features, stage};
use crate::resources::{ClusterTrustBundle, Definition, GatewayClass, Kind, ObjectRef};
use crate::status::{ClassStatus, Condition, ObjectStatus, reason};
use fairway_incremental::{OfInput, Query};
use std::sync::Arc;

/// The status of a GatewayClass of ours.
pub(in crate::compile) struct Status;

impl Query<Cluster> for Status {
    type Key = Arc<str>;
    type Value = ();
    const STAGE: u8 = stage::OBJECTS;

    fn run(name: &Arc<str>, reader: &mut Reader<'_>, made: &mut Made) {
        let name: &str = name;
        let settings = reader.settings();
        let Some(class) = reader.input::<GatewayClass>(name) else { return };
        let Some(kind) = class::classify(&class, &settings) else { return };
        if class.meta.unreadable.is_some() {
            // An Event says so; what its status says is of the version that was read last.
            return;
        }
        let object = ObjectRef::new(Kind::GatewayClass, "", name);
        let generation = class.meta.generation;
        let accepted = match parameters::of_class(reader, &class) {
            Ok(_) => Condition::holds(
                reason::ACCEPTED,
                reason::ACCEPTED,
                "Gateways of this class are served by Fairway",
                generation,
            ),
            Err(error) => {
                let message = error.text();
                made.report(&object, error);
                Condition::fails(reason::ACCEPTED, reason::INVALID_PARAMETERS, message, generation)
            }
        };
        let supported = supported_version(reader, generation);
        let has_bundles = reader.input::<ClusterTrustBundle>(ClusterTrustBundle::KIND).is_some();
        let supported_features = features::supported_by(kind, has_bundles);
        let status = ClassStatus { conditions: vec![accepted, supported], supported_features };
        made.statuses.push((object, ObjectStatus::GatewayClass(status)));
    }
}

/// Whether the CRDs that are installed are of a version that Fairway supports. Where they cannot be read, nothing speaks against it.
fn supported_version(reader: &mut Reader<'_>, generation: i64) -> Condition {
    let kind = reason::SUPPORTED_VERSION;
    let (newest, (major, minor)) = (fairway_gateway_api::BUNDLE_VERSION, Definition::OLDEST_BUNDLE);
    match reader.input::<Definition>(Definition::OF_GATEWAY_CLASSES) {
        Some(it) if !it.is_supported() => {
            let installed = match &it.bundle {
                Some(version) => format!("the CRDs of Gateway API {version} are installed"),
                None => {
                    "the installed CRDs do not say of which version of the Gateway API they are".to_owned()
                }
            };
            let message =
                format!("{installed}; Fairway supports v{major}.{minor} to {newest}: install {newest}");
            Condition::fails(kind, reason::UNSUPPORTED_VERSION, message, generation)
        }
        _ => {
            let message = format!("Fairway is built for Gateway API {newest}");
            Condition::holds(kind, kind, message, generation)
        }
    }
}

impl OfInput<Cluster> for Status {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::GatewayClass).then(|| name.name.clone())
    }
}
