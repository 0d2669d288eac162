//! What a node's tunnel tells the controller of the pods it captures.
#![allow(missing_docs, unused_qualifications, clippy::all)]

tonic::include_proto!("fairway.node.v1");
