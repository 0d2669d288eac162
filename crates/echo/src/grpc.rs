//! The gRPC service `fairway.echo.v1.Echo`: unary calls and streams that name the pod.

use crate::proto::{EchoRequest, EchoResponse, Header, echo_server::Echo};
use crate::request::pairs;
use crate::server::EchoServer;
use futures_util::{StreamExt, stream};
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
use tonic::{Code, Request, Response, Status, Streaming};

/// The connection's other end, among a request's extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

#[derive(Clone, Debug)]
pub(crate) struct Service {
    server: EchoServer,
}

type Answers = Pin<Box<dyn futures_util::Stream<Item = Result<EchoResponse, Status>> + Send>>;

/// What is the same in every answer to a call.
#[derive(Clone, Debug)]
struct Caller {
    pod: String,
    peer: String,
    headers: Vec<Header>,
}

// === impl Service ===

impl Service {
    pub(crate) fn new(server: EchoServer) -> Self {
        Self { server }
    }

    fn caller<T>(&self, request: &Request<T>) -> Caller {
        let headers = pairs(&request.metadata().clone().into_headers());
        Caller {
            pod: self.server.pod().to_owned(),
            peer: request.extensions().get().map(|Peer(address)| address.to_string()).unwrap_or_default(),
            headers: headers.into_iter().map(|(name, value)| Header { name, value }).collect(),
        }
    }

    /// Waits and fails as the request asks.
    async fn obey(&self, wanted: &EchoRequest) -> Result<(), Status> {
        tokio::time::sleep(Duration::from_millis(wanted.delay_millis.into())).await;
        if wanted.fail_first > 0 && self.server.memory().is_to_fail(&wanted.key, wanted.fail_first) {
            return Err(Status::unavailable("one of the first calls, which fail"));
        }
        match Code::from_i32(wanted.status.cast_signed()) {
            Code::Ok => Ok(()),
            code => Err(Status::new(code, "as asked")),
        }
    }
}

// === impl Caller ===

impl Caller {
    fn answer(&self, message: String, number: u32) -> EchoResponse {
        let Self { pod, peer, headers } = self.clone();
        EchoResponse { pod, message, peer, headers, number }
    }
}

#[tonic::async_trait]
impl Echo for Service {
    type ServerStreamStream = Answers;
    type BidiStreamStream = Answers;

    async fn unary(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        let caller = self.caller(&request);
        let wanted = request.into_inner();
        self.obey(&wanted).await?;
        Ok(Response::new(caller.answer(wanted.message, 0)))
    }

    async fn server_stream(&self, request: Request<EchoRequest>) -> Result<Response<Answers>, Status> {
        let caller = self.caller(&request);
        let wanted = request.into_inner();
        self.obey(&wanted).await?;
        let interval = Duration::from_millis(wanted.interval_millis.into());
        let answers = stream::iter(0..wanted.count).then(move |number| {
            let answer = caller.answer(wanted.message.clone(), number);
            async move {
                if number > 0 {
                    tokio::time::sleep(interval).await;
                }
                Ok(answer)
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn bidi_stream(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let caller = self.caller(&request);
        let service = self.clone();
        let answers = request.into_inner().enumerate().then(move |(number, wanted)| {
            let (caller, service) = (caller.clone(), service.clone());
            async move {
                let wanted = wanted?;
                service.obey(&wanted).await?;
                Ok(caller.answer(wanted.message, u32::try_from(number).unwrap_or(u32::MAX)))
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
