//! What a unit makes.

use super::authorization::Guarded;
use super::backend_tls::{ServiceTls, Validation};
use super::binding::Binding;
use super::certificate::KeyPair;
use super::choice::Choice;
use super::conflict::{ListenerLosers, ServiceHolders};
use super::gateway::{GatewayPlan, GatewayReport, ListenerSetPlan};
use super::index::IndexKey;
use super::output::Proxy;
use super::proxy::ProxyPods;
use super::route::budget::WithoutRoom;
use super::waypoint::Waypoint;
use super::workload::PodIdentity;
use crate::diagnostic::Diagnostic;
use crate::resources::ObjectRef;
use crate::status::ObjectStatus;
use fairway_config::model::Resource;
use std::sync::Arc;

/// What a unit makes.
#[derive(Clone, Debug, Default)]
pub(super) struct Evaluation {
    /// What later units may read.
    pub value: Value,
    /// The resources that are this unit's.
    pub resources: Vec<Resource>,
    /// The statuses that are this unit's.
    pub statuses: Vec<(ObjectRef, ObjectStatus)>,
    /// The proxies this unit wants.
    pub proxies: Vec<Proxy>,
    /// What is wrong, and with which object.
    pub problems: Vec<(ObjectRef, Diagnostic)>,
    /// The sets it puts objects in.
    pub index: Vec<(IndexKey, ObjectRef)>,
}

/// What later units may read of a unit; compared to know whether they have to run again.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Value {
    #[default]
    Nothing,
    GatewayReport(Arc<GatewayReport>),
    Gateway(Arc<GatewayPlan>),
    ListenerSet(Arc<ListenerSetPlan>),
    KeyPair(Arc<KeyPair>),
    Binding(Arc<Binding>),
    ListenerLosers(Arc<ListenerLosers>),
    ServiceHolders(Arc<ServiceHolders>),
    Carrier(Arc<ObjectRef>),
    ProxyPods(Arc<ProxyPods>),
    Choice(Arc<Choice>),
    Waypoint(Arc<Waypoint>),
    Pod(Arc<PodIdentity>),
    Guarded(Arc<Guarded>),
    Validation(Arc<Validation>),
    ServiceTls(Arc<ServiceTls>),
    PatternCost(u64),
    WithoutRoom(Arc<WithoutRoom>),
}

// === impl Evaluation ===

impl Evaluation {
    /// Adds what is wrong with an object.
    pub(super) fn report(&mut self, object: &ObjectRef, diagnostic: Diagnostic) {
        self.problems.push((object.clone(), diagnostic.about(object)));
    }

    /// Whether it made nothing at all.
    pub(super) fn is_empty(&self) -> bool {
        self.value == Value::Nothing
            && self.resources.is_empty()
            && self.statuses.is_empty()
            && self.proxies.is_empty()
            && self.problems.is_empty()
            && self.index.is_empty()
    }
}
