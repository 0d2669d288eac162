//! Whatever somebody sends before, no connection reaches a program around the tunnel, nor leaves the pod around it.

use crate::stage::{Stage, accept, both, nobody_at, talk, within};
use fairway_netns::capture::{self, Capture, Fence};
use fairway_netns::socket::{Connect, Mark, Source};
use fairway_netns::{Namespace, sockets};
use fairway_testbed::segment::flags::{ACK, CWR, ECE, FIN, PSH, RST, SYN, URG};
use fairway_testbed::segment::{Form, SIGNATURE, Segment};
use fairway_testbed::{Pod, Sandbox};
use std::io;
use std::net::{SocketAddr, SocketAddrV6};
use std::time::Duration;
use tokio::net::TcpStream;

/// Longer than a connection on this machine takes that is answered at all.
pub const SOON: Duration = Duration::from_millis(300);

/// A Fast Open cookie (RFC 7413).
const COOKIE: [u8; 10] = [34, 10, 1, 2, 3, 4, 5, 6, 7, 8];

/// What is sent before the connection is opened under the same addresses and ports.
const BEFORE: &[(&str, u8, &[u8], Form)] = &[
    ("ack", ACK, &[], Form::Whole),
    ("ack, signed", ACK, &SIGNATURE, Form::Whole),
    ("push, signed", ACK | PSH, &SIGNATURE, Form::Whole),
    ("urgent, signed", ACK | URG, &SIGNATURE, Form::Whole),
    ("syn/ack", SYN | ACK, &[], Form::Whole),
    ("syn/ack, signed", SYN | ACK, &SIGNATURE, Form::Whole),
    ("fin", FIN, &[], Form::Whole),
    ("fin/ack, signed", FIN | ACK, &SIGNATURE, Form::Whole),
    ("rst", RST, &[], Form::Whole),
    ("rst/ack", RST | ACK, &[], Form::Whole),
    ("nothing", 0, &[], Form::Whole),
    ("everything", 0xff, &[], Form::Whole),
    ("syn, signed", SYN, &SIGNATURE, Form::Whole),
    ("ack in fragments", ACK, &[], Form::Fragments),
    ("ack in fragments, signed", ACK, &SIGNATURE, Form::Fragments),
    ("ack in tiny fragments, signed", ACK, &SIGNATURE, Form::TinyFragments),
    ("ack behind options, signed", ACK, &SIGNATURE, Form::Padded),
];

/// What opens a connection by itself, or might.
const OPENINGS: &[(&str, u8, &[u8], Form)] = &[
    ("syn", SYN, &[], Form::Whole),
    ("urgent", SYN | URG, &[], Form::Whole),
    ("pushed", SYN | PSH, &[], Form::Whole),
    ("congestion", SYN | ECE | CWR, &[], Form::Whole),
    ("all of those", SYN | URG | PSH | ECE | CWR, &[], Form::Whole),
    ("with fin", SYN | FIN, &[], Form::Whole),
    ("with rst", SYN | RST, &[], Form::Whole),
    ("fast open", SYN, &COOKIE, Form::Whole),
    ("in fragments", SYN, &[], Form::Fragments),
    ("urgent, in fragments", SYN | URG, &COOKIE, Form::Fragments),
    ("in tiny fragments", SYN, &[], Form::TinyFragments),
    ("behind options", SYN, &[], Form::Padded),
];

/// How far the pod's capture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    Up,
    /// There are connections from before.
    UpExcept,
    Down,
}

pub const GUARDS: [Guard; 3] = [Guard::Up, Guard::UpExcept, Guard::Down];

/// Connections that are older than the rules: the other pod's end, and the captured pod's. Two into it of each family, one out.
pub type Older = Vec<(TcpStream, TcpStream)>;

