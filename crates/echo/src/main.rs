//! `fairway-echo`: the server as a program.
#![forbid(unsafe_code)]

use anyhow::Context;
use clap::Parser;
use fairway_echo::EchoServer;
use futures_util::future::join_all;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Says back what it is told, and who told it.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The name it answers by.
    #[arg(long, env = "POD_NAME", default_value = "echo")]
    pod: String,
    /// The address to listen on; `::` takes IPv4 as well.
    #[arg(long, default_value_t = IpAddr::V6(Ipv6Addr::UNSPECIFIED))]
    address: IpAddr,
    /// Ports for HTTP/1.1, HTTP/2 with prior knowledge, gRPC and WebSocket.
    #[arg(long, value_delimiter = ',', default_value = "8080")]
    http: Vec<u16>,
    /// Ports that say back every byte.
    #[arg(long, value_delimiter = ',')]
    tcp: Vec<u16>,
    /// Ports that greet first, and then say back every byte.
    #[arg(long, value_delimiter = ',')]
    greeting: Vec<u16>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let server = EchoServer::new(arguments.pod);
    let listen = async |port: u16| {
        let address = SocketAddr::new(arguments.address, port);
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
    };
    for port in arguments.tcp {
        tokio::spawn(server.clone().serve_tcp(listen(port).await?));
    }
    for port in arguments.greeting {
        tokio::spawn(server.clone().serve_greeting(listen(port).await?));
    }
    let (ending, _) = watch::channel(());
    let mut serving = Vec::new();
    for port in arguments.http {
        let mut end = ending.subscribe();
        let end = async move {
            let _ = end.changed().await;
        };
        serving.push(tokio::spawn(server.clone().serve_http(listen(port).await?, end)));
    }

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // For whoever started this and waits until it listens.
    println!("ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    ending.send_replace(());
    for ended in join_all(serving).await {
        ended??;
    }
    Ok(())
}
