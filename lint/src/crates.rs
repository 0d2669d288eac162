//! Which crate of the workspace depends on which.

use crate::table::Table;
use std::collections::BTreeMap;
use std::path::Path;

/// Complaints about `[dependencies]` that the table does not allow, and about crates and debt of the table that are not there any more.
/// Tests may use what they like.
///
/// # Errors
/// A manifest that cannot be read.
pub fn check(root: &Path, table: &Table) -> Result<Vec<String>, String> {
    let mut manifests = BTreeMap::new();
    let mut folders: Vec<_> = ["cli", "controller", "waypoint", "ztunnel"].map(|name| root.join(name)).into();
    let crates = root.join("crates");
    let entries = std::fs::read_dir(&crates).map_err(|error| format!("{}: {error}", crates.display()))?;
    folders.extend(
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.join("Cargo.toml").exists()),
    );
    folders.sort();
    for folder in folders {
        let path = folder.join("Cargo.toml");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let place = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        manifests.insert(name, (place, text));
    }
    Ok(judge(&manifests, table))
}

/// Complaints about manifests, by the short names of their crates, each with its place.
pub fn judge(manifests: &BTreeMap<String, (String, String)>, table: &Table) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, (place, text)) in manifests {
        let Some(allowed) = table.crates.get(name) else {
            complaints.push(format!("{place}: the crate {name} has no line in the table"));
            continue;
        };
        let used = dependencies(text);
        for (line, used) in used.iter().filter(|(_, used)| !allowed.contains(used)) {
            complaints.push(format!(
                "{place}:{line}: {name} must not depend on {used} (the table's line {})",
                allowed.line
            ));
        }
        for paid in allowed.debt.iter().filter(|debt| !used.iter().any(|(_, used)| used == debt)) {
            complaints.push(format!(
                "{place}: {name} does not depend on {paid} any more: take it out of the table's line {}",
                allowed.line
            ));
        }
    }
    for (name, allowed) in table.crates.iter().filter(|(name, _)| !manifests.contains_key(*name)) {
        complaints.push(format!("there is no crate {name}: take out the table's line {}", allowed.line));
    }
    complaints
}

/// The crates of ours in the sections of a manifest that end in `dependencies`, without those of tests and build scripts; each with its line.
pub fn dependencies(manifest: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut counts = false;
    for (number, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            counts = section.trim_end_matches(']').rsplit('.').next() == Some("dependencies");
        } else if let Some(rest) = line.strip_prefix("fairway-").filter(|_| counts) {
            let end = rest.find(|c: char| c != '-' && !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            found.push((number + 1, &rest[..end]));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_of_tests_and_of_others_do_not_count() {
        let manifest = "[package]\nname = \"fairway-config\"\n[dependencies]\nfairway-policy.workspace = true\nserde = \"1\"\n\
            [target.'cfg(unix)'.dependencies]\nfairway-gateway-api = { path = \"x\" }\n[dev-dependencies]\nfairway-testbed.workspace = true\n";
        assert_eq!(dependencies(manifest), [(4, "policy"), (7, "gateway-api")]);
    }

    #[test]
    fn a_manifest_agrees_with_the_table_in_both_directions() {
        let table = Table::parse("crates\n  config:\n  hbone: config | cli\n").unwrap();
        let hbone = |used: &[&str]| {
            let used: String = used.iter().map(|it| format!("fairway-{it}.workspace = true\n")).collect();
            ("hbone".to_owned(), ("h/Cargo.toml".to_owned(), format!("[dependencies]\n{used}")))
        };
        let config = ("config".to_owned(), ("c/Cargo.toml".to_owned(), String::new()));
        let complaints = |manifests: Vec<_>| judge(&manifests.into_iter().collect(), &table);
        assert_eq!(complaints(vec![config.clone(), hbone(&["config", "cli"])]), [""; 0]);
        assert_eq!(
            complaints(vec![config.clone(), hbone(&["cli", "echo"])]),
            ["h/Cargo.toml:3: hbone must not depend on echo (the table's line 3)"]
        );
        assert_eq!(
            complaints(vec![config, hbone(&[])]),
            ["h/Cargo.toml: hbone does not depend on cli any more: take it out of the table's line 3"]
        );
        assert_eq!(
            complaints(vec![hbone(&["cli"])]),
            ["there is no crate config: take out the table's line 2"]
        );
    }
}