/// Captures the pod so. Connections are older than the rules wherever they may be.
pub async fn guard(stage: &Stage, guard: Guard) -> Older {
    let mut older = Vec::new();
    if guard != Guard::Up {
        for addresses in both() {
            let app = stage.pod.listen(SocketAddr::new(addresses.pod, 7000)).await.unwrap();
            for _ in 0..2 {
                let client = within(stage.other.connect(SocketAddr::new(addresses.pod, 7000))).await.unwrap();
                older.push((client, accept(&app).await.2));
            }
        }
        let far = SocketAddr::new(both()[0].other, 7100);
        let app = stage.other.listen(far).await.unwrap();
        let client = within(stage.pod.connect(far)).await.unwrap();
        older.push((accept(&app).await.2, client));
    }
    if guard == Guard::Down {
        let rules = stage.rules;
        let fence = stage.pod.namespace().run_blocking(move || capture::apply(&rules)).unwrap().unwrap();
        assert_eq!(fence, Fence::Down);
    } else {
        let fence = stage.capture();
        assert_eq!(fence.older().map_or(0, |it| it.len()), older.len(), "{guard:?}");
        assert!(fence.is_up());
    }
    assert_eq!(stage.inspect(), Capture::Installed);
    older
}

/// Sends one from a namespace, with a mark that passes any fence there. Without, the fence loses it.
pub async fn send(from: &Namespace, segment: Segment, form: Form, mark: Option<Mark>) {
    match from.run(move || segment.send(form, mark)).await.unwrap() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        sent => sent.unwrap(),
    }
}

/// Connects from a port.
pub async fn connect(from: &Namespace, source: SocketAddr, destination: SocketAddr) -> io::Result<TcpStream> {
    connect_marked(from, source, destination, None).await
}

async fn connect_marked(
    from: &Namespace,
    source: SocketAddr,
    destination: SocketAddr,
    mark: Option<Mark>,
) -> io::Result<TcpStream> {
    let wanted = Connect { destination, source: Some(Source::SpoofedPort(source)), mark };
    let socket = from.connector(wanted).await.map_err(io::Error::other)?;
    tokio::time::timeout(SOON, socket.connect(destination)).await?
}

/// Connections, begun or open, that a program of the captured pod has at this port with this port.
pub async fn at_program(pod: &Pod, port: u16, remote: u16) -> usize {
    let all = pod.namespace().run(sockets::connections).await.unwrap().unwrap();
    all.iter().filter(|it| it.local.port() == port && it.remote.port() == remote).count()
}

