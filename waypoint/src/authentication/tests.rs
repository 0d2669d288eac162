//! Where credentials stand, how they are taken out, and what one policy says of a request.

mod jwt;

use super::*;
use fairway_config::model::{
    ApiKeys, Authentication, ClientKey, CredentialMethods, CredentialPlace, Demands,
};
use fairway_policy::Mode;
use http::request::Parts;
use http::{HeaderName, Request};
use sha2::{Digest, Sha256};

fn header(name: &'static str, prefix: &str) -> CredentialPlace {
    CredentialPlace::Header { name: HeaderName::from_static(name), prefix: prefix.into() }
}

fn request(target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn found(place: &CredentialPlace, parts: &Parts) -> Option<Result<String, ()>> {
    match Presented::of(parts).extract(place) {
        Extracted::Absent => None,
        Extracted::Many => Some(Err(())),
        Extracted::One(it) => Some(Ok(String::from_utf8(it.into_owned()).unwrap())),
    }
}

#[test]
fn credentials_are_found_where_they_stand_and_never_among_several() {
    let one = |it: &str| Some(Ok(it.to_owned()));
    let many = Some(Err(()));
    let (key, bearer) = (header("x-key", ""), header("authorization", "Bearer "));
    let (cookie, query) = (CredentialPlace::Cookie("k".into()), CredentialPlace::Query("k".into()));
    for (place, target, headers, expected) in [
        (&key, "/", &[("x-key", "a")][..], one("a")),
        (&key, "/", &[("x-key", "a"), ("x-key", "a")], many.clone()),
        (&key, "/", &[("x_key", "a")], None),
        (&key, "/", &[("x-key", "")], one("")),
        (&bearer, "/", &[("authorization", "bEARER  a ")], one("a")),
        (&bearer, "/", &[("authorization", "Basic a")], None),
        (&bearer, "/", &[("authorization", "Bearer")], None),
        (&bearer, "/", &[("authorization", "Bearer a"), ("authorization", "Basic b")], many.clone()),
        (&cookie, "/", &[("cookie", "a=1; k=2;b=3")], one("2")),
        (&cookie, "/", &[("cookie", "a=1"), ("cookie", "k=2")], one("2")),
        (&cookie, "/", &[("cookie", "k=1; k=2")], many.clone()),
        (&cookie, "/", &[("cookie", "k=1"), ("cookie", "k=1")], many.clone()),
        (&cookie, "/", &[("cookie", "kk=1; K=2; =3; k")], None),
        (&query, "/?a=1&k=2", &[], one("2")),
        (&query, "/?%6b=2%20+3", &[], one("2  3")),
        (&query, "/?k", &[], one("")),
        (&query, "/?k=1&%6B=2", &[], many),
        (&query, "/k?kk=1", &[], None),
        (&query, "/", &[("k", "1")], None),
    ] {
        assert_eq!(found(place, &request(target, headers)), expected, "{place:?} {target} {headers:?}");
    }
}

#[test]
fn what_is_taken_out_is_gone_and_the_rest_stays_as_it_is_written() {
    let left = |place: CredentialPlace, target: &str, headers: &[(&str, &str)]| {
        let mut parts = request(target, headers);
        strip(&place, &mut parts);
        assert_eq!(found(&place, &parts), None, "{place:?}");
        let lines = parts.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        (parts.uri.to_string(), lines.collect::<Vec<_>>())
    };
    let cookie = || CredentialPlace::Cookie("k".into());
    let query = || CredentialPlace::Query("k".into());
    for (place, target, headers, uri, lines) in [
        (header("x-key", ""), "/a", &[("x-key", "1"), ("x", "2")][..], "/a", &["x: 2"][..]),
        (
            header("authorization", "Bearer "),
            "/",
            &[("authorization", "Basic a")],
            "/",
            &["authorization: Basic a"],
        ),
        (cookie(), "/", &[("cookie", "a=1; k=2; b=3")], "/", &["cookie: a=1; b=3"]),
        (cookie(), "/", &[("cookie", "k=2")], "/", &[]),
        (cookie(), "/", &[("cookie", "k=2"), ("cookie", "a=1")], "/", &["cookie: a=1"]),
        (query(), "/p%2F?k=1", &[], "/p%2F", &[]),
        (query(), "/p?a=%41&k=1&b", &[], "/p?a=%41&b", &[]),
        (query(), "/p?a=1", &[], "/p?a=1", &[]),
        (query(), "http://a.ex/p?%6B=1&c=2", &[], "http://a.ex/p?c=2", &[]),
    ] {
        assert_eq!(
            left(place.clone(), target, headers),
            (uri.to_owned(), lines.iter().map(|it| (*it).to_owned()).collect())
        );
    }
}

fn verifier(optional: bool, mode: Mode) -> Verifier {
    let key =
        |client: &str, key: &str| ClientKey { client: client.into(), digest: Sha256::digest(key).into() };
    let api_keys = ApiKeys {
        keys: vec![key("ada", "one"), key("bob", "two")],
        places: vec![header("x-key", ""), CredentialPlace::Cookie("k".into())],
        forward: false,
        client_header: Some(HeaderName::from_static("x-client")),
    };
    let methods = CredentialMethods { optional, api_keys: Some(api_keys), ..CredentialMethods::default() };
    let name = "shop/p".into();
    Verifier::new(&Authentication { name, mode, demands: Demands::Credentials(methods) })
}

#[test]
fn the_first_place_that_has_something_decides() {
    for (optional, headers, expected) in [
        (false, &[("x-key", "one")][..], Ok(Some("ada"))),
        (false, &[("cookie", "k=two")], Ok(Some("bob"))),
        (false, &[("x-key", "one"), ("cookie", "k=two")], Ok(Some("ada"))),
        (false, &[("x-key", "none"), ("cookie", "k=two")], Err(Why::UnknownKey)),
        (false, &[("x-key", "one"), ("x-key", "one")], Err(Why::Many)),
        (false, &[], Err(Why::Absent)),
        (false, &[("x-key", "")], Err(Why::UnknownKey)),
        (false, &[("x-key", "ONE")], Err(Why::UnknownKey)),
        (true, &[], Ok(None)),
        (true, &[("x-key", "none")], Err(Why::UnknownKey)),
        (true, &[("x-key", "two")], Ok(Some("bob"))),
    ] {
        let verifier = verifier(optional, Mode::Enforce);
        let parts = request("/", headers);
        let said = match verifier.verify(Presented::of(&parts), 0, &TokenCache::default()) {
            Verdict::Anonymous => Ok(None),
            Verdict::Refused(it) => Err(it.why),
            Verdict::Accepted(it) => {
                assert_eq!(it.stripped.iter().map(|it| it.len()).sum::<usize>(), 2, "all places are emptied");
                let (name, value) = &it.told[0];
                assert_eq!(*name, "x-client");
                Ok(Some(value.to_str().unwrap().to_owned()))
            }
        };
        let said = said.as_ref().map(|it| it.as_deref()).map_err(|it| *it);
        assert_eq!(said, expected, "{optional} {headers:?}");
    }
}

#[test]
fn what_is_closed_lets_nothing_pass_unless_it_only_observes() {
    let closed = |mode| Verifier::new(&Authentication::closed("p".into(), mode));
    assert!(closed(Mode::Enforce).is_closed() && !closed(Mode::Observe).is_closed());
    assert!(verifier(false, Mode::Observe).owned().is_empty(), "who observes changes nothing");
    assert_eq!(verifier(true, Mode::Enforce).owned().len(), 1);
    let nothing = Demands::Credentials(CredentialMethods::default());
    let written = Authentication { name: "p".into(), mode: Mode::Enforce, demands: nothing };
    assert!(Verifier::new(&written).is_closed(), "without a method nobody can say who he is");
}

#[test]
fn what_operators_see_has_no_digest() {
    let text = format!("{0} {0:?}", verifier(true, Mode::Enforce));
    assert!(text.starts_with("one of 2 keys in header x-key or cookie k, or no credentials"), "{text}");
    assert!(!text.contains("digest") && !text.contains("clients"), "{text}");
}
