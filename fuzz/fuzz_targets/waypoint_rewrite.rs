//! A request's head on its way to an endpoint: it leaves HTTP for a WebSocket only, and bears nothing of the connection it came on.
//!
//! The input is text: `1` or `2` for the client's version of HTTP, the same for the endpoint's, the method and the target in one
//! line, and a header in each line after it.
#![no_main]

use fairway_waypoint::listen::detect::Version;
use fairway_waypoint::pipeline::translate;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request};
use libfuzzer_sys::fuzz_target;

fn version(text: &str) -> Option<Version> {
    match text {
        "1" => Some(Version::Http1),
        "2" => Some(Version::Http2),
        _ => None,
    }
}

fn parsed(text: &str) -> Option<(Version, Version, Parts)> {
    let mut lines = text.split('\n');
    let mut words = lines.next()?.split(' ');
    let (from, to) = (version(words.next()?)?, version(words.next()?)?);
    let request = Request::builder().method(words.next()?).uri(words.next()?);
    let (mut parts, ()) = request.body(()).ok()?.into_parts();
    parts.version = if from == Version::Http2 { http::Version::HTTP_2 } else { http::Version::HTTP_11 };
    for line in lines.take(200) {
        let (name, value) = line.split_once(':')?;
        let value = if from == Version::Http1 { value.trim_matches([' ', '\t']) } else { value };
        parts
            .headers
            .append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
    }
    Some((from, to, parts))
}

fuzz_target!(|text: &str| {
    let Some((from, to, parts)) = parsed(text) else { return };
    let (path, headers) = (parts.uri.path().to_owned(), parts.headers.clone());
    let Ok(translated) = translate(parts, from, to) else { return };
    let got = &translated.parts.headers;
    if translated.upgrades {
        assert_eq!((from, to), (Version::Http1, Version::Http1));
        assert_eq!(translated.parts.method, "GET");
        assert!(got.get_all("upgrade").iter().eq(["websocket"]));
        let asked = headers.get_all("upgrade").iter().flat_map(|it| it.as_bytes().split(|it| *it == b','));
        assert!(asked.into_iter().any(|it| it.trim_ascii().eq_ignore_ascii_case(b"websocket")));
    } else {
        assert!(!got.contains_key("upgrade"));
    }
    for name in ["http2-settings", "transfer-encoding", "keep-alive", "proxy-connection"] {
        assert!(!got.contains_key(name), "{name}");
    }
    for name in got.keys().map(|it| it.as_str().replace('_', "-")) {
        assert!(!name.starts_with("x-forwarded") && name != "forwarded" && name != "x-real-ip", "{name}");
    }
    if from == Version::Http2 {
        assert!(got.get_all("content-length").iter().count() <= 1);
        assert!(got.values().all(|it| it.as_bytes().trim_ascii() == it.as_bytes()));
    }
    assert!(to == Version::Http1 || !got.contains_key("connection"));
    assert_eq!(translated.parts.uri.path(), if path.is_empty() { "/" } else { &path });
});
