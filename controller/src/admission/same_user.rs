//! Who may have configuration, where all programs are one user's on one machine.

use crate::serve::{Admission, Peer, Refused, StreamLifetime};
use fairway_config::stream::Subscription;
use tonic::transport::server::UdsConnectInfo;

/// Lets in programs of the user that runs the controller; the kernel says whose a program is.
#[derive(Clone, Copy, Debug)]
pub struct SameUserOnly {
    uid: u32,
}

impl SameUserOnly {
    pub fn as_this_process() -> Self {
        Self { uid: rustix::process::geteuid().as_raw() }
    }
}

impl Admission for SameUserOnly {
    fn admit(&self, peer: Peer<'_>, _: &Subscription) -> Result<StreamLifetime, Refused> {
        let credentials = peer.extensions.get::<UdsConnectInfo>().and_then(|it| it.peer_cred);
        match credentials {
            Some(it) if it.uid() == self.uid => Ok(StreamLifetime::unlimited()),
            Some(it) => Err(Refused::Forbidden(format!(
                "user {} may not have it, only user {} may",
                it.uid(),
                self.uid
            ))),
            None => Err(Refused::Forbidden("it is not known who asks".to_owned())),
        }
    }
}
