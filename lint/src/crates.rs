//! Which crate of the workspace depends on which.

use crate::table::Table;
use std::path::Path;

/// Complaints about `[dependencies]` that the table does not allow. Tests may use what they like.
///
/// # Errors
/// A manifest that cannot be read.
pub fn check(root: &Path, table: &Table) -> Result<Vec<String>, String> {
    let mut complaints = Vec::new();
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
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let place = path.strip_prefix(root).unwrap_or(&path).display();
        let Some(allowed) = table.crates.get(&*name) else {
            complaints.push(format!("{place}: the crate {name} has no line in the table"));
            continue;
        };
        for (line, used) in dependencies(&text) {
            if !allowed.contains(used) {
                complaints.push(format!(
                    "{place}:{line}: {name} must not depend on {used} (the table's line {})",
                    allowed.line
                ));
            }
        }
    }
    Ok(complaints)
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
}
