//! The sockets that a proxy has dialled, by which it knows its own bytes and datagrams when they come back to it.
//!
//! Requests carry marks of the rules that they have passed (`crate::route::hop`). Bytes and datagrams carry none, so who accepts looks at
//! the far end: one that is the near end of a socket of this proxy is this proxy, and the socket knows what it was dialled for. That holds
//! behind a load balancer, too, as long as it leaves the client's address as it is. It does not hold for what has passed another
//! process.

use crate::route::hop::MOST;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The sockets that a proxy has dialled and not closed. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Dialled {
    /// Those for bytes. The connections of HTTP are not among them.
    pub streams: Arc<DialledSockets>,
    /// Those for datagrams, one for each client of a UDP listener.
    pub datagrams: Arc<DialledSockets>,
}

/// Sockets by their near ends. Two may have one near end, where their far ends differ.
#[derive(Debug, Default)]
pub struct DialledSockets {
    /// Where there are none, nobody waits for anybody.
    count: AtomicUsize,
    by_near: Mutex<HashMap<SocketAddr, SmallVec<[Dialling; 1]>, ahash::RandomState>>,
}

/// What was dialled from a near end, and what its bytes had passed by then.
#[derive(Debug)]
struct Dialling {
    far: SocketAddr,
    passed: Passed,
}

/// A socket that is dialled, until this is dropped.
#[derive(Debug)]
pub struct DialledSocket {
    sockets: Arc<DialledSockets>,
    near: SocketAddr,
    far: SocketAddr,
}

/// The routes, and the Services without one, that bytes or datagrams have passed in this proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed(SmallVec<[Arc<str>; 1]>);

/// The bytes have passed the route before, or too many routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes have passed this route before")]
pub struct Looped;

// === impl Passed ===

impl Passed {
    /// With one more. A route that leads back to itself would do so again and again; as of a request, no more than `MOST` are
    /// passed.
    pub fn through(mut self, route: &Arc<str>) -> Result<Self, Looped> {
        if self.0.len() >= MOST || self.0.contains(route) {
            return Err(Looped);
        }
        self.0.push(route.clone());
        Ok(self)
    }
}

// === impl DialledSockets ===

impl DialledSockets {
    /// Whether there are none. Then nobody can be one of them, and nobody has to ask a socket for its ends.
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Notes a socket from `near` to `far`, by which go on what has passed these.
    pub fn note(self: &Arc<Self>, near: SocketAddr, far: SocketAddr, passed: Passed) -> DialledSocket {
        let (near, far) = (canonical(near), canonical(far));
        let mut by_near = self.by_near.lock().unwrap_or_else(PoisonError::into_inner);
        by_near.entry(near).or_default().push(Dialling { far, passed });
        self.count.fetch_add(1, Ordering::Release);
        DialledSocket { sockets: self.clone(), near, far }
    }

    /// What has passed that comes from `far`: nothing if that is none of these. On loopback other programs have the same address, and may
    /// have the same port: there it has to have been dialled at `near`, where it has arrived, if that is known.
    pub fn passed(&self, far: SocketAddr, near: Option<SocketAddr>) -> Passed {
        if self.is_empty() {
            return Passed::default();
        }
        let (far, near) = (canonical(far), near.map(canonical));
        let by_near = self.by_near.lock().unwrap_or_else(PoisonError::into_inner);
        let dialled = by_near.get(&far).into_iter().flatten();
        let from_there =
            dialled.filter(|it| !far.ip().is_loopback() || near.is_none_or(|near| it.far == near));
        // A load balancer may have changed where it went: of two that it can be, the one that has come further.
        let furthest = from_there.max_by_key(|it| it.passed.0.len());
        furthest.map(|it| it.passed.clone()).unwrap_or_default()
    }
}

impl Drop for DialledSocket {
    fn drop(&mut self) {
        let mut by_near = self.sockets.by_near.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dialled) = by_near.get_mut(&self.near) {
            if let Some(at) = dialled.iter().position(|it| it.far == self.far) {
                dialled.swap_remove(at);
                self.sockets.count.fetch_sub(1, Ordering::Release);
            }
            if dialled.is_empty() {
                by_near.remove(&self.near);
            }
        }
    }
}

/// An IPv4 address in its own form, also where a socket for both families has it.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// What has passed these.
    fn passed(routes: &[&str]) -> Passed {
        Passed(routes.iter().map(|it| Arc::from(*it)).collect())
    }

    #[test]
    fn who_comes_from_a_dialled_socket_is_known_until_it_is_closed() {
        let sockets = Arc::new(DialledSockets::default());
        let (nothing, first, further) = (passed(&[]), passed(&["a"]), passed(&["a", "b"]));
        assert_eq!(sockets.passed(at("10.0.0.1:5"), None), nothing);
        let one = sockets.note(at("10.0.0.1:5"), at("10.0.0.9:80"), first.clone());
        let two = sockets.note(at("10.0.0.1:5"), at("10.0.0.8:80"), further.clone());
        let local = sockets.note(at("127.0.0.1:5"), at("127.0.0.1:80"), first.clone());
        for (far, near, expected) in [
            // A load balancer may have changed where it went.
            ("10.0.0.1:5", Some("10.0.0.1:8080"), &further),
            ("[::ffff:10.0.0.1]:5", None, &further),
            ("10.0.0.1:6", None, &nothing),
            ("10.0.0.2:5", None, &nothing),
            ("127.0.0.1:5", Some("127.0.0.1:80"), &first),
            // Another program's.
            ("127.0.0.1:5", Some("127.0.0.1:81"), &nothing),
            ("127.0.0.1:5", None, &first),
        ] {
            assert_eq!(sockets.passed(at(far), near.map(at)), *expected, "{far} {near:?}");
        }
        drop(two);
        assert_eq!(sockets.passed(at("10.0.0.1:5"), None), first, "the other one is open");
        drop(one);
        assert_eq!(sockets.passed(at("10.0.0.1:5"), None), nothing);
        drop(local);
        assert!(sockets.is_empty());
        assert!(sockets.by_near.lock().unwrap().is_empty());
    }

    #[test]
    fn a_route_is_passed_once_and_only_so_many_are() {
        for (before, route, expected) in [
            (&[][..], "a", Ok(&["a"][..])),
            (&["a"], "b", Ok(&["a", "b"])),
            (&["a"], "a", Err(Looped)),
            (&["a", "b"], "a", Err(Looped)),
        ] {
            assert_eq!(passed(before).through(&route.into()), expected.map(passed), "{before:?} {route}");
        }
        let through = |count: usize| {
            (0..count).try_fold(Passed::default(), |passed, route| passed.through(&route.to_string().into()))
        };
        assert!(through(MOST).is_ok());
        assert_eq!(through(MOST + 1), Err(Looped));
    }
}
