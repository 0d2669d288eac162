//! Ranges of addresses, and an index that finds an address among many of them.
//!
//! An IPv4 address has two spellings: its own, and IPv4-mapped within IPv6 (`::ffff:10.0.0.1`, RFC 4291 §2.5.5.2). A socket
//! that serves both families reports the second. Ranges and addresses are compared in the first.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// A range of addresses in CIDR notation. A single address is a range of one.
///
/// IPv4-mapped ranges are kept as the IPv4 ranges that they are. An IPv6 range that is wider than `::ffff:0:0/96` contains
/// IPv6 addresses alone: `::/0` does not contain 10.0.0.1.
///
/// ```
/// use fairway_policy::{Cidr, InvalidCidr};
///
/// let every_v6: Cidr = "::/0".parse()?;
/// assert!(every_v6.contains("2001:db8::1".parse().unwrap()));
/// assert!(!every_v6.contains("::ffff:10.0.0.1".parse().unwrap()), "this is the IPv4 address 10.0.0.1");
///
/// // 10.0.0.0/8 and 10.0.0.1 could be meant, and one is much larger than the other.
/// assert!(matches!("10.0.0.1/8".parse::<Cidr>(), Err(InvalidCidr::HostBits { .. })));
/// # Ok::<(), InvalidCidr>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    first: IpAddr,
    length: u8,
}

/// Why a text or a pair of numbers is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCidr {
    /// Neither an address nor an address, `/` and a number.
    #[error(
        "`{0}` is not a range of addresses: write an address, or an address, `/` and the length of its prefix"
    )]
    NotCidr(String),
    /// The prefix is longer than the address.
    #[error("`{address}/{length}`: an {family} prefix has at most {longest} bits")]
    TooLong {
        /// The address that was given.
        address: IpAddr,
        /// The length that was given, in bits.
        length: u8,
        /// The family of the address, `IPv4` or `IPv6`.
        family: &'static str,
        /// The longest prefix of that family, in bits.
        longest: u8,
    },
    /// The address has bits behind its prefix. Two ranges could be meant, and one is much larger than the other.
    #[error(
        "`{address}/{length}` has bits set behind its prefix: write {range}, or {address} for that one address"
    )]
    HostBits {
        /// The address that was given.
        address: IpAddr,
        /// The length that was given, in bits.
        length: u8,
        /// The range around the address.
        range: Cidr,
    },
}

/// A set of address ranges. Looking up an address takes one binary search, whatever the number of ranges.
///
/// Two ranges in CIDR notation are disjoint or one contains the other, so the union is a sorted list of disjoint ranges.
///
/// A clone shares the ranges.
///
/// ```
/// use fairway_policy::{Cidr, CidrSet};
///
/// let cidr = |text: &str| text.parse::<Cidr>();
/// let office: CidrSet = [cidr("10.0.0.0/8")?, cidr("10.1.0.0/16")?].into_iter().collect();
/// // A socket that serves both families reports an IPv4 client like this.
/// assert!(office.contains("::ffff:10.200.0.1".parse().unwrap()));
/// assert_eq!(office.cidrs().len(), 2, "ranges are shown as they were given");
/// assert!(!CidrSet::default().contains("10.0.0.1".parse().unwrap()), "an empty set is nobody, not everybody");
/// # Ok::<(), fairway_policy::InvalidCidr>(())
/// ```
#[derive(Clone, Debug, PartialEq, Default)]
pub struct CidrSet {
    /// As given, in the order given.
    cidrs: Arc<[Cidr]>,
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// Disjoint ranges, both ends included, in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ranges<T>(Arc<[(T, T)]>);

// === impl Cidr ===

impl Cidr {
    /// The range of the addresses that share the first `length` bits of an address.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, InvalidCidr> {
        let (family, longest) = if address.is_ipv4() { ("IPv4", 32) } else { ("IPv6", 128) };
        if length > longest {
            return Err(InvalidCidr::TooLong { address, length, family, longest });
        }
        let range = match address {
            IpAddr::V4(it) => {
                Self { first: Ipv4Addr::from_bits(it.to_bits() & v4_mask(length)).into(), length }
            }
            IpAddr::V6(it) => {
                Self { first: Ipv6Addr::from_bits(it.to_bits() & v6_mask(length)).into(), length }
            }
        };
        if range.first != address {
            return Err(InvalidCidr::HostBits { address, length, range });
        }
        Ok(match (range.first, range.first.to_canonical()) {
            (IpAddr::V6(_), mapped @ IpAddr::V4(_)) if length >= 96 => {
                Self { first: mapped, length: length - 96 }
            }
            _ => range,
        })
    }

