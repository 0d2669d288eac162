//! Length-prefixed messages with file descriptors.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

/// Bytes of the longest request: a few names, addresses and a path.
pub(crate) const REQUEST_LIMIT: usize = 16 << 10;
/// Bytes of the longest reply: a list of every pod that a node can have.
pub(crate) const REPLY_LIMIT: usize = 1 << 20;
/// Descriptors that one message can carry: a network namespace and three sockets.
const DESCRIPTORS: usize = 4;

/// A message and the descriptors that came with it.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) message: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Reads the next message. `None` at the end of the stream. Fails if the message is longer than `limit` bytes.
pub(crate) async fn read(from: &mut UnixStream, limit: usize) -> io::Result<Option<Frame>> {
    let (mut length, mut filled, mut descriptors) = ([0; 4], 0, Vec::new());
    while filled < length.len() {
        let rest = length.get_mut(filled..).unwrap_or_default();
        // The kernel delivers descriptors with the byte that they were sent with: the first of the length.
        let got = from.async_io(Interest::READABLE, || receive(from.as_fd(), rest, &mut descriptors)).await?;
        match got {
            0 if filled == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            got => filled += got,
        }
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > limit {
        let message = format!("a message has {length} bytes, and the limit is {limit}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut message = vec![0; length];
    from.read_exact(&mut message).await?;
    Ok(Some(Frame { message, descriptors }))
}

pub(crate) async fn write(
    to: &mut UnixStream,
    message: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut frame = Vec::with_capacity(4 + message.len());
    frame.extend(length.to_be_bytes());
    frame.extend(message);
    let sent = to.async_io(Interest::WRITABLE, || send(to.as_fd(), &frame, descriptors)).await?;
    to.write_all(frame.get(sent..).unwrap_or_default()).await
}

fn receive(from: BorrowedFd<'_>, bytes: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(from, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(found) = message {
            descriptors.extend(found);
        }
    }
    Ok(got.bytes)
}

fn send(to: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let too_many =
        || io::Error::new(io::ErrorKind::InvalidInput, "more descriptors than one message can carry");
    // The kernel rounds the space up, so it may hold one descriptor more than the reader has room for.
    if descriptors.len() > DESCRIPTORS {
        return Err(too_many());
    }
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(too_many());
    }
    Ok(sendmsg(to, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn descriptors_arrive_with_their_message_and_no_other() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        write(&mut here, b"plain", &[]).await.unwrap();
        write(&mut here, b"with a pipe", &[writer.as_fd()]).await.unwrap();
        write(&mut here, b"", &[]).await.unwrap();
        drop((here, writer));

        let plain = read(&mut there, 100).await.unwrap().unwrap();
        assert_eq!((&*plain.message, plain.descriptors.len()), (&b"plain"[..], 0));
        let with = read(&mut there, 100).await.unwrap().unwrap();
        assert_eq!((&*with.message, with.descriptors.len()), (&b"with a pipe"[..], 1));
        rustix::io::write(&with.descriptors[0], b"x").unwrap();
        assert_eq!(rustix::io::read(&reader, &mut [0u8; 4]).unwrap(), 1);
        let empty = read(&mut there, 100).await.unwrap().unwrap();
        assert_eq!((&*empty.message, empty.descriptors.len()), (&b""[..], 0));
        assert!(read(&mut there, 100).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_message_beyond_the_limit_is_refused() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        write(&mut here, &[b'x'; 101], &[]).await.unwrap();
        assert_eq!(read(&mut there, 100).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(write(&mut there, b"x", &[here.as_fd(); 5]).await.is_err());
    }
}
