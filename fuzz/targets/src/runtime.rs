//! HTTP/2 frames as they are counted, before h2 sees them.

use fairway_runtime::http2::{ControlFrames, FrameHeads};
use std::sync::LazyLock;
use tokio::time::Instant;

static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The verdict does not depend on where reads end, and a peer that sends only requests and bodies is never refused.
///
/// The input: the length of reads, how often what follows is said, and frames. Floods are what it is about.
pub fn control_frames(input: &[u8]) {
    let [step, times, bytes @ ..] = input else { return };
    let flood: Vec<u8> = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
        .into_iter()
        .flatten()
        .copied()
        .chain(bytes.iter().copied().cycle().take(bytes.len() * usize::from(*times)))
        .collect();
    let step = usize::from(*step).max(1);
    let (byte, piece) = (refused(&flood, 1), refused(&flood, step));
    assert_eq!(byte.is_some(), piece.is_some());
    if let (Some(byte), Some(piece)) = (byte, piece) {
        assert!(byte <= piece && piece < byte + step);
    }
    let (mut heads, mut costs) = (FrameHeads::of_client(), 0);
    heads.watch(&flood, |head| {
        costs += u32::from(!matches!(head.kind, 0 | 1 | 9) || head.kind == 0 && head.length <= 256);
    });
    if costs == 0 {
        assert_eq!(piece, None);
    }
}

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
