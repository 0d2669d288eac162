//! An endpoint that fails while there is load: it is ejected, and readmitted when it has recovered. How many requests that costs over
//! time is simulated in `crates/balance/tests/outage.rs`; this is the same through a proxy, in memory and under paused time.

use crate::support;
use fairway_config::model::{AppProtocol, Resource, Retry, Rule};
use fairway_waypoint::testing::{MemoryClient, MemoryProxy, endpoint, listener};
use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use support::backend::{read_head, say};
use support::wire::{Http1, status};
use support::{LISTENER, backend, route, rule};
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

/// How an endpoint fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It refuses connections, and breaks those that are open.
    Connections,
    /// It accepts connections, and breaks them when a request comes.
    Requests,
}

/// An endpoint, and what has happened at it.
struct Pod {
    fault: watch::Sender<Option<Fault>>,
    served: Cell<usize>,
    broken: Cell<usize>,
}

/// Clients that send one request after another.
const CLIENTS: usize = 8;
/// How long an endpoint takes for a response.
const LATENCY: Duration = Duration::from_millis(5);
/// How long the endpoint fails.
const OUTAGE: Duration = Duration::from_secs(10);
/// The longest ejection, the check behind it, and some requests, one of which is the probe.
const READMISSION: Duration = Duration::from_millis(1_800 + 50 + 50);

impl Pod {
    fn new() -> Rc<Self> {
        Rc::new(Self { fault: watch::Sender::new(None), served: Cell::new(0), broken: Cell::new(0) })
    }

    fn accept(self: &Rc<Self>, stream: DuplexStream) -> io::Result<()> {
        if self.has(Fault::Connections) {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        spawn_local(self.clone().serve(stream));
        Ok(())
    }

    async fn serve(self: Rc<Self>, mut stream: DuplexStream) {
        let mut fault = self.fault.subscribe();
        let broken = fault.wait_for(|fault| *fault == Some(Fault::Connections));
        let serving = async {
            while !read_head(&mut stream).await.is_empty() {
                if self.has(Fault::Requests) {
                    self.broken.set(self.broken.get() + 1);
                    return;
                }
                sleep(LATENCY).await;
                self.served.set(self.served.get() + 1);
                say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
        };
        tokio::select! {
            _ = broken => {}
            () = serving => {}
        }
    }

    fn has(&self, fault: Fault) -> bool {
        *self.fault.borrow() == Some(fault)
    }
}

/// A proxy before these endpoints, with a rule that sends nothing a second time.
fn start(pods: [Rc<Pod>; 3]) -> MemoryProxy {
    let retry = Some(Retry { attempts: 0, backoff: None, codes: vec![], connection_errors: true });
    let rules = vec![Rule { retry, ..rule("/", "shop/web:80") }];
    let mut resources = vec![
        Resource::Listener(Arc::new(listener(LISTENER))),
        Resource::Route(Arc::new(route("route", rules))),
    ];
    let addresses = [0, 1, 2].map(endpoint);
    resources.extend(backend("shop/web:80", AppProtocol::Http1, &addresses));
    let proxy = MemoryProxy::start(resources, move |address, stream| {
        let pod = addresses.iter().zip(&pods).find(|(at, _)| **at == address).unwrap().1;
        pod.accept(stream)
    });
    proxy.unwrap()
}

/// Sends requests one after another until it is stopped, and counts the responses that are not 200.
async fn load(mut client: Http1<DuplexStream>, failed: Rc<Cell<usize>>, stop: Rc<Cell<bool>>) {
    while !stop.get() {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let (head, _) = client.receive().await.expect("a response");
        failed.set(failed.get() + usize::from(status(&head) != 200));
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_is_ejected_and_has_its_share_again_when_it_has_recovered() {
    // A connection that is refused costs no request but those of the first moment: checks come first. An endpoint that breaks requests
    // passes its checks. So each ejection ends with a probe, which fails: after about 0.15, 0.6, 2.3, 4.1, 6, 7.8 and 9.7 seconds.
    for (fault, probes) in [(Fault::Connections, 0), (Fault::Requests, 8)] {
        let test = async {
            let pods = [(); 3].map(|()| Pod::new());
            let proxy = start(pods.each_ref().map(Rc::clone));
            let (failed, stop) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
            let clients: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    let client = Http1::over(proxy.connect(MemoryClient::default()));
                    spawn_local(load(client, failed.clone(), stop.clone()))
                })
                .collect();
            let served = || pods.each_ref().map(|pod| pod.served.get());
            sleep(Duration::from_secs(1)).await;
            assert!(served().iter().all(|count| *count > 100), "{:?}", served());
            assert_eq!(failed.get(), 0);

            pods[0].fault.send_replace(Some(fault));
            sleep(OUTAGE).await;
            let during = failed.get();
            assert!((1..=CLIENTS + probes).contains(&during), "{fault:?}: {during} requests have failed");
            // The rule sends nothing a second time, also what breaks a connection that was idle before.
            let broken = pods[0].broken.get();
            assert!(broken <= CLIENTS + probes, "{fault:?}: {broken} requests came");

            pods[0].fault.send_replace(None);
            let before = pods[0].served.get();
            sleep(READMISSION).await;
            assert!(pods[0].served.get() > before, "{fault:?}: it is not readmitted");
            assert_eq!(failed.get(), during, "{fault:?}: it serves again, and a request fails");

            // Its share is about a third.
            let before = served();
            sleep(Duration::from_secs(5)).await;
            let share: Vec<_> = served().iter().zip(before).map(|(now, then)| now - then).collect();
            assert!(share[0] * 5 > share.iter().sum::<usize>(), "{fault:?}: {share:?}");
            stop.set(true);
            for client in clients {
                client.await.unwrap();
            }
        };
        LocalSet::new().run_until(test).await;
    }
}
