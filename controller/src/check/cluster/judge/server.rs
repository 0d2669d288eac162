//! The API server, and the rights of whoever installs.

use super::super::picture::Picture;
use super::super::report::{Grade, Verdict};
use super::super::right::Right;
use super::version;

/// The oldest Kubernetes that Fairway runs on, and the newest that its tests run on.
const OLDEST: (u32, u32) = (1, 31);
const NEWEST: (u32, u32) = (1, 36);

pub(super) fn judge(picture: &Picture) -> Vec<Verdict> {
    let mut found = vec![server(picture)];
    found.extend(unread(picture));
    found.extend(rights(picture));
    found
}

/// Kinds that are there and could not be read; most often because it is somebody with few rights who checks.
fn unread(picture: &Picture) -> impl Iterator<Item = Verdict> {
    picture.inventory.unread().map(|(kind, why)| {
        // The API server's words name the kind, and would keep what is the same from being said once.
        let why = if why.starts_with("403 ") { "you may not list them" } else { why };
        let message = format!("cannot be read, so that Gateways, routes and pods are not judged: {why}");
        let remedy = "check as somebody who may list them; an administrator of the cluster may";
        Verdict::new(Grade::Warning, message, remedy).of(kind)
    })
}

fn server(picture: &Picture) -> Verdict {
    let said = &picture.version;
    match version(said) {
        Some(it) if it < OLDEST => Verdict::new(
            Grade::Error,
            format!("Kubernetes {said} is too old: Fairway runs on {}.{} and newer", OLDEST.0, OLDEST.1),
            "upgrade the cluster",
        ),
        Some(it) if it > NEWEST => Verdict::new(
            Grade::Note,
            format!("Kubernetes {said} is newer than what Fairway was tested on ({}.{})", NEWEST.0, NEWEST.1),
            "",
        ),
        Some(_) => Verdict::ok(format!("Kubernetes {said}")),
        None => Verdict::new(Grade::Warning, format!("its version is not understood: `{said}`"), ""),
    }
}

fn rights(picture: &Picture) -> Vec<Verdict> {
    let mut found = Vec::new();
    for it in &picture.rights {
        let Right { account, without, limited, .. } = &it.right;
        match (&it.allowed, account) {
            (Ok(true), _) => {}
            (Ok(false), None) => {
                let message = format!("you lack rights, and so {without}");
                let remedy = "let somebody install who may, an administrator of the cluster (cluster-admin)";
                found.push(Verdict::new(Grade::Error, message, remedy).of(&it.right));
            }
            (Ok(false), Some(account)) => {
                let (grade, place) = match limited {
                    true => (Grade::Warning, " in every namespace"),
                    false => (Grade::Error, ""),
                };
                let message = format!("{} may not {}{place}, and so {without}", account.name, it.right);
                let remedy = "helm upgrade fairway, which gives its rights back; with rbac.create=false or \
                              rbac.gatewayNamespaces see docs/rbac.md";
                let object = format!("ServiceAccount {}/{}", account.namespace, account.name);
                found.push(Verdict::new(grade, message, remedy).of(object));
            }
            (Err(why), _) => {
                let message = format!("which rights there are cannot be asked for: {why}");
                found.push(Verdict::new(Grade::Note, message, "check as an administrator of the cluster"));
            }
        }
    }
    if found.is_empty() && !picture.rights.is_empty() {
        found.push(Verdict::ok(match picture.installation() {
            None => "you have the rights to install",
            Some(_) => "Fairway's service accounts have their rights",
        }));
    }
    found
}
