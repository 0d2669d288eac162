//! Candidates against an API server in memory that has one Lease.

use super::lease::Term;
use super::{Candidate, Timing};
use crate::apiserver::testing::{self, ApiResponse, failure, whole};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// An API server that has one Lease. Clones are of the same.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    lease: Option<Value>,
    version: u64,
    down: bool,
    slow: Duration,
}

impl State {
    fn steal(&mut self, holder: &str) {
        self.version += 1;
        let lease = self.lease.as_mut().unwrap();
        lease["spec"]["holderIdentity"] = json!(holder);
        lease["metadata"]["resourceVersion"] = json!(self.version.to_string());
    }
}

impl Server {
    fn candidate(&self, me: &str) -> Candidate {
        let server = self.clone();
        let client = testing::client(move |head, body| {
            let server = server.clone();
            async move { server.answer(&head, &body).await }
        });
        Candidate::new(client, "fairway-system", me.into(), Timing::default())
    }

    fn set_down(&self, down: bool) {
        self.0.lock().unwrap().down = down;
    }

    /// Lets each answer wait; what is asked is done at once.
    fn set_slow(&self, slow: Duration) {
        self.0.lock().unwrap().slow = slow;
    }

    fn holder(&self) -> String {
        let state = self.0.lock().unwrap();
        state.lease.as_ref().unwrap()["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    }

    async fn answer(
        &self,
        parts: &http::request::Parts,
        body: &[u8],
    ) -> Result<ApiResponse, tower::BoxError> {
        let slow = self.0.lock().unwrap().slow;
        let answer = self.decide(parts, body);
        sleep(slow).await;
        answer
    }

    fn decide(&self, parts: &http::request::Parts, body: &[u8]) -> Result<ApiResponse, tower::BoxError> {
        let mut state = self.0.lock().unwrap();
        if state.down {
            return Err("connection refused".into());
        }
        let has = state.lease.as_ref().map(|it| it["metadata"]["resourceVersion"].clone());
        if parts.method == Method::GET {
            return Ok(match &state.lease {
                Some(lease) => whole(StatusCode::OK, lease),
                None => failure(404, "no"),
            });
        }
        let mut lease: Value = serde_json::from_slice(body)?;
        if has.is_some_and(|it| it != lease["metadata"]["resourceVersion"]) {
            return Ok(failure(409, "no"));
        }
        state.version += 1;
        lease["metadata"]["resourceVersion"] = json!(state.version.to_string());
        state.lease = Some(lease.clone());
        Ok(whole(StatusCode::OK, &lease))
    }
}

/// A second candidate and the first one's term, which is kept for a while.
async fn two(server: &Server, kept: Duration) -> (Term, Candidate) {
    let mut term = server.candidate("a").win().await;
    assert!(timeout(kept, term.keep()).await.is_err(), "it is renewed");
    (term, server.candidate("b"))
}

#[tokio::test(start_paused = true)]
async fn one_leads_while_it_renews_and_the_other_waits() {
    let server = Server::default();
    let mut term = server.candidate("a").win().await;
    tokio::select! {
        _ = term.keep() => panic!("nothing was wrong"),
        _ = server.candidate("b").win() => panic!("there is a leader"),
        () = sleep(Duration::from_secs(3600)) => {}
    }
    assert_eq!(server.holder(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_vanishes_is_replaced() {
    let server = Server::default();
    let (_vanished, other) = two(&server, Duration::from_secs(60)).await;
    let before = Instant::now();
    let _term = other.win().await;
    let waited = before.elapsed();
    let lease = Timing::default().lease;
    assert!(waited >= lease && waited <= lease + Duration::from_secs(1), "{waited:?}");
    assert_eq!(server.holder(), "b");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_releases_is_followed_at_once() {
    let server = Server::default();
    let (mut term, other) = two(&server, Duration::from_secs(60)).await;
    let waiting = tokio::spawn(async move {
        let _term = other.win().await;
        Instant::now()
    });
    assert!(timeout(Duration::from_millis(30_500), term.keep()).await.is_err());
    let released = Instant::now();
    term.release().await;
    assert!(waiting.await.unwrap() - released <= Duration::from_secs(1));
    assert_eq!(server.holder(), "b");
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_a_server_knows_in_time_that_it_is_none() {
    let server = Server::default();
    let (mut term, _) = two(&server, Duration::from_secs(10)).await;
    server.set_down(true);
    let before = Instant::now();
    term.keep().await;
    let elapsed = before.elapsed();
    assert!(elapsed <= Timing::default().renew, "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_is_shorter_changes_nothing() {
    let server = Server::default();
    let (mut term, _) = two(&server, Duration::from_secs(10)).await;
    server.set_down(true);
    let back = async {
        sleep(Duration::from_secs(3)).await;
        server.set_down(false);
    };
    let (kept, ()) = tokio::join!(timeout(Duration::from_secs(60), term.keep()), back);
    assert!(kept.is_err(), "it was lost");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_seconds_to_answer_costs_nobody_the_lead() {
    let server = Server::default();
    let (mut term, _) = two(&server, Duration::from_secs(10)).await;
    server.set_slow(Duration::from_secs(2));
    assert!(timeout(Duration::from_secs(300), term.keep()).await.is_err(), "it was lost");
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_is_taken_leads_no_more() {
    let server = Server::default();
    let (mut term, _) = two(&server, Duration::from_secs(10)).await;
    server.0.lock().unwrap().steal("b");
    let before = Instant::now();
    term.keep().await;
    assert!(before.elapsed() <= Duration::from_secs(2), "{:?}", before.elapsed());
    assert_eq!(server.holder(), "b");
}

#[tokio::test(start_paused = true)]
async fn of_two_that_begin_at_once_one_leads() {
    let server = Server::default();
    let (a, b) = (server.candidate("a"), server.candidate("b"));
    let first = tokio::select! { term = a.win() => term, term = b.win() => term };
    let holder = server.holder();
    let other = if holder == "a" { "b" } else { "a" };
    let mut first = first;
    tokio::select! {
        _ = first.keep() => panic!("nothing was wrong"),
        _ = server.candidate(other).win() => panic!("there is a leader"),
        () = sleep(Duration::from_secs(60)) => {}
    }
    assert_eq!(server.holder(), holder);
}
