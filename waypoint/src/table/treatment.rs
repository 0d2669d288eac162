//! How a socket treats connections of which nobody knows yet for which of its listeners they are.
//!
//! Before the SNI or the Host is known, no client is cut off earlier than its own listener says: of each setting the widest holds of the
//! listeners that share the socket, and one that says nothing counts as it is without a policy.

use super::listeners::BoundListener;
use fairway_config::model::{
    ClientKeepalive, ClientLimit, ClientLimits, ClientTimeout, ClientTimeouts, ClientTreatment,
};
use std::sync::Arc;

/// The widest of each setting of these listeners; none where none of them says anything. Listeners that are closed have no say.
pub(super) fn widest(listeners: &[Arc<BoundListener>]) -> Option<Arc<ClientTreatment>> {
    let open = || listeners.iter().map(|it| &*it.listener).filter(|it| it.closed.is_none());
    let mut treatments = open().map(|it| it.treatment.as_ref());
    let first = treatments.next()?;
    if first.is_some() && treatments.clone().all(|it| it == first) {
        return first.cloned();
    }
    if first.is_none() && treatments.all(|it| it.is_none()) {
        return None;
    }
    let all: Vec<ClientTreatment> =
        open().map(|it| it.treatment.as_deref().cloned().unwrap_or_default()).collect();
    let (timeouts, limits, keepalive) = (longest(&all), largest(&all), most_patient(&all));
    // The rest is of requests, and of these the listener is known.
    Some(Arc::new(ClientTreatment { timeouts, limits, keepalive, ..ClientTreatment::default() }))
}

fn longest(all: &[ClientTreatment]) -> ClientTimeouts {
    let mut longest = ClientTimeouts::default();
    for timeout in ClientTimeout::ALL {
        let of_each = all
            .iter()
            .filter_map(|it| it.timeouts.get(timeout).or_else(|| ClientTimeouts::BUILT_IN.get(timeout)));
        let is_said = all.iter().any(|it| it.timeouts.get(timeout).is_some());
        *longest.get_mut(timeout) = of_each.max().filter(|_| is_said);
    }
    longest
}

fn most_patient(all: &[ClientTreatment]) -> ClientKeepalive {
    let built_in = ClientKeepalive::BUILT_IN;
    let each = || all.iter().map(|it| it.keepalive);
    if each().all(|it| it == ClientKeepalive::default()) {
        return ClientKeepalive::default();
    }
    ClientKeepalive {
        idle: each().filter_map(|it| it.idle.or(built_in.idle)).max(),
        interval: each().filter_map(|it| it.interval.or(built_in.interval)).max(),
        probes: each().filter_map(|it| it.probes.or(built_in.probes)).max(),
    }
}

/// What is counted for a listener by itself is not among them: nobody knows yet whose it is.
fn largest(all: &[ClientTreatment]) -> ClientLimits {
    let mut largest = ClientLimits::default();
    for limit in [ClientLimit::HeaderBytes, ClientLimit::Headers, ClientLimit::Streams] {
        let of_each: Option<Vec<u64>> = all.iter().map(|it| it.limits.get(limit)).collect();
        *largest.get_mut(limit) = of_each.and_then(|it| it.into_iter().max());
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{listener, snapshot};
    use crate::table::Tables;
    use crate::upstream::cluster::Registry;
    use fairway_config::model::{Listener, Resource};
    use std::time::Duration;

    /// How a port is treated whose listeners these are; none says nothing, and `Err` is closed.
    fn of_port(treatments: &[Result<Option<ClientTreatment>, ()>]) -> Option<ClientTreatment> {
        let listeners = treatments.iter().enumerate().map(|(index, treatment)| {
            let treated = treatment.clone().ok().flatten().map(Arc::new);
            let host = format!("{index}.example");
            let open = Listener { treatment: treated, ..listener(&format!("l{index}"), Some(&host)) };
            let listener = if treatment.is_ok() { open } else { open.close("x").unwrap() };
            Resource::Listener(Arc::new(listener))
        });
        let tables = Tables::build(&snapshot(listeners.collect()), &mut Registry::default()).unwrap();
        tables.sockets().next().unwrap().treatment().map(|it| (**it).clone())
    }

    fn says(idle: Option<u64>, headers: Option<u64>) -> ClientTreatment {
        ClientTreatment {
            timeouts: ClientTimeouts { idle: idle.map(Duration::from_secs), ..ClientTimeouts::default() },
            limits: ClientLimits { headers, body_bytes: Some(1), ..ClientLimits::default() },
            ..ClientTreatment::default()
        }
    }

    #[test]
    fn a_port_of_several_listeners_has_the_widest_of_each_and_silence_counts_as_what_is_built_in() {
        let said = |idle, headers| Ok(Some(says(idle, headers)));
        for (listeners, idle, headers) in [
            (vec![said(Some(9), Some(9)), said(Some(7), Some(50))], Some(9), Some(50)),
            (vec![said(Some(9), Some(9)), said(None, None)], Some(300), None),
            (vec![said(Some(900), Some(9)), said(None, None)], Some(900), None),
            (vec![said(Some(9), None), Ok(None)], Some(300), None),
            (vec![said(None, Some(9)), said(None, Some(8))], None, Some(9)),
            // One that is closed has no say.
            (vec![said(Some(9), Some(9)), Err(())], Some(9), Some(9)),
        ] {
            let widest = of_port(&listeners).unwrap();
            assert_eq!(widest.timeouts.idle, idle.map(Duration::from_secs), "{listeners:?}");
            assert_eq!(widest.limits.headers, headers, "{listeners:?}");
        }
        assert_eq!(of_port(&[Ok(None), Ok(None)]), None);
        assert_eq!(of_port(&[Ok(None), Err(())]), None);
        assert_eq!(of_port(&[Err(())]), None);
        let patient = |probes| {
            let keepalive = ClientKeepalive { probes, ..ClientKeepalive::default() };
            Ok(Some(ClientTreatment { keepalive, ..ClientTreatment::default() }))
        };
        for (probes, expected) in [(2, 3), (5, 5)] {
            let widest = of_port(&[patient(Some(probes)), Ok(None)]).unwrap();
            assert_eq!(
                widest.keepalive,
                ClientKeepalive { probes: Some(expected), ..ClientKeepalive::BUILT_IN }
            );
        }
        let alone = says(Some(9), Some(9));
        assert_eq!(of_port(&[Ok(Some(alone.clone()))]), Some(alone), "what is counted by itself, too");
    }
}
