//! Whether all connections to the pods that a policy guards are judged: some clients may get past it.

use super::review::{Review, TOLD};
use crate::compile::program::{Made, Reader};
use crate::compile::settings::Capture;
use crate::compile::workload::{Identify, PodIdentity};
use crate::diagnostic::{Diagnostic, Reason, Severity};
use crate::resources::ObjectRef;

impl Review<'_> {
    /// Whether tunnels keep everybody but the waypoint from these pods, or judge who connects to them.
    pub(super) fn check_capture<'p>(
        &self,
        reader: &mut Reader<'_>,
        pods: impl Iterator<Item = &'p ObjectRef>,
    ) -> Result<(), Diagnostic> {
        let Some(names) = outside(reader, pods) else { return Ok(()) };
        let message = format!("the policy cannot be enforced for pods outside the mesh: {names}");
        let remedy = format!("label namespace {} with fairway.dev/mesh=enabled", self.name.namespace);
        Err(self.not_enforced(message, remedy))
    }

    /// Whether there is somebody who judges connections to pods.
    pub(super) fn check_mesh(&self, has_mesh: bool) -> Result<(), Diagnostic> {
        if has_mesh {
            return Ok(());
        }
        let message = "nothing is captured, so there is no mesh in which clients have identities, and nothing guards pods";
        let remedy = "install ztunnel (value ztunnel.enabled of the chart; `fairway run --capture`), or name a Gateway";
        Err(Diagnostic::error(Reason::AccessPolicyNeedsMesh, self.field, message, remedy))
    }

    /// Proxies of Fairway are never captured, so no tunnel judges who connects to them. A policy for them is one for their Gateway. One
    /// for all pods of a namespace is not about the proxies among these.
    pub(super) fn check_proxies<'p>(
        &self,
        reader: &mut Reader<'_>,
        pods: impl Iterator<Item = &'p ObjectRef> + Clone,
        made: &mut Made,
    ) -> Result<(), Diagnostic> {
        let is_proxy = |reader: &mut Reader<'_>, pod: &ObjectRef| {
            reader.get::<Identify>(&pod.object_name()).is_some_and(|it| it.is_proxy)
        };
        let proxies: Vec<&str> =
            pods.clone().filter(|it| is_proxy(reader, it)).map(|it| &*it.name).take(TOLD).collect();
        let are_all = !proxies.is_empty() && pods.clone().all(|it| is_proxy(reader, it));
        let is_about_all = self.target.selector.as_ref().is_some_and(|it| it.match_labels.is_empty());
        if proxies.is_empty() || (is_about_all && !are_all) {
            return Ok(());
        }
        let proxies = match proxies.as_slice() {
            [one] => format!("pod {one} is a proxy of a Gateway or waypoint"),
            many => format!("pods {} are proxies of Gateways or waypoints", many.join(", ")),
        };
        let message = format!("{proxies}; a policy for pods is not enforced there");
        let remedy = "target the Gateway instead";
        let of =
            if are_all || self.target.kind == "Service" { Diagnostic::error } else { Diagnostic::warning };
        let diagnostic = of(Reason::AccessPolicyForProxies, self.field, message, remedy);
        if diagnostic.severity == Severity::Error {
            return Err(diagnostic);
        }
        made.report(&self.object(), diagnostic);
        Ok(())
    }

    pub(super) fn not_enforced(&self, message: String, remedy: String) -> Diagnostic {
        Diagnostic::error(Reason::AccessPolicyNotEnforced, self.field, message, remedy)
    }
}

/// The pods among these that are not in the mesh, in words; none where all are, or nothing is captured. Proxies are another matter.
pub(in crate::compile::policy) fn outside<'p>(
    reader: &mut Reader<'_>,
    pods: impl Iterator<Item = &'p ObjectRef>,
) -> Option<String> {
    if reader.settings().capture == Capture::Off {
        return None;
    }
    names_of(reader, pods, |it| !it.captured && !it.is_proxy)
}

/// The proxies of Fairway among these pods, in words; none where there is none.
pub(in crate::compile::policy) fn proxies<'p>(
    reader: &mut Reader<'_>,
    pods: impl Iterator<Item = &'p ObjectRef>,
) -> Option<String> {
    names_of(reader, pods, |it| it.is_proxy)
}

/// The names of some of the pods that are of a sort; none where no pod is.
fn names_of<'p>(
    reader: &mut Reader<'_>,
    pods: impl Iterator<Item = &'p ObjectRef>,
    is_wanted: impl Fn(&PodIdentity) -> bool,
) -> Option<String> {
    let mut is_wanted =
        |pod: &ObjectRef| reader.get::<Identify>(&pod.object_name()).is_some_and(|it| is_wanted(&it));
    let names: Vec<&str> = pods.filter(|it| is_wanted(it)).map(|it| &*it.name).take(TOLD).collect();
    (!names.is_empty()).then(|| names.join(", "))
}
