use super::{Handler, serve};
use crate::ownership::Ownership;
use crate::pod::{Netns, PodError, PodEvent};
use crate::pod_status::PodState;
use crate::registration::{Client, Server};
use crate::state;
use crate::view::{PodTable, View};
use fairway_runtime::drain;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

#[tokio::test]
async fn a_caller_hears_when_the_pod_may_start_and_why_it_may_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ztunnel.sock");
    let (pods, mut events) = mpsc::channel(1);
    let (_applier, state) = state::channel(Default::default(), Default::default(), |_| {});
    let view = View { state, pods: PodTable::default(), connections: Arc::new([]) };
    let (_trigger, watch) = drain::channel();
    let server = Server::bind(&path).await.unwrap();
    assert!(Server::bind(&path).await.is_err());
    let handler = Handler { pods, view, ownership: Ownership::default() };
    let serving = tokio::spawn(serve(server, handler, watch));
    let tunnel = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            let PodEvent::Added { pod, done } = event else {
                continue;
            };
            assert_eq!(pod.key.as_str(), "shop/web");
            assert!(matches!(pod.netns, Netns::At(path) if path == Path::new("/run/netns/web")));
            let outcome = if &*pod.uid == "good" { Ok(PodState::Captured) } else { Err(PodError::Gone) };
            done.send(outcome).unwrap();
        }
    });
    let mut client = Client::connect(&path).await.unwrap();
    let netns = Path::new("/run/netns/web");
    assert_eq!(client.add("good", "shop", "web", netns).await.unwrap(), PodState::Captured);
    assert_eq!(
        client.add("bad", "shop", "web", netns).await.unwrap_err().to_string(),
        "the tunnel refused: the pod was removed, or the tunnel is ending"
    );
    client.remove("good").await.unwrap();
    assert_eq!(client.list().await.unwrap(), []);
    serving.abort();
    tunnel.abort();
    // The socket file of a process that has exited is replaced.
    let _ = serving.await;
    // An open connection keeps the socket open too, for a handoff.
    drop(client);
    let again = async {
        while Server::bind(&path).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), again).await.expect("the socket is bound again");
}
