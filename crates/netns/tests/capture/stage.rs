//! Two pods, one of them captured, and a tunnel end that says what it got.

use fairway_netns::capture::{self, CaptureRules, Fence};
use fairway_netns::link::Links;
use fairway_netns::socket::{Listen, ReusePort, Transparency, original_destination};
use fairway_testbed::{Network, Pod, Sandbox, Subnet};
use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Longer than anything here takes; a test that waits for it has failed.
pub const TIMEOUT: Duration = Duration::from_secs(5);

pub struct Stage {
    pub network: Network,
    /// A pod whose TCP is captured.
    pub pod: Pod,
    /// A pod on the same bridge without capture.
    pub other: Pod,
    pub rules: CaptureRules,
    /// As it was left.
    pub fence: RefCell<Fence>,
}

/// The same test for both kinds of addresses.
pub struct Addresses {
    pub pod: IpAddr,
    pub other: IpAddr,
    pub loopback: IpAddr,
    /// Of a Service: nobody has it.
    pub service: IpAddr,
}

pub fn both() -> [Addresses; 2] {
    let parse = |text: &str| text.parse().unwrap();
    [
        Addresses {
            pod: parse("10.42.0.2"),
            other: parse("10.42.0.3"),
            loopback: parse("127.0.0.1"),
            service: parse("10.96.0.10"),
        },
        Addresses {
            pod: parse("fd00:42::2"),
            other: parse("fd00:42::3"),
            loopback: parse("::1"),
            service: parse("fd00:96::10"),
        },
    ]
}

impl Stage {
    pub fn set(sandbox: &Sandbox) -> Self {
        let subnets: [Subnet; 2] = ["10.42.0.1/16", "fd00:42::1/64"].map(|subnet| subnet.parse().unwrap());
        let network = Network::new(sandbox, &subnets).unwrap();
        let [v4, v6] = both();
        let pod = network.add_pod("captured", &[v4.pod, v6.pod]).unwrap();
        let other = network.add_pod("other", &[v4.other, v6.other]).unwrap();
        Self { network, pod, other, rules: CaptureRules::default(), fence: RefCell::new(Fence::Down) }
    }

    /// The same in place of one that is over.
    pub fn set_again(sandbox: &Sandbox) -> Self {
        let unplug = || Links::open()?.remove("node0");
        let _ = sandbox.node().run_blocking(unplug);
        Self::set(sandbox)
    }

    pub fn capture(&self) -> Fence {
        let rules = self.rules;
        let before = self.fence.borrow().clone();
        let capture = move || capture::raise_fence(&rules, &capture::repair(&rules, &before)?);
        let fence = self.pod.namespace().run_blocking(capture).unwrap().unwrap();
        self.fence.replace(fence.clone());
        fence
    }

    pub fn inspect(&self) -> capture::Capture {
        let rules = self.rules;
        let fence = self.fence.borrow().clone();
        self.pod.namespace().run_blocking(move || capture::inspect(&rules, &fence)).unwrap().unwrap()
    }

    /// A listener as the tunnel has it.
    pub async fn tunnel_listener(&self, port: u16) -> TcpListener {
        let wanted = Listen {
            address: SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port),
            backlog: 128,
            reuse_port: ReusePort::Shared,
            transparency: Transparency::Opaque,
            mark: None,
        };
        TcpListener::from_std(self.pod.namespace().listen(wanted).await.unwrap()).unwrap()
    }
}

/// What an accepted connection was meant for, who made it, and the connection.
pub async fn accept(listener: &TcpListener) -> (SocketAddr, IpAddr, TcpStream) {
    let (stream, peer) = within(listener.accept()).await.unwrap();
    (original_destination(&stream).unwrap(), peer.ip().to_canonical(), stream)
}

/// That nobody came: a connection that would have had to come before has been dealt with.
pub fn nobody_at(listener: &TcpListener) -> bool {
    use std::task::{Context, Poll, Waker};
    matches!(listener.poll_accept(&mut Context::from_waker(Waker::noop())), Poll::Pending)
}

/// Both ends say something and hear it.
pub async fn talk(one: &mut TcpStream, other: &mut TcpStream) {
    let mut heard = [0; 5];
    one.write_all(b"hello").await.unwrap();
    within(other.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"hello");
    other.write_all(b"there").await.unwrap();
    within(one.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"there");
}

pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, work).await.expect("nothing happened in time")
}