    /// The range of this length in which an address is; none if addresses of its family are shorter.
    ///
    /// ```
    /// # use fairway_policy::Cidr;
    /// let range = Cidr::around("10.244.1.7".parse().unwrap(), 24);
    /// assert_eq!(range, "10.244.1.0/24".parse().ok());
    /// ```
    pub fn around(address: IpAddr, length: u8) -> Option<Self> {
        match Self::new(address.to_canonical(), length) {
            Ok(it) => Some(it),
            Err(InvalidCidr::HostBits { range, .. }) => Some(range),
            Err(InvalidCidr::NotCidr(_) | InvalidCidr::TooLong { .. }) => None,
        }
    }

    /// The lowest address of the range.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// How many leading bits all addresses of the range share.
    pub fn prefix_length(&self) -> u8 {
        self.length
    }

    /// Whether an address is in the range. IPv4-mapped addresses count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(it)) => it.to_bits() & v4_mask(self.length) == first.to_bits(),
            (IpAddr::V6(first), IpAddr::V6(it)) => it.to_bits() & v6_mask(self.length) == first.to_bits(),
            _ => false,
        }
    }
}

impl From<IpAddr> for Cidr {
    fn from(address: IpAddr) -> Self {
        let first = address.to_canonical();
        Self { first, length: if first.is_ipv4() { 32 } else { 128 } }
    }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let not_cidr = || InvalidCidr::NotCidr(text.chars().take(100).collect());
        let Some((address, length)) = text.split_once('/') else {
            return text.parse::<IpAddr>().map(Self::from).map_err(|_| not_cidr());
        };
        // `u8::from_str` takes a sign.
        let digits = length.len() <= 3 && length.bytes().all(|it| it.is_ascii_digit());
        let length = digits.then(|| length.parse().ok()).flatten().ok_or_else(not_cidr)?;
        Self::new(address.parse().map_err(|_| not_cidr())?, length)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.length)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn v4_mask(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

fn v6_mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

// === impl CidrSet ===

impl CidrSet {
    /// Whether one of the ranges contains the address. IPv4-mapped addresses count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(it) => self.v4.contains(it.to_bits()),
            IpAddr::V6(it) => self.v6.contains(it.to_bits()),
        }
    }

    /// The ranges as they were given.
    pub fn cidrs(&self) -> &[Cidr] {
        &self.cidrs
    }
}

impl FromIterator<Cidr> for CidrSet {
    fn from_iter<I: IntoIterator<Item = Cidr>>(cidrs: I) -> Self {
        let cidrs: Arc<[Cidr]> = cidrs.into_iter().collect();
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for cidr in &*cidrs {
            match cidr.first {
                IpAddr::V4(first) => v4.push((first.to_bits(), first.to_bits() | !v4_mask(cidr.length))),
                IpAddr::V6(first) => v6.push((first.to_bits(), first.to_bits() | !v6_mask(cidr.length))),
            }
        }
        Self { cidrs, v4: Ranges::union(v4), v6: Ranges::union(v6) }
    }
}

