use super::Settings;
use crate::testing::{Peers, ask, connect_request, echo, locally, settle};
use crate::{Connect, OpenError, Pool, Target, server};
use fairway_identity::HandshakeError;
use fairway_identity::testing::TestAuthority;
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

#[tokio::test(start_paused = true)]
async fn those_who_come_together_share_one_connection() {
    locally(async {
        let peers = Peers::new(echo);
        let tunnels = open_many(&peers, 50).await;
        assert_eq!((peers.connects.get(), peers.pool.size()), (1, (1, 50)));
        drop(tunnels);
        assert_eq!(peers.pool.size(), (1, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_tunnels_take_ten_connections_and_all_work() {
    locally(async {
        let peers = Peers::new(echo);
        let tunnels = open_many(&peers, 1000).await;
        assert_eq!(peers.pool.size(), (10, 1000));
        for (number, mut tunnel) in tunnels.into_iter().enumerate() {
            let text = format!("hello from {number}");
            assert_eq!(ask(&mut tunnel, &text).await, text);
        }
        assert_eq!(peers.connects.get(), 10);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_allows_fewer_tunnels_gets_more_connections() {
    locally(async {
        let few = server::Settings { max_streams: 10, ..Default::default() };
        let peers = Peers::with(Settings::default(), few, echo);
        let tunnels = open_many(&peers, 30).await;
        assert_eq!(peers.pool.size(), (3, 30));
        drop(tunnels);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_allows_no_tunnels_costs_few_connections_and_those_who_wait_hear_it() {
    locally(async {
        let none = server::Settings { max_streams: 0, ..Default::default() };
        let peers = Rc::new(Peers::with(Settings::default(), none, echo));
        let opening = (0..1500).map(|_| {
            let peers = peers.clone();
            spawn_local(async move { peers.open().await.err() })
        });
        for opened in opening.collect::<Vec<_>>() {
            let error = timeout(Duration::from_secs(60), opened).await.expect("it hears it in time").unwrap();
            assert!(error.is_some());
        }
        assert!(peers.connects.get() <= 16, "{} connections", peers.connects.get());
        sleep(Duration::from_secs(60)).await;
        assert_eq!(peers.pool.size(), (0, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn another_identity_than_the_expected_one_gets_no_request() {
    locally(async {
        let asked = Rc::new(Cell::new(false));
        let seen = asked.clone();
        let peers = Peers::new(move |request| {
            seen.set(true);
            echo(request)
        });
        let impostor =
            Target { identity: peers.authority.id("shop", "somebody-else"), ..peers.target.clone() };
        let error = peers.pool.open(&peers.client, &impostor, &connect_request()).await.unwrap_err();
        assert!(error.was_not_connected());
        let OpenError::Handshake { source, .. } = error else { panic!("{error}") };
        assert!(matches!(*source, HandshakeError::UnexpectedPeer { .. }), "{source}");
        settle().await;
        assert!(!asked.get());
        assert_eq!(peers.pool.size(), (0, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_tunnels_is_closed_after_five_minutes() {
    locally(async {
        let peers = Peers::new(echo);
        assert_eq!(ask(&mut peers.open().await.unwrap(), "hello").await, "hello");
        sleep(Duration::from_secs(290)).await;
        assert_eq!(peers.pool.size(), (1, 0));
        sleep(Duration::from_secs(70)).await;
        sleep(Duration::from_secs(60)).await;
        assert_eq!(peers.pool.size(), (0, 0));
        assert!(matches!(peers.served.borrow()[..], [Ok(())]), "{:?}", peers.served.borrow());
        assert_eq!(ask(&mut peers.open().await.unwrap(), "again").await, "again");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_in_use_keeps_its_connection_for_hours() {
    locally(async {
        let peers = Peers::new(echo);
        let mut tunnel = peers.open().await.unwrap();
        sleep(Duration::from_secs(7200)).await;
        assert_eq!(ask(&mut tunnel, "still there").await, "still there");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_rotated_identity_connects_anew_and_the_old_tunnel_goes_on() {
    locally(async {
        let peers = Peers::new(echo);
        let mut old = peers.open().await.unwrap();
        let rotated = peers.authority.identity("shop", "client");
        let mut new = peers.pool.open(&rotated, &peers.target, &connect_request()).await.unwrap();
        assert_eq!(peers.connects.get(), 2);
        assert_eq!(ask(&mut old, "old").await, "old");
        assert_eq!(ask(&mut new, "new").await, "new");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn after_a_goaway_new_tunnels_take_a_new_connection() {
    locally(async {
        let peers = Peers::new(echo);
        let mut old = peers.open().await.unwrap();
        old.write_all(b"before").await.unwrap();
        let drained = spawn_local(peers.drain.drain(fairway_runtime::drain::Deadlines {
            linger: Duration::from_secs(5),
            grace: Duration::from_secs(5),
        }));
        settle().await;
        let mut new = peers.pool.open(&peers.client, &peers.target, &connect_request()).await.unwrap();
        assert_eq!(peers.connects.get(), 2);
        assert_eq!(ask(&mut new, "after").await, "after");
        let mut echoed = [0; 6];
        old.read_exact(&mut echoed).await.unwrap();
        assert_eq!(ask(&mut old, "until the end").await, "until the end");
        drop((old, new));
        drained.abort();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_keeps_an_idle_tunnel_hears_that_its_peer_drains() {
    locally(async {
        let peers = Peers::new(echo);
        let idle = peers.open().await.unwrap();
        let carrier = idle.carrier().unwrap();
        settle().await;
        assert!(!carrier.is_closing());
        let drained = spawn_local(peers.drain.drain(fairway_runtime::drain::Deadlines {
            linger: Duration::from_secs(5),
            grace: Duration::from_secs(3600),
        }));
        settle().await;
        assert!(carrier.is_closing());
        assert_eq!(peers.pool.size(), (0, 0), "and nobody gets another tunnel on it");
        drop(idle);
        settle().await;
        assert_eq!(peers.served.borrow().len(), 1, "the peer waits no longer");
        drained.abort();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_carrier_that_ends_is_closing() {
    locally(async {
        let peers = Peers::new(echo);
        let tunnel = peers.open().await.unwrap();
        let carrier = tunnel.carrier().unwrap();
        drop(tunnel);
        sleep(Duration::from_secs(400)).await;
        sleep(Duration::from_secs(60)).await;
        assert_eq!(peers.pool.size(), (0, 0));
        assert!(carrier.is_closing());
    })
    .await;
}

/// Connects to somebody who accepts and says nothing, or not at all.
struct Silent {
    held: Rc<std::cell::RefCell<Vec<DuplexStream>>>,
    refuses: bool,
}

impl Connect for Silent {
    type Io = DuplexStream;

    async fn connect(&self, _: SocketAddr) -> io::Result<DuplexStream> {
        if self.refuses {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = tokio::io::duplex(1024);
        self.held.borrow_mut().push(far);
        Ok(near)
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_connection_is_told_to_all_who_wait_for_it() {
    locally(async {
        let authority = TestAuthority::new("cluster.local");
        let (client, server) = (authority.identity("a", "a"), authority.id("a", "b"));
        let target = Target { address: "10.0.0.1:15008".parse().unwrap(), identity: server };
        for (refuses, seconds) in [(true, 0), (false, 10)] {
            let pool = Pool::new(Silent { held: Rc::default(), refuses }, Settings::default());
            let start = Instant::now();
            let connect_request = connect_request();
            let (one, two) = tokio::join!(
                pool.open(&client, &target, &connect_request),
                pool.open(&client, &target, &connect_request)
            );
            for error in [one.unwrap_err(), two.unwrap_err()] {
                assert!(error.was_not_connected(), "{error}");
            }
            assert_eq!(start.elapsed().as_secs(), seconds);
            assert_eq!(pool.size(), (0, 0));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_does_not_answer_is_given_up() {
    locally(async {
        let peers = Peers::new(|request| async move {
            std::future::pending::<()>().await;
            drop(request);
        });
        let start = Instant::now();
        assert!(matches!(peers.open().await, Err(OpenError::AnswerTimeout { .. })));
        assert_eq!(start.elapsed(), Settings::default().answer_timeout);
        assert_eq!(peers.pool.size(), (1, 0));
    })
    .await;
}

async fn open_many(peers: &Peers, count: usize) -> Vec<crate::Tunnel> {
    let opening: Vec<_> = (0..count)
        .map(|_| {
            let (pool, client, target) = (peers.pool.clone(), peers.client.clone(), peers.target.clone());
            spawn_local(async move { pool.open(&client, &target, &connect_request()).await.unwrap() })
        })
        .collect();
    let mut tunnels = Vec::new();
    for opened in opening {
        tunnels.push(opened.await.unwrap());
    }
    tunnels
}
