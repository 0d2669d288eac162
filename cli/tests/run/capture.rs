//! With privileges, pods that name their network namespace are captured.

use crate::program::Program;
use fairway_echo::EchoServer;
use fairway_echo::client::Client;
use fairway_testbed::{Network, Pod, Sandbox, Subnet, Wire};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const PORT: u16 = 8080;
const SECRET: &str = "/secret-2b71";

fn manifest(name: &str, pod: &Pod) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\n\
         metadata: {{name: {name}, namespace: shop, annotations: {{fairway.dev/netns: {netns}}}}}\n\
         spec: {{serviceAccountName: {name}, containers: [{{name: it, image: it}}]}}\n\
         status: {{podIP: {address}, podIPs: [{{ip: {address}}}]}}\n",
        netns = pod.netns_path().display(),
        address = pod.address().unwrap(),
    )
}

#[test]
fn pods_that_name_their_namespace_are_captured_before_it_is_ready() {
    Sandbox::run_async_test(
        "capture::pods_that_name_their_namespace_are_captured_before_it_is_ready",
        async |sandbox| {
            let address = |host| IpAddr::V4(Ipv4Addr::new(10, 79, 0, host));
            let network = Network::new(sandbox, &[Subnet::new(address(1), 24).unwrap()]).unwrap();
            let wire = Wire::start(sandbox).unwrap();
            let client = network.add_pod("client", &[address(2)]).unwrap();
            let server = network.add_pod("server", &[address(3)]).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let objects = folder.path().join("objects");
            std::fs::create_dir(&objects).unwrap();
            let mesh = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {fairway.dev/mesh: enabled}}\n";
            let text = format!("{mesh}{}{}", manifest("client", &client), manifest("server", &server));
            std::fs::write(objects.join("shop.yaml"), text).unwrap();
            let listener = server.listen(SocketAddr::new(address(3), PORT)).await.unwrap();
            tokio::spawn(EchoServer::new("server").serve_http(listener, std::future::pending()));

            let _program = Program::start(&objects, folder.path(), &[]).await;
            let needle = wire.look_for(SECRET.as_bytes());
            let stream = client.connect(SocketAddr::new(address(3), PORT)).await.unwrap();
            let answer = Client::http1(stream).await.unwrap().get("server", SECRET).await.unwrap();
            let seen = answer.seen().unwrap();
            assert_eq!(seen.peer.parse::<SocketAddr>().unwrap().ip(), address(2));
            assert_eq!(seen.path, SECRET);
            wire.settle().await;
            assert_eq!(needle.frames(), 0, "the path was on the wire");
            assert_eq!(wire.seen().await.dropped, 0);
        },
    );
}
