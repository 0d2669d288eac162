//! What tells clients apart: a hash of parts of a request.

use ahash::RandomState;
use fairway_config::model::{LimitKeyPart, SpiffeId};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU64;

/// What tells a client apart, as a hash that nobody outside can foresee. Two clients with one hash are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientKey(NonZeroU64);

/// Who asks, as far as limits tell clients apart.
#[derive(Clone, Copy, Debug)]
pub struct Who<'r> {
    /// The address of the client; none if it is not known.
    pub address: Option<IpAddr>,
    /// The identity that it has proved.
    pub identity: Option<&'r SpiffeId>,
    /// The headers of the request.
    pub headers: &'r HeaderMap,
}

/// A host has at least so many bits of IPv6 for itself.
const NETWORK: u32 = 64;

// === impl ClientKey ===

impl ClientKey {
    /// Hashes the parts of a request. One that is not there is a value of its own: those who leave it out are counted together.
    pub(super) fn of(parts: &[LimitKeyPart], who: &Who<'_>, hashes: &RandomState) -> Self {
        let mut hasher = hashes.build_hasher();
        for part in parts {
            match part {
                LimitKeyPart::ClientAddress => write_address(&mut hasher, who.address),
                LimitKeyPart::Identity => write_identity(&mut hasher, who.identity),
                LimitKeyPart::Header(name) => write_header(&mut hasher, who.headers, name),
            }
        }
        Self(NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MIN))
    }

    /// The one with this hash; none for 0, which is nobody's.
    pub(super) fn from_raw(hash: u64) -> Option<Self> {
        NonZeroU64::new(hash).map(Self)
    }

    pub(super) fn get(self) -> u64 {
        self.0.get()
    }
}

/// Before each part stands whether it is there, behind each text how long it is, so that no two lists of parts look alike.
fn write_address(hasher: &mut impl Hasher, address: Option<IpAddr>) {
    match address.map(|it| it.to_canonical()) {
        None => hasher.write_u8(0),
        Some(IpAddr::V4(it)) => {
            hasher.write_u8(1);
            hasher.write_u32(it.to_bits());
        }
        Some(IpAddr::V6(it)) => {
            hasher.write_u8(2);
            hasher.write_u64(network(it));
        }
    }
}

fn network(address: Ipv6Addr) -> u64 {
    (address.to_bits() >> NETWORK) as u64
}

fn write_identity(hasher: &mut impl Hasher, identity: Option<&SpiffeId>) {
    let Some(text) = identity.map(SpiffeId::as_str) else { return hasher.write_u8(0) };
    hasher.write_u8(1);
    hasher.write(text.as_bytes());
    hasher.write_usize(text.len());
}

/// All lines of a header are one value, joined by a comma as RFC 9110 §5.3 has it.
fn write_header(hasher: &mut impl Hasher, headers: &HeaderMap, name: &HeaderName) {
    let mut lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let Some(first) = lines.next() else { return hasher.write_u8(0) };
    let mut value = Cow::Borrowed(first);
    for line in lines {
        let joined = value.to_mut();
        joined.push(b',');
        joined.extend_from_slice(line);
    }
    hasher.write_u8(1);
    hasher.write(&value);
    hasher.write_usize(value.len());
}
