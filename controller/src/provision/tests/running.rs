//! The loop against an API server in memory.

use super::server::ApiServer;
use super::{parameters, proxy, roots, settings};
use crate::provision::{Owner, Proxy, ProxyService, Want, Wanted};
use crate::provision::{ProvisionEvent, Provisioner, Troubles, What};
use crate::resources::Routability;
use fairway_identity::TrustBundle;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

/// A provisioner that runs.
pub(super) struct Running {
    server: ApiServer,
    wanted: watch::Sender<Option<Arc<Wanted>>>,
    roots: watch::Sender<Option<TrustBundle>>,
    events: mpsc::UnboundedReceiver<ProvisionEvent>,
    pub(super) troubles: watch::Receiver<Troubles>,
    task: AbortHandle,
}

impl Running {
    pub(super) fn on(server: &ApiServer) -> Self {
        let provisioner = Provisioner::new(server.client(), settings());
        let troubles = provisioner.troubles();
        let (wanted, hears_wanted) = watch::channel(None);
        let (roots, hears_roots) = watch::channel(Some(roots("root")));
        let (sender, events) = mpsc::unbounded_channel();
        let task = tokio::spawn(provisioner.run(hears_wanted, hears_roots, sender)).abort_handle();
        Self { server: server.clone(), wanted, roots, events, troubles, task }
    }

    pub(super) async fn want(&mut self, proxies: Vec<Proxy>) -> Vec<String> {
        self.want_all(Wanted { proxies, ..Wanted::default() }).await
    }

    pub(super) async fn want_all(&mut self, wanted: Wanted) -> Vec<String> {
        self.wanted.send_replace(Some(Arc::new(wanted)));
        self.settled().await
    }

    /// What is written until nothing more happens.
    pub(super) async fn settled(&mut self) -> Vec<String> {
        // Time stands still while anybody has something to do; this is less than any pause of the loop.
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.server.take_writes()
    }

    fn happened(&mut self) -> Vec<(What, String)> {
        std::iter::from_fn(|| self.events.try_recv().ok()).map(|it| (it.what, it.message)).collect()
    }

