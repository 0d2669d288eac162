//! Rules that come, go, and are meddled with.

use crate::stage::{Stage, accept, both, nobody_at, talk, within};
use fairway_netns::capture::{self, Capture};
use fairway_testbed::Sandbox;
use std::net::SocketAddr;
use std::process::Command;

#[test]
fn applying_twice_is_as_good_as_once_and_removing_leaves_nothing() {
    Sandbox::run_async_test(
        "state::applying_twice_is_as_good_as_once_and_removing_leaves_nothing",
        async |sandbox| {
            let stage = Stage::set(sandbox);
            assert_eq!(stage.inspect(), Capture::Missing);
            stage.capture();
            assert_eq!(stage.inspect(), Capture::Installed);
            stage.capture();
            assert_eq!(stage.inspect(), Capture::Installed);

            let rules = stage.rules;
            let remove = move || capture::remove(&rules);
            stage.pod.namespace().run_blocking(remove).unwrap().unwrap();
            assert_eq!(stage.inspect(), Capture::Missing);
            stage.pod.namespace().run_blocking(remove).unwrap().unwrap();
            let left = run(&stage, "ip", &["rule", "show"]);
            assert!(left.is_none_or(|left| !left.contains("15006")));

            let there = SocketAddr::new(both()[0].other, 8080);
            let app = stage.other.listen(there).await.unwrap();
            let _client = within(stage.pod.connect(there)).await.unwrap();
            accept(&app).await;
        },
    );
}

#[test]
fn a_connection_from_before_the_capture_goes_on_untouched() {
    Sandbox::run_async_test(
        "state::a_connection_from_before_the_capture_goes_on_untouched",
        async |sandbox| {
            let stage = Stage::set(sandbox);
            let outbound = stage.tunnel_listener(15001).await;
            let inbound = stage.tunnel_listener(15006).await;
            let mut open = Vec::new();
            for addresses in both() {
                let there = SocketAddr::new(addresses.other, 8080);
                let app = stage.other.listen(there).await.unwrap();
                open.push((within(stage.pod.connect(there)).await.unwrap(), accept(&app).await.2));
                let here = SocketAddr::new(addresses.pod, 8080);
                let app = stage.pod.listen(here).await.unwrap();
                open.push((within(stage.other.connect(here)).await.unwrap(), accept(&app).await.2));
            }
            stage.capture();
            for (client, server) in &mut open {
                talk(client, server).await;
                talk(server, client).await;
            }
            assert!(nobody_at(&outbound) && nobody_at(&inbound));
        },
    );
}

#[test]
fn a_new_set_of_numbers_replaces_the_old() {
    Sandbox::run_async_test("state::a_new_set_of_numbers_replaces_the_old", async |sandbox| {
        let mut stage = Stage::set(sandbox);
        stage.capture();
        stage.rules.outbound_port = 16001;
        assert!(matches!(stage.inspect(), Capture::Differs(_)));
        stage.capture();
        assert_eq!(stage.inspect(), Capture::Installed);
        let tunnel = stage.tunnel_listener(16001).await;
        let destination = SocketAddr::new(both()[0].service, 80);
        let _client = within(stage.pod.connect(destination)).await.unwrap();
        assert_eq!(accept(&tunnel).await.0, destination);
    });
}

