//! What records become in a scrape and in the log.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "test code: a panic is the failure of the test"
)]

use fairway_config::model::Generation;
use fairway_identity::SpiffeId;
use fairway_runtime::logs::{Format, logged};
use fairway_runtime::workers::WorkerId;
use fairway_telemetry::testing::Exposition;
use fairway_telemetry::{
    AccessLog, ClientAddress, ConnectionLabels, Direction, OTHER, Outcome, Plaintext, PlaintextLabels,
    Record, RequestLabels, RuleName, Series, Telemetry,
};
use http::request::Parts;
use http::{Request, StatusCode};
use prometheus_client::registry::Registry;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Barrier;
use std::time::Duration;
use tokio::time::{Instant, advance};

const ONE: NonZeroUsize = NonZeroUsize::MIN;
const TOTAL: &str = "fairway_requests_total";

fn scrape(telemetry: &Telemetry) -> Exposition {
    let mut registry = Registry::with_prefix("fairway");
    registry.register_collector(Box::new(telemetry.clone()));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    Exposition::parse(&text)
}

fn head(path: &str) -> Parts {
    Request::builder().uri(path).header("host", "shop.example").body(()).unwrap().into_parts().0
}

fn rule(route: usize) -> RequestLabels {
    RequestLabels {
        rule: Some((format!("HTTPRoute/shop/r{route}").into(), RuleName::Number(0))),
        backend: Some("shop/cart:80".into()),
    }
}

fn id(account: &str) -> SpiffeId {
    format!("spiffe://cluster.local/ns/shop/sa/{account}").parse().unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    /// A commit that has a route.
    Resolve(usize),
    /// A commit that has it no more.
    Remove(usize),
    /// A request that the route takes, if it is there.
    Serve(usize, u16),
    /// A request that no route takes.
    Miss,
}

fn step() -> impl Strategy<Value = Step> {
    let route = 0..6usize;
    prop_oneof![
        2 => route.clone().prop_map(Step::Resolve),
        1 => route.clone().prop_map(Step::Remove),
        6 => (route, prop::sample::select(vec![200u16, 204, 302, 404, 503])).prop_map(|(at, status)| Step::Serve(at, status)),
        1 => Just(Step::Miss),
    ]
}

/// What a scrape has to show: counts by route and class.
#[derive(Default)]
struct Model {
    limit: usize,
    resolved: BTreeMap<usize, bool>,
    counts: BTreeMap<(String, String), u64>,
}

impl Model {
    fn serve(&mut self, route: usize, class: &str) {
        let used = self.resolved.values().filter(|it| **it).count();
        let admitted = self.resolved.get_mut(&route).unwrap();
        *admitted |= used < self.limit;
        let name = if *admitted { format!("HTTPRoute/shop/r{route}") } else { OTHER.to_owned() };
        *self.counts.entry((name, class.to_owned())).or_default() += 1;
    }

    fn remove(&mut self, route: usize) {
        if self.resolved.remove(&route).is_some() {
            self.counts.retain(|(name, _), _| *name != format!("HTTPRoute/shop/r{route}"));
        }
    }
}

proptest! {
    /// Two records share a series exactly if their labels are equal, or if both are beyond the budget; what is removed is
    /// gone; everything else adds up to the number of records.
    #[test]
    fn a_scrape_shows_each_record_once_in_its_own_series(
        steps in prop::collection::vec(step(), 1..120),
        limit in 0..5usize,
    ) {
        let telemetry = Telemetry::new(ONE, limit);
        let recorder = telemetry.recorder(WorkerId(0), AccessLog::Off, None).unwrap();
        let mut held: BTreeMap<usize, Series<RequestLabels>> = BTreeMap::new();
        let mut model = Model { limit, ..Model::default() };
        for step in steps {
            match step {
                Step::Resolve(route) => {
                    // As at a commit: what was there is dropped when the new one has been resolved.
                    held.insert(route, telemetry.requests().series(rule(route)));
                    model.resolved.entry(route).or_insert(false);
                }
                Step::Remove(route) => {
                    held.remove(&route);
                    model.remove(route);
                }
                Step::Serve(route, status) => {
                    let Some(series) = held.get(&route) else { continue };
                    let status = StatusCode::from_u16(status).unwrap();
                    let mut record = Record::request(&recorder, &head("/"));
                    record.matched(series);
                    record.responded(status, Instant::now());
                    model.serve(route, &format!("{}xx", status.as_u16() / 100));
                }
                Step::Miss => {
                    drop(Record::request(&recorder, &head("/")));
                    *model.counts.entry((String::new(), "none".to_owned())).or_default() += 1;
                }
            }
        }
        let scraped = scrape(&telemetry);
        let counts: BTreeMap<_, _> = scraped
            .samples(TOTAL, &[])
            .map(|it| ((it.labels["route"].clone(), it.labels["class"].clone()), it.value as u64))
            .collect();
        prop_assert_eq!(&counts, &model.counts);
        let total: u64 = model.counts.values().sum();
        prop_assert_eq!(scraped.sum("fairway_request_duration_seconds_count", &[]) as u64, total);
        prop_assert_eq!(scraped.sum("fairway_request_duration_seconds_bucket", &[("le", "+Inf")]) as u64, total);
        let used = model.resolved.values().filter(|it| **it).count();
        prop_assert_eq!(scraped.sum("fairway_series", &[]) as usize, used);
        prop_assert!(used <= limit);
    }
}

