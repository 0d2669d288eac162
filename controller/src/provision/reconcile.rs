//! What has to be done so that the cluster has the objects that are wanted, and no others of ours. Pure.
//!
//! What we applied is compared with itself: after an apply the server's answer is kept, cut down to the fields that are
//! ours, and as long as these fields stay so there is nothing to do. So a default that the server fills in, or another
//! way to write a number, is no difference, and what others add is left alone.

use super::live::Live;
use super::manifest::{Manifest, ManifestKey, ManifestKind};
use super::metadata::SERVICE_ACCOUNT_UID;
use super::{Settings, plan, waypoint};
use crate::provision::{Proxy, Want, Wanted};
use fairway_config::model::ObjectName;
use fairway_identity::TrustBundle;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Something that has to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// It must not be there.
    Delete { key: ManifestKey, uid: Arc<str> },
    /// It must be so.
    Apply {
        manifest: Arc<Manifest>,
        /// What is there; none when nothing of ours is.
        over: Option<Arc<Live>>,
        why: Why,
    },
    /// Somebody else's object has the name.
    Refuse { key: ManifestKey },
}

/// Why an object is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It is not there, as far as we know.
    Missing,
    /// It shall be something else than before.
    Changed,
    /// We do not know whether it is as it is to be; this costs no write if it is.
    Unknown,
    /// Somebody else changed what is ours.
    Edited,
}

/// What is wanted, what is there, and what was done.
#[derive(Debug, Default)]
pub(super) struct Reconciliation {
    proxies: BTreeMap<ObjectName, Proxy>,
    /// Gateways of waypoints that are needed and that nobody wrote.
    waypoints: BTreeSet<ObjectName>,
    /// Those that nothing has needed for long enough.
    let_go: BTreeSet<ObjectName>,
    roots: Option<TrustBundle>,
    wanted: BTreeMap<ManifestKey, Arc<Manifest>>,
    live: BTreeMap<ManifestKey, Arc<Live>>,
    applied: BTreeMap<ManifestKey, Applied>,
    /// What has to be looked at.
    dirty: BTreeSet<ManifestKey>,
}

#[derive(Debug)]
struct Applied {
    manifest: Arc<Manifest>,
    uid: Arc<str>,
    /// Our fields as the server wrote them.
    ours: Value,
}

// === impl Step ===

impl Step {
    /// The object it is about.
    pub fn key(&self) -> &ManifestKey {
        match self {
            Self::Delete { key, .. } | Self::Refuse { key } => key,
            Self::Apply { manifest, .. } => &manifest.key,
        }
    }
}

// === impl Reconciliation ===

impl Reconciliation {
    /// Takes over what is wanted: all of it.
    pub fn want(&mut self, wanted: &Wanted, roots: &TrustBundle, settings: &Settings) {
        let new_roots = self.roots.as_ref() != Some(roots);
        let now: BTreeMap<ObjectName, Proxy> =
            wanted.proxies.iter().map(|it| (it.name.clone(), it.clone())).collect();
        let before = std::mem::replace(&mut self.proxies, now);
        let needed = std::mem::replace(&mut self.waypoints, wanted.waypoints.clone());
        self.let_go.retain(|it| !wanted.waypoints.contains(it));
        self.roots = Some(roots.clone());
        let all = self.proxies.keys().chain(before.keys()).chain(&self.waypoints).chain(&needed);
        let names: BTreeSet<ObjectName> = all.cloned().collect();
        for name in names {
            let proxy = self.proxies.get(&name);
            let is_needed = self.waypoints.contains(&name);
            if new_roots || proxy != before.get(&name) || is_needed != needed.contains(&name) {
                let mut manifests = proxy.map(|it| plan(it, roots, settings)).unwrap_or_default();
                manifests.extend(is_needed.then(|| waypoint::gateway(&name, settings)));
                self.want_of(&name, manifests);
            }
        }
        // What nobody wants: left over from before we began, or from a Gateway that has to be mended no more.
        let strays = self.live.keys().filter(|it| !self.wanted.contains_key(it));
        self.dirty.extend(strays.cloned());
    }

