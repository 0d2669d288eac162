//! Why the spec of a policy cannot be understood. A policy with a field that is passed over could mean less than its author wrote.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Why a policy cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The path of the field, within the spec.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The first field that was written and not read. Within rules a field without a value is one too: `from:` with nothing behind it would
/// match everybody, as if it were left out.
pub(super) fn passed_over(written: &Value, read: &Value, in_rules: bool) -> Option<Unreadable> {
    let here = |reason: &str| Unreadable { field: String::new(), reason: reason.to_owned() };
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => written.iter().find_map(|(name, value)| {
            let inner = match read.get(name) {
                Some(read) => passed_over(
                    value,
                    read,
                    in_rules || matches!(name.as_str(), "rules" | "local" | "apiKey" | "jwt" | "exempt"),
                )?,
                None if value.is_null() && in_rules => {
                    here("it has no value; write one, or leave the field out")
                }
                None if value.is_null() => return None,
                None if name == "matchLabels" && value.as_object().is_some_and(|it| it.is_empty()) => {
                    return None;
                }
                None => here("unknown field"),
            };
            Some(inner.within(name))
        }),
        (Value::Array(written), Value::Array(read)) => {
            written.iter().zip(read).enumerate().find_map(|(index, (written, read))| {
                Some(passed_over(written, read, in_rules)?.within(&format!("[{index}]")))
            })
        }
        _ => None,
    }
}

/// What was written, if all of it can be read. A field that is passed over would make a policy wider than it was meant.
pub(super) fn read<S: Serialize + DeserializeOwned>(written: &Value) -> Result<S, Unreadable> {
    let spec: S = serde_path_to_error::deserialize(written)
        .map_err(|error| Unreadable { field: error.path().to_string(), reason: error.inner().to_string() })?;
    let read = serde_json::to_value(&spec).unwrap_or_default();
    match passed_over(written, &read, false) {
        None => Ok(spec),
        Some(unreadable) => Err(unreadable),
    }
}

// === impl Unreadable ===

impl Unreadable {
    /// The same, seen from the object or the list that has the field in it.
    pub(super) fn within(self, name: &str) -> Self {
        let dot = if self.field.is_empty() || self.field.starts_with('[') { "" } else { "." };
        Self { field: format!("{name}{dot}{}", self.field), ..self }
    }
}
