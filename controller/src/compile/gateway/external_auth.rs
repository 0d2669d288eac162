//! External authorization (GEP-1494), of a listener or of a rule: from what was written to what proxies do.

use crate::compile::names::backend::WrittenRef;
use crate::diagnostic::{Diagnostic, Reason};
use fairway_config::model::{AuthProtocol, BackendTarget, ExternalAuth};
use http::HeaderName;

/// What was written, without the generated types of the places where it may stand.
#[derive(Debug)]
pub(in crate::compile) struct WrittenExternalAuth<'a> {
    pub target: WrittenRef<'a>,
    pub protocol: WrittenAuthProtocol<'a>,
    pub max_body: Option<i32>,
}

/// The part that belongs to the protocol; none if it is not written.
#[derive(Debug)]
pub(in crate::compile) enum WrittenAuthProtocol<'a> {
    Http(Option<WrittenHttpAuth<'a>>),
    /// The names of headers that the service may see.
    Grpc(Option<&'a [String]>),
}

#[derive(Debug)]
pub(in crate::compile) struct WrittenHttpAuth<'a> {
    pub path: Option<&'a str>,
    pub allowed_headers: &'a [String],
    pub allowed_response_headers: &'a [String],
}

macro_rules! external_auth {
    ($it:expr, $($protocol:ident)::+) => {
        WrittenExternalAuth {
            target: reference!($it.backend_ref),
            protocol: match $it.protocol {
                $($protocol)::+::Http => WrittenAuthProtocol::Http($it.http.as_ref().map(|it| WrittenHttpAuth {
                    path: it.path.as_deref().filter(|it| !it.is_empty()),
                    allowed_headers: it.allowed_headers.as_deref().unwrap_or_default(),
                    allowed_response_headers: it.allowed_response_headers.as_deref().unwrap_or_default(),
                })),
                $($protocol)::+::Grpc => WrittenAuthProtocol::Grpc(
                    $it.grpc.as_ref().map(|it| it.allowed_headers.as_deref().unwrap_or_default()),
                ),
            },
            max_body: $it.forward_body.as_ref().and_then(|it| it.max_size),
        }
    };
}
pub(in crate::compile) use external_auth;

/// Compiles it. A part that is not written is one with its defaults: the protocol alone says how the service is asked.
pub(in crate::compile) fn compile<'a>(
    field: &str,
    written: &WrittenExternalAuth<'a>,
    resolve: impl FnOnce(&str, WrittenRef<'a>) -> BackendTarget,
) -> Result<ExternalAuth, Diagnostic> {
    let names = |part: &str, written: &[String]| {
        let names = written.iter().enumerate();
        let names = names.map(|(index, it)| header_name(&format!("{field}.{part}[{index}]"), it));
        names.collect::<Result<Vec<_>, _>>()
    };
    if written.max_body.is_some_and(|size| size != 0) {
        let field = format!("{field}.forwardBody");
        let message = "Fairway does not send bodies to authorization services";
        let remedy = "remove forwardBody, or decide by the request's head";
        return Err(Diagnostic::error(Reason::ExternalAuthBodyUnsupported, field, message, remedy));
    }
    let protocol = match &written.protocol {
        WrittenAuthProtocol::Http(http) => AuthProtocol::Http {
            path_prefix: http.as_ref().and_then(|it| it.path).map(Into::into),
            request_headers: names(
                "http.allowedHeaders",
                http.as_ref().map_or(&[], |it| it.allowed_headers),
            )?,
            response_headers: names(
                "http.allowedResponseHeaders",
                http.as_ref().map_or(&[], |it| it.allowed_response_headers),
            )?,
        },
        WrittenAuthProtocol::Grpc(allowed) => {
            AuthProtocol::Grpc { request_headers: names("grpc.allowedHeaders", allowed.unwrap_or_default())? }
        }
    };
    Ok(ExternalAuth { target: resolve(&format!("{field}.backendRef"), written.target), protocol })
}

/// Parses the name of a header; an error names the field.
pub(in crate::compile) fn header_name(field: &str, name: &str) -> Result<HeaderName, Diagnostic> {
    HeaderName::try_from(name).map_err(|_| {
        let message = format!("`{name}` is not a header name");
        Diagnostic::error(Reason::HeaderNameInvalid, field, message, "use letters, digits and dashes")
    })
}
