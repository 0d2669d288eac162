//! Copies of requests for backends whose answers nobody reads. They never hold up the request they are of.

use super::access::{self, RequestSource};
use super::attempts::version_for;
use super::endpoint::{Destination, choose};
use super::head::ConnectionOptions;
use crate::body::{Recording, RequestBody};
use crate::upstream::caller::Caller;
use crate::upstream::tls::Protocol;
use crate::wire::Version;
use crate::worker::{Serving, Worker};
use bytes::Bytes;
use fairway_config::model::{BackendKey, BackendTarget, CertificateKey, RouteKind};
use http::request::Parts;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a mirrored request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A request that is mirrored.
pub struct Mirrored<'a> {
    pub worker: &'a Rc<Worker>,
    pub serving: &'a Rc<Serving>,
    pub caller: &'a Caller,
    /// Who asked, as policies look at it.
    pub source: RequestSource<'a>,
    /// Its head, after the filters.
    pub parts: &'a Parts,
    /// What is shown to backends that ask for a certificate.
    pub shown: Option<&'a CertificateKey>,
    /// What kind of route it is on.
    pub kind: RouteKind,
    /// What the client speaks.
    pub version: Version,
    /// What the client asked for.
    pub options: &'a ConnectionOptions,
}

/// Sends copies to these backends: at once without a body, else when all of the body has passed.
pub fn send(mirrored: &Mirrored<'_>, targets: &[&BackendTarget], recording: Option<&Recording>) {
    let copies: Vec<Copy> = targets.iter().filter_map(|target| Copy::new(mirrored, target)).collect();
    let Some(recording) = recording else {
        for copy in copies {
            copy.start(Vec::new(), None);
        }
        return;
    };
    if copies.is_empty() {
        return;
    }
    recording.when_whole(Box::new(move |whole| match whole {
        Some((chunks, trailers)) => {
            for copy in copies {
                copy.start(chunks.clone(), trailers.clone());
            }
        }
        None => copies.iter().for_each(Copy::drop_counted),
    }));
}

struct Copy {
    worker: Rc<Worker>,
    serving: Rc<Serving>,
    caller: Caller,
    parts: Parts,
    backend: BackendKey,
    shown: Option<CertificateKey>,
    kind: RouteKind,
    version: Version,
    options: ConnectionOptions,
}

impl Copy {
    /// A reference that leads nowhere is not mirrored to (the API has it logged, not answered), nor is a Service whose policies
    /// would refuse the request.
    fn new(mirrored: &Mirrored<'_>, target: &BackendTarget) -> Option<Self> {
        let BackendTarget::Backend(backend) = target else { return None };
        let Mirrored { worker, source, .. } = mirrored;
        let tables = &mirrored.serving.tables;
        if let Some(cluster) = tables.cluster(backend)
            && !access::admits_copy(worker, tables, cluster, *source, mirrored.parts)
        {
            worker.telemetry.counters.mirrors_dropped.increment();
            return None;
        }
        let mut parts = mirrored.parts.clone();
        parts.extensions.clear();
        Some(Self {
            worker: mirrored.worker.clone(),
            serving: mirrored.serving.clone(),
            caller: mirrored.caller.clone(),
            parts,
            backend: backend.clone(),
            shown: mirrored.shown.cloned(),
            kind: mirrored.kind,
            version: mirrored.version,
            options: mirrored.options.of_copy(),
        })
    }

    fn drop_counted(&self) {
        self.worker.telemetry.counters.mirrors_dropped.increment();
    }

    fn start(self, mut chunks: Vec<Bytes>, trailers: Option<HeaderMap>) {
        let worker = &self.worker;
        let Some(place) = worker.mirrors.take(&self.backend, worker.settings.limits.mirrors) else {
            return self.drop_counted();
        };
        worker.telemetry.counters.mirrored.increment();
        let body = if chunks.is_empty() && trailers.is_none() {
            RequestBody::Empty
        } else {
            chunks.reverse();
            RequestBody::Held { chunks, trailers }
        };
        tokio::task::spawn_local(async move {
            let _place = place;
            let _ = timeout(TIMEOUT, self.deliver(body)).await;
        });
    }

    async fn deliver(mut self, body: RequestBody) -> Option<()> {
        let cluster = self.serving.tables.cluster(&self.backend)?;
        let version = version_for(cluster.protocol(), Some(self.kind), self.version);
        let tls = cluster.tls(self.shown.as_ref()).ok()?;
        let (protocol, caller) = (Protocol::Http(version), &self.caller);
        let destination = Destination { cluster, tls, protocol, caller };
        let route = choose(&self.worker, &self.serving, destination, &[]).ok()?;
        let endpoint = route.endpoint;
        let _in_flight = endpoint.begin();
        super::outgoing::prepare(
            &mut self.parts,
            version,
            &self.options,
            false,
            endpoint.address(),
            route.scheme(),
        )
        .ok()?;
        let mut lease = match self.worker.pool.open_lease(&route, version) {
            Some(lease) => lease,
            None => Box::pin(self.worker.pool.new_lease(&route, version)).await.ok()?,
        };
        let mut request = Request::from_parts(self.parts, body);
        super::outgoing::frame(&mut request, version, self.options.will_trail);
        let response = lease.send(request).await.ok()?;
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame.ok()?;
        }
        lease.give_back();
        Some(())
    }
}
