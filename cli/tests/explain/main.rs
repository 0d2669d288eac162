//! `fairway explain` of a directory: words for people, JSON for machines, exit codes for CI.
//!
//! `golden` has what is said of each scene. `UPDATE_GOLDEN=1` writes it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // all of it is tests

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Scenes: the file of what is said, the arguments, and the exit code.
const SCENES: &[(&str, &[&str], i32)] = &[
    ("allowed-by-a-rule", &["--from", "shop/web-1", "--to", "http://reviews/stars"], 0),
    ("answered-by-a-stage", &["--from", "shop/web-1", "--to", "http://reviews/old"], 0),
    ("no-route", &["--from", "shop/web-1", "--to", "http://reviews/nothing", "-X", "POST"], 4),
    ("a-rule-with-an-error", &["--from", "shop/web-1", "--to", "http://reviews/broken"], 4),
    ("a-service-without-waypoint", &["--from", "bank/ledger-1", "--to", "http://plain.shop/"], 0),
    ("allowed-by-a-policy-on-a-service", &["--from", "shop/web-1", "--to", "http://ledger.bank/"], 0),
    ("denied-by-a-policy-on-a-service", &["--from", "shop/job-1", "--to", "http://ledger.bank/"], 3),
    ("denied-by-a-policy-on-a-pod", &["--from", "shop/web-1", "--to", "http://vault.bank.svc/"], 3),
    ("allowed-at-a-gateway", &["--from", "203.0.113.7", "--to", "http://shop.example/cart"], 0),
    ("denied-by-a-policy-on-a-gateway", &["--from", "192.0.2.1", "--to", "http://shop.example/cart"], 3),
    ("not-captured", &["--from", "old/app-1", "--to", "http://reviews.shop/stars"], 0),
    ("not-captured-and-guarded", &["--from", "old/app-1", "--to", "http://ledger.bank/"], 3),
    ("an-unknown-host", &["--from", "shop/web-1", "--to", "http://elsewhere.example/"], 4),
    ("an-unknown-port", &["--from", "shop/web-1", "--to", "http://reviews:81/"], 4),
    ("an-address-outside", &["--from", "shop/web-1", "--to", "http://198.51.100.1/"], 0),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explain")
}

fn explain(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
    let command = command.arg("explain").arg("-f").arg(folder().join("scene")).args(arguments);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

#[test]
fn what_becomes_of_a_request_is_said_from_the_client_to_the_endpoint() {
    for (name, arguments, expected) in SCENES {
        let (code, said, complained) = explain(arguments);
        assert_eq!((code, complained.as_str()), (*expected, ""), "{name}\n{said}");
        let file = folder().join("golden").join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &said).unwrap();
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(said, golden, "{name}: UPDATE_GOLDEN=1 writes {}", file.display());
    }
}

#[test]
fn machines_get_the_same_as_json() {
    let asked = ["--from", "shop/web-1", "--to", "http://reviews/stars", "--output", "json"];
    let (code, said, _) = explain(&asked);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, 0, "{said}");
    assert_eq!(said["verdict"]["is"], "allowed");
    assert_eq!(said["from"]["identity"], "spiffe://cluster.local/ns/shop/sa/web");
    assert_eq!(said["proxies"][0]["kind"], "waypoint");
    assert_eq!(said["proxies"][0]["explained"]["rule"]["name"], "stars");
    assert_eq!(said["endpoints"][0]["pod"], "Pod shop/reviews-1");

    let asked = ["--from", "shop/job-1", "--to", "http://ledger.bank/", "--output", "json"];
    let (code, said, _) = explain(&asked);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, 3, "{said}");
    assert_eq!(said["verdict"]["is"], "refused");
    assert_eq!(said["proxies"][0]["explained"]["reason"], "denied");
}

#[test]
fn what_cannot_be_explained_says_what_to_write() {
    let to = "http://reviews.shop/";
    for (arguments, code, expected) in [
        (
            &["--from", "shop/web-2", "--to", to][..],
            1,
            "there is no Pod shop/web-2; namespace shop has job-1, reviews-1, web-1",
        ),
        (&["--from", "web-1", "--to", to], 2, "write NAMESPACE/POD"),
        (&["--from", "shop/web-1", "--to", "reviews.shop"], 1, "write http:// or https://"),
        (&["--from", "shop/web-1", "--to", to, "-H", "x"], 2, "write NAME: VALUE"),
        (&["--from", "shop/web-1", "--to", to, "--gateway", "shop/none"], 1, "there is no Gateway shop/none"),
    ] {
        let (ended, _, complained) = explain(arguments);
        assert_eq!(ended, code, "{arguments:?}: {complained}");
        assert!(complained.contains(expected), "{arguments:?}: {complained}");
    }
}

/// Each command of the page is run on the scene, and ends as the page says.
#[test]
fn the_commands_of_the_page_work() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/explain.md");
    let page = std::fs::read_to_string(page).unwrap();
    let commands = page.lines().filter_map(|it| it.trim().strip_prefix("$ fairway explain -f DIR "));
    let mut count = 0;
    for command in commands {
        let (command, code) = command.split_once("# ends with ").expect("says how it ends");
        let arguments: Vec<&str> = command.split_whitespace().collect();
        let (ended, said, complained) = explain(&arguments);
        assert_eq!(ended.to_string(), code.trim(), "{command}\n{said}{complained}");
        count += 1;
    }
    assert!(count >= 4, "{count} commands");
}
