//! What commits leave of what has been counted.

use super::{
    Limit, LimitKeyPart, Limits, Mode, RateLimit, Running, Scene, by_header, count, limit, limits, local,
};
use fairway_policy::Condition;
use std::time::Duration;

fn named(name: Option<&str>, limit: Limit) -> Limit {
    Limit { name: name.map(Into::into), ..limit }
}

/// A scene in which the one limit of a rule has no place left.
async fn used_up(limit: &Limit) -> Running {
    let running =
        Scene { at_rule: vec!["a/p@r"], ..Scene::default() }.start([limits("a/p@r", vec![limit.clone()])]);
    assert_eq!(running.statuses(3).await, [200, 200, 429]);
    running
}

#[tokio::test(start_paused = true)]
async fn counts_survive_every_edit_that_leaves_rate_key_and_target() {
    local(async {
        for key in [vec![], by_header("x-key")] {
            for name in [None, Some("n")] {
                let two = named(name, limit(2, key.clone()));
                let many = |name| named(name, limit(9, vec![]));
                let posts = vec![vec![Condition::MethodIs(vec![http::Method::GET])]];
                let edits = [
                    ("one before it", vec![many(None), two.clone()]),
                    ("one behind it", vec![two.clone(), many(Some("x"))]),
                    ("another name", vec![named(Some("m"), two.clone())]),
                    ("no name", vec![named(None, two.clone())]),
                    ("what it is about", vec![Limit { matches: Some(posts), ..two.clone() }]),
                    ("its name for another one", vec![many(name), named(Some("m"), two.clone())]),
                ];
                for (edit, edited) in edits {
                    let mut running = used_up(&two).await;
                    running.put(limits("a/p@r", edited));
                    assert_eq!(running.statuses(1).await, [429], "{edit} {key:?} {name:?}");
                }
                let mut running = used_up(&two).await;
                running.put(RateLimit { limits: Limits::Closed, ..limits("a/p@r", vec![]) });
                assert_eq!(running.statuses(1).await, [500]);
                running.put(RateLimit { mode: Mode::Observe, ..limits("a/p@r", vec![two.clone()]) });
                assert_eq!(running.statuses(1).await, [200]);
                running.put(limits("a/p@r", vec![two.clone()]));
                assert_eq!(running.statuses(1).await, [429], "closed for a while, then observed");
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_edit_of_rate_or_key_begins_anew() {
    local(async {
        let two = limit(2, by_header("x-key"));
        let edits = [
            Limit { requests: count(3), ..two.clone() },
            Limit { per: Duration::from_secs(3600), ..two.clone() },
            Limit { burst: count(1), ..two.clone() },
            Limit { key: by_header("x-other"), ..two.clone() },
            Limit { key: vec![LimitKeyPart::ClientAddress], ..two.clone() },
            Limit { key: vec![], ..two.clone() },
        ];
        for edited in edits {
            let mut running = used_up(&two).await;
            running.put(limits("a/p@r", vec![edited.clone()]));
            assert_eq!(running.statuses(1).await, [200], "{edited:?}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn two_limits_alike_do_not_become_one() {
    local(async {
        let two = |name| named(Some(name), limit(2, vec![]));
        let mut running = used_up(&two("a")).await;
        // Both are counted by: the second has places, the first has none.
        running.put(limits("a/p@r", vec![two("b"), two("c")]));
        assert_eq!(running.statuses(1).await, [429]);
        running.put(limits("a/p@r", vec![two("c")]));
        assert_eq!(running.statuses(3).await, [200, 200, 429], "the second was never asked");
    })
    .await;
}
