//! Routes on the wire.

use super::invalid::{Invalid, each, optional, required};
use super::{filter, matching, target, value};
use crate::model::{
    Attachment, Audience, HostMatch, Retry, Route, RouteKind, Rule, Timeouts, WeightedBackend,
};
use crate::proto::{self, attachment::Parent};

pub(super) fn encode(route: &Route) -> proto::Route {
    let kind = match route.kind {
        RouteKind::Http => proto::RouteKind::Http,
        RouteKind::Grpc => proto::RouteKind::Grpc,
    };
    proto::Route {
        key: route.key.to_string(),
        kind: kind.into(),
        object: Some(value::encode_object(&route.object)),
        created: route.created,
        attachments: route.attachments.iter().map(encode_attachment).collect(),
        rules: route.rules.iter().map(encode_rule).collect(),
    }
}

pub(super) fn decode(message: proto::Route) -> Result<Route, Invalid> {
    if message.attachments.is_empty() {
        return Err(Invalid::new("attachments", "there has to be one"));
    }
    Ok(Route {
        key: value::key(message.key).map_err(|it| it.within("key"))?,
        kind: match proto::RouteKind::try_from(message.kind) {
            Ok(proto::RouteKind::Http) => RouteKind::Http,
            Ok(proto::RouteKind::Grpc) => RouteKind::Grpc,
            Ok(proto::RouteKind::Unspecified) | Err(_) => {
                return Err(Invalid::unknown_value("kind", message.kind));
            }
        },
        object: required(message.object, "object", value::object)?,
        created: message.created,
        attachments: each(message.attachments, "attachments", |it| required(it.parent, "", decode_parent))?,
        rules: each(message.rules, "rules", decode_rule)?,
    })
}

pub(super) fn encode_attachment(attachment: &Attachment) -> proto::Attachment {
    let parent = match attachment {
        Attachment::Listener { listener, hostnames } => Parent::Listener(proto::ListenerAttachment {
            listener: listener.to_string(),
            hostnames: hostnames.iter().map(encode_host).collect(),
        }),
        Attachment::Service { service, port, audience } => Parent::Service(proto::ServiceAttachment {
            service: service.to_string(),
            port: port.map(u32::from),
            audience: Some(encode_audience(audience)),
        }),
    };
    proto::Attachment { parent: Some(parent) }
}

pub(super) fn decode_parent(parent: Parent) -> Result<Attachment, Invalid> {
    Ok(match parent {
        Parent::Listener(it) => Attachment::Listener {
            listener: value::key(it.listener).map_err(|it| it.within("listener.listener"))?,
            hostnames: each(it.hostnames, "listener.hostnames", decode_host)?,
        },
        Parent::Service(it) => Attachment::Service {
            service: value::key(it.service).map_err(|it| it.within("service.service"))?,
            port: optional(it.port, "service.port", value::port)?,
            audience: required(it.audience, "service.audience", decode_audience)?,
        },
    })
}

fn encode_host(host: &HostMatch) -> proto::HostMatch {
    proto::HostMatch { effective: host.effective.to_string(), original: host.original.to_string() }
}

fn decode_host(message: proto::HostMatch) -> Result<HostMatch, Invalid> {
    let effective = value::hostname(message.effective).map_err(|it| it.within("effective"))?;
    let original = value::hostname(message.original).map_err(|it| it.within("original"))?;
    // Mostly they are one.
    let original = if original == effective { effective.clone() } else { original };
    Ok(HostMatch { effective, original })
}

fn encode_audience(audience: &Audience) -> proto::Audience {
    use proto::audience::Kind;
    let kind = match audience {
        Audience::Producer => Kind::Producer(proto::AllClients {}),
        Audience::Consumer(namespace) => Kind::Consumer(namespace.to_string()),
    };
    proto::Audience { kind: Some(kind) }
}

fn decode_audience(message: proto::Audience) -> Result<Audience, Invalid> {
    use proto::audience::Kind;
    required(message.kind, "", |kind| match kind {
        Kind::Producer(proto::AllClients {}) => Ok(Audience::Producer),
        Kind::Consumer(namespace) => {
            value::name(namespace).map(Audience::Consumer).map_err(|it| it.within("consumer"))
        }
    })
}

fn encode_rule(rule: &Rule) -> proto::Rule {
    proto::Rule {
        name: rule.name.as_ref().map(ToString::to_string),
        matches: rule.matches.iter().map(matching::encode).collect(),
        filters: rule.filters.iter().map(filter::encode).collect(),
        backends: rule.backends.iter().map(encode_backend).collect(),
        timeouts: Some(proto::Timeouts {
            request: rule.timeouts.request.as_ref().map(value::encode_duration),
            backend_request: rule.timeouts.backend_request.as_ref().map(value::encode_duration),
        }),
        retry: rule.retry.as_ref().map(encode_retry),
        authorizations: rule.authorizations.iter().map(ToString::to_string).collect(),
        limits: rule.limits.iter().map(ToString::to_string).collect(),
        authentications: rule.authentications.iter().map(ToString::to_string).collect(),
    }
}

fn decode_rule(message: proto::Rule) -> Result<Rule, Invalid> {
    if message.matches.is_empty() {
        return Err(Invalid::new("matches", "there has to be one"));
    }
    Ok(Rule {
        name: optional(message.name, "name", value::text)?,
        matches: each(message.matches, "matches", matching::decode)?,
        filters: each(message.filters, "filters", filter::decode)?,
        backends: each(message.backends, "backends", decode_backend)?,
        timeouts: required(message.timeouts, "timeouts", decode_timeouts)?,
        retry: optional(message.retry, "retry", decode_retry)?,
        authorizations: each(message.authorizations, "authorizations", value::key)?,
        limits: each(message.limits, "limits", value::key)?,
        authentications: each(message.authentications, "authentications", value::key)?,
    })
}

fn encode_backend(backend: &WeightedBackend) -> proto::WeightedBackend {
    proto::WeightedBackend {
        weight: backend.weight,
        target: Some(target::encode(&backend.target)),
        filters: backend.filters.iter().map(filter::encode).collect(),
    }
}

fn decode_backend(message: proto::WeightedBackend) -> Result<WeightedBackend, Invalid> {
    Ok(WeightedBackend {
        weight: message.weight,
        target: required(message.target, "target", target::decode)?,
        filters: each(message.filters, "filters", filter::decode)?,
    })
}

fn decode_timeouts(message: proto::Timeouts) -> Result<Timeouts, Invalid> {
    Ok(Timeouts {
        request: optional(message.request, "request", value::duration)?,
        backend_request: optional(message.backend_request, "backend_request", value::duration)?,
    })
}

fn encode_retry(retry: &Retry) -> proto::Retry {
    proto::Retry {
        attempts: retry.attempts,
        backoff: retry.backoff.as_ref().map(value::encode_duration),
        codes: retry.codes.iter().map(|code| code.as_u16().into()).collect(),
        connection_errors: retry.connection_errors,
    }
}

fn decode_retry(message: proto::Retry) -> Result<Retry, Invalid> {
    Ok(Retry {
        attempts: message.attempts,
        backoff: optional(message.backoff, "backoff", value::duration)?,
        codes: each(message.codes, "codes", value::status)?,
        connection_errors: message.connection_errors,
    })
}
