//! Writes the seeds of the corpus: valid messages and their neighbours, the same ones each time but for keys and signatures.
//! `cargo run -p fairway-fuzz-targets --example seeds`. Files that are there stay; inputs that a fuzzer found are added by hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a tool for developers: a panic is its error"
)]

use fairway_config::arbitrary;
use fairway_config::model::Resource;
use fairway_config::proto::{self, FromController, FromProxy, from_controller, from_proxy};
use fairway_config::stream::{Proxy, Subscription, fragments};
use fairway_config::wire;
use fairway_identity::testing::TestAuthority;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use prost::Message;
use std::path::Path;
use std::sync::Arc;

const LARGEST: usize = 4096;

fn write(target: &str, name: &str, input: impl AsRef<[u8]>) {
    let input = input.as_ref();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target).join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    if input.len() <= LARGEST && !path.exists() {
        std::fs::write(path, input).unwrap();
    }
}

fn resources(count: usize) -> Vec<Resource> {
    let mut runner = TestRunner::deterministic();
    let any = arbitrary::resource();
    let mut made: Vec<Resource> =
        std::iter::repeat_with(|| any.new_tree(&mut runner).unwrap().current()).take(20 * count).collect();
    // Small ones of every kind.
    made.sort_by_key(|it| wire::encode(it).bytes.len());
    let mut kinds = std::collections::BTreeMap::<String, usize>::new();
    made.retain(|it| {
        let kind = format!("{:?}", std::mem::discriminant(it));
        let seen = kinds.entry(kind).or_default();
        *seen += 1;
        seen.is_multiple_of(3) && *seen <= count / 2
    });
    made
}

fn config() {
    let resources = resources(48);
    for (index, resource) in resources.iter().enumerate() {
        write("config_resource", &format!("resource-{index:02}"), wire::encode(resource).bytes);
    }
    let proxies = [
        ("gateway", Proxy::Gateway(fairway_config::model::ObjectName::new("shop", "public"))),
        ("node", Proxy::Node("node-1".into())),
        ("everything", Proxy::Everything),
    ];
    for (name, proxy) in proxies {
        let subscription = Subscription::new(proxy, "0.1.0");
        let hello = FromProxy { message: Some(from_proxy::Message::Hello((&subscription).into())) };
        write("config_hello", name, hello.encode_to_vec());
    }
    let held = proto::Held {
        resources: resources
            .iter()
            .take(8)
            .map(|it| {
                let encoded = wire::encode(it);
                proto::HeldResource {
                    key: Some(wire::encode_key(&encoded.key)),
                    hash: encoded.hash.as_bytes().to_vec().into(),
                }
            })
            .collect(),
    };
    write(
        "config_hello",
        "held",
        FromProxy { message: Some(from_proxy::Message::Held(held)) }.encode_to_vec(),
    );
    let owner = Subscription::new(Proxy::Everything, "0.1.0");
    for (index, some) in resources.chunks(3).take(12).enumerate() {
        let body = proto::SavedSnapshot {
            owner: Some((&owner).into()),
            generation: index as u64,
            resources: some.iter().map(|it| wire::encode(it).bytes).collect(),
        };
        write("config_saved", &format!("saved-{index:02}"), body.encode_to_vec());

        let mut said = Vec::new();
        let upserts: Vec<_> = some.iter().map(|it| Arc::new(wire::encode(it))).collect();
        for message in fragments(upserts.clone(), Vec::new()) {
            said.extend(message.encode_length_delimited_to_vec());
        }
        for generation in [1, 2] {
            let commit = proto::Commit { generation };
            let message = FromController { message: Some(from_controller::Message::Commit(commit)) };
            said.extend(message.encode_length_delimited_to_vec());
        }
        write("config_stream", &format!("commit-{index:02}"), &said);
        if let Some(first) = upserts.first() {
            for message in fragments(Vec::new(), vec![first.key.clone()]) {
                said.extend(message.encode_length_delimited_to_vec());
            }
            let commit = proto::Commit { generation: 3 };
            let message = FromController { message: Some(from_controller::Message::Commit(commit)) };
            said.extend(message.encode_length_delimited_to_vec());
            write("config_stream", &format!("removal-{index:02}"), &said);
        }
    }
}

