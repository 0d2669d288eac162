//! Authorization by gRPC: `envoy.service.auth.v3.Authorization/Check`, which authorization services for Envoy implement.

use super::super::StageRequest;
use super::message::{
    Address, AppendAction, AttributeContext, CheckRequest, CheckResponse, DeniedResponse, HeaderValueOption,
    HttpRequest, HttpResponse, OkResponse, Peer, QueryParameter, RequestContext, SocketAddress, Timestamp,
};
use super::{Changes, Decision, NoDecision, StageResponse, for_client};
use crate::stage::RequestAttributes;
use crate::stage::callout::CalloutResponse;
use bytes::{BufMut, Bytes, BytesMut};
use fairway_config::model::{BackendKey, RouteKind, Scheme};
use fairway_policy::matching::join_lines;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, TE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use prost::Message;
use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

const METHOD: &str = "/envoy.service.auth.v3.Authorization/Check";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Bytes before a message of gRPC: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// A service that is asked by gRPC.
#[derive(Debug)]
pub(super) struct GrpcService {
    /// If there are none, the service gets all headers.
    request_headers: Vec<HeaderName>,
}

impl GrpcService {
    pub(super) fn new(request_headers: Vec<HeaderName>) -> Self {
        Self { request_headers }
    }

    pub(super) async fn ask(
        &self,
        backend: &BackendKey,
        request: &mut StageRequest<'_, '_>,
    ) -> Result<Decision, NoDecision> {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = Timestamp {
            seconds: i64::try_from(time.as_secs()).unwrap_or_default(),
            nanos: i32::try_from(time.subsec_nanos()).unwrap_or_default(),
        };
        let check = self.check_request(request.parts, request.attributes, time);
        let response = request.callout.call(backend, RouteKind::Grpc, frame(backend, &check)?).await?;
        decide(read(&response)?, request.parts)
    }

    fn check_request(
        &self,
        parts: &Parts,
        attributes: &RequestAttributes<'_>,
        time: Timestamp,
    ) -> CheckRequest {
        let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let host = parts.headers.get(HOST).map_or(&b""[..], HeaderValue::as_bytes);
        let host = String::from_utf8_lossy(host).into_owned();
        let scheme = match attributes.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let mut headers = self.visible(&parts.headers);
        for (name, value) in
            [(":method", parts.method.as_str()), (":path", path), (":authority", &host), (":scheme", scheme)]
        {
            headers.insert(name.to_owned(), value.to_owned());
        }
        let text = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let source = Peer {
            address: attributes.client_address.map(|address| Address {
                socket_address: Some(SocketAddress { address: address.to_string(), port: Some(0) }),
            }),
            principal: attributes.peer.map(ToString::to_string).unwrap_or_default(),
            ..Peer::default()
        };
        let destination = Peer {
            service: attributes.service.map(ToString::to_string).unwrap_or_default(),
            ..Peer::default()
        };
        let http = HttpRequest {
            id: text(REQUEST_ID).unwrap_or_default().to_owned(),
            method: parts.method.to_string(),
            headers,
            path: path.to_owned(),
            host,
            scheme: scheme.to_owned(),
            size: text(CONTENT_LENGTH).and_then(|length| length.parse().ok()).unwrap_or(-1),
            protocol: match parts.version {
                Version::HTTP_2 => "HTTP/2",
                Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            }
            .to_owned(),
        };
        let request = RequestContext { time: Some(time), http: Some(http) };
        CheckRequest {
            attributes: Some(AttributeContext {
                source: Some(source),
                destination: Some(destination),
                request: Some(request),
                context_extensions: HashMap::new(),
            }),
        }
    }

    /// The headers that the service may see. Several values of one name are one, joined as the backend may join them
    /// (RFC 9110 §5.3).
    fn visible(&self, headers: &HeaderMap) -> HashMap<String, String> {
        let is_allowed =
            |name: &&HeaderName| self.request_headers.is_empty() || self.request_headers.contains(name);
        headers.keys().filter(is_allowed).map(|name| (name.to_string(), joined(headers, name))).collect()
    }
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let value = join_lines(name, headers.get_all(name).iter().map(HeaderValue::as_bytes));
    String::from_utf8_lossy(&value).into_owned()
}

