//! The CRDs of the Gateway API, and our own.

use super::super::results::Results;
use super::super::snapshot::{Definition, Snapshot};
use super::version;
use crate::diagnostic::{Diagnostic, Reason, Severity, Subject};
use crate::resources::Kind;
use std::collections::BTreeSet;

/// The oldest bundle whose kinds are all understood.
const OLDEST: (u32, u32) = crate::resources::Definition::OLDEST_BUNDLE;

const INSTALL: &str = "helm install fairway-crds charts/fairway-crds -n fairway-system --create-namespace";

pub(super) fn check(snapshot: &Snapshot) -> Results {
    let mut results = check_gateway_api(snapshot);
    if !snapshot.inventory.has_kind(Kind::GatewayParameters) {
        let message = "Fairway's own kind, GatewayParameters, is not installed";
        let severity = before_install(snapshot);
        results.report(Diagnostic::new(severity, Reason::GatewayParametersMissing, "", message, INSTALL));
    }
    results
}

/// What has to be there is an error once Fairway is installed, and before that something to know.
fn before_install(snapshot: &Snapshot) -> Severity {
    if snapshot.installation().is_some() { Severity::Error } else { Severity::Note }
}

fn check_gateway_api(snapshot: &Snapshot) -> Results {
    let mut results = Results::default();
    if !snapshot.inventory.has_kind(Kind::Gateway) {
        let (message, remedy) =
            ("the Gateway API is not installed", format!("{INSTALL} --set gatewayAPI.install=true"));
        let severity = before_install(snapshot);
        results.report(Diagnostic::new(severity, Reason::GatewayApiMissing, "", message, remedy));
        return results;
    }
    report_missing(snapshot, &mut results);
    match &snapshot.definitions {
        Ok(definitions) => {
            let of_api = definitions.iter().filter(|it| it.name.contains(".gateway.networking.")).collect();
            check_bundle(of_api, &mut results);
        }
        Err(why) => {
            let message = format!("the version of the Gateway API is not known: {why}");
            let remedy = "check with an account that may list CRDs";
            results.report(Diagnostic::note(Reason::GatewayApiUnreadable, "", message, remedy));
        }
    }
    results
}

/// The kinds that are not there cannot be used; nothing else is wrong with that.
fn report_missing(snapshot: &Snapshot, results: &mut Results) {
    let is_of_api = |kind: &Kind| kind.group().starts_with("gateway.networking.");
    for kind in Kind::ALL.into_iter().filter(is_of_api) {
        if !kind.is_optional() && !snapshot.inventory.has_kind(kind) {
            let warning = Diagnostic::warning(
                Reason::GatewayApiKindMissing,
                "",
                "a kind of the Gateway API is not installed, so it cannot be used",
                "install a newer bundle, or the experimental channel (gatewayAPI.channel=experimental of fairway-crds)",
            );
            results.report(warning.about(Subject::kind(kind.as_str())));
        }
    }
}

fn check_bundle(definitions: Vec<&Definition>, results: &mut Results) {
    let newest = version(fairway_gateway_api::BUNDLE_VERSION);
    let versions: BTreeSet<&str> = definitions.iter().map(|it| it.bundle.as_str()).collect();
    let channels: BTreeSet<&str> = definitions.iter().map(|it| it.channel.as_str()).collect();
    let mut faults = Vec::new();
    let list = |each: &dyn Fn(&Definition) -> String| {
        definitions.iter().map(|it| each(it)).collect::<Vec<_>>().join(", ")
    };
    if versions.len() > 1 {
        let message = format!(
            "CRDs of different versions of the Gateway API are mixed, which is not tested: {}",
            list(&|it| format!("{} {}", it.name, it.bundle))
        );
        let remedy = "install one whole bundle: kubectl apply --server-side -f …/standard-install.yaml";
        faults.push(Diagnostic::warning(Reason::GatewayApiVersionsMixed, "", message, remedy));
    }
    if channels.len() > 1 {
        let message = format!(
            "CRDs of both channels of the Gateway API are mixed: {}",
            list(&|it| format!("{} {}", it.name, it.channel))
        );
        let remedy = "install one channel only";
        faults.push(Diagnostic::warning(Reason::GatewayApiChannelsMixed, "", message, remedy));
    }
    for said in &versions {
        let read = version(said);
        if said.is_empty() || read.is_none() {
            let message =
                format!("the CRDs of the Gateway API do not name a version that is known (`{said}`)");
            let remedy = "install a release of the Gateway API";
            faults.push(Diagnostic::warning(Reason::GatewayApiVersionUnknown, "", message, remedy));
        } else if read < Some(OLDEST) {
            let message =
                format!("Gateway API {said} is too old: Fairway reads v{}.{} and newer", OLDEST.0, OLDEST.1);
            let remedy = format!("install {}", fairway_gateway_api::BUNDLE_VERSION);
            faults.push(Diagnostic::error(Reason::GatewayApiTooOld, "", message, remedy));
        } else if read > newest {
            let message = format!(
                "Gateway API {said} is newer than the version that Fairway knows ({}): objects with newer fields are refused",
                fairway_gateway_api::BUNDLE_VERSION
            );
            let remedy = "upgrade Fairway before such fields are used";
            faults.push(Diagnostic::warning(Reason::GatewayApiTooNew, "", message, remedy));
        }
    }
    if faults.is_empty() {
        let join = |all: BTreeSet<&str>| all.into_iter().collect::<Vec<_>>().join(", ");
        results.pass(format!("Gateway API {}, {} channel", join(versions), join(channels)));
    }
    results.diagnostics.extend(faults);
}
