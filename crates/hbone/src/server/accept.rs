//! One connection of a peer, from its first byte to its last tunnel.

use super::request::answer;
use super::{Request, ServeError, Settings};
use crate::windows::{self, Role, WindowBudget, Windows, Wire};
use crate::{ConnectRequest, http2};
use bytes::Bytes;
use fairway_identity::{HandshakeError, SpiffeId, TlsIdentity};
use fairway_runtime::drain::{self, Phase};
use fairway_runtime::http2::{TooManyControlFrames, Watched};
use fairway_runtime::task;
use h2::server::Connection;
use http::StatusCode;
use std::pin::Pin;
use std::rc::Rc;
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, timeout};

/// Serves a peer's connection: each tunnel it asks for goes to `handler`, whose future runs as a task of this thread.
/// Returns when the connection and its tunnels have ended. Must run inside a `LocalSet`. `budget` is what the windows of its
/// tunnels may grow by, together with those of other connections that share it.
pub async fn serve<Io, H, F>(
    io: Io,
    tls: &TlsIdentity,
    settings: &Settings,
    budget: &WindowBudget,
    drain: drain::Watch,
    handler: H,
) -> Result<(), ServeError>
where
    Io: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request) -> F,
    F: Future<Output = ()> + 'static,
{
    serve_known(io, tls, settings, budget, drain, |_| Some(()), handler).await
}

/// Like [`serve`]; `known` is told once who the peer is, after which it no longer costs a handshake. What it returns is kept for as long as
/// the connection; `None` ends it, because the peer has too many.
pub async fn serve_known<Io, K, H, F>(
    io: Io,
    tls: &TlsIdentity,
    settings: &Settings,
    budget: &WindowBudget,
    drain: drain::Watch,
    known: impl FnOnce(&SpiffeId) -> Option<K>,
    handler: H,
) -> Result<(), ServeError>
where
    Io: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request) -> F,
    F: Future<Output = ()> + 'static,
{
    let windows = Windows::new(budget);
    // Boxed: its state is large, and gone once tunnels flow.
    let handshake = Box::pin(handshake(io, tls, settings, &windows));
    let (connection, peer, expires) =
        timeout(settings.handshake_timeout, handshake).await.map_err(|_| ServeError::HandshakeTimeout)??;
    let _counted = known(&peer).ok_or(ServeError::TooManyConnections)?;
    let expired = Box::pin(fairway_identity::reached(&**tls.clock(), expires));
    tunnels(connection, peer, expired, settings, windows, drain, handler).await
}

async fn handshake<Io: AsyncRead + AsyncWrite + Unpin>(
    io: Io,
    tls: &TlsIdentity,
    settings: &Settings,
    windows: &Windows,
) -> Result<
    (Box<Connection<impl AsyncRead + AsyncWrite + Unpin + use<Io>, Bytes>>, SpiffeId, SystemTime),
    ServeError,
> {
    let (stream, peer) = fairway_identity::accept(tls, io).await?;
    let expires = fairway_identity::peer_expires(stream.get_ref().1.peer_certificates())
        .map_err(HandshakeError::from)?;
    let connection = h2::server::Builder::new()
        .initial_window_size(windows::UNLIMITED)
        .initial_connection_window_size(windows::of_connection(settings.max_streams))
        .data_frame_budget(windows::SMALL_FRAMES)
        .max_frame_size(http2::FRAME)
        .max_header_list_size(16 << 10)
        .max_concurrent_streams(settings.max_streams)
        .max_send_buffer_size(http2::SEND_BUFFER)
        .handshake(Wire::new(Watched::client(stream), Role::Server, windows.updates.clone()))
        .await?;
    Ok((Box::new(connection), peer, expires))
}

async fn tunnels<Io, H, F>(
    // Boxed, or a future's arguments and its state would hold these kilobytes twice.
    mut connection: Box<Connection<Io, Bytes>>,
    peer: SpiffeId,
    mut expired: Pin<Box<impl Future<Output = ()>>>,
    settings: &Settings,
    windows: Windows,
    drain: drain::Watch,
    handler: H,
) -> Result<(), ServeError>
where
    Io: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request) -> F,
    F: Future<Output = ()> + 'static,
{
    let dead = http2::until_dead(connection.ping_pong(), settings.keepalive, || ());
    let draining = drain.reached(Phase::Draining);
    let closing = drain.reached(Phase::Closing);
    let forced = drain.reached(Phase::Forced);
    let idle = sleep(settings.unused);
    tokio::pin!(dead, draining, closing, forced, idle);
    let (mut used, mut told) = (false, false);
    // Whether a tunnel was open since the last look.
    let mut carried = false;
    // Its clones are with the handlers: their number is how many have not ended.
    let handlers = Rc::new(());
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            // GOAWAY: the peer opens new tunnels elsewhere, those that are open go on. A connection that came during the
            // drain is told after its first tunnel: told at once, its peer would never get anywhere.
            () = &mut draining, if used && !told => {
                told = true;
                connection.graceful_shutdown();
                continue;
            }
            () = &mut closing, if !told => {
                told = true;
                connection.graceful_shutdown();
                continue;
            }
            // The peer's certificate has ended: it shows another one before it opens a tunnel again.
            () = &mut expired, if !told => {
                told = true;
                connection.graceful_shutdown();
                continue;
            }
            // One that carries nothing for so long is of no use to anybody: a peer that needs one opens another, and opens none without need.
            () = &mut idle, if !told => {
                if Rc::strong_count(&handlers) == 1 && !carried {
                    told = true;
                    connection.graceful_shutdown();
                } else {
                    carried = Rc::strong_count(&handlers) > 1;
                    idle.as_mut().reset(Instant::now() + settings.idle);
                }
                continue;
            }
            () = &mut forced => return Err(ServeError::CutOff),
            () = &mut dead => return Err(ServeError::Dead),
        };
        let Some(accepted) = accepted else { return Ok(()) };
        let (message, respond) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if error.get_io().is_some_and(|it| it.kind() == TooManyControlFrames::KIND) => {
                return Err(ServeError::ControlFrames);
            }
            // A peer that goes when nothing of its own is left has ended well, whatever we were still writing to it.
            Err(error) if error.is_io() && Rc::strong_count(&handlers) == 1 => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        (used, carried) = (true, true);
        if Rc::strong_count(&handlers) > 2 * settings.max_streams as usize {
            return Err(ServeError::Flood);
        }
        let (parts, body) = message.into_parts();
        match ConnectRequest::from_http(&parts) {
            Ok(connect_request) => {
                let running = handlers.clone();
                let request = Request::new(peer.clone(), connect_request, body, respond, windows.clone());
                task::spawn_local(|| {
                    let handled = handler(request);
                    async move {
                        handled.await;
                        drop(running);
                    }
                });
            }
            Err(error) => answer(respond, StatusCode::BAD_REQUEST, &error.to_string()),
        }
    }
}
