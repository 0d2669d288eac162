//! A Gateway that cannot be read, where no version of it ever could be: after a restart of the controller the proxies that run for it
//! know more of it than anybody else. So they stay, with the configuration that they have, and so does what the statuses of routes,
//! ListenerSets and policies say of it: nobody knows better.
//!
//! A ListenerSet that cannot be read is left out of its Gateway. What the statuses say of it stays as well.

use super::{GatewayPlan, GatewayReport, infrastructure};
use crate::compile::ignored::Ignored;
use crate::compile::names::class;
use crate::compile::program::{Cluster, Reader};
use crate::compile::settings::{CompileSettings, Mode};
use crate::compile::workload::proxy;
use crate::diagnostic::{Diagnostic, Reason};
use crate::provision::{ProxyClass, ProxyService, Want};
use crate::resources::{Gateway, ListenerSet, ObjectRef};
use fairway_config::model::ObjectName;
use fairway_incremental::Set;
use std::collections::BTreeMap;
use std::sync::Arc;

// === impl GatewayReport ===

impl GatewayReport {
    /// What is known of a Gateway of which nothing can be read but its class.
    pub(super) fn of_unreadable(
        name: &ObjectName,
        gateway: &Gateway,
        class: ProxyClass,
        why: &str,
        settings: &CompileSettings,
    ) -> Self {
        let message = format!(
            "the Gateway cannot be read; what runs for it stays as it is, and takes no changes: {why}"
        );
        let remedy = "correct it, or upgrade Fairway if it is from a newer version of the API";
        let refusal = Diagnostic::error(Reason::GatewayUnreadable, "", message, remedy);
        let plan =
            GatewayPlan { class, addresses: Vec::new(), listeners: Vec::new(), backend_certificate: None };
        let services = vec![ProxyService::usual(&proxy::service_account(name, class, settings))];
        let mut report = Self {
            plan: Arc::new(plan),
            generation: gateway.meta.generation,
            refusal: Some(Box::new(refusal)),
            addresses: super::address::Addresses { services, ..Default::default() },
            listeners: Vec::new(),
            settings: BTreeMap::new(),
            backend_error: None,
            backend_warning: None,
            is_insecure: false,
            is_default: false,
            ignored: Ignored::default(),
            sets: BTreeMap::new(),
            proxy: None,
        };
        if settings.mode == Mode::Kubernetes {
            report.proxy = infrastructure::proxy(name, gateway, &report, Arc::default(), settings);
        }
        if let Some(proxy) = report.proxy.as_mut().filter(|_| class == ProxyClass::Gateway) {
            // All that a waypoint serves it has of Services and routes, and these can be read.
            proxy.want = Want::Hold;
        }
        report
    }

    /// Whether nobody knows its listeners: no route can attach to it, and what was said of it stays.
    pub(super) fn is_held(&self) -> bool {
        let is_unreadable = self.refusal.as_ref().is_some_and(|it| it.reason == Reason::GatewayUnreadable);
        self.plan.class == ProxyClass::Gateway && is_unreadable
    }
}

/// Whether a Gateway is refused because its class or its parameters cannot be read. Its listeners can.
pub(super) fn is_about_others(refusal: &Diagnostic) -> bool {
    refusal.reason == Reason::GatewayClassUnreadable || refusal.reason == Reason::ParametersUnreadable
}

/// The Gateways of which not all routes are known, since they are held or a ListenerSet of theirs cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) struct HeldGateways;

impl Set<Cluster> for HeldGateways {
    type Member = ObjectRef;
}

/// Whether a Gateway is ours and held.
pub(in crate::compile) fn is_held(reader: &mut Reader<'_>, gateway: &ObjectName) -> bool {
    let Some(written) = reader.input::<Gateway>(gateway) else { return false };
    written.meta.unreadable.is_some()
        && class::named(reader, &written.spec.gateway_class_name)
            .is_some_and(|it| it.class == ProxyClass::Gateway)
}

/// Whether a ListenerSet is ours, and it or its Gateway cannot be read.
pub(in crate::compile) fn is_set_held(reader: &mut Reader<'_>, set: &ObjectName) -> bool {
    let Some(written) = reader.input::<ListenerSet>(set) else { return false };
    let Some(gateway) = written.spec.gateway(&written.meta.namespace) else { return false };
    if written.meta.unreadable.is_none() {
        return is_held(reader, &gateway);
    }
    let gateway = reader.input::<Gateway>(&gateway);
    gateway.is_some_and(|it| class::named(reader, &it.spec.gateway_class_name).is_some())
}
