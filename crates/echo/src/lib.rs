//! An echo server (HTTP/1.1, h2c, gRPC, WebSocket, raw TCP) that names its pod, the request and the peer it saw.
#![forbid(unsafe_code)]
