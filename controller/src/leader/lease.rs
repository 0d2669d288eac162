//! The Lease in the cluster.

use super::election::{Claim, Election, LeaseAction, Timing};
use crate::apiserver::describe;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

pub const NAME: &str = "fairway-controller";

/// How long giving it back may take.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// A replica that wants to lead.
pub struct Candidate {
    leases: Api<Lease>,
    me: Arc<str>,
    timing: Timing,
    election: Election,
    /// The Lease as it was last seen or written.
    held: Option<Lease>,
}

/// What became of a renewal.
enum Renewal {
    /// It was written; the write was begun then.
    Written(Lease, Instant),
    /// Somebody wrote before; this is what is there now.
    Overtaken(Option<Lease>),
    /// It did not work.
    Failed(String),
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
        Self { leases: Api::namespaced(client, namespace), me, timing, election, held: None }
    }

    /// Waits until this replica leads.
    pub async fn win(mut self) -> Term {
        loop {
            match timeout(self.timing.renew, self.stand()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!("the Lease cannot be had: {}", describe(&error)),
                Err(_) => debug!("the Lease cannot be had: the API server does not answer"),
            }
            if self.election.leads(Instant::now()) {
                info!(me = %self.me, "this replica leads");
                return Term { candidate: self };
            }
            sleep(self.timing.retry).await;
        }
    }

    /// Looks at the Lease and takes it if it is free.
    async fn stand(&mut self) -> kube::Result<()> {
        let lease = self.leases.get_opt(NAME).await?;
        if self.election.see(claim(lease.as_ref()), Instant::now()) == LeaseAction::Leave {
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
        self.wrote(written, begun);
        Ok(())
    }

    fn wrote(&mut self, lease: Lease, begun: Instant) {
        self.election.wrote(claim(Some(&lease)), begun);
        self.held = Some(lease);
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
    /// Renews for as long as that works. A server that is slow to answer is asked again beside the first time, and its
    /// first answer counts: giving up on it would lose what it is about to say.
    pub async fn keep(&mut self) -> Lost {
        let candidate = &mut self.candidate;
        let timing = candidate.timing;
        let mut next = Instant::now() + timing.retry;
        while let Some(until) = candidate.election.leads_until() {
            let wanted = candidate.written(candidate.held.as_ref(), Some(&candidate.me));
            let leases = candidate.leases.clone();
            // Two tries fit into the time that is left, however long the first one takes to say nothing.
            let renewal = async {
                sleep_until(next).await;
                (Instant::now(), timeout(timing.renew / 2, renew(leases, wanted)).await)
            };
            let (begun, renewal) = tokio::select! {
                () = sleep_until(until) => break,
                done = renewal => done,
            };
            next = match renewal {
                Ok(Renewal::Written(lease, sent)) => {
                    candidate.wrote(lease, sent);
                    sent + timing.retry
                }
                Ok(Renewal::Overtaken(lease)) => {
                    // Either another replica's, or one of ours whose answer was too long on its way.
                    candidate.election.see(claim(lease.as_ref()), Instant::now());
                    candidate.held = lease;
                    begun
                }
                Ok(Renewal::Failed(why)) => {
                    warn!("the Lease cannot be renewed at the moment: {why}");
                    begun + timing.retry
                }
                Err(_) => {
                    warn!("the Lease cannot be renewed at the moment: the API server does not answer");
                    begun
                }
            };
        }
        Lost
    }

    /// Gives it back, so that another replica need not wait.
    pub async fn release(self) {
        let candidate = self.candidate;
        let empty = candidate.written(candidate.held.as_ref(), None);
        match timeout(RELEASE_TIMEOUT, candidate.leases.replace(NAME, &PostParams::default(), &empty)).await {
            Ok(Ok(_)) => info!("the Lease is released"),
            _ => {
                warn!(
                    "the Lease could not be released; another replica takes over in {:?}",
                    candidate.timing.lease
                );
            }
        }
    }
}

async fn renew(leases: Api<Lease>, wanted: Lease) -> Renewal {
    let begun = Instant::now();
    match leases.replace(NAME, &PostParams::default(), &wanted).await {
        Ok(lease) => Renewal::Written(lease, begun),
        Err(kube::Error::Api(status)) if status.code == 409 => match leases.get_opt(NAME).await {
            Ok(lease) => Renewal::Overtaken(lease),
            Err(error) => Renewal::Failed(describe(&error)),
        },
        Err(error) => Renewal::Failed(describe(&error)),
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
