use super::{BASE, BUDGET, MIDDLE, of_connection};
use crate::copy::Plain;
use crate::testing::{Peers, connect_request, connection, locally, settle};
use crate::{Request, Tunnel, bidirectional};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};

/// Which way the bytes go that nobody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

/// What the client asks of the server's program, in its first byte.
const READ: u8 = b'r';
const READ_NOTHING: u8 = b'n';
const WRITE: u8 = b'w';
const CARRY: u8 = b'c';

const MUCH: usize = 16 << 20;
const COUNTS: [usize; 4] = [1, 4, 100, 1000];

/// Counts what was written into tunnels that nobody reads.
type Written = Rc<Cell<usize>>;

async fn program(request: Request, written: Written) {
    let mut tunnel = request.accept().unwrap();
    match tunnel.read_u8().await {
        Ok(READ) => {
            let _ = copy(&mut tunnel, &mut sink()).await;
            let _ = tunnel.write_u8(1).await;
            let _ = tunnel.shutdown().await;
        }
        Ok(READ_NOTHING) => {
            let _kept = tunnel;
            std::future::pending::<()>().await;
        }
        Ok(CARRY) => {
            let (near, _far) = tokio::io::duplex(1024);
            bidirectional(&mut tunnel, &mut Plain(near)).await;
        }
        Ok(WRITE) => write(&mut tunnel, MUCH, &written).await,
        _ => {}
    }
}

async fn write(tunnel: &mut Tunnel, bytes: usize, written: &Written) {
    let mut left = bytes;
    let chunk = vec![7; 32 << 10];
    while left > 0 {
        let Ok(count) = tunnel.write(&chunk[..chunk.len().min(left)]).await else { return };
        written.set(written.get() + count);
        left -= count;
    }
    let _ = tunnel.shutdown().await;
}

fn peers(written: &Written) -> Peers {
    let written = written.clone();
    Peers::new(move |request| program(request, written.clone()))
}

/// Opens a tunnel on which much is sent that nobody reads.
async fn stall(peers: &Peers, way: Way, written: &Written) -> Option<Tunnel> {
    let mut tunnel = peers.open().await.unwrap();
    match way {
        Way::ToServer => {
            tunnel.write_u8(READ_NOTHING).await.unwrap();
            let written = written.clone();
            spawn_local(async move { write(&mut tunnel, MUCH, &written).await });
            None
        }
        Way::ToClient => {
            tunnel.write_u8(WRITE).await.unwrap();
            Some(tunnel)
        }
    }
}

