//! A request of the container runtime: environment variables and a network configuration (CNI 1.1, section 2).

use super::response::{CniError, Code};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// The value of `CNI_COMMAND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Add a pod to the network.
    Add,
    /// Remove a pod from the network.
    Del,
    /// Check that a pod's network is as ADD has made it.
    Check,
    /// Report the supported versions.
    Version,
    /// Report whether pods can be added.
    Status,
    /// Remove everything except the listed attachments.
    Gc,
}

/// A request about a pod.
#[derive(Debug)]
pub struct Request {
    /// Path of the pod's network namespace. `None` if it no longer exists.
    pub netns: Option<PathBuf>,
    /// The pod, if the runtime acts for Kubernetes.
    pub pod: Option<PodName>,
    /// The network configuration from standard input.
    pub config: Config,
}

/// A pod, from `CNI_ARGS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    /// The value of `K8S_POD_NAMESPACE`.
    pub namespace: String,
    /// The value of `K8S_POD_NAME`.
    pub name: String,
    /// `K8S_POD_UID`, which every current runtime sets.
    pub uid: Option<String>,
}

/// The plugin's entry in the network configuration, and what the runtime adds to it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// The result of the previous plugins in the chain.
    #[serde(default)]
    pub prev_result: Option<Box<RawValue>>,
    /// Path of the credentials for the API server.
    #[serde(default)]
    pub credentials: PathBuf,
    /// Path of the tunnel's registration socket.
    #[serde(default)]
    pub socket: PathBuf,
    /// Namespaces whose pods pass without a question to the API server.
    #[serde(default)]
    pub exempt_namespaces: Vec<String>,
}

// === impl Command ===

impl Command {
    /// Parses the value of `CNI_COMMAND`.
    pub fn parse(text: &str) -> Result<Self, CniError> {
        Ok(match text {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "VERSION" => Self::Version,
            "STATUS" => Self::Status,
            "GC" => Self::Gc,
            other => {
                return Err(CniError::new(Code::Environment, format!("CNI_COMMAND `{other}` is not known")));
            }
        })
    }
}

// === impl Request ===

impl Request {
    /// Reads a request. Fails if `input` is not the expected JSON.
    pub fn read(environment: impl Fn(&str) -> Option<String>, input: &[u8]) -> Result<Self, CniError> {
        let config: Config = serde_json::from_slice(input).map_err(|error| {
            CniError::new(Code::Decode, format!("the network configuration is not understood: {error}"))
        })?;
        let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
        Ok(Self {
            netns: variable("CNI_NETNS").map(Into::into),
            pod: variable("CNI_ARGS").as_deref().and_then(PodName::read),
            config,
        })
    }

    /// The addresses that the previous plugins have assigned to the pod.
    pub fn addresses(&self) -> Vec<IpAddr> {
        #[derive(Deserialize)]
        struct Made {
            #[serde(default)]
            ips: Vec<Ip>,
        }
        #[derive(Deserialize)]
        struct Ip {
            address: String,
        }
        let made =
            self.config.prev_result.as_ref().and_then(|it| serde_json::from_str::<Made>(it.get()).ok());
        let ips = made.into_iter().flat_map(|it| it.ips);
        ips.filter_map(|it| it.address.split('/').next()?.parse().ok()).collect()
    }
}

// === impl PodName ===

impl PodName {
    /// Parses `CNI_ARGS`: `KEY=VALUE;…`. `None` if the runtime does not act for Kubernetes.
    fn read(arguments: &str) -> Option<Self> {
        let pairs: HashMap<&str, &str> = arguments.split(';').filter_map(|it| it.split_once('=')).collect();
        let get = |key: &str| pairs.get(key).filter(|it| !it.is_empty()).map(|it| (*it).to_owned());
        Some(Self {
            namespace: get("K8S_POD_NAMESPACE")?,
            name: get("K8S_POD_NAME")?,
            uid: get("K8S_POD_UID"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_and_its_addresses_are_read() {
        let environment = |name: &str| {
            Some(match name {
                "CNI_NETNS" => "/run/netns/cni-1".to_owned(),
                "CNI_ARGS" => {
                    "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;K8S_POD_UID=u-1".to_owned()
                }
                _ => return None,
            })
        };
        let input = br#"{"cniVersion":"1.0.0","name":"net","type":"fairway-cni","socket":"/run/s","exemptNamespaces":["kube-system"],
            "prevResult":{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.7/24","gateway":"10.0.0.1"},{"address":"fd00::7/64"}]}}"#;
        let request = Request::read(environment, input).unwrap();
        let uid = Some("u-1".to_owned());
        assert_eq!(request.pod, Some(PodName { namespace: "shop".into(), name: "web-1".into(), uid }));
        assert_eq!(request.addresses(), ["10.0.0.7".parse::<IpAddr>().unwrap(), "fd00::7".parse().unwrap()]);
        assert_eq!(request.config.exempt_namespaces, ["kube-system"]);

        let bare = Request::read(|_| None, br#"{"name":"net","type":"fairway-cni"}"#).unwrap();
        assert!(bare.pod.is_none() && bare.netns.is_none() && bare.addresses().is_empty());
        assert!(Request::read(|_| None, b"{").is_err());
    }
}