/// A call of the method, with one message.
fn frame(backend: &BackendKey, check: &CheckRequest) -> Result<Request<Bytes>, NoDecision> {
    let length = check.encoded_len();
    let mut body = BytesMut::with_capacity(PREFIX + length);
    body.put_u8(0);
    body.put_u32(u32::try_from(length).map_err(|_| NoDecision::NotUnderstood("the request is too large"))?);
    check.encode(&mut body).map_err(|_| NoDecision::NotUnderstood("the request is too large"))?;
    let mut request = Request::new(body.freeze());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static(METHOD);
    let headers = request.headers_mut();
    // A backend's key is `namespace/name:port`; the authority of gRPC is a name.
    let authority = backend.as_str().rsplit('/').next().unwrap_or_default();
    headers.insert(
        HOST,
        HeaderValue::from_str(authority).map_err(|_| NoDecision::NotUnderstood("the backend's name"))?,
    );
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(request_length(length)));
    Ok(request)
}

fn request_length(message: usize) -> u64 {
    (PREFIX + message) as u64
}

/// The one message of a response that says it succeeded.
fn read(response: &CalloutResponse) -> Result<CheckResponse, NoDecision> {
    if response.status != StatusCode::OK {
        return Err(NoDecision::Status(response.status));
    }
    // A response without a body has its trailers in the head.
    let status = response.trailers.get(GRPC_STATUS).or_else(|| response.headers.get(GRPC_STATUS));
    match status.map(HeaderValue::as_bytes) {
        Some(b"0") => {}
        Some(other) => return Err(NoDecision::GrpcStatus(String::from_utf8_lossy(other).into_owned())),
        None => return Err(NoDecision::NotUnderstood("it has no grpc-status")),
    }
    let [0, a, b, c, d, message @ ..] = &*response.body else {
        return Err(NoDecision::NotUnderstood("it has no message that is not compressed"));
    };
    if u32::from_be_bytes([*a, *b, *c, *d]) as usize != message.len() {
        return Err(NoDecision::NotUnderstood("it is not one message"));
    }
    CheckResponse::decode(message).map_err(|_| NoDecision::NotUnderstood("it is no CheckResponse"))
}

/// A response that says nothing of a status decides nothing.
fn decide(response: CheckResponse, parts: &mut Parts) -> Result<Decision, NoDecision> {
    let Some(status) = response.status else {
        return Err(NoDecision::NotUnderstood("it has no status"));
    };
    match (status.code, response.http_response) {
        (_, Some(HttpResponse::Error(_))) => Err(NoDecision::NotUnderstood("the service could not decide")),
        (0, None) => Ok(Decision::Allow(Box::default())),
        (0, Some(HttpResponse::Ok(ok))) => allow(ok, parts).map(Box::new).map(Decision::Allow),
        (0, Some(HttpResponse::Denied(_))) => Err(NoDecision::NotUnderstood("it allows and denies")),
        (_, Some(HttpResponse::Denied(denied))) => Ok(Decision::Deny(Box::new(deny(denied)?))),
        (_, None | Some(HttpResponse::Ok(_))) => {
            Ok(Decision::Deny(Box::new(StageResponse::empty(StatusCode::FORBIDDEN))))
        }
    }
}

fn deny(denied: DeniedResponse) -> Result<StageResponse, NoDecision> {
    let code = denied.status.map_or(0, |status| status.code);
    let status = match u16::try_from(code).ok().and_then(|code| StatusCode::from_u16(code).ok()) {
        Some(status) if !status.is_success() && !status.is_informational() => status,
        _ if code == 0 => StatusCode::FORBIDDEN,
        _ => return Err(NoDecision::NotUnderstood("it denies with the status of a success")),
    };
    let mut headers = HeaderMap::new();
    for header in &denied.headers {
        put(&mut headers, header)?;
    }
    Ok(StageResponse { status, headers: for_client(headers), body: denied.body.into() })
}

fn allow(ok: OkResponse, parts: &mut Parts) -> Result<Changes, NoDecision> {
    let mut changes = Changes::default();
    for name in &ok.headers_to_remove {
        changes.remove.push(name.parse().map_err(|_| NoDecision::NotUnderstood("a header's name"))?);
    }
    for option in &ok.headers {
        // A header of the request's own line is no header that a service may set.
        let Some((name, value)) = header_of(option)? else { continue };
        let is_there = parts.headers.contains_key(&name);
        match action_of(option, AppendAction::OverwriteIfExistsOrAdd) {
            AppendAction::AppendIfExistsOrAdd => drop(changes.append.append(name, value)),
            AppendAction::AddIfAbsent if is_there => {}
            AppendAction::OverwriteIfExists if !is_there => {}
            AppendAction::AddIfAbsent
            | AppendAction::OverwriteIfExistsOrAdd
            | AppendAction::OverwriteIfExists => {
                changes.set.append(name, value);
            }
        }
    }
    for option in &ok.response_headers_to_add {
        if let Some((name, value)) = header_of(option)? {
            changes.response.append(name, value);
        }
    }
    changes.response = for_client(changes.response);
    change_query(&mut parts.uri, &ok.query_parameters_to_set, &ok.query_parameters_to_remove)?;
    Ok(changes)
}

