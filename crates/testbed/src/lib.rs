//! Pods out of network namespaces joined by a bridge, for the demo and the end-to-end tests.
#![forbid(unsafe_code)]