fn identity() {
    let authority = TestAuthority::new("cluster.local");
    let id = authority.id("shop", "web");
    let svid = authority.svid(&id, |_| ());
    let chain: Vec<Vec<u8>> = svid.chain.iter().map(|it| it.to_vec()).collect();
    write("identity_peer", "svid", &chain[0]);
    let other = authority.svid(&id, |params| params.subject_alt_names.clear());
    write("identity_peer", "no-name", &other.chain[0]);
    let bundle = fairway_identity::wire::Bundle::from(&authority.bundle());
    write("identity_message", "bundle", bundle.encode_to_vec());
    let response = fairway_identity::wire::IssueResponse { chain, bundle: Some(bundle) };
    write("identity_message", "issued", response.encode_to_vec());
    for (name, algorithm) in [
        ("p256", &rcgen::PKCS_ECDSA_P256_SHA256),
        ("p384", &rcgen::PKCS_ECDSA_P384_SHA384),
        ("ed25519", &rcgen::PKCS_ED25519),
    ] {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        write("identity_request", name, params.serialize_request(&key).unwrap().der());
        let named = rcgen::string::Ia5String::try_from(id.as_str()).unwrap();
        params.subject_alt_names.push(rcgen::SanType::URI(named));
        write("identity_request", &format!("{name}-named"), params.serialize_request(&key).unwrap().der());
    }
    for (name, text) in [
        ("good", "spiffe://cluster.local/ns/shop/sa/web"),
        ("no-path", "spiffe://cluster.local"),
        ("another-scheme", "https://cluster.local/ns/shop/sa/web"),
        ("upper-case", "SPIFFE://Cluster.Local/ns/shop/sa/web"),
        ("dots", "spiffe://cluster.local/ns/../sa/web"),
        ("encoded", "spiffe://cluster.local/ns/a%2fb/sa/web"),
        ("port", "spiffe://cluster.local:8443/ns/shop/sa/web"),
        ("empty-part", "spiffe://cluster.local/ns//sa/web"),
    ] {
        write("identity_spiffe_id", name, text);
    }
}

