//! Peers share the connections of a waypoint, whether they come one by one or in one connection of tunnels.

use super::fixtures::{Mesh, VIP, fronted};
use super::support::backend::{Server, full};
use super::support::wire::{LONG, status};
use super::support::*;
use fairway_config::model::{AppProtocol, Resource};
use fairway_hbone::client;
use fairway_hbone::{Connect, ConnectRequest, Pool, Target, Tunnel};
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::LocalSet;
use tokio::time::timeout;

/// Connects from an address of loopback.
struct FromAddress(IpAddr);

impl Connect for FromAddress {
    type Io = TcpStream;

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.0, 0))?;
        socket.connect(address).await
    }
}

async fn ask(tunnel: &mut Tunnel, path: &str) {
    let head = format!("GET {path} HTTP/1.1\r\nhost: whatever\r\nconnection: close\r\n\r\n");
    tunnel.write_all(head.as_bytes()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_peer_does_not_have_every_connection_by_the_tunnels_that_it_opens() {
    let server = Server::http(1, |request| async move {
        if request.uri().path() != "/" {
            pending::<()>().await;
        }
        http::Response::new(full("here"))
    })
    .await;
    let mut resources = vec![Resource::Service(Arc::new(fronted(AppProtocol::Http1)))];
    resources.extend(backend("shop/web:80", AppProtocol::Http1, &[server.address]));
    let mesh = Mesh::start_with(resources, |settings| settings.limits.connections = 32).await;
    let target = Target { address: mesh.proxy.address(), identity: mesh.waypoint.clone() };
    let request = ConnectRequest::to(SocketAddr::new(VIP, 80));
    LocalSet::new()
        .run_until(async {
            let [one, other] = ["127.0.0.1", "127.0.0.2"]
                .map(|address| Pool::new(FromAddress(address.parse().unwrap()), client::Settings::default()));
            let by = mesh.authority.identity("shop", "a");
            let (mut held, mut refused) = (Vec::new(), 0);
            for _ in 0..40 {
                match one.open(&by, &target, &request).await {
                    Ok(mut tunnel) => {
                        ask(&mut tunnel, "/never").await;
                        held.push(tunnel);
                    }
                    Err(_) => refused += 1,
                }
            }
            let answering = async {
                let mut tunnel =
                    other.open(&mesh.authority.identity("shop", "b"), &target, &request).await.unwrap();
                ask(&mut tunnel, "/").await;
                let mut answer = Vec::new();
                let _ = tunnel.read_to_end(&mut answer).await;
                String::from_utf8(answer).unwrap()
            };
            let answer = timeout(LONG, answering).await.expect("another peer is served");
            assert_eq!(status(&answer), 200, "{answer}");
            assert!(refused > 0 && held.len() <= 17, "{} are open, {refused} were refused", held.len());
        })
        .await;
}
