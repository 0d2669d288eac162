//! Authorization by HTTP: the service gets the head of the request, and its status decides.

use super::super::StageRequest;
use super::{Changes, Decision, NoDecision, OF_RESPONSE, StageResponse, for_client};
use crate::stage::callout::CalloutResponse;
use bytes::Bytes;
use fairway_config::model::{BackendKey, RouteKind, check_header};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};

/// A service that is asked by HTTP.
#[derive(Debug)]
pub(super) struct HttpService {
    /// Without a slash at its end.
    path_prefix: String,
    request_headers: Vec<HeaderName>,
    response_headers: Vec<HeaderName>,
}

impl HttpService {
    pub(super) fn new(
        path_prefix: Option<&str>,
        request_headers: Vec<HeaderName>,
        response_headers: Vec<HeaderName>,
    ) -> Self {
        let prefix = path_prefix.unwrap_or_default().trim_end_matches('/');
        let slash = if prefix.is_empty() || prefix.starts_with('/') { "" } else { "/" };
        Self { path_prefix: format!("{slash}{prefix}"), request_headers, response_headers }
    }

    pub(super) async fn ask(
        &self,
        backend: &BackendKey,
        request: &StageRequest<'_, '_>,
    ) -> Result<Decision, NoDecision> {
        let question = self.question(request.parts)?;
        let response = request.callout.call(backend, RouteKind::Http, question).await?;
        Ok(self.decide(response))
    }

