//! Messages with their length before them.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest request: a few names and a path.
pub(super) const REQUEST_LIMIT: usize = 16 << 10;
/// The longest reply: a list of every pod a node can have.
pub(super) const REPLY_LIMIT: usize = 1 << 20;

/// The next message; none at the end of the stream.
pub(super) async fn read<R: AsyncRead + Unpin>(from: &mut R, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let length = match from.read_u32().await {
        Ok(length) => length as usize,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > limit {
        let message = format!("a message of {length} bytes, where {limit} are the limit");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut message = vec![0; length];
    from.read_exact(&mut message).await?;
    Ok(Some(message))
}

pub(super) async fn write<W: AsyncWrite + Unpin>(to: &mut W, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut frame = Vec::with_capacity(4 + message.len());
    frame.extend(length.to_be_bytes());
    frame.extend(message);
    to.write_all(&frame).await
}
