//! The state of one registered pod: what was said about it, and what is in place for it.

use super::reconciler::{Registration, Responder};
use super::{Candidate, Claim, Netns, PodHandoff};
use crate::TunnelSettings;
use crate::local_pod::LocalPod;
use crate::proxy::Listeners;
use fairway_config::model::WorkloadKey;
use fairway_netns::capture::Fence;
use fairway_netns::{Namespace, NetnsError};
use fairway_runtime::drain;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::Instant;

/// The state of one registered pod, owned by its reconciler.
#[derive(Default)]
pub(super) struct ManagedPod {
    pub(super) netns: Option<Netns>,
    namespace: Option<Namespace>,
    pub(super) addresses: Vec<IpAddr>,
    /// When [`Claim::Meshed`] stops overriding the configuration.
    pub(super) claim_expires: Option<Instant>,
    /// Sockets that the previous tunnel process has handed off and that are not used yet.
    pub(super) inherited: Option<Listeners>,
    pub(super) active: Option<ActiveCapture>,
    /// Whoever registered the pod and waits for the outcome.
    pub(super) done: Option<Responder>,
    /// When that wait ends with an error.
    pub(super) registration_deadline: Option<Instant>,
}

/// What is in place for a captured pod. When it is dropped, new connections are refused and open ones are cut off.
pub(super) struct ActiveCapture {
    pub(super) pod: Arc<LocalPod>,
    /// Duplicates for a later handoff; the accepting worker has its own.
    pub(super) sockets: Option<Listeners>,
    /// Drains the pod's connections; taken when the capture ends in an orderly way.
    pub(super) trigger: Option<drain::Trigger>,
    /// The fence as it was when the rules were last written.
    pub(super) fence: Fence,
    pub(super) release: Option<Release>,
}

/// Progress of a pod's release from the mesh.
#[derive(Clone, Copy, Debug)]
pub(super) struct Release {
    pub(super) since: Instant,
    /// When the rules stopped capturing new connections.
    pub(super) capture_stopped: Option<Instant>,
}

// === impl ManagedPod ===

impl ManagedPod {
    /// Takes over a registration. If the pod has a new network namespace (a new sandbox), what is in place for the old one is
    /// dropped.
    pub(super) fn register(&mut self, pod: Candidate, registration: Registration, settings: &TunnelSettings) {
        let now = Instant::now();
        let is_same_sandbox =
            pod.netns.open().is_ok_and(|namespace| self.namespace.as_ref() == Some(&namespace));
        if !is_same_sandbox {
            (self.active, self.namespace, self.inherited) = (None, None, None);
            self.addresses.clear();
        }
        self.netns = Some(pod.netns);
        if !pod.addresses.is_empty() {
            self.addresses = pod.addresses;
        }
        if pod.claim == Claim::Meshed {
            self.claim_expires = Some(now + settings.claim_validity);
        }
        if registration.sockets.is_some() {
            self.inherited = registration.sockets;
        }
        self.done = Some(registration.done);
        self.registration_deadline = Some(now + settings.registration_timeout);
    }

    /// The pod's network namespace, opened once. `None` until a registration has named it.
    pub(super) fn namespace(&mut self) -> Result<Option<Namespace>, NetnsError> {
        if let (None, Some(netns)) = (&self.namespace, &self.netns) {
            self.namespace = Some(netns.open()?);
        }
        Ok(self.namespace.clone())
    }

    /// The claim of whoever registered the pod, while it is valid.
    pub(super) fn claim(&self) -> Claim {
        match self.claim_expires {
            Some(_) => Claim::Meshed,
            None => Claim::Unknown,
        }
    }

    /// From now on the configuration alone decides.
    pub(super) fn drop_claim(&mut self) {
        self.claim_expires = None;
        if let Some(active) = &self.active {
            active.pod.drop_claim();
        }
    }

    /// The pod and its sockets for the next tunnel process. `None` if the pod is not captured, or is being released: the process
    /// that has begun a release completes it.
    pub(super) fn prepare_handoff(&self, uid: &Arc<str>, key: &WorkloadKey) -> Option<PodHandoff> {
        let active = self.active.as_ref().filter(|it| it.release.is_none())?;
        let sockets = active.sockets.as_ref()?.duplicate().inspect_err(|error| {
            tracing::error!(pod = %key, %error, "the pod's sockets cannot be handed off");
        });
        Some(PodHandoff {
            pod: Candidate {
                uid: uid.clone(),
                key: key.clone(),
                netns: Netns::Open(active.pod.namespace.clone()),
                addresses: self.addresses.clone(),
                claim: self.claim(),
            },
            sockets: sockets.ok()?,
        })
    }
}

// === impl ActiveCapture ===

impl Drop for ActiveCapture {
    fn drop(&mut self) {
        self.pod.stop();
    }
}
