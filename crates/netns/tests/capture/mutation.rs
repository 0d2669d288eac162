//! Each rule is there for something: without it, one of these stories ends otherwise.

use crate::smuggling::{Guard, Older, SOON, connect, guard, send};
use crate::stage::{Addresses, Stage, both, nobody_at};
use fairway_netns::Namespace;
use fairway_netns::capture::ruleset::{Refuses, Ruleset};
use fairway_netns::capture::{CaptureRules, Fence};
use fairway_netns::socket::{Connect, PacketTap, Source, original_destination};
use fairway_testbed::Sandbox;
use fairway_testbed::segment::flags::{ACK, PSH, RST};
use fairway_testbed::segment::{Form, SIGNATURE, Seen, Segment};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// How a story ended that did not end well.
type Ending<T = ()> = Result<T, String>;

/// A rule's chain, its comment, and which of several with the same it is.
type Name = (&'static str, &'static str, usize);

fn names(ruleset: &Ruleset) -> Vec<Name> {
    let mut seen = BTreeMap::new();
    let number = |(chain, comment)| {
        let count = seen.entry((chain, comment)).or_insert(0);
        *count += 1;
        (chain, comment, *count)
    };
    ruleset.comments().map(number).collect()
}

#[test]
fn without_any_one_rule_a_story_ends_otherwise() {
    Sandbox::run_async_test("mutation::without_any_one_rule_a_story_ends_otherwise", async |sandbox| {
        assert_eq!(survivors(sandbox, Guard::UpExcept, Refuses::Kernel, |_| true).await, (29, vec![]));
    });
}

#[test]
fn so_it_is_where_there_is_no_fence() {
    Sandbox::run_async_test("mutation::so_it_is_where_there_is_no_fence", async |sandbox| {
        let judges = |(chain, ..): &Name| ["protect", "openings"].contains(chain);
        assert_eq!(survivors(sandbox, Guard::Down, Refuses::Kernel, judges).await, (12, vec![]));
    });
}

#[test]
fn so_it_is_where_the_kernel_finds_no_sockets() {
    Sandbox::run_async_test("mutation::so_it_is_where_the_kernel_finds_no_sockets", async |sandbox| {
        let judges = |(_, comment, _): &Name| {
            ["answers to connections that the tunnel makes", "what is out of order is said again"]
                .contains(comment)
        };
        assert_eq!(survivors(sandbox, Guard::UpExcept, Refuses::Tunnel, judges).await, (3, vec![]));
    });
}

/// How many rules were taken away, one at a time, and those that no story missed.
async fn survivors(
    sandbox: &Sandbox,
    guard_is: Guard,
    refuses: Refuses,
    is_tried: impl Fn(&Name) -> bool,
) -> (usize, Vec<Name>) {
    let (mut count, mut survivors) = (0, Vec::new());
    for rule in std::iter::once(None).chain((0..).map(Some)) {
        let fence = match guard_is {
            Guard::Down => Fence::Down,
            // Which connections it lets pass changes no name.
            Guard::Up | Guard::UpExcept => some_fence(),
        };
        let name = match rule
            .map(|rule| names(&Ruleset::new(&CaptureRules::default(), refuses, &fence)).get(rule).copied())
        {
            None => None,
            Some(None) => break,
            Some(Some(name)) if !is_tried(&name) => continue,
            Some(name) => name,
        };
        // Some stories are about packets that cross: a machine that is busy may miss one of them once.
        let mut ending = Ok(());
        for _ in 0..if name.is_some() { TRIES } else { 1 } {
            ending = told_without(sandbox, rule, guard_is, refuses).await;
            if ending.is_err() {
                break;
            }
        }
        let Some(name) = name else {
            assert_eq!(ending, Ok(()), "with all rules, {guard_is:?}, {refuses:?}");
            continue;
        };
        println!("without {name:?}: {ending:?}");
        count += 1;
        survivors.extend(ending.is_ok().then_some(name));
    }
    (count, survivors)
}

