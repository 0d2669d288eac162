//! What has been seen of the cluster, and what an event of a feed changes in it. Pure.
//!
//! Of an object only a fingerprint is kept here: that is enough to know after a relist what changed, what did not and
//! what is gone, so that a lost connection costs neither a gap nor a burst.

use super::decoded_object::{DecodedObject, Unreadable};
use crate::diagnostic::Diagnostic;
use crate::resources::{ClusterTrustBundle, Edit, Kind, ObjectRef};
use crate::status::Record;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What a feed tells.
#[derive(Debug)]
pub(super) enum FeedEvent {
    /// The kinds that are offered now.
    Discovered(BTreeSet<Kind>),
    /// From here to the end of the list objects are those that exist: what was known before and is not among them is gone.
    ListBegins(Kind),
    /// Objects, from a list or a watch.
    Seen(Vec<DecodedObject>),
    /// The list is whole: what it did not have is gone.
    ListEnds(Kind),
    /// An object was deleted.
    Gone(ObjectRef),
    /// The cluster does not have the kind any more.
    Withdrawn(Kind),
    /// How it goes with a kind.
    State(Kind, FeedState),
}

/// How it goes with a kind.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FeedState {
    /// The cluster does not have it (yet).
    NotServed,
    /// Its objects are being listed for the first time.
    Listing,
    /// Being watched, in this version.
    Watching(Arc<str>),
    /// It does not work at the moment; what was seen last stays.
    Failing(String),
}

/// What changed in a cluster since it was last asked.
#[derive(Debug, Default)]
pub struct Changes {
    /// Objects that are there or have changed, and those that are gone.
    pub edits: Vec<Edit>,
    /// Of what the status writer needs; none for an object that is gone.
    pub records: Vec<(ObjectRef, Option<Arc<Record>>)>,
    /// Whether objects became wrong or right.
    pub problems_changed: bool,
}

/// What has been seen.
#[derive(Debug, Default)]
pub(super) struct WatchCache {
    kinds: BTreeMap<Kind, KindCache>,
    problems: BTreeMap<ObjectRef, Diagnostic>,
    /// Whether the cluster has ClusterTrustBundles, of which compiling knows the kind as well.
    has_bundles: bool,
    /// The kinds the first batch waits for; none before it is known which there are.
    awaited: Option<BTreeSet<Kind>>,
}

#[derive(Debug, Default)]
struct KindCache {
    held: HashMap<ObjectRef, Held, ahash::RandomState>,
    /// Which list it was last seen in, or after.
    list: u64,
}

#[derive(Debug)]
struct Held {
    fingerprint: u64,
    list: u64,
    /// Whether one of its versions was understood: the last of them is in force.
    was_good: bool,
}

// === impl Changes ===

impl Changes {
    /// Whether an event changed nothing: what it brought was known already.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty() && self.records.is_empty() && !self.problems_changed
    }
}

// === impl WatchCache ===

impl WatchCache {
    /// Takes an event of a feed in.
    pub(super) fn take(&mut self, feed_event: FeedEvent, changes: &mut Changes) {
        match feed_event {
            FeedEvent::Discovered(kinds) => {
                if kinds.contains(&Kind::ClusterTrustBundle)
                    && !std::mem::replace(&mut self.has_bundles, true)
                {
                    changes.edits.push(Edit::Upsert(ClusterTrustBundle::of_kind()));
                }
                // Few clusters have an optional kind, and few that have it let us read it.
                self.awaited.get_or_insert(kinds.into_iter().filter(|it| it.is_awaited()).collect());
            }
            FeedEvent::ListBegins(kind) => self.kinds.entry(kind).or_default().list += 1,
            FeedEvent::Seen(objects) => objects.into_iter().for_each(|it| self.see(it, changes)),
            FeedEvent::ListEnds(kind) => {
                self.forget_unlisted(kind, changes);
                self.no_longer_awaited(kind);
            }
            FeedEvent::Gone(object) => {
                if let Some(kind_cache) = self.kinds.get_mut(&object.kind) {
                    kind_cache.held.remove(&object);
                }
                self.gone(object, changes);
            }
            FeedEvent::Withdrawn(kind) => {
                for object in self.kinds.remove(&kind).into_iter().flat_map(|it| it.held.into_keys()) {
                    self.gone(object, changes);
                }
                if kind == Kind::ClusterTrustBundle && std::mem::take(&mut self.has_bundles) {
                    changes.edits.push(Edit::Remove(ClusterTrustBundle::of_kind().reference()));
                }
                self.no_longer_awaited(kind);
            }
            // What may not be read is not waited for where compiling can do without it.
            FeedEvent::State(kind, FeedState::Failing(_)) if kind.is_optional() => {
                self.no_longer_awaited(kind)
            }
            FeedEvent::State(..) => {}
        }
    }

    /// Whether all that is offered has been seen once: half a cluster must not be compiled, it would take away what
    /// proxies serve.
    pub(super) fn is_whole(&self) -> bool {
        self.awaited.as_ref().is_some_and(BTreeSet::is_empty)
    }

    /// Objects that cannot be understood; their last good version stays in force.
    pub(super) fn problems(&self) -> impl Iterator<Item = &Diagnostic> {
        self.problems.values()
    }

    fn see(&mut self, decoded: DecodedObject, changes: &mut Changes) {
        let DecodedObject { object, fingerprint, content, record } = decoded;
        let kind_cache = self.kinds.entry(object.kind).or_default();
        let before = kind_cache.held.get(&object);
        let is_same = before.is_some_and(|it| it.fingerprint == fingerprint);
        let had_good = before.is_some_and(|it| it.was_good);
        let held = Held { fingerprint, list: kind_cache.list, was_good: had_good || content.is_ok() };
        kind_cache.held.insert(object.clone(), held);
        if is_same {
            return;
        }
        if let Some(record) = record {
            changes.records.push((object.clone(), Some(record)));
        }
        let was = self.problems.remove(&object);
        let now = match content {
            Ok(content) => {
                changes.edits.push(Edit::Upsert(content));
                None
            }
            Err(Unreadable { problem, stand_in }) => {
                changes.edits.extend((!had_good).then_some(Edit::Upsert(stand_in)));
                Some(problem)
            }
        };
        changes.problems_changed |= was != now;
        self.problems.extend(now.map(|it| (object, it)));
    }

    fn forget_unlisted(&mut self, kind: Kind, changes: &mut Changes) {
        let Some(kind_cache) = self.kinds.get_mut(&kind) else { return };
        let list = kind_cache.list;
        let unlisted: Vec<ObjectRef> =
            kind_cache.held.extract_if(|_, it| it.list != list).map(|(it, _)| it).collect();
        unlisted.into_iter().for_each(|it| self.gone(it, changes));
    }

    fn gone(&mut self, object: ObjectRef, changes: &mut Changes) {
        changes.problems_changed |= self.problems.remove(&object).is_some();
        changes.records.push((object.clone(), None));
        changes.edits.push(Edit::Remove(object));
    }

    fn no_longer_awaited(&mut self, kind: Kind) {
        if let Some(awaited) = &mut self.awaited {
            awaited.remove(&kind);
        }
    }
}
