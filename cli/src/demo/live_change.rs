//! A change under load: the split goes from 90/10 to 50/50, and nobody notices but by the split.

use super::binomial;
use super::client::{Ask, Session};
use super::environment::{Environment, write};
use super::report::{Report, seconds};
use anyhow::{Context, ensure};
use fairway_testbed::Pod;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

const SESSIONS: usize = 8;
const FILE: &str = "bookshop/reviews.yaml";
/// The new rule marks its answers, so that each tells under which rule it was given.
const MARK: &str = "x-split";

#[derive(Default)]
struct Tally {
    answers: u32,
    failures: Vec<String>,
    first_marked: Option<Instant>,
    marked: u32,
    marked_v2: u32,
}

/// Sends the traffic of this part and reports what it shows.
pub async fn play(environment: &Environment, report: &mut Report) {
    report.scene("A live change: 90/10 becomes 50/50 under load");
    report.progress("load on reviews while its route is edited");
    match change(environment).await {
        Ok((tally, written)) => {
            let failed = tally.failures.len();
            let example = tally.failures.first().map(|first| format!(", e.g. {first}")).unwrap_or_default();
            report.note(
                "no request fails",
                failed == 0,
                format!("{failed} of {} failed{example}", tally.answers),
            );
            let allowed = binomial::bounds(tally.marked, 0.5);
            report.note(
                "the new split is 50/50",
                tally.marked > 200 && allowed.contains(&tally.marked_v2),
                format!(
                    "{} of {} at v2 (allowed {}–{})",
                    tally.marked_v2,
                    tally.marked,
                    allowed.start(),
                    allowed.end()
                ),
            );
            let took = tally.first_marked.map(|first| first - written);
            report.note(
                "from the file's write to the first request under it",
                took.is_some_and(|took| took < Duration::from_secs(2)),
                took.map_or_else(|| "never".to_owned(), seconds),
            );
        }
        Err(error) => report.note("the change can be made", false, format!("{error:#}")),
    }
}

async fn change(environment: &Environment) -> anyhow::Result<(Tally, Instant)> {
    let path = environment.objects.join(FILE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let changed = text.replace("weight: 90", "weight: 50").replace("weight: 10", "weight: 50").replace(
        "    - name: everyone\n",
        &format!(
            "    - name: everyone\n      filters:\n        - type: ResponseHeaderModifier\n          \
             responseHeaderModifier: {{set: [{{name: {MARK}, value: even}}]}}\n"
        ),
    );
    ensure!(changed != text, "{FILE} is not what the demo expects");
    let (pod, address) = (environment.pod("bookshop/reader")?, environment.service("bookshop/reviews", 80)?);
    let stop = Arc::new(AtomicBool::new(false));
    let mut load = Vec::new();
    for _ in 0..SESSIONS {
        load.push(tokio::spawn(converse(open(pod, address).await?, stop.clone())));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let written = Instant::now();
    write(&path, &changed)?;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    stop.store(true, Ordering::Relaxed);
    let mut total = Tally::default();
    for task in load {
        let tally = task.await?;
        total.answers += tally.answers;
        total.failures.extend(tally.failures);
        total.marked += tally.marked;
        total.marked_v2 += tally.marked_v2;
        total.first_marked = [total.first_marked, tally.first_marked].into_iter().flatten().min();
    }
    Ok((total, written))
}

async fn open(pod: &Pod, address: SocketAddr) -> anyhow::Result<Session> {
    Session::open(pod, address, "reviews").await
}

async fn converse(mut session: Session, stop: Arc<AtomicBool>) -> Tally {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        tally.answers += 1;
        match session.ask(&Ask { path: "/book/7", ..Ask::default() }).await {
            Ok(answer) if answer.status.is_success() => {
                if answer.header(MARK).is_some() {
                    tally.first_marked.get_or_insert_with(Instant::now);
                    tally.marked += 1;
                    tally.marked_v2 += u32::from(answer.pod() == "reviews-v2-1");
                }
            }
            Ok(answer) => tally.failures.push(answer.summary()),
            Err(error) => {
                tally.failures.push(format!("{error:#}"));
                return tally;
            }
        }
    }
    tally
}
