//! What one limit costs a request: alone, by key, and while other threads count in the same buckets. `cargo bench -p fairway-waypoint
//! --bench limits`. One limit is to cost 0.3 µs at most.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used)]

use fairway_config::model::{Limit, LimitKeyPart};
use fairway_waypoint::limit::{Limiter, Nanos, Room, Who};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Barrier;
use std::time::Duration;
use tokio::time::Instant;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const REQUESTS: u32 = 2_000_000;
const CUSTOMER: HeaderName = HeaderName::from_static("x-customer");

fn main() {
    let address = || vec![LimitKeyPart::ClientAddress];
    let header = || vec![LimitKeyPart::Header(CUSTOMER)];
    for (name, key, clients) in [
        ("all together", vec![], 1),
        ("by address, one client", address(), 1),
        ("by address, 10,000 clients", address(), 10_000),
        ("by header, one client", header(), 1),
        ("by header, 10,000 clients", header(), 10_000),
        ("by header, a flood of 100,000 clients", header(), 100_000),
    ] {
        for threads in [1, 2] {
            measure(name, &key, clients, threads);
        }
    }
}

/// Every thread asks as every client in turn.
fn measure(name: &str, key: &[LimitKeyPart], clients: u32, threads: u32) {
    let limiter = Limiter::new(&limit(key.to_vec()), &Room::default());
    let who: Vec<(IpAddr, HeaderMap)> = (0..clients).map(client).collect();
    let (start, barrier) = (Instant::now(), Barrier::new(threads as usize));
    let took = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| ask(&limiter, &who, clients, start, &barrier))).collect();
        workers.into_iter().map(|it| it.join().expect("a worker")).max().unwrap_or_default()
    });
    let each = took.as_nanos() / u128::from(REQUESTS);
    println!("{name:<42} {threads} threads {each:>5} ns a request, the clock included");
}

fn ask(
    limiter: &Limiter,
    who: &[(IpAddr, HeaderMap)],
    clients: u32,
    start: Instant,
    barrier: &Barrier,
) -> Duration {
    barrier.wait();
    let began = Instant::now();
    for number in 0..REQUESTS {
        let (address, headers) = &who[(number % clients) as usize];
        let who = Who { address: Some(*address), identity: None, headers };
        let client = limiter.client(black_box(&who));
        let _ = black_box(limiter.take(client, Nanos::after(start.elapsed())));
    }
    began.elapsed()
}

fn client(number: u32) -> (IpAddr, HeaderMap) {
    let headers = HeaderMap::from_iter([(CUSTOMER, HeaderValue::from(number))]);
    (Ipv4Addr::from_bits(number).into(), headers)
}

fn limit(key: Vec<LimitKeyPart>) -> Limit {
    let million = NonZeroU32::new(1_000_000).expect("a number");
    let per = Duration::from_secs(60);
    Limit { name: None, requests: million, per, burst: million, key, matches: None }
}
