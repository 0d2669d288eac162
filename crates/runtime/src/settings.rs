//! Settings that all programs have, for `#[command(flatten)]`.

use crate::drain::Deadlines;
use crate::logs;
use crate::transport::{self, AddressError};
use crate::workers;
use clap::Args;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tonic::transport::Channel;

/// What is logged, and how.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct LogSettings {
    /// What to log: error, warn, info, debug or trace, and exceptions for parts of the program
    ///
    /// For example `info,fairway_waypoint=debug`. It can be changed while the program runs:
    /// curl -X PUT 'http://127.0.0.1:15000/logging?level=debug'
    #[arg(long, env = "FAIRWAY_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

    /// How a log line looks: text for people, json for machines
    #[arg(long, env = "FAIRWAY_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: logs::Format,
}

/// Where the program tells about itself.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Admin")]
pub struct AdminSettings {
    /// Where to serve health, metrics, configuration and log level; a loopback address, as it is for operators only
    ///
    /// Port 0 takes any free port and logs which.
    #[arg(long, env = "FAIRWAY_ADMIN_ADDRESS", default_value = "127.0.0.1:15000", value_name = "IP:PORT")]
    pub admin_address: SocketAddr,

    /// Where Prometheus may read metrics (and nothing else), or `off`
    #[arg(long, env = "FAIRWAY_METRICS_ADDRESS", default_value = "[::]:15020", value_name = "IP:PORT|off")]
    pub metrics_address: PublicAddress,

    /// Where a kubelet or load balancer may ask for readiness (and nothing else), or `off`
    #[arg(long, env = "FAIRWAY_READINESS_ADDRESS", default_value = "[::]:15021", value_name = "IP:PORT|off")]
    pub readiness_address: PublicAddress,
}

/// An address that may be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicAddress {
    /// The server listens on this address.
    At(SocketAddr),
    /// There is no such server.
    Off,
}

/// How many threads carry traffic.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Threads")]
pub struct WorkerSettings {
    /// Threads that carry traffic; without it, one for each processor that the process may use
    ///
    /// Each has its own event loop, listeners and connections, so more than there are processors only costs memory.
    #[arg(long = "threads", env = "FAIRWAY_THREADS", value_name = "N", value_parser = parse_count)]
    workers: Option<NonZeroUsize>,
}

/// Where a proxy gets its configuration and its identities.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Controller")]
pub struct ControllerSettings {
    /// Where the controller is: https://host:port, or on this machine http://host:port or unix:///path
    ///
    /// While it cannot be reached, what was last in force stays so.
    #[arg(long, env = "FAIRWAY_CONTROLLER", value_name = "URI")]
    pub controller: String,

    /// A PEM file with the roots by which a controller at https:// is known; read again at each connection
    #[arg(long, env = "FAIRWAY_CONTROLLER_ROOTS", value_name = "FILE")]
    pub controller_roots: Option<PathBuf>,

    /// A file with the token that tells the controller who this is; read again for each call
    #[arg(long, env = "FAIRWAY_TOKEN", value_name = "FILE")]
    pub token: Option<PathBuf>,
}

/// How the program ends when it gets SIGTERM.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Shutdown")]
pub struct DrainSettings {
    /// How long to go on accepting after SIGTERM, so that nobody who has not heard of it yet is refused
    #[arg(long, env = "FAIRWAY_DRAIN_LINGER", default_value = "5s", value_name = "TIME", value_parser = parse_duration)]
    pub drain_linger: Duration,

    /// How long connections that are open may then take to finish before they are cut off
    ///
    /// In Kubernetes both together must be less than the pod's terminationGracePeriodSeconds (30 by default).
    #[arg(long, env = "FAIRWAY_DRAIN_GRACE", default_value = "20s", value_name = "TIME", value_parser = parse_duration)]
    pub drain_grace: Duration,
}

/// Not a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a whole number and its unit, such as 500ms, 30s, 5m or 24h")]
pub struct InvalidDuration;

/// Not a number of threads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a whole number, 1 or more")]
pub struct InvalidCount;

/// The text is neither `IP:port` nor `off`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write an address such as 0.0.0.0:15020 or [::]:15020, or off")]
pub struct InvalidAddress;

/// Reads a length of time such as `500ms`, `30s`, `5m` or `24h`.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or(InvalidDuration)?;
    let (number, unit) = text.split_at_checked(unit_at).ok_or(InvalidDuration)?;
    let number: u64 = number.parse().map_err(|_| InvalidDuration)?;
    let millis_each = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return Err(InvalidDuration),
    };
    number.checked_mul(millis_each).map(Duration::from_millis).ok_or(InvalidDuration)
}

fn parse_count(text: &str) -> Result<NonZeroUsize, InvalidCount> {
    text.parse().map_err(|_| InvalidCount)
}

// === impl PublicAddress ===

impl FromStr for PublicAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            address => address.parse().map(Self::At).map_err(|_| InvalidAddress),
        }
    }
}

// === impl WorkerSettings ===

impl WorkerSettings {
    /// The number that was set, or the one that suits the machine.
    pub fn count(&self) -> NonZeroUsize {
        self.workers.unwrap_or_else(workers::default_count)
    }
}

// === impl ControllerSettings ===

impl ControllerSettings {
    /// A channel to it. Call it inside a runtime.
    pub fn channel(&self) -> Result<Channel, AddressError> {
        transport::connect(&self.controller, self.controller_roots.as_deref())
    }
}

// === impl DrainSettings ===

impl DrainSettings {
    /// As the drain takes them.
    pub fn deadlines(&self) -> Deadlines {
        Deadlines { linger: self.drain_linger, grace: self.drain_grace }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        log: LogSettings,
        #[command(flatten)]
        admin: AdminSettings,
        #[command(flatten)]
        workers: WorkerSettings,
        #[command(flatten)]
        drain: DrainSettings,
    }

    #[test]
    fn the_defaults_are_those_of_the_documents() {
        let program = Program::parse_from(["program"]);
        assert_eq!((program.log.log.as_str(), program.log.log_format), ("info", logs::Format::Text));
        assert_eq!(program.admin.admin_address, "127.0.0.1:15000".parse().unwrap());
        assert_eq!(program.admin.metrics_address, "[::]:15020".parse().unwrap());
        assert_eq!(program.admin.readiness_address, "[::]:15021".parse().unwrap());
        let deadlines = program.drain.deadlines();
        assert!(deadlines.linger + deadlines.grace < Duration::from_secs(30), "Kubernetes kills after 30 s");
        assert_eq!(program.workers.count(), workers::default_count());
    }

    #[test]
    fn flags_are_read() {
        let arguments = ["program", "--threads", "3", "--metrics-address", "off", "--drain-grace", "2m"];
        let program = Program::parse_from(arguments);
        assert_eq!(program.workers.count().get(), 3);
        assert_eq!(program.admin.metrics_address, PublicAddress::Off);
        assert_eq!(program.drain.drain_grace, Duration::from_secs(120));
    }

    #[test]
    fn lengths_of_time_have_a_number_and_a_unit() {
        for (text, millis) in
            [("0s", 0), ("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("24h", 86_400_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "30", "s", "-1s", "1.5s", "1 s", "1d", "99999999999999999999s", "18446744073709551615h"]
        {
            assert_eq!(parse_duration(text), Err(InvalidDuration), "{text}");
        }
    }
}
