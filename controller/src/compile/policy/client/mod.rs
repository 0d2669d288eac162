//! ClientPolicies: how listeners treat the connections of clients. Of several for one listener one holds for each field.
//!
//!  1. [`Decide`] decides by which policy each field holds for a Gateway or a ListenerSet and for each of its listeners, and puts it
//!     where the Gateway finds it.
//!  2. `gateway::client_policies` makes of it what each listener does; a listener for which it cannot be carried out is closed.
//!  3. [`Status`] says what became of a policy at each of its targets.

mod decide;
mod defect;
mod review;
mod status;

pub(in crate::compile) use decide::Decide;
pub(in crate::compile) use status::Status;

use super::attach::Policy;
use super::target::{Level, TargetRef};
use crate::resources::{ClientPolicy, Kind, Meta};

impl Policy for ClientPolicy {
    const KIND: Kind = Kind::ClientPolicy;
    const LEVELS: &'static [Level] = &[Level::Gateway, Level::ListenerSet, Level::Listener];

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn target_refs(&self) -> Vec<TargetRef<'_>> {
        let refs = self.spec.targets.iter().map(|it| TargetRef {
            group: &it.group,
            kind: &it.kind,
            name: &it.name,
            section: it.section_name.as_deref(),
        });
        refs.collect()
    }
}
