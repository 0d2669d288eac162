//! What is done when somebody asks for a rotation.

use crate::admission::SameUser;
use crate::ca::{Authority, Memory, RotationRequest, Settings, Store, StoreError};
use fairway_identity::{BoxFuture, TokioClock, TrustBundle};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// A store whose requests are permits.
struct Asking {
    kept: Memory,
    requests: Arc<Semaphore>,
    saves: watch::Sender<Vec<RotationRequest>>,
}

impl Store for Asking {
    fn load(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
        self.kept.load()
    }

    fn save(&self, secret: String, request: RotationRequest) -> BoxFuture<'_, Result<(), StoreError>> {
        self.saves.send_modify(|it| it.push(request));
        self.kept.save(secret, request)
    }

    fn asked(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.requests.acquire().await.unwrap().forget() })
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_begins_a_rotation_and_another_meanwhile_is_answered_without_one() {
    let (requests, saves) = (Arc::new(Semaphore::new(0)), watch::Sender::new(Vec::new()));
    let mut saved = saves.subscribe();
    let store = Asking { kept: Memory::default(), requests: requests.clone(), saves };
    let settings = Settings { clock: Arc::new(TokioClock::start()), ..Settings::default() };
    let domain = "cluster.local".parse().unwrap();
    let authority = Authority::open(domain, settings, store, SameUser::as_this_process()).await.unwrap();
    let mut bundles = authority.bundles();
    let keeper = tokio::spawn(async move { authority.keep().await });
    let roots =
        |it: &watch::Receiver<Option<_>>| it.borrow().clone().map_or(0, |it: TrustBundle| it.roots.len());
    assert_eq!((roots(&bundles), saved.borrow().clone()), (1, vec![RotationRequest::Stays]));

    bundles.mark_unchanged();
    requests.add_permits(1);
    bundles.changed().await.unwrap();
    assert_eq!(roots(&bundles), 2);
    requests.add_permits(1);
    let answered = [RotationRequest::Stays, RotationRequest::Answered, RotationRequest::Answered];
    saved.wait_for(|it| it.len() == 3).await.unwrap();
    assert_eq!(*saved.borrow(), answered);
    assert_eq!(roots(&bundles), 2, "one rotation at a time");

    // The first goes on to its end.
    tokio::time::timeout(
        Duration::from_secs(3 * 24 * 60 * 60),
        bundles.wait_for(|it| it.as_ref().is_some_and(|it| it.roots.len() == 1)),
    )
    .await
    .unwrap()
    .unwrap();
    // A request that is left meanwhile must be heard: what is saved for other reasons does not answer it.
    assert!(saved.borrow().iter().skip(3).all(|it| *it == RotationRequest::Stays), "{:?}", *saved.borrow());
    keeper.abort();
}
