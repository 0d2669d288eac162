//! The server as a program.

use crate::EchoServer;
use anyhow::Context;
use futures_util::future::join_all;
use http::StatusCode;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Says back what it is told, and who told it
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The name it answers by
    #[arg(long, env = "POD_NAME", default_value = "echo", value_name = "NAME")]
    pod: String,
    /// The address to listen on; `::` takes IPv4 as well
    #[arg(long, default_value_t = IpAddr::V6(Ipv6Addr::UNSPECIFIED), value_name = "IP")]
    address: IpAddr,
    /// Ports for HTTP/1.1, HTTP/2 with prior knowledge, gRPC and WebSocket
    #[arg(long, value_delimiter = ',', default_value = "8080", value_name = "PORT")]
    http: Vec<u16>,
    /// Ports that say back every byte
    #[arg(long, value_delimiter = ',', value_name = "PORT")]
    tcp: Vec<u16>,
    /// Ports that greet first, and then say back every byte
    #[arg(long, value_delimiter = ',', value_name = "PORT")]
    greeting: Vec<u16>,
    /// The status of HTTP answers, unless the request asks for another with `?status=`
    #[arg(long, default_value = "200", value_name = "CODE")]
    status: StatusCode,
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let server = EchoServer::new(arguments.pod).with_status(arguments.status);
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
    Ok(ExitCode::SUCCESS)
}