#[test]
fn the_budget_says_how_many_series_it_leaves_out() {
    let telemetry = Telemetry::new(ONE, 2);
    let recorder = telemetry.recorder(WorkerId(0), AccessLog::Off, None).unwrap();
    let mut held: Vec<_> = (0..5).map(|it| telemetry.requests().series(rule(it))).collect();
    let serve = |series: &Series<RequestLabels>| Record::request(&recorder, &head("/")).matched(series);
    held.iter().take(4).for_each(serve);
    let gauges = |name: &str| scrape(&telemetry).sum(name, &[]);
    assert_eq!(gauges("fairway_series"), 2.0);
    assert_eq!(gauges("fairway_series_limit"), 2.0);
    assert_eq!(gauges("fairway_series_over_budget"), 2.0, "the fifth has no records");
    assert_eq!(scrape(&telemetry).sum(TOTAL, &[("route", OTHER), ("backend", OTHER), ("rule", OTHER)]), 2.0);
    // One goes; the next one that is used takes its place.
    drop(held.remove(0));
    serve(&held[2]);
    assert_eq!(gauges("fairway_series"), 2.0);
    assert_eq!(gauges("fairway_series_over_budget"), 1.0);
    assert_eq!(scrape(&telemetry).sum(TOTAL, &[("route", "HTTPRoute/shop/r3")]), 1.0);
}

#[test]
fn equal_labels_are_one_series_across_commits() {
    let telemetry = Telemetry::new(ONE, 8);
    let recorder = telemetry.recorder(WorkerId(0), AccessLog::Off, None).unwrap();
    let mut series = telemetry.requests().series(rule(1));
    for _ in 0..3 {
        Record::request(&recorder, &head("/")).matched(&series);
        // The new table is built before the old one goes.
        series = telemetry.requests().series(rule(1));
    }
    assert_eq!(scrape(&telemetry).sum(TOTAL, &[("route", "HTTPRoute/shop/r1")]), 3.0);
    drop(series);
    assert_eq!(scrape(&telemetry).samples(TOTAL, &[]).count(), 0);
}

#[test]
fn a_request_that_outlives_its_route_is_counted_as_other() {
    let telemetry = Telemetry::new(ONE, 8);
    let recorder = telemetry.recorder(WorkerId(0), AccessLog::Off, None).unwrap();
    let series = telemetry.requests().series(rule(1));
    let mut records: Vec<_> = (0..2).map(|_| Record::request(&recorder, &head("/"))).collect();
    records.iter_mut().for_each(|it| it.matched(&series));
    drop(series);
    drop(records);
    let scraped = scrape(&telemetry);
    assert_eq!(scraped.sum(TOTAL, &[]), 2.0);
    assert_eq!(scraped.sum(TOTAL, &[("route", OTHER)]), 2.0);
}

#[test]
fn what_several_workers_count_at_once_adds_up() {
    const WORKERS: usize = 4;
    const RECORDS: usize = 2_000;
    let telemetry = Telemetry::new(NonZeroUsize::new(WORKERS).unwrap(), 3);
    let series: Vec<_> = (0..6).map(|it| telemetry.requests().series(rule(it))).collect();
    let start = Barrier::new(WORKERS + 1);
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (telemetry, series, start) = (&telemetry, &series, &start);
            scope.spawn(move || {
                let recorder = telemetry.recorder(WorkerId(worker), AccessLog::Off, None).unwrap();
                let head = head("/");
                start.wait();
                for number in 0..RECORDS {
                    let mut record = Record::request(&recorder, &head);
                    record.matched(&series[(number + worker) % series.len()]);
                    record.add_sent(1);
                    record.responded(StatusCode::OK, Instant::now());
                }
            });
        }
        start.wait();
        // Scrapes meanwhile disturb nothing, and never show less than before.
        let mut before = 0.0;
        for _ in 0..20 {
            let now = scrape(&telemetry).sum(TOTAL, &[]);
            assert!(now >= before, "{now} after {before}");
            before = now;
        }
    });
    let scraped = scrape(&telemetry);
    let all = (WORKERS * RECORDS) as f64;
    assert_eq!(scraped.sum(TOTAL, &[]), all);
    assert_eq!(scraped.sum("fairway_request_sent_bytes_total", &[]), all);
    assert_eq!(scraped.sum("fairway_series", &[]), 3.0);
    assert_eq!(scraped.samples(TOTAL, &[]).count(), 4, "three routes, and the rest");
}

