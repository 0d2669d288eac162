//! The floor: a hyper server and one pooled hyper client connection per client connection, nothing in between.

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::{TcpListener, TcpStream};

#[derive(clap::Args)]
pub struct Settings {
    /// The address that the proxy listens on.
    #[arg(long)]
    listen: SocketAddr,
    /// Where to send everything.
    #[arg(long)]
    backend: SocketAddr,
}

type Sender = hyper::client::conn::http1::SendRequest<Incoming>;
type Body = Incoming;

pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let listener = TcpListener::bind(settings.listen).await?;
    let idle: Rc<RefCell<Vec<Sender>>> = Rc::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let idle = idle.clone();
        let backend = settings.backend;
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| forward(idle.clone(), backend, request));
            let connection = hyper::server::conn::http1::Builder::new();
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn forward(
    idle: Rc<RefCell<Vec<Sender>>>,
    backend: SocketAddr,
    request: Request<Incoming>,
) -> anyhow::Result<Response<Body>> {
    let pooled = idle.borrow_mut().pop();
    let mut sender = match pooled {
        Some(sender) => sender,
        None => connect(backend).await?,
    };
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    idle.borrow_mut().push(sender);
    Ok(response)
}

async fn connect(backend: SocketAddr) -> anyhow::Result<Sender> {
    let stream = TcpStream::connect(backend).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}
