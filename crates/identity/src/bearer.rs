//! How a proxy says who it is: with a token in a file, which somebody else (a kubelet) keeps fresh.

use std::path::PathBuf;
use std::sync::Arc;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// A token that goes with each call; the file is read again each time, so a new token is used from the next call on.
#[derive(Clone, Debug, Default)]
pub struct BearerToken {
    file: Option<Arc<PathBuf>>,
}

/// A channel to the controller, and the token to show there.
#[derive(Clone, Debug)]
pub struct ControllerChannel {
    channel: Channel,
    token: BearerToken,
}

/// A channel whose calls carry a token.
pub type CallingChannel = InterceptedService<Channel, BearerToken>;

// === impl BearerToken ===

impl BearerToken {
    /// The token in this file; without a file none is shown, as the controller knows its peers by something else.
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { file: file.map(Arc::new) }
    }

    fn header(&self) -> Result<Option<AsciiMetadataValue>, Status> {
        let Some(file) = &self.file else { return Ok(None) };
        // A kilobyte in memory (tmpfs), at the start of a call: nothing to leave the thread for.
        let token = std::fs::read_to_string(&**file)
            .map_err(|error| Status::unauthenticated(format!("no token in {}: {error}", file.display())))?;
        let header = AsciiMetadataValue::try_from(format!("Bearer {}", token.trim()));
        let mut header =
            header.map_err(|_| Status::unauthenticated(format!("{} holds no token", file.display())))?;
        header.set_sensitive(true);
        Ok(Some(header))
    }
}

impl Interceptor for BearerToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = self.header()? {
            request.metadata_mut().insert("authorization", header);
        }
        Ok(request)
    }
}

// === impl ControllerChannel ===

impl ControllerChannel {
    /// A channel, and the token to show.
    pub fn new(channel: Channel, token: BearerToken) -> Self {
        Self { channel, token }
    }

    /// For a generated client.
    pub fn into_service(self) -> CallingChannel {
        InterceptedService::new(self.channel, self.token)
    }
}

impl From<Channel> for ControllerChannel {
    fn from(channel: Channel) -> Self {
        Self { channel, token: BearerToken::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(token: &mut BearerToken) -> Result<Option<String>, Status> {
        let request = token.call(Request::new(()))?;
        Ok(request.metadata().get("authorization").map(|it| it.to_str().unwrap().to_owned()))
    }

    #[test]
    fn each_call_shows_the_token_of_now() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let mut token = BearerToken::new(Some(file.clone()));
        assert!(shown(&mut token).unwrap_err().message().contains("token"), "none yet");
        std::fs::write(&file, "first\n").unwrap();
        assert_eq!(shown(&mut token).unwrap().as_deref(), Some("Bearer first"));
        std::fs::write(&file, "second").unwrap();
        assert_eq!(shown(&mut token).unwrap().as_deref(), Some("Bearer second"));
        std::fs::write(&file, "two\nlines").unwrap();
        assert!(shown(&mut token).is_err());
        assert_eq!(shown(&mut BearerToken::default()).unwrap(), None);
    }
}
