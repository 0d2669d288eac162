//! Tests of the installer on temporary directories.

use super::{Arguments, Existing, Installer};
use clap::Parser;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

const THEIRS: &str = r#"{"cniVersion":"1.0.0","name":"pods","plugins":[{"type":"ptp"}]}"#;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    arguments: Arguments,
}

/// A node with a CNI, and our installer on it.
fn node() -> (TempDir, Installer) {
    let node = tempfile::tempdir().unwrap();
    let path = |name: &str| node.path().join(name).display().to_string();
    for directory in ["bin", "net.d"] {
        fs::create_dir(node.path().join(directory)).unwrap();
    }
    fs::write(node.path().join("net.d/10-pods.conflist"), THEIRS).unwrap();
    fs::write(node.path().join("fairway-cni"), "the program").unwrap();
    let mut arguments = vec!["install".to_owned(), "--exempt=fairway-system,kube-system".to_owned()];
    arguments
        .extend(["--namespace=fairway-system", "--node=n1", "--api-server=10.96.0.1:443"].map(str::to_owned));
    for (name, value) in [("programs", "bin"), ("configurations", "net.d"), ("socket", "no.sock")] {
        arguments.push(format!("--{name}={}", path(value)));
    }
    let installer = Installer::new(Program::parse_from(arguments).arguments).unwrap();
    let program = node.path().join("fairway-cni");
    (node, Installer { program, ..installer })
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_plugin_is_put_on_the_node_and_put_back() {
    let (node, installer) = node();
    let (configurations, programs) = (node.path().join("net.d"), node.path().join("bin"));
    let ours = configurations.join("00-fairway.conflist");
    installer.reconcile().unwrap();
    let entry: serde_json::Value = serde_json::from_str(&fs::read_to_string(&ours).unwrap()).unwrap();
    assert_eq!(entry["plugins"][1]["exemptNamespaces"], serde_json::json!(["fairway-system", "kube-system"]));
    assert_eq!(entry["plugins"][1]["credentials"], "/etc/cni/net.d/fairway/credentials");
    let program = programs.join("fairway-cni");
    assert_eq!(fs::read_to_string(&program).unwrap(), "the program");
    assert_eq!(fs::metadata(&program).unwrap().permissions().mode() & 0o777, 0o755);
    // Theirs is as it was, and nothing half written is left.
    assert_eq!(fs::read_to_string(configurations.join("10-pods.conflist")).unwrap(), THEIRS);
    assert_eq!(names(&configurations), ["00-fairway.conflist", "10-pods.conflist"]);

    // Somebody takes both away; the CNI writes its file anew.
    fs::remove_file(&ours).unwrap();
    fs::remove_file(&program).unwrap();
    fs::write(configurations.join("10-pods.conflist"), THEIRS.replace("ptp", "bridge")).unwrap();
    installer.reconcile().unwrap();
    assert!(program.exists() && fs::read_to_string(&ours).unwrap().contains("bridge"));

    // Another version's program stays, but at the start this version's takes its place.
    fs::write(&program, "another version").unwrap();
    installer.reconcile().unwrap();
    assert_eq!(fs::read_to_string(&program).unwrap(), "another version");
    installer.install_program(Existing::Replace).unwrap();
    assert_eq!(fs::read_to_string(&program).unwrap(), "the program");
}

#[tokio::test]
async fn an_uninstall_leaves_what_was_there_before() {
    let (node, installer) = node();
    installer.reconcile().unwrap();
    fs::create_dir(node.path().join("net.d/fairway")).unwrap();
    fs::write(installer.credentials_file(), "{}").unwrap();
    installer.uninstall().await;
    assert_eq!(names(&node.path().join("net.d")), ["10-pods.conflist"]);
    assert!(names(&node.path().join("bin")).is_empty());
    assert_eq!(fs::read_to_string(node.path().join("net.d/10-pods.conflist")).unwrap(), THEIRS);
}
