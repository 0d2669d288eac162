//! How a listener learns where its clients are.

use super::cidrs;
use crate::model::AddressSource;
use http::HeaderName;
use proptest::prelude::*;

pub(super) fn source() -> impl Strategy<Value = AddressSource> {
    let name = "[a-z][a-z0-9-]{0,8}".prop_filter_map("a header", |text| HeaderName::try_from(text).ok());
    prop_oneof![
        3 => Just(AddressSource::Connection),
        1 => cidrs().prop_map(AddressSource::ProxyProtocol),
        1 => cidrs().prop_map(AddressSource::ForwardedFor),
        1 => (name, cidrs()).prop_map(|(name, trusted)| AddressSource::Header { name, trusted }),
    ]
}