    fn deployment(&self) -> Value {
        self.server.get("deployments", "edge", "public-fairway").unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const ALL: [&str; 5] = [
    "serviceaccounts public-fairway",
    "configmaps public-fairway",
    "services public-fairway",
    "poddisruptionbudgets public-fairway",
    "deployments public-fairway",
];

#[tokio::test(start_paused = true)]
async fn a_gateway_gets_what_it_needs_and_then_there_is_nothing_to_do() {
    let server = ApiServer::default();
    let mut running = Running::on(&server);
    assert_eq!(running.settled().await, [""; 0], "nothing is known yet");
    assert_eq!(running.want(vec![proxy("public")]).await, ALL, "what pods need comes before pods");
    let happened = running.happened();
    assert_eq!(happened.len(), 1);
    assert!(happened[0].1.contains("Deployment edge/public-fairway"), "{happened:?}");

    assert_eq!(running.want(vec![proxy("public")]).await, [""; 0]);
    // The status is not ours, nor is what others add.
    let annotation = json!({"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}, "status": {"replicas": 1}});
    server.edit("deployments", "edge", "public-fairway", "kubectl", annotation);
    assert_eq!(running.settled().await, ["deployments public-fairway"], "only the edit itself");
    assert!(running.happened().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_starts_again_writes_nothing_and_sees_what_it_missed() {
    let server = ApiServer::default();
    let mut first = Running::on(&server);
    first.want(vec![proxy("public"), proxy("old")]).await;
    drop(first);
    let mut second = Running::on(&server);
    assert_eq!(second.settled().await, [""; 0], "what nobody wants yet is not taken away");
    assert_eq!(second.want(vec![proxy("public"), proxy("old")]).await, [""; 0]);
    drop(second);

    server.edit("deployments", "edge", "public-fairway", "kubectl", json!({"spec": {"replicas": 7}}));
    server.take_writes();
    let mut third = Running::on(&server);
    let writes = third.want(vec![proxy("public")]).await;
    assert!(writes.contains(&"deployments public-fairway".to_owned()), "{writes:?}");
    assert_eq!(writes.iter().filter(|it| it.starts_with("delete")).count(), 5, "{writes:?}");
    assert_eq!(third.deployment()["spec"]["replicas"], 1);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_edits_or_deletes_is_put_right() {
    let server = ApiServer::default();
    let mut running = Running::on(&server);
    running.want(vec![proxy("public")]).await;
    running.happened();

    server.edit("deployments", "edge", "public-fairway", "kubectl", json!({"spec": {"replicas": 0}}));
    running.settled().await;
    assert_eq!(running.deployment()["spec"]["replicas"], 1);
    assert_eq!(running.happened(), [(What::Repaired, "Deployment edge/public-fairway".to_owned())]);

    server.delete("services", "edge", "public-fairway");
    let writes = running.settled().await;
    assert_eq!(writes, ["delete services public-fairway", "services public-fairway"]);
    assert_eq!(running.happened()[0].0, What::Provisioned);

    running.roots.send_replace(Some(roots("next")));
    assert_eq!(running.settled().await, ["configmaps public-fairway"]);
}

#[tokio::test(start_paused = true)]
async fn pods_are_made_anew_with_the_account_whose_tokens_they_have() {
    let server = ApiServer::default();
    let mut running = Running::on(&server);
    running.want(vec![proxy("public")]).await;
    let uid = |object: &Value| object["metadata"]["uid"].clone();
    let of_pods = |it: &Running| {
        let annotations = &it.deployment()["spec"]["template"]["metadata"]["annotations"];
        annotations["fairway.dev/service-account-uid"].clone()
    };
    let account = || server.get("serviceaccounts", "edge", "public-fairway").unwrap();
    let first = uid(&account());
    assert_eq!(of_pods(&running), first);

    server.delete("serviceaccounts", "edge", "public-fairway");
    let writes = running.settled().await;
    assert_eq!(writes[1..], ["serviceaccounts public-fairway", "deployments public-fairway"]);
    assert_ne!(uid(&account()), first);
    assert_eq!(of_pods(&running), uid(&account()));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ours_is_left_alone_and_said_so() {
    let server = ApiServer::default();
    let theirs =
        json!({"metadata": {"name": "public-fairway", "namespace": "edge"}, "spec": {"type": "ClusterIP"}});
    server.put("services", "helm", theirs);
    // It has our label, and yet it is not ours.
    let copied = json!({
        "metadata": {"name": "copied-fairway", "namespace": "edge", "labels": {"app.kubernetes.io/managed-by": "fairway-controller"},
                     "annotations": {"fairway.dev/gateway": "copied"}},
    });
    server.put("configmaps", "helm", copied);
    server.take_writes();

    let mut running = Running::on(&server);
    let writes = running.want(vec![proxy("public")]).await;
    assert!(!writes.iter().any(|it| it.contains("services ") || it.contains("copied")), "{writes:?}");
    assert_eq!(writes.len(), 4, "everything else is made: {writes:?}");
    let trouble = running.troubles.borrow()[&proxy("public").name].clone();
    assert!(trouble.contains("Service edge/public-fairway") && trouble.contains("rename"), "{trouble}");
    assert_eq!(server.get("services", "edge", "public-fairway").unwrap()["spec"]["type"], "ClusterIP");

    tokio::time::sleep(Duration::from_secs(200)).await;
    let told = running.happened().iter().filter(|(what, _)| *what == What::Failed).count();
    assert_eq!((told, server.take_writes().len()), (1, 0), "tried again, told once");
    server.delete("services", "edge", "public-fairway");
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(server.get("services", "edge", "public-fairway").unwrap()["spec"]["type"], "LoadBalancer");
    assert!(running.troubles.borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_goes_is_taken_away_and_what_has_to_be_mended_stays() {
    let server = ApiServer::default();
    let mut running = Running::on(&server);
    let asking = |name: &str, address: &str| ProxyService {
        address: Some(address.parse().unwrap()),
        ..ProxyService::usual(&name.into())
    };
    let services =
        vec![asking("public-fairway", "172.18.255.250"), asking("public-fairway-2", "172.18.255.251")];
    let two = Proxy { services, ..proxy("public") };
    assert_eq!(running.want(vec![two.clone()]).await.len(), 6);
    let service = |name: &str| server.get("services", "edge", name);
    assert_eq!(service("public-fairway-2").unwrap()["spec"]["loadBalancerIP"], "172.18.255.251");

    // The first address is given up; the second is asked for by the first Service, once it is free.
    let one = Proxy { services: vec![asking("public-fairway", "172.18.255.251")], ..two.clone() };
    assert_eq!(
        running.want(vec![one.clone()]).await,
        ["delete services public-fairway-2", "services public-fairway"]
    );

    let broken = Proxy { want: Want::Leave, ..one.clone() };
    assert_eq!(running.want(vec![broken]).await, [""; 0], "a mistake in the Gateway stops nothing");
    let silent = Proxy { ports: Vec::new(), listeners: Vec::new(), ..one.clone() };
    assert_eq!(running.want(vec![silent]).await, [""; 0], "the Service keeps its address");
    assert_eq!(running.want(vec![one]).await, [""; 0]);

    // An address of the cluster only: the load balancer goes first. And where nobody can give what is asked for, it goes too,
    // though nothing listens.
    let inner = ProxyService {
        routability: Routability::Cluster,
        ..ProxyService::usual(&"public-fairway-cluster".into())
    };
    let inner = Proxy { services: vec![inner], ..proxy("public") };
    assert_eq!(
        running.want(vec![inner.clone()]).await,
        ["delete services public-fairway", "services public-fairway-cluster"]
    );
    assert_eq!(service("public-fairway-cluster").unwrap()["spec"]["type"], "ClusterIP");
    let nowhere = Proxy { services: Vec::new(), ports: Vec::new(), listeners: Vec::new(), ..inner.clone() };
    assert_eq!(running.want(vec![nowhere]).await, ["delete services public-fairway-cluster"]);
    assert_eq!(running.want(vec![inner]).await, ["services public-fairway-cluster"]);

    assert_eq!(running.want(vec![]).await.len(), 5);
    assert!(server.names().is_empty(), "{:?}", server.names());
}

#[tokio::test(start_paused = true)]
async fn what_runs_for_a_gateway_that_cannot_be_read_outlives_a_restart_of_the_controller() {
    for want in [Want::Leave, Want::Hold] {
        let server = ApiServer::default();
        let mut running = Running::on(&server);
        running.want(vec![proxy("public")]).await;
        let before = server.names();
        drop(running);
        let mut anew = Running::on(&server);
        // Nothing is known of it but that it is there.
        let unread = Proxy { want, ports: Vec::new(), listeners: Vec::new(), ..proxy("public") };
        assert_eq!(anew.want(vec![unread]).await, [""; 0], "{want:?}");
        assert_eq!(server.names(), before, "{want:?}");
        anew.want(vec![proxy("public")]).await;
        assert_eq!(anew.want(vec![]).await.len(), before.len(), "it is deleted: {want:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_was_made_anew_takes_its_objects_over() {
    let server = ApiServer::default();
    let mut running = Running::on(&server);
    running.want(vec![proxy("public")]).await;
    let anew = Proxy { owner: Some(Owner { uid: "another".into() }), ..proxy("public") };
    assert_eq!(running.want(vec![anew]).await.len(), 5);
    assert_eq!(running.deployment()["metadata"]["ownerReferences"][0]["uid"], "another");
    assert_eq!(running.deployment()["metadata"]["ownerReferences"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_under_load_does_not_shrink_when_it_gets_an_autoscaler() {
    let server = ApiServer::default();
    let mut running = Running::on(&server);
    let fixed = Proxy { parameters: parameters(json!({"replicas": 5})), ..proxy("public") };
    running.want(vec![fixed.clone()]).await;
    let automatic =
        Proxy { parameters: parameters(json!({"autoscaling": {"maxReplicas": 9}})), ..proxy("public") };
    running.want(vec![automatic]).await;
    assert_eq!(running.deployment()["spec"]["replicas"], 5);
    // The autoscaler's say is not an edit.
    server.edit("deployments", "edge", "public-fairway", "hpa", json!({"spec": {"replicas": 8}}));
    running.settled().await;
    assert_eq!(running.deployment()["spec"]["replicas"], 8);
    running.want(vec![fixed]).await;
    assert_eq!(running.deployment()["spec"]["replicas"], 5);
    assert!(server.get("horizontalpodautoscalers", "edge", "public-fairway").is_none());
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_and_holds_up_nobody_else() {
    let server = ApiServer::default();
    let mut running = Running::on(&server);
    server.refuse(Some(("deployments/public-fairway", 403)));
    let writes = running.want(vec![proxy("public"), proxy("other")]).await;
    assert_eq!(writes.iter().filter(|it| it.contains("other-fairway")).count(), 5);
    let trouble = running.troubles.borrow()[&proxy("public").name].clone();
    assert!(trouble.contains("ClusterRole"), "{trouble}");
    server.refuse(None);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(server.take_writes(), ["deployments public-fairway"]);
    assert!(running.troubles.borrow().is_empty());
}

/// The loop once turned without end here: what was due had no step that could fail or succeed.
#[tokio::test(start_paused = true)]
async fn a_gateway_that_goes_while_something_of_it_fails_leaves_nothing_to_try() {
    let server = ApiServer::default();
    let mut running = Running::on(&server);
    server.refuse(Some(("deployments/public-fairway", 403)));
    running.want(vec![proxy("public")]).await;
    assert_eq!(running.troubles.borrow().len(), 1);
    running.want(vec![]).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(server.take_writes(), Vec::<String>::new());
    assert!(running.troubles.borrow().is_empty());
}
