//! The rules of a cluster: a Gateway's proxy is that Gateway's and nobody else's, a tunnel is its node's.

use super::authorization_index::AuthorizationIndex;
use super::own_pods::{PodRejection, ProxyProgram};
use super::pod_streams::{PodStreams, STREAMS_EACH};
use super::reviewed::Reviewed;
use crate::admission::{Caller, Entitlement, NotEntitled};
use crate::serve::{Admission, Peer, Refused, StreamLifetime};
use fairway_config::model::ObjectName;
use fairway_config::stream::{Proxy, Subscription};
use fairway_identity::{BoxFuture, SpiffeId};
use std::sync::Arc;
use tonic::Status;

/// Who may have configuration: a Gateway's holds the keys of its certificates, a node's says who lives there.
#[derive(Clone, Debug)]
pub struct ClusterAdmission {
    authorization_index: Arc<AuthorizationIndex>,
    ztunnel: ObjectName,
    program: ProxyProgram,
    streams: PodStreams,
}

/// Who may have identities: a proxy its own, a tunnel those of the captured pods of its node.
#[derive(Clone, Debug)]
pub struct ClusterEntitlement {
    authorization_index: Arc<AuthorizationIndex>,
    ztunnel: ObjectName,
    program: ProxyProgram,
}

// === impl ClusterAdmission ===

impl ClusterAdmission {
    /// `ztunnel` is the service account of the tunnels, and the name of their DaemonSet.
    pub fn new(
        authorization_index: Arc<AuthorizationIndex>,
        ztunnel: ObjectName,
        program: ProxyProgram,
    ) -> Self {
        Self { authorization_index, ztunnel, program, streams: PodStreams::default() }
    }

    fn decide(&self, reviewed: &Reviewed, asked: &Proxy) -> Result<(), Refused> {
        let account = &reviewed.service_account;
        match asked {
            Proxy::Gateway(gateway) => match self.authorization_index.gateway_of(account) {
                Some(own) if own == *gateway => {
                    self.authorization_index.is_proxy(reviewed, &self.program)?;
                    match self.authorization_index.is_held(gateway) {
                        true => Err(Refused::Unavailable(format!(
                            "Gateway {gateway} cannot be read, so its proxies keep the configuration that they have"
                        ))),
                        false => Ok(()),
                    }
                }
                Some(own) => Err(Refused::Forbidden(format!(
                    "service account {account} is that of Gateway {own}; it may not have Gateway {gateway}"
                ))),
                None => Err(Refused::Forbidden(format!(
                    "service account {account} is not one that was made for a Gateway; it may not have Gateway {gateway}"
                ))),
            },
            Proxy::Node(node) if *account == self.ztunnel => {
                match node_of(reviewed, &self.authorization_index) {
                    Some(own) if own == *node => {
                        Ok(self.authorization_index.is_tunnel(reviewed, &self.ztunnel.name)?)
                    }
                    Some(own) => {
                        Err(Refused::Forbidden(format!("it runs on node {own}; it may not have node {node}")))
                    }
                    None => Err(Refused::Forbidden(format!(
                        "it is not known on which node pod {} runs",
                        reviewed.pod.name
                    ))),
                }
            }
            Proxy::Node(_) => Err(Refused::Forbidden(format!(
                "service account {account} may not have a node, only {} may",
                self.ztunnel
            ))),
            Proxy::Everything => {
                Err(Refused::Forbidden("nobody may have everything in a cluster".to_owned()))
            }
        }
    }
}

impl Admission for ClusterAdmission {
    fn admit(&self, peer: Peer<'_>, subscription: &Subscription) -> Result<StreamLifetime, Refused> {
        let Some(reviewed) = peer.extensions.get::<Arc<Reviewed>>() else {
            return Err(Refused::Forbidden("it is not known who asks".to_owned()));
        };
        self.decide(reviewed, &subscription.proxy)?;
        let counted = self.streams.admit(&reviewed.pod.uid).ok_or_else(|| {
            Refused::Forbidden(format!(
                "pod {} has subscribed {STREAMS_EACH} times already",
                reviewed.pod.name
            ))
        })?;
        let (admission, reviewed, proxy) = (self.clone(), reviewed.clone(), subscription.proxy.clone());
        Ok(StreamLifetime::until(async move {
            let _counted = counted;
            tokio::select! {
                () = reviewed.expired() => {
                    Status::unauthenticated("the token with which this stream began has expired; come again with a new one")
                }
                refused = admission.turned_away(&reviewed, &proxy) => Status::from(refused),
            }
        }))
    }
}

impl ClusterAdmission {
    /// Waits until a proxy that was let in is not to be any more: its pod is gone, or runs something else.
    async fn turned_away(&self, reviewed: &Reviewed, proxy: &Proxy) -> Refused {
        let mut pod_changes = self.authorization_index.pod_changes();
        loop {
            if let Err(refused) = self.decide(reviewed, proxy) {
                return refused;
            }
            if pod_changes.changed().await.is_err() {
                return Refused::Forbidden("the controller is ending".to_owned());
            }
        }
    }
}

impl From<PodRejection> for Refused {
    fn from(doubt: PodRejection) -> Self {
        Self::Forbidden(doubt.to_string())
    }
}

// === impl ClusterEntitlement ===

impl ClusterEntitlement {
    /// `ztunnel` is the service account of the tunnels, and the name of their DaemonSet.
    pub fn new(
        authorization_index: Arc<AuthorizationIndex>,
        ztunnel: ObjectName,
        program: ProxyProgram,
    ) -> Self {
        Self { authorization_index, ztunnel, program }
    }

    fn decide(&self, caller: &Caller, id: &SpiffeId) -> Result<(), NotEntitled> {
        let Caller::Proxy(reviewed) = caller else { return Err(NotEntitled::Unknown) };
        let account = &reviewed.service_account;
        if *account == self.ztunnel {
            let node = node_of(reviewed, &self.authorization_index)
                .ok_or_else(|| NotEntitled::UnknownNode(reviewed.pod.name.clone()))?;
            self.authorization_index
                .is_tunnel(reviewed, &self.ztunnel.name)
                .map_err(NotEntitled::Doubtful)?;
            return match self.authorization_index.lives_on(id, &node) {
                true => Ok(()),
                false => Err(NotEntitled::NotOnNode(node)),
            };
        }
        if self.authorization_index.gateway_of(account).is_none() {
            return Err(NotEntitled::NotAProxy(account.clone()));
        }
        self.authorization_index.is_proxy(reviewed, &self.program).map_err(NotEntitled::Doubtful)?;
        match (id.namespace(), id.service_account()) == (&*account.namespace, &*account.name) {
            true => Ok(()),
            false => Err(NotEntitled::NotItsOwn(account.clone())),
        }
    }
}

impl Entitlement for ClusterEntitlement {
    fn check<'a>(&'a self, caller: &'a Caller, id: &'a SpiffeId) -> BoxFuture<'a, Result<(), NotEntitled>> {
        Box::pin(std::future::ready(self.decide(caller, id)))
    }
}

/// The node of whoever shows a token. Older API servers do not say it; then it is the one its pod was seen on.
fn node_of(reviewed: &Reviewed, authorization_index: &AuthorizationIndex) -> Option<Arc<str>> {
    reviewed.node.clone().or_else(|| authorization_index.node_of(&reviewed.pod.uid))
}
