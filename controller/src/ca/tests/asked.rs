//! What is done when somebody asks for a rotation.

use crate::ca::{Authority, Memory, SameUser, Settings, Store, StoreError, Wish};
use fairway_identity::{Answer, TokioClock, TrustBundle};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// A store whose wishes are permits.
struct Asking {
    kept: Memory,
    wishes: Arc<Semaphore>,
    saves: watch::Sender<Vec<Wish>>,
}

impl Store for Asking {
    fn load(&self) -> Answer<'_, Result<Option<String>, StoreError>> {
        self.kept.load()
    }

    fn save(&self, secret: String, wish: Wish) -> Answer<'_, Result<(), StoreError>> {
        self.saves.send_modify(|it| it.push(wish));
        self.kept.save(secret, wish)
    }

    fn asked(&self) -> Answer<'_, ()> {
        Box::pin(async { self.wishes.acquire().await.unwrap().forget() })
    }
}

#[tokio::test(start_paused = true)]
async fn a_wish_begins_a_rotation_and_another_meanwhile_is_answered_without_one() {
    let (wishes, saves) = (Arc::new(Semaphore::new(0)), watch::Sender::new(Vec::new()));
    let mut saved = saves.subscribe();
    let store = Asking { kept: Memory::default(), wishes: wishes.clone(), saves };
    let settings = Settings { clock: Arc::new(TokioClock::start()), ..Settings::default() };
    let domain = "cluster.local".parse().unwrap();
    let authority = Authority::open(domain, settings, store, SameUser::as_this_process()).await.unwrap();
    let mut bundles = authority.bundles();
    let keeper = tokio::spawn(async move { authority.keep().await });
    let roots =
        |it: &watch::Receiver<Option<_>>| it.borrow().clone().map_or(0, |it: TrustBundle| it.roots.len());
    assert_eq!((roots(&bundles), saved.borrow().clone()), (1, vec![Wish::Stays]));

    bundles.mark_unchanged();
    wishes.add_permits(1);
    bundles.changed().await.unwrap();
    assert_eq!(roots(&bundles), 2);
    wishes.add_permits(1);
    let answered = [Wish::Stays, Wish::Answered, Wish::Answered];
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
    // A wish that is left meanwhile must be heard: what is saved for other reasons does not answer it.
    assert!(saved.borrow().iter().skip(3).all(|it| *it == Wish::Stays), "{:?}", *saved.borrow());
    keeper.abort();
}
