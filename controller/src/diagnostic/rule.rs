//! Rules that are checked twice: with a manifest, as the API server does by the validation of the CRD, and in compiling,
//! because an older CRD may let through what they forbid. Both say the same.

use super::{Diagnostic, Reason};
use std::borrow::Cow;

/// A kind in words: `ConfigMap` of the core group, `example.com/Bucket` of another.
pub(crate) fn qualified<'a>(group: &str, kind: &'a str) -> Cow<'a, str> {
    match group {
        "" | "core" => kind.into(),
        _ => format!("{group}/{kind}").into(),
    }
}

pub(crate) fn redirect_with_rewrite(field: impl Into<String>) -> Diagnostic {
    let message = "a rule cannot have both a RequestRedirect and a URLRewrite filter";
    Diagnostic::error(Reason::RedirectWithRewrite, field, message, "keep one of them")
}

pub(crate) fn redirect_with_backends(field: impl Into<String>) -> Diagnostic {
    let message = "a rule with a RequestRedirect filter cannot have backends";
    Diagnostic::error(Reason::RedirectWithBackends, field, message, "remove the backends or the filter")
}

/// What replaces a prefix has to be about one prefix.
pub(crate) fn prefix_replacement(field: impl Into<String>) -> Diagnostic {
    let message = "replacePrefixMatch needs a rule with exactly one match, with a path of type PathPrefix";
    let remedy = "split the rule, match by PathPrefix, or use replaceFullPath";
    Diagnostic::error(Reason::PrefixReplacementNeedsOneMatch, field, message, remedy)
}

pub(crate) fn mirror_shares_two(field: impl Into<String>) -> Diagnostic {
    let message = "percent and fraction exclude each other";
    Diagnostic::error(Reason::MirrorSharesTwo, field, message, "keep one of them")
}

pub(crate) fn mirror_share_invalid(field: impl Into<String>) -> Diagnostic {
    let message = "the share of requests to mirror is not between 0 and 1";
    let remedy = "use a percent from 0 to 100, or a fraction of at most 1";
    Diagnostic::error(Reason::MirrorShareInvalid, field, message, remedy)
}

pub(crate) fn https_passthrough(field: impl Into<String>) -> Diagnostic {
    let message = "an HTTPS listener has to terminate TLS";
    Diagnostic::error(Reason::HttpsPassthrough, field, message, "use mode Terminate, or protocol TLS")
}

pub(crate) fn certificate_missing(field: impl Into<String>) -> Diagnostic {
    let message = "a listener that terminates TLS needs a certificate";
    let remedy = "refer to a Secret of type kubernetes.io/tls";
    Diagnostic::error(Reason::CertificateMissing, field, message, remedy)
}

pub(crate) fn policy_names_no_authority(field: impl Into<String>) -> Diagnostic {
    let message = "no authority for the backend's certificate is named, so no connection to it can be made";
    let remedy = "refer to a ConfigMap in caCertificateRefs, or set wellKnownCACertificates to System";
    Diagnostic::error(Reason::PolicyNamesNoAuthority, field, message, remedy)
}

pub(crate) fn policy_names_two_authorities(field: impl Into<String>) -> Diagnostic {
    let message = "caCertificateRefs and wellKnownCACertificates exclude each other";
    Diagnostic::error(Reason::PolicyNamesTwoAuthorities, field, message, "keep one of them")
}

pub(crate) fn path_not_absolute(field: impl Into<String>, path: &str) -> Diagnostic {
    let message = format!("`{path}` does not start with /");
    Diagnostic::error(Reason::PathNotAbsolute, field, message, "write an absolute path")
}

pub(crate) fn backend_timeout_too_long(field: impl Into<String>) -> Diagnostic {
    let message = "the timeout of one attempt is longer than the timeout of the whole request";
    let remedy = "use at most the value of timeouts.request";
    Diagnostic::error(Reason::BackendTimeoutTooLong, field, message, remedy)
}
