//! What a proxy keeps for the versions that stay in force after a refusal.

use super::universe::{self, Edit, at_listener, commit, edit, rule};
use super::watcher::{Refusals, names};
use super::*;
use crate::serve::Hub;
use fairway_config::Snapshot;
use fairway_config::model::{Generation, ListenerProtocol, Resource, ResourceKey, ResourceKind};
use fairway_config::stream::Proxy;
use proptest::prelude::*;
use std::collections::HashMap;

fn route_to(backends: &[&str]) -> Resource {
    route("r", vec![at_listener("shop/gw/web")], vec![rule("/", backends, None)])
}

fn web() -> Resource {
    listener("shop/gw", "web", ListenerProtocol::Http)
}

fn count(snapshot: &Snapshot, backend: &str) -> Option<usize> {
    snapshot.endpoints.get(backend).map(|it| it.endpoints.len())
}

#[tokio::test(start_paused = true)]
async fn the_backend_of_the_version_in_force_stays_and_follows_its_pods() {
    let (network, hub) = (Network::default(), Hub::new());
    let controller = network.serve(&hub);
    let both = || {
        vec![
            web(),
            backend("app/a:80", 80, None),
            endpoints("app/a:80", 1),
            backend("app/b:80", 80, None),
            endpoints("app/b:80", 1),
        ]
    };
    hub.commit([both(), vec![route_to(&["app/a:80"])]].concat(), vec![]);
    let mut proxy = Watcher::over(&network, gateway("shop/gw"));
    proxy.generation(Generation(1)).await;

    // The edit changes the backend, and is refused for another reason.
    proxy.refusals.always(route_to(&[]).key());
    hub.commit(vec![route_to(&["app/b:80"])], vec![]);
    let history = proxy.generation(Generation(2)).await;
    assert!(history.refused > 0);
    let all = [
        "Backend app/a:80",
        "Backend app/b:80",
        "Endpoints app/a:80",
        "Endpoints app/b:80",
        "Listener shop/gw/web",
        "Route HTTPRoute/shop/r",
    ];
    assert_eq!(names(&history.now), all, "nothing is taken from the version in force");

    // Its pods come and go as ever.
    hub.commit(vec![endpoints("app/a:80", 2)], vec![]);
    assert_eq!(count(&proxy.generation(Generation(3)).await.now, "app/a:80"), Some(2));

    // A new controller has never seen that version, and leaves it what it needs.
    drop(controller);
    let next = Hub::new();
    let _controller = network.serve(&next);
    next.commit([both(), vec![endpoints("app/a:80", 3), route_to(&["app/b:80"])]].concat(), vec![]);
    let history = proxy.until(|it| count(&it.now, "app/a:80") == Some(3)).await;
    assert_eq!(names(&history.now), all);

    // When the next version is taken, what only the old one needed goes.
    proxy.refusals.clear();
    next.commit(vec![route_to(&["app/b:80", "app/b:80"])], vec![]);
    let of_b = ["Backend app/b:80", "Endpoints app/b:80", "Listener shop/gw/web", "Route HTTPRoute/shop/r"];
    proxy.until(|it| names(&it.now) == of_b).await;
    assert_eq!(
        wait_for_state(&mut next.states(), "generation 2 is acknowledged", |it| it.acked == Generation(2))
            .await
            .rejected,
        vec![]
    );
}

/// Everything that is in force and names something that the controller has, has it, in the controller's version.
fn check_complete(
    proxy: &Proxy,
    now: &Snapshot,
    world: &HashMap<ResourceKey, Resource>,
    refused: &[ResourceKey],
) {
    // A tunnel carries out the authorizations of its own pods, and of Services only where they are.
    let carries_out = |resource: &Resource| match (proxy, resource) {
        (Proxy::Node(node), Resource::Workload(it)) => it.node == *node,
        (Proxy::Node(_), _) => false,
        _ => true,
    };
    for resource in now.resources().filter(carries_out) {
        for reference in resource.references() {
            let Some(wanted) = world.get(&reference) else { continue };
            let held = now.resource(&reference);
            // What was refused itself has the version that it had, or none.
            if refused.contains(&reference) {
                continue;
            }
            // A refusal has no private key sent: a certificate of the version in force stays as it is (`refused_needs`).
            if reference.kind != ResourceKind::Certificate {
                assert_eq!(held.as_ref(), Some(wanted), "{} needs {reference}", resource.key());
            }
        }
    }
}

/// Edits, and which of what they put the proxy refuses from then on.
type Step = Vec<(Edit, bool)>;

/// A world that is taken, and then edits of which some are refused.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let first = prop::collection::vec((edit(), Just(false)), 20..60);
    let later = prop::collection::vec((edit(), prop::bool::weighted(0.6)), 1..6);
    (first, prop::collection::vec(later, 1..6)).prop_map(|(first, mut later)| {
        later.insert(0, first);
        later
    })
}

/// Those that need only a part of the world.
fn proxies() -> Vec<Proxy> {
    universe::proxies().into_iter().filter(|it| *it != Proxy::Everything).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_refused_what_is_in_force_is_complete(
        steps in steps(),
        proxy in prop::sample::select(proxies()),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(run(steps, proxy));
    }
}

async fn run(steps: Vec<Step>, proxy: Proxy) {
    let (network, hub) = (Network::default(), Hub::new());
    let _controller = network.serve(&hub);
    let refusals = Refusals::default();
    let watcher = Watcher::with(&network, proxy.clone(), None, refusals.clone());
    let mut states = hub.states();
    let mut world = HashMap::new();
    let mut refused: Vec<ResourceKey> = Vec::new();
    for step in steps {
        for (edit, refuse) in &step {
            if let Edit::Put(resource) = edit {
                refused.retain(|it| *it != resource.key());
                refused.extend(refuse.then(|| resource.key()));
            }
        }
        refusals.clear();
        refused.iter().for_each(|key| refusals.always(key.clone()));
        let (upserts, mut removals) = commit(step.into_iter().map(|(edit, _)| edit).collect());
        // A removal that is refused stalls the proxy, which is another story.
        removals.retain(|key| !refused.contains(key));
        for resource in &upserts {
            world.insert(resource.key(), resource.clone());
        }
        removals.iter().for_each(|key| drop(world.remove(key)));
        let generation = hub.commit(upserts, removals);
        let settled = find_states(&mut states, |known| known.iter().any(|it| it.acked == generation));
        let Ok(known) = timeout(Duration::from_secs(3600), settled).await else { continue };
        let Some(state) = known.into_iter().find(|it| it.acked == generation) else { continue };
        // What it refused before may be offered again a while later only.
        let refused: Vec<_> = state.rejected.iter().map(|it| it.key.clone()).collect();
        check_complete(&proxy, &watcher.now().now, &world, &refused);
    }
}
