//! Which images the pods of proxies may run.

use super::rights::Rights;

/// Whether an image is one of a proxy: the installation's own in any version, so that an upgrade turns nobody away, or one
/// that may be named.
pub(crate) fn is_of_proxy(image: &str, own: &str, rights: &Rights) -> bool {
    repository(image) == repository(own) || rights.allows_image(image)
}

/// An image without its tag and digest.
fn repository(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    match image.rsplit_once(':') {
        // What follows a port has a path.
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_ours_in_any_version_and_in_no_other_place() {
        let own = "registry.example:5000/fairway/waypoint:1";
        for (image, ours) in [
            ("registry.example:5000/fairway/waypoint:1", true),
            ("registry.example:5000/fairway/waypoint:0.9@sha256:0", true),
            ("registry.example:5000/fairway/waypoint@sha256:0", true),
            ("registry.example:5000/fairway/waypoint", true),
            ("registry.example:5000/fairway/waypoint-evil:1", false),
            ("registry.example:5000/fairway/waypoint:1/evil", false),
            ("registry.example:5000/evil", false),
            ("registry.example", false),
            ("evil", false),
        ] {
            assert_eq!(is_of_proxy(image, own, &Rights::default()), ours, "{image}");
        }
    }
}
