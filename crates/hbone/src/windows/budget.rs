//! How much all windows together may have grown.

use super::{FAR_BUDGET, MIDDLE, NEAR_BUDGET, PROCESS_FAR_BUDGET, PROCESS_NEAR_BUDGET};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What the windows of tunnels may have grown by, all together; a clone is the same budget. One for each pod of a node, so
/// that a pod whose peers do not read leaves the others theirs.
///
/// It has two parts. One is for windows up to 256 KiB, the other for what they have beyond: a few readers that were quick
/// and then stopped hold large windows, and still leave the others middling ones. No window takes more than half of what is
/// left of the second part. Where both are spent, windows stay as small as they begin: tunnels go on, and memory does not grow.
///
/// A reader that stops holds up its own tunnel and no other, also on the same connection:
///
/// ```
/// use fairway_hbone::{Connect, ConnectRequest, Pool, Request, Target, WindowBudget, client, serve, server};
/// use std::time::Duration;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy, sink};
/// use tokio::time::timeout;
///
/// /// Reads what follows a 1, and nothing of what follows another byte.
/// async fn program(request: Request) {
///     let Ok(mut tunnel) = request.accept() else { return };
///     if tunnel.read_u8().await.is_ok_and(|it| it == 1) {
///         let _ = copy(&mut tunnel, &mut sink()).await;
///         let _ = tunnel.write_u8(1).await;
///         // Dropped without this it would be reset.
///         let _ = tunnel.shutdown().await;
///     } else {
///         std::future::pending::<()>().await;
///     }
/// }
///
/// # struct Pipes(tokio::sync::mpsc::UnboundedSender<DuplexStream>);
/// # impl Connect for Pipes {
/// #     type Io = DuplexStream;
/// #     async fn connect(&self, _: std::net::SocketAddr) -> std::io::Result<DuplexStream> {
/// #         let (near, far) = tokio::io::duplex(64 << 10);
/// #         let _ = self.0.send(far);
/// #         Ok(near)
/// #     }
/// # }
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
/// # tokio::task::LocalSet::new().block_on(&runtime, async {
/// # let authority = fairway_identity::testing::TestAuthority::new("cluster.local");
/// # let (identity, served_by) = (authority.identity("shop", "client"), authority.identity("shop", "server"));
/// # let target = Target { address: "10.0.0.1:15008".parse()?, identity: served_by.id().clone() };
/// # let (_trigger, watch) = fairway_runtime::drain::channel();
/// # let (sender, mut connections) = tokio::sync::mpsc::unbounded_channel();
/// # tokio::task::spawn_local(async move {
/// #     while let Some(io) = connections.recv().await {
/// #         let (served_by, watch) = (served_by.clone(), watch.clone());
/// #         tokio::task::spawn_local(async move {
/// #             let settings = server::Settings::default();
/// #             let _ = serve(io, &served_by, &settings, &WindowBudget::new(), watch, program).await;
/// #         });
/// #     }
/// # });
/// # let connector = Pipes(sender);
/// let pool = Pool::with_budget(connector, client::Settings::default(), WindowBudget::new());
/// let request = ConnectRequest::to("10.0.0.1:80".parse::<std::net::SocketAddr>()?);
/// let mut unread = pool.open(&identity, &target, &request).await?;
/// let mut read = pool.open(&identity, &target, &request).await?;
/// let much = vec![0; 1 << 20];
///
/// unread.write_u8(0).await?;
/// assert!(timeout(Duration::from_secs(1), unread.write_all(&much)).await.is_err(), "it waits for its reader");
///
/// read.write_u8(1).await?;
/// read.write_all(&much).await?;
/// read.shutdown().await?;
/// assert_eq!(read.read_u8().await?, 1, "all of it was read");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct WindowBudget(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    /// For growth up to `MIDDLE`.
    near: AtomicUsize,
    /// For growth beyond `MIDDLE`, in bytes.
    far: AtomicUsize,
}

/// Taken from last, by all budgets.
static PROCESS: Parts =
    Parts { near: AtomicUsize::new(PROCESS_NEAR_BUDGET), far: AtomicUsize::new(PROCESS_FAR_BUDGET) };

impl WindowBudget {
    /// All of it to be had.
    pub fn new() -> Self {
        Self::with_sizes(NEAR_BUDGET as usize, FAR_BUDGET as usize)
    }

    pub(super) fn with_sizes(near: usize, far: usize) -> Self {
        Self(Arc::new(Parts { near: AtomicUsize::new(near), far: AtomicUsize::new(far) }))
    }

    /// Takes what a window needs to grow from one size to another: all of it or nothing.
    pub(super) fn take(&self, from: u32, to: u32) -> bool {
        let (near, far) = parts(from, to);
        if !self.0.take(near, far, 2) {
            return false;
        }
        if !PROCESS.take(near, far, 1) {
            self.0.give_back(near, far);
            return false;
        }
        true
    }

    /// Gives back what a window had that shrinks from one size to another.
    pub(super) fn give_back(&self, from: u32, to: u32) {
        let (near, far) = parts(to, from);
        self.0.give_back(near, far);
        PROCESS.give_back(near, far);
    }

    /// Bytes by which windows may still grow.
    #[cfg(test)]
    pub(crate) fn left(&self) -> usize {
        self.0.near.load(Relaxed) + self.0.far.load(Relaxed)
    }
}

impl Parts {
    /// Takes all of it or nothing; of the second part, no more than this share of what is left.
    fn take(&self, near: usize, far: usize, share: usize) -> bool {
        if !take(&self.near, near, 1) {
            return false;
        }
        if !take(&self.far, far, share) {
            self.near.fetch_add(near, Relaxed);
            return false;
        }
        true
    }

    fn give_back(&self, near: usize, far: usize) {
        self.near.fetch_add(near, Relaxed);
        self.far.fetch_add(far, Relaxed);
    }
}

/// How much of a growth is up to [`MIDDLE`], and how much beyond.
fn parts(from: u32, to: u32) -> (usize, usize) {
    let near = to.min(MIDDLE) - from.min(MIDDLE);
    (near as usize, (to - from - near) as usize)
}

fn take(from: &AtomicUsize, bytes: usize, share: usize) -> bool {
    let taken = |left: usize| if bytes <= left / share { Some(left - bytes) } else { None };
    from.fetch_update(Relaxed, Relaxed, taken).is_ok()
}

impl Default for WindowBudget {
    fn default() -> Self {
        Self::new()
    }
}
