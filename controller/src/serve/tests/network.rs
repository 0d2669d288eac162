//! Connections in memory that can be cut and whose bytes are counted.

use crate::serve::{Admission, Hub, Trusted, grpc};
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Server};

/// What lies between proxies and the controller.
#[derive(Clone, Default)]
pub(super) struct Network {
    controller: Arc<Mutex<Option<mpsc::UnboundedSender<io::Result<DuplexStream>>>>>,
    wires: Arc<Mutex<Vec<AbortHandle>>>,
    to_proxies: Arc<AtomicUsize>,
}

/// A controller that can be reached; not any more when it is dropped.
pub(super) struct Controller {
    hub: Arc<Hub>,
    network: Network,
    serving: JoinHandle<()>,
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.hub.close();
        self.serving.abort();
        self.network.cut();
    }
}

impl Network {
    /// Puts a controller on the network, in the place of the one before.
    pub(super) fn serve(&self, hub: &Arc<Hub>) -> Controller {
        self.serve_with(hub, Trusted)
    }

    pub(super) fn serve_with(&self, hub: &Arc<Hub>, admission: impl Admission) -> Controller {
        let (accept, accepted) = mpsc::unbounded_channel();
        *self.controller.lock().unwrap() = Some(accept);
        let service = grpc::service(hub.clone(), admission);
        let serving = async move {
            let incoming = UnboundedReceiverStream::new(accepted);
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        };
        Controller { hub: hub.clone(), network: self.clone(), serving: tokio::spawn(serving) }
    }

    /// A proxy's channel to whatever controller is there.
    pub(super) fn channel(&self) -> Channel {
        let network = self.clone();
        let connect = tower::service_fn(move |_: http::Uri| {
            let connected = network.connect();
            async move { connected.map(TokioIo::new) }
        });
        fairway_config::stream::client::endpoint(http::Uri::from_static("http://controller"))
            .connect_with_connector_lazy(connect)
    }

    pub(super) fn cut(&self) {
        self.wires.lock().unwrap().drain(..).for_each(|wire| wire.abort());
    }

    /// Bytes that controllers have sent to proxies so far.
    pub(super) fn bytes_to_proxies(&self) -> usize {
        self.to_proxies.load(Ordering::Relaxed)
    }

    fn connect(&self) -> io::Result<DuplexStream> {
        let controller = self.controller.lock().unwrap().clone();
        let controller = controller.ok_or(io::ErrorKind::ConnectionRefused)?;
        let (proxy_end, near) = tokio::io::duplex(64 * 1024);
        let (far, controller_end) = tokio::io::duplex(64 * 1024);
        controller.send(Ok(controller_end)).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        let wire = tokio::spawn(carry(near, far, self.to_proxies.clone()));
        self.wires.lock().unwrap().push(wire.abort_handle());
        Ok(proxy_end)
    }
}

async fn carry(near: DuplexStream, far: DuplexStream, to_proxies: Arc<AtomicUsize>) {
    let (mut from_proxy, mut to_proxy) = tokio::io::split(near);
    let (mut from_controller, mut to_controller) = tokio::io::split(far);
    let down = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_controller.read(&mut buffer).await {
            to_proxies.fetch_add(count, Ordering::Relaxed);
            if to_proxy.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    // One direction's end ends both: that is what a cut connection is.
    tokio::select! {
        () = down => {}
        _ = tokio::io::copy(&mut from_proxy, &mut to_controller) => {}
    }
}
