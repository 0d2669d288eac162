use super::*;

fn object() -> ObjectRef {
    ObjectRef::new(Kind::Gateway, "edge", "public")
}

fn route() -> ObjectRef {
    ObjectRef::new(Kind::HttpRoute, "shop", "web")
}

/// Touches an object every so often for a while; when it is written.
fn written(object: &ObjectRef, start: Instant, every: Duration, until: Duration) -> Vec<Duration> {
    let (mut pace, mut writes, mut now) = (Pace::default(), Vec::new(), start);
    while now < start + until + Duration::from_secs(5) {
        if now <= start + until && (now - start).as_millis().is_multiple_of(every.as_millis()) {
            pace.touch(object, now);
        }
        if let Some(it) = pace.next(now) {
            writes.push(now - start);
            pace.done(&it, true, now);
        }
        now += Duration::from_millis(1);
    }
    writes
}

#[tokio::test(start_paused = true)]
async fn one_change_is_written_once_after_a_moment() {
    let writes = written(&object(), Instant::now(), Duration::from_secs(100), Duration::from_secs(1));
    assert_eq!(writes, [DELAY]);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_changes_are_few_writes_and_the_last_one_is_soon_after() {
    for seconds in [1, 3, 10] {
        let until = Duration::from_secs(seconds);
        let writes = written(&object(), Instant::now(), Duration::from_millis(10), until);
        assert!(writes.len() <= 15, "{} writes in {until:?}", writes.len());
        let last = *writes.last().unwrap();
        assert!(last >= until && last < until + Duration::from_secs(1), "{last:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_that_is_changed_back_and_forth_never_waits_long() {
    let writes = written(&route(), Instant::now(), Duration::from_millis(10), Duration::from_secs(3));
    let longest = writes.windows(2).map(|it| it[1] - it[0]).max().unwrap();
    assert!(longest <= Duration::from_millis(300), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn an_object_is_given_out_once_at_a_time() {
    let (now, mut pace) = (Instant::now(), Pace::default());
    pace.touch(&object(), now);
    let later = now + DELAY;
    assert_eq!(pace.next(later), Some(object()));
    pace.touch(&object(), later);
    assert_eq!(pace.next(later + DELAY), None, "its write is under way");
    pace.done(&object(), false, later);
    assert_eq!(pace.next(later + DELAY), Some(object()), "it was touched meanwhile");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_quiet_objects() {
    let (now, mut pace) = (Instant::now(), Pace::default());
    pace.touch(&object(), now);
    pace.next(now + DELAY).unwrap();
    pace.done(&object(), true, now + DELAY);
    pace.sweep(now + DELAY + QUIET);
    assert!(pace.turns.is_empty() && pace.due.is_empty());
}
