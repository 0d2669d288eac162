//! The endpoint: answers whatever comes with the same few bytes, and allocates nothing for a request.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 6\r\ncache-control: no-store\r\n\r\nhello\n";
/// How the head of a request with a body says so, see [`super::script::BODY`].
const HAS_BODY: &[u8] = b"content-length: 1024\r\n";

/// Answers every request of a connection with the same response, until the proxy closes it.
pub async fn serve(mut stream: DuplexStream) {
    let mut buffer = vec![0; 16 * 1024];
    let mut filled = 0;
    loop {
        let Some(rest) = buffer.get_mut(filled..) else { return };
        match stream.read(rest).await {
            Ok(read) if read > 0 => filled += read,
            _ => return,
        }
        let seen = buffer.get(..filled).unwrap_or_default();
        let Some(head) = find(seen, b"\r\n\r\n") else { continue };
        let body = if find(&seen[..head + 2], HAS_BODY).is_some() { super::script::BODY } else { 0 };
        if filled < head + 4 + body {
            continue;
        }
        filled = 0;
        if stream.write_all(RESPONSE).await.is_err() {
            return;
        }
    }
}

/// The offset at which `needle` first stands; it must not be empty.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
