use super::{Ended, Plain, Side, Transfer, bidirectional};
use crate::testing::{Peers, echo, locally, settle};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::{JoinHandle, spawn_local};

fn plain_pair() -> (DuplexStream, DuplexStream, JoinHandle<Transfer>) {
    let (client, near) = duplex(1024);
    let (far, server) = duplex(1024);
    let moving = spawn_local(async move { bidirectional(&mut Plain(near), &mut Plain(far)).await });
    (client, server, moving)
}

#[tokio::test(start_paused = true)]
async fn each_half_close_is_passed_on_and_the_bytes_are_counted() {
    locally(async {
        let (mut client, mut server, moving) = plain_pair();
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut question = String::new();
        server.read_to_string(&mut question).await.unwrap();
        assert_eq!(question, "question");
        settle().await;
        assert!(!moving.is_finished());
        server.write_all(b"the answer").await.unwrap();
        server.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "the answer");
        let transfer = moving.await.unwrap();
        assert_eq!((transfer.sent, transfer.received), (8, 10));
        assert!(matches!(transfer.ended, Ended::Closed { first: Side::Near }));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_breaks_is_told_from_one_that_ends() {
    locally(async {
        let peers = Peers::new(|request| async move {
            let mut tunnel = request.accept().unwrap();
            let _ = tunnel.read_u8().await;
            tunnel.reset();
        });
        let mut tunnel = peers.open().await.unwrap();
        let (mut client, near) = duplex(1024);
        client.write_all(b"x").await.unwrap();
        let transfer = bidirectional(&mut Plain(near), &mut tunnel).await;
        let Ended::Broken { by: Side::Far, error } = transfer.ended else { panic!("{transfer:?}") };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(transfer.sent, 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_far_end_that_takes_no_more_ends_a_near_one_that_says_nothing() {
    locally(async {
        let peers = Peers::new(|request| async move {
            let mut tunnel = request.accept().unwrap();
            tunnel.write_all(b"bye").await.unwrap();
            tunnel.shutdown().await.unwrap();
        });
        let mut tunnel = peers.open().await.unwrap();
        let (mut client, near) = duplex(1024);
        let transfer = bidirectional(&mut Plain(near), &mut tunnel).await;
        assert!(matches!(transfer.ended, Ended::Broken { by: Side::Far, .. }), "{transfer:?}");
        assert_eq!(transfer.received, 3);
        let mut all = [0; 3];
        client.read_exact(&mut all).await.unwrap();
        assert_eq!(&all, b"bye");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_end_does_not_lose_bytes_of_a_fast_one() {
    locally(async {
        let peers = Peers::new(echo);
        let mut tunnel = peers.open().await.unwrap();
        let (client, near) = duplex(100);
        let moving = spawn_local(async move { bidirectional(&mut Plain(near), &mut tunnel).await });
        let (mut read, mut write) = tokio::io::split(client);
        let data: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        let sent = data.clone();
        spawn_local(async move {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let mut back = Vec::new();
        read.read_to_end(&mut back).await.unwrap();
        assert!(back == data);
        let transfer = moving.await.unwrap();
        assert_eq!((transfer.sent, transfer.received), (300_000, 300_000));
    })
    .await;
}

#[tokio::test]
async fn what_a_connection_costs_while_bytes_are_moved_is_known() {
    let (near, far) = duplex(1);
    let (mut near, mut far) = (Plain(near), Plain(far));
    let moving = bidirectional(&mut near, &mut far);
    assert!(size_of_val(&moving) <= 400, "{}", size_of_val(&moving));
}
