//! A thread enters a namespace, works there, and is back or gone.

#![allow(clippy::unwrap_used)] // all of it is tests

use fairway_netns::{Namespace, NetnsError};
use fairway_testbed::Sandbox;

fn here() -> Namespace {
    Namespace::current().unwrap()
}

#[test]
fn work_is_done_inside_and_the_caller_stays_outside() {
    Sandbox::run_async_test("work_is_done_inside_and_the_caller_stays_outside", async |_| {
        let home = here();
        let away = Namespace::create().unwrap();
        assert_ne!(home, away);
        assert_eq!(away.run(here).await.unwrap(), away);
        assert_eq!(here(), home);
        assert_eq!(away.run_blocking(here).unwrap(), away);
        assert_eq!(home.run(here).await.unwrap(), home);
    });
}

#[test]
fn work_that_takes_long_holds_up_no_socket() {
    Sandbox::run_async_test("work_that_takes_long_holds_up_no_socket", async |_| {
        let (busy, other) = (Namespace::create().unwrap(), Namespace::create().unwrap());
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let long = tokio::spawn(async move { busy.run_long(move || ended.recv()).await });
        // It would wait for ever if it waited for the other.
        assert_eq!(other.run(here).await.unwrap(), other);
        end.send(()).unwrap();
        long.await.unwrap().unwrap().unwrap();
    });
}

#[test]
fn a_panic_inside_is_told_and_the_thread_goes_home_and_on() {
    Sandbox::run_async_test("a_panic_inside_is_told_and_the_thread_goes_home_and_on", async |_| {
        let away = Namespace::create().unwrap();
        let error = away.run(|| panic!("oh {}", "no")).await.unwrap_err();
        assert!(matches!(&error, NetnsError::Panicked { message, .. } if message == "oh no"), "{error}");
        let home = here();
        assert_eq!(home.run(here).await.unwrap(), home);
    });
}

#[test]
fn asking_for_work_from_within_work_is_an_error_not_a_deadlock() {
    Sandbox::run_async_test("asking_for_work_from_within_work_is_an_error_not_a_deadlock", async |_| {
        let away = Namespace::create().unwrap();
        let other = away.clone();
        let inner = away.run(move || other.run_blocking(|| ())).await.unwrap();
        assert!(matches!(inner, Err(NetnsError::Nested)));
    });
}

#[test]
fn work_nobody_waits_for_does_no_harm() {
    Sandbox::run_async_test("work_nobody_waits_for_does_no_harm", async |_| {
        let away = Namespace::create().unwrap();
        {
            let work = away.run(here);
            tokio::pin!(work);
            // Submitted, then given up.
            assert!(futures_poll(work.as_mut()));
        }
        assert_eq!(away.run(here).await.unwrap(), away);
    });
}

#[test]
fn a_handle_stays_where_it_is_mounted_and_other_files_are_none() {
    Sandbox::run_async_test("a_handle_stays_where_it_is_mounted_and_other_files_are_none", async |sandbox| {
        let path = sandbox.handles().join("one");
        let made = Namespace::create_at(&path).unwrap();
        let id = made.id();
        drop(made);
        assert_eq!(Namespace::open(&path).unwrap().id(), id);

        for path in ["/dev/null", "/does/not/exist"] {
            let error = Namespace::open(path).unwrap_err();
            assert!(error.to_string().contains(path), "{error}");
        }
        // A namespace, but of another kind.
        let mounts = Namespace::open("/proc/self/ns/mnt");
        assert!(mounts.is_err() || mounts.unwrap().run(|| ()).await.is_err());
    });
}

#[test]
fn a_thread_can_live_inside() {
    Sandbox::run_async_test("a_thread_can_live_inside", async |_| {
        let away = Namespace::create().unwrap();
        let thread = away.thread("inside", here).unwrap();
        assert_eq!(thread.join().unwrap().unwrap(), away);
    });
}

fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let _ = future.poll(&mut context);
    true
}
