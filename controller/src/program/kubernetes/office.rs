//! What the leading replica does for the proxies: it has the roots, serves over TLS to who shows a token, and provisions.

use super::Base;
use crate::admission::{ApiReviewer, Authenticated, Cached, ClusterAdmission, ClusterEntitlement};
use crate::ca::{Authority, IdentityService, SecretStore, Serving};
use crate::compile::Proxy;
use crate::events::Recorder;
use crate::provision::{Happening, Provisioner, What};
use crate::resources::{Kind, ObjectRef};
use crate::serve::grpc;
use crate::status::Ledger;
use crate::{events, provision};
use anyhow::Context;
use fairway_config::model::ObjectName;
use fairway_runtime::{drain, transport};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// The Service at which proxies find the leader.
const SERVICE: &str = "fairway-controller";
/// The Secret with the roots.
const ROOTS: &str = "fairway-ca";
/// The service account of the tunnels.
const ZTUNNEL: &str = "fairway-ztunnel";

/// What concerns what the leader does for proxies.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct OfficeArguments {
    /// The image that Gateways' proxies run (only with --kubernetes)
    #[arg(long, env = "FAIRWAY_WAYPOINT_IMAGE", value_name = "IMAGE")]
    waypoint_image: Option<String>,

    /// When nodes pull that image: Always, IfNotPresent or Never (only with --kubernetes)
    #[arg(long, env = "FAIRWAY_IMAGE_PULL_POLICY", value_name = "POLICY")]
    image_pull_policy: Option<String>,
}

/// Opens for the proxies; when this returns, they are listened to. Dropping what it gives back ends what is open.
pub(super) async fn open(
    base: &Base,
    arguments: &crate::program::Arguments,
    proxies: watch::Receiver<Option<Arc<[Proxy]>>>,
    events: Recorder,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<drain::Trigger> {
    let Base { client, place, hub, ledger, roster, .. } = base;
    let namespace = &*place.namespace;
    let ztunnel = ObjectName::new(namespace, ZTUNNEL);
    let authority = Authority::open(
        arguments.trust_domain.clone(),
        crate::ca::Settings { lifetime: arguments.certificate_lifetime, ..crate::ca::Settings::default() },
        SecretStore::new(client.clone(), namespace, ROOTS),
        ClusterEntitlement::new(roster.clone(), ztunnel.clone()),
    );
    let authority = authority.await.context("the roots of the mesh")?;
    let host = format!("{SERVICE}.{namespace}.svc");
    let serving = Serving::start(authority.clone(), vec![host.clone()])?;
    let listener = transport::TlsListener::bind(place.listen, serving.clone()).await.context("--listen")?;

    let (trigger, watch) = drain::channel();
    let reviewer = Arc::new(Cached::new(ApiReviewer::new(client.clone())));
    let configuration = grpc::service(hub.clone(), ClusterAdmission::new(roster.clone(), ztunnel));
    let identity = IdentityService::server(authority.clone(), watch.clone());
    let services = transport::server()
        .add_service(Authenticated::new(configuration, reviewer.clone(), roster.clone()))
        .add_service(Authenticated::new(identity, reviewer, roster.clone()));
    tasks.spawn(async move {
        let stop = async move { watch.reached(drain::Phase::Draining).await };
        transport::serve_tls(services, listener, stop).await.context("serving proxies")
    });

    let image = arguments.cluster.office.waypoint_image.clone().context("--waypoint-image is needed")?;
    let settings = provision::Settings {
        image_pull_policy: arguments.cluster.office.image_pull_policy.clone(),
        log_format: Some(arguments.log.log_format.to_string()),
        ..provision::Settings::new(image, format!("https://{host}:{}", place.listen.port()))
    };
    let provisioner = Provisioner::new(client.clone(), settings);
    let (sender, happenings) = mpsc::unbounded_channel();
    let bundles = authority.bundles();
    tasks.spawn(async move {
        provisioner.run(proxies, bundles, sender).await;
        Ok(())
    });
    tasks.spawn(tell(happenings, ledger.clone(), events));
    tasks.spawn(async move {
        serving.keep().await;
        Ok(())
    });
    tasks.spawn(async move {
        authority.keep().await;
        Ok(())
    });
    Ok(trigger)
}

/// Makes Events of what happens to Gateways.
async fn tell(
    mut happenings: mpsc::UnboundedReceiver<Happening>,
    ledger: Arc<Ledger>,
    events: Recorder,
) -> anyhow::Result<()> {
    while let Some(Happening { gateway, what, message }) = happenings.recv().await {
        let object = ObjectRef::of(Kind::Gateway, &gateway);
        let Some(record) = ledger.line(&object).record else { continue };
        let happening = events::Happening {
            good: what != What::Failed,
            reason: what.reason().to_owned(),
            note: message,
        };
        events.tell(&object, &record, vec![happening]);
    }
    Ok(())
}
