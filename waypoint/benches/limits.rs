//! What one limit costs a request: in its bucket, and in the pipeline with all that belongs to it. Alone, by key, and while other
//! threads count in the same buckets. `cargo bench -p fairway-waypoint --bench limits`. One limit is to cost 0.3 µs at most.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used)]

use fairway_config::model::{Limit, LimitKeyPart, Limits, Listener, RateLimit, Resource};
use fairway_policy::Mode;
use fairway_waypoint::limit::{Limiter, Nanos, Room, Who};
use fairway_waypoint::testing::{self, MemoryProxy};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::time::Duration;
use tokio::time::Instant;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const REQUESTS: u32 = 2_000_000;
/// Requests that are measured together.
const BATCH: u32 = 500;

/// Batches that a thread has ended, on a cache line of its own.
#[repr(align(128))]
#[derive(Default)]
struct Batches(AtomicU32);

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
    println!();
    for (name, keys, clients, is_apart) in [
        ("no limit", vec![], 1, false),
        ("by address, one client", vec![address()], 1, false),
        ("by address, each thread its client", vec![address()], 1, true),
        ("by address, 10,000 clients", vec![address()], 10_000, false),
        ("by address, each thread its 10,000", vec![address()], 10_000, true),
        ("two limits by address, one client", vec![address(), address()], 1, false),
    ] {
        for threads in [1, 2] {
            measure_admission(name, keys.clone(), clients, is_apart, threads);
        }
    }
}

/// Every thread asks as every client in turn.
fn measure(name: &str, key: &[LimitKeyPart], clients: u32, threads: u32) {
    let limiter = Limiter::new(&limit(key.to_vec()), &Room::default());
    let who: Vec<(IpAddr, HeaderMap)> = (0..clients).map(client).collect();
    let (limiter, who, start) = (&limiter, &who, Instant::now());
    let each = tenth(threads, |_| {
        move |number| {
            let (address, headers) = &who[(number % clients) as usize];
            let who = Who { address: Some(*address), identity: None, headers };
            let client = limiter.client(black_box(&who));
            limiter.take(client, Nanos::after(start.elapsed())).is_ok()
        }
    });
    println!("bucket    {name:<40} {threads} threads {each} a request, the clock included");
}

/// The step of the pipeline at which the policies and limits of a listener admit a request.
fn measure_admission(name: &str, keys: Vec<Vec<LimitKeyPart>>, clients: u32, is_apart: bool, threads: u32) {
    let tables = proxy(keys).tables();
    let each = tenth(threads, |thread| {
        // A worker of its own, which counts where all others do.
        let (mut parts, proxy) = (head(), proxy(vec![]));
        let mut admission = proxy.admission(tables.clone(), &parts).expect("a listener");
        let first = if is_apart { thread * clients } else { 0 };
        move |number| {
            let address = IpAddr::V4(Ipv4Addr::from_bits(first + number % clients));
            admission.admit(black_box(address), black_box(&mut parts))
        }
    });
    println!("admission {name:<40} {threads} threads {each} a request, the clock included");
}

/// How long a request takes where so many threads ask: no longer in one of ten batches. Of several threads those batches count in which another
/// one has ended one as well, so that a machine on which they had to take turns does not look like a fast one. The slower ones are those in
/// which the system has stopped a thread.
fn tenth<A: FnMut(u32) -> bool>(threads: u32, asking: impl Fn(u32) -> A + Sync) -> String {
    let (done, barrier): (Vec<Batches>, _) =
        ((0..threads).map(|_| Batches::default()).collect(), Barrier::new(threads as usize));
    let others = |mine: u32| -> u32 {
        let others = done.iter().zip(0..).filter(|(_, it)| *it != mine);
        others.map(|(it, _)| it.0.load(Relaxed)).sum()
    };
    let ask = |thread: u32| {
        let mut ask = asking(thread);
        let mut took = Vec::new();
        barrier.wait();
        for batch in 0..REQUESTS / BATCH {
            let (before, began) = (others(thread), Instant::now());
            let passed = (0..BATCH).filter(|it| black_box(ask(batch * BATCH + it))).count();
            let elapsed = began.elapsed();
            assert_eq!(passed, BATCH as usize, "nobody is refused");
            if let Some(it) = done.get(thread as usize) {
                it.0.fetch_add(1, Relaxed);
            }
            if threads == 1 || others(thread) != before {
                took.push(elapsed);
            }
        }
        took
    };
    let mut took: Vec<Duration> = std::thread::scope(|scope| {
        let ask = &ask;
        let workers: Vec<_> = (0..threads).map(|it| scope.spawn(move || ask(it))).collect();
        workers.into_iter().flat_map(|it| it.join().expect("a worker")).collect()
    });
    took.sort_unstable();
    let tenth = took.get(took.len() / 10).map(|it| it.as_nanos() / u128::from(BATCH));
    tenth.map_or_else(|| "    ?".to_owned(), |it| format!("{it:>5} ns"))
}

fn proxy(keys: Vec<Vec<LimitKeyPart>>) -> MemoryProxy {
    let names = (0..keys.len()).map(|it| format!("shop/p{it}@Gateway/gateway"));
    let resources = names.clone().zip(keys).map(|(name, key)| {
        let limits = Limits::Each(vec![limit(key)]);
        Resource::RateLimit(Arc::new(RateLimit { name: name.into(), mode: Mode::Enforce, limits }))
    });
    let limits = names.map(|it| it.as_str().into()).collect();
    let listener = Listener { limits, ..testing::listener("l") };
    let resources = resources.chain([Resource::Listener(Arc::new(listener))]).collect();
    MemoryProxy::start(resources, |_, _| Ok(())).expect("a configuration")
}

fn head() -> Parts {
    let request = Request::get("/cart?x=1").header("host", "shop.example").header("accept", "*/*");
    request.body(()).expect("a request").into_parts().0
}

fn client(number: u32) -> (IpAddr, HeaderMap) {
    let headers = HeaderMap::from_iter([(CUSTOMER, HeaderValue::from(number))]);
    (Ipv4Addr::from_bits(number).into(), headers)
}

/// So many at once that nobody is ever refused.
fn limit(key: Vec<LimitKeyPart>) -> Limit {
    let (requests, burst) = (NonZeroU32::new(1_000_000).expect("a number"), NonZeroU32::MAX);
    let per = Duration::from_secs(60);
    Limit { name: None, requests, per, burst, key, matches: None }
}