/// What the stories say of the ruleset without one of its rules.
async fn told_without(sandbox: &Sandbox, rule: Option<usize>, guard_is: Guard, refuses: Refuses) -> Ending {
    let stage = Stage::set_again(sandbox);
    let older = guard(&stage, guard_is).await;
    let fence = match guard_is {
        Guard::Down => Fence::Down,
        Guard::Up | Guard::UpExcept => stage.fence.borrow().clone(),
    };
    let whole = Ruleset::new(&stage.rules, refuses, &fence);
    let ruleset = rule.map_or(whole.clone(), |rule| whole.without(rule));
    stage.pod.namespace().run_blocking(move || ruleset.put_in_place()).unwrap().unwrap();
    stories(&stage, older, guard_is, refuses).await
}

/// How often the stories are told of a rule that none of them missed.
const TRIES: usize = 3;

/// With a hole for a connection of each family.
fn some_fence() -> Fence {
    let pair = |local: &str, remote: &str| (local.parse().unwrap(), remote.parse().unwrap());
    let older = [pair("10.42.0.2:1", "10.42.0.3:1"), pair("[fd00:42::2]:1", "[fd00:42::3]:1")];
    Fence::UpExcept(older.into_iter().collect())
}

async fn stories(stage: &Stage, mut older: Older, guard_is: Guard, refuses: Refuses) -> Ending {
    older_connections_go_on(&mut older).await?;
    for addresses in both() {
        the_program_is_captured(stage, &addresses, guard_is).await?;
        the_pod_is_reached_by_the_tunnel(stage, &addresses, refuses).await?;
        the_tunnel_speaks_for_clients(stage, &addresses).await?;
        the_tunnels_own_connections_pass(stage, &addresses, guard_is).await?;
        nobody_is_smuggled(stage, &addresses, guard_is).await?;
    }
    the_place_of_an_older_connection_stays_empty(stage, older).await
}

async fn older_connections_go_on(older: &mut [(TcpStream, TcpStream)]) -> Ending {
    // The last two have stories of their own.
    for (other, pod) in older.iter_mut().take(3) {
        talk(other, pod).await.map_err(|it| format!("an older connection: {it}"))?;
    }
    Ok(())
}

async fn the_program_is_captured(stage: &Stage, addresses: &Addresses, guard_is: Guard) -> Ending {
    let tunnel = stage.tunnel_listener(15001).await;
    let inbound = stage.tunnel_listener(15006).await;
    let tap = tap(stage.pod.namespace()).await;
    let there = SocketAddr::new(addresses.other, 8080);
    let mut client = dial(stage.pod.namespace(), there, None, false).await?;
    let (meant, mut captured) = taken(&tunnel).await?;
    expect(meant == there, "a program is captured")?;
    talk(&mut client, &mut captured).await?;
    if guard_is != Guard::Down {
        // Out of order: lost, and what is in order goes on. Refused, it would be broken off.
        let here = client.local_addr().map_err(|it| it.to_string())?;
        let mut segment = Segment::new(here, there, ACK);
        segment.sequence = 0x7000_0000;
        send(stage.pod.namespace(), segment, Form::Whole, None).await;
        let broken = frames(&tap).into_iter().any(|it| it.destination == here.port() && it.flags & RST != 0);
        expect(!broken, "what is out of order breaks nothing off")?;
        // What is in no connection goes nowhere.
        let outside = self::tap(stage.other.namespace()).await;
        let strange = SocketAddr::new(addresses.pod, 30000);
        send(stage.pod.namespace(), Segment::new(strange, there, ACK), Form::Whole, None).await;
        expect(frames(&outside).iter().all(|it| it.source != 30000), "nothing leaves around the tunnel")?;
    }
    for itself in [addresses.loopback, addresses.pod] {
        let itself = SocketAddr::new(itself, 8082);
        let app = stage.pod.listen(itself).await.map_err(|it| it.to_string())?;
        let mut client = dial(stage.pod.namespace(), itself, None, false).await?;
        let (_, mut served) = taken(&app).await?;
        talk(&mut client, &mut served).await?;
        for port in [15001, 15006] {
            let own = SocketAddr::new(itself.ip(), port);
            expect(
                dial(stage.pod.namespace(), own, None, false).await.is_err(),
                "the tunnel's ports refuse",
            )?;
        }
    }
    expect(nobody_at(&inbound) && nobody_at(&tunnel), "what stays within comes to nobody else")
}

