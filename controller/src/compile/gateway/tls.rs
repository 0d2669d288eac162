//! The certificates of an HTTPS listener.

use super::listener::Asked;
use crate::compile::evaluation::Evaluation;
use crate::compile::reader::Reader;
use crate::compile::{certificate, grant};
use crate::resources::Kind;
use crate::status::reason;
use fairway_config::model::ObjectName;
use std::sync::Arc;

/// What became of a listener's certificate references.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    /// Those that can be used.
    pub usable: Vec<ObjectName>,
    /// What is wrong with the others: the API's word and what to do.
    pub defects: Vec<(&'static str, String)>,
}

/// Resolves a listener's certificate references.
pub(super) fn resolve(reader: &mut Reader<'_>, asked: &Asked<'_>, made: &mut Evaluation) -> Certificates {
    let mut found = Certificates::default();
    let field = format!("{}.tls.certificateRefs", asked.field());
    let refs = asked.written.tls.iter().flat_map(|it| it.certificate_refs.iter().flatten());
    let mut count = 0;
    for (index, it) in refs.enumerate() {
        count += 1;
        let field = format!("{field}[{index}]");
        let mut defect = |reason: &'static str, message: String, remedy: String| {
            found.defects.push((reason, format!("{field}: {message}; {remedy}")));
            made.error(asked.object, field.clone(), message, remedy);
        };
        let (group, kind) = (it.group.as_deref().unwrap_or_default(), it.kind.as_deref().unwrap_or("Secret"));
        if (group, kind) != ("", "Secret") {
            let message = format!("{group}/{kind} cannot hold a certificate");
            defect(
                reason::INVALID_CERTIFICATE_REF,
                message,
                "refer to a Secret of type kubernetes.io/tls".into(),
            );
            continue;
        }
        let namespace: Arc<str> =
            it.namespace.as_deref().map_or_else(|| asked.gateway.namespace.clone(), Arc::from);
        let target = (Kind::Secret, &namespace, it.name.as_str());
        if !grant::permits(reader, (Kind::Gateway, &asked.gateway.namespace), target) {
            let message = format!(
                "Secret {namespace}/{} is in another namespace, which does not grant its use",
                it.name
            );
            let from = (Kind::Gateway, &*asked.gateway.namespace);
            defect(
                reason::REF_NOT_PERMITTED,
                message,
                grant::remedy(from, (Kind::Secret, &namespace, &it.name)),
            );
            continue;
        }
        let name = ObjectName::new(namespace, it.name.as_str());
        match reader.secret(&name).map(|secret| certificate::parse(&name, &secret)) {
            Some(Ok(_)) => found.usable.push(name),
            Some(Err(message)) => {
                let remedy = "put a PEM certificate chain in tls.crt and its key in tls.key";
                defect(reason::INVALID_CERTIFICATE_REF, message, remedy.into());
            }
            None => {
                let message = format!("Secret {name} does not exist");
                defect(reason::INVALID_CERTIFICATE_REF, message, "create it, or correct the name".into());
            }
        }
    }
    if count == 0 {
        let (message, remedy) =
            ("an HTTPS listener needs a certificate", "name a Secret of type kubernetes.io/tls");
        made.error(asked.object, &*field, message, remedy);
        found.defects.push((reason::INVALID_CERTIFICATE_REF, format!("{field}: {message}; {remedy}")));
    }
    found
}