/// The name and value of a header. `None` for `:path` and its like, which routes and no service decide about.
fn header_of(option: &HeaderValueOption) -> Result<Option<(HeaderName, HeaderValue)>, NoDecision> {
    let header = option.header.as_ref().ok_or(NoDecision::NotUnderstood("a header without a name"))?;
    if header.key.starts_with(':') {
        return Ok(None);
    }
    let name = header.key.parse().map_err(|_| NoDecision::NotUnderstood("a header's name"))?;
    let value = if header.value.is_empty() { &header.raw_value[..] } else { header.value.as_bytes() };
    let value = HeaderValue::from_bytes(value).map_err(|_| NoDecision::NotUnderstood("a header's value"))?;
    Ok(Some((name, value)))
}

/// `append` is the older field and goes first, where it is there. With neither field `default` holds.
fn action_of(option: &HeaderValueOption, default: AppendAction) -> AppendAction {
    match (&option.append, option.append_action()) {
        (Some(append), _) if append.value => AppendAction::AppendIfExistsOrAdd,
        (Some(_), _) => AppendAction::OverwriteIfExistsOrAdd,
        (None, AppendAction::AppendIfExistsOrAdd) => default,
        (None, action) => action,
    }
}

/// A header of a response that is made from nothing. One that is set more than once, as `Set-Cookie`, is there more than once, as with
/// Envoy: there is nothing that it could take the place of.
fn put(headers: &mut HeaderMap, option: &HeaderValueOption) -> Result<(), NoDecision> {
    let Some((name, value)) = header_of(option)? else { return Ok(()) };
    match action_of(option, AppendAction::OverwriteIfExistsOrAdd) {
        AppendAction::AppendIfExistsOrAdd | AppendAction::OverwriteIfExistsOrAdd => {
            headers.append(name, value);
        }
        AppendAction::AddIfAbsent if headers.contains_key(&name) => {}
        AppendAction::AddIfAbsent => drop(headers.insert(name, value)),
        AppendAction::OverwriteIfExists if !headers.contains_key(&name) => {}
        AppendAction::OverwriteIfExists => drop(headers.insert(name, value)),
    }
    Ok(())
}