async fn the_pod_is_reached_by_the_tunnel(stage: &Stage, addresses: &Addresses, refuses: Refuses) -> Ending {
    let inbound = stage.tunnel_listener(15006).await;
    let hbone = stage.tunnel_listener(15008).await;
    let there = SocketAddr::new(addresses.pod, 8083);
    let program = stage.pod.listen(there).await.map_err(|it| it.to_string())?;
    let mut client = dial(stage.other.namespace(), there, None, false).await?;
    let (meant, mut captured) = taken(&inbound).await?;
    expect(meant == there && nobody_at(&program), "what comes is captured")?;
    talk(&mut client, &mut captured).await?;
    let mut client = dial(stage.other.namespace(), SocketAddr::new(there.ip(), 15008), None, false).await?;
    let (_, mut tunnel) = taken(&hbone).await?;
    talk(&mut client, &mut tunnel).await?;
    // Somewhere nobody listens, and there they say so.
    let nobody = dial(stage.other.namespace(), SocketAddr::new(there.ip(), 9), None, false).await;
    expect(
        refuses == Refuses::Tunnel || nobody.is_err_and(|it| it.contains("refused")),
        "where nobody listens it is said",
    )
}

/// In a client's name, over loopback; and nobody else speaks there, though he knows every number.
async fn the_tunnel_speaks_for_clients(stage: &Stage, addresses: &Addresses) -> Ending {
    let tap = tap(stage.pod.namespace()).await;
    let there = SocketAddr::new(addresses.pod, 8084);
    let app = stage.pod.listen(there).await.map_err(|it| it.to_string())?;
    let source = Source::Spoofed(addresses.service);
    let mut sent = dial(stage.pod.namespace(), there, Some(source), true).await?;
    let (_, mut served) = taken(&app).await?;
    talk(&mut sent, &mut served).await?;
    let client = served.peer_addr().map_err(|it| it.to_string())?;
    let seen = frames(&tap);
    let next = |port: u16| {
        let said = seen.iter().filter(|it| it.source == port);
        said.map(|it| it.sequence.wrapping_add(it.length as u32)).next_back()
    };
    let mut segment = Segment::new(client, there, ACK | PSH);
    segment.sequence = next(client.port()).ok_or("the tap sees nothing")?;
    segment.acknowledgement = next(there.port()).ok_or("the tap sees nothing")?;
    segment.payload = b"a lie".to_vec();
    send(stage.other.namespace(), segment, Form::Whole, None).await;
    let mut heard = [0; 8];
    let lied = timeout(Duration::from_millis(20), served.read(&mut heard)).await;
    expect(lied.is_err(), "nobody else speaks on it")?;
    talk(&mut sent, &mut served).await
}

async fn the_tunnels_own_connections_pass(stage: &Stage, addresses: &Addresses, guard_is: Guard) -> Ending {
    let there = SocketAddr::new(addresses.other, 8085);
    let app = stage.other.listen(there).await.map_err(|it| it.to_string())?;
    let mut sent = dial(stage.pod.namespace(), there, None, true).await?;
    let (_, mut arrived) = taken(&app).await?;
    talk(&mut sent, &mut arrived).await?;
    if guard_is != Guard::Down {
        // What the kernel takes for no part of it is its socket's to judge, and breaks nothing off.
        let here = sent.local_addr().map_err(|it| it.to_string())?;
        let outside = tap(stage.other.namespace()).await;
        let mut segment = Segment::new(there, here, ACK);
        segment.sequence = 0x7000_0000;
        send(stage.other.namespace(), segment, Form::Whole, None).await;
        let broken = frames(&outside).iter().any(|it| it.source == here.port() && it.flags & RST != 0);
        expect(!broken, "what is out of order breaks nothing of the tunnel's off")?;
        talk(&mut sent, &mut arrived).await?;
    }
    Ok(())
}

