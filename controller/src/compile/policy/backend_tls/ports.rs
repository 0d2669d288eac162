//! How a Service's ports are secured.

use super::Validate;
use crate::compile::policy::attach;
use crate::compile::policy::merge::{Direct, oldest_wins};
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::resources::{BackendTlsPolicy, Kind, ObjectRef, Service};
use fairway_config::model::{BackendSecurity, ObjectName};
use fairway_incremental::Query;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How policies secure the ports of a Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::compile) struct ServiceTls {
    /// The TCP ports that a policy is about.
    pub ports: BTreeMap<u16, BackendSecurity>,
    /// Which policy holds where.
    pub policies: Direct,
}

/// Decides for each port of a Service.
pub(in crate::compile) struct Decide;

impl Query<Cluster> for Decide {
    type Key = ObjectName;
    type Value = Option<Arc<ServiceTls>>;
    const STAGE: u8 = stage::CHECKED;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, _: &mut Made) -> Option<Arc<ServiceTls>> {
        let service = reader.input::<Service>(name)?;
        let attached =
            attach::attached::<BackendTlsPolicy>(reader, &ObjectRef::from_name(Kind::Service, name));
        let is_port = |section: &Arc<str>| service.tcp_ports().any(|it| it.name.as_ref() == Some(section));
        let policies = oldest_wins(&attached, is_port);
        // A policy that names a port which is not there may mean any of them: none of those without a policy of their own is
        // spoken to in the clear.
        let closed = policies.astray().map(|(policy, section)| {
            BackendSecurity::Unusable(
                format!("{policy}: Service {name} has no TCP port named {section}").into(),
            )
        });
        let mut ports = BTreeMap::new();
        for port in service.tcp_ports() {
            let Some(policy) = policies.holder(port.name.as_ref()) else {
                ports.extend(closed.clone().map(|it| (port.port, it)));
                continue;
            };
            let Some(validation) = reader.get::<Validate>(&policy.object_name()) else { continue };
            let security = match &validation.tls {
                Ok(tls) => BackendSecurity::Tls(tls.clone()),
                // Whole or closed: what the policy asks for in part is not done in part.
                Err(defect) => BackendSecurity::Unusable(format!("{policy}: {}", defect.text()).into()),
            };
            ports.insert(port.port, security);
        }
        Some(Arc::new(ServiceTls { ports, policies }))
    }
}
