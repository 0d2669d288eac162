//! What the leading replica does for the proxies: it has the roots, serves over TLS to who shows a token, and provisions.

use super::Base;
use crate::admission::{
    ApiReviewer, Authenticated, AuthorizationIndex, Cached, ClusterAdmission, ClusterEntitlement,
    ProxyProgram,
};
use crate::ca::{self, Authority, IdentityService, SecretStore, Serving};
use crate::capture::{self, CaptureService};
use crate::events::{self, Recorder};
use crate::provision::Wanted;
use crate::provision::{self, ProvisionEvent, Provisioner, Troubles, What};
use crate::resources::{Kind, ObjectRef};
use crate::serve::{Hub, grpc};
use crate::status::StatusCache;
use anyhow::Context;
use fairway_config::model::ObjectName;
use fairway_identity::TrustDomain;
use fairway_runtime::metrics::Outcomes;
use fairway_runtime::settings::parse_duration;
use fairway_runtime::{drain, transport};
use kube::Client;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// The Service at which proxies find the leader.
const SERVICE: &str = "fairway-controller";
/// The Secret with the roots.
const ROOTS: &str = "fairway-ca";
/// The service account of the tunnels.
const ZTUNNEL: &str = "fairway-ztunnel";

/// What concerns what the leader does for proxies.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct LeaderArguments {
    /// The image that Gateways' proxies run (needed with --kubernetes)
    #[arg(long, env = "FAIRWAY_WAYPOINT_IMAGE", value_name = "IMAGE")]
    pub(super) waypoint_image: Option<String>,

    /// When nodes pull that image: Always, IfNotPresent or Never (only with --kubernetes)
    #[arg(long, env = "FAIRWAY_IMAGE_PULL_POLICY", value_name = "POLICY")]
    image_pull_policy: Option<String>,

    /// How long a waypoint that nothing needs any more is kept (only with --kubernetes)
    #[arg(long, env = "FAIRWAY_WAYPOINT_LINGER", default_value = "10m", value_name = "TIME", value_parser = parse_duration)]
    waypoint_linger: Duration,
}

/// What the leading replica does for the proxies.
pub(super) struct LeaderServices {
    client: Client,
    namespace: String,
    listen: SocketAddr,
    hub: Arc<Hub>,
    status_cache: Arc<StatusCache>,
    authorization_index: Arc<AuthorizationIndex>,
    issued: Outcomes,
    trust_domain: TrustDomain,
    authority: ca::Settings,
    provisioner: Provisioner,
    program: ProxyProgram,
}

// === impl LeaderServices ===

impl LeaderServices {
    /// Takes what it needs.
    pub(super) fn new(base: &Base, arguments: &crate::program::Arguments) -> anyhow::Result<Self> {
        let Base { client, replica, hub, status_cache, authorization_index, issued, .. } = base;
        let own = &arguments.cluster.services;
        let image =
            own.waypoint_image.clone().context("--waypoint-image (or FAIRWAY_WAYPOINT_IMAGE) is needed")?;
        let uri = format!("https://{}:{}", host(&replica.namespace), replica.listen.port());
        let provision = provision::Settings {
            image_pull_policy: own.image_pull_policy.clone(),
            log_format: Some(arguments.log.log_format.as_str().to_owned()),
            waypoint_linger: own.waypoint_linger,
            rights: base.settings.rights.clone(),
            ..provision::Settings::new(image, uri)
        };
        Ok(Self {
            client: client.clone(),
            namespace: replica.namespace.clone(),
            listen: replica.listen,
            hub: hub.clone(),
            status_cache: status_cache.clone(),
            authorization_index: authorization_index.clone(),
            issued: issued.clone(),
            trust_domain: arguments.trust_domain.clone(),
            authority: arguments.authority(),
            program: ProxyProgram::new(
                provision.image.clone(),
                provision.rights.clone(),
                provision.controller.clone(),
            ),
            provisioner: Provisioner::new(client.clone(), provision),
        })
    }

    /// What cannot be provided, and why.
    pub(super) fn troubles(&self) -> watch::Receiver<Troubles> {
        self.provisioner.troubles()
    }

    /// Runs until serving fails. `opened` is told when proxies can come.
    pub(super) async fn run(
        self,
        wanted: watch::Receiver<Option<Arc<Wanted>>>,
        events: Recorder,
        opened: oneshot::Sender<()>,
    ) -> anyhow::Result<()> {
        let ztunnel = ObjectName::new(self.namespace.as_str(), ZTUNNEL);
        let store = SecretStore::new(self.client.clone(), &self.namespace, ROOTS);
        let entitlement =
            ClusterEntitlement::new(self.authorization_index.clone(), ztunnel.clone(), self.program.clone());
        let authority = Authority::open(self.trust_domain, self.authority, store, entitlement).await;
        let authority = authority.context("the roots of the mesh")?;
        let serving = Serving::start(authority.clone(), vec![host(&self.namespace)])?;
        let listener =
            transport::TlsListener::bind(self.listen, serving.clone()).await.context("--listen")?;

        // Ended by being dropped with this: a leader that ends does not keep its proxies waiting.
        let (_trigger, watch) = drain::channel();
        let reviewer = Arc::new(Cached::new(ApiReviewer::new(self.client.clone())));
        let admission = ClusterAdmission::new(self.authorization_index.clone(), ztunnel, self.program);
        let configuration = grpc::service(self.hub, admission.clone());
        let (reports, reported) = capture::reports();
        let capture = CaptureService::server(reports, self.authorization_index.clone(), admission);
        let identity = IdentityService::server(authority.clone(), watch.clone(), self.issued);
        let services = transport::server()
            .add_service(Authenticated::new(
                configuration,
                reviewer.clone(),
                self.authorization_index.clone(),
            ))
            .add_service(Authenticated::new(identity, reviewer.clone(), self.authorization_index.clone()))
            .add_service(Authenticated::new(capture, reviewer, self.authorization_index.clone()));
        let stop = async move { watch.reached(drain::Phase::Draining).await };
        let _ = opened.send(());

        let (sender, happened) = mpsc::unbounded_channel();
        tokio::select! {
            served = transport::serve_tls(services, listener, stop) => served.context("serving proxies"),
            () = self.provisioner.run(wanted, authority.bundles(), sender) => Ok(()),
            () = tell(happened, &self.status_cache, &events) => Ok(()),
            () = serving.keep() => Ok(()),
            () = authority.keep() => Ok(()),
            () = capture::write(&self.client, reported, &self.authorization_index, &events) => Ok(()),
            () = ca::publish(&self.client, &self.namespace, authority.bundles()) => Ok(()),
        }
    }
}

/// The name by which proxies know the controller.
fn host(namespace: &str) -> String {
    format!("{SERVICE}.{namespace}.svc")
}

/// Makes Events of what happens to Gateways.
async fn tell(
    mut happened: mpsc::UnboundedReceiver<ProvisionEvent>,
    status_cache: &StatusCache,
    events: &Recorder,
) {
    while let Some(ProvisionEvent { gateway, what, message }) = happened.recv().await {
        let object = ObjectRef::from_name(Kind::Gateway, &gateway);
        let Some(record) = status_cache.cached(&object).record else { continue };
        let (good, reason) = (what != What::Failed, what.reason().to_owned());
        events.publish(&record.regarding(&object), vec![events::Event { good, reason, note: message }]);
    }
}