/// Who comes, from where, and with what mark.
struct Comer {
    name: &'static str,
    namespace: Namespace,
    addresses: [&'static str; 2],
    mark: Option<Mark>,
}

fn comers(stage: &Stage, meshed: &Pod) -> [Comer; 3] {
    let comer = |name, namespace: &Namespace, addresses, mark| Comer {
        name,
        namespace: namespace.clone(),
        addresses,
        mark,
    };
    [
        comer("from outside", stage.other.namespace(), ["10.42.0.3", "fd00:42::3"], None),
        // As one does who has NET_RAW there.
        comer(
            "from a meshed pod",
            meshed.namespace(),
            ["10.42.0.4", "fd00:42::4"],
            Some(stage.rules.own_mark),
        ),
        comer("from the node", stage.network.node(), ["10.42.0.1", "fd00:42::1"], None),
    ]
}

async fn meshed(stage: &Stage) -> Pod {
    let addresses = ["10.42.0.4", "fd00:42::4"].map(|it| it.parse().unwrap());
    let pod = stage.network.add_pod("meshed", &addresses).unwrap();
    let rules = stage.rules;
    let capture = move || capture::raise_fence(&rules, &capture::apply(&rules)?);
    assert_eq!(pod.namespace().run_blocking(capture).unwrap().unwrap(), Fence::Up);
    pod
}

async fn whatever_comes_before(stage: &Stage, guard: Guard, older: &mut Older) {
    let inbound = stage.tunnel_listener(15006).await;
    let meshed = meshed(stage).await;
    let mut port = 20000;
    for comer in comers(stage, &meshed) {
        for (addresses, own) in both().into_iter().zip(comer.addresses) {
            let destination = SocketAddr::new(addresses.pod, 8080);
            let program = stage.pod.listen(destination).await.unwrap();
            for &(name, flags, options, form) in BEFORE {
                port += 1;
                let what = format!("{name}, {}, {guard:?}, port {port}", comer.name);
                let source = SocketAddr::new(own.parse().unwrap(), port);
                let segment = Segment::new(source, destination, flags).with_options(options);
                send(&comer.namespace, segment, form, comer.mark).await;
                let came = connect_marked(&comer.namespace, source, destination, comer.mark).await;
                assert!(nobody_at(&program), "{what}: it came to the program");
                assert_eq!(at_program(&stage.pod, 8080, port).await, 0, "{what}");
                match came {
                    Ok(_) => assert_eq!(accept(&inbound).await.0, destination, "{what}"),
                    // Where the kernel could be made to remember what there never was, it is refused. Of two openings, it
                    // may count by the first.
                    Err(error) if guard == Guard::Down || flags & (SYN | ACK) == SYN => {
                        let kind = error.kind();
                        use io::ErrorKind::{ConnectionRefused, ConnectionReset};
                        assert!([ConnectionRefused, ConnectionReset].contains(&kind), "{what}: {error}");
                    }
                    Err(error) => panic!("{what}: {error}"),
                }
            }
        }
    }
    for (one, other) in older {
        talk(one, other).await;
    }
}

#[test]
fn what_comes_before_an_opening_does_not_let_it_pass_by_the_tunnel() {
    Sandbox::run_async_test(
        "smuggling::what_comes_before_an_opening_does_not_let_it_pass_by_the_tunnel",
        async |sandbox| {
            let stage = Stage::set(sandbox);
            let mut older = guard(&stage, Guard::Up).await;
            whatever_comes_before(&stage, Guard::Up, &mut older).await;
        },
    );
}

#[test]
fn nor_while_connections_from_before_are_open() {
    Sandbox::run_async_test("smuggling::nor_while_connections_from_before_are_open", async |sandbox| {
        let stage = Stage::set(sandbox);
        let mut older = guard(&stage, Guard::UpExcept).await;
        whatever_comes_before(&stage, Guard::UpExcept, &mut older).await;
    });
}

#[test]
fn nor_while_there_is_no_fence() {
    Sandbox::run_async_test("smuggling::nor_while_there_is_no_fence", async |sandbox| {
        let stage = Stage::set(sandbox);
        let mut older = guard(&stage, Guard::Down).await;
        whatever_comes_before(&stage, Guard::Down, &mut older).await;
    });
}

#[test]
fn no_opening_of_any_form_reaches_a_program() {
    Sandbox::run_async_test("smuggling::no_opening_of_any_form_reaches_a_program", async |sandbox| {
        for guard_is in GUARDS {
            let stage = Stage::set_again(sandbox);
            let older = guard(&stage, guard_is).await;
            let _inbound = stage.tunnel_listener(15006).await;
            let mut port = 20000;
            // Of nobody: what answers it is answered by nobody, and a connection that is begun stays so.
            for (addresses, nobody) in both().into_iter().zip(["10.42.9.9", "fd00:42::99"]) {
                let destination = SocketAddr::new(addresses.pod, 8080);
                let program = stage.pod.listen(destination).await.unwrap();
                // From the tunnel's ports as from any other.
                let tunnels = [15001, 15006, 15008].map(|port| (OPENINGS[0], Some(port)));
                let openings = || OPENINGS.iter().map(|it| (*it, None)).chain(tunnels);
                for is_prepared in [false, true] {
                    for ((name, flags, options, form), own) in openings() {
                        port += 1;
                        let port = own.unwrap_or(port);
                        let source = SocketAddr::new(nobody.parse().unwrap(), port);
                        let other = stage.other.namespace();
                        if is_prepared {
                            let ack = Segment::new(source, destination, ACK).with_options(&SIGNATURE);
                            send(other, ack, Form::Whole, None).await;
                        }
                        let segment = Segment::new(source, destination, flags).with_options(options);
                        send(other, segment, form, None).await;
                        let what = format!("{name}, {guard_is:?}, prepared: {is_prepared}");
                        assert_eq!(at_program(&stage.pod, 8080, port).await, 0, "{what}");
                        assert!(nobody_at(&program), "{what}");
                    }
                }
            }
            drop(older);
        }
    });
}

/// The addresses and ports of a connection that is older than the rules, of which the kernel thinks that the pod has opened it:
/// it has heard the pod first. Its next opening seems to come from the wrong side, and is in no connection that any rule sees.
#[test]
fn the_place_of_an_older_connection_is_nobody_elses() {
    Sandbox::run_async_test("smuggling::the_place_of_an_older_connection_is_nobody_elses", async |sandbox| {
        for guard_is in [Guard::UpExcept, Guard::Down] {
            let stage = Stage::set_again(sandbox);
            for (client, mut server) in guard(&stage, guard_is).await.into_iter().take(4) {
                let (source, destination) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
                let program = stage.pod.listen(destination).await.unwrap();
                let _inbound = stage.tunnel_listener(15006).await;
                let mut client = client;
                talk(&mut server, &mut client).await;
                // Broken off, so that nothing lingers at the port.
                socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
                drop(client);
                let came = connect(stage.other.namespace(), source, destination).await;
                assert!(nobody_at(&program), "{guard_is:?}: {came:?}");
                assert_eq!(at_program(&stage.pod, 7000, source.port()).await, 0, "{guard_is:?}");
            }
        }
    });
}

#[test]
fn what_others_send_does_not_let_the_pods_connections_pass_by_the_tunnel() {
    Sandbox::run_async_test(
        "smuggling::what_others_send_does_not_let_the_pods_connections_pass_by_the_tunnel",
        async |sandbox| {
            for guard_is in GUARDS {
                let stage = Stage::set_again(sandbox);
                let mut older = guard(&stage, guard_is).await;
                let outbound = stage.tunnel_listener(15001).await;
                let mut port = 20000;
                for addresses in both() {
                    let there = SocketAddr::new(addresses.other, 8080);
                    let program = stage.other.listen(there).await.unwrap();
                    for &(name, flags, options, form) in BEFORE.iter().chain(OPENINGS) {
                        port += 1;
                        let here = SocketAddr::new(addresses.pod, port);
                        let segment = Segment::new(there, here, flags).with_options(options);
                        send(stage.other.namespace(), segment, form, None).await;
                        let left = connect(stage.pod.namespace(), here, there).await;
                        let what = format!("{name}, {guard_is:?}, port {port}: {left:?}");
                        assert!(nobody_at(&program), "{what}");
                        match left {
                            Ok(_) => assert_eq!(accept(&outbound).await.0, there, "{what}"),
                            Err(error) => {
                                assert_eq!(guard_is, Guard::Down, "{what}");
                                assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{what}");
                            }
                        }
                    }
                }
                for (one, other) in &mut older {
                    talk(one, other).await;
                }
            }
        },
    );
}

/// Addresses that the configuration does not know are no way in either: that of the link, which each pod has.
#[test]
fn the_address_of_the_link_is_no_way_around() {
    Sandbox::run_async_test("smuggling::the_address_of_the_link_is_no_way_around", async |sandbox| {
        for guard_is in GUARDS {
            let stage = Stage::set_again(sandbox);
            let _older = guard(&stage, guard_is).await;
            let inbound = stage.tunnel_listener(15006).await;
            let listed = stage.pod.namespace().run(|| std::fs::read_to_string("/proc/net/if_inet6"));
            let listed = listed.await.unwrap().unwrap();
            let link = listed.lines().find(|it| it.starts_with("fe80")).unwrap();
            let ip = u128::from_str_radix(&link[..32], 16).unwrap();
            let listed = stage.other.namespace().run(|| std::fs::read_to_string("/proc/net/if_inet6"));
            let listed = listed.await.unwrap().unwrap();
            let own = listed.lines().find(|it| it.starts_with("fe80")).unwrap();
            let index = u32::from_str_radix(own.split_whitespace().nth(1).unwrap(), 16).unwrap();
            let program = stage.pod.listen("[::]:8080".parse().unwrap()).await.unwrap();
            let there = SocketAddrV6::new(ip.into(), 8080, 0, index);
            let came = tokio::time::timeout(SOON, stage.other.connect(there.into())).await;
            assert!(nobody_at(&program), "{guard_is:?}");
            if matches!(came, Ok(Ok(_))) {
                assert!(!nobody_at(&inbound), "{guard_is:?}");
            }
        }
    });
}

/// A program opens a connection while its port is still to be opened: both ends send a SYN.
#[test]
fn an_opening_that_meets_another_halfway_comes_to_the_tunnel() {
    Sandbox::run_async_test(
        "smuggling::an_opening_that_meets_another_halfway_comes_to_the_tunnel",
        async |sandbox| {
            for guard_is in GUARDS {
                let stage = Stage::set_again(sandbox);
                let _older = guard(&stage, guard_is).await;
                // Nobody accepts what is redirected: no tunnel listens, and the program's SYN is not answered but refused.
                for addresses in both() {
                    let there = SocketAddr::new(addresses.other, 8080);
                    for port in 20000..20005 {
                        let here = SocketAddr::new(addresses.pod, port);
                        let opening = connect(stage.pod.namespace(), here, there);
                        let meeting = async {
                            for flags in [SYN, SYN | ACK] {
                                let segment = Segment::new(there, here, flags);
                                send(stage.other.namespace(), segment, Form::Whole, None).await;
                            }
                        };
                        let (opened, ()) = tokio::join!(opening, meeting);
                        assert!(opened.is_err(), "{guard_is:?}");
                    }
                }
            }
        },
    );
}

#[test]
fn one_that_is_older_than_the_rules_is_known_from_then_on_and_none_is_added() {
    Sandbox::run_async_test(
        "smuggling::one_that_is_older_than_the_rules_is_known_from_then_on_and_none_is_added",
        async |sandbox| {
            let stage = Stage::set(sandbox);
            let mut older = guard(&stage, Guard::UpExcept).await;
            let held = |stage: &Stage| stage.capture().older().map_or(0, |it| it.len());
            assert_eq!((older.len(), held(&stage)), (5, 5));
            // What there is after somebody has taken the rules away, and a connection past them, is as it was.
            let rules = stage.rules;
            stage.pod.namespace().run_blocking(move || capture::remove(&rules)).unwrap().unwrap();
            let app = stage.pod.listen(SocketAddr::new(both()[0].pod, 7001)).await.unwrap();
            let around = within(stage.other.connect(SocketAddr::new(both()[0].pod, 7001))).await.unwrap();
            let (_, _, mut served) = accept(&app).await;
            assert_eq!(held(&stage), 5);
            let mut client = around;
            tokio::io::AsyncWriteExt::write_all(&mut client, b"around").await.unwrap();
            let mut buffer = [0; 8];
            let heard = tokio::io::AsyncReadExt::read(&mut served, &mut buffer);
            assert!(!matches!(tokio::time::timeout(SOON, heard).await, Ok(Ok(1..))), "around");
            // A tunnel that starts anew finds them in the kernel.
            let before = stage.fence.replace(Fence::Down);
            assert_eq!((held(&stage), &*stage.fence.borrow()), (5, &before));
            for (one, other) in &mut older {
                talk(one, other).await;
            }
            // One ends.
            older.remove(0);
            let closer = async {
                while held(&stage) == 5 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            within(closer).await;
            assert_eq!(held(&stage), 4);
            assert_eq!(stage.inspect(), Capture::Installed);
            let (one, other) = &mut older[0];
            talk(one, other).await;
        },
    );
}

#[test]
fn more_connections_than_the_kernel_is_told_of_are_let_be_and_none_is_opened() {
    const MANY: usize = 2001;
    Sandbox::run_async_test(
        "smuggling::more_connections_than_the_kernel_is_told_of_are_let_be_and_none_is_opened",
        async |sandbox| {
            let stage = Stage::set(sandbox);
            raise_descriptors();
            let there = SocketAddr::new(both()[0].pod, 7000);
            let app = stage.pod.listen(there).await.unwrap();
            let mut open = Vec::new();
            for _ in 0..MANY {
                open.push((within(stage.other.connect(there)).await.unwrap(), accept(&app).await.2));
            }
            assert_eq!(stage.capture(), Fence::Down);
            let (one, other) = &mut open[17];
            talk(one, other).await;
            let _inbound = stage.tunnel_listener(15006).await;
            let source = SocketAddr::new(both()[0].other, 20000);
            let ack = Segment::new(source, there, ACK).with_options(&SIGNATURE);
            send(stage.other.namespace(), ack, Form::Whole, None).await;
            let _came = connect(stage.other.namespace(), source, there).await;
            assert_eq!(at_program(&stage.pod, 7000, 20000).await, 0);
            assert!(nobody_at(&app));
            // One less, and all are known.
            open.pop();
            let counted = async {
                while stage.capture() == Fence::Down {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            within(counted).await;
            assert_eq!(stage.inspect(), Capture::Installed);
            for (one, other) in open.iter_mut().step_by(100) {
                talk(one, other).await;
            }
        },
    );
}

fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}
