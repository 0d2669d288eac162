//! External authorization on the wire.

use super::invalid::{Invalid, each, required};
use super::{target, value};
use crate::model::{AuthProtocol, ExternalAuth};
use crate::proto;
use http::HeaderName;
use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(super) struct ExternalAuthMessage {
    #[prost(message, optional, tag = "1")]
    target: Option<proto::BackendTarget>,
    #[prost(oneof = "ProtocolKind", tags = "2, 3")]
    protocol: Option<ProtocolKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum ProtocolKind {
    #[prost(message, tag = "2")]
    Http(HttpMessage),
    #[prost(message, tag = "3")]
    Grpc(GrpcMessage),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct HttpMessage {
    #[prost(string, optional, tag = "1")]
    path_prefix: Option<String>,
    #[prost(string, repeated, tag = "2")]
    request_headers: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    response_headers: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GrpcMessage {
    #[prost(string, repeated, tag = "1")]
    request_headers: Vec<String>,
}

pub(super) fn encode(auth: &ExternalAuth) -> ExternalAuthMessage {
    let protocol = match &auth.protocol {
        AuthProtocol::Http { path_prefix, request_headers, response_headers } => {
            ProtocolKind::Http(HttpMessage {
                path_prefix: path_prefix.as_ref().map(ToString::to_string),
                request_headers: encode_names(request_headers),
                response_headers: encode_names(response_headers),
            })
        }
        AuthProtocol::Grpc { request_headers } => {
            ProtocolKind::Grpc(GrpcMessage { request_headers: encode_names(request_headers) })
        }
    };
    ExternalAuthMessage { target: Some(target::encode(&auth.target)), protocol: Some(protocol) }
}

pub(super) fn decode(message: ExternalAuthMessage) -> Result<ExternalAuth, Invalid> {
    Ok(ExternalAuth {
        target: required(message.target, "target", target::decode)?,
        protocol: required(message.protocol, "protocol", decode_protocol)?,
    })
}

fn decode_protocol(kind: ProtocolKind) -> Result<AuthProtocol, Invalid> {
    Ok(match kind {
        ProtocolKind::Http(http) => AuthProtocol::Http {
            path_prefix: http.path_prefix.map(Into::into),
            request_headers: each(http.request_headers, "request_headers", value::header_name)?,
            response_headers: each(http.response_headers, "response_headers", value::header_name)?,
        },
        ProtocolKind::Grpc(grpc) => AuthProtocol::Grpc {
            request_headers: each(grpc.request_headers, "request_headers", value::header_name)?,
        },
    })
}

fn encode_names(names: &[HeaderName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}
