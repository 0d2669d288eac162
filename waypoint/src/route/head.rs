//! What routes look at: host, path, query, method and headers of a request, brought into one form.
//!
//! Paths are compared in the form of RFC 3986 §6.2.2: percent-encoded unreserved characters are decoded (`/%61dmin` is
//! `/admin`, for every server that follows the RFC), and the hex digits of what stays encoded are in upper case. The path
//! that is sent on is the one that came. Because both mean the same, no rule can be got around by another spelling.
//! Refused with 400, since servers behind us may read them in more than one way:
//!
//! - `.` and `..` segments in any spelling that some server takes for one (see [`super::segments`]);
//! - a raw `\`, which no URI has and some servers take for `/`, and `%00`, at which some servers end the path;
//! - a `%` without two hex digits.
//!
//! An encoded slash is not a slash, and `//` is not `/`: both name other resources and match accordingly.

use super::values::{TooLong, Values};
use crate::host::{InvalidHost, normalise_host};
use fairway_config::model::{Pattern, ValueMatch, normalised_path};
use http::header::{CONTENT_TYPE, HOST};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use std::borrow::Cow;

/// What routes look at. Borrows the request; nothing is copied unless the request is written in an unusual way.
#[derive(Clone, Debug)]
pub struct RequestHead<'r> {
    /// The host in lower case, without port and without the dot of the root.
    pub host: Cow<'r, str>,
    /// The path as [`fairway_config::model::normalised_path`] makes it.
    pub path: Cow<'r, str>,
    /// The query as received.
    pub query: Option<&'r str>,
    /// The method; case matters (RFC 9110 §9.1).
    pub method: &'r Method,
    /// The fields of the head, several of one name included.
    pub headers: &'r HeaderMap,
    values: Values<'r>,
}

/// A request that is refused with 400 before any route sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Neither a Host field nor a host in the target (RFC 9112 §3.2).
    #[error("an HTTP/1.1 request needs a Host header")]
    NoHost,
    /// Several Host fields, even if they are equal (RFC 9112 §3.2).
    #[error("a request has one Host")]
    ManyHosts,
    /// Which of the two hosts is meant cannot be told (RFC 9113 §8.3.1).
    #[error(":authority and Host differ")]
    HostsDiffer,
    /// Not a host, or longer than DNS allows.
    #[error("the Host is not valid")]
    InvalidHost,
    /// See the module's notes.
    #[error("the path has a `.` or `..` segment, a backslash or a broken percent-encoding")]
    AmbiguousPath,
}

/// No DNS name is longer; with brackets and a zone no address is either.
const LONGEST_HOST: usize = 253;

impl From<InvalidHost> for BadRequest {
    fn from(_: InvalidHost) -> Self {
        Self::InvalidHost
    }
}

// === impl RequestHead ===

impl<'r> RequestHead<'r> {
    /// Reads a request's head.
    pub fn read(parts: &'r Parts) -> Result<Self, BadRequest> {
        Ok(Self {
            host: read_host(parts)?,
            path: normalised_path(parts.uri.path()).ok_or(BadRequest::AmbiguousPath)?,
            query: parts.uri.query(),
            method: &parts.method,
            headers: &parts.headers,
            values: Values::default(),
        })
    }

    /// Whether the first value of a parameter of the query fits.
    pub(super) fn parameter_holds(&self, name: &str, expected: &ValueMatch) -> bool {
        let value = self.values.parameter(self.query, name);
        value.is_some_and(|it| self.values.fits(expected, it, TooLong::Target))
    }

    /// Whether a header is there and its value fits.
    pub(super) fn header_holds(&self, name: &HeaderName, expected: &ValueMatch) -> bool {
        self.values.header_holds(self.headers, name, expected)
    }

    /// Whether an expression matches the path.
    pub(super) fn path_matches(&self, expected: &Pattern) -> bool {
        self.values.matches(expected, &self.path, TooLong::Target)
    }

    /// Whether a part of the path fits: the service or the method of gRPC.
    pub(super) fn part_fits(&self, part: &str, expected: &ValueMatch) -> bool {
        self.values.fits(expected, part, TooLong::Target)
    }

