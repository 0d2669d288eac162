//! What a container runtime asks of a CNI plugin: variables of the environment, and a configuration (CNI 1.1, section 2).

use super::outcome::{Code, Failure};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// A pod gets its network.
    Add,
    /// It loses it.
    Del,
    /// Is its network as it should be?
    Check,
    /// Which versions are spoken?
    Version,
    /// Can pods be added?
    Status,
    /// These attachments are all there are.
    Gc,
}

/// A request about a pod.
#[derive(Debug)]
pub struct Request {
    /// The pod's network namespace; none if it is gone already.
    pub netns: Option<PathBuf>,
    /// The pod, if Kubernetes asks.
    pub pod: Option<PodName>,
    /// The configuration.
    pub config: Config,
}

/// A pod, as Kubernetes names it to the plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid, which every current runtime gives.
    pub uid: Option<String>,
}

/// The plugin's part of the configuration, and what the runtime adds.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// What the plugins before have made.
    #[serde(default)]
    pub prev_result: Option<Box<RawValue>>,
    /// Where the credentials for the API server are.
    #[serde(default)]
    pub credentials: PathBuf,
    /// The socket of the node's tunnel.
    #[serde(default)]
    pub socket: PathBuf,
    /// Namespaces whose pods are let pass unseen.
    #[serde(default)]
    pub exempt_namespaces: Vec<String>,
}

// === impl Command ===

impl Command {
    /// Reads CNI_COMMAND.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        Ok(match text {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "VERSION" => Self::Version,
            "STATUS" => Self::Status,
            "GC" => Self::Gc,
            other => {
                return Err(Failure::new(Code::Environment, format!("CNI_COMMAND `{other}` is not known")));
            }
        })
    }
}

// === impl Request ===

impl Request {
    /// Reads it.
    pub fn read(environment: impl Fn(&str) -> Option<String>, input: &[u8]) -> Result<Self, Failure> {
        let config: Config = serde_json::from_slice(input).map_err(|error| {
            Failure::new(Code::Decode, format!("the configuration is not understood: {error}"))
        })?;
        let given = |name: &str| environment(name).filter(|it| !it.is_empty());
        Ok(Self {
            netns: given("CNI_NETNS").map(Into::into),
            pod: given("CNI_ARGS").as_deref().and_then(PodName::read),
            config,
        })
    }

    /// The addresses that the plugins before have given the pod.
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
    /// Reads CNI_ARGS: `KEY=VALUE;…`. None if it is not Kubernetes that asks.
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
