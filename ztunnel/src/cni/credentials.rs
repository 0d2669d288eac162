//! How the plugin reaches the API server: a file that the installer keeps on the node.

use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// How the plugin reaches the API server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// `host:port`
    pub server: String,
    /// Its roots, in PEM.
    pub roots: String,
    /// Who asks.
    pub token: String,
}

impl Credentials {
    /// Reads the file.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }

    /// What the file holds.
    pub fn render(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }
}
