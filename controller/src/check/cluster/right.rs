//! Which rights are asked for, of whom, and what for.

use super::snapshot::{Installation, Seen};

/// Something that somebody must be allowed to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Right {
    /// Whose; none is whoever asks.
    pub(super) account: Option<Account>,
    pub(super) verb: &'static str,
    pub(super) group: &'static str,
    pub(super) resource: &'static str,
    pub(super) namespace: Option<String>,
    /// What does not work without it.
    pub(super) without: &'static str,
    /// Whether it may be given in some namespaces only (rbac.gatewayNamespaces of the chart).
    pub(super) limited: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// A right, and whether it is given.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub(super) right: Right,
    pub(super) allowed: Seen<bool>,
}

/// What whoever installs needs: the charts make these.
const TO_INSTALL: [(&str, &str, &str); 9] = [
    ("create", "apiextensions.k8s.io", "customresourcedefinitions"),
    ("create", "", "namespaces"),
    ("create", "rbac.authorization.k8s.io", "clusterroles"),
    ("create", "rbac.authorization.k8s.io", "clusterrolebindings"),
    ("create", "admissionregistration.k8s.io", "validatingadmissionpolicies"),
    ("create", "gateway.networking.k8s.io", "gatewayclasses"),
    ("create", "apps", "deployments"),
    ("create", "apps", "daemonsets"),
    // Helm keeps a release in a Secret.
    ("create", "", "secrets"),
];

/// What the controller cannot do without.
const OF_CONTROLLER: [(&str, &str, &str, &str); 7] = [
    ("list", "", "pods", "nothing is compiled"),
    ("list", "", "nodes", "nothing is compiled"),
    ("list", "", "secrets", "nothing is compiled, for HTTPS listeners have no certificates"),
    ("list", "gateway.networking.k8s.io", "httproutes", "nothing is compiled"),
    ("patch", "gateway.networking.k8s.io", "gateways/status", "nobody is told how Gateways are"),
    ("create", "authentication.k8s.io", "tokenreviews", "no proxy gets configuration or a certificate"),
    ("create", "apps", "deployments", "Gateways get no proxies"),
];

/// The rights to ask for.
pub(super) fn wanted(installation: Option<&Installation<'_>>) -> Vec<Right> {
    let Some(installation) = installation else {
        let right = |(verb, group, resource)| Right {
            account: None,
            verb,
            group,
            resource,
            namespace: None,
            without: "the charts cannot be installed",
            limited: false,
        };
        return TO_INSTALL.into_iter().map(right).collect();
    };
    let account =
        |name: &str| Account { namespace: installation.namespace.to_owned(), name: name.to_owned() };
    let everywhere = |account: Account, (verb, group, resource, without)| Right {
        account: Some(account),
        verb,
        group,
        resource,
        namespace: None,
        without,
        limited: resource == "deployments",
    };
    let controller = account(installation.service_account());
    let mut rights: Vec<Right> =
        OF_CONTROLLER.into_iter().map(|it| everywhere(controller.clone(), it)).collect();
    rights.push(Right {
        namespace: Some(installation.namespace.to_owned()),
        ..everywhere(
            controller.clone(),
            ("create", "discovery.k8s.io", "endpointslices", "proxies do not find it"),
        )
    });
    if installation.argument("mesh") != Some("off") {
        let marks = ("patch", "", "pods/status", "nobody sees which pods are captured");
        rights.push(everywhere(controller, marks));
        rights.push(everywhere(account("fairway-cni"), ("get", "", "pods", "no pod starts on the nodes")));
    }
    rights
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}
