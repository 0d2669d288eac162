//! What is done when somebody asks for a rotation.

use crate::ca::{Authority, Memory, SameUser, Settings, Store, StoreError};
use fairway_identity::{Answer, TokioClock, TrustBundle};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// A store whose wishes are permits.
struct Asking {
    kept: Memory,
    wishes: Arc<Semaphore>,
    saves: watch::Sender<usize>,
}

impl Store for Asking {
    fn load(&self) -> Answer<'_, Result<Option<String>, StoreError>> {
        self.kept.load()
    }

    fn save(&self, secret: String) -> Answer<'_, Result<(), StoreError>> {
        self.saves.send_modify(|it| *it += 1);
        self.kept.save(secret)
    }

    fn asked(&self) -> Answer<'_, ()> {
        Box::pin(async { self.wishes.acquire().await.unwrap().forget() })
    }
}

#[tokio::test(start_paused = true)]
async fn a_wish_begins_a_rotation_and_another_meanwhile_is_answered_without_one() {
    let (wishes, saves) = (Arc::new(Semaphore::new(0)), watch::Sender::new(0));
    let mut saved = saves.subscribe();
    let store = Asking { kept: Memory::default(), wishes: wishes.clone(), saves };
    let settings = Settings { clock: Arc::new(TokioClock::start()), ..Settings::default() };
    let domain = "cluster.local".parse().unwrap();
    let authority = Authority::open(domain, settings, store, SameUser::as_this_process()).await.unwrap();
    let mut bundles = authority.bundles();
    let keeper = tokio::spawn(async move { authority.keep().await });
    let roots =
        |it: &watch::Receiver<Option<_>>| it.borrow().clone().map_or(0, |it: TrustBundle| it.roots.len());
    assert_eq!((roots(&bundles), *saved.borrow()), (1, 1));

    bundles.mark_unchanged();
    wishes.add_permits(1);
    bundles.changed().await.unwrap();
    assert_eq!(roots(&bundles), 2);
    wishes.add_permits(1);
    saved.wait_for(|it| *it == 3).await.unwrap();
    assert_eq!(roots(&bundles), 2, "one rotation at a time");

    // The first goes on to its end.
    tokio::time::timeout(
        Duration::from_secs(3 * 24 * 60 * 60),
        bundles.wait_for(|it| it.as_ref().is_some_and(|it| it.roots.len() == 1)),
    )
    .await
    .unwrap()
    .unwrap();
    keeper.abort();
}
