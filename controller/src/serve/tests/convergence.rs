//! Whatever is committed, and however often connections break: in the end each proxy has what it needs.

use super::universe::{Edit, commit, edit, proxies};
use super::*;
use crate::serve::Hub;
use fairway_config::model::{Resource, ResourceKey};
use fairway_config::stream::Proxy;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Edit>),
    Cut,
    /// Lets the tasks run a little, so that the next step meets them in the middle of something.
    Run(u8),
    RestartProxies,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => proptest::collection::vec(edit(), 0..6).prop_map(Step::Commit),
        2 => Just(Step::Cut),
        3 => any::<u8>().prop_map(Step::Run),
        1 => Just(Step::RestartProxies),
    ]
}

fn resources(snapshot: &fairway_config::Snapshot) -> BTreeMap<ResourceKey, Resource> {
    snapshot.resources().map(|it| (it.key(), it)).collect()
}

async fn live_through(steps: Vec<Step>) {
    let (network, hub) = (Network::default(), Hub::new());
    let _controller = network.serve(&hub);
    let watch = |it: &Proxy| Watcher::over(&network, it.clone());
    let mut watchers: Vec<_> = proxies().iter().map(watch).collect();
    for step in steps {
        match step {
            Step::Commit(edits) => {
                let (upserts, removals) = commit(edits);
                hub.commit(upserts, removals);
            }
            Step::Cut => network.cut(),
            Step::Run(times) => {
                for _ in 0..times {
                    tokio::task::yield_now().await;
                }
            }
            Step::RestartProxies => watchers = proxies().iter().map(watch).collect(),
        }
    }
    hub.commit(vec![], vec![]);
    for (proxy, watcher) in proxies().iter().zip(&mut watchers) {
        let expected = hub.state().scope(proxy);
        let history = watcher.until(|it| !it.applied.is_empty() && resources(&it.now) == expected).await;
        assert_eq!(history.refused, 0);
    }
    // And the hub knows that they have.
    wait_for_states(&mut hub.states(), "every proxy has acknowledged the last generation", |known| {
        known.len() == watchers.len() && known.iter().all(|it| it.acked == hub.generation())
    })
    .await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn in_the_end_every_proxy_has_its_scope(steps in proptest::collection::vec(step(), 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(live_through(steps));
    }
}
