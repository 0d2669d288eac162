//! The node tunnel: captures pods and carries their TCP over mTLS.
#![forbid(unsafe_code)]
