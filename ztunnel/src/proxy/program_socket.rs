//! The tunnel's sockets to the programs in its pods: bounds on what the kernel keeps for them.
//!
//! These connections stay inside one pod, where a loopback has segments of 64 KiB. Left alone, the kernel lets the tunnel's receive buffer
//! grow by sixteen segments at the first read, so that a program that writes to a reader that stopped leaves a megabyte there, and the
//! tunnel's send buffer to four megabytes for a program that does not read. A thousand of them would use up what TCP of the whole node may
//! have (`net.ipv4.tcp_mem`). The program's own send buffer is the program's.

use bytes::Bytes;
use fairway_hbone::copy::{ByteStream, Plain, ReadBuffer};
use fairway_netns::socket;
use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};
use tokio::net::TcpStream;

/// The longest segment that a program announces room for and sends, in bytes. A kernel sizes a send buffer by segments: for each it takes
/// the power of two that holds one of this length and its records of some 500 bytes: 2 KiB, and with segments of 7 KiB four times as much.
/// A loopback carries many segments at once, so that short ones cost nothing.
const SEGMENT: u32 = 1400;

/// What a connection begins with, in bytes: what may wait for the tunnel to read it (the kernel takes twice as much for its own records),
/// and what may wait in the tunnel's kernel for a program to read, beside what the program's own receive buffer holds. A program's send
/// buffer grows by what is acknowledged before its reader turns out not to read.
///
/// It is there before the connection is opened, and never made smaller. What was announced to the program may come, and a kernel with
/// less room than it announced drops it: the program sends it again after 200 ms.
const FIRST: Bounds = Bounds { unread: 64 << 10, unsent: 32 << 10 };

/// What it gets once so much was moved that somebody must be reading.
const PROVEN: Bounds = Bounds { unread: 192 << 10, unsent: 192 << 10 };

struct Bounds {
    unread: usize,
    unsent: u32,
}

/// More than all buffers and windows on the way to a reader keep that never reads, in bytes.
const KEPT_ON_THE_WAY: u64 = 512 << 10;

/// Before a socket connects to a program, or when it listens for one: what is connected takes it from there. Without the bounds it
/// works as well.
pub(super) fn bound(socket: &impl AsFd) {
    note(socket::bound_segments(socket, SEGMENT));
    note(socket::bound_receive_buffer(socket, FIRST.unread));
    note(socket::bound_unsent(socket, FIRST.unsent));
}

fn note(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "what the kernel keeps for a pod's program cannot be bounded");
    }
}

/// A connection to a program, for the copy to and from a tunnel.
pub(super) struct Program {
    io: Plain<TcpStream>,
    /// Bytes that the program has sent and been sent.
    read: u64,
    written: u64,
}

impl Program {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { io: Plain(stream), read: 0, written: 0 }
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.io.0
    }
}

/// Adds what was moved; whether it is now known that somebody reads.
fn proves_reading(moved: &mut u64, bytes: usize) -> bool {
    let before = *moved;
    *moved += bytes as u64;
    before < KEPT_ON_THE_WAY && *moved >= KEPT_ON_THE_WAY
}

impl ByteStream for Program {
    fn poll_read_bytes(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuffer) -> Poll<io::Result<Bytes>> {
        let bytes = ready!(self.io.poll_read_bytes(cx, buffer))?;
        if proves_reading(&mut self.read, bytes.len()) {
            note(socket::bound_receive_buffer(&self.io.0, PROVEN.unread));
        }
        Poll::Ready(Ok(bytes))
    }

    fn wait_for_more(&mut self, room: impl FnOnce() -> Option<u32>) {
        self.io.wait_for_more(room);
    }

    fn reader_room(&self) -> Option<u32> {
        socket::room_of_peer(&self.io.0)
    }

    fn poll_write_bytes(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<usize>> {
        let written = ready!(self.io.poll_write_bytes(cx, bytes))?;
        if proves_reading(&mut self.written, written) {
            note(socket::bound_unsent(&self.io.0, PROVEN.unsent));
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_shutdown(cx)
    }

    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.io.poll_broken(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// What the kernel has for a socket: for bytes that were not read, and for bytes that were not sent.
    fn room(program: &Program) -> (usize, u32) {
        room_at(&program.io.0)
    }

    fn room_at(stream: &TcpStream) -> (usize, u32) {
        let socket = SockRef::from(stream);
        (socket.recv_buffer_size().unwrap(), socket.tcp_notsent_lowat().unwrap())
    }

    #[tokio::test]
    async fn a_connection_has_little_room_until_more_has_passed_than_is_kept_on_the_way() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        bound(&listener);
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let accepted = listener.accept().await.unwrap().0;
        assert_eq!(
            room_at(&accepted),
            (2 * FIRST.unread, FIRST.unsent),
            "before the program is told of more"
        );
        let mut program = Program::new(accepted);
        assert_eq!(room(&program), (2 * FIRST.unread, FIRST.unsent));
        let pieces = usize::try_from(KEPT_ON_THE_WAY).unwrap() / (16 << 10);
        let (mut buffer, mut read) = (ReadBuffer::default(), 0);
        for piece in 1..=pieces {
            far.write_all(&[0; 16 << 10]).await.unwrap();
            while read < piece * (16 << 10) {
                assert_eq!(room(&program).0, 2 * FIRST.unread, "{read}");
                read += poll_fn(|cx| program.poll_read_bytes(cx, &mut buffer)).await.unwrap().len();
            }
        }
        assert_eq!(room(&program), (2 * PROVEN.unread, FIRST.unsent), "each direction by itself");
        for _ in 0..pieces {
            assert_eq!(room(&program).1, FIRST.unsent);
            let mut piece = Bytes::from_static(&[0; 16 << 10]);
            while !piece.is_empty() {
                poll_fn(|cx| program.poll_write_bytes(cx, &mut piece)).await.unwrap();
            }
            far.read_exact(&mut [0; 16 << 10]).await.unwrap();
        }
        assert_eq!(room(&program), (2 * PROVEN.unread, PROVEN.unsent));
    }
}
