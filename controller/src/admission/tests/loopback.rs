//! Roots in a Secret, TLS, tokens, configuration and identities: all of it over loopback.

use super::{authorization_index, made, output, program, verdict, ztunnel};
use crate::admission::token;
use crate::admission::{
    ApiReviewer, Authenticated, AuthorizationIndex, Cached, ClusterAdmission, ClusterEntitlement,
};
use crate::ca::{Authority, IdentityService, SecretStore, Serving, Settings};
use crate::provision::tests::server::ApiServer;
use crate::serve::{Hub, grpc};
use fairway_config::model::ObjectName;
use fairway_config::stream::{Proxy, Subscription, client};
use fairway_config::{Apply, Changes, Snapshot};
use fairway_identity::{
    BearerToken, ControllerChannel, GrpcIssuer, Identities, IssueError, Issuer, SpiffeId,
};
use fairway_runtime::metrics::Outcomes;
use fairway_runtime::{drain, transport};
use rcgen::{CertificateParams, KeyPair};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::timeout;

/// A controller on a port of loopback.
struct Controller {
    api: ApiServer,
    authority: Arc<Authority>,
    hub: Arc<Hub>,
    uri: String,
    directory: TempDir,
    _trigger: drain::Trigger,
}

impl Controller {
    async fn start(authorization_index: Arc<AuthorizationIndex>) -> Self {
        let api = ApiServer::default();
        let authority = Authority::open(
            "cluster.local".parse().unwrap(),
            Settings::default(),
            SecretStore::new(api.client(), "fairway-system", "fairway-ca"),
            ClusterEntitlement::new(authorization_index.clone(), ztunnel(), program()),
        )
        .await
        .unwrap();
        let serving = Serving::start(authority.clone(), vec!["localhost".to_owned()]).unwrap();
        let listener = transport::TlsListener::bind("127.0.0.1:0".parse().unwrap(), serving).await.unwrap();
        let uri = format!("https://localhost:{}", listener.local_address().unwrap().port());
        let (trigger, watch) = drain::channel();
        let hub = Hub::new();
        let reviewer = Arc::new(Cached::new(ApiReviewer::new(api.client())));
        let configuration = grpc::service(
            hub.clone(),
            ClusterAdmission::new(authorization_index.clone(), ztunnel(), program()),
        );
        let identity = IdentityService::server(authority.clone(), watch.clone(), Outcomes::default());
        let services = transport::server()
            .add_service(Authenticated::new(configuration, reviewer.clone(), authorization_index.clone()))
            .add_service(Authenticated::new(identity, reviewer, authorization_index));
        tokio::spawn(transport::serve_tls(services, listener, async move {
            watch.reached(drain::Phase::Draining).await;
        }));
        let controller =
            Self { api, authority, hub, uri, directory: tempfile::tempdir().unwrap(), _trigger: trigger };
        let bundle = controller.authority.bundles().borrow().clone().unwrap();
        std::fs::write(controller.file("ca.crt"), bundle.to_pem()).unwrap();
        controller
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The way of a program that shows this token.
    fn channel(&self, token: &str) -> ControllerChannel {
        let file = self.file(&format!("token-{token}"));
        std::fs::write(&file, token::like(token)).unwrap();
        let channel = transport::connect(&self.uri, Some(&self.file("ca.crt"))).unwrap();
        ControllerChannel::new(channel, BearerToken::new(Some(file)))
    }

    async fn issue(&self, token: &str, id: &str) -> Result<(), IssueError> {
        let id: SpiffeId = format!("spiffe://cluster.local/{id}").parse().unwrap();
        let request = CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap();
        let issuer = GrpcIssuer::start(self.channel(token));
        issuer.issue(id, request.der().to_vec()).await.map(drop)
    }
}

struct Take;

impl Apply for Take {
    fn apply(&mut self, _: &Snapshot, _: &Changes) -> Result<(), Vec<fairway_config::Rejected>> {
        Ok(())
    }
}

/// What becomes of a subscription with this token.
async fn subscribe(controller: &Controller, token: &str, proxy: Proxy) -> Result<u64, String> {
    let subscription = Subscription::new(proxy, "test");
    let (mut progress, following) =
        client::follow(controller.channel(token), subscription, None, Box::new(Take));
    let following = tokio::spawn(following);
    let reached =
        progress.wait_for(|it| it.generation.0 > 0 || it.last_error.is_some()).await.unwrap().clone();
    following.abort();
    match reached.last_error {
        Some(error) => Err(error.to_string()),
        None => Ok(reached.generation.0),
    }
}

#[tokio::test]
async fn a_proxy_gets_its_configuration_and_its_identity_and_nobody_elses() {
    let controller = Controller::start(authorization_index()).await;
    controller.hub.commit(output().upserts, Vec::new());
    controller.api.know_token(&token::like("public"), verdict("edge/public-fairway", "n1"));
    controller.api.know_token(&token::like("tunnel"), verdict("fairway-system/fairway-ztunnel", "n1"));
    let gateway = |name: &str| Proxy::Gateway(ObjectName::new("edge", name));

    assert_eq!(subscribe(&controller, "public", gateway("public")).await, Ok(1));
    let refused = subscribe(&controller, "public", gateway("other")).await.unwrap_err();
    assert!(refused.contains("is that of Gateway edge/public"), "{refused}");
    let unknown = subscribe(&controller, "forged", gateway("public")).await.unwrap_err();
    assert!(unknown.contains("does not take the token"), "{unknown}");
    assert_eq!(subscribe(&controller, "tunnel", Proxy::Node("n1".into())).await, Ok(1));
    assert!(subscribe(&controller, "tunnel", Proxy::Node("n2".into())).await.is_err());

    let identities = Identities::start(
        GrpcIssuer::start(controller.channel("public")),
        fairway_identity::Settings::default(),
    );
    let own = identities.subscribe(&"spiffe://cluster.local/ns/edge/sa/public-fairway".parse().unwrap());
    assert_eq!(own.ready().await.id().service_account(), "public-fairway");

    assert_eq!(controller.issue("tunnel", "ns/shop/sa/web").await, Ok(()));
    let refused = controller.issue("tunnel", "ns/shop/sa/db").await.unwrap_err();
    assert!(matches!(&refused, IssueError::Refused(it) if it.contains("node n1")), "{refused}");
    assert!(matches!(controller.issue("forged", "ns/shop/sa/web").await, Err(IssueError::Refused(_))));
}

#[tokio::test]
async fn who_comes_before_anything_is_compiled_waits_and_is_not_turned_away() {
    let authorization_index = Arc::new(AuthorizationIndex::default());
    authorization_index.see(&[made("edge", "public-fairway", "ReplicaSet", "public-fairway-5d9f")]);
    let controller = Controller::start(authorization_index.clone()).await;
    controller.api.know_token(&token::like("public"), verdict("edge/public-fairway", "n1"));
    let asking = controller.issue("public", "ns/edge/sa/public-fairway");
    let compiling = async {
        let asked = async {
            while controller.api.reviews() == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(60), asked).await.expect("the API server is asked to review the token");
        authorization_index.take(&output());
    };
    let (answer, ()) = tokio::join!(asking, compiling);
    assert_eq!(answer, Ok(()));
}

#[tokio::test]
async fn of_two_replicas_that_make_roots_at_once_one_wins_and_both_have_the_same() {
    let api = ApiServer::default();
    let open = || {
        Authority::open(
            "cluster.local".parse().unwrap(),
            Settings::default(),
            SecretStore::new(api.client(), "fairway-system", "fairway-ca"),
            ClusterEntitlement::new(authorization_index(), ztunnel(), program()),
        )
    };
    let (a, b) = tokio::join!(open(), open());
    let (a, b) = (a.unwrap(), b.unwrap());
    let roots = |it: &Authority| it.bundles().borrow().clone().unwrap().roots;
    assert_eq!(roots(&a), roots(&b));
    assert_eq!(api.take_writes(), ["secrets fairway-ca"]);

    // One rotates; the other, which has not heard of it, does not write over that.
    a.rotate().await.unwrap();
    let error = b.rotate().await.unwrap_err().to_string();
    assert!(error.contains("changed by somebody else"), "{error}");
    let third = open().await.unwrap();
    assert_eq!((roots(&third), roots(&third).len()), (roots(&a), 2));
}

/// A pod that knows the port and has no token of a proxy: nothing that it says reaches the API server.
#[tokio::test]
async fn garbage_in_place_of_a_token_costs_the_api_server_nothing() {
    let controller = Controller::start(authorization_index()).await;
    for garbage in ["garbage", "a.b.c", "e30.e30.e30"] {
        let file = controller.file("garbage");
        std::fs::write(&file, garbage).unwrap();
        let channel = transport::connect(&controller.uri, Some(&controller.file("ca.crt"))).unwrap();
        let issuer = GrpcIssuer::start(ControllerChannel::new(channel, BearerToken::new(Some(file))));
        let id = "spiffe://cluster.local/ns/shop/sa/web".parse().unwrap();
        let refused = issuer.issue(id, Vec::new()).await.unwrap_err();
        assert!(matches!(refused, IssueError::Refused(_)), "{refused}");
    }
    assert_eq!(controller.api.reviews(), 0);
}