    fn want_of(&mut self, gateway: &ObjectName, manifests: Vec<Manifest>) {
        let mut now: BTreeMap<ManifestKey, Arc<Manifest>> =
            manifests.into_iter().map(|it| (it.key.clone(), Arc::new(it))).collect();
        let dirty = &mut self.dirty;
        self.wanted.retain(|key, before| {
            if before.gateway != *gateway {
                return true;
            }
            let same = now.get(key) == Some(before);
            match same {
                true => drop(now.remove(key)),
                false => drop(dirty.insert(key.clone())),
            }
            same
        });
        self.dirty.extend(now.keys().cloned());
        self.wanted.extend(now);
    }

    /// An object is there. What is older than what is known is of no interest.
    pub fn saw(&mut self, key: ManifestKey, live: Live) {
        if self.live.get(&key).is_some_and(|known| live.is_before(known)) {
            return;
        }
        if key.kind == ManifestKind::ServiceAccount {
            self.dirty.insert(ManifestKey { kind: ManifestKind::Deployment, ..key.clone() });
        }
        self.live.insert(key.clone(), Arc::new(live));
        self.dirty.insert(key);
    }

    /// An object is not there any more.
    pub fn lost(&mut self, key: ManifestKey) {
        self.live.remove(&key);
        self.applied.remove(&key);
        self.dirty.insert(key);
    }

    /// All objects of a kind that are there: what is not among them is gone.
    pub fn listed(&mut self, kind: ManifestKind, there: Vec<(ManifestKey, Live)>) {
        let names: BTreeSet<ManifestKey> = there.iter().map(|(key, _)| key.clone()).collect();
        let gone: Vec<ManifestKey> =
            self.live.keys().filter(|it| it.kind == kind && !names.contains(it)).cloned().collect();
        gone.into_iter().for_each(|it| self.lost(it));
        there.into_iter().for_each(|(key, live)| self.saw(key, live));
    }

    /// An object was applied, and this is what became of it.
    pub fn applied(&mut self, manifest: &Arc<Manifest>, live: Live) {
        let ours = cut(&live.fields, &manifest.fields);
        let done = Applied { manifest: manifest.clone(), uid: live.uid.clone(), ours };
        self.applied.insert(manifest.key.clone(), done);
        self.saw(manifest.key.clone(), live);
    }

    /// The waypoints that are there and that nothing needs; none before it is known what is needed.
    pub fn unneeded(&self) -> BTreeSet<ObjectName> {
        let gateways =
            self.live.iter().filter(|(key, live)| key.kind == ManifestKind::Gateway && !live.ending);
        let unneeded = gateways.filter(|(key, _)| self.roots.is_some() && !self.wanted.contains_key(key));
        unneeded.filter_map(|(_, live)| live.gateway.clone()).collect()
    }

    /// Nothing has needed a waypoint for long enough.
    pub fn let_go(&mut self, waypoint: &ObjectName) {
        let ObjectName { namespace, name } = waypoint.clone();
        self.dirty.insert(ManifestKey { kind: ManifestKind::Gateway, namespace, name });
        self.let_go.insert(waypoint.clone());
    }

    /// A step failed: it is looked at again.
    pub fn failed(&mut self, key: ManifestKey) {
        self.dirty.insert(key);
    }

    /// What has to be done for each Gateway, in order: first what must go (its address may be wanted for something
    /// else), then what must be there, what pods need before pods.
    pub fn steps(&mut self) -> BTreeMap<ObjectName, Vec<Step>> {
        let mut steps: BTreeMap<ObjectName, Vec<Step>> = BTreeMap::new();
        if self.roots.is_none() {
            // Nobody has said yet what is wanted; that is not the same as nothing.
            return steps;
        }
        for key in std::mem::take(&mut self.dirty) {
            if let Some((gateway, step)) = self.step(&key) {
                steps.entry(gateway).or_default().push(step);
            }
        }
        for steps in steps.values_mut() {
            steps.sort_by_key(|it| !matches!(it, Step::Delete { .. }));
        }
        steps
    }

