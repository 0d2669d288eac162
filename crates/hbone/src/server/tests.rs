use super::{ServeError, Settings};
use crate::testing::{Peers, ask, connect_request, connection, echo, locally, settle};
use crate::{client, serve};
use fairway_identity::testing::TestAuthority;
use fairway_identity::{Clock, SharedClock, TlsIdentity, TokioClock};
use fairway_runtime::drain::{self, Deadlines};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_local;

const DEADLINES: Deadlines = Deadlines { linger: Duration::from_secs(2), grace: Duration::from_secs(10) };

#[tokio::test(start_paused = true)]
async fn a_drain_lets_a_live_tunnel_finish_and_then_the_connection_ends() {
    locally(async {
        let peers = Peers::new(echo);
        let mut tunnel = peers.open().await.unwrap();
        let draining = spawn_local(peers.drain.drain(DEADLINES));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(peers.served.borrow().is_empty());
        assert_eq!(ask(&mut tunnel, "last words").await, "last words");
        drop(tunnel);
        settle().await;
        assert!(matches!(peers.served.borrow()[..], [Ok(())]));
        drop(peers.pool);
        draining.abort();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_outlasts_the_drain_is_cut_off_as_broken() {
    locally(async {
        let peers = Peers::new(echo);
        let mut tunnel = peers.open().await.unwrap();
        tunnel.write_all(b"x").await.unwrap();
        tunnel.read_u8().await.unwrap();
        let draining = spawn_local(peers.drain.drain(DEADLINES));
        assert!(tunnel.read_u8().await.is_err());
        assert!(matches!(peers.served.borrow()[..], [Err(ServeError::CutOff)]));
        draining.abort();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_dropped_after_ten_seconds() {
    locally(async {
        let server = TestAuthority::new("cluster.local").identity("a", "b");
        let (_silent, io) = tokio::io::duplex(1024);
        let (_trigger, watch) = drain::channel();
        let start = tokio::time::Instant::now();
        let ended = serve(io, &server, &Settings::default(), &crate::WindowBudget::new(), watch, echo).await;
        assert!(matches!(ended, Err(ServeError::HandshakeTimeout)), "{ended:?}");
        assert_eq!(start.elapsed().as_secs(), 10);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_of_another_mesh_is_refused_in_the_handshake() {
    locally(async {
        let peers = Peers::new(echo);
        let stranger = TestAuthority::new("elsewhere.local").identity("shop", "client");
        assert!(peers.pool.open(&stranger, &peers.target, &connect_request()).await.is_err());
        settle().await;
        assert!(matches!(peers.served.borrow()[..], [Err(ServeError::Handshake(_))]));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_vanishes_without_a_word_is_found_by_ping() {
    locally(async {
        let (tls, serving, _trigger) = connection(echo).await;
        // After its handshake the client's connection is not driven any more.
        let held = h2::client::handshake(tls).await.unwrap();
        let ended = serving.await.unwrap();
        assert!(matches!(ended, Err(ServeError::Dead)), "{ended:?}");
        drop::<(h2::client::SendRequest<bytes::Bytes>, _)>(held);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn with_a_peer_whose_certificate_has_ended_no_more_tunnels_are_opened_and_those_there_are_go_on() {
    const MINUTE: Duration = Duration::from_secs(60);
    for minutes in [[20, 600], [600, 20]] {
        locally(async {
            let (authority, clock) = (TestAuthority::new("cluster.local"), TokioClock::start());
            let shared: SharedClock = Arc::new(clock);
            let good_for = |account: &str, minutes: u32| {
                let end = clock.now() + minutes * MINUTE;
                let svid = authority.svid(&authority.id("shop", account), |it| it.not_after = end.into());
                Arc::new(TlsIdentity::new(&svid, &authority.bundle(), &shared).unwrap())
            };
            let identities = [good_for("client", minutes[0]), good_for("server", minutes[1])];
            let (client, server) = (client::Settings::default(), Settings::default());
            let peers = Peers::between(authority, identities, client, server, echo);
            let mut tunnel = peers.open().await.unwrap();
            tokio::time::sleep(19 * MINUTE).await;
            let mut another = peers.open().await.unwrap();
            assert_eq!((ask(&mut another, "in time").await.as_str(), peers.connects.get()), ("in time", 1));
            tokio::time::sleep(2 * MINUTE).await;
            // A connection that were made now would be refused in its handshake.
            assert!(peers.open().await.is_err(), "{minutes:?}");
            assert_eq!(ask(&mut tunnel, "still here").await, "still here");
            drop((tunnel, another));
            settle().await;
            assert!(matches!(peers.served.borrow()[..], [.., Ok(())]), "{:?}", peers.served.borrow());
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_resets_ends_the_connection_not_the_server() {
    locally(async {
        let few = Settings { max_streams: 5, ..Default::default() };
        // A handler that takes its time to notice.
        let peers = Peers::with(client::Settings::default(), few, |mut request| async move {
            request.abandoned().await;
            tokio::time::sleep(Duration::from_secs(60)).await;
        });
        for _ in 0..100 {
            let open = peers.open();
            tokio::pin!(open);
            tokio::select! {
                _ = &mut open => {}
                () = settle() => {}
            }
            if !peers.served.borrow().is_empty() {
                break;
            }
        }
        assert!(matches!(peers.served.borrow()[0], Err(ServeError::Flood)));
    })
    .await;
}

/// A peer that has a connection and no tunnel: before its first, and after its last.
#[tokio::test(start_paused = true)]
async fn a_connection_without_tunnels_is_closed_and_one_with_a_silent_tunnel_is_not() {
    locally(async {
        // The client keeps connections for longer than the server.
        let patient = client::Settings { idle: Duration::from_secs(1 << 20), ..Default::default() };
        let peers = Peers::with(patient, Settings::default(), echo);
        let mut tunnel = peers.open().await.unwrap();
        tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
        assert!(peers.served.borrow().is_empty(), "a tunnel may be silent");
        assert_eq!(ask(&mut tunnel, "still here").await, "still here");
        drop(tunnel);
        tokio::time::sleep(Duration::from_secs(2 * 600 + 30)).await;
        assert!(matches!(peers.served.borrow()[..], [Ok(())]), "{:?}", peers.served.borrow());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_control_frames_ends_the_connection() {
    locally(async {
        let (tls, serving, _trigger) = connection(echo).await;
        let (mut read, mut write) = tokio::io::split(tls);
        spawn_local(async move { tokio::io::copy(&mut read, &mut tokio::io::sink()).await });
        write.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let flood = b"\0\0\x08\x06\x01\0\0\0\0whatever".repeat(64);
        let began = tokio::time::Instant::now();
        while write.write_all(&flood).await.is_ok() {
            assert!(began.elapsed() < Duration::from_secs(3600));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let ended = serving.await.unwrap();
        assert!(matches!(ended, Err(ServeError::ControlFrames)), "{ended:?}");
    })
    .await;
}

#[tokio::test]
async fn what_an_accepted_connection_costs_is_known() {
    let server = TestAuthority::new("cluster.local").identity("a", "b");
    let (_peer, io) = tokio::io::duplex(1);
    let (_trigger, watch) = drain::channel();
    let (settings, budget) = (Settings::default(), crate::WindowBudget::new());
    let serving = serve(io, &server, &settings, &budget, watch, echo);
    assert!(size_of_val(&serving) <= 2048, "{}", size_of_val(&serving));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_asks_for_no_tunnel_is_soon_closed() {
    locally(async {
        let (tls, serving, _trigger) = connection(echo).await;
        // It answers every PING, as one that is of use does.
        let (_send, driver) = h2::client::handshake(tls).await.unwrap();
        spawn_local(driver);
        let began = tokio::time::Instant::now();
        serving.await.unwrap().unwrap();
        assert!((30..60).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_has_too_many_connections_is_told_so_before_the_first_tunnel() {
    locally(async {
        let authority = TestAuthority::new("cluster.local");
        let (client, server) = (authority.identity("a", "a"), authority.identity("a", "b"));
        let (near, far) = tokio::io::duplex(64 << 10);
        let (_trigger, watch) = drain::channel();
        let known = |peer: &fairway_identity::SpiffeId| {
            assert_eq!(peer.to_string(), "spiffe://cluster.local/ns/a/sa/a");
            None::<()>
        };
        let (settings, budget) = (Settings::default(), crate::WindowBudget::new());
        let serving = Box::pin(crate::serve_known(far, &server, &settings, &budget, watch, known, echo));
        let expected = [authority.id("a", "b")];
        let connecting = async {
            let (tls, _) = fairway_identity::connect(&client, near, &expected).await.unwrap();
            let (_send, driver) = h2::client::handshake(tls).await.unwrap();
            driver.await
        };
        let (served, _) = tokio::join!(serving, Box::pin(connecting));
        assert!(matches!(served, Err(ServeError::TooManyConnections)), "{served:?}");
    })
    .await;
}
