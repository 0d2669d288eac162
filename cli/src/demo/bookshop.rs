//! The example's files, carried inside the program so that the demo needs nothing beside it.

/// Path below `examples/bookshop`, and content.
pub const FILES: &[(&str, &str)] = &[
    ("namespaces.yaml", include_str!("../../../examples/bookshop/namespaces.yaml")),
    ("edge/certificate.yaml", include_str!("../../../examples/bookshop/edge/certificate.yaml")),
    ("edge/gateway.yaml", include_str!("../../../examples/bookshop/edge/gateway.yaml")),
    ("bookshop/catalog.yaml", include_str!("../../../examples/bookshop/bookshop/catalog.yaml")),
    ("bookshop/grants.yaml", include_str!("../../../examples/bookshop/bookshop/grants.yaml")),
    ("bookshop/orders.yaml", include_str!("../../../examples/bookshop/bookshop/orders.yaml")),
    ("bookshop/payments.yaml", include_str!("../../../examples/bookshop/bookshop/payments.yaml")),
    ("bookshop/ratings.yaml", include_str!("../../../examples/bookshop/bookshop/ratings.yaml")),
    ("bookshop/reader.yaml", include_str!("../../../examples/bookshop/bookshop/reader.yaml")),
    ("bookshop/reviews.yaml", include_str!("../../../examples/bookshop/bookshop/reviews.yaml")),
    ("legacy/till.yaml", include_str!("../../../examples/bookshop/legacy/till.yaml")),
    ("storefront/web.yaml", include_str!("../../../examples/bookshop/storefront/web.yaml")),
];

/// The certificate of the authority that signed the example's certificate.
pub const AUTHORITY: &str = include_str!("../../../examples/bookshop/edge/ca.crt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_example_is_carried() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bookshop");
        let mut found = Vec::new();
        let mut folders = vec![folder.clone()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "yaml") {
                    found.push(path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        let mut carried: Vec<String> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        carried.sort();
        assert_eq!(found, carried);
    }
}
