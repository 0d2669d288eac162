//! What is known of a pod, and what is in place for it.

use super::keeper::{Answer, Registration};
use super::{Candidate, Claim, Legacy, LocalPod, Netns};
use crate::Settings;
use crate::proxy::Listeners;
use fairway_config::model::WorkloadKey;
use fairway_netns::capture::Fence;
use fairway_netns::{Namespace, NetnsError};
use fairway_runtime::drain;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::Instant;

/// What is known of a pod, and what is in place for it.
#[derive(Default)]
pub(super) struct Custody {
    pub(super) netns: Option<Netns>,
    namespace: Option<Namespace>,
    pub(super) addresses: Vec<IpAddr>,
    /// Until when a claim counts for more than what the configuration says.
    pub(super) claimed_until: Option<Instant>,
    /// Sockets of the tunnel before this one, not used yet.
    pub(super) inherited: Option<Listeners>,
    pub(super) place: Option<Place>,
    /// Who waits for the capture, and until when.
    pub(super) done: Option<Answer>,
    pub(super) give_up: Option<Instant>,
}

/// What is in place for a captured pod. Dropped, it takes no more connections, and those that are open are cut off.
pub(super) struct Place {
    pub(super) pod: Arc<LocalPod>,
    /// For the next version of the tunnel; whoever accepts has its own.
    pub(super) sockets: Option<Listeners>,
    /// Taken when it ends politely.
    pub(super) trigger: Option<drain::Trigger>,
    /// As it was when the rules were last put there.
    pub(super) fence: Fence,
    pub(super) releasing: Option<Releasing>,
}

/// How far a pod's way out of the mesh is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Releasing {
    pub(super) since: Instant,
    /// When nothing new was captured any more.
    pub(super) let_go: Option<Instant>,
}

// === impl Custody ===

impl Custody {
    /// Takes over what somebody says of the pod now.
    pub(super) fn register(&mut self, pod: Candidate, registration: Registration, settings: &Settings) {
        let now = Instant::now();
        let same = pod.netns.open().is_ok_and(|it| self.namespace.as_ref() == Some(&it));
        if !same {
            // The pod's sandbox was made anew: what was held is of the old one.
            (self.place, self.namespace, self.inherited) = (None, None, None);
            self.addresses.clear();
        }
        self.netns = Some(pod.netns);
        if !pod.addresses.is_empty() {
            self.addresses = pod.addresses;
        }
        if pod.claim == Claim::Meshed {
            self.claimed_until = Some(now + settings.claim_counts);
        }
        if registration.sockets.is_some() {
            self.inherited = registration.sockets;
        }
        self.done = Some(registration.done);
        self.give_up = Some(now + settings.registration_wait);
    }

    /// Its network namespace; none before anybody said where that is.
    pub(super) fn namespace(&mut self) -> Result<Option<Namespace>, NetnsError> {
        if let (None, Some(netns)) = (&self.namespace, &self.netns) {
            self.namespace = Some(netns.open()?);
        }
        Ok(self.namespace.clone())
    }

    /// What was said of its place in the mesh, if that still counts.
    pub(super) fn claim(&self) -> Claim {
        match self.claimed_until {
            Some(_) => Claim::Meshed,
            None => Claim::Unknown,
        }
    }

    /// From now on the configuration alone counts.
    pub(super) fn drop_claim(&mut self) {
        self.claimed_until = None;
        if let Some(place) = &self.place {
            place.pod.drop_claim();
        }
    }

    /// What the next version of the tunnel is to have.
    pub(super) fn legacy(&self, uid: &Arc<str>, key: &WorkloadKey) -> Option<Legacy> {
        let place = self.place.as_ref()?;
        let sockets = place.sockets.as_ref()?.another().inspect_err(|error| {
            tracing::error!(pod = %key, %error, "its sockets cannot be handed over");
        });
        Some(Legacy {
            pod: Candidate {
                uid: uid.clone(),
                key: key.clone(),
                netns: Netns::Open(place.pod.namespace.clone()),
                addresses: self.addresses.clone(),
                claim: self.claim(),
            },
            sockets: sockets.ok()?,
        })
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        self.pod.stop();
    }
}
