//! What is said of a request: as text, and as JSON.

use fairway_waypoint::view::Explained;
use serde::Serialize;
use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::process::ExitCode;

/// What becomes of a request, from the client to the endpoints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub from: Client,
    pub to: Target,
    /// What the tunnel of the client's node does; none where no tunnel carries the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    /// The Gateway and the waypoints that it passes, in order.
    pub proxies: Vec<Passed>,
    /// The endpoints that it may come to, and what their tunnels say.
    pub endpoints: Vec<Endpoint>,
    /// What is wrong with the objects on its way.
    pub errors: Vec<String>,
    pub verdict: Verdict,
}

/// Who sends the request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Client {
    /// The pod, or the address.
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    pub captured: bool,
    /// Why it is not captured, or what is let in beside mTLS.
    pub mesh: String,
}

/// What is asked for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Target {
    pub request: String,
    /// What the URL names.
    pub names: String,
}

/// What the client's tunnel does.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tunnel {
    pub does: String,
    /// The word for why it refuses the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<&'static str>,
}

/// A proxy on the way.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Passed {
    /// What it is: `Gateway` or `waypoint`.
    pub kind: &'static str,
    pub name: String,
    pub identity: String,
    pub explained: Explained,
}

/// An endpoint, and what the tunnel of its node says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Endpoint {
    pub address: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// How it is reached.
    pub by: String,
    /// What its tunnel says.
    pub says: String,
    /// The word for why its tunnel refuses the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<&'static str>,
    /// The policies that are asked there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
}

/// What it comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Verdict {
    pub is: Word,
    pub because: String,
}

/// The verdict in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Word {
    /// It reaches an endpoint, or a stage answers it.
    Allowed,
    /// A policy refuses it.
    Refused,
    /// It has no route, no endpoint, or another error.
    Failed,
}

// === impl Verdict ===

impl Verdict {
    pub(super) fn new(is: Word, because: impl Into<String>) -> Self {
        Self { is, because: because.into() }
    }

    /// For CI: 0 is good. 1 and 2 are of requests that cannot be explained.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self.is {
            Word::Allowed => ExitCode::SUCCESS,
            Word::Refused => ExitCode::from(3),
            Word::Failed => ExitCode::from(4),
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "from      {}, {}", self.from.name, self.from.mesh)?;
        self.from.identity.iter().try_for_each(|it| writeln!(f, "          as {it}"))?;
        writeln!(f, "to        {}\n          {}", self.to.request, self.to.names)?;
        self.tunnel.iter().try_for_each(|it| writeln!(f, "tunnel    {}", it.does))?;
        for it in &self.proxies {
            writeln!(f, "{:<9} {}\n          as {}", it.kind, it.name, it.identity)?;
            for line in it.explained.to_string().lines() {
                writeln!(f, "  {line}")?;
            }
        }
        for it in &self.endpoints {
            let pod = it.pod.as_deref().map(|pod| format!(" {pod}")).unwrap_or_default();
            writeln!(f, "endpoint  {}{pod}\n          {}: {}", it.address, it.by, it.says)?;
            it.policies.iter().try_for_each(|policy| writeln!(f, "          policy {policy}"))?;
        }
        self.errors.iter().try_for_each(|error| writeln!(f, "error     {error}"))?;
        let word = match self.verdict.is {
            Word::Allowed => "allowed",
            Word::Refused => "refused",
            Word::Failed => "failed",
        };
        writeln!(f, "verdict   {word}: {}", self.verdict.because)
    }
}