fn tunnel() {
    for (name, text) in [
        ("ipv4", "10.0.0.1:80"),
        ("ipv6", "[fd00::1]:80"),
        ("mapped", "[::ffff:10.0.0.1]:80"),
        ("name", "web.shop.svc.cluster.local:8080"),
        ("no-port", "10.0.0.1"),
        ("port-0", "10.0.0.1:0"),
        ("userinfo", "a@10.0.0.1:80"),
        ("octal", "010.0.0.1:80"),
        ("zone", "[fe80::1%eth0]:80"),
    ] {
        write("hbone_authority", name, text);
    }
    for (name, text) in [
        ("forwarded", "for=10.0.0.1"),
        ("forwarded-ipv6", "for=\"[fd00::1]:443\";by=10.0.0.2;proto=https"),
        ("forwarded-list", "for=10.0.0.1, for=10.0.0.2"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("traceparent-zero", "00-00000000000000000000000000000000-0000000000000000-00"),
        ("traceparent-ff", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("traceparent-longer", "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"),
    ] {
        write("hbone_headers", name, text);
    }
}

fn token() {
    // {"alg":"RS256"} . {"aud":[…],"exp":…} . a signature that is none
    let make = |claims: &str| format!("eyJhbGciOiJSUzI1NiJ9.{}.c2lnbmVk", base64url(claims.as_bytes()));
    for (name, claims) in [
        ("good", r#"{"aud":["fairway.dev"],"exp":4000000000}"#),
        ("one-audience", r#"{"aud":"fairway.dev"}"#),
        ("expired", r#"{"aud":["fairway.dev"],"exp":1500000000}"#),
        ("another-audience", r#"{"aud":["https://kubernetes.default.svc"],"exp":4000000000}"#),
        ("huge-time", r#"{"aud":["fairway.dev"],"exp":1e308}"#),
        ("negative-time", r#"{"aud":["fairway.dev"],"exp":-1}"#),
        ("no-object", "[]"),
    ] {
        write("controller_token", name, make(claims));
    }
    write("controller_token", "two-parts", "eyJhbGciOiJSUzI1NiJ9.e30");
    write("controller_token", "four-parts", "eyJhbGciOiJSUzI1NiJ9.e30.c2ln.c2ln");
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = bytes.chunks(3).flat_map(|chunk| {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len()).map(move |at| DIGITS[(bits >> (18 - 6 * at)) as usize & 63] as char)
    });
    digits.collect()
}

fn client_hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}

fn clients() {
    for (name, host) in
        [("name", "www.shop.example"), ("no-name", "10.0.0.1"), ("long-name", &"a.".repeat(100))]
    {
        let hello = client_hello(host.trim_end_matches('.'));
        write("waypoint_client_hello", name, [&[64][..], &hello].concat());
        write("waypoint_client_hello", &format!("{name}-byte-by-byte"), [&[1][..], &hello].concat());
        // The same in two records.
        if let [kind, major, minor, _, _, body @ ..] = &hello[..] {
            let (first, second) = body.split_at(body.len() / 2);
            let record = |part: &[u8]| {
                [&[*kind, *major, *minor][..], &u16::try_from(part.len()).unwrap().to_be_bytes(), part]
                    .concat()
            };
            write(
                "waypoint_client_hello",
                &format!("{name}-two-records"),
                [vec![200], record(first), record(second)].concat(),
            );
        }
    }
    let block = |command: u8, family: u8, rest: &[u8]| {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, rest].concat()
    };
    let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 200, 34, 1, 187];
    for (name, header) in [
        ("line-v4", b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\r\n".to_vec()),
        ("line-v6", b"PROXY TCP6 2001:db8::7 2001:db8::1 51234 443\r\n".to_vec()),
        ("line-unknown", b"PROXY UNKNOWN 1 2 3\r\n".to_vec()),
        ("block-v4", block(0x21, 0x11, &v4)),
        ("block-v4-tlvs", block(0x21, 0x11, &[&v4[..], &[3, 0, 4, 1, 2, 3, 4]].concat())),
        ("block-v6", block(0x21, 0x21, &[7; 36])),
        ("block-long", block(0x21, 0x11, &[7; 520])),
        ("block-local", block(0x20, 0, &[])),
        ("block-unspecified", block(0x21, 0, &[1, 2, 3])),
        ("block-unix", block(0x21, 0x31, &[b'/'; 216])),
    ] {
        for step in [1, 5, 200] {
            let input = [&[step][..], &header, b"\x16\x03\x01GET / HTTP/1.1\r\n"].concat();
            write("waypoint_proxy_header", &format!("{name}-{step}"), input);
        }
    }
    for (name, list) in [
        ("one", "203.0.113.7"),
        ("proxies", "203.0.113.7, 10.0.0.2,10.0.0.3"),
        ("lie", "192.0.2.66, 10.6.6.6, 203.0.113.7"),
        ("lines", "192.0.2.66\n203.0.113.7\n10.0.0.2"),
        ("ports", "[2001:db8::7]:80, 203.0.113.7:443, 10.0.0.2:1"),
        ("mapped", "::ffff:203.0.113.7, [::ffff:10.0.0.2]"),
        ("garbage", "unknown, for=1.2.3.4;\"_x\", fe80::1%eth0"),
        ("empty", ",, ,\n,"),
    ] {
        write("waypoint_forwarded_for", name, list);
    }
    for (name, text) in [
        ("http1", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("http2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("tls", "\x16\x03\x01\x02\x00\x01\x00\x01\x7c"),
        ("bytes", "\x00\x01\x02\x03"),
        ("redis", "*1\r\n$4\r\nPING\r\n"),
        ("smtp", "EHLO a\r\n"),
        ("half", "GE"),
        ("empty-lines", "\r\n\r\nGET / HTTP/1.1\r\n"),
    ] {
        write("waypoint_first_bytes", name, text);
    }
    for (name, text) in [
        ("get", "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /b HTTP/1.1\r\nhost: a\r\n\r\n"),
        (
            "length",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabcGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        (
            "chunked",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\ntrailer: 1\r\n\r\n",
        ),
        (
            "both",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        ("two-lengths", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd"),
        ("bare-lf", "GET / HTTP/1.1\nhost: a\n\n"),
        ("fold", "GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n 2\r\n\r\n"),
        ("upgrade", "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\x01\x02"),
        ("empty-lines", "\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        (
            "huge-chunk",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff1\r\n",
        ),
    ] {
        for step in [1_u8, 7, 255] {
            write("waypoint_framing", &format!("{name}-{step}"), [&[step], text.as_bytes()].concat());
        }
    }
    for (name, text) in [
        ("plain", "/a/b\nwww.shop.example"),
        ("dots", "/a/../b/./c\nA.example:443"),
        ("encoded", "/a/%2e%2e/%2F%41\n[fd00::1]:80"),
        ("double", "//a//b\nuser@a"),
        ("semicolon", "/a;x/..;/b\na:"),
        ("backslash", "/a\\..\\b\na.example."),
        ("null", "/a/..%00/b\n*.a"),
        ("asterisk", "*\na"),
    ] {
        write("waypoint_head", name, text);
    }
    for (name, text) in [
        ("length", "1 200\ncontent-length: 3\nx-a: 1"),
        ("chunked", "1 200\ntransfer-encoding: chunked\nconnection: close, x-hop\nx-hop: 1"),
        ("both", "1 200\ncontent-length: 4\ntransfer-encoding: chunked"),
        ("repeated", "1 200\ncontent-length: 2, 2"),
        ("differ", "1 200\ncontent-length: 2\ncontent-length: 3"),
        ("gzip-chunked", "1 200\ntransfer-encoding: gzip, chunked"),
        ("no-content", "1 204\ncontent-length: 5"),
        ("not-modified", "1 304\ncontent-length: 5\netag: a"),
        ("http2", "2 200\ncontent-length: 2\ncontent-length: 2"),
        ("http2-blanks", "2 200\nx: a "),
        ("switching", "1 101\nconnection: upgrade\nupgrade: websocket\nkeep-alive: timeout=5"),
    ] {
        write("waypoint_response", name, text);
    }
    let asked = "connection: Upgrade\nupgrade: websocket\nsec-websocket-version: 13\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    for (name, text) in [
        (
            "completed",
            "connection: upgrade\nupgrade: WebSocket\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        ),
        (
            "wrong-proof",
            "connection: upgrade\nupgrade: websocket\nsec-websocket-accept: c3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        ),
        (
            "another-protocol",
            "connection: upgrade\nupgrade: h2c\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        ),
        ("no-answer", ""),
    ] {
        write("waypoint_websocket", name, format!("{asked}\n\n{text}"));
    }
    write("waypoint_websocket", "two-keys", format!("{asked}\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="));
    write("waypoint_websocket", "with-a-body", format!("{asked}\ncontent-length: 0"));
}

fn node() {
    let result = r#""prevResult":{"ips":[{"address":"10.0.0.2/24"},{"address":"fd00::2/64"}]}"#;
    for (name, arguments, config) in [
        (
            "add",
            "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;K8S_POD_UID=u-1",
            format!("{{\"socket\":\"/run/a.sock\",\"credentials\":\"/etc/a\",{result}}}"),
        ),
        ("no-pod", "IgnoreUnknown=1", "{}".to_owned()),
        ("empty-name", "K8S_POD_NAMESPACE=;K8S_POD_NAME=web-1", "{}".to_owned()),
        ("bad-result", "", r#"{"prevResult":{"ips":[{"address":"10.0.0.2"},{"address":7}]}}"#.to_owned()),
        ("exempt", "", r#"{"exemptNamespaces":["kube-system"]}"#.to_owned()),
        ("not-json", "", "CNI".to_owned()),
    ] {
        write("ztunnel_cni", name, format!("{arguments}\n{config}"));
    }
    for (name, text) in [
        ("add", r#"{"ask":"add","uid":"u-1","namespace":"shop","name":"web-1","netns":"/run/netns/a"}"#),
        (
            "add-addresses",
            r#"{"ask":"add","uid":"u","namespace":"a","name":"b","netns":"/n","addresses":["10.0.0.2","fd00::2"]}"#,
        ),
        ("add-relative", r#"{"ask":"add","uid":"u","namespace":"a","name":"b","netns":"n/../.."}"#),
        ("add-slash", r#"{"ask":"add","uid":"u","namespace":"a/b","name":"b","netns":"/n"}"#),
        ("remove", r#"{"ask":"remove","uid":"u-1"}"#),
        ("list", r#"{"ask":"list"}"#),
        ("release", r#"{"ask":"release"}"#),
        ("stay", r#"{"ask":"stay","pod":"ztunnel-a"}"#),
        ("take-over", r#"{"ask":"take_over"}"#),
        ("serving", r#"{"ask":"serving"}"#),
        ("unknown", r#"{"ask":"give"}"#),
    ] {
        write("ztunnel_register", name, text);
    }
}

fn main() {
    config();
    identity();
    tunnel();
    token();
    clients();
    node();
}
