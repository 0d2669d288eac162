//! Thread per core: each worker is a thread with an event loop of its own, and nothing on a request's way leaves it.

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::thread::JoinHandle;

/// A worker's number, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkerId(pub usize);

/// The threads that serve. Dropped, they are not waited for.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
}

/// The number of workers without a setting: one for each processor the process may use.
pub fn default_count() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

// === impl Workers ===

impl Workers {
    /// Starts `count` threads; each makes its future on its own thread (it need not be `Send`) and runs it to its end in
    /// a current-thread runtime, inside a `LocalSet`, so that `tokio::task::spawn_local` works.
    pub fn start<F, Fut>(name: &str, count: NonZeroUsize, main: F) -> io::Result<Self>
    where
        F: Fn(WorkerId) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let mut threads = Vec::with_capacity(count.get());
        for id in 0..count.get() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let main = main.clone();
            threads.push(std::thread::Builder::new().name(format!("{name}-{id}")).spawn(move || {
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, main(WorkerId(id)));
            })?);
        }
        Ok(Self { threads })
    }

    /// Waits for every worker's future to end; `false` if one panicked.
    pub async fn join(self) -> bool {
        tokio::task::spawn_blocking(move || {
            let mut well = true;
            for thread in self.threads {
                well &= thread.join().is_ok();
            }
            well
        })
        .await
        .unwrap_or(false)
    }
}