    /// What could not be compared so far, if anything.
    pub(super) fn too_long(&self) -> Option<TooLong> {
        self.values.too_long()
    }

    /// Whether it is a gRPC request, which is what GRPCRoutes are for.
    pub fn is_grpc(&self) -> bool {
        is_grpc(self.headers)
    }
}

/// Leaves one place that says the host: the Host header. An authority in the target takes the place of the Host that came with it
/// (RFC 9112 §3.2.2), so that routes, filters, authorization and backend see one host. HTTP/2 has to say the same in both
/// (RFC 9113 §8.3.1). The target becomes a path.
pub fn settle_host(parts: &mut Parts) -> Result<(), BadRequest> {
    if parts.headers.get_all(HOST).iter().nth(1).is_some() {
        return Err(BadRequest::ManyHosts);
    }
    if parts.uri.scheme().is_none() && parts.uri.authority().is_none() {
        return Ok(());
    }
    if let Some(authority) = parts.uri.authority() {
        let authority = authority.as_str();
        if let (Version::HTTP_2, Some(header)) = (parts.version, parts.headers.get(HOST)) {
            let header = header.to_str().map_err(|_| BadRequest::InvalidHost)?;
            if !is_same_host(authority, header, parts) {
                return Err(BadRequest::HostsDiffer);
            }
        }
        let host = HeaderValue::from_str(authority).map_err(|_| BadRequest::InvalidHost)?;
        parts.headers.insert(HOST, host);
    }
    let path = std::mem::take(&mut parts.uri).into_parts().path_and_query;
    // Behind an authority the path may be empty, and with a fragment it is one that is there and empty: no rule and no policy for `/`
    // would match it, and it is no target (RFC 9112 §3.2.1).
    let path = path.filter(|it| it.as_str() != "/").unwrap_or_else(|| PathAndQuery::from_static("/"));
    parts.uri = path.into();
    Ok(())
}

/// Whether a request is one of gRPC: its media type is `application/grpc`, in upper or lower case (RFC 9110 §8.3.1), or that with the
/// name of an encoding behind a `+`. `application/grpc-web` is another protocol.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(|it| it.as_bytes());
    let Some((name, rest)) = content_type.and_then(|it| it.split_at_checked(GRPC.len())) else {
        return false;
    };
    // White space may stand before the parameters.
    name.eq_ignore_ascii_case(GRPC)
        && (rest.starts_with(b"+") || matches!(rest.trim_ascii_start().first(), None | Some(b';')))
}

/// The media type of gRPC.
const GRPC: &[u8] = b"application/grpc";

/// The host of a request alone, as [`RequestHead::host`] has it.
pub fn read_host(parts: &Parts) -> Result<Cow<'_, str>, BadRequest> {
    let mut headers = parts.headers.get_all(HOST).iter();
    let header = headers.next();
    if headers.next().is_some() {
        return Err(BadRequest::ManyHosts);
    }
    let header = header.map(|it| it.to_str().map_err(|_| BadRequest::InvalidHost)).transpose()?;
    match (parts.uri.authority(), header) {
        (Some(authority), Some(header))
            if parts.version == Version::HTTP_2 && !is_same_host(authority.as_str(), header, parts) =>
        {
            Err(BadRequest::HostsDiffer)
        }
        (Some(authority), _) => Ok(normalise_host(authority.as_str())?),
        (None, Some(header)) => Ok(normalise_host(header)?),
        (None, None) if parts.version == Version::HTTP_11 => Err(BadRequest::NoHost),
        (None, None) => Ok(Cow::Borrowed("")),
    }
    .and_then(|host| if host.len() <= LONGEST_HOST { Ok(host) } else { Err(BadRequest::InvalidHost) })
}

