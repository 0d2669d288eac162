//! The pods of the example: taken out of its YAML, given an address, written back as a cluster would show them running.

use anyhow::Context;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The node everything runs on.
pub const NODE: &str = "demo";

/// A pod as its manifest describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExamplePod {
    /// `metadata.namespace` of the pod.
    pub namespace: String,
    /// `metadata.name` of the pod.
    pub name: String,
    /// What the echo server in it is started with.
    pub arguments: Vec<String>,
    manifest: Value,
}

/// The example, taken apart.
#[derive(Debug)]
pub struct Example {
    /// The pods, in the order of the files.
    pub example_pods: Vec<ExamplePod>,
    /// Every file without its pods: path and text.
    pub files: Vec<(String, String)>,
}

// === impl ExamplePod ===

impl ExamplePod {
    /// A pod that a Gateway's or waypoint's proxy runs in, as the controller would make it.
    pub fn proxy(namespace: &str, gateway: &str, class: &str) -> Self {
        let name = format!("{gateway}-{class}");
        let manifest = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {
                    "gateway.networking.k8s.io/gateway-name": gateway,
                    "gateway.networking.k8s.io/gateway-class-name": class,
                },
            },
            "spec": {"serviceAccountName": name, "containers": [{"name": "proxy"}]},
        });
        Self { namespace: namespace.to_owned(), name, arguments: Vec::new(), manifest }
    }

    /// Another pod of the same kind: what differs is its name.
    pub fn replica(mut self, number: usize) -> Self {
        self.name = format!("{}-{number}", self.name);
        self.manifest["metadata"]["name"] = json!(self.name);
        self
    }

    /// The key that the demo finds the pod by: `<namespace>/<name>`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The uid a cluster would have given it.
    pub fn uid(&self) -> String {
        format!("demo-{}-{}", self.namespace, self.name)
    }

    /// The manifest of the running pod.
    pub fn running(&self, address: Ipv4Addr) -> String {
        self.manifest(address, "True")
    }

    /// The manifest of the pod while its containers start: it has an address, and is not ready.
    pub fn starting(&self, address: Ipv4Addr) -> String {
        self.manifest(address, "False")
    }

    fn manifest(&self, address: Ipv4Addr, ready: &str) -> String {
        let mut pod = self.manifest.clone();
        pod["metadata"]["uid"] = json!(self.uid());
        pod["spec"]["nodeName"] = json!(NODE);
        pod["status"] = json!({
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "hostIP": address,
            "conditions": [{"type": "Ready", "status": ready}],
        });
        // JSON is YAML; nobody edits this one by hand.
        format!("{pod:#}\n")
    }
}

// === impl Example ===

impl Example {
    /// Takes the pods out of the files.
    pub fn read(files: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut example = Self { example_pods: Vec::new(), files: Vec::new() };
        for (path, text) in files {
            let mut rest = Vec::new();
            for document in documents(text) {
                let value: Value =
                    serde_saphyr::from_str(document).with_context(|| format!("read {path}"))?;
                if value["kind"] == "Pod" {
                    example
                        .example_pods
                        .push(read_pod(value).with_context(|| format!("read a Pod of {path}"))?);
                } else {
                    rest.push(document);
                }
            }
            if !rest.is_empty() {
                example.files.push(((*path).to_owned(), rest.join("\n---\n")));
            }
        }
        Ok(example)
    }

    /// Gives each pod an address, in the order of the files, counting from the one given.
    pub fn addresses(&self, first: Ipv4Addr) -> BTreeMap<String, Ipv4Addr> {
        let from = u32::from(first);
        self.example_pods
            .iter()
            .zip(from..)
            .map(|(example_pod, address)| (example_pod.key(), address.into()))
            .collect()
    }
}

fn documents(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n---\n").map(|document| document.strip_prefix("---\n").unwrap_or(document)).filter(
        |document| {
            document.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        },
    )
}

fn read_pod(manifest: Value) -> anyhow::Result<ExamplePod> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let arguments = manifest["spec"]["containers"][0]["args"].as_array().cloned().unwrap_or_default();
    Ok(ExamplePod {
        namespace: text(&manifest["metadata"]["namespace"]).context("metadata.namespace is missing")?,
        name: text(&manifest["metadata"]["name"]).context("metadata.name is missing")?,
        arguments: arguments.iter().filter_map(text).collect(),
        manifest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::bookshop;

    #[test]
    fn the_bookshop_gives_its_pods_and_keeps_everything_else() {
        let example = Example::read(bookshop::FILES).unwrap();
        let reader =
            example.example_pods.iter().find(|example_pod| example_pod.key() == "bookshop/reader").unwrap();
        assert_eq!(reader.arguments, ["--http=8080"]);
        let all: String = example.files.iter().map(|(_, text)| text.as_str()).collect();
        assert!(
            !all.contains("kind: Pod") && all.contains("kind: HTTPRoute") && all.contains("kind: Secret")
        );
        let written = |text: &str| text.lines().filter(|line| *line == "---").count() + 1;
        for (path, text) in &example.files {
            assert_eq!(documents(text).count(), written(text), "{path}");
        }
    }

    #[test]
    fn a_running_pod_has_an_address_and_is_ready() {
        let example = Example::read(bookshop::FILES).unwrap();
        let addresses = example.addresses([10, 77, 1, 1].into());
        let first = example.example_pods.first().unwrap();
        let pod: Value = serde_saphyr::from_str(&first.running(addresses[&first.key()])).unwrap();
        assert_eq!(pod["status"]["podIP"], "10.77.1.1");
        assert_eq!(pod["status"]["conditions"][0]["status"], "True");
    }
}
