//! Compiles the protobuf files with protox, so that nobody has to install protoc.

const FILES: [&str; 12] = [
    "authorization",
    "backend",
    "certificate",
    "l4route",
    "listener",
    "matching",
    "resource",
    "route",
    "service",
    "stream",
    "trust",
    "workload",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut files = FILES.map(|name| format!("proto/fairway/config/v1/{name}.proto")).to_vec();
    files.push("proto/fairway/node/v1/capture.proto".to_owned());
    let descriptors = protox::compile(files, ["proto"])?;
    // `Bytes`: a resource is encoded once and shared by every message that carries it.
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