/// Whether an authority and a Host are one, where the scheme's port may be left out (RFC 9110 §4.2.3).
fn is_same_host(authority: &str, header: &str, parts: &Parts) -> bool {
    let port = if parts.uri.scheme_str() == Some("https") { ":443" } else { ":80" };
    let without = |host| str::strip_suffix(host, port).unwrap_or(host);
    without(authority).eq_ignore_ascii_case(without(header))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn parts(version: Version, uri: &str, hosts: &[&str]) -> Parts {
        let mut request = Request::builder().version(version).uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn read(version: Version, uri: &str, hosts: &[&str]) -> Result<String, BadRequest> {
        RequestHead::read(&parts(version, uri, hosts)).map(|it| it.host.into_owned())
    }

    #[test]
    fn a_request_is_one_of_grpc_by_its_media_type() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc+json; charset=utf-8", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc ; charset=utf-8", true),
            ("Application/GRPC", true),
            ("APPLICATION/GRPC+PROTO", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grpc-web-text", false),
            ("application/grpcfoo", false),
            ("application/grpc foo", false),
            ("application/grp", false),
            (" application/grpc", false),
            ("text/plain", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
            assert_eq!(is_grpc(&headers), expected, "{content_type:?}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn a_target_without_a_path_is_one_for_the_root() {
        for (target, path) in [
            ("http://a.ex", "/"),
            ("http://a.ex/", "/"),
            ("http://a.ex#x", "/"),
            ("http://a.ex/#x", "/"),
            ("http://a.ex?q=1", "/?q=1"),
            ("http://a.ex?q=1#x", "/?q=1"),
            ("http://a.ex/a#x", "/a"),
        ] {
            let request = Request::builder().uri(target).body(()).unwrap();
            let (mut parts, ()) = request.into_parts();
            settle_host(&mut parts).unwrap();
            assert_eq!(parts.uri.to_string(), path, "{target}");
            assert_eq!(parts.uri.path(), path.split('?').next().unwrap(), "{target}");
        }
    }

    #[test]
    fn the_host_is_the_authority_or_the_one_host_header() {
        use Version as V;
        let long = format!("{}.com", "a.".repeat(125));
        for (version, uri, hosts, expected) in [
            (V::HTTP_11, "/", vec!["example.com"], Ok("example.com")),
            (V::HTTP_11, "/", vec!["EXAMPLE.com:8080"], Ok("example.com")),
            (V::HTTP_11, "/", vec!["example.com."], Ok("example.com")),
            (V::HTTP_11, "/", vec!["[::1]:80"], Ok("[::1]")),
            (V::HTTP_11, "/", vec!["10.0.0.1"], Ok("10.0.0.1")),
            (V::HTTP_11, "/", vec![""], Ok("")),
            (V::HTTP_11, "http://absolute.com/", vec!["other.com"], Ok("absolute.com")),
            (V::HTTP_2, "http://authority.com/", vec![], Ok("authority.com")),
            (V::HTTP_2, "http://authority.com/", vec!["Authority.com"], Ok("authority.com")),
            (V::HTTP_2, "http://authority.com/", vec!["other.com"], Err(BadRequest::HostsDiffer)),
            (V::HTTP_2, "http://authority.com/", vec!["authority.com:80"], Ok("authority.com")),
            (V::HTTP_2, "https://authority.com:443/", vec!["authority.com"], Ok("authority.com")),
            (V::HTTP_2, "http://authority.com/", vec!["authority.com:443"], Err(BadRequest::HostsDiffer)),
            (V::HTTP_2, "http://authority.com:81/", vec!["authority.com"], Err(BadRequest::HostsDiffer)),
            (V::HTTP_2, "/", vec!["example.com"], Ok("example.com")),
            (V::HTTP_10, "/", vec![], Ok("")),
            (V::HTTP_11, "/", vec![], Err(BadRequest::NoHost)),
            (V::HTTP_11, "/", vec!["a.com", "a.com"], Err(BadRequest::ManyHosts)),
            (V::HTTP_11, "/", vec!["user@example.com"], Err(BadRequest::InvalidHost)),
            (V::HTTP_11, "/", vec!["example.com/path"], Err(BadRequest::InvalidHost)),
            (V::HTTP_11, "/", vec!["example.com:80:90"], Err(BadRequest::InvalidHost)),
            (V::HTTP_11, "/", vec!["example.com:x"], Err(BadRequest::InvalidHost)),
            (V::HTTP_11, "/", vec![&long], Err(BadRequest::InvalidHost)),
        ] {
            assert_eq!(
                read(version, uri, &hosts),
                expected.map(str::to_owned),
                "{version:?} {uri} {hosts:?}"
            );
        }
    }

    #[test]
    fn an_authority_in_the_target_takes_the_place_of_the_host() {
        use Version as V;
        for (version, uri, hosts, expected) in [
            (V::HTTP_11, "/a?b", vec!["public.ex"], Ok(("/a?b", Some("public.ex")))),
            (V::HTTP_11, "http://admin.ex/a?b", vec!["public.ex"], Ok(("/a?b", Some("admin.ex")))),
            (V::HTTP_11, "https://admin.ex:81", vec!["public.ex"], Ok(("/", Some("admin.ex:81")))),
            (V::HTTP_11, "http://admin.ex?b", vec![], Ok(("/?b", Some("admin.ex")))),
            (V::HTTP_11, "http://admin.ex/", vec!["a.ex", "a.ex"], Err(BadRequest::ManyHosts)),
            (V::HTTP_10, "http://admin.ex/", vec!["public.ex"], Ok(("/", Some("admin.ex")))),
            (V::HTTP_10, "/", vec![], Ok(("/", None))),
            (V::HTTP_11, "*", vec!["a.ex"], Ok(("*", Some("a.ex")))),
            (V::HTTP_2, "http://admin.ex/", vec![], Ok(("/", Some("admin.ex")))),
            (V::HTTP_2, "http://admin.ex/", vec!["admin.ex:80"], Ok(("/", Some("admin.ex")))),
            (V::HTTP_2, "http://admin.ex/", vec!["public.ex"], Err(BadRequest::HostsDiffer)),
            (V::HTTP_2, "/", vec!["public.ex"], Ok(("/", Some("public.ex")))),
            // What is no host stays so.
            (V::HTTP_11, "http://me@admin.ex/", vec!["a.ex"], Ok(("/", Some("me@admin.ex")))),
        ] {
            let mut parts = parts(version, uri, &hosts);
            let settled = settle_host(&mut parts).map(|()| {
                let host = parts.headers.get(HOST).map(|it| it.to_str().unwrap().to_owned());
                (parts.uri.to_string(), host)
            });
            let expected = expected.map(|(target, host)| (target.to_owned(), host.map(str::to_owned)));
            assert_eq!(settled, expected, "{version:?} {uri} {hosts:?}");
        }
        let mut with_user = parts(V::HTTP_11, "http://me@admin.ex/", &["a.ex"]);
        settle_host(&mut with_user).unwrap();
        assert_eq!(RequestHead::read(&with_user).map(|_| ()).unwrap_err(), BadRequest::InvalidHost);
    }

    #[test]
    fn paths_that_mean_the_same_are_the_same() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/%61/%7E%2d", "/a/~-"),
            ("/a%2fb", "/a%2Fb"),
            ("/%e2%82%ac", "/%E2%82%AC"),
            ("/a//b/", "/a//b/"),
            ("/a/.hidden/..b/c..", "/a/.hidden/..b/c.."),
            ("/a/...", "/a/..."),
            ("*", "*"),
        ] {
            assert_eq!(normalised_path(path).as_deref(), Some(expected), "{path}");
        }
        assert!(matches!(normalised_path("/plain/path"), Some(Cow::Borrowed(_))), "nothing is copied");
    }

    #[test]
    fn paths_that_servers_read_differently_are_refused() {
        for path in [
            ".",
            "../a",
            "/a/../b",
            "/a/./b",
            "/..",
            "/.",
            "/a/..",
            "/a/%2e%2e/b",
            "/a/.%2E/b",
            "/%2e",
            "/a%2f../b",
            "/a%2F%2e%2e%2fb",
            "/a%5c..%5cb",
            "/a\\..\\b",
            "/a\\b",
            "/a/..;x=y/b",
            "/a/%2e%2e%3b/b",
            "/a/..%00/b",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%é1",
        ] {
            assert_eq!(normalised_path(path), None, "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn normalising_twice_is_normalising_once(path in "/([a-z./;]|%[0-9a-fA-F]{2}){0,12}") {
            if let Some(once) = normalised_path(&path) {
                let twice = normalised_path(&once);
                proptest::prop_assert_eq!(twice.as_deref(), Some(&*once));
            }
        }
    }
}