/// Takes parameters out of the query, and sets others at its end. The path stays.
fn change_query(uri: &mut Uri, set: &[QueryParameter], remove: &[String]) -> Result<(), NoDecision> {
    if set.is_empty() && remove.is_empty() {
        return Ok(());
    }
    let named = |pair: &str, name: &str| {
        let key = pair.split('=').next().unwrap_or_default().replace('+', " ");
        percent_decode_str(&key).decode_utf8_lossy() == name
    };
    let replaced = |pair: &&str| {
        !remove.iter().any(|name| named(pair, name)) && !set.iter().any(|it| named(pair, &it.key))
    };
    let kept = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).filter(replaced);
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let added = set.iter().map(|it| format!("{}={}", encoded(&it.key), encoded(&it.value)));
    let query = kept.map(str::to_owned).chain(added).collect::<Vec<_>>().join("&");
    let path = uri.path();
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let not_understood = |()| NoDecision::NotUnderstood("a query parameter");
    let mut changed = uri.clone().into_parts();
    changed.path_and_query = Some(target.parse().map_err(|_| not_understood(()))?);
    *uri = Uri::from_parts(changed).map_err(|_| not_understood(()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::message::{BoolValue, Header, HttpStatus, Status};
    use super::*;
    use crate::fixtures::request;

    fn option(key: &str, value: &str, append: Option<bool>, action: AppendAction) -> HeaderValueOption {
        HeaderValueOption {
            header: Some(Header { key: key.into(), value: value.into(), raw_value: Bytes::new() }),
            append: append.map(|value| BoolValue { value }),
            append_action: action.into(),
        }
    }

    fn response(code: i32, http_response: Option<HttpResponse>) -> CheckResponse {
        CheckResponse { status: Some(Status { code }), http_response }
    }

    fn answered(message: &[u8], trailers: &[(&'static str, &'static str)]) -> CalloutResponse {
        let mut body = vec![0];
        body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend(message);
        let mut response = CalloutResponse { body: body.into(), ..CalloutResponse::default() };
        for (name, value) in trailers {
            response.trailers.insert(*name, HeaderValue::from_static(value));
        }
        response
    }

    #[test]
    fn only_a_whole_message_with_status_0_decides() {
        let allowed = response(0, None).encode_to_vec();
        assert!(read(&answered(&allowed, &[("grpc-status", "0")])).is_ok());
        assert!(read(&answered(&allowed, &[])).is_err(), "without a status");
        assert!(read(&answered(&allowed, &[("grpc-status", "14")])).is_err());
        assert!(read(&answered(&[0xff], &[("grpc-status", "0")])).is_err(), "no message");
        for body in
            [&b""[..], &[0, 0, 0, 0], &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 1], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]
        {
            let mut broken = answered(&[], &[("grpc-status", "0")]);
            broken.body = Bytes::copy_from_slice(body);
            assert!(read(&broken).is_err(), "{body:?}");
        }
        let mut refused = answered(&allowed, &[("grpc-status", "0")]);
        refused.status = StatusCode::SERVICE_UNAVAILABLE;
        assert!(read(&refused).is_err());
    }

    #[test]
    fn what_is_no_decision_refuses() {
        let parts = || request("GET a.ex/", &[]);
        let denied = || HttpResponse::Denied(DeniedResponse::default());
        for undecided in [
            CheckResponse::default(),
            CheckResponse { status: None, http_response: Some(HttpResponse::Ok(OkResponse::default())) },
            response(0, Some(denied())),
            response(0, Some(HttpResponse::Error(DeniedResponse::default()))),
        ] {
            assert!(decide(undecided.clone(), &mut parts()).is_err(), "{undecided:?}");
        }
        for (code, http_response) in
            [(7, None), (16, Some(HttpResponse::Ok(OkResponse::default()))), (7, Some(denied()))]
        {
            let decision = decide(response(code, http_response), &mut parts()).unwrap();
            let Decision::Deny(made) = decision else { panic!("{code} allows") };
            assert_eq!(made.status, StatusCode::FORBIDDEN);
        }
        let decision = decide(response(0, None), &mut parts()).unwrap();
        assert!(matches!(decision, Decision::Allow(_)));
    }

    #[test]
    fn a_denial_has_the_status_headers_and_body_of_the_service() {
        let denied = |code| DeniedResponse {
            status: Some(HttpStatus { code }),
            headers: vec![
                option("www-authenticate", "Bearer", None, AppendAction::AppendIfExistsOrAdd),
                option("transfer-encoding", "chunked", None, AppendAction::AppendIfExistsOrAdd),
                option(":status", "200", None, AppendAction::AppendIfExistsOrAdd),
            ],
            body: "log in".into(),
        };
        let made = deny(denied(401)).unwrap();
        assert_eq!((made.status, &made.body[..]), (StatusCode::UNAUTHORIZED, &b"log in"[..]));
        assert_eq!(made.headers.keys().collect::<Vec<_>>(), ["www-authenticate"]);
        assert!(deny(denied(200)).is_err() && deny(denied(99_999)).is_err());
    }

    #[test]
    fn a_denial_sets_as_many_cookies_as_the_service_says() {
        use AppendAction::{AddIfAbsent, AppendIfExistsOrAdd, OverwriteIfExists, OverwriteIfExistsOrAdd};
        for (append, action, expected) in [
            (None, AppendIfExistsOrAdd, &["a=1", "b=2"][..]),
            (Some(false), AppendIfExistsOrAdd, &["a=1", "b=2"]),
            (Some(true), AppendIfExistsOrAdd, &["a=1", "b=2"]),
            (None, OverwriteIfExistsOrAdd, &["a=1", "b=2"]),
            (None, AddIfAbsent, &["a=1"]),
            (None, OverwriteIfExists, &[]),
        ] {
            let headers = vec![
                option("set-cookie", "a=1", append, action),
                option("location", "/login", None, OverwriteIfExistsOrAdd),
                option("Set-Cookie", "b=2", append, action),
            ];
            let denied = DeniedResponse {
                status: Some(HttpStatus { code: 302 }),
                headers,
                ..DeniedResponse::default()
            };
            let made = deny(denied).unwrap();
            let cookies: Vec<_> = made.headers.get_all("set-cookie").iter().collect();
            assert_eq!(cookies, expected, "{append:?} {action:?}");
            assert_eq!(made.headers["location"], "/login");
        }
    }

    #[test]
    fn two_services_add_to_the_response_what_each_says() {
        let mut kept = super::super::Kept::default();
        for cookies in [&["a=1", "b=2"][..], &["c=3"]] {
            let mut parts = request("GET a.ex/", &[]);
            let added = cookies.iter().map(|it| option("set-cookie", it, None, AppendAction::default()));
            let ok = OkResponse { response_headers_to_add: added.collect(), ..OkResponse::default() };
            allow(ok, &mut parts).unwrap().apply(&mut parts, &mut kept);
        }
        let added = kept.authorized.take().unwrap();
        assert_eq!(added.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2", "c=3"]);
    }

    #[test]
    fn headers_are_set_unless_the_service_says_otherwise_and_never_those_of_the_route() {
        use AppendAction::{AddIfAbsent, AppendIfExistsOrAdd, OverwriteIfExists, OverwriteIfExistsOrAdd};
        for (append, action, there, expected) in [
            (None, AppendIfExistsOrAdd, true, &["new"][..]),
            (Some(true), AppendIfExistsOrAdd, true, &["old", "new"]),
            (Some(false), AppendIfExistsOrAdd, true, &["new"]),
            (None, AddIfAbsent, true, &["old"]),
            (None, AddIfAbsent, false, &["new"]),
            (None, OverwriteIfExists, true, &["new"]),
            (None, OverwriteIfExists, false, &[]),
            (None, OverwriteIfExistsOrAdd, false, &["new"]),
        ] {
            let headers: &[_] = if there { &[("x-a", "old")] } else { &[] };
            let mut parts = request("GET a.ex/", headers);
            let ok = OkResponse {
                headers: vec![
                    option("x-a", "new", append, action),
                    option("host", "evil", None, OverwriteIfExistsOrAdd),
                    option(":path", "/evil", None, OverwriteIfExistsOrAdd),
                    option("content-length", "9", None, OverwriteIfExistsOrAdd),
                ],
                headers_to_remove: vec!["Host".into(), "transfer-encoding".into()],
                ..OkResponse::default()
            };
            allow(ok, &mut parts).unwrap().apply(&mut parts, &mut super::super::Kept::default());
            assert_eq!(
                parts.headers.get_all("x-a").iter().collect::<Vec<_>>(),
                expected,
                "{append:?} {action:?}"
            );
            assert_eq!((&parts.headers["host"], parts.uri.path()), (&HeaderValue::from_static("a.ex"), "/"));
            assert!(!parts.headers.contains_key("content-length"));
        }
    }

    #[test]
    fn query_parameters_are_replaced_whole() {
        let set = [QueryParameter { key: "user".into(), value: "a&b=c".into() }];
        for (uri, expected) in [
            ("/p?user=x&q=1&us%65r=y&token=s", "/p?q=1&user=a%26b%3Dc"),
            ("/p", "/p?user=a%26b%3Dc"),
            ("/p?token", "/p?user=a%26b%3Dc"),
        ] {
            let mut changed: Uri = uri.parse().unwrap();
            change_query(&mut changed, &set, &["token".into()]).unwrap();
            assert_eq!(changed.to_string(), expected);
        }
        let mut gone: Uri = "/p?token=1".parse().unwrap();
        change_query(&mut gone, &[], &["token".into()]).unwrap();
        assert_eq!(gone.to_string(), "/p");
    }

    #[test]
    fn repeated_headers_are_one_and_only_those_that_are_allowed_are_seen() {
        let headers = request(
            "GET a.ex/",
            &[("x-a", "1"), ("x-a", "2"), ("cookie", "c=1"), ("cookie", ""), ("cookie", "d=2")],
        )
        .headers;
        let all = GrpcService::new(vec![]).visible(&headers);
        assert_eq!((all["x-a"].as_str(), all["cookie"].as_str()), ("1,2", "c=1; d=2"));
        let few = GrpcService::new(vec![HeaderName::from_static("x-a")]).visible(&headers);
        assert_eq!(few.keys().collect::<Vec<_>>(), ["x-a"]);
    }
}
