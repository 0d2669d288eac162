//! Tasks whose futures are large: those of connections and of streams.

use std::future::Future;
use tokio::task::JoinHandle;

/// Runs on this thread what `make` makes; call it inside a `LocalSet`. The future is made where it stays. Given one of up to 16 KiB,
/// tokio itself would copy it some eight times on its way, and most of it is room for what is not there yet.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(tokio::task::LocalSet::new().run_until(async {
/// async fn large(text: String) -> usize {
///     let room = [0_u8; 8 << 10];
///     tokio::task::yield_now().await;
///     text.len() + room.len()
/// }
/// let task = fairway_runtime::task::spawn_local(|| large("abc".to_owned()));
/// assert_eq!(task.await.unwrap(), (8 << 10) + 3);
/// # }))
/// ```
pub fn spawn_local<F>(make: impl FnOnce() -> F) -> JoinHandle<F::Output>
where
    F: Future<Output: 'static> + 'static,
{
    let place = Box::new_uninit();
    tokio::task::spawn_local(Box::into_pin(Box::write(place, make())))
}
