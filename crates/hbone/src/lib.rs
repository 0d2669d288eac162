//! The tunnel protocol HBONE: client, server, pool and byte copying.
#![forbid(unsafe_code)]
