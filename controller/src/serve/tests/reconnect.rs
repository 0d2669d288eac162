//! Interruptions: of the connection, of the controller, of the proxy.

use super::network::Controller;
use super::watcher::{Refusals, names};
use super::*;
use crate::serve::{Admission, Hub, Peer, Refused, StreamLifetime};
use fairway_config::model::{Generation, Resource};
use fairway_config::stream::client::StateFile;
use fairway_config::stream::{Proxy, Subscription};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tonic::Status;

fn backends(count: u16, port: u16) -> Vec<Resource> {
    (0..count).map(|i| backend(&format!("shop/s{i}:80"), port, None)).collect()
}

#[tokio::test(start_paused = true)]
async fn after_an_interruption_only_the_difference_is_sent() {
    let (network, hub) = (Network::default(), Hub::new());
    let _controller = network.serve(&hub);
    hub.commit(backends(1000, 80), vec![]);
    let mut proxy = Watcher::over(&network, Proxy::Everything);
    proxy.generation(Generation(1)).await;
    let all = network.bytes_to_proxies();

    network.cut();
    hub.commit(backends(1, 81), vec![backends(2, 80)[1].key()]);
    let history = proxy.generation(Generation(2)).await;
    let difference = network.bytes_to_proxies() - all;
    assert!(all > 60_000 && difference < 1000, "{all} first, {difference} then");
    assert_eq!(history.applied[1].1.len(), 2);
    assert_eq!(history.now.backends.len(), 999);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_controller_counts_anew_and_sends_only_what_differs() {
    let network = Network::default();
    let hub = Hub::new();
    let controller = network.serve(&hub);
    hub.commit(backends(1000, 80), vec![]);
    for port in 81..90 {
        hub.commit(backends(1, port), vec![]);
    }
    let mut proxy = Watcher::over(&network, Proxy::Everything);
    proxy.generation(Generation(10)).await;
    drop(controller);
    proxy.progress.wait_for(|it| !it.connected).await.unwrap();
    assert_eq!(proxy.now().now.backends.len(), 1000, "goes on with what it has");

    // It is there but has not compiled yet: that must not look like "there is nothing".
    let before = network.bytes_to_proxies();
    let restarted = Hub::new();
    let _controller = network.serve(&restarted);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((proxy.now().now.backends.len(), proxy.now().applied.len()), (1000, 1));

    let mut again = backends(1000, 80);
    again[0] = backend("shop/s0:80", 89, None);
    again[1] = backend("shop/s1:80", 7, None);
    again.pop();
    restarted.commit(again, vec![]);
    let history = proxy.generation(Generation(1)).await;
    let changes: Vec<_> = history.applied[1].1.iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["Backend shop/s1:80", "Backend shop/s999:80"]);
    assert!(network.bytes_to_proxies() - before < 1000);
    let progress = proxy.progress.wait_for(|it| it.generation == Generation(1)).await.unwrap().clone();
    assert!(progress.connected && progress.last_error.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_proxy_waits_for_a_controller_that_comes_late() {
    let network = Network::default();
    let mut proxy = Watcher::over(&network, Proxy::Everything);
    let progress = proxy.progress.wait_for(|it| it.last_error.is_some()).await.unwrap().clone();
    assert!(!progress.connected && progress.generation == Generation(0));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let hub = Hub::new();
    let _controller = network.serve(&hub);
    hub.commit(backends(1, 80), vec![]);
    let start = tokio::time::Instant::now();
    proxy.generation(Generation(1)).await;
    assert!(start.elapsed() <= Duration::from_secs(5), "waits are bounded");
}

#[tokio::test(start_paused = true)]
async fn a_restarted_proxy_serves_without_a_controller_and_then_gets_only_the_difference() {
    let mut stage = Restart::after(backends(1000, 80)).await;
    stage.controller = None;

    let restarted = tokio::time::Instant::now();
    let mut proxy = stage.start(Refusals::default());
    let restored = proxy.generation(Generation(1)).await;
    assert!(restarted.elapsed() >= INITIAL_FETCH_TIMEOUT && restarted.elapsed() < 2 * INITIAL_FETCH_TIMEOUT);
    assert_eq!((restored.now.backends.len(), restored.applied[0].1.len()), (1000, 1000));

    let before = stage.network.bytes_to_proxies();
    let _controller = stage.network.serve(&{
        let hub = Hub::new();
        hub.commit(backends(1001, 80), vec![]);
        hub
    });
    let history = proxy.until(|it| it.now.backends.len() == 1001).await;
    assert_eq!(history.applied[1].1.len(), 1);
    assert!(stage.network.bytes_to_proxies() - before < 1000);
}

/// How long a restarted proxy waits for a controller.
const INITIAL_FETCH_TIMEOUT: Duration = Duration::from_secs(5);

fn state_file(path: &Path) -> StateFile {
    StateFile::new(path.to_owned(), INITIAL_FETCH_TIMEOUT)
}

/// A controller, and a proxy that has gone and left its file.
struct Restart {
    directory: TempDir,
    network: Network,
    hub: Arc<Hub>,
    controller: Option<Controller>,
}

impl Restart {
    async fn after(resources: Vec<Resource>) -> Self {
        let (network, hub) = (Network::default(), Hub::new());
        let controller = Some(network.serve(&hub));
        hub.commit(resources, vec![]);
        let it = Self { directory: tempfile::tempdir().unwrap(), network, hub, controller };
        let mut proxy = it.start(Refusals::default());
        proxy.generation(Generation(1)).await;
        let written = async {
            while !it.file().exists() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(LIMIT, written).await.unwrap_or_else(|_| panic!("not within {LIMIT:?}: the state file"));
        it
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("configuration")
    }

    fn start(&self, refusals: Refusals) -> Watcher {
        Watcher::with(&self.network, Proxy::Everything, Some(state_file(&self.file())), refusals)
    }
}

/// A tunnel that was killed within a second of a commit came back with the configuration before it, and spoke to a pod that had
/// just joined the mesh in plaintext.
#[tokio::test(start_paused = true)]
async fn what_a_killed_proxy_did_not_write_any_more_is_known_before_it_serves_again() {
    let stage = Restart::after(backends(3, 80)).await;
    stage.hub.commit(backends(1, 81), vec![backends(3, 80)[2].key()]);

    let before = stage.network.bytes_to_proxies();
    let mut proxy = stage.start(Refusals::default());
    proxy.generation(Generation(2)).await;
    tokio::time::sleep(2 * INITIAL_FETCH_TIMEOUT).await;
    let history = proxy.now();
    let applied: Vec<_> =
        history.applied.iter().map(|(generation, changes)| (generation.0, changes.len())).collect();
    assert_eq!(applied, [(2, 2)], "nothing older, and to whom nothing was applied all is new");
    assert_eq!(names(&history.now), ["Backend shop/s0:80", "Backend shop/s1:80"]);
    assert!(stage.network.bytes_to_proxies() - before < 500, "only the difference is sent");
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_run_kept_and_this_one_refuses_is_asked_for_again() {
    let stage = Restart::after(backends(3, 80)).await;
    stage.hub.commit(backends(1, 81), vec![]);

    let refusals = Refusals::default();
    refusals.always(backends(3, 80)[2].key());
    let mut proxy = stage.start(refusals);
    let history = proxy.generation(Generation(2)).await;
    assert_eq!(names(&history.now), ["Backend shop/s0:80", "Backend shop/s1:80"]);
}

#[tokio::test(start_paused = true)]
async fn a_difference_that_is_refused_after_a_restart_leaves_what_the_earlier_run_had() {
    let stage = Restart::after(backends(2, 80)).await;
    stage.hub.commit(backends(1, 666), vec![]);

    let refusals = Refusals::default();
    refusals.backend_with_port(backends(1, 80)[0].key(), 666);
    let mut proxy = stage.start(refusals);
    let history = proxy.until(|it| it.now.backends.len() == 2).await;
    assert_eq!(history.now.backends.get("shop/s0:80").map(|it| it.port), Some(80));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_file_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("configuration");
    std::fs::write(&file, "rubbish").unwrap();
    let (network, hub) = (Network::default(), Hub::new());
    let _controller = network.serve(&hub);
    hub.commit(backends(1, 80), vec![]);
    let mut proxy = Watcher::with(&network, Proxy::Everything, Some(state_file(&file)), Refusals::default());
    let history = proxy.generation(Generation(1)).await;
    assert_eq!(names(&history.now), ["Backend shop/s0:80"]);
}

/// Lets everybody in for an hour, and counts how often.
#[derive(Clone, Default)]
struct ForAnHour(Arc<AtomicUsize>);

impl Admission for ForAnHour {
    fn admit(&self, _: Peer<'_>, _: &Subscription) -> Result<StreamLifetime, Refused> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(StreamLifetime::until(async {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            Status::unauthenticated("the token has expired")
        }))
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_token_and_is_renewed_without_anything_being_lost_or_sent_again() {
    let (network, hub, admission) = (Network::default(), Hub::new(), ForAnHour::default());
    let _controller = network.serve_with(&hub, admission.clone());
    hub.commit(backends(1000, 80), vec![]);
    let mut proxy = Watcher::over(&network, Proxy::Everything);
    proxy.generation(Generation(1)).await;
    let all = network.bytes_to_proxies();

    tokio::time::sleep(Duration::from_secs(10 * 3600 + 600)).await;
    assert_eq!(admission.0.load(Ordering::Relaxed), 11);
    let again = network.bytes_to_proxies() - all;
    // Most of it is that the connection is asked whether it is still there.
    assert!(again < all, "{again} bytes for ten renewals, {all} for everything");
    assert_eq!(proxy.now().now.backends.len(), 1000);
    assert!(
        proxy.now().applied.iter().skip(1).all(|(_, changes)| changes.is_empty()),
        "nothing happened in between"
    );

    // What changes while it is away is there at once.
    let began = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_secs(3000)).await;
    hub.commit(backends(1, 81), vec![]);
    proxy.generation(Generation(2)).await;
    assert!(began.elapsed() < Duration::from_secs(3001), "{:?}", began.elapsed());
    assert!(hub.current_states().len() == 1, "one subscriber, and not eleven");
}

/// A replica that lost the Lease while the API server was slow went on with proxies whose tokens were reviewed only then: the leader
/// never heard of them, and their Gateways were not programmed.
#[tokio::test(start_paused = true)]
async fn whoever_comes_by_an_old_connection_to_a_replica_that_no_longer_leads_is_sent_away() {
    let (network, hub) = (Network::default(), Hub::new());
    let _before = network.serve(&hub);
    hub.commit(backends(1, 80), vec![]);
    hub.dismiss();
    let mut proxy = Watcher::with(&network, Proxy::Everything, None, Refusals::default());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(proxy.now().applied.is_empty() && hub.current_states().is_empty(), "{:?}", hub.current_states());
    let _next_term = network.serve(&hub);
    network.cut();
    proxy.generation(Generation(1)).await;
    assert_eq!(hub.current_states().len(), 1);
}
