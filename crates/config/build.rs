//! Compiles the protobuf files with protox, so that nobody has to install protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut files = Vec::new();
    for folder in ["proto/fairway/config/v1", "proto/fairway/node/v1"] {
        for entry in std::fs::read_dir(folder)? {
            files.push(entry?.path());
        }
    }
    // The order of a folder differs from machine to machine; what is generated must not.
    files.sort();
    let descriptors = protox::compile(files, ["proto"])?;
    // `Bytes`: a resource is encoded once and shared by every message that carries it.
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
