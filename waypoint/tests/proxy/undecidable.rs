//! Bytes to a Service that has a limit or a policy which only a request can be judged by: they are refused on the wire, and no endpoint
//! hears of them. Through tunnels: `mesh/bytes.rs`.

use crate::support;
use fairway_config::model::{
    AppProtocol, Authorization, AuthorizationKey, Backend, L4Kind, Limit, Limits, ListenerProtocol,
    PathMatch, RateLimit, RateLimitKey, Resource,
};
use fairway_policy::{Action, Condition, Mode, Rule};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use support::backend::Server;
use support::pki::Authority;
use support::tls::client;
use support::wire::LONG;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const LIMIT: &str = "shop/p@Service/web";
const POLICY: &str = "shop/a";
pub(crate) const GREETING: &str = "ready";

/// What the Service has.
#[derive(Clone, Debug)]
pub(crate) enum Guard {
    Nothing,
    Limit(Mode, Option<Vec<Vec<Condition>>>),
    Policy(Mode, Action, Vec<Condition>),
}

// === impl Guard ===

impl Guard {
    fn resources(&self) -> Vec<Resource> {
        let one = NonZeroU32::MIN;
        match self.clone() {
            Self::Nothing => vec![],
            Self::Limit(mode, matches) => {
                let per = Duration::from_secs(1);
                let limit = Limit { name: None, requests: one, per, burst: one, key: vec![], matches };
                let limits = Limits::Each(vec![limit]);
                vec![Resource::RateLimit(Arc::new(RateLimit { name: LIMIT.into(), mode, limits }))]
            }
            Self::Policy(mode, action, conditions) => {
                let rules = vec![Rule::when(conditions)];
                let policy = Authorization { name: POLICY.into(), action, mode, rules };
                vec![Resource::Authorization(Arc::new(policy))]
            }
        }
    }

    /// The Service `shop/web` with it, as this protocol.
    pub(crate) fn service(&self, protocol: AppProtocol, endpoint: SocketAddr) -> Vec<Resource> {
        let limits: Vec<RateLimitKey> = if let Self::Limit(..) = self { vec![LIMIT.into()] } else { vec![] };
        let authorizations: Vec<AuthorizationKey> =
            if let Self::Policy(..) = self { vec![POLICY.into()] } else { vec![] };
        let mut resources = self.resources();
        resources.extend(backend("shop/web:80", protocol, &[endpoint]).into_iter().map(|it| match it {
            Resource::Backend(it) => Resource::Backend(Arc::new(Backend {
                limits: limits.clone(),
                authorizations: authorizations.clone(),
                ..Arc::unwrap_or_clone(it)
            })),
            it => it,
        }));
        resources
    }
}

/// What a Service may have, and whether bytes may pass it.
pub(crate) fn guards() -> Vec<(Guard, bool)> {
    let path = || Condition::PathIs(vec![PathMatch::Prefix("/admin".into()).into()]);
    let port = |port| Condition::PortIs(vec![port]);
    let limit = |matches| Guard::Limit(Mode::Enforce, matches);
    let policy = |action, conditions| Guard::Policy(Mode::Enforce, action, conditions);
    vec![
        (Guard::Nothing, true),
        (limit(None), false),
        (limit(Some(vec![vec![path()]])), false),
        (limit(Some(vec![vec![port(80), path()]])), false),
        (limit(Some(vec![vec![port(81), path()]])), true),
        (Guard::Limit(Mode::Observe, None), true),
        (policy(Action::Deny, vec![path()]), false),
        (policy(Action::Allow, vec![path()]), false),
        (policy(Action::Deny, vec![port(81), path()]), true),
        (policy(Action::Allow, vec![port(80)]), true),
        (Guard::Policy(Mode::Observe, Action::Deny, vec![path()]), true),
    ]
}

/// Says something as soon as it hears something.
pub(crate) async fn greeter() -> Server {
    Server::raw(|mut stream, _| async move {
        let mut heard = [0; 1];
        let _ = stream.read_exact(&mut heard).await;
        let _ = stream.write_all(GREETING.as_bytes()).await;
        // What is not read when a socket closes resets the connection.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await
}

/// What a client hears that begins like this.
async fn heard(address: SocketAddr, bytes: &[u8]) -> std::io::Result<String> {
    let asking = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(bytes).await?;
        let mut said = [0; GREETING.len()];
        stream.read_exact(&mut said).await?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    };
    timeout(LONG, asking).await.expect("an end in time")
}

/// What a client of TLS says first.
fn hello() -> Vec<u8> {
    let name = "db.example.com".try_into().unwrap();
    let config = Arc::new(client(&Authority::new("bytes"), None));
    let mut bytes = Vec::new();
    rustls::ClientConnection::new(config, name).unwrap().write_tls(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn bytes_of_a_listener_do_not_reach_a_service_that_only_requests_can_be_judged_for() {
    for (protocol, kind, first) in [
        (ListenerProtocol::Tcp, L4Kind::Tcp, b"x".to_vec()),
        // What looks like a request is none at a listener for bytes.
        (ListenerProtocol::Tcp, L4Kind::Tcp, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()),
        (ListenerProtocol::TlsPassthrough, L4Kind::Tls, hello()),
    ] {
        for (guard, passes) in guards() {
            let what = format!("{protocol:?} {guard:?}");
            let server = greeter().await;
            let mut resources = guard.service(AppProtocol::Unspecified, server.address);
            resources.push(Resource::Listener(Arc::new(listener(protocol.clone()))));
            resources.push(l4_route(kind, LISTENER, &[], &[(1, "shop/web:80")]));
            let proxy = Proxy::start(resources);
            let said = heard(proxy.address(), &first).await;
            if passes {
                assert_eq!(said.unwrap(), GREETING, "{what}");
                continue;
            }
            assert_eq!(said.unwrap_err().kind(), ErrorKind::ConnectionReset, "{what}");
            let counted = "fairway_streams_refused_total{reason=\"denied\"} 1";
            wait_for(|| proxy.scrape().contains(counted)).await;
            assert_eq!(server.connections(), 0, "{what}");
        }
    }
}