#[test]
fn a_worker_takes_its_recorder_once() {
    let telemetry = Telemetry::new(ONE, 8);
    let take = |worker| telemetry.recorder(WorkerId(worker), AccessLog::Off, None);
    assert!(take(0).is_some());
    assert!(take(0).is_none(), "two writers would lose what each other counts");
    assert!(take(1).is_none(), "there is no such worker");
}

#[test]
fn plaintext_is_counted_by_namespace_and_kind_and_shows_zeros() {
    let telemetry = Telemetry::new(ONE, 8);
    let recorder = telemetry.recorder(WorkerId(0), AccessLog::Off, None).unwrap();
    let of = |namespace: &str| telemetry.plaintext().series(PlaintextLabels { namespace: namespace.into() });
    // Another pod of the same namespace counts into the same series.
    let (shop, again, other) = (of("shop"), of("shop"), of("other"));
    recorder.count_plaintext(&shop, Plaintext::LetIn);
    recorder.count_plaintext(&again, Plaintext::LetIn);
    recorder.count_plaintext(&shop, Plaintext::Probe);
    recorder.count_plaintext(&other, Plaintext::Refused);
    recorder.count_plaintext(&other, Plaintext::Sent);
    let counts = |namespace| {
        ["let_in", "refused", "probe", "sent"].map(|kind| {
            let labels = [("namespace", namespace), ("kind", kind)];
            scrape(&telemetry).sum("fairway_plaintext_connections_total", &labels)
        })
    };
    assert_eq!(counts("shop"), [2.0, 0.0, 1.0, 0.0]);
    assert_eq!(counts("other"), [0.0, 1.0, 0.0, 1.0]);
    drop((shop, again));
    assert_eq!(scrape(&telemetry).samples("fairway_plaintext_connections_total", &[]).count(), 4);
}

/// A request that was served, one that the proxy refused, and a connection that was carried.
async fn records(telemetry: &Telemetry, log: AccessLog) {
    let recorder = telemetry.recorder(WorkerId(0), log, Some(id("waypoint"))).unwrap();
    let series = telemetry.requests().series(rule(1));
    let mut served = Record::request(&recorder, &head("/cart?secret=1"));
    served.matched(&series);
    served.note(|it| {
        it.client = Some(ClientAddress::Ip([10, 7, 0, 9].into()));
        it.client_identity = Some(id("web"));
        it.endpoint = Some(([10, 7, 0, 10], 8080).into());
        it.endpoint_identity = Some(id("cart"));
        it.retries = 1;
        it.request_id = Some("b2c1a9e0".parse().unwrap());
        it.generation = Generation(42);
    });
    advance(Duration::from_micros(900)).await;
    served.responded(StatusCode::OK, Instant::now());
    served.add_sent(512);
    advance(Duration::from_micros(300)).await;
    drop(served);

    let mut refused = Record::request(&recorder, &head("/nowhere"));
    refused.note(|it| it.generation = Generation(42));
    refused.refused(Outcome::Refused, "no_route");
    refused.responded(StatusCode::NOT_FOUND, Instant::now());
    drop(refused);

    let labels = ConnectionLabels {
        backend: Some("shop/db:5432".into()),
        client: Some(id("web")),
        server: Some(id("db")),
        ..ConnectionLabels::new(Direction::Outbound)
    };
    let mut carried = Record::connection(&recorder, Direction::Outbound);
    carried.between(&telemetry.connections().series(labels));
    carried.note(|it| {
        it.connection_id = None;
        it.client = Some(ClientAddress::Socket(([10, 7, 0, 9], 40_000).into()));
        (it.client_identity, it.server_identity) = (Some(id("web")), Some(id("db")));
        it.destination = Some(([10, 96, 0, 1], 5432).into());
        it.pod = Some("shop/web-1".into());
        it.via = Some("tunnel");
        it.detail = Some("client: connection reset".to_owned());
    });
    carried.set_received(5);
    carried.set_sent(7);
    advance(Duration::from_secs(3)).await;
    carried.refused(Outcome::ClientAborted, "reset");
}

fn lines(format: Format, log: AccessLog) -> Vec<String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    logged(format, || runtime.block_on(records(&Telemetry::new(ONE, 8), log)))
}

