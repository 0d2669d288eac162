//! Ids that lines of several proxies have in common: of requests, and of connections.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// The header that carries a request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is kept as it came.
const LONGEST: usize = 64;
/// The length of a UUID's text.
const UUID: usize = 36;
/// Ids that share one allocation.
const BLOCK: usize = 32;

/// Whether an id that came with a request is kept.
///
/// ```
/// use fairway_telemetry::{Ids, REQUEST_ID, Trust};
/// use http::{HeaderMap, HeaderValue};
///
/// let mut ids = Ids::new();
/// let mut headers = HeaderMap::new();
/// headers.insert(REQUEST_ID, HeaderValue::from_static("one"));
/// ids.identify(&mut headers, Trust::Keep);
/// assert_eq!(headers[REQUEST_ID], "one");
///
/// // Two ids are none, even from the mesh: which of them is meant cannot be told.
/// headers.append(REQUEST_ID, HeaderValue::from_static("two"));
/// ids.identify(&mut headers, Trust::Keep);
/// assert_eq!(headers.get_all(REQUEST_ID).iter().count(), 1);
/// assert_ne!(headers[REQUEST_ID], "one");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The client proved an identity of the mesh: its id is kept if it is a token of at most 64 characters.
    Keep,
    /// Anybody else: a new id replaces what came, as at an edge of Envoy. Otherwise a client could give its request the id
    /// of another one's.
    Replace,
}

/// The number of a connection. Drawn at random, so that the lines of several proxies can be put together.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(u64);

/// Makes ids for one worker. They cannot be guessed from those that were seen.
#[derive(Debug)]
pub struct Ids {
    rng: StdRng,
    /// UUIDs that were not given out yet, back to back.
    block: Bytes,
}

// === impl Ids ===

impl Ids {
    /// Seeded by the operating system.
    pub fn new() -> Self {
        Self { rng: StdRng::from_os_rng(), block: Bytes::new() }
    }

    /// Gives a request its id: the one that it has, if that is trusted, or a new one.
    pub fn identify(&mut self, headers: &mut HeaderMap, trust: Trust) {
        if trust == Trust::Keep && is_identified(headers) {
            return;
        }
        headers.insert(REQUEST_ID, self.request());
    }

    /// The same, with new ids that sort by their time: UUIDs of version 7.
    pub fn identify_in_time(&mut self, headers: &mut HeaderMap, trust: Trust, now: SystemTime) {
        if trust == Trust::Keep && is_identified(headers) {
            return;
        }
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut octets = [0; 16];
        self.rng.fill_bytes(&mut octets);
        // 48 bits of milliseconds last for 8,900 years.
        let [_, _, time @ ..] = u64::try_from(since.as_millis()).unwrap_or(u64::MAX).to_be_bytes();
        octets[..6].copy_from_slice(&time);
        let id = Bytes::copy_from_slice(&uuid_text(octets, 7));
        let id = HeaderValue::from_maybe_shared(id).unwrap_or(HeaderValue::from_static("invalid"));
        headers.insert(REQUEST_ID, id);
    }

    /// The number of a new connection.
    pub fn connection(&mut self) -> ConnectionId {
        ConnectionId(self.rng.next_u64())
    }

    /// A UUID of version 4 (RFC 9562 §5.4).
    fn request(&mut self) -> HeaderValue {
        if self.block.len() < UUID {
            self.block = self.draw_block();
        }
        let id = self.block.split_to(UUID);
        // Digits and dashes are good for a header.
        HeaderValue::from_maybe_shared(id).unwrap_or(HeaderValue::from_static("invalid"))
    }

    fn draw_block(&mut self) -> Bytes {
        let mut random = [[0; 16]; BLOCK];
        self.rng.fill_bytes(random.as_flattened_mut());
        Bytes::from(random.map(|it| uuid_text(it, 4)).as_flattened().to_vec())
    }
}

/// The UUID of this version with these bits.
fn uuid_text(mut random: [u8; 16], version: u8) -> [u8; UUID] {
    /// Where the two digits of each byte stand, between the dashes.
    const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    random[6] = (random[6] & 0x0f) | version << 4;
    random[8] = (random[8] & 0x3f) | 0x80;
    let mut text = [b'-'; UUID];
    for (byte, place) in random.into_iter().zip(PLACES) {
        text[place] = DIGITS[usize::from(byte >> 4)];
        text[place + 1] = DIGITS[usize::from(byte & 0x0f)];
    }
    text
}

