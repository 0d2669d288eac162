//! What policies are told of the listeners at which they hold.

use super::Check;
use super::client_address::AddressFault;
use super::client_policies::ClientSettings;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::resources::client_policy::ClientField;
use crate::resources::{Kind, ObjectRef};
use fairway_config::model::{ListenerKey, ObjectName};
use fairway_incremental::Query;
use std::sync::Arc;

/// A listener that is served or closed, and the policies by which it treats its clients.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::compile) struct ServedListener {
    pub name: Arc<str>,
    pub key: ListenerKey,
    /// The policy that says where clients are.
    address: Option<ObjectRef>,
    /// Why that cannot be carried out. Then the listener is closed.
    pub fault: Option<AddressFault>,
    /// A policy of which nobody can say what it asks for. Then the listener is closed.
    pub unknown: Option<ObjectRef>,
    /// The policy that holds for its limits, if these cannot be understood. Then the listener is closed.
    unlimited: Option<ObjectRef>,
    /// The policy that says which TLS is spoken.
    tls: Option<ObjectRef>,
    /// Those that say how else clients are treated.
    treated_by: Vec<(ClientField, ObjectRef)>,
}

/// The listeners of an object that a Gateway serves. What they are told to do is not in it: a policy is told which policies hold, and
/// is not looked at again for an edit that changes nothing of that.
pub(in crate::compile) struct ClientsServed;

impl Query<Cluster> for ClientsServed {
    /// The Gateway, and itself or one of its ListenerSets.
    type Key = (ObjectName, ObjectRef);
    type Value = Arc<Vec<ServedListener>>;
    const STAGE: u8 = stage::PLANS;

    fn run((gateway, object): &Self::Key, reader: &mut Reader<'_>, _: &mut Made) -> Self::Value {
        let Some(report) = reader.get::<Check>(gateway) else { return Arc::default() };
        let plans = match object.kind {
            Kind::ListenerSet => {
                report.sets.get(&object.object_name()).map(|it| it.plan.listeners.as_slice())
            }
            _ => Some(report.plan.listeners.as_slice()),
        };
        let served = plans.unwrap_or_default().iter().filter(|it| it.programmed).map(|it| {
            let ClientSettings { policy, fault, unknown, tls, unlimited, treated_by, .. } =
                report.client_settings(object, &it.name);
            let (name, key, tls) = (it.name.clone(), it.key.clone(), tls.map(|(policy, ..)| policy));
            ServedListener { name, key, address: policy, fault, unknown, unlimited, tls, treated_by }
        });
        Arc::new(served.collect())
    }
}

// === impl ServedListener ===

impl ServedListener {
    /// The policy by which a field holds.
    pub(in crate::compile) fn holder(&self, field: ClientField) -> Option<&ObjectRef> {
        match field {
            ClientField::ClientAddress => self.address.as_ref(),
            ClientField::Tls => self.tls.as_ref(),
            _ => self.treated_by.iter().find(|(it, _)| *it == field).map(|(_, policy)| policy),
        }
    }

    /// Whether it serves nobody.
    pub(in crate::compile) fn is_closed(&self) -> bool {
        self.fault.is_some() || self.unknown.is_some() || self.unlimited.is_some()
    }

    /// The policy that closes it, if one does.
    pub(in crate::compile) fn closer(&self) -> Option<&ObjectRef> {
        let misunderstood = self.unknown.as_ref().or(self.unlimited.as_ref());
        misunderstood.or_else(|| self.address.as_ref().filter(|_| self.fault.is_some()))
    }
}
