//! BackendTLSPolicies: which ports of a Service gateways speak TLS to, and whom they believe (GEP-1897), in three steps,
//! so that an edit runs no more than it has to: [`Validate`] looks at one policy, [`Decide`] decides which policy holds for each
//! port of a Service, [`Status`] tells the policies what became of them.

mod conditions;
mod ports;
mod validation;

pub(in crate::compile) use conditions::Status;
pub(in crate::compile) use ports::{Decide, ServiceTls};
pub(in crate::compile) use validation::{Validate, Validation};

use super::attach::{self, Policy};
use super::target::{Level, TargetRef};
use crate::compile::program::Reader;
use crate::resources::{BackendTlsPolicy, Kind, Meta, ObjectRef};
use fairway_config::model::ObjectName;
use std::sync::Arc;

impl Policy for BackendTlsPolicy {
    const KIND: Kind = Kind::BackendTlsPolicy;
    const LEVELS: &'static [Level] = &[Level::Service, Level::Port];

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn target_refs(&self) -> Vec<TargetRef<'_>> {
        let refs = self.spec.target_refs.iter().map(|it| TargetRef {
            group: &it.group,
            kind: &it.kind,
            name: &it.name,
            section: it.section_name.as_deref(),
        });
        refs.collect()
    }
}

/// How policies secure the ports of a Service; none where no policy names it.
pub(in crate::compile) fn of_service(
    reader: &mut Reader<'_>,
    service: &ObjectName,
) -> Option<Arc<ServiceTls>> {
    match attach::is_attached::<BackendTlsPolicy>(reader, &ObjectRef::from_name(Kind::Service, service)) {
        true => reader.get::<Decide>(service),
        false => None,
    }
}
