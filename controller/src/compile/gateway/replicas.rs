//! How many replicas a Gateway's proxy has.

use super::Check;
use super::unreadable::is_about_others;
use crate::compile::program::Reader;
use crate::compile::settings::Mode;
use crate::provision::{ProxyClass, Scale};
use fairway_config::model::ObjectName;

/// The most replicas that the proxy of a Gateway, or of a waypoint that nobody wrote, has.
pub(in crate::compile) fn replicas(reader: &mut Reader<'_>, gateway: &ObjectName) -> u32 {
    if reader.settings().mode == Mode::Standalone {
        return 1;
    }
    let report = reader.get::<Check>(gateway);
    let proxy = report.as_ref().and_then(|it| it.proxy.as_ref());
    let class = proxy.map_or(ProxyClass::Waypoint, |it| it.class);
    let most = match proxy.and_then(|it| it.parameters.scale) {
        Some(Scale::Fixed(count)) => count,
        Some(Scale::Automatic { max, .. }) => max,
        None => class.usual_replicas(),
    };
    u32::try_from(most).unwrap_or_default()
}

/// Whether that number is known. Proxies that run already stay as they are while their class or their parameters cannot be read.
pub(in crate::compile) fn are_replicas_known(reader: &mut Reader<'_>, gateway: &ObjectName) -> bool {
    let report = reader.get::<Check>(gateway);
    !report.is_some_and(|it| it.refusal.as_deref().is_some_and(is_about_others))
}
