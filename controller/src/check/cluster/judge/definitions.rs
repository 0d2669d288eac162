//! The CRDs of the Gateway API, and our own.

use super::super::picture::{Definition, Picture};
use super::super::report::{Grade, Verdict};
use super::version;
use crate::resources::Kind;
use std::collections::BTreeSet;

/// The oldest bundle whose kinds are all understood.
const OLDEST: (u32, u32) = (1, 4);

const INSTALL: &str = "helm install fairway-crds charts/fairway-crds -n fairway-system --create-namespace";

pub(super) fn judge(picture: &Picture) -> Vec<Verdict> {
    let mut found = gateway_api(picture);
    let installed = picture.installation().is_some();
    if !picture.inventory.offers(Kind::GatewayParameters) {
        let grade = if installed { Grade::Error } else { Grade::Note };
        let message = "Fairway's own kind, GatewayParameters, is not there";
        found.push(Verdict::new(grade, message, INSTALL));
    }
    found
}

fn gateway_api(picture: &Picture) -> Vec<Verdict> {
    let installed = picture.installation().is_some();
    if !picture.inventory.offers(Kind::Gateway) {
        let grade = if installed { Grade::Error } else { Grade::Note };
        let remedy = format!("{INSTALL} --set gatewayAPI.install=true");
        return vec![Verdict::new(grade, "the Gateway API is not installed", remedy)];
    }
    let mut found: Vec<Verdict> = missing(picture).into_iter().collect();
    match &picture.definitions {
        Ok(definitions) => {
            let theirs = definitions.iter().filter(|it| it.name.contains(".gateway.networking.")).collect();
            found.extend(bundle(theirs));
        }
        Err(why) => {
            let message = format!("the version of the Gateway API cannot be seen: {why}");
            found.push(Verdict::new(Grade::Note, message, "check as somebody who may list CRDs"));
        }
    }
    found
}

/// The kinds that are not there; which they are says what cannot be used, and nothing else is wrong with it.
fn missing(picture: &Picture) -> Option<Verdict> {
    let theirs = |it: &Kind| it.group().starts_with("gateway.networking.");
    let missing: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|it| theirs(it) && !it.is_optional() && !picture.inventory.offers(*it))
        .collect();
    let verdict = Verdict::new(
        Grade::Warning,
        "kinds of the Gateway API are not installed, so that they cannot be used",
        "install a newer bundle, or the experimental channel (gatewayAPI.channel=experimental of fairway-crds)",
    );
    (!missing.is_empty()).then(|| missing.into_iter().fold(verdict, Verdict::of))
}

fn bundle(definitions: Vec<&Definition>) -> Vec<Verdict> {
    let newest = version(fairway_gateway_api::BUNDLE_VERSION);
    let versions: BTreeSet<&str> = definitions.iter().map(|it| it.bundle.as_str()).collect();
    let channels: BTreeSet<&str> = definitions.iter().map(|it| it.channel.as_str()).collect();
    let mut found = Vec::new();
    let each = |verdict: Verdict, of: &dyn Fn(&Definition) -> String| {
        definitions.iter().fold(verdict, |it, definition| it.of(of(definition)))
    };
    if versions.len() > 1 {
        let message = "CRDs of different versions of the Gateway API are mixed, which nobody has tested";
        let remedy = "install one bundle whole: kubectl apply --server-side -f …/standard-install.yaml";
        let verdict = Verdict::new(Grade::Warning, message, remedy);
        found.push(each(verdict, &|it| format!("{} {}", it.name, it.bundle)));
    }
    if channels.len() > 1 {
        let message = "CRDs of both channels of the Gateway API are mixed";
        let remedy = "install one channel whole";
        let verdict = Verdict::new(Grade::Warning, message, remedy);
        found.push(each(verdict, &|it| format!("{} {}", it.name, it.channel)));
    }
    for said in &versions {
        let read = version(said);
        if said.is_empty() || read.is_none() {
            let message = format!("the CRDs do not say their version (`{said}`)");
            found.push(Verdict::new(Grade::Warning, message, "install a release of the Gateway API"));
        } else if read < Some(OLDEST) {
            let message = format!(
                "the Gateway API {said} is too old: Fairway reads v{}.{} and newer",
                OLDEST.0, OLDEST.1
            );
            let remedy = format!("install {}", fairway_gateway_api::BUNDLE_VERSION);
            found.push(Verdict::new(Grade::Error, message, remedy));
        } else if read > newest {
            let message = format!(
                "the Gateway API {said} is newer than what Fairway knows ({}): objects with fields of the newer one are refused",
                fairway_gateway_api::BUNDLE_VERSION
            );
            found.push(Verdict::new(Grade::Warning, message, "upgrade Fairway before such fields are used"));
        }
    }
    if found.is_empty() {
        let said = |all: BTreeSet<&str>| all.into_iter().collect::<Vec<_>>().join(", ");
        found.push(Verdict::ok(format!("Gateway API {}, {} channel", said(versions), said(channels))));
    }
    found
}
