//! What tests and demo rely on: pods reach one another, and nothing is left behind.

#![allow(clippy::unwrap_used)] // all of it is tests

use fairway_netns::Namespace;
use fairway_testbed::{Network, Pod, Sandbox, TestbedError, Wire};
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::{Instant, timeout};

const TIMEOUT: Duration = Duration::from_secs(5);

fn two_pods(sandbox: &Sandbox) -> (Network, Pod, Pod) {
    let subnets = ["10.42.0.1/16", "fd00:42::1/64"].map(|subnet| subnet.parse().unwrap());
    let network = Network::new(sandbox, &subnets).unwrap();
    let pod = |number: u8| {
        let addresses = [format!("10.42.0.{number}"), format!("fd00:42::{number}")];
        let addresses: [IpAddr; 2] = addresses.map(|address| address.parse().unwrap());
        network.add_pod(&format!("pod-{number}"), &addresses).unwrap()
    };
    let (one, other) = (pod(2), pod(3));
    (network, one, other)
}

async fn send(from: &Pod, to: &Pod, address: IpAddr, said: &[u8]) {
    let address = SocketAddr::new(address, 8080);
    let listener = to.listen(address).await.unwrap();
    let mut client = timeout(TIMEOUT, from.connect(address)).await.unwrap().unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    client.write_all(said).await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    timeout(TIMEOUT, server.read_to_end(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, said);
}

#[test]
fn pods_reach_each_other_and_nothing_answers_for_a_service() {
    Sandbox::run_async_test("pods_reach_each_other_and_nothing_answers_for_a_service", async |sandbox| {
        let (_network, one, other) = two_pods(sandbox);
        for address in other.addresses() {
            send(&one, &other, *address, b"hello").await;
        }
        for service in ["10.96.0.1:80", "[fd00:96::1]:80"] {
            let refused = timeout(TIMEOUT, one.connect(service.parse().unwrap())).await.unwrap().unwrap_err();
            assert!(refused.to_string().contains("unreachable"), "{service}: {refused}");
        }
    });
}

#[test]
fn a_pod_that_is_gone_can_come_again() {
    Sandbox::run_async_test("a_pod_that_is_gone_can_come_again", async |sandbox| {
        let (network, one, other) = two_pods(sandbox);
        let (address, path) = (other.address().unwrap(), other.netns_path().to_owned());
        assert_eq!(Namespace::open(&path).unwrap(), *other.namespace());
        // Now the first knows where the other is.
        send(&one, &other, address, b"hello").await;
        drop(other);
        assert!(!path.exists());
        let again = network.add_pod("pod-3", &[address]).unwrap();
        send(&one, &again, address, b"hello again").await;
    });
}

#[test]
fn an_address_outside_the_network_is_refused() {
    Sandbox::run_test("an_address_outside_the_network_is_refused", |sandbox| {
        let network = Network::new(sandbox, &["10.42.0.1/16".parse().unwrap()]).unwrap();
        let error = network.add_pod("stray", &["192.0.2.1".parse().unwrap()]).unwrap_err();
        assert!(matches!(error, TestbedError::NoSubnet { .. }), "{error}");
    });
}

#[test]
fn a_process_lives_in_its_pod_and_dies_with_its_handle() {
    Sandbox::run_async_test("a_process_lives_in_its_pod_and_dies_with_its_handle", async |sandbox| {
        let (_network, one, _) = two_pods(sandbox);
        let mut command = Command::new("sh");
        command.args(["-c", "readlink /proc/self/ns/net; exec sleep 1000"]).stdout(Stdio::piped());
        let mut process = one.spawn(command).await.unwrap();
        let mut said = process.stdout.take().unwrap();
        let expected = format!("{}\n", one.namespace().id());
        let mut link = vec![0; expected.len()];
        timeout(TIMEOUT, said.read_exact(&mut link)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8(link).unwrap(), expected);

        drop(process);
        // The other end of its output closes when it is dead.
        let rest = timeout(TIMEOUT, said.read_to_end(&mut Vec::new())).await.unwrap().unwrap();
        assert_eq!(rest, 0);
    });
}

#[test]
fn a_program_of_futures_can_live_in_a_pod() {
    Sandbox::run_async_test("a_program_of_futures_can_live_in_a_pod", async |sandbox| {
        let (_network, one, other) = two_pods(sandbox);
        let address = SocketAddr::new(other.address().unwrap(), 9000);
        let listener =
            other.run(async move || TcpListener::bind(address).await.unwrap().into_std().unwrap()).await;
        let listener = TcpListener::from_std(listener.unwrap()).unwrap();
        let peer =
            one.run(async move || TcpStream::connect(address).await.unwrap().local_addr().unwrap().ip());
        let (peer, accepted) = tokio::join!(peer, listener.accept());
        assert_eq!(
            (peer.unwrap(), accepted.unwrap().1.ip()),
            (one.address().unwrap(), one.address().unwrap())
        );
    });
}

#[test]
fn the_wire_shows_what_crosses_it_and_not_what_stays_in_a_pod() {
    Sandbox::run_async_test("the_wire_shows_what_crosses_it_and_not_what_stays_in_a_pod", async |sandbox| {
        let (_network, one, other) = two_pods(sandbox);
        let wire = Wire::start(sandbox).unwrap();
        let needle = wire.look_for(b"over the bridge");
        for address in other.addresses() {
            send(&one, &other, *address, b"something over the bridge").await;
        }
        send(&one, &one, one.address().unwrap(), b"something at home").await;
        // Each frame in by one port of the bridge and out by another.
        assert_eq!(wire.contains(b"over the bridge").await, 4);
        assert_eq!(needle.frames(), 4);
        assert_eq!(wire.contains(b"at home").await, 0);
        let seen = wire.seen().await;
        assert_eq!((seen.dropped, seen.forgotten, wire.failure()), (0, 0, None));
        assert!(seen.frames > 20);
    });
}

#[test]
#[expect(clippy::zombie_processes, reason = "it is the point")]
fn what_was_started_in_a_sandbox_ends_with_it() {
    let start = Instant::now();
    Sandbox::run_test("what_was_started_in_a_sandbox_ends_with_it", |_| {
        // It holds this test's output open, which the runner outside waits for.
        std::process::Command::new("sleep").arg("60").spawn().unwrap();
    });
    assert!(start.elapsed() < Duration::from_secs(30));
}
