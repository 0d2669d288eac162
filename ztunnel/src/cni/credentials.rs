//! The plugin's credentials for the API server, in a file that the installer keeps on the node.

use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// The plugin's credentials for the API server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// `host:port` of the API server.
    pub server: String,
    /// Root certificates of the API server, in PEM.
    pub roots: String,
    /// A service account token.
    pub token: String,
}

impl Credentials {
    /// Reads the file at `path`. Fails if it is missing or not such JSON.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }

    /// The content of the file: JSON.
    pub fn render(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }
}
