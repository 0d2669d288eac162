//! A Gateway that cannot be read, where no version of it ever could be: after a restart of the controller the proxies that run for it
//! know more of it than anybody else. So they stay, with the configuration that they have.

use super::{GatewayPlan, GatewayReport, infrastructure};
use crate::compile::ignored::Ignored;
use crate::compile::settings::{CompileSettings, Mode};
use crate::compile::workload::proxy;
use crate::diagnostic::{Diagnostic, Reason};
use crate::provision::{ProxyClass, ProxyService, Want};
use crate::resources::Gateway;
use fairway_config::model::ObjectName;
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

    /// Whether routes can attach to it: not to one whose listeners nobody knows.
    pub(super) fn takes_routes(&self) -> bool {
        let is_unreadable = self.refusal.as_ref().is_some_and(|it| it.reason == Reason::GatewayUnreadable);
        self.plan.class == ProxyClass::Waypoint || !is_unreadable
    }
}
