//! From a cluster to the hub and the status cache: source, compile, commit.

use super::{change_span, report};
use crate::admission::AuthorizationIndex;
use crate::compile::{CompileSettings, Compiler, Output};
use crate::diagnostic::Diagnostic;
use crate::metrics::Compiling;
use crate::provision::Wanted;
use crate::resources::{Edit, Object, ObjectRef};
use crate::serve::Hub;
use crate::source::cluster::Changes;
use crate::source::{CertificatePeriods, Cluster, LastGood};
use crate::status::{StatusCache, StatusChanges};
use fairway_config::model::{Generation, ObjectName, Resource, ResourceKey, ResourceKind};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{Span, debug, warn};

/// From a cluster to the hub and the status cache.
#[derive(Debug)]
pub struct ClusterPipeline {
    cluster: Cluster,
    last_good: LastGood,
    certificates: CertificatePeriods,
    compiler: Compiler,
    hub: Arc<Hub>,
    status_cache: Arc<StatusCache>,
    authorization_index: Arc<AuthorizationIndex>,
    shown: Compiling,
    wanted: watch::Sender<Option<Arc<Wanted>>>,
    problems: watch::Sender<Arc<[Diagnostic]>>,
    unreadable: watch::Sender<Arc<BTreeSet<Diagnostic>>>,
}

// === impl ClusterPipeline ===

impl ClusterPipeline {
    /// Puts it together; nothing happens before [`Self::advance`].
    pub fn new(
        cluster: Cluster,
        settings: CompileSettings,
        hub: Arc<Hub>,
        status_cache: Arc<StatusCache>,
        authorization_index: Arc<AuthorizationIndex>,
    ) -> Self {
        Self {
            cluster,
            last_good: LastGood::default(),
            certificates: CertificatePeriods::default(),
            compiler: Compiler::new(settings),
            hub,
            status_cache,
            authorization_index,
            shown: Compiling::default(),
            wanted: watch::Sender::new(None),
            problems: watch::Sender::new(Arc::new([])),
            unreadable: watch::Sender::default(),
        }
    }

    /// What compiling shows of itself.
    pub fn shown(&self) -> Compiling {
        self.shown.clone()
    }

    /// What has to be made, now and later; none before the first step.
    pub fn wanted(&self) -> watch::Receiver<Option<Arc<Wanted>>> {
        self.wanted.subscribe()
    }

    /// What is wrong, now and later.
    pub fn problems(&self) -> watch::Receiver<Arc<[Diagnostic]>> {
        self.problems.subscribe()
    }

    /// The objects that cannot be understood, now and later.
    pub fn unreadable(&self) -> watch::Receiver<Arc<BTreeSet<Diagnostic>>> {
        self.unreadable.subscribe()
    }

    /// Waits for the next changes and carries them to the hub and the status cache. The first are everything there is. None
    /// when the cluster cannot be watched any more.
    pub async fn advance(&mut self) -> Option<Generation> {
        let deadline = self.certificates.deadline(SystemTime::now());
        let changes = self.cluster.next_changes_until(deadline).await?;
        Some(change_span(&changes.edits).in_scope(|| self.carry(changes)))
    }

    /// Carries changes to the hub and the status cache.
    fn carry(&mut self, changes: Changes) -> Generation {
        let Changes { mut edits, records, problems_changed } = changes;
        let listener_sets = edits.iter().filter_map(listener_set).collect();
        self.last_good.carry(&mut edits);
        let now = SystemTime::now();
        self.certificates.carry(&mut edits, now);
        edits.extend(self.certificates.take_due(now));
        // Before anybody asks who a pod is that others are told of.
        self.authorization_index.see(&edits);
        let began = Instant::now();
        let output = self.compiler.apply(edits);
        let problems = self.cluster.problems().count() + self.compiler.problems().count();
        self.shown.compiled(began.elapsed(), self.compiler.objects(), problems);
        report(&output);
        self.publish(&output, problems_changed);
        // Before anybody hears of it: who is sent to ask may ask.
        self.authorization_index.take(&output);
        let Output { upserts, removals, statuses, unjudged, .. } = output;
        let gateways = gateways_of(&upserts, &removals);
        let resources = upserts.iter().map(Resource::key).chain(removals.iter().cloned()).collect();
        let first = self.hub.generation() == Generation::default();
        if first || !upserts.is_empty() || !removals.is_empty() {
            let (upserted, removed) = (upserts.len(), removals.len());
            let generation = self.hub.commit(upserts, removals);
            debug!(%generation, upserted, removed, "committed");
        }
        let generation = self.hub.generation();
        let evaluated = statuses.into_iter().map(|(object, status)| (object, Some(status)));
        let statuses = evaluated.chain(unjudged.into_iter().map(|object| (object, None))).collect();
        self.status_cache.apply(StatusChanges {
            records,
            statuses,
            gateways,
            listener_sets,
            resources,
            generation,
        });
        if problems_changed {
            // Behind the records: an Event needs the object's.
            self.report_unreadable();
        }
        Span::current().record("generation", generation.0);
        generation
    }

    /// Says what cannot be understood, once.
    fn report_unreadable(&self) {
        let now: BTreeSet<Diagnostic> = self.cluster.problems().cloned().collect();
        for it in now.difference(&self.unreadable.borrow()) {
            warn!("{it}; its last good version stays in force");
        }
        self.unreadable.send_replace(Arc::new(now));
    }

    fn publish(&self, output: &Output, problems_changed: bool) {
        let first = self.wanted.borrow().is_none();
        if first || output.is_wanting() {
            self.wanted.send_replace(Some(Arc::new(self.compiler.wanted())));
        }
        if problems_changed || !output.problems.is_empty() {
            self.problems
                .send_replace(self.cluster.problems().chain(self.compiler.problems()).cloned().collect());
        }
    }
}

/// A ListenerSet and the Gateway it belongs to.
fn listener_set(edit: &Edit) -> Option<(ObjectRef, ObjectName)> {
    let Edit::Upsert(object @ Object::ListenerSet(it)) = edit else { return None };
    Some((object.reference(), it.spec.gateway(&it.meta.namespace)?))
}

/// The Gateways whose listeners are among these.
fn gateways_of(upserts: &[Resource], removals: &[ResourceKey]) -> Vec<ObjectName> {
    let upserted = upserts.iter().filter_map(|it| match it {
        Resource::Listener(it) => Some(it.gateway.clone()),
        _ => None,
    });
    let removed = removals.iter().filter(|it| it.kind == ResourceKind::Listener).filter_map(|it| {
        // A ListenerSet's listener has more parts than a Gateway's; the first two are the Gateway's for both.
        let mut parts = it.name.split('/');
        Some(ObjectName::new(parts.next()?, parts.next()?))
    });
    upserted.chain(removed).collect::<BTreeSet<_>>().into_iter().collect()
}
