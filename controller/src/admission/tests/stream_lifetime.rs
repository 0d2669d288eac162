//! How long a proxy is let in: as long as its token is good, and its pod is what it was.

use super::{authorization_index, edit, made_pod, output, program, reviewed, ztunnel};
use crate::admission::{AuthorizationIndex, ClusterAdmission, Reviewed};
use crate::resources::{Edit, Kind, ObjectRef};
use crate::serve::{Admission, Peer, StreamLifetime};
use fairway_config::model::ObjectName;
use fairway_config::stream::{Proxy, Subscription};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, timeout};
use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions};

fn lifetime(authorization_index: &Arc<AuthorizationIndex>, caller: Reviewed) -> StreamLifetime {
    let mut extensions = Extensions::new();
    extensions.insert(Arc::new(caller));
    let peer = Peer { extensions: &extensions, metadata: &MetadataMap::new() };
    let admission = ClusterAdmission::new(authorization_index.clone(), ztunnel(), program());
    let proxy = Proxy::Gateway(ObjectName::new("edge", "public"));
    admission.admit(peer, &Subscription::new(proxy, "1")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_the_token_expires() {
    let good_for = Duration::from_secs(600);
    let caller =
        Reviewed { expires: Some(SystemTime::now() + good_for), ..reviewed("edge", "public-fairway", None) };
    let began = Instant::now();
    let end = lifetime(&authorization_index(), caller).end().await;
    assert_eq!(end.code(), Code::Unauthenticated, "{end:?}");
    assert!(end.message().contains("expired"), "{end:?}");
    // The wall clock went on a little before.
    assert!(began.elapsed() <= good_for && began.elapsed() > good_for - Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_does_not_say_when_it_ends_is_good_for_an_hour() {
    let began = Instant::now();
    lifetime(&authorization_index(), reviewed("edge", "public-fairway", None)).end().await;
    assert_eq!(began.elapsed(), Duration::from_secs(3600));
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_the_pod_is_gone_or_changed_and_not_before() {
    let pod = || made_pod("edge", "public-fairway", "ReplicaSet", "public-fairway-5d9f");
    let mut changed = pod();
    changed["spec"]["containers"][0]["image"] = "evil".into();
    let mut touched = pod();
    touched["metadata"]["labels"]["touched"] = "yes".into();
    for (news, ends) in [
        (Edit::Remove(ObjectRef::new(Kind::Pod, "edge", "public-fairway-5d9f-x")), true),
        (edit(changed), true),
        (edit(touched), false),
    ] {
        let authorization_index = authorization_index();
        let mut lifetime = lifetime(&authorization_index, reviewed("edge", "public-fairway", None));
        assert!(timeout(Duration::from_secs(60), lifetime.end()).await.is_err(), "nothing has happened");
        authorization_index.see(std::slice::from_ref(&news));
        let end = timeout(Duration::from_secs(60), lifetime.end()).await;
        assert_eq!(end.is_ok(), ends, "{news:?}");
        assert!(end.map_or(true, |it| it.code() == Code::PermissionDenied));
    }
    // Nor does what else is compiled end it.
    let authorization_index = authorization_index();
    let mut lifetime = lifetime(&authorization_index, reviewed("edge", "public-fairway", None));
    authorization_index.take(&output());
    assert!(timeout(Duration::from_secs(60), lifetime.end()).await.is_err());
}
