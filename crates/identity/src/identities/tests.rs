use super::*;
use crate::testing::{SettableClock, TestAuthority, TestIssuer};
use crate::{BoxFuture, IssueError, Issued, TokioClock, accept, connect};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::sleep;

const LIFETIME: Duration = Duration::from_secs(600);

struct Mesh {
    issuer: Arc<TestIssuer>,
    identities: Identities,
}

fn mesh() -> Mesh {
    let clock: SharedClock = Arc::new(TokioClock::start());
    let issuer = TestIssuer::new(TestAuthority::new("cluster.local"), clock.clone(), LIFETIME);
    let identities = Identities::start(issuer.clone(), Settings { clock, ..Settings::default() });
    Mesh { issuer, identities }
}

impl Mesh {
    fn subscribe(&self, service_account: &str) -> IdentityHandle {
        self.identities.subscribe(&self.issuer.authority().id("shop", service_account))
    }
}

async fn secs(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

/// Connects two identities; both ends of the connection, or what the client or the server said.
async fn meet(
    server: &TlsIdentity,
    client: &TlsIdentity,
) -> Result<
    (tokio_rustls::server::TlsStream<DuplexStream>, tokio_rustls::client::TlsStream<DuplexStream>),
    String,
> {
    let (near, far) = duplex(64 * 1024);
    let expected = [server.id().clone()];
    match tokio::join!(accept(server, far), connect(client, near, &expected)) {
        (Ok((far, _)), Ok((near, _))) => Ok((far, near)),
        (accepted, connected) => Err(format!("server: {:?}, client: {:?}", accepted.err(), connected.err())),
    }
}

#[tokio::test(start_paused = true)]
async fn an_identity_is_there_soon_after_the_first_subscription() {
    let mesh = mesh();
    let web = mesh.subscribe("web");
    assert!(web.current().is_none(), "nothing before the issuer has answered");
    let identity = web.ready().await;
    assert_eq!(identity.id(), web.id());
    assert!(Arc::ptr_eq(&identity, &web.current().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn many_who_want_one_identity_cause_one_request() {
    let mesh = mesh();
    let handles: Vec<_> = (0..50).map(|_| mesh.subscribe("web")).collect();
    for handle in &handles {
        handle.ready().await;
    }
    assert_eq!(mesh.issuer.requests(), 1);
    assert_eq!(mesh.identities.states().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_renewed_half_way_through_its_life() {
    let mesh = mesh();
    let mut web = mesh.subscribe("web");
    let first = web.ready().await;
    secs(265).await; // 0.44 of its life
    assert_eq!(mesh.issuer.requests(), 1);
    secs(70).await; // 0.56
    assert_eq!(mesh.issuer.requests(), 2);
    web.changed().await; // the first certificate
    let second = web.current().unwrap();
    assert!(second.expires() > first.expires());
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_nobody_holds_is_forgotten() {
    let mesh = mesh();
    let web = mesh.subscribe("web");
    let clone = web.clone();
    web.ready().await;
    drop(web);
    assert_eq!(mesh.identities.states().len(), 1, "a clone still holds it");
    drop(clone);
    assert!(mesh.identities.states().is_empty());
    secs(3600).await;
    assert_eq!(mesh.issuer.requests(), 1, "no renewal");
    let again = mesh.subscribe("web");
    assert!(again.current().is_none());
    again.ready().await;
    assert_eq!(mesh.issuer.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn while_the_issuer_is_away_the_certificate_serves_until_it_ends_and_then_nothing_does() {
    let mesh = mesh();
    let mut web = mesh.subscribe("web");
    let first = web.ready().await;
    mesh.issuer.set_trouble(Some(IssueError::Unavailable("on holiday".to_owned())));
    secs(595).await;
    assert!(Arc::ptr_eq(&first, &web.current().unwrap()), "still the first");
    let attempts = mesh.issuer.requests();
    assert!((8..40).contains(&attempts), "{attempts} attempts: neither given up nor hammered");
    assert!(web.state().failure.unwrap().contains("on holiday"));

    web.changed().await; // the first certificate
    secs(6).await;
    assert!(web.current().is_none(), "expired: refuse rather than present it");
    tokio::time::timeout(Duration::from_secs(1), web.changed()).await.expect("watchers are told");
    assert_eq!(web.state().expires_in_seconds, None);

    mesh.issuer.set_trouble(None);
    let again = tokio::time::timeout(Duration::from_secs(31), web.ready()).await.unwrap();
    assert!(again.expires() > first.expires());
    assert_eq!(web.state().failure, None);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_a_year_ahead_and_is_right_again_costs_half_a_minute() {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    // Of the issuer's clock nobody has moved the hands: what it issues has ended, by this node's clock.
    let right: SharedClock = Arc::new(TokioClock::start());
    let issuer = TestIssuer::new(TestAuthority::new("cluster.local"), right, LIFETIME);
    let clock = SettableClock::start();
    let settings = Settings { clock: clock.clone(), ..Settings::default() };
    let mesh = Mesh { identities: Identities::start(issuer.clone(), settings), issuer };
    let web = mesh.subscribe("web");
    web.ready().await;
    clock.set_ahead(YEAR);
    secs(600).await;
    assert!(web.current().is_none(), "it has ended");
    clock.set_ahead(Duration::ZERO);
    tokio::time::timeout(Duration::from_secs(61), web.ready()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_the_future_is_replaced_when_the_clock_is_right_again() {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    // Node and issuer are one machine.
    let clock = SettableClock::start();
    let issuer = TestIssuer::new(TestAuthority::new("cluster.local"), clock.clone(), LIFETIME);
    let settings = Settings { clock: clock.clone(), ..Settings::default() };
    let mesh = Mesh { identities: Identities::start(issuer.clone(), settings), issuer };
    clock.set_ahead(YEAR);
    let web = mesh.subscribe("web");
    let of_the_future = web.ready().await.expires();
    clock.set_ahead(Duration::ZERO);
    // The clock is looked at every five minutes.
    secs(340).await;
    assert!(web.ready().await.expires() < of_the_future);
}

#[tokio::test(start_paused = true)]
async fn connections_live_through_renewals() {
    let mesh = mesh();
    let (web, reviews) = (mesh.subscribe("web"), mesh.subscribe("reviews"));
    let first = web.ready().await;
    let (mut far, mut near) = meet(&*reviews.ready().await, &first).await.unwrap();
    for round in 0..12u8 {
        secs(300).await;
        near.write_u8(round).await.unwrap();
        near.flush().await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), round);
    }
    assert!(mesh.issuer.requests() > 10);
    // And who still holds the configuration of then is refused now, as its certificate has ended.
    assert!(meet(&reviews.current().unwrap(), &first).await.is_err());
    meet(&reviews.current().unwrap(), &web.current().unwrap()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn new_roots_are_in_force_at_once_with_the_same_certificate() {
    let mesh = mesh();
    let mut web = mesh.subscribe("web");
    let before = web.ready().await;
    web.changed().await;
    let (old, new) = (mesh.issuer.authority(), TestAuthority::new("cluster.local"));
    let stranger = new.identity("shop", "stranger");
    assert!(meet(&before, &stranger).await.is_err());

    mesh.issuer.set_roots(&[&old, &new]);
    web.changed().await;
    let after = web.current().unwrap();
    assert!(!Arc::ptr_eq(&before, &after));
    assert_eq!((before.expires(), mesh.issuer.requests()), (after.expires(), 1));
    // The new root's certificates are accepted now (the client knows only the new root, so only the server's word counts).
    let (near, far) = duplex(64 * 1024);
    let expected = [after.id().clone()];
    let (accepted, connected) = tokio::join!(accept(&after, far), connect(&stranger, near, &expected));
    drop(connected);
    let said = accepted.map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("UnknownCA") || said.contains("alert"), "only the client objects: {said}");
}

/// Rotates the roots and has two proxies connect to each other all the while; the rounds in which that failed.
async fn failures_during_a_rotation(mesh: &Mesh, overlap: u64) -> usize {
    let other_node = Identities::start(
        mesh.issuer.clone(),
        Settings { clock: mesh.identities.0.settings.clock.clone(), ..Settings::default() },
    );
    let web = mesh.subscribe("web");
    let reviews = other_node.subscribe(&mesh.issuer.authority().id("shop", "reviews"));
    web.ready().await;
    reviews.ready().await;
    let (old, new) = (mesh.issuer.authority(), Arc::new(TestAuthority::new("cluster.local")));
    let mut failures = 0;
    for round in 0..2000 {
        if round == 100 {
            mesh.issuer.set_roots(&[&old, &new]);
        }
        if round == 110 {
            mesh.issuer.sign_with(new.clone());
        }
        if round == 110 + overlap {
            mesh.issuer.set_roots(&[&new]);
        }
        sleep(Duration::from_millis(20)).await; // enough to hear of it, too little to be renewed
        let met = match (web.current(), reviews.current()) {
            (Some(web), Some(reviews)) => {
                meet(&reviews, &web).await.is_ok() && meet(&web, &reviews).await.is_ok()
            }
            _ => false,
        };
        failures += usize::from(!met);
        sleep(Duration::from_millis(980)).await;
    }
    failures
}

#[tokio::test(start_paused = true)]
async fn a_rotation_of_the_roots_with_overlap_fails_no_handshake() {
    assert_eq!(failures_during_a_rotation(&mesh(), 660).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_root_that_is_dropped_too_early_costs_moments_not_half_a_life() {
    // The control of the test above: without the overlap a handshake fails; renewal at once heals it.
    assert_eq!(failures_during_a_rotation(&mesh(), 1).await, 1);
}

#[tokio::test(start_paused = true)]
async fn older_roots_that_arrive_late_do_not_replace_newer_ones() {
    let mesh = mesh();
    let web = mesh.subscribe("web");
    web.ready().await;
    let old = mesh.identities.bundle().unwrap();
    let authority = mesh.issuer.authority();
    mesh.issuer.set_roots(&[&authority, &TestAuthority::new("cluster.local")]);
    secs(1).await;
    mesh.identities.0.learn(old.clone());
    let known = mesh.identities.bundle().unwrap();
    assert_eq!((known.roots.len(), known.revision), (2, old.revision + 1));
}

/// Answers nobody, and counts who waits.
struct Silent {
    waiting: AtomicUsize,
    most: AtomicUsize,
    bundles: watch::Sender<Option<TrustBundle>>,
}

impl Issuer for Silent {
    fn issue(&self, _: SpiffeId, _: Vec<u8>) -> BoxFuture<'_, Result<Issued, IssueError>> {
        struct Leave<'a>(&'a AtomicUsize);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        Box::pin(async {
            let waiting = self.waiting.fetch_add(1, Ordering::Relaxed) + 1;
            let _leave = Leave(&self.waiting);
            self.most.fetch_max(waiting, Ordering::Relaxed);
            std::future::pending().await
        })
    }

    fn bundles(&self) -> watch::Receiver<Option<TrustBundle>> {
        self.bundles.subscribe()
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_hangs_is_asked_by_few_at_once_and_given_up_after_a_while() {
    let silent = Arc::new(Silent {
        waiting: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
        bundles: watch::Sender::new(None),
    });
    let identities = Identities::start(silent.clone(), Settings::default());
    let mesh = TestAuthority::new("cluster.local");
    let handles: Vec<_> =
        (0..40).map(|n| identities.subscribe(&mesh.id("shop", &format!("pod-{n}")))).collect();
    secs(5).await;
    assert_eq!((silent.waiting.load(Ordering::Relaxed), silent.most.load(Ordering::Relaxed)), (16, 16));
    secs(40).await;
    assert_eq!(silent.most.load(Ordering::Relaxed), 16);
    assert!(
        handles
            .iter()
            .all(|it| it.state().failure.is_some_and(|why| why.contains("did not answer within 10s")))
    );
    drop(handles);
    tokio::task::yield_now().await;
    assert_eq!(silent.waiting.load(Ordering::Relaxed), 0, "requests end with the interest in them");
}

#[test]
fn a_handle_is_read_on_any_thread_while_another_renews() {
    let control = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let issuer = TestAuthority::new("cluster.local").into_issuer();
    let id = issuer.authority().id("shop", "web");
    let identities = control.block_on(async { Identities::start(issuer, Settings::default()) });
    // A worker's own runtime.
    let worker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { identities.subscribe(&id).ready().await.id().clone() })
    });
    let id = control
        .block_on(async { tokio::task::spawn_blocking(move || worker.join().unwrap()).await.unwrap() });
    assert_eq!(id.service_account(), "web");
}
