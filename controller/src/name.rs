//! How the objects that are made for a Gateway are called, and how a long name fits into a label.
//!
//! Compiling needs the names as much as provisioning: an identity is that of a service account.

use sha2::{Digest, Sha256};
use std::net::IpAddr;

/// The most that a Service's name, and a label's value, may have (RFC 1123, RFC 1035).
const LONGEST: usize = 63;
/// What is kept of a name that does not fit; a dash and ten digits of its hash follow.
const KEPT: usize = 52;

/// The name of what is made for a Gateway: `<gateway>-<class>` (GEP-1762).
///
/// A Gateway's name may be longer than a Service's, begin with a digit, and have dots. Where `<gateway>-<class>` cannot
/// name a Service, what cannot stand in it is replaced and a hash keeps the name apart from others.
pub fn of_proxy(gateway: &str, class: &str) -> String {
    let name = format!("{gateway}-{class}");
    match is_service_name(&name) {
        true => name,
        false => shortened(&name),
    }
}

/// The name of the Service for a further address that a Gateway asks for: `<gateway>-<class>-<n>`, from 2.
pub fn of_further_service(proxy: &str, n: usize) -> String {
    let name = format!("{proxy}-{n}");
    match name.len() <= LONGEST {
        true => name,
        false => shortened(&name),
    }
}

/// The name of a Service that has an address of one scope only: `<gateway>-<class>-<scope>`, `-<n>` from the second on, or
/// the address in place of the number where one is asked for: what a Service has of its address cannot be changed.
pub fn of_scoped_service(proxy: &str, scope: &str, n: usize, address: Option<IpAddr>) -> String {
    let name = match (address, n) {
        (Some(IpAddr::V4(it)), _) => format!("{proxy}-{scope}-{}", it.to_string().replace('.', "-")),
        (Some(IpAddr::V6(it)), _) => format!("{proxy}-{scope}-{:032x}", u128::from(it)),
        (None, 0 | 1) => format!("{proxy}-{scope}"),
        (None, n) => format!("{proxy}-{scope}-{n}"),
    };
    match name.len() <= LONGEST {
        true => name,
        false => shortened(&name),
    }
}

/// A Gateway's name as the value of a label; the name itself wherever it fits.
pub fn as_label(gateway: &str) -> String {
    match gateway.len() <= LONGEST {
        true => gateway.to_owned(),
        false => shortened(gateway),
    }
}

/// RFC 1035, as the API server has it for Services.
fn is_service_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= LONGEST
        && name.starts_with(|it: char| it.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(allowed)
}

fn shortened(name: &str) -> String {
    let letter = match name.starts_with(|it: char| it.is_ascii_lowercase()) {
        true => "",
        false => "g-",
    };
    let plain = name.chars().map(|it| if it.is_ascii_lowercase() || it.is_ascii_digit() { it } else { '-' });
    let kept: String = letter.chars().chain(plain).take(KEPT).collect();
    let hash: String = Sha256::digest(name).iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{hash}", kept.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_fits_is_left_as_it_is() {
        assert_eq!(of_proxy("public", "fairway"), "public-fairway");
        assert_eq!(of_further_service("public-fairway", 2), "public-fairway-2");
        assert_eq!(of_scoped_service("public-fairway", "cluster", 1, None), "public-fairway-cluster");
        assert_eq!(of_scoped_service("public-fairway", "cluster", 2, None), "public-fairway-cluster-2");
        let address = Some("10.96.0.5".parse().unwrap());
        assert_eq!(of_scoped_service("a-fairway", "cluster", 2, address), "a-fairway-cluster-10-96-0-5");
        assert_eq!(as_label("eu.public"), "eu.public", "dots may stand in a label");
        let just = "a".repeat(55);
        assert_eq!(of_proxy(&just, "fairway").len(), 63);
        assert_eq!(of_proxy(&just, "fairway"), format!("{just}-fairway"));
    }

    #[test]
    fn every_gateway_name_gives_a_service_name() {
        let long = "a".repeat(253);
        for gateway in ["eu.public", "1st", "a", &"9".repeat(63), &long, &format!("{}.b", "a".repeat(51))] {
            let name = of_proxy(gateway, "fairway");
            assert!(is_service_name(&name), "{gateway}: {name}");
            assert!(is_service_name(&of_further_service(&name, 12)), "{gateway}: {name}");
            for address in [None, Some("10.96.0.5".parse().unwrap()), Some("fd00::".parse().unwrap())] {
                let name = of_scoped_service(&name, "cluster", 3, address);
                assert!(is_service_name(&name), "{gateway}: {name}");
            }
            assert!(as_label(gateway).len() <= LONGEST);
        }
        assert_eq!(of_proxy(&long, "fairway"), format!("{}-{}", "a".repeat(52), "944ac138b1"));
    }

    #[test]
    fn names_that_are_cut_stay_apart() {
        let (a, b) = (format!("{}a", "x".repeat(100)), format!("{}b", "x".repeat(100)));
        assert_ne!(of_proxy(&a, "fairway"), of_proxy(&b, "fairway"));
        assert_ne!(of_proxy("eu.public", "fairway"), of_proxy("eu-public", "fairway"));
        assert_ne!(as_label(&a), as_label(&b));
    }
}
