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
use super::problem::{Problem, Severity};
use super::proxy::ProxyPods;
use super::route::budget::WithoutRoom;
use super::waypoint::Waypoint;
use super::workload::PodIdentity;
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
    /// What is wrong.
    pub problems: Vec<Problem>,
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
    /// Notes an error.
    pub(super) fn error(
        &mut self,
        object: &ObjectRef,
        field: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.problem(Severity::Error, object, field, message, remedy);
    }

    /// Notes a warning.
    pub(super) fn warn(
        &mut self,
        object: &ObjectRef,
        field: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.problem(Severity::Warning, object, field, message, remedy);
    }

    fn problem(
        &mut self,
        severity: Severity,
        object: &ObjectRef,
        field: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (field, message, remedy) = (field.into(), message.into(), remedy.into());
        self.problems.push(Problem { severity, object: object.clone(), field, message, remedy });
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
