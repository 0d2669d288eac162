//! Network namespaces: entering them, capture rules, original destinations, transparent sockets.
#![forbid(unsafe_code)]
