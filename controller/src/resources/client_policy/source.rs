//! What a policy says of the address of clients, as proxies have it.

use super::{ClientAddress, ClientAddressSource};
use fairway_config::model::{AddressSource, check_header};
use fairway_policy::{Cidr, CidrSet};
use http::HeaderName;
use std::str::FromStr;

/// Why nobody can say where clients are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSource {
    /// The path of the field.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

// === impl ClientAddress ===

impl ClientAddress {
    /// The source that it asks for.
    pub fn source(&self) -> Result<AddressSource, InvalidSource> {
        let source = match self.source {
            ClientAddressSource::Connection => {
                if self.trusted_cidrs.is_some() {
                    let reason =
                        "source Connection believes nobody: remove trustedCIDRs, or choose another source";
                    return Err(invalid(".trustedCIDRs", reason));
                }
                AddressSource::Connection
            }
            ClientAddressSource::ProxyProtocol => AddressSource::ProxyProtocol(self.trusted()?),
            ClientAddressSource::ForwardedFor => AddressSource::ForwardedFor(self.trusted()?),
            ClientAddressSource::Header => {
                let trusted = self.trusted()?;
                let name = self.header.as_deref().unwrap_or_default();
                AddressSource::Header { name: header_name(name)?, trusted }
            }
        };
        if self.header.is_some() && self.source != ClientAddressSource::Header {
            return Err(invalid(".header", "a header goes with source Header only"));
        }
        Ok(source)
    }

    fn trusted(&self) -> Result<CidrSet, InvalidSource> {
        let written = self.trusted_cidrs.as_deref().unwrap_or_default();
        if written.is_empty() {
            let reason =
                "nobody is trusted: name the addresses of the load balancers or proxies that are believed";
            return Err(invalid(".trustedCIDRs", reason));
        }
        let parse = |(index, text): (usize, &String)| {
            Cidr::from_str(text)
                .map_err(|error| invalid(&format!(".trustedCIDRs[{index}]"), error.to_string()))
        };
        written.iter().enumerate().map(parse).collect()
    }
}

fn header_name(text: &str) -> Result<HeaderName, InvalidSource> {
    let name = HeaderName::try_from(text)
        .map_err(|_| invalid(".header", format!("`{text}` is not the name of a header")))?;
    check_header(&name).map_err(|error| invalid(".header", error.to_string()))?;
    if name == "x-forwarded-for" {
        return Err(invalid(".header", "X-Forwarded-For is a list: use source ForwardedFor"));
    }
    Ok(name)
}

fn invalid(part: &str, reason: impl Into<String>) -> InvalidSource {
    InvalidSource { field: format!("spec.clientAddress{part}"), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(written: Value) -> Result<AddressSource, InvalidSource> {
        serde_json::from_value::<ClientAddress>(written).unwrap().source()
    }

    #[test]
    fn a_source_is_whole_or_says_which_field_is_wrong() {
        let trusted = json!(["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"]);
        let set: CidrSet =
            ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"].iter().map(|it| it.parse().unwrap()).collect();
        for (written, expected) in [
            (json!({ "source": "Connection" }), AddressSource::Connection),
            (
                json!({ "source": "ProxyProtocol", "trustedCIDRs": trusted }),
                AddressSource::ProxyProtocol(set.clone()),
            ),
            (
                json!({ "source": "ForwardedFor", "trustedCIDRs": trusted }),
                AddressSource::ForwardedFor(set.clone()),
            ),
            (
                json!({ "source": "Header", "trustedCIDRs": trusted, "header": "CF-Connecting-IP" }),
                AddressSource::Header {
                    name: HeaderName::from_static("cf-connecting-ip"),
                    trusted: set.clone(),
                },
            ),
        ] {
            assert_eq!(read(written.clone()), Ok(expected), "{written}");
        }
        for (written, field) in [
            (json!({ "source": "Connection", "trustedCIDRs": trusted }), "trustedCIDRs"),
            (json!({ "source": "Connection", "header": "x-real-ip" }), "header"),
            (json!({ "source": "ProxyProtocol" }), "trustedCIDRs"),
            (json!({ "source": "ForwardedFor", "trustedCIDRs": [] }), "trustedCIDRs"),
            (
                json!({ "source": "ForwardedFor", "trustedCIDRs": ["10.0.0.0/8", "10.0.0.1/8"] }),
                "trustedCIDRs[1]",
            ),
            (json!({ "source": "ForwardedFor", "trustedCIDRs": ["lb.example"] }), "trustedCIDRs[0]"),
            (json!({ "source": "ForwardedFor", "trustedCIDRs": trusted, "header": "x-a" }), "header"),
            (json!({ "source": "Header", "trustedCIDRs": trusted }), "header"),
            (json!({ "source": "Header", "trustedCIDRs": trusted, "header": "a b" }), "header"),
            (json!({ "source": "Header", "trustedCIDRs": trusted, "header": "Host" }), "header"),
            (json!({ "source": "Header", "trustedCIDRs": trusted, "header": "Connection" }), "header"),
            (json!({ "source": "Header", "trustedCIDRs": trusted, "header": "X-Forwarded-For" }), "header"),
        ] {
            let error = read(written.clone()).unwrap_err();
            assert_eq!(error.field, format!("spec.clientAddress.{field}"), "{written}");
        }
    }
}
