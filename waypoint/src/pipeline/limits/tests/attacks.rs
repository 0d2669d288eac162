//! Ways around a limit, and ways to turn one against others.

use super::{
    AddressSource, Delta, Endpoint, Limit, LimitKeyPart, MemoryClient, RateLimit, Resource, Scene, Version,
    by_header, count, limit, limits, local, prefix, route, rule,
};
use crate::fixtures::attachment;
use bytes::Bytes;
use fairway_config::model::Route;
use fairway_policy::Cidr;
use http::Request;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_local;
use tokio::time::advance;

/// A scene with limits at its rule.
fn scene(of_rule: Vec<Limit>) -> super::Running {
    Scene { at_rule: vec!["p"], ..Scene::default() }.start([limits("p", of_rule)])
}

#[tokio::test(start_paused = true)]
async fn a_header_that_is_absent_repeated_or_huge_is_a_key_like_any_other() {
    local(async {
        let running = scene(vec![limit(1, by_header("x-key"))]);
        let huge = format!("x-key: {}\r\n", "k".repeat(8000));
        for (headers, status) in [
            // Leaving it out is no way around.
            ("", 200),
            ("", 429),
            ("x-other: 1\r\n", 429),
            // Nor is the order or the number of lines: all of them together are one value.
            ("x-key: a\r\nx-key: b\r\n", 200),
            ("x-key: a\r\nx-key: b\r\n", 429),
            ("x-key: a,b\r\n", 429),
            (huge.as_str(), 200),
            (huge.as_str(), 429),
            ("x-key: k\r\n", 200),
        ] {
            assert_eq!(running.status(headers).await, status, "{}", &headers[..headers.len().min(40)]);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_keys_takes_no_bucket_from_those_who_have_one() {
    local(async {
        let (each, all) = (limit(2, by_header("x-key")), limit(500, vec![]));
        let all = Limit { name: Some("total".into()), ..all };
        let running = scene(vec![each, all]);
        assert_eq!(running.status("x-key: mine\r\n").await, 200);
        let mut passed = 0;
        for key in 0..600 {
            passed += u32::from(running.status(&format!("x-key: {key}\r\n")).await == 200);
        }
        // Whoever invents keys meets the limit that has none.
        assert_eq!(passed, 499);
        advance(Duration::from_secs(1)).await;
        assert_eq!(running.status("x-key: mine\r\n").await, 200);
        assert_eq!(running.status("x-key: mine\r\n").await, 429);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_gives_no_more_than_the_burst() {
    local(async {
        let limit = Limit { burst: count(2), ..limit(60, vec![]) };
        let running = scene(vec![limit]);
        for jump in [0, 1, 60, 3600, 86_400, 40 * 365 * 86_400] {
            advance(Duration::from_secs(jump)).await;
            let passed = running.statuses(5).await.iter().filter(|it| **it == 200).count();
            assert!(passed <= 2, "{jump}: {passed}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_counted_survives_edits_of_everything_else() {
    local(async {
        let (two, three) = (limit(2, vec![]), limit(3, vec![]));
        let other = |name: &str| Limit { name: Some(name.into()), ..limit(9, vec![]) };
        let mut running = scene(vec![two.clone()]);
        assert_eq!(running.statuses(3).await, [200, 200, 429]);
        let mut unrelated = rule(vec![prefix("/x")], "asked");
        unrelated.limits = vec!["p".into()];
        let attachments = vec![attachment("listener", &[])];
        running.put_resource(Resource::Route(Arc::new(Route {
            attachments,
            rules: vec![unrelated],
            ..route("s")
        })));
        assert_eq!(running.statuses(1).await, [429], "another route");
        assert_eq!(running.ask("GET /x", "").await.0, 429, "what names the same limits is counted with it");
        running.put(limits("p", vec![other("before"), two.clone(), other("behind")]));
        assert_eq!(running.statuses(1).await, [429], "other limits of the policy");
        running.put(RateLimit { name: "q".into(), ..limits("q", vec![other("q")]) });
        assert_eq!(running.statuses(1).await, [429], "another policy");
        running.put(limits("p", vec![three]));
        assert_eq!(running.statuses(4).await, [200, 200, 200, 429], "its own number");
        // An edit that is refused changes nothing.
        let broken = rule(vec![], "asked");
        let broken = Route { rules: vec![broken], ..route("t") };
        let _ = running
            .proxy
            .apply(Delta { upserts: vec![Resource::Route(Arc::new(broken))], ..Delta::default() });
        assert_eq!(running.statuses(1).await, [429]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn streams_of_one_connection_are_counted_one_by_one() {
    local(async {
        let running = scene(vec![limit(3, vec![LimitKeyPart::ClientAddress])]);
        let client = MemoryClient { version: Some(Version::Http2), ..MemoryClient::default() };
        let (mut sender, connection) = h2::client::handshake(running.proxy.connect(client)).await.unwrap();
        spawn_local(async move {
            let _ = connection.await;
        });
        let mut responses = Vec::new();
        for _ in 0..20 {
            sender = sender.ready().await.unwrap();
            let request = Request::get("http://a.ex/").body(()).unwrap();
            responses.push(sender.send_request(request, true).unwrap().0);
        }
        let mut statuses = Vec::new();
        for response in responses {
            let (parts, mut body) = response.await.unwrap().into_parts();
            while let Some(Ok(bytes)) = body.data().await {
                let _: Bytes = bytes;
            }
            statuses.push(parts.status.as_u16());
        }
        assert_eq!(statuses.iter().filter(|it| **it == 200).count(), 3, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|it| **it == 429).count(), 17, "{statuses:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_websocket_is_one_request_however_much_it_carries() {
    local(async {
        let scene = Scene { at_rule: vec!["p"], endpoint: Endpoint::Switches, ..Scene::default() };
        let running = scene.start([limits("p", vec![limit(1, vec![])])]);
        let upgrade = "GET / HTTP/1.1\r\nhost: a.ex\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                       sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let mut stream = running.proxy.connect(MemoryClient::default());
        stream.write_all(upgrade.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
        stream.write_all(&[0; 4096]).await.unwrap();
        let mut second = running.proxy.connect(MemoryClient::default());
        second.write_all(upgrade.as_bytes()).await.unwrap();
        second.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 429");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_is_where_its_listener_believes_it_is_and_not_where_it_says() {
    local(async {
        let trusted = ["10.0.0.0/8".parse::<Cidr>().unwrap()].into_iter().collect();
        let scene = Scene {
            at_listener: vec!["p"],
            address_source: AddressSource::ForwardedFor(trusted),
            ..Scene::default()
        };
        let running = scene.start([limits("p", vec![limit(1, vec![LimitKeyPart::ClientAddress])])]);
        let from =
            |address: &str| MemoryClient { address: address.parse().unwrap(), ..MemoryClient::default() };
        for (connection, says, status) in [
            ("10.0.0.9", "192.0.2.1", 200),
            ("10.0.0.9", "192.0.2.1", 429),
            // Another load balancer, the same client; and one that puts something before what is true.
            ("10.0.0.8", "192.0.2.1", 429),
            ("10.0.0.9", "203.0.113.77, 192.0.2.1", 429),
            ("10.0.0.9", "192.0.2.2", 200),
            // Who is not trusted is where its connection is, whatever it says.
            ("198.51.100.1", "192.0.2.3", 200),
            ("198.51.100.1", "192.0.2.4", 429),
            ("198.51.100.1", "10.0.0.1, 192.0.2.5", 429),
        ] {
            let (got, text) =
                running.ask_as(from(connection), "GET /", &format!("x-forwarded-for: {says}\r\n")).await;
            assert_eq!(got, status, "{connection} {says}: {text}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_header_that_is_too_large_for_any_request_is_refused_before_it_is_hashed() {
    local(async {
        let running = scene(vec![limit(1, by_header("x-key"))]);
        let (status, _) = running.ask("GET /", &format!("x-key: {}\r\n", "k".repeat(1 << 20))).await;
        assert!(matches!(status, 0 | 431), "{status}");
        assert_eq!(running.status("").await, 200);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn guessing_paths_is_counted_where_no_route_is_for_them() {
    local(async {
        let scene = Scene { at_listener: vec!["p"], path: "/only", ..Scene::default() };
        let running = scene.start([limits("p", vec![limit(2, vec![LimitKeyPart::ClientAddress])])]);
        for (line, status) in [("GET /a", 404), ("GET /b", 404), ("GET /c", 429), ("GET /only", 429)] {
            assert_eq!(running.ask(line, "").await.0, status, "{line}");
        }
    })
    .await;
}
