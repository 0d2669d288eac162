//! What the pod of a proxy is made of, beside its image: volumes, environment and arguments. Provisioning writes it from here, and
//! admission compares with the same, so that the two cannot differ.

mod foreign;

pub(super) use foreign::foreign;

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, EnvVar, EnvVarSource, ObjectFieldSelector,
    ProjectedVolumeSource, ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};
use std::fmt::Display;

/// The name of the one container.
pub const CONTAINER: &str = "waypoint";
/// The audience of the tokens with which proxies say who they are.
pub const AUDIENCE: &str = "fairway.dev";
/// The key of the roots in the ConfigMap, and the name of the file that the pod has of it.
pub const ROOTS: &str = "ca.crt";

const ROOTS_DIRECTORY: &str = "/var/run/fairway.dev/roots";
const TOKEN_DIRECTORY: &str = "/var/run/fairway.dev/token";
const STATE_DIRECTORY: &str = "/var/lib/fairway";
/// How long a token is good for; the kubelet replaces it after four fifths of that.
const TOKEN_SECONDS: i64 = 3600;

/// A flag that provisioning gives to proxies; it gives no others, and each at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    Gateway,
    Controller,
    ControllerRoots,
    Token,
    Identity,
    StateFile,
    DrainLinger,
    DrainGrace,
    AccessLog,
    AccessLogSample,
    SeriesLimit,
    Log,
    LogFormat,
}

// === impl Flag ===

impl Flag {
    pub const ALL: [Self; 13] = [
        Self::Gateway,
        Self::Controller,
        Self::ControllerRoots,
        Self::Token,
        Self::Identity,
        Self::StateFile,
        Self::DrainLinger,
        Self::DrainGrace,
        Self::AccessLog,
        Self::AccessLogSample,
        Self::SeriesLimit,
        Self::Log,
        Self::LogFormat,
    ];

    /// The flag as it stands in an argument, with what precedes its value.
    fn prefix(self) -> &'static str {
        match self {
            Self::Gateway => "--gateway=",
            Self::Controller => "--controller=",
            Self::ControllerRoots => "--controller-roots=",
            Self::Token => "--token=",
            Self::Identity => "--identity=",
            Self::StateFile => "--state-file=",
            Self::DrainLinger => "--drain-linger=",
            Self::DrainGrace => "--drain-grace=",
            Self::AccessLog => "--access-log=",
            Self::AccessLogSample => "--access-log-sample=",
            Self::SeriesLimit => "--series-limit=",
            Self::Log => "--log=",
            Self::LogFormat => "--log-format=",
        }
    }

    /// The argument that gives it this value.
    pub fn with(self, value: impl Display) -> String {
        format!("{}{value}", self.prefix())
    }

    /// The flag of an argument, and its value; none for an argument that provisioning does not write.
    pub fn read(argument: &str) -> Option<(Self, &str)> {
        let read = |flag: Self| argument.strip_prefix(flag.prefix()).map(|value| (flag, value));
        Self::ALL.into_iter().find_map(read).filter(|(flag, value)| flag.takes(value))
    }

    /// Whether provisioning gives it such a value. The Gateway, the controller and the identity are compared where it is known which
    /// these are.
    fn takes(self, value: &str) -> bool {
        let is_number = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
        match self {
            Self::Gateway | Self::Controller | Self::Identity => !value.is_empty(),
            Self::Log => true,
            Self::ControllerRoots => value == roots_file(),
            Self::Token => value == token_file(),
            Self::StateFile => value == state_file(),
            Self::DrainLinger | Self::DrainGrace => {
                value.strip_suffix("ms").or_else(|| value.strip_suffix('s')).is_some_and(is_number)
            }
            Self::AccessLog => ["none", "errors", "all"].contains(&value),
            Self::AccessLogSample | Self::SeriesLimit => is_number(value),
            Self::LogFormat => ["text", "json"].contains(&value),
        }
    }
}

/// The file with the roots that the proxy believes.
pub fn roots_file() -> String {
    format!("{ROOTS_DIRECTORY}/{ROOTS}")
}

/// The file with the proxy's token.
pub fn token_file() -> String {
    format!("{TOKEN_DIRECTORY}/token")
}

/// The file in which the proxy keeps its configuration, private keys included.
pub fn state_file() -> String {
    format!("{STATE_DIRECTORY}/state")
}

/// The volumes of the proxy with this service account.
pub fn volumes(service_account: &str) -> Vec<Volume> {
    let token = ServiceAccountTokenProjection {
        audience: Some(AUDIENCE.to_owned()),
        expiration_seconds: Some(TOKEN_SECONDS),
        path: "token".to_owned(),
    };
    vec![
        Volume {
            name: "roots".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: service_account.to_owned(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "token".to_owned(),
            projected: Some(ProjectedVolumeSource {
                sources: Some(vec![VolumeProjection {
                    service_account_token: Some(token),
                    ..VolumeProjection::default()
                }]),
                ..ProjectedVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "state".to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        },
    ]
}

/// Where the container has these volumes.
pub fn mounts() -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    vec![
        mount("roots", ROOTS_DIRECTORY, true),
        mount("token", TOKEN_DIRECTORY, true),
        mount("state", STATE_DIRECTORY, false),
    ]
}

/// Where the pod is, which Services that are to be reached near by ask for.
pub fn environment() -> Vec<EnvVar> {
    let from_pod = |name: &str, field: &str| {
        let field_ref =
            ObjectFieldSelector { field_path: field.to_owned(), ..ObjectFieldSelector::default() };
        let source = EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() };
        EnvVar { name: name.to_owned(), value_from: Some(source), value: None }
    };
    vec![
        from_pod("NODE_NAME", "spec.nodeName"),
        // The node's label, which Kubernetes writes on its pods from 1.35 on; empty where it does not.
        from_pod("NODE_ZONE", "metadata.labels['topology.kubernetes.io/zone']"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_one_that_provisioning_writes_or_none() {
        for (argument, flag) in [
            ("--controller=https://c:1", Some(Flag::Controller)),
            ("--state-file=/var/lib/fairway/state", Some(Flag::StateFile)),
            ("--drain-linger=1500ms", Some(Flag::DrainLinger)),
            ("--access-log-sample=9", Some(Flag::AccessLogSample)),
            ("--state-file=/var/lib/fairway/../../run/secrets/x/state", None),
            ("--state-file=/var/lib/fairway/state2", None),
            ("--controller-roots=/var/run/fairway.dev/roots/../../secrets/x/ca.crt", None),
            ("--token=/var/run/secrets/x/token", None),
            ("--drain-grace=s", None),
            ("--drain-grace=1h", None),
            ("--access-log=everything", None),
            ("--admin-address=0.0.0.0:15000", None),
            ("--state-file", None),
            ("state", None),
            ("--", None),
            ("", None),
        ] {
            assert_eq!(Flag::read(argument).map(|(flag, _)| flag), flag, "{argument}");
        }
    }
}
