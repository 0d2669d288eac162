//! `fairway explain`: what becomes of one request, and why. It asks the decisions of the tunnels and of the proxies themselves, on the
//! configurations that they would be sent.

mod destination;
mod journey;
mod report;
mod scene;

use fairway_config::model::{ObjectName, WorkloadKey};
use fairway_controller::check::Compiled;
use fairway_controller::check::cluster::{Access, NoCluster, compile_snapshot, read};
use fairway_controller::compile::AddressPool;
use fairway_controller::pipeline::Rules;
use fairway_identity::TrustDomain;
use http::{HeaderName, HeaderValue, Method, Uri};
use scene::Scene;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::sync::watch;

/// Says what becomes of a request: by which way it goes, which rule takes it, who refuses it, and why
///
/// It follows a request of a pod, or of an address outside the mesh: whether the pod is captured, its identity, its tunnel, the
/// waypoint or the Gateway, listener, route, rule, stages, policies, backend, endpoints, and what the tunnels of these say. Rules that
/// lose are named with the reason. Nothing is sent.
///
/// With -f it takes a directory of Kubernetes YAML and needs no cluster. Without, it reads the cluster that kubectl talks to, with your
/// rights, and compiles what it reads as the controller there does.
///
/// Ends with 0 if the request reaches an endpoint or a stage answers it, with 3 if a policy refuses it, with 4 if it has no route,
/// no endpoint or another error, and with 1 if it cannot be explained.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  fairway explain -f DIR --from shop/web-1 --to http://reviews.shop/stars
  fairway explain --from shop/web-1 --to http://reviews.shop/stars -X POST -H 'x-tenant: a'
  fairway explain --from 203.0.113.7 --to https://shop.example/cart --gateway edge/public
  fairway explain -f DIR --from shop/web-1 --to http://reviews.shop/ --output json")]
pub struct Arguments {
    /// Who asks: NAMESPACE/POD, or the ADDRESS of a client outside the mesh
    #[arg(long, value_name = "NAMESPACE/POD")]
    from: Asker,
    /// What is asked for: http:// or https://, a Service (NAME, NAME.NAMESPACE, …), a hostname of a listener, or an address
    #[arg(long, value_name = "URL")]
    to: Uri,
    /// The method of the request
    #[arg(short = 'X', long = "request", value_name = "METHOD", default_value = "GET")]
    method: Method,
    /// A header of the request; more than once
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The Gateway that is asked, where several have a listener for the hostname
    #[arg(long, value_name = "NAMESPACE/GATEWAY", value_parser = object_name)]
    gateway: Option<ObjectName>,
    /// A directory of Kubernetes YAML; without one, the cluster is read
    #[arg(short = 'f', long, value_name = "DIR")]
    filename: Option<PathBuf>,
    /// For people, or for machines
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    /// Which cluster: a context of the kubeconfig
    #[arg(long, value_name = "NAME", conflicts_with = "filename")]
    context: Option<String>,
    /// Which kubeconfig, instead of KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE", conflicts_with = "filename")]
    kubeconfig: Option<PathBuf>,
    /// The domain of the mesh's identities, for a directory; a cluster says its own
    #[arg(long, default_value = "cluster.local")]
    trust_domain: TrustDomain,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Who sends the request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asker {
    /// A pod, by its namespace and name.
    Pod(WorkloadKey),
    /// A client outside the mesh.
    Address(IpAddr),
}

/// A request, as it was described.
#[derive(Clone, Debug)]
struct Asked {
    from: Asker,
    to: Uri,
    method: Method,
    headers: Vec<(HeaderName, HeaderValue)>,
    gateway: Option<ObjectName>,
}

/// Explains one request and prints the explanation.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { from, to, method, headers, gateway, filename, output, .. } = arguments;
    let compiled = match filename {
        Some(directory) => {
            // As in a cluster: the pods of labelled namespaces are captured.
            let services: AddressPool = "10.96.0.0/16".parse()?;
            let Rules { compile, completion } = Rules::captured(arguments.trust_domain, services);
            Compiled::of_directory(&directory, compile, completion)?
        }
        None => {
            let access = Access { kubeconfig: arguments.kubeconfig, context: arguments.context };
            let (step, _steps) = watch::channel("");
            compile_snapshot(&read(access, &step).await.map_err(with_remedy)?)?
        }
    };
    let asked = Asked { from, to, method, headers, gateway };
    let report = journey::explain(&Scene::new(&compiled), &asked)?;
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Output::Text => print!("{report}"),
    }
    Ok(report.verdict.exit_code())
}

fn with_remedy(error: NoCluster) -> anyhow::Error {
    anyhow::anyhow!(
        "no cluster could be read: {error}; give -f with the directory of your YAML, or --kubeconfig"
    )
}

impl std::str::FromStr for Asker {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        match text.split_once('/') {
            Some((namespace, pod)) if !namespace.is_empty() && !pod.is_empty() && !pod.contains('/') => {
                Ok(Self::Pod(text.into()))
            }
            _ => Err("write NAMESPACE/POD, or the address of a client outside the mesh".to_owned()),
        }
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let parsed = text.split_once(':').and_then(|(name, value)| {
        Some((HeaderName::try_from(name.trim()).ok()?, HeaderValue::try_from(value.trim()).ok()?))
    });
    parsed.ok_or_else(|| "write NAME: VALUE".to_owned())
}

fn object_name(text: &str) -> Result<ObjectName, String> {
    let (namespace, name) = text.split_once('/').ok_or_else(|| "write NAMESPACE/NAME".to_owned())?;
    Ok(ObjectName::new(namespace, name))
}