impl Default for Ids {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether there is one id that can be kept.
fn is_identified(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(&REQUEST_ID).iter();
    matches!((all.next(), all.next()), (Some(only), None) if is_token(only.as_bytes()))
}

/// Whether it is one word that no log and no header has to escape.
fn is_token(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}

// === impl ConnectionId ===

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn identified(came: &[&str], trust: Trust) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for id in came {
            headers.append(REQUEST_ID, HeaderValue::from_str(id).unwrap());
        }
        Ids::new().identify(&mut headers, trust);
        headers.get_all(REQUEST_ID).iter().map(|it| it.to_str().unwrap().to_owned()).collect()
    }

    fn is_uuid_v4(id: &str) -> bool {
        let parts: Vec<_> = id.split('-').collect();
        parts.iter().map(|it| it.len()).eq([8, 4, 4, 4, 12])
            && id.bytes().all(|it| it == b'-' || it.is_ascii_digit() || (b'a'..=b'f').contains(&it))
            && parts[2].starts_with('4')
            && parts[3].starts_with(['8', '9', 'a', 'b'])
    }

    #[test]
    fn ids_in_time_are_of_version_7_and_sort_by_their_time() {
        let at = |millis| UNIX_EPOCH + std::time::Duration::from_millis(millis);
        let mut ids = Ids::new();
        let mut made: Vec<String> = Vec::new();
        for millis in [0, 1, 255, 256, 1_780_000_000_000, 1_780_000_000_001] {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_static("mine"));
            ids.identify_in_time(&mut headers, Trust::Keep, at(millis));
            assert_eq!(headers[REQUEST_ID], "mine");
            ids.identify_in_time(&mut headers, Trust::Replace, at(millis));
            made.push(headers[REQUEST_ID].to_str().unwrap().to_owned());
        }
        assert!(made.is_sorted(), "{made:?}");
        assert!(made[4].starts_with("019e7044-8800-7"), "{}", made[4]);
        for id in &made {
            assert!(id.len() == UUID && &id[14..15] == "7" && "89ab".contains(&id[19..20]), "{id}");
        }
    }

    #[test]
    fn a_peers_id_is_kept_if_it_is_one_short_word() {
        let longest = "a".repeat(64);
        for kept in ["7", "b2c1a9e0-6c1f-4f0e-9d5e-0a1b2c3d4e5f", "trace_1.2~3", &longest] {
            assert_eq!(identified(&[kept], Trust::Keep), [kept]);
        }
        let too_long = "a".repeat(65);
        let replaced: [&[&str]; 6] = [&[], &[""], &["two words"], &["a\"b"], &[&too_long], &["a", "b"]];
        for came in replaced {
            let now = identified(came, Trust::Keep);
            assert!(matches!(&now[..], [id] if is_uuid_v4(id)), "{now:?} for {came:?}");
        }
    }

    #[test]
    fn an_id_from_outside_the_mesh_is_replaced() {
        for came in [&["b2c1a9e0-6c1f-4f0e-9d5e-0a1b2c3d4e5f"][..], &["7", "8"], &[]] {
            let now = identified(came, Trust::Replace);
            assert!(
                matches!(&now[..], [id] if is_uuid_v4(id) && !came.contains(&&**id)),
                "{now:?} for {came:?}"
            );
        }
    }

    #[test]
    fn an_id_has_the_text_of_its_bits() {
        assert_eq!(uuid_text([0; 16], 4), *b"00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid_text([0xff; 16], 4), *b"ffffffff-ffff-4fff-bfff-ffffffffffff");
        let bits = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128;
        assert_eq!(uuid_text(bits.to_be_bytes(), 4), *b"01234567-89ab-4def-8123-456789abcdef");
    }

    #[test]
    fn no_two_requests_have_one_id() {
        let mut ids = Ids::new();
        let made: HashSet<_> = (0..10_000).map(|_| ids.request()).collect();
        assert_eq!(made.len(), 10_000);
        assert!(made.iter().all(|it| is_uuid_v4(it.to_str().unwrap())));
    }
}