#[test]
fn a_line_for_people_says_who_what_where_and_why() {
    assert_eq!(
        lines(Format::Text, AccessLog::OneIn(1)),
        [
            "INFO fairway::access: method=\"GET\" host=\"shop.example\" path=\"/cart\" status=200 outcome=\"completed\" \
             route=\"HTTPRoute/shop/r1\" rule=0 backend=\"shop/cart\" backend_port=\"80\" client=10.7.0.9 \
             client_identity=\"spiffe://cluster.local/ns/shop/sa/web\" \
             server_identity=\"spiffe://cluster.local/ns/shop/sa/waypoint\" endpoint=10.7.0.10:8080 \
             endpoint_identity=\"spiffe://cluster.local/ns/shop/sa/cart\" retries=1 received_bytes=0 sent_bytes=512 \
             head_seconds=0.0009 duration_seconds=0.0012 request_id=\"b2c1a9e0\" generation=42",
            "INFO fairway::access: method=\"GET\" host=\"shop.example\" path=\"/nowhere\" status=404 outcome=\"refused\" \
             reason=\"no_route\" server_identity=\"spiffe://cluster.local/ns/shop/sa/waypoint\" received_bytes=0 \
             sent_bytes=0 head_seconds=0.0 duration_seconds=0.0 generation=42",
            "INFO fairway::access: direction=\"outbound\" outcome=\"client_aborted\" reason=\"reset\" \
             detail=\"client: connection reset\" pod=\"shop/web-1\" backend=\"shop/db\" backend_port=\"5432\" \
             client=10.7.0.9:40000 client_identity=\"spiffe://cluster.local/ns/shop/sa/web\" \
             server_identity=\"spiffe://cluster.local/ns/shop/sa/db\" destination=10.96.0.1:5432 via=\"tunnel\" \
             received_bytes=5 sent_bytes=7 duration_seconds=3.0 generation=0",
        ]
    );
}

#[test]
fn a_line_for_machines_has_the_same_fields() {
    let (text, json) = (lines(Format::Text, AccessLog::OneIn(1)), lines(Format::Json, AccessLog::OneIn(1)));
    assert_eq!(text.len(), json.len());
    for (text, json) in text.iter().zip(&json) {
        for field in text.split(' ').filter_map(|it| Some(it.split_once('=')?.0)) {
            assert!(json.contains(&format!("\"{field}\":")), "{field} is not in {json}");
        }
    }
    assert!(json[0].contains("\"duration_seconds\":0.0012,"), "{}", json[0]);
}

#[test]
fn of_errors_only_nothing_else_is_written_and_nothing_at_all_if_off() {
    assert_eq!(lines(Format::Text, AccessLog::Errors).len(), 2);
    assert_eq!(lines(Format::Text, AccessLog::Off), [""; 0]);
    let recorder = Telemetry::new(ONE, 8).recorder(WorkerId(0), AccessLog::OneIn(3), None).unwrap();
    let written = logged(Format::Text, || {
        (0..7).for_each(|_| drop(Record::request(&Rc::clone(&recorder), &head("/"))));
    });
    assert_eq!(written.len(), 3, "the first, the fourth and the seventh");
}

#[test]
fn a_peer_that_is_refused_again_and_again_does_not_fill_the_log_unless_somebody_asked_for_all() {
    let flood = |log, reason: Option<&'static str>| {
        let recorder = Telemetry::new(ONE, 8).recorder(WorkerId(0), log, None).unwrap();
        logged(Format::Text, || {
            for _ in 0..1000 {
                let mut record = Record::connection(&recorder, Direction::Inbound);
                match reason {
                    Some(reason) => record.refused(Outcome::Refused, reason),
                    None => record.ended(Outcome::Completed),
                }
            }
        })
        .len()
    };
    for (log, reason, expected) in [
        (AccessLog::Errors, Some("denied"), 50..100),
        (AccessLog::Errors, None, 0..1),
        (AccessLog::OneIn(1000), Some("denied"), 50..100),
        (AccessLog::OneIn(1), Some("denied"), 1000..1001),
        (AccessLog::Carried, Some("denied"), 50..100),
        (AccessLog::Carried, None, 1000..1001),
    ] {
        let written = flood(log, reason);
        assert!(expected.contains(&written), "{log:?} {reason:?}: {written}");
    }
}

#[test]
fn two_thousand_series_are_scraped_in_a_moment() {
    let telemetry = Telemetry::new(ONE, 2_000);
    let recorder = telemetry.recorder(WorkerId(0), AccessLog::Off, None).unwrap();
    let held: Vec<_> = (0..5_000).map(|it| telemetry.requests().series(rule(it))).collect();
    held.iter().for_each(|it| Record::request(&recorder, &head("/")).matched(it));
    let began = Instant::now();
    let scraped = scrape(&telemetry);
    println!("{} lines in {:?}", scraped.all().len(), began.elapsed());
    assert_eq!(scraped.samples(TOTAL, &[]).count(), 2_001);
    assert_eq!(scraped.sum("fairway_series_over_budget", &[]), 3_000.0);
}
