use super::verdict;
use crate::admission::{ApiReviewer, Cached, NotReviewed, ReviewError, Reviewed, Reviewer};
use crate::provision::tests::server::ApiServer;
use fairway_config::model::ObjectName;
use k8s_openapi::api::authentication::v1::TokenReviewStatus;
use serde_json::{Value, json};
use std::time::Duration;

fn read(verdict: Value) -> Result<Reviewed, NotReviewed> {
    let status: TokenReviewStatus = serde_json::from_value(verdict).unwrap();
    Reviewed::read(&status, "fairway.dev")
}

#[test]
fn a_verdict_says_whose_a_token_is_or_it_says_nothing() {
    let with = |pointer: &str, value: Value| {
        let mut verdict = verdict("edge/public-fairway", "n1");
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        verdict.pointer_mut(parent).unwrap()[field] = value;
        verdict
    };
    let good = read(verdict("edge/public-fairway", "n1")).unwrap();
    assert_eq!(good.service_account, ObjectName::new("edge", "public-fairway"));
    assert_eq!((&*good.pod.name, good.node.as_deref()), ("pod", Some("n1")));

    let refused = |why: &str| NotReviewed::Refused(why.to_owned());
    let account = || ObjectName::new("edge", "public-fairway");
    for (verdict, error) in [
        (json!({"authenticated": false, "error": "token has expired"}), refused("token has expired")),
        (json!({}), refused("it is not valid, or not any more")),
        (
            with("/audiences", json!(["https://kubernetes.default.svc"])),
            NotReviewed::OtherAudience("fairway.dev"),
        ),
        (with("/audiences", Value::Null), NotReviewed::OtherAudience("fairway.dev")),
        (with("/user/username", json!("alice")), NotReviewed::NotServiceAccount("alice".into())),
        (
            with("/user/username", json!("system:node:n1")),
            NotReviewed::NotServiceAccount("system:node:n1".into()),
        ),
        (with("/user/extra", json!({})), NotReviewed::NotBound(account())),
    ] {
        assert_eq!(read(verdict), Err(error));
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_says_itself_when_it_ends() {
    let server = ApiServer::default();
    let reviewer = ApiReviewer::new(server.client());
    // {"exp":1700000000}, with what a signature would be; no claims; not even base64.
    for (token, expires) in [
        ("x.eyJleHAiOjE3MDAwMDAwMDB9.y", Some(1_700_000_000)),
        ("x.eyJleHAiOjE3MDAwMDAwMDB9=.y", Some(1_700_000_000)),
        ("x.e30.y", None),
        ("x.!!.y", None),
        ("opaque", None),
    ] {
        server.know_token(token, verdict("edge/public-fairway", "n1"));
        let reviewed = reviewer.review(token).await.unwrap();
        let since = |it: std::time::SystemTime| it.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(reviewed.expires.map(since), expires, "{token}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_api_server_is_asked_once_in_a_while() {
    let server = ApiServer::default();
    server.know_token("good", verdict("edge/public-fairway", "n1"));
    let reviewer = Cached::new(ApiReviewer::new(server.client()));
    for _ in 0..10 {
        reviewer.review("good").await.unwrap();
        assert!(matches!(reviewer.review("bad").await, Err(ReviewError::NotReviewed(_))));
    }
    assert_eq!(server.reviews(), 2);

    // The pod is gone, and with it the worth of its token.
    server.know_token("good", json!({"authenticated": false}));
    tokio::time::advance(Duration::from_secs(29)).await;
    assert!(reviewer.review("good").await.is_ok());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(reviewer.review("good").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_asked_is_not_remembered() {
    let server = ApiServer::default();
    server.know_token("good", verdict("edge/public-fairway", "n1"));
    server.refuse_reviews(true);
    let reviewer = Cached::new(ApiReviewer::new(server.client()));
    let error = reviewer.review("good").await.unwrap_err();
    assert!(error.to_string().contains("ClusterRole"), "{error}");
    server.refuse_reviews(false);
    assert!(reviewer.review("good").await.is_ok());
}
