//! Where clients behind a load balancer are, from a file to the answer.

use crate::shop::Shop;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const OFFICE: &str = "apiVersion: fairway.dev/v1alpha1
kind: AccessPolicy
metadata: { name: office, namespace: shop }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }]
  action: Allow
  rules: [{ from: [{ cidrs: [203.0.113.0/24] }] }]
";

fn policy(address: &str) -> String {
    format!(
        "apiVersion: fairway.dev/v1alpha1
kind: ClientPolicy
metadata: {{ name: balancer, namespace: shop }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }}]
  clientAddress: {{ {address} }}
"
    )
}

/// The status, if there is an answer.
async fn ask(shop: &Shop, before: &str, header: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(shop.gateway).await.ok()?;
    let request =
        format!("{before}GET / HTTP/1.1\r\nhost: books.example\r\nconnection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

#[tokio::test]
async fn a_policy_says_whom_to_believe_and_a_slip_in_it_closes() {
    const LINE: &str = "PROXY TCP4 203.0.113.7 192.0.2.1 51234 80\r\n";
    const LIST: &str = "x-forwarded-for: 198.51.100.66, 203.0.113.7\r\n";
    let shop = Shop::open().await;
    shop.write("route.yaml", &shop.route("books", "one"));
    let program = shop.run(&[]).await;
    shop.eventually_marked(&program, "books.example", "one").await;
    shop.write("office.yaml", OFFICE);
    program.eventually("the office", async |_| ask(&shop, "", LIST).await == Some(403)).await;

    shop.write("clients.yaml", &policy("source: ForwardedFor, trustedCIDRs: [127.0.0.0/8]"));
    program.eventually("the list", async |_| ask(&shop, "", LIST).await == Some(200)).await;
    assert_eq!(ask(&shop, "", "").await, Some(403));

    shop.write("clients.yaml", &policy("source: ProxyProtocol, trustedCIDRs: [127.0.0.0/8]"));
    program.eventually("the header", async |_| ask(&shop, LINE, "").await == Some(200)).await;
    assert_eq!(ask(&shop, "", LIST).await, None);

    // Who comes from here is not trusted.
    shop.write("clients.yaml", &policy("source: ProxyProtocol, trustedCIDRs: [192.0.2.0/24]"));
    program.eventually("the stranger", async |_| ask(&shop, LINE, "").await.is_none()).await;

    shop.write("clients.yaml", &policy("source: ForwardedFor, trustedHops: 1"));
    program.eventually_names(&["ClientPolicy shop/balancer", "unknown field"]).await;
    program.eventually("the slip", async |_| ask(&shop, "", LIST).await == Some(500)).await;

    shop.remove("clients.yaml");
    program.eventually("the end", async |_| ask(&shop, "", LIST).await == Some(403)).await;
}
