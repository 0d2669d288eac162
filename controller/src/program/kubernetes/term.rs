//! What the replica that leads does, for as long as it leads.

use super::{Base, LeaderServices};
use crate::diagnostic::Diagnostic;
use crate::events::{Event, Recorder};
use crate::leader;
use crate::provision::Wanted;
use crate::serve::Hub;
use crate::status::{StatusCache, Writer};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

/// What the replica that leads does; it ends with this.
pub(super) struct Term {
    hub: Arc<Hub>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Term {
    pub(super) fn begin(
        base: &Base,
        services: LeaderServices,
        wanted: watch::Receiver<Option<Arc<Wanted>>>,
        unreadable: watch::Receiver<Arc<BTreeSet<Diagnostic>>>,
    ) -> Self {
        let Base { client, replica, hub, status_cache, settings, .. } = base;
        let mut tasks = JoinSet::new();
        let events = Recorder::start(client.clone(), replica.pod.clone());
        let writer = Writer::new(
            client.clone(),
            settings.controller_name.clone(),
            status_cache.clone(),
            hub.states(),
            services.troubles(),
            events.clone(),
        );
        tasks.spawn(async move {
            writer.run().await;
            Ok(())
        });
        tasks.spawn(tell_unreadable(unreadable, events.clone(), status_cache.clone()));
        let (opened, is_open) = oneshot::channel();
        tasks.spawn(services.run(wanted, events, opened));
        let (client, replica) = (client.clone(), replica.clone());
        tasks.spawn(async move {
            if is_open.await.is_err() {
                std::future::pending::<()>().await; // the task says why it did not open
            }
            let port = replica.listen.port();
            leader::keep_published(&client, &replica.namespace, &replica.pod, replica.address, port).await;
            Ok(())
        });
        Self { hub: hub.clone(), tasks }
    }

    /// Waits until something fails without which it makes no sense to lead.
    pub(super) async fn failed(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(panicked)) => panicked.into(),
            // All of it is for as long as the term.
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("a part of what the leader does has ended"),
        }
    }

    /// Ends everything; when this returns nothing more is written or served.
    pub(super) async fn end(mut self) {
        // What is served ends with its task; the conversations that go on then are told to end.
        self.tasks.shutdown().await;
        self.hub.dismiss();
    }
}

/// Tells objects that they cannot be understood: their status still speaks of their last good version.
async fn tell_unreadable(
    mut unreadable: watch::Receiver<Arc<BTreeSet<Diagnostic>>>,
    events: Recorder,
    status_cache: Arc<StatusCache>,
) -> anyhow::Result<()> {
    let mut told = Arc::<BTreeSet<Diagnostic>>::default();
    loop {
        let now = unreadable.borrow_and_update().clone();
        for diagnostic in now.difference(&told) {
            let Some(object) = diagnostic.object.as_ref().and_then(|subject| subject.object()) else {
                continue;
            };
            // Kinds without a status have no record; the log has it.
            let Some(record) = status_cache.cached(&object).record else { continue };
            let note = format!("{}; the last valid version of the object stays in force", diagnostic.text());
            let event = Event { good: false, reason: diagnostic.reason.to_string(), note };
            events.publish(&record.regarding(&object), vec![event]);
        }
        told = now;
        if unreadable.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