async fn nobody_is_smuggled(stage: &Stage, addresses: &Addresses, guard_is: Guard) -> Ending {
    let inbound = stage.tunnel_listener(15006).await;
    let outbound = stage.tunnel_listener(15001).await;
    let (pod, other) = (SocketAddr::new(addresses.pod, 8086), SocketAddr::new(addresses.other, 8086));
    let program = stage.pod.listen(pod).await.map_err(|it| it.to_string())?;
    let outside = stage.other.listen(other).await.map_err(|it| it.to_string())?;
    let signed = |source, destination| Segment::new(source, destination, ACK).with_options(&SIGNATURE);
    let client = SocketAddr::new(addresses.other, 31000);
    send(stage.other.namespace(), signed(client, pod), Form::Whole, None).await;
    let came = connect(stage.other.namespace(), client, pod).await;
    expect(nobody_at(&program), "nobody is smuggled in")?;
    let client = SocketAddr::new(addresses.pod, 31001);
    send(stage.other.namespace(), signed(other, client), Form::Whole, None).await;
    let left = connect(stage.pod.namespace(), client, other).await;
    expect(nobody_at(&outside), "nobody is smuggled out")?;
    if guard_is != Guard::Down {
        came.and(left).map_err(|it| format!("a fence has the kernel remember nothing: {it}"))?;
        taken(&inbound).await?;
        taken(&outbound).await?;
    }
    Ok(())
}

/// The kernel thinks that the other end has opened these.
async fn the_place_of_an_older_connection_stays_empty(stage: &Stage, mut older: Older) -> Ending {
    let _inbound = stage.tunnel_listener(15006).await;
    let (Some((mut server, mut program)), Some((mut client, mut served))) = (older.pop(), older.pop()) else {
        return Err("no older connections".to_owned());
    };
    // One out of the pod, of which the far end is heard first.
    let (there, here) = ends(&server)?;
    let outside = stage.other.listen(there).await.map_err(|it| it.to_string())?;
    talk(&mut server, &mut program).await?;
    break_off(program);
    let left = connect(stage.pod.namespace(), here, there).await;
    expect(nobody_at(&outside), "nobody leaves by it")?;
    // And one into it, of which the pod is.
    let (here, there) = ends(&client)?;
    let inside = stage.pod.listen(there).await.map_err(|it| it.to_string())?;
    talk(&mut served, &mut client).await?;
    break_off(client);
    let came = connect(stage.other.namespace(), here, there).await;
    expect(nobody_at(&inside), "nobody comes by it")?;
    drop((left, came));
    Ok(())
}

fn ends(stream: &TcpStream) -> Ending<(SocketAddr, SocketAddr)> {
    let ends = stream.local_addr().and_then(|local| Ok((local, stream.peer_addr()?)));
    ends.map_err(|it| it.to_string())
}

fn break_off(stream: TcpStream) {
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

fn expect(holds: bool, what: &str) -> Ending {
    if holds { Ok(()) } else { Err(format!("not so: {what}")) }
}

/// As a program does, or as the tunnel.
async fn dial(
    from: &Namespace,
    destination: SocketAddr,
    source: Option<Source>,
    is_tunnel: bool,
) -> Ending<TcpStream> {
    let rules = CaptureRules::default();
    let wanted = Connect { destination, source, mark: is_tunnel.then_some(rules.own_mark) };
    let socket = from.connector(wanted).await.map_err(|it| it.to_string())?;
    match timeout(SOON, socket.connect(destination)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("to {destination}: {error}")),
        Err(_) => Err(format!("to {destination}: silence")),
    }
}

async fn taken(listener: &TcpListener) -> Ending<(SocketAddr, TcpStream)> {
    match timeout(SOON, listener.accept()).await {
        Ok(Ok((stream, _))) => Ok((original_destination(&stream).map_err(|it| it.to_string())?, stream)),
        _ => Err("nobody came".to_owned()),
    }
}

async fn talk(one: &mut TcpStream, other: &mut TcpStream) -> Ending {
    let talking = async {
        let mut heard = [0; 5];
        one.write_all(b"hello").await?;
        other.read_exact(&mut heard).await?;
        other.write_all(b"there").await?;
        one.read_exact(&mut heard).await
    };
    match timeout(SOON, talking).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("silence".to_owned()),
    }
}

async fn tap(namespace: &Namespace) -> PacketTap {
    namespace.run(|| PacketTap::open(Duration::from_millis(5))).await.unwrap().unwrap()
}

/// What it has seen so far.
fn frames(tap: &PacketTap) -> Vec<Seen> {
    let mut buffer = vec![0; 128 * 1024];
    let mut all = Vec::new();
    while let Some(length) = tap.read(&mut buffer).unwrap() {
        all.extend(Seen::read(&buffer[..length]));
    }
    all
}