// === impl Ranges ===

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Copy + Ord> Ranges<T> {
    fn union(mut ranges: Vec<(T, T)>) -> Self {
        ranges.sort_unstable();
        let mut disjoint: Vec<(T, T)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match disjoint.last_mut() {
                Some(before) if first <= before.1 => before.1 = before.1.max(last),
                _ => disjoint.push((first, last)),
            }
        }
        Self(disjoint.into())
    }

    fn contains(&self, address: T) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= address);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, last)| address <= *last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_and_its_mapped_form_are_in_the_same_ranges() {
        for (range, address, expected) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "::ffff:10.1.2.3", true),
            ("::ffff:0:0/96", "192.0.2.1", true),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("::/0", "::ffff:10.0.0.1", false),
            ("2001:db8::/32", "2001:db8:ffff::", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1/32", "10.0.0.2", false),
        ] {
            let (range, address) = (cidr(range), address.parse().unwrap());
            assert_eq!(range.contains(address), expected, "{range} {address}");
            assert_eq!(CidrSet::from_iter([range]).contains(address), expected, "{range} {address}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused_and_says_what_to_write() {
        for (text, what) in [
            ("", "is not a range of addresses"),
            ("10.0.0.0/", "is not a range of addresses"),
            ("10.0.0.0/+8", "is not a range of addresses"),
            ("10.0.0/8", "is not a range of addresses"),
            ("fe80::1%eth0", "is not a range of addresses"),
            ("10.0.0.0/33", "at most 32 bits"),
            ("2001:db8::/129", "at most 128 bits"),
            ("10.0.0.1/8", "write 10.0.0.0/8, or 10.0.0.1"),
            ("2001:db8::1/32", "write 2001:db8::/32, or 2001:db8::1"),
        ] {
            let said = text.parse::<Cidr>().expect_err(text).to_string();
            assert!(said.contains(what), "{text}: {said}");
        }
    }

    fn any_cidr() -> impl Strategy<Value = Cidr> {
        // Few addresses, so that ranges nest and addresses hit.
        let v4 = (0..=32_u8, 0..64_u32).prop_map(|(length, bits)| {
            Cidr::new(Ipv4Addr::from_bits((bits << 26 | bits) & v4_mask(length)).into(), length).unwrap()
        });
        let v6 = (0..=128_u8, 0..64_u128).prop_map(|(length, bits)| {
            Cidr::new(Ipv6Addr::from_bits((bits << 122 | bits) & v6_mask(length)).into(), length).unwrap()
        });
        prop_oneof![v4, v6]
    }

    /// Listeners and statuses of a policy have its set, thousands of times.
    #[test]
    fn a_clone_of_a_set_shares_its_ranges() {
        let set = CidrSet::from_iter([cidr("10.0.0.0/8"), cidr("2001:db8::/32")]);
        let clone = set.clone();
        assert_eq!(set.cidrs().as_ptr(), clone.cidrs().as_ptr());
        assert!(Arc::ptr_eq(&set.v4.0, &clone.v4.0) && Arc::ptr_eq(&set.v6.0, &clone.v6.0));
    }

    proptest! {
        #[test]
        fn a_set_contains_what_one_of_its_ranges_contains(
            cidrs in proptest::collection::vec(any_cidr(), 0..20),
            (high, low, mapped) in (0..64_u32, 0..64_u32, any::<bool>()),
        ) {
            let v4 = Ipv4Addr::from_bits(high << 26 | low);
            let v6 = Ipv6Addr::from_bits(u128::from(high) << 122 | u128::from(low));
            let set: CidrSet = cidrs.iter().copied().collect();
            let v4: IpAddr = if mapped { v4.to_ipv6_mapped().into() } else { v4.into() };
            for address in [v4, v6.into()] {
                prop_assert_eq!(set.contains(address), cidrs.iter().any(|it| it.contains(address)));
            }
        }

        #[test]
        fn what_a_range_writes_it_reads(cidr in any_cidr()) {
            prop_assert_eq!(cidr.to_string().parse::<Cidr>(), Ok(cidr));
        }
    }
}
