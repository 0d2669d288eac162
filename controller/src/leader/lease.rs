//! The Lease in the cluster.

use super::election::{Claim, Election, Move, Timing};
use crate::apiserver::describe;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, info, warn};

/// The Lease's name.
pub const NAME: &str = "fairway-controller";

/// How long a request may take.
const ANSWER: Duration = Duration::from_secs(2);

/// A replica that wants to lead.
pub struct Candidate {
    leases: Api<Lease>,
    me: Arc<str>,
    timing: Timing,
    election: Election,
}

/// The leadership, until it is lost or given back.
pub struct Term {
    candidate: Candidate,
}

/// Why a term ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Lease `{NAME}` could not be renewed in time, or another replica took it")]
pub struct Lost;

// === impl Candidate ===

impl Candidate {
    /// A candidate for the Lease in this namespace; `me` names this replica, and no other one.
    pub fn new(client: Client, namespace: &str, me: Arc<str>, timing: Timing) -> Self {
        let election = Election::new(me.clone(), timing);
        Self { leases: Api::namespaced(client, namespace), me, timing, election }
    }

    /// Waits until this replica leads.
    pub async fn win(mut self) -> Term {
        loop {
            if let Err(error) = self.step().await {
                debug!("the Lease cannot be had: {}", describe(&error));
            }
            if self.election.leads(Instant::now()) {
                info!(me = %self.me, "this replica leads");
                return Term { candidate: self };
            }
            sleep(self.timing.retry).await;
        }
    }

    /// Looks at the Lease and does what is right about it.
    async fn step(&mut self) -> kube::Result<()> {
        let lease = self.leases.get_opt(NAME).await?;
        let next = self.election.see(claim(lease.as_ref()), Instant::now());
        if next == Move::Leave {
            return Ok(());
        }
        let begun = Instant::now();
        let wanted = self.written(lease.as_ref(), Some(&self.me));
        let parameters = PostParams::default();
        // A replace carries the version that was read: of two who write at once, one fails.
        let written = match lease {
            Some(_) => self.leases.replace(NAME, &parameters, &wanted).await?,
            None => self.leases.create(&parameters, &wanted).await?,
        };
        self.election.wrote(claim(Some(&written)), begun);
        Ok(())
    }

    fn written(&self, old: Option<&Lease>, holder: Option<&str>) -> Lease {
        let spec = old.and_then(|it| it.spec.clone()).unwrap_or_default();
        let changes = spec.holder_identity.as_deref() != holder;
        let now = MicroTime(Timestamp::now());
        let transitions = spec.lease_transitions.unwrap_or_default();
        Lease {
            metadata: old.map_or_else(
                || ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
                |it| it.metadata.clone(),
            ),
            spec: Some(LeaseSpec {
                holder_identity: holder.map(str::to_owned),
                // Whole seconds; written for others to read, we do not.
                lease_duration_seconds: i32::try_from(self.timing.lease.as_secs()).ok(),
                acquire_time: if changes { Some(now.clone()) } else { spec.acquire_time },
                renew_time: Some(now),
                lease_transitions: Some(transitions + i32::from(changes && holder.is_some())),
                ..LeaseSpec::default()
            }),
        }
    }
}

// === impl Term ===

impl Term {
    /// Renews for as long as that works.
    pub async fn keep(&mut self) -> Lost {
        let candidate = &mut self.candidate;
        while let Some(until) = candidate.election.leads_until() {
            // Not later than the end of the term, whatever the server does.
            if timeout_at(until, sleep(candidate.timing.retry)).await.is_err() {
                break;
            }
            match timeout_at(until.min(Instant::now() + ANSWER), candidate.step()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!("the Lease cannot be renewed at the moment: {}", describe(&error)),
                Err(_) => warn!("the Lease cannot be renewed at the moment: the API server does not answer"),
            }
            if !candidate.election.leads(Instant::now()) {
                break;
            }
        }
        Lost
    }

    /// Gives it back, so that another replica need not wait.
    pub async fn release(self) {
        let candidate = self.candidate;
        let released = timeout(ANSWER, async {
            match candidate.leases.get_opt(NAME).await? {
                Some(lease) if claim(Some(&lease)).holder.as_deref() == Some(&*candidate.me) => {
                    let empty = candidate.written(Some(&lease), None);
                    candidate.leases.replace(NAME, &PostParams::default(), &empty).await.map(drop)
                }
                _ => Ok(()),
            }
        });
        match released.await {
            Ok(Ok(())) => info!("the Lease is released"),
            _ => warn!(
                "the Lease could not be released; another replica takes over in {:?}",
                candidate.timing.lease
            ),
        }
    }
}

fn claim(lease: Option<&Lease>) -> Claim {
    let Some(lease) = lease else { return Claim::default() };
    let holder = lease.spec.as_ref().and_then(|it| it.holder_identity.as_deref());
    Claim {
        holder: holder.filter(|it| !it.is_empty()).map(Into::into),
        version: lease.metadata.resource_version.as_deref().unwrap_or_default().into(),
    }
}