    fn step(&self, key: &ManifestKey) -> Option<(ObjectName, Step)> {
        let live = self.live.get(key);
        match (self.wanted.get(key), live) {
            (None, None) => None,
            (None, Some(live)) => {
                let gateway = live.gateway.as_ref().filter(|_| !live.ending)?;
                let delete = Step::Delete { key: key.clone(), uid: live.uid.clone() };
                (!self.is_left(key, gateway)).then(|| (gateway.clone(), delete))
            }
            (Some(manifest), live) => {
                let manifest = self.bound_to_account(manifest)?;
                let step = self.wanted_step(&manifest, live)?;
                Some((manifest.gateway.clone(), step))
            }
        }
    }

    /// A Deployment's pods with the uid of their ServiceAccount: tokens are good for one uid only, so when somebody deletes
    /// the account and it is made anew the pods have to be, too. None while there is no account; it is first in line.
    fn bound_to_account(&self, manifest: &Arc<Manifest>) -> Option<Arc<Manifest>> {
        if manifest.key.kind != ManifestKind::Deployment {
            return Some(manifest.clone());
        }
        let account = ManifestKey { kind: ManifestKind::ServiceAccount, ..manifest.key.clone() };
        let account = self.live.get(&account).filter(|it| !it.ending)?;
        Some(Arc::new(manifest.with_pod_annotation(SERVICE_ACCOUNT_UID, &account.uid)))
    }

    fn wanted_step(&self, manifest: &Arc<Manifest>, live: Option<&Arc<Live>>) -> Option<Step> {
        let apply = |why| Step::Apply { manifest: manifest.clone(), over: live.cloned(), why };
        let Some(live) = live else { return Some(apply(Why::Missing)) };
        if live.ending {
            // It is applied when it has gone.
            return None;
        }
        if live.gateway.as_ref() != Some(&manifest.gateway) {
            return Some(Step::Refuse { key: manifest.key.clone() });
        }
        match self.applied.get(&manifest.key) {
            Some(done) if done.uid == live.uid => {
                if done.manifest != *manifest {
                    return Some(apply(Why::Changed));
                }
                (cut(&live.fields, &manifest.fields) != done.ours).then(|| apply(Why::Edited))
            }
            _ => Some(apply(Why::Unknown)),
        }
    }

    /// Whether an object stays although nobody says how it is to be: its Gateway has to be mended first, or it is a Service
    /// of a Gateway that listens nowhere for the moment, which would lose its address, or a waypoint that may be needed
    /// again soon.
    fn is_left(&self, key: &ManifestKey, gateway: &ObjectName) -> bool {
        if key.kind == ManifestKind::Gateway {
            return !self.let_go.contains(gateway);
        }
        let Some(proxy) = self.proxies.get(gateway) else { return false };
        let is_its_service =
            key.kind == ManifestKind::Service && proxy.services.iter().any(|it| it.name == key.name);
        proxy.want != Want::Run || (is_its_service && proxy.ports.is_empty())
    }
}

/// The part of an object that a manifest speaks of.
fn cut(live: &Value, ours: &Value) -> Value {
    match (live, ours) {
        (Value::Object(live), Value::Object(ours)) => {
            let part = |(name, ours): (&String, &Value)| {
                (name.clone(), live.get(name).map_or(Value::Null, |live| cut(live, ours)))
            };
            Value::Object(ours.iter().map(part).collect())
        }
        (Value::Array(live), Value::Array(ours)) if live.len() == ours.len() => {
            Value::Array(live.iter().zip(ours).map(|(live, ours)| cut(live, ours)).collect())
        }
        // Others put something in: seen as an edit once, and then as what is there.
        (live, _) => live.clone(),
    }
}
