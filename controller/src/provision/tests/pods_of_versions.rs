//! The pods that this version provisions, and those of the versions before. After an upgrade of the controller the proxies of the version
//! before run until they are replaced, and have to be admitted until then.

use super::{parameters, proxy, roots, settings, waypoint};
use crate::provision::{ManifestKind, Proxy, Settings, plan};
use crate::resources::Provenance;
use serde_json::{Value, json};

/// Each version whose pods may run beside this controller, and its pods. The last one is this version.
const PODS: [(&str, &str); 1] = [("0.2", include_str!("pods/0.2.json"))];
/// The file of this version.
const NOW: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/provision/tests/pods/0.2.json");
/// Set it to write that file instead of comparing it.
const WRITE: &str = "FAIRWAY_WRITE_PODS";

/// A pod for each form that proxies have: with nothing written, with all that can be, and of a waypoint.
fn provisioned() -> Value {
    let everything = json!({
        "accessLog": {"requests": "All", "oneIn": 100},
        "metrics": {"seriesLimit": 500},
        "drain": {"linger": "1500ms", "grace": "1h"},
    });
    let told = Settings { log: Some("info".into()), log_format: Some("json".into()), ..settings() };
    let all = Proxy { parameters: parameters(everything), ..proxy("public") };
    let pods =
        [(proxy("public"), settings()), (all, told), (waypoint(), settings())].map(|(proxy, settings)| {
            let manifests = plan(&proxy, &roots("root"), &settings);
            let deployment =
                manifests.into_iter().find(|it| it.key.kind == ManifestKind::Deployment).unwrap();
            let mut pod = deployment.fields["spec"]["template"].clone();
            // These change with every release, and nothing is compared with them.
            for it in pod["spec"]["containers"].as_array_mut().unwrap() {
                it.as_object_mut().unwrap().remove("image");
            }
            pod
        });
    pods.to_vec().into()
}

#[test]
fn the_pods_of_this_version_are_those_in_its_file() {
    let now = provisioned();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(NOW, format!("{}\n", serde_json::to_string_pretty(&now).unwrap())).unwrap();
        return;
    }
    let (version, kept) = PODS[PODS.len() - 1];
    let kept: Value = serde_json::from_str(kept).unwrap();
    assert_eq!(
        kept, now,
        "proxies are provisioned in another way than those of {version} that run. If {version} is released, keep its file and add one for \
         the next version, so that both are admitted. Say in the CHANGELOG that they are replaced. Run this test with {WRITE}=1 to write {NOW}"
    );
}

#[test]
fn the_pods_of_every_version_that_may_run_are_admitted() {
    for (version, pods) in PODS {
        let pods: Vec<Value> = serde_json::from_str(pods).unwrap();
        assert!(!pods.is_empty(), "{version}");
        for pod in pods {
            let provenance = Provenance::read(&pod).unwrap();
            assert_eq!(provenance.foreign, None, "{version}: {pod}");
            assert_eq!(provenance.told.as_deref(), Some(&*settings().controller), "{version}: {pod}");
        }
    }
}
