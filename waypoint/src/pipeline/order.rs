//! In which order a request is refused for what is wrong with it, through a proxy in memory.

use crate::fixtures::{MatchExt, attachment, expression, listener, prefix, route, rule};
use crate::testing::{MemoryClient, MemoryProxy, redirect};
use fairway_config::model::{Filter, Listener, Resource, Route, Rule};
use fairway_policy::{Action, Authorization};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;

/// Its program is large: no long text is compared with it.
const LARGE: &str = r"[\pL\pN]{10}.*";

/// A listener with a rule for each way to end, whose policy lets nobody in if `is_closed`.
fn proxy(is_closed: bool) -> MemoryProxy {
    let authorizations = if is_closed { vec!["nobody".into()] } else { vec![] };
    let listener = Listener { authorizations, ..listener("listener", None) };
    let rules = vec![
        rule(vec![prefix("/header").header("x-a", &format!("~{LARGE}"))], "web"),
        rule(vec![prefix("/query").query("q", &format!("~{LARGE}"))], "web"),
        rule(vec![expression(&format!("/path/{LARGE}"))], "web"),
        Rule { backends: vec![], ..rule(vec![prefix("/nowhere")], "web") },
        rule(vec![prefix("/gone")], "gone"),
        Rule { filters: vec![Filter::Redirect(redirect("b.ex"))], ..rule(vec![prefix("/moved")], "web") },
    ];
    let route = Route { attachments: vec![attachment("listener", &[])], rules, ..route("r") };
    let nobody = Authorization::new("nobody", Action::Allow, vec![]);
    let resources = vec![
        Resource::Listener(Arc::new(listener)),
        Resource::Route(Arc::new(route)),
        Resource::Authorization(Arc::new(nobody)),
    ];
    MemoryProxy::start(resources, |_, _| Ok(())).unwrap()
}

async fn status(proxy: &MemoryProxy, head: &str) -> u16 {
    let mut stream = proxy.connect(MemoryClient::default());
    stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or_default()
}

/// What no route may see is refused whoever asks. Then come the policies: whom they let in nowhere is told nothing of the routes, nor of
/// what is wrong with the request for them.
#[tokio::test(start_paused = true)]
async fn a_head_is_refused_before_policies_and_everything_else_behind_them() {
    let long = "a".repeat(15 * 1024);
    let get = |target: &str, headers: &str| format!("GET {target} HTTP/1.1\r\nhost: a.ex\r\n{headers}");
    let marks = "x-fairway-via: 0,1,2,3,4,5,6,7,8,9,a,b,c,d,e,f\r\n";
    let fields = "x-b: 1\r\n".repeat(101);
    let table = [
        // The head.
        ("no host", "GET /elsewhere HTTP/1.1\r\n".to_owned(), [400, 400]),
        ("too many fields", get("/elsewhere", &fields), [431, 431]),
        ("a target that is too long", get(&format!("/{long}{long}"), ""), [414, 414]),
        ("an expectation", get("/elsewhere", "expect: tea\r\n"), [417, 417]),
        ("an ambiguous path", get("/a/../b", ""), [400, 400]),
        // Policies stand here.
        ("no route", get("/elsewhere", ""), [404, 403]),
        ("a header that is too long to be compared", get("/header", &format!("x-a: {long}\r\n")), [431, 403]),
        ("a parameter that is too long to be compared", get(&format!("/query?q={long}"), ""), [414, 403]),
        ("a path that is too long to be compared", get(&format!("/path/{long}"), ""), [414, 403]),
        ("a loop", get("/gone", marks), [508, 403]),
        ("no backend", get("/nowhere", ""), [500, 403]),
        ("a backend that is not there", get("/gone", ""), [500, 403]),
        ("a redirect", get("/moved", ""), [302, 403]),
    ];
    let asked = async {
        let proxies = [proxy(false), proxy(true)];
        for (what, head, expected) in &table {
            let mut answered = [0; 2];
            for (proxy, answered) in proxies.iter().zip(&mut answered) {
                *answered = status(proxy, head).await;
            }
            assert_eq!(answered, *expected, "{what}: open, closed");
        }
    };
    LocalSet::new().run_until(asked).await;
}
