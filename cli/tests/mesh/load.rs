//! Constant load, and what became of every request.

use crate::{TIMEOUT, eventually};
use anyhow::Context;
use fairway_cli::demo::client::{Ask, EchoResponse, Session};
use fairway_cli::demo::environment::Environment;
use fairway_netns::Namespace;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;

/// Clients of each target.
const CLIENTS: usize = 3;
/// Between two requests of a client: without it the load takes the processors from what is tested.
const PAUSE: Duration = Duration::from_millis(2);
/// Requests on one connection: new ones are to be made all the time, too.
const REQUESTS: usize = 20;

/// Clients that ask all the time.
pub struct Load {
    shared: Rc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    is_over: Cell<bool>,
    answers: Cell<u64>,
    by_pod: RefCell<BTreeMap<String, u64>>,
    failures: RefCell<Vec<String>>,
}

/// Where a client's requests go.
#[derive(Clone)]
enum Target {
    /// To a Service of the bookshop, from within the mesh.
    Service(&'static str, SocketAddr),
    /// To the shared Gateway by HTTPS, from outside; whoever of these listens.
    Gateway(Vec<SocketAddr>),
}

impl Load {
    /// Starts to ask these Services of the bookshop.
    pub fn start(environment: &Environment, services: &[&'static str]) -> Self {
        let target = |service: &&'static str| {
            Target::Service(service, environment.service(&format!("bookshop/{service}"), 80).unwrap())
        };
        Self::from(environment, "bookshop/reader", services.iter().map(target))
    }

    /// Starts to ask the shared Gateway, which has these pods.
    pub fn start_outside(environment: &Environment, pods: &[&str]) -> Self {
        let addresses = pods.iter().map(|pod| environment.pod_address(pod, 443).unwrap());
        Self::from(environment, "legacy/till", [Target::Gateway(addresses.collect())])
    }

    fn from(environment: &Environment, pod: &str, targets: impl IntoIterator<Item = Target>) -> Self {
        let shared = Rc::<Shared>::default();
        let namespace = environment.pod(pod).unwrap().namespace().clone();
        let client = |target: Target| {
            let (shared, namespace) = (shared.clone(), namespace.clone());
            spawn_local(async move {
                let mut number = 0;
                while !shared.is_over.get() {
                    let outcome = match open(&namespace, &target).await {
                        Ok(session) => converse(&shared, session, &mut number).await,
                        Err(error) => Err(error),
                    };
                    if let Err(error) = outcome {
                        shared.failures.borrow_mut().push(format!("request {number}: {error:#}"));
                    }
                }
            })
        };
        let clients = targets.into_iter().flat_map(|it| vec![it; CLIENTS]).map(client).collect();
        Self { shared, clients }
    }

    /// Waits for so many more answers, and none may fail.
    pub async fn flow(&self, answers: u64) {
        let until = self.shared.answers.get() + answers;
        eventually("more answers", async || {
            self.complain();
            self.shared.answers.get() >= until
        })
        .await;
    }

    /// How many answers came from a pod.
    pub fn answers_of(&self, pod: &str) -> u64 {
        self.shared.by_pod.borrow().get(pod).copied().unwrap_or(0)
    }

    /// How many answers there were.
    pub fn answers(&self) -> u64 {
        self.shared.answers.get()
    }

    /// Ends it; no request may have failed.
    pub async fn stop(self) {
        self.shared.is_over.set(true);
        for client in self.clients {
            tokio::time::timeout(TIMEOUT, client).await.expect("clients end").unwrap();
        }
        let failures = self.shared.failures.borrow();
        assert!(failures.is_empty(), "of {} requests failed: {failures:#?}", self.shared.answers.get());
    }

    /// Panics if a request has failed.
    fn complain(&self) {
        let failures = self.shared.failures.borrow();
        assert!(failures.is_empty(), "of {} requests failed: {failures:#?}", self.shared.answers.get());
    }
}

async fn open(namespace: &Namespace, target: &Target) -> anyhow::Result<Session> {
    let connect = async |address| {
        let opened = namespace.run(move || connect_within(address)).await??;
        anyhow::Ok(TcpStream::from_std(opened)?)
    };
    match target {
        Target::Service(name, address) => {
            Session::over(connect(*address).await.with_context(|| (*name).to_owned())?, name).await
        }
        Target::Gateway(addresses) => {
            let mut refused = Vec::new();
            for address in addresses {
                match connect(*address).await {
                    Ok(stream) => return Session::over_tls(stream, "www.bookshop.example").await,
                    Err(error) => refused.push(format!("{address}: {error:#}")),
                }
            }
            anyhow::bail!("nobody listens: {refused:?}")
        }
    }
}

fn connect_within(address: SocketAddr) -> std::io::Result<std::net::TcpStream> {
    let stream = std::net::TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

async fn converse(shared: &Shared, mut session: Session, number: &mut usize) -> anyhow::Result<()> {
    for _ in 0..REQUESTS {
        *number += 1;
        let answer: EchoResponse = session.ask(&Ask { path: "/book/7", ..Ask::default() }).await?;
        anyhow::ensure!(answer.status.is_success(), "{}", answer.summary());
        shared.answers.set(shared.answers.get() + 1);
        *shared.by_pod.borrow_mut().entry(answer.pod().to_owned()).or_default() += 1;
        sleep(PAUSE).await;
        if shared.is_over.get() || answer.header("connection") == Some("close") {
            break;
        }
    }
    Ok(())
}
