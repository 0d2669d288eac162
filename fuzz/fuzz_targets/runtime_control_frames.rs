//! HTTP/2 frames as they are counted: the verdict does not depend on where reads end, a peer that sends only requests and
//! bodies is never refused, and nothing panics.
#![no_main]

use fairway_runtime::http2::{ControlFrames, FrameHeads};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use tokio::time::Instant;

static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How many bytes it takes until the peer is refused; none if it is not.
fn refused(bytes: &[u8], step: usize) -> Option<usize> {
    let mut frames = ControlFrames::of_client(*NOW);
    let mut seen = 0;
    for piece in bytes.chunks(step.max(1)) {
        seen += piece.len();
        if frames.received(piece, || *NOW).is_err() {
            return Some(seen);
        }
    }
    None
}

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (step, times, bytes) = input;
    // Floods are what it is about.
    let flood: Vec<u8> = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
        .into_iter()
        .flatten()
        .copied()
        .chain(bytes.iter().copied().cycle().take(bytes.len() * usize::from(times)))
        .collect();
    let step = usize::from(step).max(1);
    let (byte, piece) = (refused(&flood, 1), refused(&flood, step));
    assert_eq!(byte.is_some(), piece.is_some());
    if let (Some(byte), Some(piece)) = (byte, piece) {
        assert!(byte <= piece && piece < byte + step);
    }
    let (mut heads, mut costs) = (FrameHeads::of_client(), 0);
    heads.watch(&flood, |head| {
        costs += u32::from(!matches!(head.kind, 0 | 1 | 9) || head.kind == 0 && head.length <= 256)
    });
    if costs == 0 {
        assert_eq!(piece, None);
    }
});
