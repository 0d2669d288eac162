//! The messages, as generated from `proto/`.
#![allow(missing_docs, unused_qualifications, clippy::all)]

tonic::include_proto!("fairway.config.v1");
