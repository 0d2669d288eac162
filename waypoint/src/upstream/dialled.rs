//! The sockets that a proxy has dialled, by which it knows itself when it reaches itself.
//!
//! Requests carry a mark (`crate::route::hop`). Bytes and datagrams carry none, so who accepts looks at the far end: one that is the
//! near end of a socket of this proxy is this proxy. That holds behind a load balancer, too, as long as it leaves the client's
//! address as it is.

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
    far_ends: Mutex<HashMap<SocketAddr, SmallVec<[SocketAddr; 1]>, ahash::RandomState>>,
}

/// A socket that is dialled, until this is dropped.
#[derive(Debug)]
pub struct DialledSocket {
    sockets: Arc<DialledSockets>,
    near: SocketAddr,
    far: SocketAddr,
}

// === impl DialledSockets ===

impl DialledSockets {
    /// Notes a socket from `near` to `far`.
    pub fn note(self: &Arc<Self>, near: SocketAddr, far: SocketAddr) -> DialledSocket {
        let (near, far) = (canonical(near), canonical(far));
        let mut far_ends = self.far_ends.lock().unwrap_or_else(PoisonError::into_inner);
        far_ends.entry(near).or_default().push(far);
        self.count.fetch_add(1, Ordering::Release);
        DialledSocket { sockets: self.clone(), near, far }
    }

    /// Whether what has come from `far` has come from one of these. On loopback other programs have the same address, and may have the
    /// same port: there it has to have been dialled at `near`, where it has arrived, if that is known.
    pub fn are_at(&self, far: SocketAddr, near: Option<SocketAddr>) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let (far, near) = (canonical(far), near.map(canonical));
        let far_ends = self.far_ends.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(dialled) = far_ends.get(&far) else { return false };
        !far.ip().is_loopback() || near.is_none_or(|near| dialled.contains(&near))
    }
}

impl Drop for DialledSocket {
    fn drop(&mut self) {
        let mut held = self.sockets.far_ends.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(far_ends) = held.get_mut(&self.near) {
            if let Some(at) = far_ends.iter().position(|it| *it == self.far) {
                far_ends.swap_remove(at);
                self.sockets.count.fetch_sub(1, Ordering::Release);
            }
            if far_ends.is_empty() {
                held.remove(&self.near);
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

    #[test]
    fn who_comes_from_a_dialled_socket_is_known_until_it_is_closed() {
        let sockets = Arc::new(DialledSockets::default());
        assert!(!sockets.are_at(at("10.0.0.1:5"), None));
        let one = sockets.note(at("10.0.0.1:5"), at("10.0.0.9:80"));
        let two = sockets.note(at("10.0.0.1:5"), at("10.0.0.8:80"));
        let local = sockets.note(at("127.0.0.1:5"), at("127.0.0.1:80"));
        for (far, near, expected) in [
            // A load balancer may have changed where it went.
            ("10.0.0.1:5", Some("10.0.0.1:8080"), true),
            ("[::ffff:10.0.0.1]:5", None, true),
            ("10.0.0.1:6", None, false),
            ("10.0.0.2:5", None, false),
            ("127.0.0.1:5", Some("127.0.0.1:80"), true),
            // Another program's.
            ("127.0.0.1:5", Some("127.0.0.1:81"), false),
            ("127.0.0.1:5", None, true),
        ] {
            assert_eq!(sockets.are_at(at(far), near.map(at)), expected, "{far} {near:?}");
        }
        drop(one);
        assert!(sockets.are_at(at("10.0.0.1:5"), None), "the other one is open");
        drop(two);
        assert!(!sockets.are_at(at("10.0.0.1:5"), None));
        drop(local);
        assert_eq!(sockets.count.load(Ordering::Relaxed), 0);
        assert!(sockets.far_ends.lock().unwrap().is_empty());
    }
}