#[test]
fn meddling_is_noticed_and_mended() {
    const MEDDLING: &[(&str, &[&str])] = &[
        ("nft", &["flush", "ruleset"]),
        ("nft", &["flush", "chain", "inet", "fairway", "outbound"]),
        ("nft", &["insert", "rule", "inet", "fairway", "outbound", "accept"]),
        ("nft", &["add", "rule", "inet", "fairway", "inbound", "accept"]),
        ("nft", &["add", "chain", "inet", "fairway", "mine"]),
        ("nft", &["flush", "chain", "inet", "fairway", "fence"]),
        ("nft", &["flush chain inet fairway fence; delete chain inet fairway fence"]),
        ("nft", &["add", "table", "inet", "fairway", "{ flags dormant; }"]),
        ("nft", &["chain", "inet", "fairway", "outbound", "{ policy drop; }"]),
        ("ip", &["rule", "del", "priority", "15006"]),
        ("ip", &["-6", "rule", "del", "priority", "15006"]),
        ("ip", &["route", "flush", "table", "15006"]),
        ("ip", &["-6", "route", "flush", "table", "15006"]),
    ];
    Sandbox::run_async_test("state::meddling_is_noticed_and_mended", async |sandbox| {
        let stage = Stage::set(sandbox);
        stage.capture();
        for (program, arguments) in MEDDLING {
            if run(&stage, program, arguments).is_none() {
                println!("skipped, {program} is not installed: {arguments:?}");
                continue;
            }
            assert_ne!(stage.inspect(), Capture::Installed, "{program} {arguments:?}");
            stage.capture();
            assert_eq!(stage.inspect(), Capture::Installed, "after {program} {arguments:?}");
        }
        // Other people's tables are theirs.
        if run(&stage, "nft", &["add", "table", "inet", "mine"]).is_some() {
            run(&stage, "nft", &["add", "chain", "inet", "mine", "outbound"]);
            assert_eq!(stage.inspect(), Capture::Installed);
            stage.capture();
            assert!(run(&stage, "nft", &["list", "ruleset"]).unwrap().contains("table inet mine"));
        }
    });
}

#[test]
fn the_nft_program_reads_the_rules_as_they_are_meant() {
    Sandbox::run_async_test("state::the_nft_program_reads_the_rules_as_they_are_meant", async |sandbox| {
        let stage = Stage::set(sandbox);
        stage.capture();
        let Some(listed) = run(&stage, "nft", &["-j", "list", "ruleset"]) else {
            println!("skipped: nft is not installed");
            return;
        };
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        let all = listed["nftables"].as_array().unwrap();
        let count = |kind: &str| all.iter().filter(|object| object.get(kind).is_some()).count();
        assert_eq!((count("table"), count("chain"), count("rule")), (1, 6, 25), "{listed:#}");
        assert!(all.iter().filter_map(|object| object.get("rule")).all(|rule| rule["comment"].is_string()));

        let text = run(&stage, "nft", &["list", "ruleset"]).unwrap();
        for line in [
            "type nat hook output priority ",
            "type nat hook prerouting priority ",
            "type route hook output priority ",
            "meta mark 0x0000fa15 accept",
            "oif \"lo\" accept",
            "tcp flags syn / syn,ack redirect to :15001",
            "tcp dport != 15008 redirect to :15006",
            "iif \"lo\" meta mark 0x0000fa15 ct mark set 0x0000fa16",
            "ct direction reply ct mark 0x0000fa16 meta mark set 0x0000fa16",
            "iif \"lo\" ct status dnat accept",
            "tcp dport 15006 ct status dnat accept",
            "tcp dport 15001 reject with tcp reset",
            "ct mark 0x0000fa16 drop",
            "tcp flags syn / syn,ack reject with tcp reset",
            "socket mark 0x0000fa15 accept",
            "ct status dnat accept",
            "ct direction reply ct mark 0x0000fa16 accept",
            "accept comment \"that nobody is there may be said\"",
            "meta l4proto tcp ct state invalid drop",
            "meta l4proto tcp reject with tcp reset",
        ] {
            assert!(text.contains(line), "no {line:?} in\n{text}");
        }
    });
}

#[test]
fn without_the_privilege_the_error_says_which() {
    Sandbox::run_async_test("state::without_the_privilege_the_error_says_which", async |_| {
        // This program is root in its own user namespace only; as an ordinary user, what it started in is not its own.
        let rules = capture::CaptureRules::default();
        let outside = std::thread::spawn(move || {
            rustix::thread::set_capabilities(
                None,
                rustix::thread::CapabilitySets {
                    effective: rustix::thread::CapabilitySet::empty(),
                    permitted: rustix::thread::CapabilitySet::empty(),
                    inheritable: rustix::thread::CapabilitySet::empty(),
                },
            )
            .unwrap();
            capture::apply(&rules).unwrap_err().to_string()
        });
        let said = outside.join().unwrap();
        assert!(said.contains("CAP_NET_ADMIN"), "{said}");
    });
}

/// What a program prints that is run in the captured pod; none if it is not installed.
fn run(stage: &Stage, program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let output = match stage.pod.namespace().run_blocking(move || command.output()).unwrap() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("{program}: {error}"),
    };
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}
