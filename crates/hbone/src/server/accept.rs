//! One connection of a peer, from its first byte to its last tunnel.

use super::request::answer;
use super::{Request, ServeError, Settings};
use crate::windows::{self, Role, WindowBudget, Windows, Wire};
use crate::{ConnectRequest, http2};
use bytes::Bytes;
use fairway_identity::{SpiffeId, TlsIdentity};
use fairway_runtime::drain::{self, Phase};
use h2::server::Connection;
use http::StatusCode;
use std::rc::Rc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

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
    let windows = Windows::new(budget);
    // Boxed: its state is large, and gone once tunnels flow.
    let handshake = Box::pin(handshake(io, tls, settings, &windows));
    let (connection, peer) =
        timeout(settings.handshake_timeout, handshake).await.map_err(|_| ServeError::HandshakeTimeout)??;
    tunnels(connection, peer, settings, windows, drain, handler).await
}

async fn handshake<Io: AsyncRead + AsyncWrite + Unpin>(
    io: Io,
    tls: &TlsIdentity,
    settings: &Settings,
    windows: &Windows,
) -> Result<(Box<Connection<impl AsyncRead + AsyncWrite + Unpin + use<Io>, Bytes>>, SpiffeId), ServeError> {
    let (stream, peer) = fairway_identity::accept(tls, io).await?;
    let connection = h2::server::Builder::new()
        .initial_window_size(windows::UNLIMITED)
        .initial_connection_window_size(windows::of_connection(settings.max_streams))
        .data_frame_budget(windows::SMALL_FRAMES)
        .max_frame_size(http2::FRAME)
        .max_header_list_size(16 << 10)
        .max_concurrent_streams(settings.max_streams)
        .max_send_buffer_size(http2::SEND_BUFFER)
        .handshake(Wire::new(stream, Role::Server, windows.updates.clone()))
        .await?;
    Ok((Box::new(connection), peer))
}

async fn tunnels<Io, H, F>(
    // Boxed, or a future's arguments and its state would hold these kilobytes twice.
    mut connection: Box<Connection<Io, Bytes>>,
    peer: SpiffeId,
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
    tokio::pin!(dead, draining, closing, forced);
    let (mut used, mut told) = (false, false);
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
            () = &mut forced => return Err(ServeError::CutOff),
            () = &mut dead => return Err(ServeError::Dead),
        };
        let Some(accepted) = accepted else { return Ok(()) };
        let (message, respond) = match accepted {
            Ok(accepted) => accepted,
            // A peer that goes when nothing of its own is left has ended well, whatever we were still writing to it.
            Err(error) if error.is_io() && Rc::strong_count(&handlers) == 1 => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        used = true;
        if Rc::strong_count(&handlers) > 2 * settings.max_streams as usize {
            return Err(ServeError::Flood);
        }
        let (parts, body) = message.into_parts();
        match ConnectRequest::from_http(&parts) {
            Ok(wish) => {
                let running = handlers.clone();
                let handled = handler(Request::new(peer.clone(), wish, body, respond, windows.clone()));
                tokio::task::spawn_local(async move {
                    handled.await;
                    drop(running);
                });
            }
            Err(error) => answer(respond, StatusCode::BAD_REQUEST, &error.to_string()),
        }
    }
}
