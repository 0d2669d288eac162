//! What proxies have of a policy.

use super::is_enforced;
use super::values::Compile;
use crate::compile::names::authentication::AuthenticationForm;
use crate::compile::program::{Cluster, Made, Reader};
use crate::compile::stage;
use crate::resources::{AuthenticationPolicy, Kind, ObjectRef};
use fairway_config::model::{Authentication, Demands, ObjectName, Resource};
use fairway_incremental::{OfInput, Query};
use fairway_policy::Mode;
use std::sync::Arc;

/// Makes what proxies ask clients for, and what closes where that cannot be carried out.
pub(in crate::compile) struct Authenticate;

impl Query<Cluster> for Authenticate {
    type Key = ObjectName;
    type Value = ();
    const STAGE: u8 = stage::SERVICES;

    fn run(name: &ObjectName, reader: &mut Reader<'_>, made: &mut Made) {
        let Some(policy) = reader.input::<AuthenticationPolicy>(name) else { return };
        let mode = if is_enforced(&policy) { Mode::Enforce } else { Mode::Observe };
        // Whole or closed: a method that cannot be carried out is not left out.
        let demands = match &reader.get::<Compile>(name).methods {
            Some(methods) => Demands::Credentials(methods.clone()),
            None => Demands::Closed,
        };
        for (form, demands) in
            [(AuthenticationForm::Asking, demands), (AuthenticationForm::Closed, Demands::Closed)]
        {
            let name = form.key(name).as_arc();
            made.resources.push(Resource::Authentication(Arc::new(Authentication { name, mode, demands })));
        }
    }
}

impl OfInput<Cluster> for Authenticate {
    fn of_input(name: &ObjectRef) -> Option<Self::Key> {
        (name.kind == Kind::AuthenticationPolicy).then(|| name.object_name())
    }
}
