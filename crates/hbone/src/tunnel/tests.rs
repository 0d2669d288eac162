use crate::http2::SEND_BUFFER;
use crate::testing::{Peers, ask, echo, locally, settle};
use crate::windows::BASE;
use crate::{OpenError, Tunnel};
use http::StatusCode;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

/// Fails to compile when a tunnel can no longer change threads.
fn _is_send(tunnel: Tunnel) -> impl Send {
    tunnel
}

#[tokio::test(start_paused = true)]
async fn the_client_half_closes_and_still_gets_the_answer() {
    locally(async {
        let peers = Peers::new(|request| async move {
            let mut tunnel = request.accept().unwrap();
            let mut question = String::new();
            tunnel.read_to_string(&mut question).await.unwrap();
            tunnel.write_all(format!("{question} to you").as_bytes()).await.unwrap();
            tunnel.shutdown().await.unwrap();
        });
        assert_eq!(ask(&mut peers.open().await.unwrap(), "hello").await, "hello to you");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_server_speaks_first_half_closes_and_still_gets_the_rest() {
    locally(async {
        let (heard, hears) = oneshot::channel();
        let heard = Rc::new(RefCell::new(Some(heard)));
        let peers = Peers::new(move |request| {
            let heard = heard.clone();
            async move {
                let mut tunnel = request.accept().unwrap();
                tunnel.write_all(b"220 ready").await.unwrap();
                tunnel.shutdown().await.unwrap();
                let mut rest = String::new();
                tunnel.read_to_string(&mut rest).await.unwrap();
                heard.borrow_mut().take().unwrap().send(rest).unwrap();
            }
        });
        let mut tunnel = peers.open().await.unwrap();
        let mut greeting = String::new();
        tunnel.read_to_string(&mut greeting).await.unwrap();
        assert_eq!(greeting, "220 ready");
        tunnel.write_all(b"QUIT").await.unwrap();
        tunnel.shutdown().await.unwrap();
        assert_eq!(hears.await.unwrap(), "QUIT");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_writer_waits_for_a_reader_that_does_not_read() {
    locally(async {
        let (go, wait) = oneshot::channel::<()>();
        let wait = Rc::new(RefCell::new(Some(wait)));
        let peers = Peers::new(move |request| {
            let wait = wait.borrow_mut().take().unwrap();
            async move {
                let mut tunnel = request.accept().unwrap();
                wait.await.unwrap();
                tokio::io::copy(&mut tunnel, &mut tokio::io::sink()).await.unwrap();
                tunnel.shutdown().await.unwrap();
            }
        });
        let mut tunnel = peers.open().await.unwrap();
        let written = Rc::new(Cell::new(0));
        let counter = written.clone();
        const ALL: usize = 16 << 20;
        let writer = tokio::task::spawn_local(async move {
            let chunk = vec![7; 64 << 10];
            while counter.get() < ALL {
                tunnel.write_all(&chunk).await.unwrap();
                counter.set(counter.get() + chunk.len());
            }
            tunnel.shutdown().await.unwrap();
            tunnel.read(&mut [0; 1]).await.unwrap()
        });
        settle().await;
        // As much as the peer's window and our own buffer hold, and not a chunk more.
        assert!(written.get() <= BASE as usize + SEND_BUFFER, "{}", written.get());
        assert!(written.get() >= BASE as usize, "{}", written.get());
        go.send(()).unwrap();
        assert_eq!(writer.await.unwrap(), 0);
        assert_eq!(written.get(), ALL);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn much_goes_both_ways_at_once_unchanged() {
    locally(async {
        let peers = Peers::new(echo);
        let (mut read, mut write) = tokio::io::split(peers.open().await.unwrap());
        let data: Vec<u8> = (0..8_u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let sent = data.clone();
        tokio::task::spawn_local(async move {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let mut back = Vec::new();
        read.read_to_end(&mut back).await.unwrap();
        assert!(back == data);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_dropped_by_one_side_is_a_reset_for_the_other_not_an_end() {
    locally(async {
        let peers = Peers::new(|request| async move {
            let mut tunnel = request.accept().unwrap();
            tunnel.write_all(b"half of the ans").await.unwrap();
            tunnel.read_u8().await.unwrap();
            drop(tunnel);
        });
        let mut tunnel = peers.open().await.unwrap();
        let mut part = [0; 15];
        tunnel.read_exact(&mut part).await.unwrap();
        tunnel.write_all(b"x").await.unwrap();
        let error = tunnel.read(&mut part).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(tunnel.write_all(b"more").await.is_err());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_done_and_does_not_read_the_rest_has_ended_well() {
    locally(async {
        let peers = Peers::new(|request| async move {
            let mut tunnel = request.accept().unwrap();
            tunnel.write_all(b"that is all").await.unwrap();
            tunnel.shutdown().await.unwrap();
        });
        let mut tunnel = peers.open().await.unwrap();
        let mut all = String::new();
        tunnel.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "that is all");
        settle().await;
        assert_eq!(tunnel.write(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_carries_its_status_and_reason() {
    locally(async {
        let peers = Peers::new(|request| async move {
            request.refuse(StatusCode::UNAUTHORIZED, "only through the waypoint");
        });
        let Err(OpenError::Refused { status, reason, .. }) = peers.open().await else {
            panic!("was not refused");
        };
        assert_eq!(
            (status, reason.as_deref()),
            (StatusCode::UNAUTHORIZED, Some("only through the waypoint"))
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_gives_up_is_noticed_before_the_answer() {
    locally(async {
        let (noticed, notices) = oneshot::channel();
        let noticed = Rc::new(RefCell::new(Some(noticed)));
        let peers = Peers::new(move |mut request| {
            let noticed = noticed.borrow_mut().take().unwrap();
            async move {
                request.abandoned().await;
                noticed.send(()).unwrap();
            }
        });
        {
            let open = peers.open();
            tokio::pin!(open);
            tokio::select! {
                _ = &mut open => panic!("nobody accepted it"),
                () = settle() => {}
            }
        }
        notices.await.unwrap();
    })
    .await;
}