/// How long much takes on a tunnel that is read.
async fn take_time(mut tunnel: Tunnel, way: Way) -> Duration {
    let start = Instant::now();
    let moved = async {
        match way {
            Way::ToServer => {
                tunnel.write_u8(READ).await.unwrap();
                write(&mut tunnel, MUCH, &Rc::default()).await;
                tunnel.read_u8().await.unwrap();
            }
            Way::ToClient => {
                tunnel.write_u8(WRITE).await.unwrap();
                let read = copy(&mut tunnel, &mut sink()).await.unwrap();
                assert_eq!(read, MUCH as u64);
            }
        }
    };
    timeout(Duration::from_secs(60), moved).await.expect("those who read wait for those who do not");
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn readers_that_stop_delay_nobody_and_cost_little_however_many_they_are() {
    for way in [Way::ToServer, Way::ToClient] {
        for count in COUNTS {
            locally(async {
                let written = Written::default();
                let peers = peers(&written);
                let before = peers.open().await.unwrap();
                let mut stalled = Vec::new();
                for _ in 0..count {
                    stalled.push(stall(&peers, way, &written).await);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
                let buffered = written.get();
                assert!(buffered <= count * BASE as usize, "{way:?} {count}: {buffered}");
                assert!(buffered >= count * BASE as usize / 2, "{way:?} {count}: {buffered}");
                let carriers = peers.connects.get();
                let after = peers.open().await.unwrap();
                for tunnel in [before, after] {
                    assert_eq!(take_time(tunnel, way).await, Duration::ZERO, "{way:?} {count}");
                }
                assert!(peers.connects.get() <= carriers + 1);
            })
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn on_a_long_link_readers_that_stop_cost_the_others_no_throughput() {
    for way in [Way::ToServer, Way::ToClient] {
        let mut alone = None;
        for count in [0, 1, 4, 100, 1000] {
            locally(async {
                let written = Written::default();
                let peers = peers(&written);
                peers.latency.set(Duration::from_millis(25));
                let mut stalled = Vec::new();
                for _ in 0..count {
                    stalled.push(stall(&peers, way, &written).await);
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                let took = take_time(peers.open().await.unwrap(), way).await;
                assert!(peers.connects.get() <= 1 + count / 100, "{count}: {}", peers.connects.get());
                let alone = *alone.get_or_insert(took);
                assert!(took <= alone.mul_f64(1.1), "{way:?} {count}: {took:?} instead of {alone:?}");
                // Six round trips until somebody is known to read, which is what TCP's slow start takes. A window of 256 KiB for each round
                // trip would be 3200 ms.
                assert!(took <= Duration::from_millis(700), "{way:?} {count}: {took:?}");
            })
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn windows_that_grew_and_are_not_read_any_more_stay_within_the_budget() {
    locally(async {
        let written = Written::default();
        let peers = peers(&written);
        peers.latency.set(Duration::from_millis(25));
        let mut stalled = Vec::new();
        for _ in 0..90 {
            let mut tunnel = peers.open().await.unwrap();
            tunnel.write_u8(WRITE).await.unwrap();
            stalled.push(tunnel);
        }
        // All read for a while, and then none does.
        let mut read = 0;
        for _ in 0..20 {
            for tunnel in &mut stalled {
                let mut chunk = vec![0; 256 << 10];
                read += timeout(Duration::from_millis(1), tunnel.read(&mut chunk))
                    .await
                    .map_or(0, Result::unwrap);
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let buffered = written.get() - read;
        assert!(buffered <= 90 * BASE as usize + BUDGET as usize, "{buffered}");
        let took = take_time(peers.open().await.unwrap(), Way::ToClient).await;
        assert!(took < Duration::from_secs(20), "{took:?}");
        drop(stalled);
        settle().await;
        assert_eq!(peers.budgets[0].left(), BUDGET as usize);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn readers_that_were_quick_and_then_stop_leave_the_others_what_the_budget_says() {
    // A window for each round trip of 2 ms. 128 windows may grow to MIDDLE; beside more, the others keep BASE.
    for (count, window) in [(1, MIDDLE), (4, MIDDLE), (90, MIDDLE), (100, MIDDLE), (1000, BASE)] {
        locally(async {
            let written = Written::default();
            let peers = peers(&written);
            peers.latency.set(Duration::from_millis(1));
            let (mut stopped, mut read) = (Vec::new(), 0);
            // Enough for the largest window; of a thousand, for one that uses the budget up.
            let quickly = if count > 100 { 2 * MIDDLE as usize } else { MUCH / 4 };
            for _ in 0..count {
                let mut tunnel = peers.open().await.unwrap();
                tunnel.write_u8(WRITE).await.unwrap();
                // As quick as can be, and then not any more.
                let mut part = vec![0; quickly];
                read += tunnel.read_exact(&mut part).await.unwrap();
                stopped.push(tunnel);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            let buffered = written.get() - read;
            assert!(buffered <= count * BASE as usize + BUDGET as usize, "{count}: {buffered}");
            let took = take_time(peers.open().await.unwrap(), Way::ToClient).await;
            let expected = Duration::from_millis(2) * u32::try_from(MUCH / window as usize).unwrap();
            assert!(took <= expected.mul_f64(1.1), "{count}: {took:?} instead of {expected:?}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_budgets_of_both_sides_are_whole_again_when_all_tunnels_have_ended() {
    locally(async {
        let peers = peers(&Written::default());
        peers.latency.set(Duration::from_millis(5));
        for way in [Way::ToServer, Way::ToClient] {
            take_time(peers.open().await.unwrap(), way).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        for budget in &peers.budgets {
            assert_eq!(budget.left(), BUDGET as usize);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn small_writes_to_programs_that_do_not_read_do_not_end_the_connection() {
    locally(async {
        let peers = peers(&Written::default());
        let mut writers = Vec::new();
        for _ in 0..5 {
            let mut tunnel = peers.open().await.unwrap();
            tunnel.write_u8(CARRY).await.unwrap();
            writers.push(spawn_local(async move {
                for _ in 0..BASE - 1 {
                    tunnel.write_all(b"x").await.unwrap();
                    // Each in a frame of its own.
                    tokio::task::yield_now().await;
                }
                tunnel
            }));
        }
        let mut tunnels = Vec::new();
        for writer in writers {
            tunnels.push(writer.await.unwrap());
        }
        settle().await;
        assert!(peers.served.borrow().is_empty(), "{:?}", peers.served.borrow());
        assert_eq!(take_time(peers.open().await.unwrap(), Way::ToServer).await, Duration::ZERO);
        assert_eq!(peers.connects.get(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_gathered_while_nobody_read_comes_in_order_and_then_the_end() {
    locally(async {
        let peers = Peers::new(|request| async move {
            let mut tunnel = request.accept().unwrap();
            for length in [1, 5, 3000, 2, 1024, 1023, 20_000, 7] {
                tunnel.write_all(&vec![length as u8; length]).await.unwrap();
                settle().await;
            }
            tunnel.shutdown().await.unwrap();
            std::future::pending::<()>().await;
        });
        let mut tunnel = peers.open().await.unwrap();
        let (near, mut program) = tokio::io::duplex(1);
        let carrying = spawn_local(async move { bidirectional(&mut Plain(near), &mut tunnel).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut all = Vec::new();
        program.read_to_end(&mut all).await.unwrap();
        let expected: Vec<u8> = [1, 5, 3000, 2, 1024, 1023, 20_000, 7]
            .into_iter()
            .flat_map(|length: usize| vec![length as u8; length])
            .collect();
        assert!(all == expected, "{} {}", all.len(), expected.len());
        carrying.abort();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_tunnels_that_are_reset_leave_nothing_behind() {
    locally(async {
        let written = Written::default();
        let peers = peers(&written);
        for _ in 0..10_000 {
            let mut tunnel = peers.open().await.unwrap();
            tunnel.write_u8(WRITE).await.unwrap();
            tunnel.read_u8().await.unwrap();
            drop(tunnel);
        }
        settle().await;
        assert_eq!(take_time(peers.open().await.unwrap(), Way::ToClient).await, Duration::ZERO);
        assert_eq!(peers.budgets[0].left(), BUDGET as usize);
    })
    .await;
}

#[test]
fn the_connection_never_holds_up_what_its_streams_may_send() {
    for streams in [1, 100, 200] {
        let outstanding = streams * BASE + BUDGET;
        assert!(of_connection(streams) >= outstanding / 2 * 3);
        assert!(of_connection(streams) <= 128 << 20);
    }
    assert_eq!(of_connection(u32::MAX), (1 << 31) - 1);
}

/// A client that ignores the window of its stream: between it and the server somebody tells it of a window that it does not have.
#[tokio::test(start_paused = true)]
async fn a_peer_that_ignores_the_window_of_a_stream_is_reset_and_costs_what_the_window_says() {
    locally(async {
        let carried = Rc::new(Cell::new(None));
        let ended = carried.clone();
        // The program at the far end reads nothing.
        let carry = move |request: Request| {
            let ended = ended.clone();
            async move {
                let mut tunnel = request.accept().unwrap();
                let (near, _far) = tokio::io::duplex(1024);
                bidirectional(&mut tunnel, &mut Plain(near)).await;
                ended.set(Some(()));
            }
        };
        let (tls, _serving, _trigger) = connection(carry).await;
        let (mut from_server, mut to_server) = tokio::io::split(tls);
        let (own, lying) = tokio::io::duplex(64 << 10);
        let (mut from_client, mut to_client) = tokio::io::split(lying);
        spawn_local(async move { copy(&mut from_client, &mut to_server).await });
        let (mut send, driver) = h2::client::handshake(own).await.unwrap();
        spawn_local(driver);
        let lie = Rc::new(tokio::sync::Notify::new());
        let lies = lie.clone();
        spawn_local(async move {
            let mut chunk = vec![0; 16 << 10];
            loop {
                let (told, bytes) = tokio::select! {
                    read = from_server.read(&mut chunk) => match read {
                        Ok(count) if count > 0 => (false, &chunk[..count]),
                        _ => return,
                    },
                    // WINDOW_UPDATE of stream 1.
                    () = lies.notified() => (true, &b"\0\0\x04\x08\0\0\0\0\x01\x40\0\0\0"[..]),
                };
                assert!(!told || bytes.len() == 13);
                if to_client.write_all(bytes).await.is_err() {
                    return;
                }
            }
        });
        let request = connect_request().to_http().unwrap();
        let (response, mut stream) = send.send_request(request, false).unwrap();
        assert_eq!(response.await.unwrap().status(), 200);
        settle().await;
        lie.notify_one();
        let mut sent = 0;
        let reason = loop {
            stream.reserve_capacity(16 << 10);
            match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(Ok(room)) => {
                    stream.send_data(vec![0; room].into(), false).unwrap();
                    sent += room;
                }
                Some(Err(error)) => break error.reason(),
                None => break std::future::poll_fn(|cx| stream.poll_reset(cx)).await.ok(),
            }
            assert!(sent < MUCH, "{sent} bytes were taken of which nobody reads one");
            tokio::task::yield_now().await;
        };
        assert_eq!(reason, Some(h2::Reason::FLOW_CONTROL_ERROR));
        assert!(carried.get().is_none(), "the program has not read yet");
    })
    .await;
}
