//! Which pods are the proxies and tunnels that Fairway made, by what the API server shows of them.
//!
//! A service account proves little: whoever may make pods in its namespace may give it to one. So the pod that a token is bound
//! to has to be one that was seen, that the proxy's own Deployment (or the tunnels' DaemonSet) looks after, and that runs our
//! image and nobody's program beside it.

use super::reviewed::Reviewed;
use crate::provision::{Rights, is_of_proxy};
use crate::resources::{Edit, Kind, Object, Pod, Provenance};
use fairway_config::model::ObjectName;
use std::collections::HashMap;
use std::sync::Arc;

/// The pods that say they are of ours, by uid.
#[derive(Debug, Default)]
pub(super) struct OwnPods {
    pods: HashMap<Arc<str>, Arc<Pod>, ahash::RandomState>,
    uids: HashMap<ObjectName, Arc<str>, ahash::RandomState>,
}

/// What a proxy runs, and whom it shows its token.
#[derive(Clone, Debug)]
pub struct ProxyProgram {
    image: String,
    rights: Rights,
    controller: String,
}

/// Why the pod of a token is not taken for one that Fairway made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PodRejection {
    /// It was not seen, or does not say so itself.
    #[error("pod {0} is not among those that Fairway made (or has not been seen yet)")]
    Unseen(ObjectName),
    /// It has another service account than its token.
    #[error("pod {0} does not run as service account {1}")]
    OtherAccount(ObjectName, ObjectName),
    /// Somebody else, or nobody, looks after it.
    #[error("pod {pod} does not belong to the {kind} {name}; Fairway makes no other pods")]
    NotOwned {
        /// The pod of the token.
        pod: ObjectName,
        /// What it has to belong to.
        kind: &'static str,
        /// The name of the DaemonSet or Deployment that it has to belong to.
        name: Arc<str>,
    },
    /// Its token or its keys are somebody else's, too.
    #[error(
        "pod {0} has {1}, which Fairway's proxies do not have; take it out, or exempt the proxies from what puts it in"
    )]
    Foreign(ObjectName, Arc<str>),
    /// It shows its token to somebody else, who could come with it.
    #[error("pod {0} does not talk to this controller at {1}, so others may have its token")]
    OtherController(ObjectName, String),
    /// It runs another program.
    #[error(
        "pod {0} runs the image {1}, which is neither that of this installation nor among \
         gatewayParameters.allowedImages of the chart's values"
    )]
    OtherImage(ObjectName, Arc<str>),
}

// === impl OwnPods ===

impl OwnPods {
    /// Takes over what changed; says whether any of it matters here.
    pub(super) fn see(&mut self, edits: &[Edit]) -> bool {
        let mut changed = false;
        for edit in edits {
            match edit {
                Edit::Upsert(Object::Pod(pod)) => {
                    let name = ObjectName::new(pod.meta.namespace.clone(), pod.meta.name.clone());
                    if self.pods.get(&pod.meta.uid).is_some_and(|it| it == pod) {
                        continue;
                    }
                    changed |= self.forget(&name);
                    if pod.provenance.is_some() && !pod.ended {
                        self.uids.insert(name, pod.meta.uid.clone());
                        self.pods.insert(pod.meta.uid.clone(), pod.clone());
                        changed = true;
                    }
                }
                Edit::Remove(object) if object.kind == Kind::Pod => {
                    changed |= self.forget(&ObjectName::new(object.namespace.clone(), object.name.clone()));
                }
                _ => {}
            }
        }
        changed
    }

    fn forget(&mut self, name: &ObjectName) -> bool {
        self.uids.remove(name).is_some_and(|uid| self.pods.remove(&uid).is_some())
    }

    pub(super) fn knows(&self, uid: &str) -> bool {
        self.pods.contains_key(uid)
    }

    /// Whether a token's pod is a proxy that Fairway made.
    pub(super) fn is_proxy(&self, reviewed: &Reviewed, program: &ProxyProgram) -> Result<(), PodRejection> {
        let (pod, provenance) = self.made(reviewed)?;
        let name = name_of(pod);
        let deployment = &reviewed.service_account.name;
        let is_owned = provenance.controller.as_ref().is_some_and(|it| {
            let suffix = it.name.strip_prefix(&**deployment).and_then(|it| it.strip_prefix('-'));
            &*it.kind == "ReplicaSet" && suffix.is_some_and(|it| !it.is_empty() && !it.contains('-'))
        });
        if !is_owned {
            return Err(PodRejection::NotOwned { pod: name, kind: "Deployment", name: deployment.clone() });
        }
        if let Some(what) = &provenance.foreign {
            return Err(PodRejection::Foreign(name, what.clone()));
        }
        if provenance.told.as_deref() != Some(&*program.controller) {
            return Err(PodRejection::OtherController(name, program.controller.clone()));
        }
        match provenance.images.iter().find(|it| !program.has_image(it)) {
            Some(image) => Err(PodRejection::OtherImage(name, image.clone())),
            None => Ok(()),
        }
    }

    /// Whether a token's pod is a tunnel of the DaemonSet of this name.
    pub(super) fn is_tunnel(&self, reviewed: &Reviewed, daemon_set: &Arc<str>) -> Result<(), PodRejection> {
        let (pod, provenance) = self.made(reviewed)?;
        let is_owned = |it: &crate::resources::Controller| &*it.kind == "DaemonSet" && it.name == *daemon_set;
        match provenance.controller.as_ref().is_some_and(is_owned) {
            true => Ok(()),
            false => {
                Err(PodRejection::NotOwned { pod: name_of(pod), kind: "DaemonSet", name: daemon_set.clone() })
            }
        }
    }

    fn made(&self, reviewed: &Reviewed) -> Result<(&Pod, &Provenance), PodRejection> {
        let account = &reviewed.service_account;
        let unseen =
            || PodRejection::Unseen(ObjectName::new(account.namespace.clone(), reviewed.pod.name.clone()));
        let pod = self.pods.get(&reviewed.pod.uid).ok_or_else(unseen)?;
        let provenance = pod.provenance.as_ref().ok_or_else(unseen)?;
        if pod.meta.namespace != account.namespace || pod.service_account != account.name {
            return Err(PodRejection::OtherAccount(name_of(pod), account.clone()));
        }
        Ok((pod, provenance))
    }
}

fn name_of(pod: &Pod) -> ObjectName {
    ObjectName::new(pod.meta.namespace.clone(), pod.meta.name.clone())
}

// === impl ProxyProgram ===

impl ProxyProgram {
    /// That of an installation: its own image, in any version, so that an upgrade turns nobody away, or one that may be named;
    /// and the controller where proxies find it.
    pub fn new(image: impl Into<String>, rights: Rights, controller: impl Into<String>) -> Self {
        Self { image: image.into(), rights, controller: controller.into() }
    }

    fn has_image(&self, image: &str) -> bool {
        is_of_proxy(image, &self.image, &self.rights)
    }
}