    /// What the service is asked: the method, path, Host and Authorization of the request, and the headers that it may see.
    fn question(&self, parts: &Parts) -> Result<Request<Bytes>, NoDecision> {
        let mut question = Request::new(Bytes::new());
        *question.method_mut() = parts.method.clone();
        *question.uri_mut() = self.target(&parts.uri)?;
        let headers = question.headers_mut();
        for name in [HOST, AUTHORIZATION].iter().chain(&self.request_headers) {
            let is_of_connection = *name != HOST && check_header(name).is_err();
            if is_of_connection || headers.contains_key(name) {
                continue;
            }
            for value in parts.headers.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        Ok(question)
    }

    fn target(&self, uri: &Uri) -> Result<Uri, NoDecision> {
        // `*` asks about the whole server, and is no path that could stand behind another.
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let path = if path.starts_with('/') { path } else { "/" };
        if self.path_prefix.is_empty() {
            return path.parse().map_err(|_| NoDecision::NotUnderstood("the path"));
        }
        format!("{}{path}", self.path_prefix).parse().map_err(|_| NoDecision::NotUnderstood("the path"))
    }

    /// 200 allows. Everything else is the response to the client; a success that is no decision is none to the client either.
    fn decide(&self, response: CalloutResponse) -> Decision {
        if response.status == StatusCode::OK {
            return Decision::Allow(Box::new(self.changes(response.headers)));
        }
        if response.status.is_success() || response.status.is_informational() {
            return Decision::Deny(Box::new(StageResponse::empty(StatusCode::FORBIDDEN)));
        }
        Decision::Deny(Box::new(StageResponse {
            status: response.status,
            headers: for_client(response.headers),
            body: response.body,
        }))
    }

    fn changes(&self, headers: HeaderMap) -> Changes {
        let mut changes = Changes::default();
        for (name, value) in &headers {
            let is_meant = match self.response_headers.as_slice() {
                [] => !OF_RESPONSE.contains(name),
                names => names.contains(name),
            };
            if is_meant {
                changes.set.append(name, value.clone());
            }
        }
        // What the backend believes because the service says it, the client cannot say in its place. Credentials are the client's.
        let is_own = |name: &&HeaderName| **name != AUTHORIZATION && **name != COOKIE;
        changes.own = self.response_headers.iter().filter(is_own).cloned().collect();
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::request;

    fn service(prefix: Option<&str>, request: &[&str], response: &[&str]) -> HttpService {
        let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        HttpService::new(prefix, names(request), names(response))
    }

    fn answer(status: u16, headers: &[(&str, &str)]) -> CalloutResponse {
        let mut response = CalloutResponse {
            status: StatusCode::from_u16(status).unwrap(),
            body: Bytes::from_static(b"text"),
            ..CalloutResponse::default()
        };
        for (name, value) in headers {
            response.headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        response
    }

    #[test]
    fn the_service_gets_the_head_as_it_came_and_no_more_headers_than_are_allowed() {
        let parts = request(
            "POST shop.ex/pay//x?a=%20b",
            &[
                ("authorization", "Basic eA=="),
                ("x-tenant", "one"),
                ("x-tenant", "two"),
                ("x-other", "secret"),
                ("content-length", "7"),
                ("cookie", "a=b"),
            ],
        );
        let question =
            service(Some("/check/"), &["X-Tenant", "content-length"], &[]).question(&parts).unwrap();
        assert_eq!(
            (question.method().as_str(), question.uri().to_string().as_str()),
            ("POST", "/check/pay//x?a=%20b")
        );
        let mut sent: Vec<_> = question
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        sent.sort();
        assert_eq!(
            sent,
            [
                "authorization: Basic eA==",
                "content-length: 0",
                "host: shop.ex",
                "x-tenant: one",
                "x-tenant: two"
            ]
        );
    }

    #[test]
    fn a_prefix_stands_before_the_path() {
        for (prefix, expected) in [
            (None, "/a?b"),
            (Some("/"), "/a?b"),
            (Some("/x"), "/x/a?b"),
            (Some("x/"), "/x/a?b"),
            (Some("/x/y/"), "/x/y/a?b"),
        ] {
            assert_eq!(
                service(prefix, &[], &[]).target(&"/a?b".parse().unwrap()).unwrap(),
                expected,
                "{prefix:?}"
            );
        }
        assert_eq!(service(Some("/x"), &[], &[]).target(&"*".parse().unwrap()).unwrap(), "/x/");
    }

    #[test]
    fn only_200_allows() {
        for status in [201, 202, 204, 206, 301, 302, 400, 401, 403, 404, 429, 500, 503] {
            let decision = service(None, &[], &[]).decide(answer(status, &[("location", "/login")]));
            let Decision::Deny(response) = decision else { panic!("{status} allows") };
            let expected = if status < 300 { 403 } else { status };
            assert_eq!(response.status.as_u16(), expected);
            assert_eq!(response.headers.contains_key("location"), status >= 300);
        }
        assert!(matches!(service(None, &[], &[]).decide(answer(200, &[])), Decision::Allow(_)));
    }

    #[test]
    fn a_client_cannot_say_what_only_the_service_may() {
        let mut parts = request(
            "GET a.ex/",
            &[
                ("x-user", "admin"),
                ("x-role", "root"),
                ("authorization", "Bearer x"),
                ("content-type", "text/csv"),
            ],
        );
        let answer = answer(
            200,
            &[
                ("x-user", "me"),
                ("content-type", "application/json"),
                ("set-cookie", "s=1"),
                ("host", "evil"),
                ("connection", "close"),
                ("x-other", "1"),
            ],
        );
        let service = service(None, &[], &["x-user", "x-role", "authorization", "host", "connection"]);
        let Decision::Allow(changes) = service.decide(answer.clone()) else { panic!() };
        changes.apply(&mut parts, &mut super::super::Kept::default());
        assert_eq!(parts.headers["x-user"], "me");
        for gone in ["x-role", "x-other", "set-cookie", "connection"] {
            assert!(!parts.headers.contains_key(gone), "{gone}");
        }
        assert_eq!(parts.headers["authorization"], "Bearer x", "credentials are the client's");
        assert_eq!(
            (&parts.headers["host"], &parts.headers["content-type"]),
            (&"a.ex".parse().unwrap(), &"text/csv".parse().unwrap())
        );

        let Decision::Allow(changes) = HttpService::new(None, vec![], vec![]).decide(answer) else {
            panic!()
        };
        changes.apply(&mut parts, &mut super::super::Kept::default());
        assert_eq!(
            (&parts.headers["host"], &parts.headers["content-type"]),
            (&"a.ex".parse().unwrap(), &"text/csv".parse().unwrap())
        );
        assert_eq!(parts.headers["x-other"], "1", "without a list the backend gets all");
        assert!(!parts.headers.contains_key("set-cookie"));
    }
}
