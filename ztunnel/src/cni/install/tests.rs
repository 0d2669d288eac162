//! Tests of the installer on temporary directories.

use super::release::AccountWatch;
use super::{Arguments, Existing, Installer};
use crate::cni::credentials::Credentials;
use crate::cni::testing::TestApiServer;
use clap::Parser;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;

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
    fs::write(&installer.release.plugin, "{}").unwrap();
    installer.uninstall().await;
    assert_eq!(names(&node.path().join("net.d")), ["10-pods.conflist"]);
    assert!(names(&node.path().join("bin")).is_empty());
    assert_eq!(fs::read_to_string(node.path().join("net.d/10-pods.conflist")).unwrap(), THEIRS);
}

const DAEMON_SET: &str = "/apis/apps/v1/namespaces/fairway-system/daemonsets/fairway-ztunnel";
const ACCOUNT: &str = "/api/v1/namespaces/fairway-system/serviceaccounts/fairway-cni";
const PRESENT: &str = r#"{"metadata":{"name":"it","resourceVersion":"7"}}"#;
const ENDING: &str =
    r#"{"metadata":{"name":"it","resourceVersion":"8","deletionTimestamp":"2026-01-01T00:00:00Z"}}"#;
/// Nothing is awaited for longer than this. What does not come in this time is taken not to come.
const LIMIT: Duration = Duration::from_millis(1200);

/// An installed release: the node, its installer with a watch of the account, and the API server.
async fn release() -> (TempDir, Installer, AccountWatch, TestApiServer) {
    let server = TestApiServer::start(&[(DAEMON_SET, PRESENT), (ACCOUNT, PRESENT)], &["own"]).await;
    let (node, mut installer) = node();
    let own = node.path().join("own");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("ca.crt"), &server.roots).unwrap();
    fs::write(own.join("token"), "own").unwrap();
    installer.release.own = own;
    installer.release.server = server.address.clone();
    installer.renew().await;
    assert_eq!(plugins_token(&installer), "made 1");
    let account = AccountWatch::start(installer.release.clone());
    until("the account is watched", || server.watches() == 1).await;
    (node, installer, account, server)
}

fn plugins_token(installer: &Installer) -> String {
    Credentials::read(&installer.release.plugin).unwrap().token
}

async fn until(awaited: &str, mut so: impl FnMut() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    reached.unwrap_or_else(|_| panic!("not within 20 s: {awaited}"));
}

#[tokio::test]
async fn a_refused_token_is_no_uninstall() {
    let (_node, installer, account, server) = release().await;
    assert!(!installer.release.is_gone(&account, LIMIT).await);
    // `kubectl delete pod --force`: the token ends with the Pod object. The plugin's own does not.
    server.state().tokens.remove("own");
    assert!(!installer.release.is_gone(&account, LIMIT).await);
    // Somebody has taken the roles away.
    server.state().tokens.insert("own".to_owned());
    server.state().forbidden = true;
    assert!(!installer.release.is_gone(&account, LIMIT).await);
    // Neither account is there any more.
    server.state().forbidden = false;
    server.state().tokens.clear();
    assert!(installer.release.is_gone(&account, LIMIT).await);
}

#[tokio::test]
async fn who_is_believed_and_finds_no_daemon_set_knows_of_an_uninstall() {
    for token in ["own", "made 1"] {
        let (_node, installer, account, server) = release().await;
        server.state().tokens.retain(|it| it == token);
        assert!(!installer.release.is_gone(&account, LIMIT).await, "{token}");
        server.state().objects.insert(DAEMON_SET.to_owned(), ENDING.to_owned());
        assert!(installer.release.is_gone(&account, LIMIT).await, "{token}");
        server.delete(DAEMON_SET);
        assert!(installer.release.is_gone(&account, LIMIT).await, "{token}");
    }
}

#[tokio::test]
async fn an_uninstall_that_takes_the_accounts_is_seen_on_the_watch() {
    let (_node, installer, account, server) = release().await;
    // As Helm does it: the DaemonSet, the roles, the accounts. The installer is told to end in the middle.
    server.delete(DAEMON_SET);
    server.state().forbidden = true;
    let (gone, ()) = tokio::join!(installer.release.is_gone(&account, 20 * LIMIT), async {
        tokio::time::sleep(LIMIT / 4).await;
        server.state().tokens.clear();
        server.delete(ACCOUNT);
    });
    assert!(gone);
}

#[tokio::test]
async fn an_installation_that_came_after_the_uninstall_keeps_its_files() {
    let (node, installer, account, server) = release().await;
    installer.reconcile().unwrap();
    server.state().tokens.clear();
    server.delete(DAEMON_SET);
    server.delete(ACCOUNT);
    until("the account is deleted", || account.is_deleted()).await;
    assert!(installer.release.is_gone(&account, LIMIT).await);
    // The next installer on this node has written its credentials.
    server.state().objects.insert(DAEMON_SET.to_owned(), PRESENT.to_owned());
    server.state().tokens.insert("another".to_owned());
    fs::write(&installer.release.plugin, server.credentials("another").render().unwrap()).unwrap();
    installer.uninstall().await;
    assert_eq!(plugins_token(&installer), "another");
    assert_eq!(names(&node.path().join("bin")), ["fairway-cni"]);
    // An installer that is told to end now does not even begin.
    assert!(!installer.release.is_gone(&account, LIMIT).await);
}

#[tokio::test]
async fn credentials_that_are_lost_are_put_back_at_once() {
    let (_node, installer, _account, _server) = release().await;
    let file = installer.release.plugin.clone();
    tokio::select! {
        _ = installer.run() => unreachable!(),
        () = async {
            until("the token is renewed", || plugins_token(&installer) == "made 2").await;
            fs::remove_dir_all(file.parent().unwrap()).unwrap();
            until("the file is written again", || file.exists()).await;
            assert_eq!(plugins_token(&installer), "made 3");
        } => {}
    }
    // Half a file is none.
    let renewal = installer.renew().await;
    let soon = Instant::now() + Duration::from_secs(60);
    assert!(renewal.due(&installer.release) > soon);
    fs::write(&file, "{").unwrap();
    assert!(renewal.due(&installer.release) < soon);
}
