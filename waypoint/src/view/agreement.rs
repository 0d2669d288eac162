//! `/explain` decides in the order of the pipeline: what it says becomes of a request is what becomes of it, whatever stands on the
//! request's way.

mod generated;

use super::View;
use crate::fixtures::{attachment, listener, prefix, route, rule};
use crate::testing::{MemoryProxy, backend, cors, endpoint, redirect, to};
use fairway_config::model::{
    AppProtocol, AuthenticationKey, AuthorizationKey, BackendTarget, Filter, Listener, OriginPattern,
    Resource, Route, Rule, Unresolved, WeightedBackend,
};
use fairway_runtime::admin::Content;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::{LocalSet, spawn_local};

async fn serve(mut stream: DuplexStream) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    }
}

/// The filters, the policies and the backends that a rule can have, each with the others.
fn rules() -> Vec<Rule> {
    let cross_origin = || Filter::Cors(cors(OriginPattern::Any));
    let unresolved = || Filter::Unresolved("x".into());
    let filters = [
        vec![],
        vec![cross_origin()],
        vec![Filter::Redirect(redirect("b.ex"))],
        vec![unresolved()],
        vec![cross_origin(), unresolved()],
        vec![Filter::Redirect(redirect("b.ex")), cross_origin()],
    ];
    let nowhere = WeightedBackend { target: BackendTarget::Unresolved(Unresolved::NotFound), ..to(1, "x") };
    let backends = [
        vec![to(1, "web")],
        vec![],
        vec![to(1, "unknown")],
        vec![nowhere],
        vec![to(0, "web")],
        vec![to(1, "guarded")],
        vec![WeightedBackend { filters: vec![unresolved()], ..to(1, "web") }],
    ];
    let mut rules = Vec::new();
    for filters in &filters {
        for guards in [&[][..], &["authorization"], &["authentication"]] {
            for backends in &backends {
                let (filters, backends) = (filters.clone(), backends.clone());
                let path = prefix(&format!("/{}", rules.len()));
                let named = |what| guards.contains(&what).then_some("not known");
                let authorizations = named("authorization").into_iter().map(AuthorizationKey::from).collect();
                let authentications =
                    named("authentication").into_iter().map(AuthenticationKey::from).collect();
                let plain = rule(vec![path], "web");
                rules.push(Rule { filters, backends, authorizations, authentications, ..plain });
            }
        }
    }
    rules
}

fn start(at_listener: Vec<AuthorizationKey>, filters: Vec<Filter>) -> MemoryProxy {
    let listener = Listener { authorizations: at_listener, filters, ..listener("listener", None) };
    let route = Route { attachments: vec![attachment("listener", &[])], rules: rules(), ..route("r") };
    let mut resources = vec![Resource::Listener(Arc::new(listener)), Resource::Route(Arc::new(route))];
    for (host, key) in [(1, "web"), (2, "guarded")] {
        for mut resource in backend(key, AppProtocol::Http1, &[endpoint(host)]) {
            if let Resource::Backend(backend) = &mut resource
                && key == "guarded"
            {
                Arc::make_mut(backend).authorizations = vec!["not known".into()];
            }
            resources.push(resource);
        }
    }
    let proxy = MemoryProxy::start(resources, |_, stream| {
        spawn_local(serve(stream));
        Ok(())
    });
    proxy.unwrap()
}

/// The status that `/explain` says the request is answered with, 200 if it says that it goes to an endpoint; and all that it says.
fn explained(view: &View, query: &str) -> (u16, String) {
    let Content::Text(text) = view.explain(query) else { panic!("{query}") };
    let Content::Json(said) = view.explain(&format!("{query}&format=json")) else { panic!("{query}") };
    let status = said["status"].as_u64().map_or(200, |it| u16::try_from(it).unwrap());
    (status, text)
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_as_it_is_explained() {
    let preflight = [("origin", "https://app.ex"), ("access-control-request-method", "GET")];
    let marks = "0123456789abcdef".repeat(17);
    let requests: [(&str, &[(&str, &str)]); 6] = [
        ("GET", &[]),
        ("OPTIONS", &preflight),
        ("GET", &[("origin", "https://app.ex")]),
        ("GET", &[("x-fairway-via", &marks)]),
        ("GET", &[("x-target", "/0"), ("x-host", "b.ex")]),
        ("GET", &[("x-target", "/a/../b")]),
    ];
    let test = async {
        let (unresolved, changing) =
            (Filter::Unresolved("x".into()), Filter::Unresolved("test/change".into()));
        let policies = || vec!["not known".into()];
        for (at_listener, filters) in [
            (vec![], vec![]),
            (policies(), vec![]),
            (vec![], vec![changing.clone()]),
            (policies(), vec![changing.clone()]),
            (vec![], vec![changing, unresolved]),
        ] {
            let proxy = start(at_listener.clone(), filters.clone());
            // One more than there are rules: no rule takes it.
            let paths = (0..=rules().len()).map(|number| format!("/{number}"));
            for path in paths.chain(["/a/../b".to_owned()]) {
                for (method, headers) in requests {
                    let served = proxy.ask(&format!("{method} {path}"), headers).await.unwrap();
                    let status: u16 = served.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap();
                    let headers: String =
                        headers.iter().map(|(name, value)| format!("&header={name}:{value}")).collect();
                    let query = format!("url=http://a.ex{path}&method={method}{headers}");
                    let (said, text) = explained(&proxy.view(), &query);
                    assert_eq!(said, status, "{at_listener:?} {filters:?} {query}\n{served}\n{text}");
                }
            }
        }
    };
    LocalSet::new().run_until(test).await;
}
